//! Accounts of programs: names, secrets, ends. What one may do is `tenancy`'s business, which calls this inside its
//! own transactions and has decided before it does.
//!
//! Invariants:
//! * A secret is shown once, by the call that made it. One made here is stored as SHA-256, a chosen one as argon2id.
//! * Whatever changes or ends a robot raises its epoch, so that its tokens and remembered secrets end within 5 s.

use chrono::{DateTime, Utc};
use database::Tx;
use database::list::{self, Columns, Page, Query, Select};
use sealed::Secret;
use sqlx::FromRow;

use crate::epochs::{self, Subject};
use crate::error::Error;
use crate::passwords;
use crate::principal::{Principal, Robot, RobotId};
use crate::{Identity, Origin};

/// Means the same as the configured prefix, in shells and CI files that make something else of a dollar sign.
pub const SHELL_PREFIX: &str = "robot+";

/// Days from the creation until the end; more is a mistake, and -1 means without end.
const DURATION_DAYS_MAX: i64 = i32::MAX as i64 - 1;

/// The part of a login name that is stored, when it can be a robot's. An e-mail address cannot.
pub(crate) fn stored_name<'n>(prefix: &str, login: &'n str) -> Option<&'n str> {
    let stored = login.strip_prefix(prefix).or_else(|| login.strip_prefix(SHELL_PREFIX))?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+._-".contains(c);
    (!stored.is_empty() && stored.chars().all(fits)).then_some(stored)
}

/// A robot to be made.
pub struct NewRobot<'a> {
    /// `[a-z0-9]+(?:[._-][a-z0-9]+)*`, without prefix and project.
    pub name: &'a str,
    /// Id and name of the project it belongs to; none for one of the whole installation.
    pub project: Option<(i64, &'a str)>,
    pub description: &'a str,
    /// -1 without end.
    pub duration_days: i64,
    pub disabled: bool,
    pub creator: &'a Principal,
}

/// A secret that is not stored yet.
pub struct RobotSecret {
    hash: String,
    /// Unless it was chosen by whoever asked for it.
    made: Option<Secret>,
}

/// A robot just made.
pub struct RobotCreated {
    pub id: RobotId,
    /// With its prefix.
    pub name: String,
    /// Shown now and never again.
    pub secret: Secret,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// What of a robot can be changed; its name and level cannot.
pub struct RobotChange<'a> {
    pub description: &'a str,
    /// `None` keeps it.
    pub duration_days: Option<i64>,
    /// `None` keeps it.
    pub disabled: Option<bool>,
}

/// A robot as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RobotAccount {
    pub id: i64,
    /// The project it belongs to.
    pub project_id: Option<i64>,
    /// With its prefix.
    pub login_name: String,
    pub description: String,
    pub duration_days: i64,
    pub expires_at: Option<DateTime<Utc>>,
    pub disabled: bool,
    pub creator_kind: String,
    pub creator_id: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub last_used_address: String,
    pub last_used_client: String,
}

const COLUMNS: Columns = Columns::new(
    &[
        list::integer("id", "r.id").sortable(),
        list::text("name", "r.name").sortable(),
        list::text("description", "r.description").sortable(),
        list::integer("duration", "r.duration_days").sortable(),
        list::integer("expires_at", "coalesce(extract(epoch from r.expires_at)::bigint, -1)").sortable(),
        list::flag("disabled", "r.disabled"),
        list::integer("creator_ref", "r.creator_id"),
        list::text("creator_type", "r.creator_kind"),
        list::time("creation_time", "r.created_at").sortable(),
        list::time("update_time", "r.updated_at").sortable(),
    ],
    "r.name",
    "r.id",
);

fn robots() -> Select {
    Select::new(
        "r.id, r.project_id, identity.robot_login(r.name) as login_name, r.description, r.duration_days, r.expires_at, r.disabled, r.creator_kind,
         r.creator_id, r.created_at, r.updated_at, r.last_used_at, r.last_used_address, r.last_used_client",
        "identity.robots r",
    )
    .and_sql("r.deleted_at is null")
}

