//! Requests for projects: who may not create one asks for it, a system administrator decides.
//!
//! A request tells nobody whether its name is taken: that comes out when it is decided.
//!
//! Invariants:
//! * A request is decided once; an approval and the project it makes are one transaction.
//! * The requester of an approved project is its owner and its administrator, whoever decided.

use audit::{Entry, Object, Outcome};
use chrono::{DateTime, Utc};
use database::Tx;
use database::list::{self, Columns, Page, Query, Select};
use identity::{Caller, User};

use crate::access_tokens::leaves_system;
use crate::projects::insert;
use crate::quotas::checked_limit;
use crate::roles::Action;
use crate::rules::checked_name;
use crate::{Error, ProjectId, Tenancy};

const REASON_CHARS_MAX: usize = 1024;

/// Undecided requests of one account.
const PENDING_MAX: i64 = 20;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewProjectRequest {
    pub name: String,
    pub public: bool,
    /// Bytes, -1 for no limit; absent for the default.
    pub storage_limit: Option<i64>,
    pub reason: String,
}

/// What a system administrator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Approve,
    Refuse,
}

impl Decision {
    /// The decision of this name.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "approve" => Ok(Self::Approve),
            "refuse" => Ok(Self::Refuse),
            _ => Err(Error::Invalid("decision takes approve or refuse".to_owned())),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Refuse => "refuse",
        }
    }
}

/// A request and what became of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ProjectRequest {
    pub id: i64,
    pub requester_id: i64,
    /// Empty when the account is gone.
    pub requester: String,
    pub name: String,
    pub public: bool,
    pub storage_limit: Option<i64>,
    pub reason: String,
    pub created_at: DateTime<Utc>,
    /// `pending`, `approved` or `refused`.
    pub status: String,
    /// Empty until somebody decided.
    pub decided_by: String,
    pub decided_reason: String,
    pub decided_at: Option<DateTime<Utc>>,
    /// The project an approval made.
    pub project_id: Option<i64>,
}

const STATUS: &str =
    "case r.decision when 'approve' then 'approved' when 'refuse' then 'refused' else 'pending' end";

const COLUMNS: Columns = Columns::new(
    &[
        list::integer("id", "r.id").sortable(),
        list::text("project_name", "r.name").sortable(),
        list::text("status", STATUS).sortable(),
        list::text("requester", "u.username").sortable(),
        list::time("creation_time", "r.created_at").sortable(),
    ],
    "r.created_at desc",
    "r.id desc",
);

fn requests() -> Select {
    Select::new(
        "r.id, r.requester_id, coalesce(u.username, '') as requester, r.name::text as name, r.public,
         r.hard_bytes as storage_limit, r.reason, r.created_at,
         case r.decision when 'approve' then 'approved' when 'refuse' then 'refused' else 'pending' end as status,
         coalesce(d.username, '') as decided_by, r.decided_reason, r.decided_at, r.project_id",
        "tenancy.project_requests r
         left join identity.users u on u.id = r.requester_id and u.deleted_at is null
         left join identity.users d on d.id = r.decided_by and d.deleted_at is null",
    )
}

impl Tenancy {
    /// Asks for a project.
    ///
    /// # Errors
    /// `Unauthenticated`, `NotAvailable` while requests are switched off, `Hidden` for robots, `Invalid`,
    /// `LimitReached`, `RequestPending` when the same account asks for the same name again.
    pub async fn project_request(&self, caller: &Caller, new: &NewProjectRequest) -> Result<i64, Error> {
        require_open(caller, Action::Create)?;
        if !self.settings().await?.project_requests {
            let text = "requests for projects are switched off (project_request_enabled)";
            return Err(Error::NotAvailable(text.to_owned()));
        }
        let Some(user) = caller.user() else { return Err(Error::Hidden) };
        let name = checked_name(&new.name)?;
        let limit = new.storage_limit.map(checked_limit).transpose()?;
        let reason = checked_reason(&new.reason)?;
        let mut tx = self.database.begin().await?;
        check_pending(&mut tx, user).await?;
        let id = sqlx::query_scalar!(
            "insert into tenancy.project_requests (requester_id, name, public, hard_bytes, reason)
             values ($1, $2, $3, $4, $5)
             on conflict (requester_id, name) where decision is null do nothing returning id",
            user.id.0,
            name.as_str(),
            new.public,
            limit,
            reason
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Error::RequestPending(name.to_string()))?;
        trail(&mut tx, caller, "project_request_create", id, name.as_str()).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// A page of requests: all for system administrators, their own for others.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn project_request_list(
        &self,
        caller: &Caller,
        query: &Query,
    ) -> Result<Page<ProjectRequest>, Error> {
        require_open(caller, Action::List)?;
        let select = if caller.is_sysadmin() {
            requests()
        } else {
            requests().and_any("r.requester_id", caller.user().map(|user| user.id.0).into_iter().collect())
        };
        Ok(list::page(self.database.pool(), select, &COLUMNS, query).await?)
    }

