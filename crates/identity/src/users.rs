//! Accounts: made, found, changed, disabled and deleted.
//!
//! Rows are never removed, because audit entries and pushes name them for years. Who may change whom is decided
//! here: everything needs a system administrator except one's own profile and password.
//!
//! Invariants: there is always an active system administrator; whatever takes something away from an account
//! raises its epoch in the same transaction; every change appends its audit entry there too.

use audit::{Entry, Object, Outcome};
use chrono::{DateTime, Utc};
use database::Tx;

use crate::epochs::{self, Subject};
use crate::error::Error;
use crate::passwords;
use crate::principal::{Caller, Principal, UserId};
use crate::user_rules::{check_profile, check_username};
use crate::{Identity, Origin, SYSTEM, Secret, refresh, throttle};

/// The first administrator of an installation.
pub(crate) const FIRST: UserId = UserId(1);

/// Name of the first administrator.
const FIRST_NAME: &str = "admin";

/// Serialises the making of the first administrator across processes that start together.
const FIRST_LOCK: i64 = 0x6879_7468_655f_6164;

/// An account as shown to those who may see it. Never holds anything about its password.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    pub id: UserId,
    pub name: String,
    pub email: String,
    pub realname: String,
    pub comment: String,
    pub sysadmin: bool,
    pub disabled: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a new account needs. It is never a system administrator; [`Identity::sysadmin_set`] makes it one.
pub struct NewUser {
    pub name: String,
    pub email: String,
    pub realname: String,
    pub comment: String,
    pub password: Secret,
}

/// The fields of an account that its owner may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub email: String,
    pub realname: String,
    pub comment: String,
}

impl Identity {
    /// Makes an account.
    ///
    /// # Errors
    /// `Forbidden`, `Unauthenticated`, `Invalid` for the name, address or password, `Taken`.
    pub async fn user_create(&self, caller: &Caller, new: NewUser) -> Result<UserId, Error> {
        caller.require_sysadmin()?;
        self.user_insert(caller, new).await
    }