impl Identity {
    /// Makes a robot with a secret of its own.
    ///
    /// # Errors
    /// `Invalid` for a name, description or duration that cannot be, `Taken`.
    pub async fn robot_insert(&self, tx: &mut Tx, new: &NewRobot<'_>) -> Result<RobotCreated, Error> {
        check_name(new.name)?;
        check_description(new.description)?;
        let duration = checked_duration(new.duration_days)?;
        let name = match new.project {
            Some((_, project)) => format!("{project}+{}", new.name),
            None => new.name.to_owned(),
        };
        let (creator_kind, creator_id) = new.creator.account().ok_or(Error::Unauthenticated)?;
        let secret = passwords::generate_robot();
        let row = sqlx::query!(
            r#"insert into identity.robots
                   (project_id, name, description, secret_hash, duration_days, expires_at, disabled, creator_kind, creator_id)
               values ($1, $2, $3, $4, $5, now() + $6::bigint * interval '1 day', $7, $8, $9)
               on conflict (name) where deleted_at is null do nothing
               returning id, identity.robot_login(name) as "login_name!", created_at, expires_at"#,
            new.project.map(|(id, _)| id),
            name,
            new.description,
            passwords::hash_generated(&secret),
            new.duration_days,
            duration,
            new.disabled,
            creator_kind,
            creator_id
        )
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::Taken("robot's name"))?;
        Ok(RobotCreated {
            id: RobotId(row.id),
            name: row.login_name,
            secret,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }

    /// One robot, disabled or expired ones included.
    pub async fn robot_by_id(&self, id: i64) -> Result<Option<RobotAccount>, Error> {
        let page: Page<RobotAccount> =
            list::page(self.0.database.pool(), robots().and("r.id = ", id), &COLUMNS, &Query::default())
                .await
                .map_err(bad_query)?;
        Ok(page.rows.into_iter().next())
    }

    /// A page of the robots of one project, or of the whole installation's own.
    ///
    /// # Errors
    /// `BadQuery`.
    pub async fn robot_page(&self, project: Option<i64>, query: &Query) -> Result<Page<RobotAccount>, Error> {
        let select = match project {
            Some(project) => robots().and("r.project_id = ", project),
            None => robots().and_sql("r.project_id is null"),
        };
        list::page(self.0.database.pool(), select, &COLUMNS, query).await.map_err(bad_query)
    }

    /// Changes a robot. A new duration counts from its creation.
    ///
    /// # Errors
    /// `Invalid`, `RobotUnknown`.
    pub async fn robot_change(
        &self,
        tx: &mut Tx,
        id: RobotId,
        change: &RobotChange<'_>,
    ) -> Result<(), Error> {
        check_description(change.description)?;
        let duration = change.duration_days.map(checked_duration).transpose()?;
        let changed = sqlx::query!(
            "update identity.robots
             set description = $2, disabled = coalesce($3, disabled), updated_at = now(),
                 duration_days = coalesce($4, duration_days),
                 expires_at = case when $4::bigint is null then expires_at
                              else created_at + $5::bigint * interval '1 day' end
             where id = $1 and deleted_at is null",
            id.0,
            change.description,
            change.disabled,
            change.duration_days,
            duration.flatten()
        )
        .execute(&mut **tx)
        .await?;
        self.ended(tx, id, changed.rows_affected()).await
    }

    /// A secret for [`Identity::robot_rekey`]: the chosen one, or a new one.
    ///
    /// # Errors
    /// `Invalid` for a weak one, `Busy`.
    pub async fn robot_secret(&self, chosen: Option<Secret>) -> Result<RobotSecret, Error> {
        match chosen {
            Some(secret) => {
                passwords::check_policy(&secret)?;
                Ok(RobotSecret { hash: self.0.hasher.hash(&secret).await?, made: None })
            }
            None => {
                let secret = passwords::generate_robot();
                Ok(RobotSecret { hash: passwords::hash_generated(&secret), made: Some(secret) })
            }
        }
    }

    /// Gives a robot another secret, and returns it unless it was chosen.
    ///
    /// # Errors
    /// `RobotUnknown`.
    pub async fn robot_rekey(
        &self,
        tx: &mut Tx,
        id: RobotId,
        RobotSecret { hash, made }: RobotSecret,
    ) -> Result<Option<Secret>, Error> {
        let changed = sqlx::query!(
            "update identity.robots
             set secret_hash = $2, credential_version = credential_version + 1, updated_at = now()
             where id = $1 and deleted_at is null",
            id.0,
            hash
        )
        .execute(&mut **tx)
        .await?;
        self.ended(tx, id, changed.rows_affected()).await?;
        Ok(made)
    }

    /// Deletes a robot. Its row stays for those who need its name, which becomes free.
    ///
    /// # Errors
    /// `RobotUnknown`.
    pub async fn robot_delete(&self, tx: &mut Tx, id: RobotId) -> Result<(), Error> {
        let gone = sqlx::query!(
            "update identity.robots
             set deleted_at = now(), updated_at = now(), credential_version = credential_version + 1
             where id = $1 and deleted_at is null",
            id.0
        )
        .execute(&mut **tx)
        .await?;
        self.ended(tx, id, gone.rows_affected()).await
    }

    /// Deletes the robots of a project that is being deleted.
    pub async fn robots_delete_of(&self, tx: &mut Tx, project: i64) -> Result<(), Error> {
        let gone = sqlx::query_scalar!(
            "update identity.robots
             set deleted_at = now(), updated_at = now(), credential_version = credential_version + 1
             where project_id = $1 and deleted_at is null returning id",
            project
        )
        .fetch_all(&mut **tx)
        .await?;
        for id in gone {
            epochs::raise(tx, Subject::Robot(id)).await?;
        }
        Ok(())
    }

    /// Sets what stands in front of the names of all robots. Names in the trail stay what they were. After the commit
    /// [`Identity::robot_prefix_follow`] makes this process know; the others do within a second.
    ///
    /// # Errors
    /// `Invalid` for a prefix that names cannot have, or that the name of a person begins with: one of the two could
    /// never log in.
    pub async fn robot_prefix_set(&self, tx: &mut Tx, prefix: &str) -> Result<(), Error> {
        check_prefix(prefix)?;
        // Whoever makes a person reads the row, so none comes between.
        sqlx::query!("update identity.robot_prefix set prefix = $1", prefix).execute(&mut **tx).await?;
        let person = sqlx::query_scalar!(
            r#"select exists (select from identity.users
                              where deleted_at is null and starts_with(lower(username), lower($1))) as "person!""#,
            prefix
        )
        .fetch_one(&mut **tx)
        .await?;
        if person {
            return Err(Error::Invalid("there are users whose names begin with that prefix for robots"));
        }
        Ok(())
    }

