//! Refresh tokens: what docker keeps instead of a password.
//!
//! Opaque, 256 random bits, stored as SHA-256, bound to the account and to the version of its credential. They
//! are no bearer tokens, and a bearer token is none of them.
//!
//! Invariant: a refresh token is checked in the database every time, so it is dead the moment its owner's password
//! changes or the account ends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use database::{Database, Tx};
use rand::RngExt;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::Error;
use crate::principal::{Principal, User, UserId};
use crate::throttle::{self, Pair};
use crate::{Identity, Origin};

/// Makes leaked tokens findable.
const PREFIX: &str = "hyr_";

/// Random bytes in a token.
const RANDOM_BYTES: usize = 32;

/// Newest tokens of one account that a purge leaves: a build that logs in every minute must not fill the table.
const PER_USER_MAX: i64 = 1000;

impl Identity {
    /// Whether refresh tokens are given out at all.
    pub fn refresh_tokens_enabled(&self) -> bool {
        self.0.config.refresh_token_days > 0
    }

    /// A new refresh token for a user who has just proved a password. `client_id` is for people who read lists.
    ///
    /// # Errors
    /// `BadCredentials` when the account changed since the proof, refresh tokens are switched off, or the proof was
    /// an access token: a refresh token has none of its limits.
    pub async fn issue_refresh(&self, user: &User, client_id: &str) -> Result<String, Error> {
        if !self.refresh_tokens_enabled() || user.limits.is_some() {
            return Err(Error::BadCredentials);
        }
        let mut random = [0; RANDOM_BYTES];
        rand::rng().fill(&mut random);
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let client_id: String = client_id.chars().filter(|c| !c.is_control()).take(255).collect();
        let inserted = sqlx::query!(
            "insert into identity.refresh_tokens (id, token_hash, user_id, credential_version, client_id, expires_at)
             select $1, $2, u.id, u.credential_version, $3, now() + make_interval(days => $4)
             from identity.users u
             left join identity.epochs e on e.kind = 1 and e.subject_id = u.id
             where u.id = $5 and not u.disabled and u.deleted_at is null and coalesce(e.epoch, 0) = $6",
            Uuid::now_v7(),
            hash(&token),
            client_id,
            i32::try_from(self.0.config.refresh_token_days).unwrap_or(i32::MAX),
            user.id.0,
            user.epoch
        )
        .execute(self.0.database.pool())
        .await?;
        if inserted.rows_affected() == 1 { Ok(token) } else { Err(Error::BadCredentials) }
    }

    /// The user behind a refresh token.
    ///
    /// # Errors
    /// `BadCredentials` for anything that is not, or not any more, a refresh token of an account; `Disabled` when
    /// only the account stands in the way; `Unavailable`.
    pub async fn exchange_refresh(&self, refresh: &str, origin: &Origin) -> Result<User, Error> {
        let found = if self.refresh_tokens_enabled() && is_shaped(refresh) {
            self.find_refresh(&hash(refresh)).await?
        } else {
            None
        };
        match found {
            Some((user, false)) => Ok(user),
            other => {
                metrics::counter!("hythe_login_failed_total").increment(1);
                // Counted by address like any failed login, so that nobody fills the trail with made-up tokens.
                // A right token is never refused for it: there is nothing to guess. Each wrong token is an account of
                // its own, so what adds up is the address's total: an office with many dead tokens is not an attack.
                let pair = Pair::new(None, refresh, &origin.address);
                throttle::reserve(&self.0.database, &self.0.config, &pair).await?;
                for (pair, seconds) in throttle::fail(&self.0.database, &self.0.config, &pair).await? {
                    self.0.feed.note_block(pair, seconds);
                }
                let account = other.as_ref().map(|(user, _)| Principal::User(user.clone()));
                self.failed_login_audit(account.as_ref().map(Principal::actor), origin).await?;
                Err(if other.is_some() { Error::Disabled } else { Error::BadCredentials })
            }
        }
    }

    /// The owner of a token and whether the account is disabled.
    async fn find_refresh(&self, hash: &[u8]) -> Result<Option<(User, bool)>, Error> {
        let row = sqlx::query!(
            r#"select r.id, u.id as user_id, u.username, u.sysadmin, u.disabled, coalesce(e.epoch, 0) as "epoch!",
                      r.last_used_at is null or r.last_used_at < now() - interval '1 minute' as "touch!"
               from identity.refresh_tokens r
               join identity.users u on u.id = r.user_id and u.credential_version = r.credential_version
               left join identity.epochs e on e.kind = 1 and e.subject_id = u.id
               where r.token_hash = $1 and r.expires_at > now() and u.deleted_at is null"#,
            hash
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        if row.touch && !row.disabled {
            sqlx::query!("update identity.refresh_tokens set last_used_at = now() where id = $1", row.id)
                .execute(self.0.database.pool())
                .await?;
        }
        let user = User {
            id: UserId(row.user_id),
            name: row.username,
            sysadmin: row.sysadmin,
            epoch: row.epoch,
            limits: None,
        };
        Ok(Some((user, row.disabled)))
    }
}

/// Ends every refresh token of an account.
pub(crate) async fn end_all(tx: &mut Tx, user: UserId) -> Result<(), Error> {
    sqlx::query!("delete from identity.refresh_tokens where user_id = $1", user.0).execute(&mut **tx).await?;
    Ok(())
}

/// Removes tokens that are over, and the oldest of accounts that have too many.
pub(crate) async fn purge(database: &Database) -> Result<u64, Error> {
    let over = sqlx::query!("delete from identity.refresh_tokens where expires_at < now()")
        .execute(database.pool())
        .await?;
    let surplus = sqlx::query!(
        "delete from identity.refresh_tokens where id in (
             select id from (
                 select id, row_number() over (partition by user_id order by created_at desc, id desc) as place
                 from identity.refresh_tokens) ranked
             where place > $1)",
        PER_USER_MAX
    )
    .execute(database.pool())
    .await?;
    Ok(over.rows_affected() + surplus.rows_affected())
}

fn is_shaped(token: &str) -> bool {
    token.strip_prefix(PREFIX).is_some_and(|random| random.len() == 43)
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}
