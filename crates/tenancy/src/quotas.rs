//! Storage quotas: one hot row per project, changed by one statement.
//!
//! The rows stand apart from the projects so that a push never waits for an edit of the project. `catalog`
//! says how many bytes a change costs; whether they fit is decided by the SQL function `tenancy.charge` and nowhere
//! else.
//!
//! Invariant: the decision and the charge are the same statement, so no two pushes can both take the last
//! byte. A release always succeeds.

use audit::{Entry, Object, Outcome};
use chrono::{DateTime, Utc};
use database::Tx;
use database::list::{self, Columns, Page, Query, Select};
use identity::Caller;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgDatabaseError;

use crate::permit::SYSTEM;
use crate::roles::Action;
use crate::{Error, ProjectId, Tenancy};

/// Limit and usage of a project, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// -1 is no limit.
    pub hard: i64,
    pub used: i64,
}

/// The quota of a project as lists of quotas show it. Its id is that of the project.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ProjectQuota {
    pub project_id: i64,
    pub name: String,
    /// Empty when the owner's account is gone.
    pub owner_name: String,
    pub hard: i64,
    pub used: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The job that tells of projects which came near their limit. Idempotent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TellQuotaWarnings {}

impl queue::Job for TellQuotaWarnings {
    const KIND: &'static str = "tenancy.tell_quota_warnings";
    const UNIQUE: bool = true;
}

/// Warnings told in one transaction.
const WARNINGS_AT_ONCE: i64 = 100;

/// No limit sorts as the largest one.
const COLUMNS: Columns = Columns::new(
    &[
        list::integer(
            "hard.storage",
            "case when q.hard_bytes < 0 then 9223372036854775807 else q.hard_bytes end",
        )
        .sort_only(),
        list::integer("used.storage", "q.used_bytes").sort_only(),
        // A project without a limit is never full.
        list::integer(
            "fullness",
            "case when q.hard_bytes > 0 then q.used_bytes::float8 / q.hard_bytes else -1 end",
        )
        .sort_only(),
        list::text("name", "p.name").sortable(),
        list::time("creation_time", "q.created_at").sort_only(),
        list::time("update_time", "q.updated_at").sort_only(),
    ],
    "q.created_at desc",
    "q.project_id",
);

fn quotas() -> Select {
    Select::new(
        "q.project_id, p.name::text as name, coalesce(u.username, '') as owner_name, q.hard_bytes as hard,
         q.used_bytes as used, q.created_at, q.updated_at",
        "tenancy.quotas q join tenancy.projects p on p.id = q.project_id
         left join identity.users u on u.id = p.owner_id and u.deleted_at is null",
    )
    .and_sql("p.deleted_at is null")
}

impl Tenancy {
    /// A page of all quotas, or the one of a project.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden` as refusals.
    pub async fn quota_list(
        &self,
        caller: &Caller,
        project: Option<i64>,
        query: &Query,
    ) -> Result<Page<ProjectQuota>, Error> {
        self.require_quota(caller, Action::List, "quota_list", None).await?;
        let mut select = quotas();
        if let Some(project) = project {
            select = select.and("q.project_id = ", project);
        }
        Ok(list::page(self.database.pool(), select, &COLUMNS, query).await?)
    }

    /// One quota, by its id.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden` as refusals, `QuotaUnknown`.
    pub async fn quota_read(&self, caller: &Caller, id: i64) -> Result<ProjectQuota, Error> {
        self.require_quota(caller, Action::Read, "quota_read", Some(id)).await?;
        let select = quotas().and("q.project_id = ", id);
        let page = list::page(self.database.pool(), select, &COLUMNS, &Query::default()).await?;
        page.rows.into_iter().next().ok_or(Error::QuotaUnknown(id))
    }

