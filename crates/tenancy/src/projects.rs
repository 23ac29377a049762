//! Projects: the tenants. Create, list, change, delete.
//!
//! What is inside a project is not known here beyond one number, `repository_count`, which `catalog` keeps
//! through [`Tenancy::repository_count_change`].
//!
//! Invariants:
//! * A project, its owner's membership and its quota come to life in one transaction.
//! * A deleted project keeps its row and loses its name, its members and its quota; its id is never used again.
//! * Lock order: the project, then its members, then its quota.

use std::collections::BTreeMap;

use audit::{Entry, Object, Outcome};
use chrono::{DateTime, Utc};
use database::Tx;
use database::list::{self, Columns, Page, Query, Select};
use identity::epochs::{self, Subject};
use identity::{Caller, Principal, User};
use oci::ProjectName;
use serde_json::Value;

use crate::access_tokens::{leaves_system, open_projects};
use crate::permit::SYSTEM;
use crate::quotas::checked_limit;
use crate::roles::{Action, Resource};
use crate::rules::{checked_metadata, checked_name};
use crate::{
    CreationRestriction, DeleteProject, Error, MemberCounts, Permit, ProjectId, Quota, ReadProject, Role,
    Tenancy, UpdateProject,
};

/// A project as lists and single reads show it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Project {
    pub id: i64,
    pub name: String,
    pub owner_id: i64,
    /// Empty when the owner's account is gone.
    pub owner_name: String,
    pub public: bool,
    /// The other metadata keys, all values strings.
    #[sqlx(json)]
    pub metadata: BTreeMap<String, String>,
    pub repository_count: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Roles of the caller who asked, strongest first.
    #[sqlx(skip)]
    pub roles: Vec<Role>,
}

/// What is needed to create a project.
#[derive(Clone, Debug, Default)]
pub struct NewProject {
    pub name: String,
    pub public: bool,
    /// Metadata as sent; unknown keys are dropped, values are checked.
    pub metadata: BTreeMap<String, String>,
    /// Bytes, -1 for no limit. Heeded for system administrators only; everybody else gets the default.
    pub storage_limit: Option<i64>,
}

/// A change of a project; absent means unchanged, and metadata is merged.
#[derive(Clone, Debug, Default)]
pub struct ProjectUpdate {
    pub public: Option<bool>,
    pub metadata: BTreeMap<String, String>,
}

/// The numbers of a project; what the caller may not know is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub repository_count: i64,
    pub members: Option<MemberCounts>,
    pub quota: Option<Quota>,
}

/// What a list of projects may be filtered and sorted by.
pub(crate) const COLUMNS: Columns = Columns::new(
    &[
        list::integer("project_id", "p.id").sortable(),
        list::text("name", "p.name").sortable(),
        list::integer("owner_id", "p.owner_id").sortable(),
        list::time("creation_time", "p.created_at").sortable(),
        list::time("update_time", "p.updated_at").sortable(),
        list::integer("registry_id", "p.upstream_id").sortable(),
        list::flag("public", "p.public"),
        list::text("owner", "u.username"),
        list::integer("repo_count", "p.repository_count").sort_only(),
    ],
    "p.name",
    "p.id",
);

const ROW: &str = "p.id, p.name::text as name, p.owner_id, coalesce(u.username, '') as owner_name, p.public,
    p.metadata, p.repository_count, p.created_at, p.updated_at";

const FROM: &str =
    "tenancy.projects p left join identity.users u on u.id = p.owner_id and u.deleted_at is null";

/// Attempts of one account to create projects, successful or not.
const CREATIONS_PER_MINUTE: i32 = 60;

