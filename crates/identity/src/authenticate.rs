//! From a name and a secret to a user or a robot, or a refusal that says nothing about which of the two was wrong.
//!
//! Order: remembered credential, one row by name, one attempt reserved, the hash. Unknown names take the same
//! road and the same time. Checking runs to its end even when the request that asked is gone, so that nobody
//! escapes being counted by hanging up.
//!
//! Invariant: nothing is evaluated without a reservation, and no remembered credential is honoured while the pair
//! is blocked, the account's epoch has moved, or either is not known.

use audit::{Actor, Entry, Object, Outcome};

use crate::error::Error;
use crate::feed::Blocked;
use crate::principal::{Presented, Principal, Robot, RobotId, User, UserId};
use crate::remembered::{Credential, Known};
use crate::robots;
use crate::throttle::{self, Pair};
use crate::{Identity, Origin, Secret, access_tokens};

/// Longer names belong to nobody.
const NAME_BYTES_MAX: usize = 1024;

/// What the check of one password needs; owned, because it may outlive the request.
struct Attempt {
    /// Under which the credential is remembered when it is right.
    name: String,
    password: Secret,
    origin: Origin,
    pair: Pair,
    credential: Credential,
    account: Option<Account>,
}

pub(crate) struct Account {
    pub(crate) known: Known,
    pub(crate) secret_hash: Option<String>,
    pub(crate) disabled: bool,
}

impl Identity {
    /// Who presents these credentials. Nothing presented is `Anonymous`; bearer tokens are not accepted here.
    ///
    /// # Errors
    /// `BadCredentials` for a wrong, unknown or malformed credential; `Disabled` only when the password was right;
    /// `Throttled`, `Busy`, `Unavailable`.
    pub async fn authenticate(&self, presented: &Presented, origin: &Origin) -> Result<Principal, Error> {
        match presented {
            Presented::Nothing => Ok(Principal::Anonymous),
            Presented::Bearer(_) | Presented::Malformed => Err(Error::BadCredentials),
            Presented::Basic { username, password } => self.check_password(username, password, origin).await,
        }
    }

    /// The user behind a name (or e-mail address) and a password or access token, or the robot behind its name and
    /// secret.
    pub(crate) async fn check_password(
        &self,
        name: &str,
        password: &Secret,
        origin: &Origin,
    ) -> Result<Principal, Error> {
        let remembered = access_tokens::remembered_name(name, password);
        if let Some(known) = self.0.remembered.account(&remembered) {
            let credential = self.0.remembered.credential(Some(&known), name, password);
            if let Some(principal) = self.recall(&remembered, &known, &credential, origin).await? {
                return Ok(principal);
            }
        }
        let account = match self.account_by_token(name, password).await? {
            Some(account) => Some(account),
            None => self.account_by_login(name).await?,
        };
        let known = account.as_ref().map(|account| &account.known);
        let pair = Pair::new(known.map(|known| &known.principal), name, &origin.address);
        let credential = self.0.remembered.credential(known, name, password);

        let lock = self.0.remembered.lock_of(credential);
        let checking = lock.clone().lock_owned().await;
        if let Some(known) = known
            && let Some(principal) = self.recall(&remembered, known, &credential, origin).await?
        {
            return Ok(principal);
        }
        let attempt = Attempt {
            name: remembered,
            password: Secret::new(password.expose().to_vec()),
            origin: origin.clone(),
            pair,
            credential,
            account,
        };
        let identity = self.clone();
        tokio::spawn(async move {
            let _checking = checking;
            identity.evaluate(attempt).await
        })
        .await
        .map_err(Error::other)?
    }

    /// The account of a remembered credential, without SQL. `None`: nothing is remembered that may be used now.
    async fn recall(
        &self,
        name: &str,
        known: &Known,
        credential: &Credential,
        origin: &Origin,
    ) -> Result<Option<Principal>, Error> {
        if !self.0.remembered.holds(known, credential) || !self.0.feed.is_fresh() {
            return Ok(None);
        }
        let over = known.principal.is_over(self.0.clock.now());
        if over || self.0.feed.is_raised(known.principal.subjects()) {
            self.0.remembered.forget(name);
            return Ok(None);
        }
        let pair = Pair::new(Some(&known.principal), name, &origin.address);
        match self.0.feed.blocked(&pair) {
            Blocked::No => Ok(Some(known.principal.clone())),
            Blocked::For(left) => Err(Error::Throttled { retry_after_seconds: left.as_secs().max(1) }),
            Blocked::Unknown => Ok(None),
        }
    }

