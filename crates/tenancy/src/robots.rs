//! Robots: accounts of programs with rights of their own, for the installation or for one project.
//!
//! The account is a row of `identity`; what it may do is kept here and read with every decision. A robot never
//! edits robots, and never makes one that may do more than itself.
//!
//! Invariant: whatever changes a robot's rights raises its epoch in the same transaction.

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;

use audit::{Entry, Object, Outcome};
use database::Tx;
use database::list::{Page, Query};
use identity::{Caller, Principal, RobotAccount, RobotChange, RobotCreated, RobotId, Secret};
use oci::ProjectName;

use crate::permit::{CreateRobot, ListRobots, ProjectAction, ReadRobot, UpdateRobot};
use crate::roles::{self, Resource};
use crate::{DeleteRobot, Error, ProjectId, ProjectRef, Tenancy};

/// Permission entries of one robot; each may name many rights.
const ENTRIES_MAX: usize = 1_000;

/// Stands for a project that does not exist until it is decided who may learn that.
const NO_PROJECT: i64 = -1;

/// Where a robot's rights lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RobotLevel {
    System,
    Project,
}

impl RobotLevel {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Project => "project",
        }
    }

    /// The level with this name.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "system" => Ok(Self::System),
            "project" => Ok(Self::Project),
            _ => Err(Error::Invalid(format!("level {text:?} is unknown: it is system or project"))),
        }
    }
}

/// Rights in one place, as the API writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotPermission {
    /// `system` or `project`.
    pub kind: String,
    /// `/`, the name of a project, or `*` for all projects.
    pub namespace: String,
    /// Resource and action.
    pub access: Vec<(String, String)>,
}

/// What a new robot is to be, or what an existing one is to become.
#[derive(Clone, Debug)]
pub struct RobotInput {
    pub name: String,
    pub level: RobotLevel,
    pub description: String,
    /// Days; -1 without end. None keeps what it is.
    pub duration_days: Option<i64>,
    /// None keeps what it is; a new robot is enabled.
    pub disabled: Option<bool>,
    pub permissions: Vec<RobotPermission>,
}

/// A robot and what it holds.
#[derive(Clone, Debug)]
pub struct Robot {
    pub account: RobotAccount,
    pub permissions: Vec<RobotPermission>,
}

impl Robot {
    pub fn level(&self) -> RobotLevel {
        if self.account.project_id.is_some() { RobotLevel::Project } else { RobotLevel::System }
    }
}

/// One right, as stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    system: bool,
    /// Of a right in projects: the one, or none for all.
    project: Option<i64>,
    resource: String,
    action: String,
}

/// Proof that the caller may do `A` with this robot.
pub struct RobotPermit<A> {
    account: RobotAccount,
    caller: Caller,
    _action: PhantomData<A>,
}

impl Tenancy {
    /// Makes a robot. Whoever may make robots in a project may give them any right of robots there; a robot gives
    /// only what it holds itself.
    ///
    /// # Errors
    /// Those of [`Tenancy::permit`], `Invalid`, `Escalation`, `NameTaken`.
    pub async fn robot_create(&self, caller: &Caller, input: &RobotInput) -> Result<RobotCreated, Error> {
        let project = match input.level {
            RobotLevel::System => {
                self.require_system::<CreateRobot>(caller, &input.name).await?;
                None
            }
            RobotLevel::Project => {
                let permit = self.permit::<CreateRobot>(caller, &project_of(input)?).await?;
                Some((permit.project, permit.name))
            }
        };
        let own = project.as_ref().map(|(id, _)| *id);
        let grants = self.checked_grants(input, own).await?;
        let mut tx = self.database.begin().await?;
        lock_projects(&mut tx, own, &grants).await?;
        if let Err(refusal) = self.refuse_escalation(&mut tx, caller, &grants).await {
            drop(tx);
            if matches!(refusal, Error::Escalation) {
                let name: String = input.name.chars().take(255).collect();
                let object = Object { kind: "robot", id: String::new(), name: &name };
                self.record_denied(caller, CreateRobot::NAME, object, own).await?;
            }
            return Err(refusal);
        }
        refuse_unknown_projects(&grants)?;
        let new = identity::NewRobot {
            name: &input.name,
            project: project.as_ref().map(|(id, name)| (id.0, name.as_str())),
            description: &input.description,
            duration_days: input.duration_days.unwrap_or(0),
            disabled: input.disabled.unwrap_or(false),
            creator: &caller.principal,
        };
        let created = self.identity.robot_insert(&mut tx, &new).await.map_err(refused)?;
        store(&mut tx, created.id, &grants).await?;
        let project = project.map(|(id, _)| id);
        trail(&mut tx, caller, CreateRobot::NAME, created.id, &created.name, project, &[]).await?;
        tx.commit().await?;
        Ok(created)
    }

