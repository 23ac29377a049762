//! Sessions of people who signed in to the console.
//!
//! The cookie is opaque, 256 random bits, stored as SHA-256. It is good for the console's own pages, and for the REST
//! API when nothing else is presented there; no other credential is a session. What must come with it is in `browser`.
//!
//! Invariants:
//! * A session is checked in the database with every request, so it is over the moment its account is disabled or
//!   deleted, its password changes or its owner ends it, in every process.
//! * Signing in always makes a new session; nobody can bring their own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rand::RngExt;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::Error;
use crate::preferences::Preferences;
use crate::principal::{Caller, Principal, User, UserId};
use crate::{Identity, Origin, Secret};

/// Random bytes in a cookie.
const RANDOM_BYTES: usize = 32;

/// After this a session ends however busy it is.
const ABSOLUTE_HOURS: i32 = 12;

/// Newest sessions of one account; signing in once more ends the oldest.
const PER_USER_MAX: i64 = 100;

/// A session that was just made.
pub struct NewSession {
    /// For the cookie, and shown to nobody else.
    pub secret: Secret,
    pub user: User,
}

/// A request with a session.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub user: User,
    pub session: Uuid,
    pub preferences: Preferences,
}

/// A session in the list of its owner.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: Uuid,
    pub address: String,
    pub client: String,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