    /// One request: any for system administrators, their own for others.
    ///
    /// # Errors
    /// `Unauthenticated`; `RequestUnknown` for system administrators, `Hidden` for others.
    pub async fn project_request_read(&self, caller: &Caller, id: i64) -> Result<ProjectRequest, Error> {
        require_open(caller, Action::Read)?;
        let page: Page<ProjectRequest> =
            list::page(self.database.pool(), requests().and("r.id = ", id), &COLUMNS, &Query::default())
                .await?;
        let own = |request: &ProjectRequest| {
            caller.is_sysadmin() || caller.user().is_some_and(|user| user.id.0 == request.requester_id)
        };
        match page.rows.into_iter().find(own) {
            Some(request) => Ok(request),
            None if caller.is_sysadmin() => Err(Error::RequestUnknown(id)),
            None => {
                let object = Object { kind: "project_request", id: id.to_string(), name: "" };
                self.record_denied(caller, "project_request_read", object, None).await?;
                Err(Error::Hidden)
            }
        }
    }

    /// Decides a request. An approval makes the project and returns its id.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden` for who is no system administrator, `RequestUnknown`, `RequestDecided`,
    /// `Invalid`; for approvals also `NameTaken`, which leaves the request undecided.
    pub async fn project_request_decide(
        &self,
        caller: &Caller,
        id: i64,
        decision: &str,
        reason: &str,
    ) -> Result<Option<ProjectId>, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        let open = leaves_system(caller.principal.limits(), Action::Update);
        let Some(administrator) = caller.user().filter(|_| caller.is_sysadmin() && open) else {
            let object = Object { kind: "project_request", id: id.to_string(), name: "" };
            self.record_denied(caller, "project_request_decide", object, None).await?;
            return Err(Error::Hidden);
        };
        let decision = Decision::parse(decision)?;
        let reason = checked_reason(reason)?;
        let default_limit = self.settings().await?.storage_per_project;
        let mut tx = self.database.begin().await?;
        let request = sqlx::query!(
            r#"select r.name, r.public, r.hard_bytes, r.requester_id, r.decision is not null as "decided!",
                      u.deleted_at is not null or u.disabled as "gone!"
               from tenancy.project_requests r join identity.users u on u.id = r.requester_id
               where r.id = $1 for update of r"#,
            id
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::RequestUnknown(id))?;
        if request.decided {
            return Err(Error::RequestDecided(id));
        }
        let project = if decision == Decision::Refuse {
            None
        } else if request.gone {
            let text = "the account that asked is gone or disabled; refuse the request instead";
            return Err(Error::Invalid(text.to_owned()));
        } else {
            // The rules may have changed since it was asked for.
            let name = checked_name(&request.name)?;
            let limit = request.hard_bytes.unwrap_or(default_limit);
            let nothing = serde_json::Value::Object(Default::default());
            let made = insert(&mut tx, &name, request.requester_id, request.public, &nothing, limit).await?;
            let made = made.ok_or_else(|| Error::NameTaken(name.to_string()))?;
            let entry = Entry {
                actor: caller.actor(),
                action: "project_create",
                object: Object { kind: "project", id: made.to_string(), name: name.as_str() },
                project: Some(made),
                outcome: Outcome::Done,
                origin: &caller.origin,
                changed: &[],
            };
            audit::append(&mut tx, &entry).await?;
            Some(made)
        };
        sqlx::query!(
            "update tenancy.project_requests
             set decision = $2, decided_by = $3, decided_reason = $4, decided_at = now(), project_id = $5
             where id = $1",
            id,
            decision.as_str(),
            administrator.id.0,
            reason,
            project
        )
        .execute(&mut *tx)
        .await?;
        let act = match decision {
            Decision::Approve => "project_request_approve",
            Decision::Refuse => "project_request_refuse",
        };
        trail(&mut tx, caller, act, id, &request.name).await?;
        tx.commit().await?;
        Ok(project.map(ProjectId))
    }
}

/// Requests belong to no project: an access token that is for some projects only does not open them.
fn require_open(caller: &Caller, action: Action) -> Result<(), Error> {
    if caller.is_anonymous() {
        return Err(Error::Unauthenticated);
    }
    if leaves_system(caller.principal.limits(), action) { Ok(()) } else { Err(Error::Hidden) }
}

async fn check_pending(tx: &mut Tx, user: &User) -> Result<(), Error> {
    let pending = sqlx::query_scalar!(
        r#"select count(*) as "count!" from tenancy.project_requests
           where requester_id = $1 and decision is null"#,
        user.id.0
    )
    .fetch_one(&mut **tx)
    .await?;
    if pending < PENDING_MAX {
        return Ok(());
    }
    Err(Error::LimitReached(format!("one account can have at most {PENDING_MAX} undecided requests")))
}

fn checked_reason(reason: &str) -> Result<&str, Error> {
    if reason.chars().count() > REASON_CHARS_MAX || reason.contains('\0') {
        return Err(Error::Invalid(format!("reason takes at most {REASON_CHARS_MAX} characters")));
    }
    Ok(reason)
}

async fn trail(tx: &mut Tx, caller: &Caller, action: &'static str, id: i64, name: &str) -> Result<(), Error> {
    let entry = Entry {
        actor: caller.actor(),
        action,
        object: Object { kind: "project_request", id: id.to_string(), name },
        project: None,
        outcome: Outcome::Done,
        origin: &caller.origin,
        changed: &[],
    };
    Ok(audit::append(tx, &entry).await?)
}
