//! Who is who: accounts of people and programs, passwords, login throttling, registry tokens and their keys, revocation.
//!
//! The only crate that writes the `identity` schema. It says who is asking; what they may do is decided in
//! `tenancy`, and what HTTP is nobody here knows.
//!
//! Invariants:
//! * Whatever takes rights away raises an epoch in its own transaction; every process honours it within 5 s.
//! * A blocked account or address gets no password looked at, remembered ones included.
//! * Passwords are stored as argon2id, refresh tokens as SHA-256, private keys sealed to their row.

mod access_tokens;
mod accounts;
mod authenticate;
pub mod browser;
mod config;
pub mod epochs;
mod error;
mod feed;
mod groups;
pub mod keys;
pub mod passwords;
mod preferences;
mod principal;
mod read_tokens;
mod refresh;
mod remembered;
mod robots;
mod sessions;
mod strict_json;
mod throttle;
pub mod tokens;
mod user_rules;
mod users;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use database::{Clock, Database, Tx};
use sealed::Keyring;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use access_tokens::{AccessToken, NewAccessToken};
pub use accounts::UserFilter;
/// Where a request came from, for the trail and for throttling.
pub use audit::Origin;
pub use config::{Config, SigningAlgorithm};
pub use error::Error;
pub use groups::{Group, GroupFilter, GroupName, LDAP_GROUP, NewGroup};
pub use preferences::Preferences;
pub use principal::{Caller, Limits, Presented, Principal, Robot, RobotId, TokenScope, User, UserId};
pub use robots::{NewRobot, RobotAccount, RobotChange, RobotCreated, RobotSecret};
/// Holds passwords on their way in.
pub use sealed::Secret;
pub use sessions::{Ended, NewSession, Session, SignedIn};
pub use users::{Account, NewUser, Profile};

use crate::epochs::Subject;
use crate::feed::Feed;
use crate::passwords::Hasher;
use crate::read_tokens::ReadTokens;
use crate::remembered::Remembered;
use crate::tokens::{Access, Issued, Verified};

/// Hourly job: removes what throttling and refresh tokens leave behind. The handler is [`Identity::purge`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {}

impl queue::Job for Purge {
    const KIND: &'static str = "identity.purge";
    const UNIQUE: bool = true;
}

/// What [`Identity::purge`] removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    pub throttle_rows: u64,
    pub refresh_tokens: u64,
    pub sessions: u64,
    pub signing_keys: u64,
}

/// Handle to everything in this crate. Clone freely; all clones share one feed and one memory.
///
/// [`Identity::run`] must run somewhere, or five seconds later every decision goes to the database.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    database: Database,
    keyring: Keyring,
    config: Config,
    clock: Clock,
    feed: Feed,
    hasher: Hasher,
    remembered: Remembered,
    read: ReadTokens,
    issues: audit::Buffer,
}

impl Identity {
    /// Reads keys and revocations, makes the first signing key where there is none, and signs and verifies once:
    /// a process that cannot do that must not start.
    ///
    /// # Errors
    /// `Unavailable`, `NoSigningKey` when no key can be used, `Infrastructure`.
    pub async fn new(
        database: Database,
        keyring: Keyring,
        config: Config,
        clock: Clock,
    ) -> Result<Self, Error> {
        let mut tx = database.begin().await?;
        keys::ensure(&mut tx, &keyring, &config).await?;
        tx.commit().await?;
        let feed = Feed::start(database.clone(), keyring.clone(), &config).await?;
        if feed.keys().signer().is_none() {
            // Every private half is damaged: keep verifying with what is there and sign with a new key.
            let mut tx = database.begin().await?;
            keys::replace(&mut tx, &keyring, &config).await?;
            tx.commit().await?;
            feed.reload_once().await?;
        }
        let identity = Self(Arc::new(Inner {
            hasher: Hasher::new(config.password_queue).await?,
            remembered: Remembered::new(config.remember_seconds),
            read: ReadTokens::default(),
            issues: audit::Buffer::new(database.clone()),
            database,
            keyring,
            config,
            clock,
            feed,
        }));
        identity.self_test().await?;
        Ok(identity)
    }

