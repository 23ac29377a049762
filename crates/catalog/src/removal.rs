//! A project deleted with everything in it, as a job: its repositories one by one, then the project itself.
//!
//! The job acts as the account that asked for it, with no more than the access token leaves that it asked with, and
//! asks for permission again before every batch: whoever loses the right meanwhile stops it, and so does the end of
//! the token. Every repository goes in a transaction of its own, so that a job which is
//! interrupted goes on where it was.
//!
//! Invariant: an immutable tag is never deleted. One that is there refuses the request; one that became immutable
//! later ends the job.

use audit::{Entry, Object, Outcome};
use chrono::{DateTime, Utc};
use database::Database;
use identity::{Caller, Limits, Origin, Principal, Robot, RobotId, User, UserId};
use oci::RepositoryName;
use queue::{Job, JobContext, JobError};
use serde::{Deserialize, Serialize};
use tenancy::{DeleteProject, Permit, ProjectRef, Tenancy};

use crate::{Error, Repositories};

/// Repositories between two looks at whether the caller still may.
const BATCH: i64 = 20;

/// The job that deletes a project with everything in it. Idempotent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveProject {
    project: i64,
    /// The account is a robot, otherwise a person.
    robot: bool,
    account: i64,
    /// The access token that was used in place of the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_token: Option<i64>,
    /// Id of the request that asked for it, for the trail.
    request_id: String,
}

impl Job for RemoveProject {
    const KIND: &'static str = "catalog.remove_project";
}

/// What became of a request to delete a project with its content.
#[derive(Clone, Debug)]
pub struct Removal {
    /// `queued`, `running`, `retrying`, `stopping`, `done`, `failed` or `stopped`.
    pub state: String,
    /// Repositories that are gone.
    pub repositories: i64,
    /// Why the last attempt did not succeed; empty when it did.
    pub message: String,
    pub asked_by: String,
    pub asked_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Whether a job is a deletion that `caller` may follow: whoever asked for it, and system administrators.
pub fn removal_is_for(record: &queue::Record, caller: &Caller) -> bool {
    if record.kind != RemoveProject::KIND {
        return false;
    }
    // What an older version wrote may read differently; nobody needs it any more.
    let Ok(job) = serde_json::from_value::<RemoveProject>(record.payload.clone()) else { return false };
    match &caller.principal {
        Principal::User(user) => user.sysadmin || (!job.robot && job.account == user.id.0),
        Principal::Robot(robot) => job.robot && job.account == robot.id.0,
        Principal::Anonymous => false,
    }
}

/// Deletes projects with their content. Clone freely.
#[derive(Clone)]
pub struct Removals {
    database: Database,
    tenancy: Tenancy,
    repositories: Repositories,
}

impl Removals {
    pub(crate) fn new(database: Database, tenancy: Tenancy, repositories: Repositories) -> Self {
        Self { database, tenancy, repositories }
    }