    /// Sets the limit of a project, in bytes; -1 is none. A limit below what is used stops further pushes and
    /// takes nothing away.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden` as refusals, `Invalid`, `QuotaUnknown`.
    pub async fn quota_set(&self, caller: &Caller, id: i64, hard_bytes: i64) -> Result<(), Error> {
        self.require_quota(caller, Action::Update, "quota_update", Some(id)).await?;
        let hard_bytes = checked_limit(hard_bytes)?;
        let mut tx = self.database.begin().await?;
        let name = sqlx::query_scalar!(
            "update tenancy.quotas q
             set hard_bytes = $2, updated_at = now(),
                 warned_at = case when tenancy.near_limit(used_bytes, $2) then coalesce(warned_at, now()) end
             from tenancy.projects p
             where q.project_id = $1 and p.id = q.project_id and p.deleted_at is null returning p.name",
            id,
            hard_bytes
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::QuotaUnknown(id))?;
        let entry = Entry {
            actor: caller.actor(),
            action: "quota_update",
            object: Object { kind: "quota", id: id.to_string(), name: &name },
            project: Some(id),
            outcome: Outcome::Done,
            origin: &caller.origin,
            changed: &["hard"],
        };
        audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn require_quota(
        &self,
        caller: &Caller,
        action: Action,
        act: &'static str,
        id: Option<i64>,
    ) -> Result<(), Error> {
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        self.require_on_system(caller, "quota", action, act, Object { kind: "quota", id, name: "" }).await
    }

    /// Tells in the log and in the audit trail of the projects that came near their limit since the last time, and
    /// returns how many. Every time a project gets there is told once.
    pub async fn quota_warnings_tell(&self, cancelled: impl Fn() -> bool) -> Result<usize, Error> {
        let mut told = 0;
        while !cancelled() {
            let batch = self.quota_warnings_batch().await?;
            told += batch;
            if (batch as i64) < WARNINGS_AT_ONCE {
                break;
            }
        }
        Ok(told)
    }

    async fn quota_warnings_batch(&self) -> Result<usize, Error> {
        let mut tx = self.database.begin().await?;
        // A row that a push holds comes next time.
        let near = sqlx::query!(
            "with near as (
                 select project_id from tenancy.quotas
                 where warned_at is not null and warning_told_at is distinct from warned_at
                 order by project_id limit $1 for update skip locked
             )
             update tenancy.quotas q set warning_told_at = q.warned_at
             from near, tenancy.projects p
             where q.project_id = near.project_id and p.id = q.project_id
             returning q.project_id, q.used_bytes, q.hard_bytes, p.name",
            WARNINGS_AT_ONCE
        )
        .fetch_all(&mut *tx)
        .await?;
        let origin = audit::Origin::default();
        for row in &near {
            let entry = Entry {
                actor: SYSTEM,
                action: "quota_warning",
                object: Object { kind: "quota", id: row.project_id.to_string(), name: &row.name },
                project: Some(row.project_id),
                outcome: Outcome::Done,
                origin: &origin,
                changed: &[],
            };
            audit::append(&mut tx, &entry).await?;
        }
        tx.commit().await?;
        for row in &near {
            tracing::warn!(
                project = row.name,
                used_bytes = row.used_bytes,
                hard_bytes = row.hard_bytes,
                "a project has used 85 % of its storage quota or more"
            );
        }
        Ok(near.len())
    }

    /// Limit and usage; nothing for a project that is gone.
    pub async fn quota_get(&self, project: ProjectId) -> Result<Option<Quota>, Error> {
        Ok(sqlx::query_as!(
            Quota,
            "select hard_bytes as hard, used_bytes as used from tenancy.quotas where project_id = $1",
            project.0
        )
        .fetch_optional(self.database.pool())
        .await?)
    }

    /// Charges (or, below zero, releases) bytes inside the transaction that stores (or removes) them. The
    /// row stays locked until the end of `tx`, and a refusal ends `tx`: call it last.
    ///
    /// # Errors
    /// `QuotaExceeded`, and `ProjectGone` for a charge to a project that was deleted meanwhile. A release
    /// never fails for a reason of its own and never goes below zero.
    pub async fn quota_charge(&self, tx: &mut Tx, project: ProjectId, delta_bytes: i64) -> Result<(), Error> {
        if delta_bytes == 0 {
            return Ok(());
        }
        let charged = sqlx::query_scalar!("select tenancy.charge($1, $2)", project.0, delta_bytes);
        match charged.fetch_one(&mut **tx).await {
            Ok(_) => Ok(()),
            Err(err) => Err(charge_refusal(project, &err).unwrap_or_else(|| err.into())),
        }
    }
}

/// Why a statement that calls `tenancy.charge` was refused; nothing when it failed for another reason.
pub fn charge_refusal(project: ProjectId, err: &sqlx::Error) -> Option<Error> {
    let answer = err.as_database_error()?;
    match answer.code()?.as_ref() {
        "HT002" => {
            let detail = answer.try_downcast_ref::<PgDatabaseError>()?.detail()?;
            let mut words = detail.split(' ');
            let mut figure = || words.next()?.parse().ok();
            let (used, hard, added) = (figure()?, figure()?, figure()?);
            let name = words.next().map_or_else(|| project.to_string(), str::to_owned);
            Some(Error::QuotaExceeded { name, added, used, hard })
        }
        "HT003" => Some(Error::ProjectGone),
        _ => None,
    }
}

/// A limit as the API takes it: above zero, or -1 for none.
pub(crate) fn checked_limit(bytes: i64) -> Result<i64, Error> {
    if bytes > 0 || bytes == -1 {
        Ok(bytes)
    } else {
        Err(Error::Invalid(format!("storage limit {bytes} is neither positive nor -1, which means no limit")))
    }
}

/// Bytes of a limit, and in the same unit what is used of them: `10.0 of 10 GiB`.
pub(crate) fn used_of(used: i64, hard: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut divisor = 1_i64;
    while unit + 1 < UNITS.len() && hard / divisor >= 1024 {
        divisor *= 1024;
        unit += 1;
    }
    if unit == 0 {
        return format!("{used} of {hard} B");
    }
    let of = if hard % divisor == 0 {
        (hard / divisor).to_string()
    } else {
        format!("{:.1}", hard as f64 / divisor as f64)
    };
    format!("{:.1} of {of} {}", used as f64 / divisor as f64, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        const GIB: i64 = 1 << 30;
        for (used, hard, text) in [
            (0, 1, "0 of 1 B"),
            (1023, 1023, "1023 of 1023 B"),
            (10 * GIB, 10 * GIB, "10.0 of 10 GiB"),
            (GIB / 2, 10 * GIB, "0.5 of 10 GiB"),
            (GIB, GIB + GIB / 2, "1.0 of 1.5 GiB"),
            (0, i64::MAX, "0.0 of 8388608.0 TiB"),
        ] {
            assert_eq!(used_of(used, hard), text);
        }
    }
}