impl Identity {
    /// Signs a person in by name (or e-mail address) and password. `idle_minutes` is how long the session lives
    /// between two requests; it ends after twelve hours in any case.
    ///
    /// # Errors
    /// Those of [`Identity::authenticate`]. Robots and access tokens are no people: `BadCredentials`.
    pub async fn sign_in(
        &self,
        name: &str,
        password: &Secret,
        idle_minutes: u32,
        origin: &Origin,
    ) -> Result<NewSession, Error> {
        let Principal::User(user) = self.check_password(name, password, origin).await? else {
            return Err(Error::BadCredentials);
        };
        if user.limits.is_some() {
            return Err(Error::BadCredentials);
        }
        let mut random = [0; RANDOM_BYTES];
        rand::rng().fill(&mut random);
        let secret = URL_SAFE_NO_PAD.encode(random);
        let client: String = origin.client.chars().filter(|c| !c.is_control()).take(255).collect();
        let mut tx = self.0.database.begin().await?;
        let made = sqlx::query!(
            "insert into identity.sessions
                 (id, secret_hash, user_id, credential_version, idle_minutes, address, client, expires_at)
             select $1, $2, u.id, u.credential_version, $3, $4, $5, now() + make_interval(hours => $6)
             from identity.users u
             left join identity.epochs e on e.kind = 1 and e.subject_id = u.id
             where u.id = $7 and not u.disabled and u.deleted_at is null and coalesce(e.epoch, 0) = $8",
            Uuid::now_v7(),
            hash(&secret),
            i32::try_from(idle_minutes.max(1)).unwrap_or(i32::MAX),
            origin.address,
            client,
            ABSOLUTE_HOURS,
            user.id.0,
            user.epoch
        )
        .execute(&mut *tx)
        .await?;
        if made.rows_affected() == 0 {
            // The account changed between the proof and here.
            return Err(Error::BadCredentials);
        }
        sqlx::query!(
            "delete from identity.sessions where id in (
                 select id from identity.sessions where user_id = $1 order by last_seen_at desc offset $2)",
            user.id.0,
            PER_USER_MAX
        )
        .execute(&mut *tx)
        .await?;
        self.session_audit(&mut tx, &user, "login", origin).await?;
        tx.commit().await?;
        Ok(NewSession { secret: Secret::new(secret.into_bytes()), user })
    }

    /// Who a cookie belongs to; nobody when it is not, or not any more, a session. One statement, and another one a
    /// minute to remember that it was used.
    pub async fn session(&self, cookie: &str) -> Result<Option<SignedIn>, Error> {
        if cookie.len() != RANDOM_BYTES.div_ceil(3) * 4 - 1 {
            return Ok(None);
        }
        let row = sqlx::query!(
            r#"select s.id, u.id as user_id, u.username, u.sysadmin, coalesce(e.epoch, 0) as "epoch!",
                      s.last_seen_at < now() - interval '1 minute' as "touch!",
                      coalesce(p.language, '') as "language!", coalesce(p.theme, '') as "theme!",
                      coalesce(p.page_size, 0) as "page_size!", coalesce(p.client, '') as "client!",
                      coalesce(p.shortcuts, true) as "shortcuts!"
               from identity.sessions s
               join identity.users u on u.id = s.user_id and u.credential_version = s.credential_version
               left join identity.epochs e on e.kind = 1 and e.subject_id = u.id
               left join identity.preferences p on p.user_id = u.id
               where s.secret_hash = $1 and s.expires_at > now() and not u.disabled and u.deleted_at is null
                 and s.last_seen_at > now() - make_interval(mins => s.idle_minutes)"#,
            hash(cookie)
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        if row.touch {
            sqlx::query!("update identity.sessions set last_seen_at = now() where id = $1", row.id)
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
        let preferences = Preferences {
            language: row.language,
            theme: row.theme,
            page_size: row.page_size,
            client: row.client,
            shortcuts: row.shortcuts,
        };
        Ok(Some(SignedIn { user, session: row.id, preferences }))
    }

    /// Ends the session of a request.
    pub async fn sign_out(&self, signed_in: &SignedIn, origin: &Origin) -> Result<(), Error> {
        let mut tx = self.0.database.begin().await?;
        let ended = sqlx::query!("delete from identity.sessions where id = $1", signed_in.session)
            .execute(&mut *tx)
            .await?;
        if ended.rows_affected() == 1 {
            self.session_audit(&mut tx, &signed_in.user, "logout", origin).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// The living sessions of a person, the last used first; a hundred at most.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<Session>, Error> {
        Ok(sqlx::query_as!(
            Session,
            "select s.id, s.address, s.client, s.created_at, s.last_seen_at
             from identity.sessions s join identity.users u on u.id = s.user_id
             where s.user_id = $1 and s.expires_at > now() and s.credential_version = u.credential_version
               and s.last_seen_at > now() - make_interval(mins => s.idle_minutes)
             order by s.last_seen_at desc, s.id desc limit $2",
            user.0,
            PER_USER_MAX
        )
        .fetch_all(self.0.database.pool())
        .await?)
    }

    /// Ends one of the person's own sessions, or all but `keep`. Tells how many it were.
    pub async fn sessions_end(&self, user: &User, which: Ended, origin: &Origin) -> Result<u64, Error> {
        let (one, keep) = match which {
            Ended::One(id) => (Some(id), None),
            Ended::AllBut(id) => (None, Some(id)),
        };
        let mut tx = self.0.database.begin().await?;
        let ended = sqlx::query!(
            "delete from identity.sessions
             where user_id = $1 and ($2::uuid is null or id = $2) and id is distinct from $3",
            user.id.0,
            one,
            keep
        )
        .execute(&mut *tx)
        .await?;
        if ended.rows_affected() > 0 {
            self.session_audit(&mut tx, user, "session_end", origin).await?;
            tx.commit().await?;
        }
        Ok(ended.rows_affected())
    }

    /// Ends every session of an account, for a system administrator. Tells how many it were.
    ///
    /// # Errors
    /// `Forbidden`, `Unauthenticated`, `UserUnknown`.
    pub async fn user_sessions_end(&self, caller: &Caller, id: UserId) -> Result<u64, Error> {
        caller.require_sysadmin()?;
        let mut tx = self.0.database.begin().await?;
        let name = sqlx::query_scalar!(
            "select username from identity.users where id = $1 and deleted_at is null for key share",
            id.0
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Error::UserUnknown(id.to_string()))?;
        let ended =
            sqlx::query!("delete from identity.sessions where user_id = $1", id.0).execute(&mut *tx).await?;
        if ended.rows_affected() > 0 {
            let entry = audit::Entry {
                actor: caller.actor(),
                action: "session_end",
                object: audit::Object { kind: "user", id: id.to_string(), name: &name },
                project: None,
                outcome: audit::Outcome::Done,
                origin: &caller.origin,
                changed: &[],
            };
            audit::append(&mut tx, &entry).await?;
        }
        tx.commit().await?;
        Ok(ended.rows_affected())
    }

    /// Changes the person's own password and keeps this session alone.
    ///
    /// # Errors
    /// Those of [`Identity::password_set`].
    pub async fn session_password_change(
        &self,
        caller: &Caller,
        signed_in: &SignedIn,
        old: Secret,
        new: Secret,
    ) -> Result<(), Error> {
        self.password_set(caller, signed_in.user.id, Some(old), new).await?;
        sqlx::query!(
            "update identity.sessions s set credential_version = u.credential_version
             from identity.users u where s.id = $1 and u.id = s.user_id",
            signed_in.session
        )
        .execute(self.0.database.pool())
        .await?;
        Ok(())
    }

    async fn session_audit(
        &self,
        tx: &mut database::Tx,
        user: &User,
        action: &'static str,
        origin: &Origin,
    ) -> Result<(), Error> {
        let principal = Principal::User(user.clone());
        let entry = audit::Entry {
            actor: principal.actor(),
            action,
            object: audit::Object { kind: "user", id: user.id.to_string(), name: &user.name },
            project: None,
            outcome: audit::Outcome::Done,
            origin,
            changed: &[],
        };
        Ok(audit::append(tx, &entry).await?)
    }
}

/// Which sessions to end.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    One(Uuid),
    AllBut(Uuid),
}

/// Removes what has ended; returns how many.
pub(crate) async fn purge(database: &database::Database) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from identity.sessions
         where expires_at < now() or last_seen_at < now() - make_interval(mins => idle_minutes)"
    )
    .execute(database.pool())
    .await?;
    Ok(purged.rows_affected())
}

fn hash(cookie: &str) -> Vec<u8> {
    Sha256::digest(cookie.as_bytes()).to_vec()
}