    /// The name of a robot for shells and CI files, made of the one that everybody else is told. Signing in with it
    /// works whatever the configured prefix is.
    pub fn robot_shell_name(&self, login: &str) -> String {
        let stored = stored_name(&self.0.feed.robot_prefix(), login).unwrap_or(login);
        format!("{SHELL_PREFIX}{stored}")
    }

    /// Reads what was set just now.
    pub async fn robot_prefix_follow(&self) -> Result<(), Error> {
        self.0.feed.reload_once().await
    }

    /// Whether the robot is still what it was when it signed in. It stays so until `tx` ends.
    pub async fn robot_holds(&self, tx: &mut Tx, robot: &Robot) -> Result<bool, Error> {
        let active = sqlx::query_scalar!(
            "select id from identity.robots
             where id = $1 and not disabled and deleted_at is null and (expires_at is null or expires_at > now())
             for share",
            robot.id.0
        )
        .fetch_optional(&mut **tx)
        .await?;
        let subject = Subject::Robot(robot.id.0);
        let epochs = epochs::current(&mut **tx, &[subject]).await?;
        Ok(active.is_some() && epochs.get(&subject).copied().unwrap_or(0) == robot.epoch)
    }

    /// The robot as it is now; nothing when it is deleted, disabled or over.
    pub(crate) async fn active_robot(&self, id: RobotId) -> Result<Option<Robot>, Error> {
        let row = sqlx::query!(
            r#"select identity.robot_login(r.name) as "login_name!", r.expires_at, coalesce(e.epoch, 0) as "epoch!"
               from identity.robots r
               left join identity.epochs e on e.kind = 3 and e.subject_id = r.id
               where r.id = $1 and not r.disabled and r.deleted_at is null
                 and (r.expires_at is null or r.expires_at > now())"#,
            id.0
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        Ok(row.map(|row| Robot { id, name: row.login_name, expires_at: row.expires_at, epoch: row.epoch }))
    }

    /// Notes a login. A remembered secret notes nothing, so this is at most about once a minute and process.
    pub(crate) async fn robot_used(&self, id: RobotId, origin: &Origin) -> Result<(), Error> {
        sqlx::query!(
            "update identity.robots set last_used_at = now(), last_used_address = $2, last_used_client = $3 where id = $1",
            id.0,
            origin.address,
            origin.client
        )
        .execute(self.0.database.pool())
        .await?;
        Ok(())
    }

    async fn ended(&self, tx: &mut Tx, id: RobotId, rows: u64) -> Result<(), Error> {
        if rows == 0 {
            return Err(Error::RobotUnknown(id.0));
        }
        Ok(epochs::raise(tx, Subject::Robot(id.0)).await?)
    }
}

fn bad_query(err: list::Error) -> Error {
    match err {
        list::Error::Database(err) => err.into(),
        other => Error::BadQuery(other),
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = name.len() <= 255
        && name.split(['.', '_', '-']).all(|part| !part.is_empty() && part.chars().all(plain));
    if fits {
        Ok(())
    } else {
        Err(Error::Invalid(
            "the robot's name must have 1 to 255 lower-case letters and digits, with single . _ - between them",
        ))
    }
}

fn check_prefix(prefix: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "$+._-".contains(c);
    if !(1..=32).contains(&prefix.len()) || !prefix.chars().all(fits) {
        return Err(Error::Invalid(
            "the prefix of robots must have 1 to 32 characters: lower-case letters, digits and $ + . _ -",
        ));
    }
    Ok(())
}

fn check_description(text: &str) -> Result<(), Error> {
    if text.chars().count() <= 1024 && !text.contains('\0') {
        Ok(())
    } else {
        Err(Error::Invalid("the description must have at most 1024 characters"))
    }
}

/// Days until the end; nothing for a robot without one, and for one that outlives the calendar of answers.
fn checked_duration(days: i64) -> Result<Option<i64>, Error> {
    match days {
        -1 => Ok(None),
        1..=DURATION_DAYS_MAX => Ok((days <= MILLENNIA_DAYS).then_some(days)),
        _ => Err(Error::Invalid("duration must be -1 (never expires) or a number of days from 1 on")),
    }
}

/// Later ends have years of five digits, which cannot be written in an answer.
const MILLENNIA_DAYS: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_a_robot() {
        for (login, stored) in [
            ("robot$ci", Some("ci")),
            ("robot$library+ci", Some("library+ci")),
            ("robot+ci", Some("ci")),
            ("robot+library+ci", Some("library+ci")),
            ("robot+x@example.com", None),
            ("robot$", None),
            ("robot$Ci", None),
            ("robot", None),
            ("ci", None),
        ] {
            assert_eq!(stored_name("robot$", login), stored, "{login}");
        }
    }

    #[test]
    fn names_and_durations() {
        for good in ["a", "ci-1", "a.b_c-d", "0"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a+b", "-a", "a-", "a..b", "a b", "robot$a", "ä"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(matches!(checked_duration(-1), Ok(None)));
        assert!(matches!(checked_duration(30), Ok(Some(30))));
        assert!(matches!(checked_duration(DURATION_DAYS_MAX), Ok(None)));
        for bad in [0, -2, DURATION_DAYS_MAX + 1, i64::MIN] {
            assert!(checked_duration(bad).is_err(), "{bad}");
        }
    }
}