    /// One robot with what it holds.
    pub async fn robot_get(&self, permit: RobotPermit<ReadRobot>) -> Result<Robot, Error> {
        let account = permit.account;
        let mut permissions = self.permissions_of(&[account.id]).await?;
        Ok(Robot { permissions: permissions.remove(&account.id).unwrap_or_default(), account })
    }

    /// A page of the robots of a project, or of the system's own, in two statements.
    ///
    /// # Errors
    /// Those of [`Tenancy::permit`], `BadQuery`.
    pub async fn robot_list(
        &self,
        caller: &Caller,
        project: Option<ProjectId>,
        query: &Query,
    ) -> Result<Page<Robot>, Error> {
        match project {
            Some(project) => {
                self.permit::<ListRobots>(caller, &ProjectRef::from(project)).await?;
            }
            None => self.require_system::<ListRobots>(caller, "").await?,
        }
        let page = self.identity.robot_page(project.map(|id| id.0), query).await.map_err(refused)?;
        let ids: Vec<i64> = page.rows.iter().map(|robot| robot.id).collect();
        let mut permissions = self.permissions_of(&ids).await?;
        let rows = page
            .rows
            .into_iter()
            .map(|account| Robot {
                permissions: permissions.remove(&account.id).unwrap_or_default(),
                account,
            })
            .collect();
        Ok(Page { rows, total: page.total })
    }