    /// Asks for a project to be deleted with everything in it, and returns the id of the job.
    ///
    /// # Errors
    /// The refusal of an immutable tag when the project has one; `ProjectGone`.
    pub async fn start(&self, permit: &Permit<DeleteProject>) -> Result<i64, Error> {
        let caller = &permit.caller;
        let (robot, account) = match &caller.principal {
            Principal::User(user) => (false, user.id.0),
            Principal::Robot(robot) => (true, robot.id.0),
            Principal::Anonymous => return Err(tenancy::Error::Unauthenticated.into()),
        };
        let mut tx = self.database.begin().await?;
        self.tenancy.project_lock(&mut tx, permit.project).await?;
        sqlx::query!(
            "select catalog.refuse_immutable_repository($1, r.id) from catalog.repositories r
             where r.project_id = $1 and r.deleted_at is null
               and exists (select 1 from catalog.immutable_rules i where i.project_id = $1 and not i.disabled)",
            permit.project.0
        )
        .execute(&mut *tx)
        .await?;
        let job = RemoveProject {
            project: permit.project.0,
            robot,
            account,
            access_token: caller.principal.limits().map(|limits| limits.token),
            request_id: caller.origin.request_id.clone(),
        };
        let id = queue::submit(&mut tx, &job, caller.actor().name).await?;
        let id = id.ok_or_else(|| Error::Refused("the project is being deleted already".to_owned()))?;
        let entry = Entry {
            actor: caller.actor(),
            action: "project_delete_start",
            object: Object { kind: "project", id: permit.project.to_string(), name: permit.name.as_str() },
            project: Some(permit.project.0),
            outcome: Outcome::Done,
            origin: &caller.origin,
            changed: &[],
        };
        audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// How far a deletion is, for whoever asked for it and for system administrators.
    ///
    /// # Errors
    /// `Unknown` to everybody else, and when there is no such job.
    pub async fn find(&self, caller: &Caller, id: i64) -> Result<Removal, Error> {
        let unknown = || Error::Unknown(format!("job {id} not found"));
        let record = queue::History::new(self.database.clone()).get(id).await?.ok_or_else(unknown)?;
        if !removal_is_for(&record, caller) {
            return Err(unknown());
        }
        Ok(Removal {
            state: record.state,
            repositories: record.done_count,
            message: record.message,
            asked_by: record.asked_by,
            asked_at: record.created_at,
            finished_at: record.finished_at,
        })
    }

    /// The job: deletes the content in batches, then the project.
    pub async fn run(&self, job: RemoveProject, context: JobContext) -> Result<(), JobError> {
        use tenancy::Error as Refusal;
        let mut done = 0;
        while !context.cancelled() {
            match self.batch(&job).await {
                Ok(None) => return Ok(()),
                Ok(Some(removed)) => {
                    done += removed;
                    context.progress("repositories", done, 0).await?;
                }
                // Trying again would not change these.
                Err(
                    err @ (Error::TagImmutable { .. }
                    | Error::Tenancy(Refusal::Unauthenticated | Refusal::Hidden)),
                ) => return Err(JobError::fail(err)),
                Err(err) => return Err(JobError::retry(err)),
            }
        }
        Ok(())
    }

    /// Deletes some repositories and tells how many; nothing when the project is gone.
    async fn batch(&self, job: &RemoveProject) -> Result<Option<i64>, Error> {
        let names = sqlx::query_scalar!(
            r#"select array(select r.path from catalog.repositories r
                            where r.project_id = p.id and r.deleted_at is null
                              and r.last_published_at is not null
                            order by r.id limit $2) as "paths!"
               from tenancy.projects p where p.id = $1 and p.deleted_at is null"#,
            job.project,
            BATCH
        )
        .fetch_optional(self.database.pool())
        .await?;
        let Some(names) = names else { return Ok(None) };
        let caller = self.caller(job).await?;
        let permit = self.tenancy.permit::<DeleteProject>(&caller, &ProjectRef::Id(job.project)).await?;
        self.tenancy.require_writable().await?;
        if names.is_empty() {
            return match self.tenancy.project_delete(&permit).await {
                Ok(()) | Err(tenancy::Error::ProjectGone) => Ok(None),
                // Somebody pushed meanwhile: again later, as often as any job that fails, and not at once for ever.
                Err(tenancy::Error::NotEmpty) => {
                    Err(Error::Refused("the project got new content while it was being deleted".to_owned()))
                }
                Err(err) => Err(err.into()),
            };
        }
        let content = permit.content();
        let mut removed = 0;
        for name in names {
            let name: RepositoryName = name
                .parse()
                .map_err(|_| Error::Refused(format!("the stored name {name:?} is no repository's")))?;
            match self.repositories.delete(&content, &name).await {
                Ok(()) => removed += 1,
                // Somebody else deleted it meanwhile.
                Err(Error::RepositoryUnknown(_)) => {}
                Err(err) => return Err(err),
            }
        }
        Ok(Some(removed))
    }

    /// The account that asked, with what it asked with, as both are now.
    async fn caller(&self, job: &RemoveProject) -> Result<Caller, Error> {
        let asked = if job.robot {
            let name = String::new();
            Principal::Robot(Robot { id: RobotId(job.account), name, expires_at: None, epoch: 0 })
        } else {
            let name = String::new();
            let limits = job.access_token.map(|token| Limits::unknown(token, 0).into());
            Principal::User(User { id: UserId(job.account), name, sysadmin: false, epoch: 0, limits })
        };
        let origin = Origin { request_id: job.request_id.clone(), method: "job", ..Origin::default() };
        Ok(self.tenancy.caller_now(&asked, origin).await?)
    }
}
