//! Who may read the audit trail: system administrators and robots that were given it read everything, others the
//! acts of projects where they may list logs.

use audit::{Act, Extent, Object, Selection, Trail, Verified};
use database::list::{Page, Query};
use identity::{Caller, Principal};

use crate::access_tokens::open_projects;
use crate::permit::ListLogs;
use crate::roles::{self, Action, Resource, Role};
use crate::{Error, Permit, Tenancy};

/// How long one request may spend on the chain; callers go on where it stopped.
const VERIFY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// What one reader may read, decided once: for exports that read on for a while.
#[derive(Clone)]
pub struct Readable {
    trail: Trail,
    extent: Extent,
}

impl Readable {
    /// One page, two statements at most.
    ///
    /// # Errors
    /// `BadQuery`, `Storage`.
    pub async fn page(&self, selection: Selection, query: &Query) -> Result<Page<Act>, Error> {
        Ok(self.trail.page(&self.extent, selection, query).await?)
    }

    /// The next acts of an export, newest first, below the id `before`.
    ///
    /// # Errors
    /// `BadQuery`, `Storage`.
    pub async fn older(&self, query: &Query, before: Option<i64>) -> Result<Vec<Act>, Error> {
        Ok(self.trail.older(&self.extent, query, before).await?)
    }

    /// The next lines of an export as CSV, from `before` on, and where those after them begin. Without `before` the
    /// first line is the head.
    ///
    /// # Errors
    /// `BadQuery`, `Storage`.
    pub async fn csv(&self, query: &Query, before: Option<i64>) -> Result<(String, Option<i64>), Error> {
        let acts = self.older(query, before).await?;
        let head = if before.is_none() { audit::csv::HEAD } else { "" };
        Ok((format!("{head}{}", audit::csv::lines(&acts)), acts.last().map(|act| act.id)))
    }
}

impl Tenancy {
    /// The trail of one project.
    pub fn trail_of(&self, permit: &Permit<ListLogs>) -> Readable {
        Readable {
            trail: Trail::new(self.database.clone()),
            extent: Extent::Projects(vec![permit.project.0]),
        }
    }

    /// All of the trail that the caller may read, which may be nothing.
    ///
    /// # Errors
    /// `Unauthenticated`, `Storage`.
    pub async fn trail_for(&self, caller: &Caller) -> Result<Readable, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        let trail = Trail::new(self.database.clone());
        let extent = if self.system_allows(&caller.principal, "audit-log", Action::List).await? {
            Extent::All
        } else {
            Extent::Projects(self.projects_with_logs(&caller.principal).await?)
        };
        Ok(Readable { trail, extent })
    }

    /// Refuses everybody who may not read the whole trail; the refusal itself is recorded.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`, `Storage`.
    pub async fn require_trail(&self, caller: &Caller) -> Result<(), Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        if self.system_allows(&caller.principal, "audit-log", Action::List).await? {
            return Ok(());
        }
        self.refuse_trail(caller, "audit_list").await
    }

    /// Recomputes the chain of the trail behind a position, for system administrators; stops after two seconds.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`, `Storage`.
    pub async fn trail_verify(&self, caller: &Caller, after: i64) -> Result<Verified, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        if !caller.is_sysadmin() {
            return self.refuse_trail(caller, "audit_verify").await;
        }
        Ok(Trail::new(self.database.clone()).verify(after, Some(VERIFY_PATIENCE)).await?)
    }

    async fn refuse_trail<T>(&self, caller: &Caller, action: &'static str) -> Result<T, Error> {
        let object = Object { kind: "audit", id: String::new(), name: "" };
        self.record_denied(caller, action, object, None).await?;
        Err(Error::Hidden)
    }

    async fn projects_with_logs(&self, principal: &Principal) -> Result<Vec<i64>, Error> {
        let may = |role: &Role| roles::permits(*role, Resource::Log, Action::List);
        let roles: Vec<i16> = Role::ALL.into_iter().filter(may).map(Role::id).collect();
        let ids = sqlx::query_scalar!(
            "select p.id from tenancy.projects p
             where p.deleted_at is null
               and (exists (select 1 from tenancy.member_roles m
                            where m.project_id = p.id and m.user_id = $1 and m.role = any($3))
                    or exists (select 1 from tenancy.robot_grants g
                               where g.robot_id = $2 and g.kind = 'project' and g.resource = 'log'
                                 and g.action = 'list' and (g.project_id is null or g.project_id = p.id)))",
            principal.user().map(|user| user.id.0),
            principal.robot().map(|robot| robot.0),
            &roles
        )
        .fetch_all(self.database.pool())
        .await?;
        let open = open_projects(principal.limits());
        Ok(ids.into_iter().filter(|id| open.is_none_or(|open| open.contains(id))).collect())
    }
}