    /// As [`Identity::user_create`], for a caller of whom `tenancy` has decided that it may.
    ///
    /// # Errors
    /// `Invalid`, `Taken`.
    pub async fn user_insert(&self, caller: &Caller, new: NewUser) -> Result<UserId, Error> {
        check_username(&new.name)?;
        let profile = Profile { email: new.email, realname: new.realname, comment: new.comment };
        check_profile(&profile)?;
        passwords::check_policy(&new.password)?;
        let hash = self.0.hasher.hash(&new.password).await?;
        let mut tx = self.0.database.begin().await?;
        let id = insert(&mut tx, &new.name, &profile, &hash, false).await?;
        self.user_audit(&mut tx, caller, "user_create", id, &new.name, &[]).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Changes the profile of an account: one's own, or anybody's for a system administrator.
    pub async fn user_update(&self, caller: &Caller, id: UserId, profile: Profile) -> Result<(), Error> {
        require_self_or_sysadmin(caller, id)?;
        self.user_change(caller, id, profile).await
    }

    /// As [`Identity::user_update`], for a caller of whom `tenancy` has decided that it may.
    ///
    /// # Errors
    /// `UserUnknown`, `Invalid`, `Taken`.
    pub async fn user_change(&self, caller: &Caller, id: UserId, profile: Profile) -> Result<(), Error> {
        check_profile(&profile)?;
        let mut tx = self.0.database.begin().await?;
        let name = lock_user(&mut tx, id).await?.name;
        refuse_address_of_another(&mut tx, id.0, &profile.email).await?;
        let before = sqlx::query_scalar!("select email from identity.users where id = $1", id.0)
            .fetch_one(&mut *tx)
            .await?;
        sqlx::query!(
            "update identity.users set email = $2, realname = $3, comment = $4, updated_at = now() where id = $1",
            id.0,
            profile.email,
            profile.realname,
            profile.comment
        )
        .execute(&mut *tx)
        .await
        .map_err(taken)?;
        // The address is a name to log in with: the old one must not be remembered.
        let epoch = if before.eq_ignore_ascii_case(&profile.email) {
            None
        } else {
            Some(epochs::raise_to(&mut tx, Subject::User(id.0)).await?)
        };
        self.user_audit(&mut tx, caller, "user_update", id, &name, &["email", "realname", "comment"]).await?;
        tx.commit().await?;
        if let Some(epoch) = epoch {
            self.0.feed.note_epoch(Subject::User(id.0), epoch);
        }
        Ok(())
    }

    /// Disables an account, or enables it again. Disabling ends everything the account holds within 5 s.
    ///
    /// # Errors
    /// `Forbidden`, `Unauthenticated`, `UserUnknown`, `LastAdministrator`.
    pub async fn user_disable(&self, caller: &Caller, id: UserId, disabled: bool) -> Result<(), Error> {
        caller.require_sysadmin()?;
        let mut tx = self.0.database.begin().await?;
        let user = lock_user(&mut tx, id).await?;
        if disabled {
            refuse_last_administrator(&mut tx, &user).await?;
            refresh::end_all(&mut tx, id).await?;
        }
        sqlx::query!(
            // The version ends a refresh token that is being issued at this moment, also after an enabling.
            "update identity.users
             set disabled = $2, credential_version = credential_version + $2::boolean::integer, updated_at = now()
             where id = $1",
            id.0,
            disabled
        )
        .execute(&mut *tx)
        .await?;
        let action = if disabled { "user_disable" } else { "user_enable" };
        self.user_audit(&mut tx, caller, action, id, &user.name, &["disabled"]).await?;
        self.raise_and_commit(tx, id).await
    }

    /// Deletes an account for good. The row stays for those who need its name; name and address become free.
    ///
    /// # Errors
    /// `Forbidden`, `Unauthenticated`, `UserUnknown`, `OwnAccount`, `FirstAdministrator`, `LastAdministrator`.
    pub async fn user_delete(&self, caller: &Caller, id: UserId) -> Result<(), Error> {
        caller.require_sysadmin()?;
        self.user_remove(caller, id).await
    }

    /// As [`Identity::user_delete`], for a caller of whom `tenancy` has decided that it may.
    ///
    /// # Errors
    /// `UserUnknown`, `OwnAccount`, `FirstAdministrator`, `LastAdministrator`.
    pub async fn user_remove(&self, caller: &Caller, id: UserId) -> Result<(), Error> {
        let mut tx = self.0.database.begin().await?;
        let user = lock_user(&mut tx, id).await?;
        if caller.principal.is(id) {
            return Err(Error::OwnAccount);
        }
        if id == FIRST {
            return Err(Error::FirstAdministrator);
        }
        refuse_last_administrator(&mut tx, &user).await?;
        refresh::end_all(&mut tx, id).await?;
        sqlx::query!("delete from identity.access_tokens where user_id = $1", id.0).execute(&mut *tx).await?;
        sqlx::query!("delete from identity.group_members where user_id = $1", id.0).execute(&mut *tx).await?;
        sqlx::query!(
            "update identity.users
             set deleted_at = now(), updated_at = now(), password_hash = null, sysadmin = false,
                 credential_version = credential_version + 1
             where id = $1",
            id.0
        )
        .execute(&mut *tx)
        .await?;
        self.user_audit(&mut tx, caller, "user_delete", id, &user.name, &[]).await?;
        self.raise_and_commit(tx, id).await
    }

    /// Makes an account a system administrator, or takes that away.
    ///
    /// # Errors
    /// `Forbidden`, `Unauthenticated`, `UserUnknown`, `LastAdministrator`.
    pub async fn sysadmin_set(&self, caller: &Caller, id: UserId, sysadmin: bool) -> Result<(), Error> {
        caller.require_sysadmin()?;
        let mut tx = self.0.database.begin().await?;
        let user = lock_user(&mut tx, id).await?;
        if !sysadmin {
            refuse_last_administrator(&mut tx, &user).await?;
        }
        sqlx::query!(
            "update identity.users set sysadmin = $2, updated_at = now() where id = $1",
            id.0,
            sysadmin
        )
        .execute(&mut *tx)
        .await?;
        self.user_audit(&mut tx, caller, "user_sysadmin_set", id, &user.name, &["sysadmin"]).await?;
        self.raise_and_commit(tx, id).await
    }

    /// Sets a password: one's own with the current one as proof, or somebody else's for a system administrator.
    /// Ends everything the old password gave out.
    ///
    /// # Errors
    /// `Forbidden`, `Unauthenticated`, `UserUnknown`, `Invalid` (weak, or equal to the current one),
    /// `OldPasswordWrong`, and those of a login, since guessing the current password counts as one.
    pub async fn password_set(
        &self,
        caller: &Caller,
        id: UserId,
        old: Option<Secret>,
        new: Secret,
    ) -> Result<(), Error> {
        require_self_or_sysadmin(caller, id)?;
        self.password_change(caller, id, old, new).await
    }

    /// As [`Identity::password_set`], for a caller of whom `tenancy` has decided that it may: whoever may change
    /// accounts without being a system administrator sets no system administrator's password.
    ///
    /// # Errors
    /// Those of [`Identity::password_set`].
    pub async fn password_change(
        &self,
        caller: &Caller,
        id: UserId,
        old: Option<Secret>,
        new: Secret,
    ) -> Result<(), Error> {
        let own = caller.principal.is(id);
        passwords::check_policy(&new)?;
        let Some(account) = self.user_by_id(id).await? else {
            return Err(Error::UserUnknown(id.to_string()));
        };
        if account.sysadmin && !own && !caller.is_sysadmin() {
            return Err(Error::Forbidden);
        }
        if own {
            let old = old.ok_or(Error::Invalid("the current password is required"))?;
            let proved = self.check_password(&account.name, &old, &caller.origin).await;
            let proved = proved.map_err(|error| match error {
                Error::BadCredentials => Error::OldPasswordWrong,
                other => other,
            })?;
            if proved.limits().is_some() {
                // An access token is no password.
                return Err(Error::OldPasswordWrong);
            }
        }
        self.refuse_same_password(id, &new).await?;
        let hash = self.0.hasher.hash(&new).await?;
        let mut tx = self.0.database.begin().await?;
        // Asked again under the lock: the account may have become an administrator's meanwhile.
        if lock_user(&mut tx, id).await?.sysadmin && !own && !caller.is_sysadmin() {
            return Err(Error::Forbidden);
        }
        store_password(&mut tx, id, &hash).await?;
        self.user_audit(&mut tx, caller, "user_password_set", id, &account.name, &["password"]).await?;
        self.raise_and_commit(tx, id).await
    }

    /// Sets a password on the server itself, without the current one, and lifts every block that could keep the
    /// account from logging in. The account is found by its user name.
    ///
    /// # Errors
    /// `UserUnknown`, `Invalid`.
    pub async fn admin_reset_password(&self, name: &str, new: Secret) -> Result<(), Error> {
        passwords::check_policy(&new)?;
        let account = self.user_by_name(name).await?.ok_or_else(|| Error::UserUnknown(name.to_owned()))?;
        let hash = self.0.hasher.hash(&new).await?;
        let mut tx = self.0.database.begin().await?;
        lock_user(&mut tx, account.id).await?;
        store_password(&mut tx, account.id, &hash).await?;
        throttle::clear(&mut tx, account.id).await?;
        system_audit(&mut tx, "user_password_set", account.id, &account.name, &["password"]).await?;
        self.raise_and_commit(tx, account.id).await
    }

    /// Makes the first administrator (`admin`) where there is no system administrator at all, and tells whether
    /// it did. `password` is asked only then, inside the transaction, so that it can keep a generated password
    /// where the operator finds it before anybody else could need it; see [`passwords::generate`].
    ///
    /// # Errors
    /// `Invalid` for an empty password; `Infrastructure` when `password` fails.
    pub async fn ensure_first_admin<E>(
        &self,
        password: impl FnOnce() -> Result<Secret, E>,
    ) -> Result<bool, Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut tx = self.0.database.begin().await?;
        sqlx::query!("select pg_advisory_xact_lock($1)", FIRST_LOCK).fetch_one(&mut *tx).await?;
        let exists = sqlx::query_scalar!(
            r#"select exists (select from identity.users where sysadmin and deleted_at is null) as "exists!""#
        )
        .fetch_one(&mut *tx)
        .await?;
        if exists {
            return Ok(false);
        }
        let password = password().map_err(|error| Error::Infrastructure(error.into()))?;
        passwords::check_given(&password)?;
        let hash = self.0.hasher.hash(&password).await?;
        let profile = Profile {
            email: String::new(),
            realname: "system administrator".to_owned(),
            comment: String::new(),
        };
        let made = insert(&mut tx, FIRST_NAME, &profile, &hash, true).await?;
        // Numbers do not roll back: a first start that was cut off may have used 1 up. Nothing refers to the row yet.
        let id = sqlx::query_scalar!(
            "update identity.users set id = case when exists (select from identity.users where id = $2) then id else $2 end
             where id = $1 returning id",
            made.0,
            FIRST.0
        )
        .fetch_one(&mut *tx)
        .await?;
        let id = UserId(id);
        system_audit(&mut tx, "user_create", id, FIRST_NAME, &[]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Records that a token was given out, through the bounded buffer.
    pub fn record_issue(&self, caller: &Caller, access: &[crate::tokens::Access]) {
        let names: Vec<&str> = access.iter().map(|entry| entry.name.as_str()).take(10).collect();
        let names = names.join(" ");
        let entry = Entry {
            actor: caller.actor(),
            action: "token_issue",
            object: Object { kind: "token", id: String::new(), name: &names },
            project: access.iter().find_map(|entry| entry.project).map(|(id, _)| id),
            outcome: Outcome::Done,
            origin: &caller.origin,
            changed: &[],
        };
        self.0.issues.push(entry);
    }

    async fn refuse_same_password(&self, id: UserId, new: &Secret) -> Result<(), Error> {
        let stored = sqlx::query_scalar!("select password_hash from identity.users where id = $1", id.0)
            .fetch_optional(self.0.database.pool())
            .await?
            .flatten();
        let slot = self.0.hasher.slot().await?;
        if self.0.hasher.matches(slot, stored, new).await? {
            return Err(Error::Invalid("the new password is the same as the current one"));
        }
        Ok(())
    }

    /// Commits a change that takes something away, and tells this process at once.
    async fn raise_and_commit(&self, mut tx: Tx, id: UserId) -> Result<(), Error> {
        let subject = Subject::User(id.0);
        let epoch = epochs::raise_to(&mut tx, subject).await?;
        tx.commit().await?;
        self.0.feed.note_epoch(subject, epoch);
        Ok(())
    }

    async fn user_audit(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        action: &'static str,
        id: UserId,
        name: &str,
        changed: &[&'static str],
    ) -> Result<(), Error> {
        let entry = Entry {
            actor: caller.actor(),
            action,
            object: Object { kind: "user", id: id.to_string(), name },
            project: None,
            outcome: Outcome::Done,
            origin: &caller.origin,
            changed,
        };
        Ok(audit::append(tx, &entry).await?)
    }
}

impl Principal {
    fn is(&self, id: UserId) -> bool {
        self.user().is_some_and(|user| user.id == id)
    }
}

/// Whether the caller is the account itself; `Forbidden` for anybody but it and system administrators.
fn require_self_or_sysadmin(caller: &Caller, id: UserId) -> Result<bool, Error> {
    let own = caller.principal.is(id);
    if !own {
        caller.require_sysadmin()?;
    }
    Ok(own)
}

async fn insert(
    tx: &mut Tx,
    name: &str,
    profile: &Profile,
    hash: &str,
    sysadmin: bool,
) -> Result<UserId, Error> {
    refuse_robot_name(tx, name).await?;
    // A user name that reads like somebody's address would take that address's logins, and the other way round.
    refuse_name_or_address(tx, name).await?;
    refuse_address_of_another(tx, 0, &profile.email).await?;
    let id = sqlx::query_scalar!(
        "insert into identity.users (username, email, realname, comment, password_hash, sysadmin)
         values ($1, $2, $3, $4, $5, $6) returning id",
        name,
        profile.email,
        profile.realname,
        profile.comment,
        hash,
        sysadmin
    )
    .fetch_one(&mut **tx)
    .await
    .map_err(taken)?;
    Ok(UserId(id))
}

/// Keeps the prefix of robots as it is until the transaction ends.
async fn refuse_robot_name(tx: &mut Tx, name: &str) -> Result<(), Error> {
    let robots = sqlx::query_scalar!(
        r#"select starts_with(lower($1), lower(prefix)) as "robots!" from identity.robot_prefix for share"#,
        name
    )
    .fetch_one(&mut **tx)
    .await?;
    if robots { Err(Error::Invalid("the user name begins like the names of robots")) } else { Ok(()) }
}

async fn refuse_name_or_address(tx: &mut Tx, name: &str) -> Result<(), Error> {
    let used = sqlx::query_scalar!(
        r#"select exists (select from identity.users
                          where deleted_at is null and email <> '' and lower(email) = lower($1)) as "used!""#,
        name
    )
    .fetch_one(&mut **tx)
    .await?;
    if used { Err(Error::Taken("user name")) } else { Ok(()) }
}

async fn refuse_address_of_another(tx: &mut Tx, own: i64, email: &str) -> Result<(), Error> {
    let used = sqlx::query_scalar!(
        r#"select exists (select from identity.users
                          where deleted_at is null and id <> $1 and lower(username) = lower($2)) as "used!""#,
        own,
        email
    )
    .fetch_one(&mut **tx)
    .await?;
    if used { Err(Error::Taken("e-mail address")) } else { Ok(()) }
}

struct Locked {
    id: UserId,
    name: String,
    sysadmin: bool,
    /// A system administrator who is not disabled.
    administers: bool,
}

/// Locks the row for a change. Administrators are locked before, in order, so that two changes that each leave
/// one administrator cannot leave none.
async fn lock_user(tx: &mut Tx, id: UserId) -> Result<Locked, Error> {
    sqlx::query!(
        "select id from identity.users where (sysadmin and not disabled and deleted_at is null) or id = $1
         order by id for update",
        id.0
    )
    .fetch_all(&mut **tx)
    .await?;
    let row = sqlx::query!(
        r#"select username, sysadmin, sysadmin and not disabled as "administers!" from identity.users
           where id = $1 and deleted_at is null"#,
        id.0
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| Error::UserUnknown(id.to_string()))?;
    Ok(Locked { id, name: row.username, sysadmin: row.sysadmin, administers: row.administers })
}

async fn refuse_last_administrator(tx: &mut Tx, user: &Locked) -> Result<(), Error> {
    if !user.administers {
        return Ok(());
    }
    let others = sqlx::query_scalar!(
        r#"select exists (select from identity.users
                          where sysadmin and not disabled and deleted_at is null and id <> $1) as "others!""#,
        user.id.0
    )
    .fetch_one(&mut **tx)
    .await?;
    if others { Ok(()) } else { Err(Error::LastAdministrator) }
}

async fn store_password(tx: &mut Tx, id: UserId, hash: &str) -> Result<(), Error> {
    refresh::end_all(tx, id).await?;
    sqlx::query!(
        "update identity.users
         set password_hash = $2, credential_version = credential_version + 1, updated_at = now()
         where id = $1",
        id.0,
        hash
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn system_audit(
    tx: &mut Tx,
    action: &'static str,
    id: UserId,
    name: &str,
    changed: &[&'static str],
) -> Result<(), Error> {
    let entry = Entry {
        actor: SYSTEM,
        action,
        object: Object { kind: "user", id: id.to_string(), name },
        project: None,
        outcome: Outcome::Done,
        origin: &Origin::default(),
        changed,
    };
    Ok(audit::append(tx, &entry).await?)
}

fn taken(error: sqlx::Error) -> Error {
    let error = database::Error::from(error);
    match error.constraint() {
        Some("users_username_key") => Error::Taken("user name"),
        Some("users_email_key") => Error::Taken("e-mail address"),
        _ => error.into(),
    }
}