    /// Follows revocations, blocks and keys, and writes buffered trail entries, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::join!(self.0.feed.run(shutdown.clone()), self.0.issues.clone().run(shutdown));
    }

    /// How old the knowledge about revocations is. Above five seconds it decides nothing; for readiness checks.
    pub fn age(&self) -> Duration {
        self.0.feed.age()
    }

    /// The only `service` of the token endpoint, which is the audience of its tokens.
    pub fn token_service(&self) -> &str {
        &self.0.config.token_service
    }

    /// Lifetime of registry tokens in minutes.
    pub fn token_minutes(&self) -> u32 {
        self.0.config.token_minutes
    }

    /// Signs a registry token for the principal with the grant as `tenancy` decided it. No IO.
    ///
    /// # Errors
    /// `NoSigningKey`; `Invalid` when so much was granted that the token would not fit into a request.
    pub async fn sign(&self, principal: &Principal, access: &[Access]) -> Result<Issued, Error> {
        let keys = self.0.feed.keys();
        let key = keys.signer().ok_or(Error::NoSigningKey)?;
        tokens::sign(key, &self.0.config, self.0.clock.now(), principal, access)
    }

    /// Checks a registry token: signature, issuer, audience, times, and that nothing it rests on was revoked. No
    /// IO for a token in its time while the feed is fresh. Otherwise the database is asked about exactly what the
    /// token rests on: the feed follows revocations only for as long as tokens live.
    ///
    /// # Errors
    /// See [`tokens::Error`]. `Expired` holds the contents: an upload session may outlive its token.
    pub async fn verify(&self, token: &str) -> Result<Verified, tokens::Error> {
        let keys = self.0.feed.keys();
        let (verified, expired) = self.0.read.read(token, &keys, &self.0.config, self.0.clock.now())?;
        let revoked = if self.0.feed.is_fresh() && !expired {
            self.0.feed.is_raised(verified.subjects())
        } else {
            self.is_revoked_now(&verified, tokens::kid_of(token)).await?
        };
        match (revoked, expired) {
            (true, _) => Err(tokens::Error::Revoked),
            (false, true) => Err(tokens::Error::Expired(Box::new(verified))),
            (false, false) => Ok(verified),
        }
    }

    /// The slow way: what the database says at this moment.
    async fn is_revoked_now(&self, verified: &Verified, kid: Option<String>) -> Result<bool, tokens::Error> {
        let ask = async {
            let subjects: Vec<_> = verified.subjects().collect();
            let named: Vec<Subject> = subjects.iter().map(|(subject, _)| *subject).collect();
            let now = epochs::current(self.0.database.pool(), &named).await?;
            let raised =
                subjects.iter().any(|(subject, epoch)| now.get(subject).is_some_and(|now| now > epoch));
            Ok::<_, Error>(
                raised || !keys::still_verifies(&self.0.database, kid.as_deref().unwrap_or_default()).await?,
            )
        };
        match tokio::time::timeout(Duration::from_secs(4), ask).await {
            Ok(Ok(revoked)) => Ok(revoked),
            Ok(Err(_)) | Err(_) => Err(tokens::Error::Stale),
        }
    }

    /// Public keys of registry tokens as a JWK set.
    pub fn jwks(&self) -> serde_json::Value {
        self.0.feed.keys().jwks()
    }

    /// The same keys as self-signed certificates in PEM, for registries that take a `rootcertbundle`.
    pub fn certificate_bundle(&self) -> String {
        self.0.feed.keys().certificates()
    }

    /// Every signing key, the newest first. For the command line only.
    pub async fn keys_list(&self) -> Result<Vec<keys::KeyInfo>, Error> {
        keys::list(&self.0.database).await
    }

    /// Makes a new signing key, which takes over after the configured delay; returns its `kid`.
    pub async fn keys_rotate(&self) -> Result<String, Error> {
        let mut tx = self.0.database.begin().await?;
        let kid = keys::rotate(&mut tx, &self.0.keyring, &self.0.config).await?;
        self.key_audit(&mut tx, "signing_key_create", &kid).await?;
        tx.commit().await?;
        self.0.feed.reload_once().await?;
        Ok(kid)
    }

    /// Removes a signing key; its tokens are refused within five seconds everywhere.
    ///
    /// # Errors
    /// `KeyUnknown`.
    pub async fn key_remove(&self, kid: &str) -> Result<(), Error> {
        let mut tx = self.0.database.begin().await?;
        keys::remove(&mut tx, &self.0.keyring, &self.0.config, kid).await?;
        self.key_audit(&mut tx, "signing_key_delete", kid).await?;
        tx.commit().await?;
        self.0.feed.reload_once().await
    }

    /// Handler of [`keys::Rotate`]: replaces the signing key when its time has come. Tells whether it did.
    pub async fn rotate_when_due(&self) -> Result<bool, Error> {
        let mut tx = self.0.database.begin().await?;
        keys::drop_retired(&mut tx).await?;
        let due = keys::due(&mut tx, &self.0.config).await?;
        if due {
            let kid = keys::rotate(&mut tx, &self.0.keyring, &self.0.config).await?;
            self.key_audit(&mut tx, "signing_key_create", &kid).await?;
        }
        tx.commit().await?;
        Ok(due)
    }

    /// Handler of [`Purge`].
    pub async fn purge(&self) -> Result<Purged, Error> {
        let throttle_rows = throttle::purge(&self.0.database).await?;
        let refresh_tokens = refresh::purge(&self.0.database).await?;
        let sessions = sessions::purge(&self.0.database).await?;
        let mut tx = self.0.database.begin().await?;
        let signing_keys = keys::drop_retired(&mut tx).await?;
        tx.commit().await?;
        Ok(Purged { throttle_rows, refresh_tokens, sessions, signing_keys })
    }

    async fn key_audit(&self, tx: &mut Tx, action: &'static str, kid: &str) -> Result<(), Error> {
        let entry = audit::Entry {
            actor: SYSTEM,
            action,
            object: audit::Object { kind: "signing_key", id: kid.to_owned(), name: kid },
            project: None,
            outcome: audit::Outcome::Done,
            origin: &Origin::default(),
            changed: &[],
        };
        Ok(audit::append(tx, &entry).await?)
    }

    async fn self_test(&self) -> Result<(), Error> {
        let issued = self.sign(&Principal::Anonymous, &[]).await?;
        match self.verify(&issued.token).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(error = %error, "a token signed by this process does not verify here");
                Err(Error::NoSigningKey)
            }
        }
    }
}

/// Who acts when nobody signed in: the command line on the server, and jobs.
const SYSTEM: audit::Actor<'static> = audit::Actor { kind: "system", id: None, name: "hythe" };