    async fn evaluate(&self, attempt: Attempt) -> Result<Principal, Error> {
        // Before the slot: who is blocked must not keep others from having their passwords looked at.
        if self.0.feed.is_fresh()
            && let Blocked::For(left) = self.0.feed.blocked(&attempt.pair)
        {
            metrics::counter!("hythe_login_refused_total").increment(1);
            return Err(Error::Throttled { retry_after_seconds: left.as_secs().max(1) });
        }
        let slot = self.0.hasher.slot().await?;
        if let Err(error) = throttle::reserve(&self.0.database, &self.0.config, &attempt.pair).await {
            metrics::counter!("hythe_login_refused_total").increment(1);
            return Err(error);
        }
        let stored = attempt.account.as_ref().and_then(|account| account.secret_hash.clone());
        let matches = self.0.hasher.matches(slot, stored, &attempt.password).await?;
        match &attempt.account {
            Some(account) if matches && !account.disabled => {
                throttle::succeed(&self.0.database, &attempt.pair).await?;
                if let Principal::Robot(robot) = &account.known.principal {
                    self.robot_used(robot.id, &attempt.origin).await?;
                }
                if let Some(limits) = account.known.principal.limits() {
                    self.access_token_used(limits.token, &attempt.origin).await?;
                }
                self.0.remembered.insert(&attempt.name, account.known.clone(), attempt.credential);
                Ok(account.known.principal.clone())
            }
            account => {
                self.failed(&attempt).await?;
                let disabled = matches && account.is_some();
                Err(if disabled { Error::Disabled } else { Error::BadCredentials })
            }
        }
    }

    /// Counts a failure, blocks what is due and leaves a trace.
    async fn failed(&self, attempt: &Attempt) -> Result<(), Error> {
        metrics::counter!("hythe_login_failed_total").increment(1);
        for (pair, seconds) in throttle::fail(&self.0.database, &self.0.config, &attempt.pair).await? {
            tracing::warn!(account = %pair.account, address = %pair.address, seconds, "logins are blocked");
            self.0.feed.note_block(pair, seconds);
        }
        let account = attempt.account.as_ref().map(|account| account.known.principal.actor());
        self.failed_login_audit(account, &attempt.origin).await
    }

    /// A failed login in the trail. What was typed as a name is not kept: people type passwords there.
    pub(crate) async fn failed_login_audit(
        &self,
        account: Option<Actor<'_>>,
        origin: &Origin,
    ) -> Result<(), Error> {
        let entry = Entry {
            actor: Actor { kind: "anonymous", id: None, name: "" },
            action: "login",
            object: Object {
                kind: account.as_ref().map_or("user", |account| account.kind),
                id: account
                    .as_ref()
                    .and_then(|account| account.id)
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
                name: account.as_ref().map_or("", |account| account.name),
            },
            project: None,
            outcome: Outcome::Failed,
            origin,
            changed: &[],
        };
        Ok(audit::append_alone(&self.0.database, &entry).await?)
    }

    /// One statement: the account of a user name or e-mail address, with its epoch. A user name wins over an
    /// e-mail address that reads the same.
    async fn account_by_login(&self, name: &str) -> Result<Option<Account>, Error> {
        // PostgreSQL refuses NUL; for everything that cannot be a name an empty one is looked up, so that it
        // costs what a name costs.
        let name = if name.len() > NAME_BYTES_MAX || name.contains('\0') { "" } else { name };
        if let Some(stored) = robots::stored_name(&self.0.feed.robot_prefix(), name) {
            return self.robot_by_login(stored).await;
        }
        let row = sqlx::query!(
            r#"select u.id, u.username, u.sysadmin, u.disabled, u.password_hash, u.credential_version,
                      coalesce(e.epoch, 0) as "epoch!"
               from identity.users u
               left join identity.epochs e on e.kind = 1 and e.subject_id = u.id
               where u.deleted_at is null
                 and (lower(u.username) = lower($1) or (u.email <> '' and lower(u.email) = lower($1)))
               order by lower(u.username) = lower($1) desc, u.id
               limit 1"#,
            name
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        Ok(row.map(|row| Account {
            known: Known {
                principal: Principal::User(User {
                    id: UserId(row.id),
                    name: row.username,
                    sysadmin: row.sysadmin,
                    epoch: row.epoch,
                    limits: None,
                }),
                credential_version: row.credential_version,
            },
            secret_hash: row.password_hash,
            disabled: row.disabled,
        }))
    }

    /// The same for a robot, in one statement as well. One whose time is over counts as disabled.
    async fn robot_by_login(&self, stored: &str) -> Result<Option<Account>, Error> {
        let row = sqlx::query!(
            r#"select r.id, r.secret_hash, r.credential_version, r.expires_at,
                      identity.robot_login(r.name) as "login_name!",
                      r.disabled or r.expires_at <= now() is true as "disabled!", coalesce(e.epoch, 0) as "epoch!"
               from identity.robots r
               left join identity.epochs e on e.kind = 3 and e.subject_id = r.id
               where r.deleted_at is null and r.name = $1"#,
            stored
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        Ok(row.map(|row| Account {
            known: Known {
                principal: Principal::Robot(Robot {
                    id: RobotId(row.id),
                    name: row.login_name,
                    expires_at: row.expires_at,
                    epoch: row.epoch,
                }),
                credential_version: row.credential_version,
            },
            secret_hash: Some(row.secret_hash),
            disabled: row.disabled,
        }))
    }
}