    /// Changes a robot: everything but its name and level, which the request repeats. For people only.
    ///
    /// # Errors
    /// `RobotUnknown`, `Invalid`.
    pub async fn robot_update(
        &self,
        permit: &RobotPermit<UpdateRobot>,
        input: &RobotInput,
    ) -> Result<(), Error> {
        let RobotPermit { account, caller, .. } = permit;
        let level = if account.project_id.is_some() { RobotLevel::Project } else { RobotLevel::System };
        if input.name != account.login_name || input.level != level {
            return Err(Error::Invalid("the name and the level of a robot cannot be changed".to_owned()));
        }
        let project = account.project_id.map(ProjectId);
        let grants = self.checked_grants(input, project).await?;
        refuse_unknown_projects(&grants)?;
        let mut tx = self.database.begin().await?;
        lock_projects(&mut tx, project, &grants).await?;
        let change = RobotChange {
            description: &input.description,
            duration_days: input.duration_days,
            disabled: input.disabled,
        };
        let robot = RobotId(account.id);
        self.identity.robot_change(&mut tx, robot, &change).await.map_err(refused)?;
        revoke(&mut tx, robot).await?;
        store(&mut tx, robot, &grants).await?;
        let changed = &["description", "duration", "disable", "permissions"];
        trail(&mut tx, caller, UpdateRobot::NAME, robot, &account.login_name, project, changed).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives a robot another secret and ends everything the old one gave out. Returns the new one unless it was
    /// chosen. For people only.
    ///
    /// # Errors
    /// `RobotUnknown`, `Invalid`.
    pub async fn robot_rekey(
        &self,
        permit: &RobotPermit<UpdateRobot>,
        chosen: Option<Secret>,
    ) -> Result<Option<Secret>, Error> {
        let RobotPermit { account, caller, .. } = permit;
        // Hashed before the transaction, which would hold a connection meanwhile.
        let secret = self.identity.robot_secret(chosen).await.map_err(refused)?;
        let mut tx = self.database.begin().await?;
        let robot = RobotId(account.id);
        let made = self.identity.robot_rekey(&mut tx, robot, secret).await.map_err(refused)?;
        let project = account.project_id.map(ProjectId);
        trail(&mut tx, caller, "robot_secret_set", robot, &account.login_name, project, &["secret"]).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Deletes a robot; its tokens end within 5 s.
    ///
    /// # Errors
    /// `RobotUnknown`.
    pub async fn robot_delete(&self, permit: &RobotPermit<DeleteRobot>) -> Result<(), Error> {
        let RobotPermit { account, caller, .. } = permit;
        let project = account.project_id.map(ProjectId);
        let mut tx = self.database.begin().await?;
        lock_projects(&mut tx, project, &BTreeSet::new()).await?;
        let robot = RobotId(account.id);
        self.identity.robot_delete(&mut tx, robot).await.map_err(refused)?;
        revoke(&mut tx, robot).await?;
        trail(&mut tx, caller, DeleteRobot::NAME, robot, &account.login_name, project, &[]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What a robot holds on the installation: paths below `/system` and actions.
    pub async fn robot_system_rights(&self, robot: RobotId) -> Result<Vec<(String, &'static str)>, Error> {
        let held = grants_of(self.database.pool(), robot).await?;
        let of_resource = |(resource, actions): &(&'static str, &'static [roles::Action])| {
            let holds = |action: &&roles::Action| {
                held.contains(&Grant {
                    system: true,
                    project: None,
                    resource: (*resource).to_owned(),
                    action: action.as_str().to_owned(),
                })
            };
            let path = format!("/system/{resource}");
            actions.iter().filter(holds).map(|action| (path.clone(), action.as_str())).collect::<Vec<_>>()
        };
        Ok(roles::ROBOT_SYSTEM.iter().flat_map(of_resource).collect())
    }

    /// Decides whether the caller may do `A` with this robot. Unknown and forbidden are alike, except to those who
    /// may do it with every robot.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`, `RobotUnknown`.
    pub async fn robot_permit<A: ProjectAction>(
        &self,
        caller: &Caller,
        id: i64,
    ) -> Result<RobotPermit<A>, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        let found = self.identity.robot_by_id(id).await?;
        let everywhere = self.system_allows(&caller.principal, Resource::Robot.as_str(), A::ACTION).await?;
        let project = found.as_ref().and_then(|robot| robot.project_id).map(ProjectId);
        // Asked for every id, so that a robot of a project is not told by the time it takes.
        let rights = self.project_rights(caller, &ProjectRef::Id(project.map_or(0, |id| id.0))).await?;
        let allowed = match (&found, project) {
            (None, _) if caller.is_sysadmin() => return Err(Error::RobotUnknown(id)),
            (None, _) => false,
            (Some(_), None) => everywhere,
            (Some(_), Some(_)) if caller.is_sysadmin() => true,
            (Some(_), Some(_)) => rights.is_some_and(|rights| rights.allow(A::RESOURCE, A::ACTION)),
        };
        match found {
            Some(account) if allowed => {
                Ok(RobotPermit { account, caller: caller.clone(), _action: PhantomData })
            }
            _ => {
                let object = Object { kind: "robot", id: id.to_string(), name: "" };
                self.record_denied(caller, A::NAME, object, project).await?;
                Err(Error::Hidden)
            }
        }
    }

    async fn require_system<A: ProjectAction>(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        if self.system_allows(&caller.principal, A::RESOURCE.as_str(), A::ACTION).await? {
            return Ok(());
        }
        let name: String = name.chars().take(255).collect();
        let object = Object { kind: "robot", id: String::new(), name: &name };
        self.record_denied(caller, A::NAME, object, None).await?;
        Err(Error::Hidden)
    }

    /// The grants a request asks for: every right one that robots may hold, every project one that exists.
    async fn checked_grants(
        &self,
        input: &RobotInput,
        own: Option<ProjectId>,
    ) -> Result<BTreeSet<Grant>, Error> {
        let invalid = |text: String| Err(Error::Invalid(text));
        if input.permissions.is_empty() {
            return invalid("permissions is empty: name at least one right".to_owned());
        }
        if input.permissions.len() > ENTRIES_MAX {
            return invalid(format!("permissions has more than {ENTRIES_MAX} entries"));
        }
        if input.level == RobotLevel::Project && input.permissions.len() != 1 {
            return invalid(
                "a robot of a project has exactly one permission entry, for its project".to_owned(),
            );
        }
        let names: Vec<String> = input
            .permissions
            .iter()
            .filter(|entry| entry.kind == "project" && entry.namespace != "*")
            .map(|entry| entry.namespace.clone())
            .filter(|name| name.parse::<ProjectName>().is_ok())
            .collect();
        let known: HashMap<String, i64> = sqlx::query!(
            "select name, id from tenancy.projects where deleted_at is null and name = any($1)",
            &names
        )
        .fetch_all(self.database.pool())
        .await?
        .into_iter()
        .map(|row| (row.name, row.id))
        .collect();
        let mut grants = BTreeSet::new();
        for entry in &input.permissions {
            let (system, project) = match (entry.kind.as_str(), entry.namespace.as_str(), own) {
                ("system", "/", None) => (true, None),
                ("project", "*", None) => (false, None),
                ("project", name, own) => match known.get(name) {
                    Some(id) if own.is_none_or(|own| own.0 == *id) => (false, Some(*id)),
                    None if own.is_none() => (false, Some(NO_PROJECT)),
                    _ => return invalid(format!("the project of the permissions is not {name:?}")),
                },
                (kind, namespace, _) => {
                    return invalid(format!(
                        "a permission of kind {kind:?} in namespace {namespace:?} does not fit a robot of this level"
                    ));
                }
            };
            if entry.access.is_empty() {
                return invalid("access is empty: name at least one right".to_owned());
            }
            for (resource, action) in &entry.access {
                let held = match system {
                    true => roles::robot_may_hold_system(resource, action),
                    false => roles::robot_may_hold(resource, action),
                };
                if !held {
                    return invalid(format!("bad request permission: {resource}:{action}"));
                }
                grants.insert(Grant { system, project, resource: resource.clone(), action: action.clone() });
            }
        }
        Ok(grants)
    }

    /// A robot gives away only what it holds, wherever it holds it, and while it is still what it was when it
    /// signed in: until `tx` ends nobody can take anything from it.
    async fn refuse_escalation(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        wanted: &BTreeSet<Grant>,
    ) -> Result<(), Error> {
        let Principal::Robot(robot) = &caller.principal else { return Ok(()) };
        if !self.identity.robot_holds(tx, robot).await.map_err(refused)? {
            return Err(Error::Hidden);
        }
        let held: BTreeSet<Grant> = grants_of(&mut **tx, robot.id).await?;
        let covered = |grant: &Grant| {
            held.contains(grant) || !grant.system && held.contains(&Grant { project: None, ..grant.clone() })
        };
        if wanted.iter().all(covered) { Ok(()) } else { Err(Error::Escalation) }
    }

    /// What robots hold, in the form of the API. Grants in a project that was deleted are gone.
    async fn permissions_of(&self, robots: &[i64]) -> Result<HashMap<i64, Vec<RobotPermission>>, Error> {
        let rows = sqlx::query!(
            r#"select g.robot_id, g.kind, p.name as "project?",
                      array_agg(g.resource order by g.resource, g.action) as "resources!",
                      array_agg(g.action order by g.resource, g.action) as "actions!"
               from tenancy.robot_grants g
               left join tenancy.projects p on p.id = g.project_id
               where g.robot_id = any($1) and (g.project_id is null or p.deleted_at is null)
               group by g.robot_id, g.kind, g.project_id, p.name
               order by g.robot_id, g.kind desc, p.name"#,
            robots
        )
        .fetch_all(self.database.pool())
        .await?;
        let mut permissions: HashMap<i64, Vec<RobotPermission>> = HashMap::new();
        for row in rows {
            let namespace = match (row.kind.as_str(), row.project) {
                ("system", _) => "/".to_owned(),
                (_, Some(project)) => project,
                (_, None) => "*".to_owned(),
            };
            permissions.entry(row.robot_id).or_default().push(RobotPermission {
                kind: row.kind,
                namespace,
                access: row.resources.into_iter().zip(row.actions).collect(),
            });
        }
        Ok(permissions)
    }
}

/// The project of a robot of one project, as its only permission names it.
fn project_of(input: &RobotInput) -> Result<ProjectRef, Error> {
    match input.permissions.as_slice() {
        [entry] if entry.kind == "project" => Ok(ProjectRef::parse(&entry.namespace, true)),
        _ => Err(Error::Invalid(
            "a robot of a project has exactly one permission entry, of kind \"project\", for its project"
                .to_owned(),
        )),
    }
}

async fn grants_of(executor: impl sqlx::PgExecutor<'_>, robot: RobotId) -> Result<BTreeSet<Grant>, Error> {
    let rows = sqlx::query!(
        r#"select kind = 'system' as "system!", project_id, resource, action
           from tenancy.robot_grants where robot_id = $1"#,
        robot.0
    )
    .fetch_all(executor)
    .await?;
    let grant = |system, project, resource, action| Grant { system, project, resource, action };
    Ok(rows.into_iter().map(|row| grant(row.system, row.project_id, row.resource, row.action)).collect())
}

/// Told only to people, and to a robot that holds the right in every project.
fn refuse_unknown_projects(grants: &BTreeSet<Grant>) -> Result<(), Error> {
    if grants.iter().any(|grant| grant.project == Some(NO_PROJECT)) {
        return Err(Error::Invalid("the permissions name a project that does not exist".to_owned()));
    }
    Ok(())
}

/// Keeps the projects of a robot from being deleted meanwhile. Projects come before robots, as in a project's
/// deletion.
async fn lock_projects(tx: &mut Tx, own: Option<ProjectId>, grants: &BTreeSet<Grant>) -> Result<(), Error> {
    let named = grants.iter().filter_map(|grant| grant.project).filter(|id| *id != NO_PROJECT);
    let ids: BTreeSet<i64> = own.map(|id| id.0).into_iter().chain(named).collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    let locked = sqlx::query_scalar!(
        "select id from tenancy.projects where id = any($1) and deleted_at is null order by id for key share",
        &ids
    )
    .fetch_all(&mut **tx)
    .await?;
    if locked.len() == ids.len() { Ok(()) } else { Err(Error::ProjectGone) }
}

async fn revoke(tx: &mut Tx, robot: RobotId) -> Result<(), Error> {
    sqlx::query!("delete from tenancy.robot_grants where robot_id = $1", robot.0).execute(&mut **tx).await?;
    Ok(())
}

async fn store(tx: &mut Tx, robot: RobotId, grants: &BTreeSet<Grant>) -> Result<(), Error> {
    let kind = |grant: &Grant| if grant.system { "system" } else { "project" }.to_owned();
    sqlx::query!(
        "insert into tenancy.robot_grants (robot_id, kind, project_id, resource, action)
         select $1, * from unnest($2::text[], $3::bigint[], $4::text[], $5::text[])",
        robot.0,
        &grants.iter().map(kind).collect::<Vec<_>>(),
        &grants.iter().map(|grant| grant.project).collect::<Vec<_>>() as &[Option<i64>],
        &grants.iter().map(|grant| grant.resource.clone()).collect::<Vec<_>>(),
        &grants.iter().map(|grant| grant.action.clone()).collect::<Vec<_>>()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn trail(
    tx: &mut Tx,
    caller: &Caller,
    action: &'static str,
    robot: RobotId,
    name: &str,
    project: Option<ProjectId>,
    changed: &[&'static str],
) -> Result<(), Error> {
    let entry = Entry {
        actor: caller.actor(),
        action,
        object: Object { kind: "robot", id: robot.to_string(), name },
        project: project.map(|id| id.0),
        outcome: Outcome::Done,
        origin: &caller.origin,
        changed,
    };
    Ok(audit::append(tx, &entry).await?)
}

/// Refusals of `identity` that are the client's doing keep their meaning.
fn refused(err: identity::Error) -> Error {
    match err {
        identity::Error::Invalid(text) => Error::Invalid(text.to_owned()),
        identity::Error::Taken(what) => Error::RobotExists(format!("the {what} is already taken")),
        identity::Error::RobotUnknown(id) => Error::RobotUnknown(id),
        identity::Error::BadQuery(err) => Error::BadQuery(err.to_string()),
        other => Error::Identity(other),
    }
}
