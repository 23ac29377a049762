//! Personal access tokens: secrets of a person for programs, each with less than the person's own rights.
//!
//! One is used like a password, together with its owner's name, and never instead of a password: it sets none,
//! makes no tokens and no refresh tokens. What its scopes leave of a right is decided by `tenancy` with every
//! decision; here they are only kept.
//!
//! Invariants:
//! * The secret is shown once, by the call that made it, and stored as SHA-256 of 256 random bits.
//! * Removing a token raises its epoch in the same transaction, so that what it gave out ends within 5 s.

use audit::{Entry, Object, Outcome};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use database::list::{self, Columns, Page, Query, Select};
use rand::RngExt;
use sealed::Secret;

use crate::authenticate::Account;
use crate::epochs::{self, Subject};
use crate::error::Error;
use crate::principal::{Caller, Limits, Principal, TokenScope, User, UserId};
use crate::remembered::Known;
use crate::{Identity, Origin, passwords};

/// Makes leaked tokens findable.
const PREFIX: &str = "hyt_";

/// Random bytes in a token.
const RANDOM_BYTES: usize = 32;

/// Letters of the random part.
const RANDOM_LETTERS: usize = 43;

/// Tokens one account may have.
const PER_USER_MAX: i64 = 100;

/// A token to be made.
pub struct NewAccessToken {
    pub name: String,
    pub scopes: Vec<TokenScope>,
    /// Ids of the only projects it opens; none means all of its owner's.
    pub projects: Vec<i64>,
    /// Without end when absent.
    pub expires_at: Option<DateTime<Utc>>,
}

const COLUMNS: Columns = Columns::new(&[], "t.name", "t.id");

/// A token as lists show it, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AccessToken {
    pub id: i64,
    pub name: String,
    pub scopes: Vec<String>,
    pub projects: Vec<i64>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub last_used_address: String,
}

/// The name under which a checked credential is remembered. A token is remembered beside its owner's password.
pub(crate) fn remembered_name(name: &str, password: &Secret) -> String {
    if is_shaped(password) {
        // No name of an account has a NUL.
        format!("{name}\0{}", passwords::hash_generated(password))
    } else {
        name.to_owned()
    }
}

fn is_shaped(password: &Secret) -> bool {
    password.expose().strip_prefix(PREFIX.as_bytes()).is_some_and(|random| random.len() == RANDOM_LETTERS)
}