impl Tenancy {
    /// Creates a project; its creator becomes its owner and its administrator.
    ///
    /// # Errors
    /// `Unauthenticated`, `CreationRestricted`, `TooManyCreations`, `Invalid`, `NotAvailable`, `LimitReached`,
    /// `NameTaken`.
    pub async fn project_create(&self, caller: &Caller, new: NewProject) -> Result<ProjectId, Error> {
        let settings = self.settings().await?;
        let owner = match &caller.principal {
            Principal::Anonymous => return Err(Error::Unauthenticated),
            Principal::User(_) if !leaves_system(caller.principal.limits(), Action::Create) => {
                self.record_creation(caller, &new.name, Outcome::Denied).await?;
                return Err(Error::Hidden);
            }
            Principal::User(user)
                if user.sysadmin
                    || settings.project_creation_restriction != CreationRestriction::AdminOnly =>
            {
                user.clone()
            }
            Principal::Robot(_)
                if self.system_allows(&caller.principal, "project", Action::Create).await? =>
            {
                // A program owns nothing; the first administrator does.
                self.identity.first_administrator().await?.ok_or(Error::CreationRestricted)?
            }
            Principal::User(_) | Principal::Robot(_) => {
                self.record_creation(caller, &new.name, Outcome::Denied).await?;
                return Err(Error::CreationRestricted);
            }
        };
        // The one operation that can tell of a project that is hidden: nobody may ask it about many names.
        self.count_creation(caller).await?;
        let name = checked_name(&new.name)?;
        let metadata = checked_metadata(&new.metadata)?;
        let hard_bytes = match new.storage_limit.filter(|_| caller.is_sysadmin()) {
            Some(bytes) => checked_limit(bytes)?,
            None => settings.storage_per_project,
        };
        let mut tx = self.database.begin().await?;
        self.check_projects_owned(&mut tx, &owner).await?;
        let created = insert(&mut tx, &name, owner.id.0, new.public, &metadata, hard_bytes).await?;
        let Some(project) = created else {
            drop(tx);
            // The one answer that tells of a project that may be hidden: it leaves a trace.
            self.record_creation(caller, name.as_str(), Outcome::Failed).await?;
            return Err(Error::NameTaken(name.to_string()));
        };
        let id = project.to_string();
        let entry = Entry {
            actor: caller.actor(),
            action: "project_create",
            object: Object { kind: "project", id, name: name.as_str() },
            project: Some(project),
            outcome: Outcome::Done,
            origin: &caller.origin,
            changed: &[],
        };
        audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(ProjectId(project))
    }