impl Identity {
    /// Makes a token for an account and returns its id and its secret. `tenancy` has decided that the caller may.
    ///
    /// # Errors
    /// `UserUnknown`, `Invalid`, `Taken`.
    pub async fn access_token_insert(
        &self,
        caller: &Caller,
        owner: UserId,
        new: &NewAccessToken,
    ) -> Result<(i64, Secret), Error> {
        check_new(new, self.0.clock.now())?;
        let mut random = [0; RANDOM_BYTES];
        rand::rng().fill(&mut random);
        let secret = Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into_bytes());
        let scopes: Vec<String> = new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        let mut tx = self.0.database.begin().await?;
        // The row of the account, so that the number of its tokens holds and it is not deleted meanwhile.
        sqlx::query_scalar!(
            "select id from identity.users where id = $1 and deleted_at is null for no key update",
            owner.0
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Error::UserUnknown(owner.to_string()))?;
        let held = sqlx::query_scalar!(
            r#"select count(*) as "count!" from identity.access_tokens where user_id = $1"#,
            owner.0
        )
        .fetch_one(&mut *tx)
        .await?;
        if held >= PER_USER_MAX {
            return Err(Error::Invalid("an account can have at most 100 access tokens: delete some first"));
        }
        let id = sqlx::query_scalar!(
            "insert into identity.access_tokens (user_id, name, secret_hash, scopes, projects, expires_at)
             values ($1, $2, $3, $4, $5, $6) on conflict (user_id, name) do nothing returning id",
            owner.0,
            new.name,
            passwords::hash_generated(&secret),
            &scopes,
            &new.projects,
            new.expires_at
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::Taken("name of the access token"))?;
        audit::append(&mut tx, &entry(caller, "access_token_create", id, &new.name)).await?;
        tx.commit().await?;
        Ok((id, secret))
    }

    /// A page of the tokens of an account, in order of their names. `tenancy` has decided that the caller may see
    /// them.
    pub async fn access_token_page(
        &self,
        owner: UserId,
        page: i64,
        page_size: i64,
    ) -> Result<Page<AccessToken>, Error> {
        let select = Select::new(
            "t.id, t.name, t.scopes, t.projects, t.created_at, t.expires_at, t.last_used_at, t.last_used_address",
            "identity.access_tokens t",
        )
        .and("t.user_id = ", owner.0);
        let query = Query { page, page_size, ..Query::default() };
        list::page(self.0.database.pool(), select, &COLUMNS, &query).await.map_err(|err| match err {
            list::Error::Database(err) => err.into(),
            other => Error::BadQuery(other),
        })
    }

    /// Removes a token of an account. `tenancy` has decided that the caller may.
    ///
    /// # Errors
    /// `TokenUnknown`.
    pub async fn access_token_remove(&self, caller: &Caller, owner: UserId, id: i64) -> Result<(), Error> {
        let mut tx = self.0.database.begin().await?;
        let name = sqlx::query_scalar!(
            "delete from identity.access_tokens where id = $1 and user_id = $2 returning name",
            id,
            owner.0
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::TokenUnknown(id))?;
        let subject = Subject::AccessToken(id);
        let epoch = epochs::raise_to(&mut tx, subject).await?;
        audit::append(&mut tx, &entry(caller, "access_token_delete", id, &name)).await?;
        tx.commit().await?;
        self.0.feed.note_epoch(subject, epoch);
        Ok(())
    }

    /// The account behind a name and a token of it, in one statement; nothing when the secret is no token of that
    /// account. One whose time is over counts as disabled.
    pub(crate) async fn account_by_token(
        &self,
        name: &str,
        secret: &Secret,
    ) -> Result<Option<Account>, Error> {
        if !is_shaped(secret) || name.contains('\0') {
            return Ok(None);
        }
        let hash = passwords::hash_generated(secret);
        let row = sqlx::query!(
            r#"select u.id, u.username, u.sysadmin, coalesce(e.epoch, 0) as "epoch!",
                      u.disabled or t.expires_at <= now() is true as "disabled!",
                      t.id as token, t.scopes, t.projects, t.expires_at, coalesce(f.epoch, 0) as "token_epoch!"
               from identity.access_tokens t
               join identity.users u on u.id = t.user_id
               left join identity.epochs e on e.kind = 1 and e.subject_id = u.id
               left join identity.epochs f on f.kind = 4 and f.subject_id = t.id
               where t.secret_hash = $1 and u.deleted_at is null
                 and (lower(u.username) = lower($2) or (u.email <> '' and lower(u.email) = lower($2)))"#,
            hash,
            name
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        Ok(row.map(|row| {
            let limits = Limits::new(row.token, row.token_epoch, &row.scopes, row.projects, row.expires_at);
            let user = User {
                id: UserId(row.id),
                name: row.username,
                sysadmin: row.sysadmin,
                epoch: row.epoch,
                limits: Some(limits.into()),
            };
            Account {
                known: Known { principal: Principal::User(user), credential_version: 0 },
                secret_hash: Some(hash),
                disabled: row.disabled,
            }
        }))
    }

    /// The limits of a token as they are now; nothing when it is gone or over.
    pub(crate) async fn active_limits(&self, token: i64) -> Result<Option<Limits>, Error> {
        let row = sqlx::query!(
            r#"select t.scopes, t.projects, t.expires_at, coalesce(e.epoch, 0) as "epoch!"
               from identity.access_tokens t
               left join identity.epochs e on e.kind = 4 and e.subject_id = t.id
               where t.id = $1 and (t.expires_at is null or t.expires_at > now())"#,
            token
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        Ok(row.map(|row| Limits::new(token, row.epoch, &row.scopes, row.projects, row.expires_at)))
    }

    /// Notes a use, once a minute at most, however many processes see the token.
    pub(crate) async fn access_token_used(&self, id: i64, origin: &Origin) -> Result<(), Error> {
        sqlx::query!(
            "update identity.access_tokens set last_used_at = now(), last_used_address = $2
             where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')",
            id,
            origin.address
        )
        .execute(self.0.database.pool())
        .await?;
        Ok(())
    }
}

fn check_new(new: &NewAccessToken, now: DateTime<Utc>) -> Result<(), Error> {
    if !(1..=255).contains(&new.name.chars().count()) || new.name.contains(char::is_control) {
        return Err(Error::Invalid("the access token needs a name of 1 to 255 characters"));
    }
    if new.scopes.is_empty() {
        return Err(Error::Invalid(
            "scopes is empty: name at least one of pull, push, delete, api, api:read",
        ));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::Invalid("expires_at lies in the past"));
    }
    Ok(())
}

fn entry<'a>(caller: &'a Caller, action: &'static str, id: i64, name: &'a str) -> Entry<'a> {
    Entry {
        actor: caller.actor(),
        action,
        object: Object { kind: "access_token", id: id.to_string(), name },
        project: None,
        outcome: Outcome::Done,
        origin: &caller.origin,
        changed: &[],
    }
}