    /// Makes the public project `library`, owned by the first system administrator, unless there is one or
    /// ever was one: an operator who deleted it does not get it back. Returns whether it was made now.
    pub async fn ensure_library(&self) -> Result<bool, Error> {
        let mut tx = self.database.begin().await?;
        let owner = sqlx::query_scalar!(
            "select id from identity.users
             where sysadmin and deleted_at is null
               and not exists (select 1 from tenancy.projects where name = 'library')
             order by id limit 1"
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(owner) = owner else { return Ok(false) };
        let name: ProjectName =
            "library".parse().map_err(|_| Error::Invalid("library is not a project name".to_owned()))?;
        let Some(project) =
            insert(&mut tx, &name, owner, true, &Value::Object(Default::default()), -1).await?
        else {
            return Ok(false);
        };
        let entry = Entry {
            actor: SYSTEM,
            action: "project_create",
            object: Object { kind: "project", id: project.to_string(), name: name.as_str() },
            project: Some(project),
            outcome: Outcome::Done,
            origin: &audit::Origin::default(),
            changed: &[],
        };
        audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// One project.
    pub async fn project_get(&self, permit: &Permit<ReadProject>) -> Result<Project, Error> {
        let select = projects().and("p.id = ", permit.project.0);
        let page: Page<Project> =
            list::page(self.database.pool(), select, &COLUMNS, &Query::default()).await?;
        let mut project = page.rows.into_iter().next().ok_or(Error::ProjectGone)?;
        project.roles = permit.rights().roles.clone();
        Ok(project)
    }

    /// A page of the projects the caller may see: its own and the public ones; all for system
    /// administrators. Filters narrow this down and never widen it.
    pub async fn project_list(&self, caller: &Caller, query: &Query) -> Result<Page<Project>, Error> {
        self.projects_seen(caller, None, query).await
    }

    /// [`Tenancy::project_list`], of those alone that a person has marked if one is given.
    pub(crate) async fn projects_seen(
        &self,
        caller: &Caller,
        marked_by: Option<i64>,
        query: &Query,
    ) -> Result<Page<Project>, Error> {
        let select = match &caller.principal {
            Principal::User(user) if user.sysadmin => projects(),
            Principal::Robot(robot) => projects().and_with(
                "(p.public or exists (select 1 from tenancy.robot_grants g
                   where g.kind = 'project' and (g.project_id is null or g.project_id = p.id) and g.robot_id = ",
                robot.id.0,
                "))",
            ),
            Principal::User(user) => projects().and_with(
                "(p.public or exists (select 1 from tenancy.member_roles m
                   where m.project_id = p.id and m.user_id = ",
                user.id.0,
                "))",
            ),
            Principal::Anonymous => projects().and_sql("p.public"),
        };
        let select = match open_projects(caller.principal.limits()) {
            Some(ids) => select.and_any("p.id", ids.to_vec()),
            None => select,
        };
        let select = match marked_by {
            Some(user) => select.and_with(
                "exists (select 1 from tenancy.favourites f where f.project_id = p.id and f.user_id = ",
                user,
                ")",
            ),
            None => select,
        };
        let mut page: Page<Project> = list::page(self.database.pool(), select, &COLUMNS, query).await?;
        let ids: Vec<i64> = page.rows.iter().map(|project| project.id).collect();
        let held = sqlx::query!(
            r#"select project_id as "project_id!", array_agg(role) as "roles!" from tenancy.member_roles
               where user_id = $1 and project_id = any($2) group by project_id"#,
            caller.user().map(|user| user.id.0),
            &ids
        )
        .fetch_all(self.database.pool())
        .await?;
        let held: BTreeMap<i64, Vec<i16>> = held.into_iter().map(|row| (row.project_id, row.roles)).collect();
        for project in &mut page.rows {
            let ids = held.get(&project.id).map(Vec::as_slice).unwrap_or_default();
            project.roles = Role::ALL.into_iter().filter(|role| ids.contains(&role.id())).collect();
        }
        Ok(page)
    }

    /// Whether a project of this name exists and the caller may see it. Hidden and unknown are alike.
    pub async fn project_visible(&self, caller: &Caller, name: &str) -> Result<bool, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        Ok(sqlx::query_scalar!(
            r#"select exists (
                 select 1 from tenancy.projects p
                 where p.deleted_at is null and p.name = $1
                   and ($5::bigint[] is null or p.id = any($5))
                   and ($3 or p.public
                        or exists (select 1 from tenancy.member_roles m
                                   where m.project_id = p.id and m.user_id = $2)
                        or exists (select 1 from tenancy.robot_grants g
                                   where g.robot_id = $4 and g.kind = 'project'
                                     and (g.project_id is null or g.project_id = p.id)))
               ) as "visible!""#,
            name,
            caller.user().map(|user| user.id.0),
            caller.user().is_some_and(|user| user.sysadmin),
            caller.principal.robot().map(|robot| robot.0),
            open_projects(caller.principal.limits()) as Option<&[i64]>
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    /// Changes a project. Making it private ends what everybody was granted on it.
    pub async fn project_update(
        &self,
        permit: &Permit<UpdateProject>,
        update: &ProjectUpdate,
    ) -> Result<(), Error> {
        let metadata = checked_metadata(&update.metadata)?;
        let mut tx = self.database.begin().await?;
        let was_public = sqlx::query_scalar!(
            "select public from tenancy.projects where id = $1 and deleted_at is null for no key update",
            permit.project.0
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::ProjectGone)?;
        sqlx::query!(
            "update tenancy.projects
             set public = coalesce($2, public), metadata = metadata || $3, updated_at = now() where id = $1",
            permit.project.0,
            update.public,
            metadata
        )
        .execute(&mut *tx)
        .await?;
        if was_public && update.public == Some(false) {
            epochs::raise(&mut tx, Subject::Project(permit.project.0)).await?;
        }
        let mut changed = Vec::new();
        if update.public.is_some_and(|public| public != was_public) {
            changed.push("public");
        }
        if metadata.as_object().is_some_and(|keys| !keys.is_empty()) {
            changed.push("metadata");
        }
        audit::append(&mut tx, &self::entry(permit, "project_update", &changed)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether [`Tenancy::project_delete`] would succeed now.
    pub async fn project_deletable(&self, permit: &Permit<DeleteProject>) -> Result<bool, Error> {
        let repositories = sqlx::query_scalar!(
            "select repository_count from tenancy.projects where id = $1 and deleted_at is null",
            permit.project.0
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or(Error::ProjectGone)?;
        Ok(repositories == 0)
    }

    /// The numbers of a project, as far as the caller may know them.
    pub async fn project_summary(&self, permit: &Permit<ReadProject>) -> Result<Summary, Error> {
        let repository_count = sqlx::query_scalar!(
            "select repository_count from tenancy.projects where id = $1 and deleted_at is null",
            permit.project.0
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or(Error::ProjectGone)?;
        let rights = permit.rights();
        let members = if rights.allow(Resource::Member, Action::List) {
            Some(self.member_counts(permit.project).await?)
        } else {
            None
        };
        let quota = if rights.allow(Resource::Quota, Action::Read) {
            self.quota_get(permit.project).await?
        } else {
            None
        };
        Ok(Summary { repository_count, members, quota })
    }

    /// Deletes an empty project. Everything granted on it ends; the name is free at once, for another id.
    ///
    /// # Errors
    /// `NotEmpty` while a repository exists.
    pub async fn project_delete(&self, permit: &Permit<DeleteProject>) -> Result<(), Error> {
        let id = permit.project.0;
        let mut tx = self.database.begin().await?;
        // Lock and judge are two statements: in one, the count would be that of before the lock was won.
        let locked = sqlx::query_scalar!(
            "select id from tenancy.projects where id = $1 and deleted_at is null for update",
            id
        )
        .fetch_optional(&mut *tx)
        .await?;
        locked.ok_or(Error::ProjectGone)?;
        let repositories =
            sqlx::query_scalar!("select repository_count from tenancy.projects where id = $1", id)
                .fetch_one(&mut *tx)
                .await?;
        if repositories > 0 {
            return Err(Error::NotEmpty);
        }
        sqlx::query!("update tenancy.projects set deleted_at = now(), updated_at = now() where id = $1", id)
            .execute(&mut *tx)
            .await?;
        sqlx::query!("delete from tenancy.members where project_id = $1", id).execute(&mut *tx).await?;
        sqlx::query!("delete from tenancy.quotas where project_id = $1", id).execute(&mut *tx).await?;
        sqlx::query!("delete from tenancy.favourites where project_id = $1", id).execute(&mut *tx).await?;
        sqlx::query!("delete from tenancy.robot_grants where project_id = $1", id).execute(&mut *tx).await?;
        self.identity.robots_delete_of(&mut tx, id).await?;
        epochs::raise(&mut tx, Subject::Project(id)).await?;
        audit::append(&mut tx, &self::entry(permit, "project_delete", &[])).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Keeps the project from being deleted until `tx` ends; pushes may share the lock.
    ///
    /// # Errors
    /// `ProjectGone` when it is deleted already.
    pub async fn project_lock(&self, tx: &mut Tx, project: ProjectId) -> Result<(), Error> {
        // Not FOR SHARE: two first pushes would then wait for each other in `repository_count_change`.
        sqlx::query_scalar!(
            "select id from tenancy.projects where id = $1 and deleted_at is null for key share",
            project.0
        )
        .fetch_optional(&mut **tx)
        .await?
        .map(|_| ())
        .ok_or(Error::ProjectGone)
    }

    /// Counts a repository that appeared (1) or went (-1), in the transaction in which it did.
    ///
    /// # Errors
    /// `ProjectGone` when a repository appears in a project that was deleted meanwhile.
    pub async fn repository_count_change(
        &self,
        tx: &mut Tx,
        project: ProjectId,
        delta: i64,
    ) -> Result<(), Error> {
        let changed = sqlx::query!(
            "update tenancy.projects set repository_count = greatest(0, repository_count + $2::bigint)
             where id = $1 and (deleted_at is null or $2::bigint < 0)",
            project.0,
            delta
        )
        .execute(&mut **tx)
        .await?;
        if changed.rows_affected() == 0 { Err(Error::ProjectGone) } else { Ok(()) }
    }

    /// Whether the database answers; for health reports.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.database.ping().await?)
    }

    /// The time, for answers that tell it.
    pub fn now(&self) -> DateTime<Utc> {
        self.database.clock().now()
    }

    async fn check_projects_owned(&self, tx: &mut Tx, owner: &User) -> Result<(), Error> {
        if owner.sysadmin {
            return Ok(());
        }
        let owned = sqlx::query_scalar!(
            r#"select count(*) as "count!" from tenancy.projects where owner_id = $1 and deleted_at is null"#,
            owner.id.0
        )
        .fetch_one(&mut **tx)
        .await?;
        if owned < self.config.projects_per_account_max {
            return Ok(());
        }
        Err(Error::LimitReached(format!(
            "one account can own at most {} projects",
            self.config.projects_per_account_max
        )))
    }

    /// Counts one attempt of the caller. System administrators see every project, so theirs tell them nothing.
    async fn count_creation(&self, caller: &Caller) -> Result<(), Error> {
        let actor = caller.actor();
        let Some(id) = actor.id.filter(|_| !caller.is_sysadmin()) else { return Ok(()) };
        let counted = sqlx::query!(
            r#"insert into tenancy.creation_attempts as a (actor_kind, actor_id) values ($1, $2)
               on conflict (actor_kind, actor_id) do update set
                 attempts = case when a.window_start > now() - interval '1 minute' then a.attempts + 1 else 1 end,
                 window_start = case when a.window_start > now() - interval '1 minute' then a.window_start
                                     else now() end
               returning attempts, extract(epoch from window_start + interval '1 minute' - now())::float8
                         as "seconds!""#,
            actor.kind,
            id
        )
        .fetch_one(self.database.pool())
        .await?;
        if counted.attempts <= CREATIONS_PER_MINUTE {
            return Ok(());
        }
        self.record_creation(caller, "", Outcome::Denied).await?;
        Err(Error::TooManyCreations { retry_after_seconds: counted.seconds.max(1.0).ceil() as u64 })
    }

    async fn record_creation(&self, caller: &Caller, name: &str, outcome: Outcome) -> Result<(), Error> {
        // A refused name is whatever was typed: keep what a name may be at most.
        let name: String = name.chars().take(255).collect();
        let entry = Entry {
            actor: caller.actor(),
            action: "project_create",
            object: Object { kind: "project", id: String::new(), name: &name },
            project: None,
            outcome,
            origin: &caller.origin,
            changed: &[],
        };
        Ok(audit::append_alone(&self.database, &entry).await?)
    }
}

pub(crate) fn projects() -> Select {
    Select::new(ROW, FROM).and_sql("p.deleted_at is null")
}

/// The rows of a new project; nothing when the name is taken.
pub(crate) async fn insert(
    tx: &mut Tx,
    name: &ProjectName,
    owner: i64,
    public: bool,
    metadata: &Value,
    hard_bytes: i64,
) -> Result<Option<i64>, Error> {
    let project = sqlx::query_scalar!(
        "insert into tenancy.projects (name, owner_id, public, metadata) values ($1, $2, $3, $4)
         on conflict (name) where deleted_at is null do nothing returning id",
        name.as_str(),
        owner,
        public,
        metadata
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(project) = project else { return Ok(None) };
    sqlx::query!(
        "insert into tenancy.members (project_id, entity_type, entity_id, role) values ($1, 'u', $2, $3)",
        project,
        owner,
        Role::ProjectAdmin.id()
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("insert into tenancy.quotas (project_id, hard_bytes) values ($1, $2)", project, hard_bytes)
        .execute(&mut **tx)
        .await?;
    Ok(Some(project))
}

/// The audit entry of a change to a project itself.
fn entry<'a, A>(permit: &'a Permit<A>, action: &'static str, changed: &'a [&'static str]) -> Entry<'a> {
    Entry {
        actor: permit.caller.actor(),
        action,
        object: Object { kind: "project", id: permit.project.to_string(), name: permit.name.as_str() },
        project: Some(permit.project.0),
        outcome: Outcome::Done,
        origin: &permit.caller.origin,
        changed,
    }
}
