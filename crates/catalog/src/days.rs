//! What happened on each day, for charts: bytes used, pulls, pushes.
//!
//! Repositories count their pulls and pushes as they happen. An hourly job adds them up for projects and for the
//! installation, together with the bytes that were charged then; what it has not added up yet is added up by whoever
//! reads, so the present day is always there.
//!
//! Invariants:
//! * Days are those of UTC, by the clock of the database.
//! * Before the day that was added up last nothing changes any more. Adding up again gives the same.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use database::Database;
use queue::{JobContext, JobError};
use serde::{Deserialize, Serialize};
use tenancy::roles::{Action, Resource};
use tenancy::{Permit, ReadProject};

use crate::{Error, Repository};

/// Days that are kept.
pub const DAYS_KEPT: i32 = 400;

/// Rows deleted in one statement.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// The job that adds up days and forgets old ones. Idempotent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollUpDays {}

impl queue::Job for RollUpDays {
    const KIND: &'static str = "catalog.roll_up_days";
    const UNIQUE: bool = true;
}

/// One day of a project, or of the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    pub day: NaiveDate,
    /// Bytes charged at its end, or now when it is today. None when nobody looked, and for who may not know.
    pub used: Option<i64>,
    pub pulls: i64,
    /// Manifests that were pushed or copied, each time.
    pub pushes: i64,
}

/// What a run of the job came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolledUp {
    pub days: u64,
    /// Rows of days that are too old.
    pub forgotten: u64,
}

/// Days of projects and repositories. Clone freely.
#[derive(Clone)]
pub struct Days {
    database: Database,
}

impl Days {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The last `days` days of a project, today last. One statement. The bytes are for who may read its quota.
    pub async fn of_project(&self, permit: &Permit<ReadProject>, days: i32) -> Result<Vec<Day>, Error> {
        let mut rows = sqlx::query_as!(
            Day,
            r#"select g.day as "day!",
                 case when g.ago = 0 then (select q.used_bytes from tenancy.quotas q where q.project_id = $1)
                      else d.used_bytes end as used,
                 coalesce(l.pulls, d.pulls, 0) as "pulls!", coalesce(l.pushes, d.pushes, 0) as "pushes!"
               from (select ago, catalog.utc_day(now()) - ago as day from generate_series(0, $2 - 1) as ago) g
               cross join catalog.days_rolled t
               left join catalog.project_days d on d.project_id = $1 and d.day = g.day
               left join lateral (
                 select sum(r.pulls)::bigint as pulls, sum(r.pushes)::bigint as pushes
                 from catalog.repository_days r where r.project_id = $1 and r.day = g.day
                   and g.day >= coalesce(t.through, '-infinity')
               ) l on true
               order by g.day"#,
            permit.project.0,
            within(days)
        )
        .fetch_all(self.database.pool())
        .await?;
        if !permit.rights().allow(Resource::Quota, Action::Read) {
            rows.iter_mut().for_each(|row| row.used = None);
        }
        Ok(rows)
    }

    /// The last `days` days of the installation, today last, for who may see all of it. One statement.
    pub async fn of_installation(&self, days: i32) -> Result<Vec<Day>, Error> {
        Ok(sqlx::query_as!(
            Day,
            r#"select g.day as "day!",
                 case when g.ago = 0 then (select coalesce(sum(q.used_bytes), 0)::bigint from tenancy.quotas q)
                      else d.used_bytes end as used,
                 coalesce(l.pulls, d.pulls, 0) as "pulls!", coalesce(l.pushes, d.pushes, 0) as "pushes!"
               from (select ago, catalog.utc_day(now()) - ago as day from generate_series(0, $1 - 1) as ago) g
               cross join catalog.days_rolled t
               left join catalog.installation_days d on d.day = g.day
               left join lateral (
                 select sum(r.pulls)::bigint as pulls, sum(r.pushes)::bigint as pushes
                 from catalog.repository_days r where r.day = g.day and g.day >= coalesce(t.through, '-infinity')
               ) l on true
               order by g.day"#,
            within(days)
        )
        .fetch_all(self.database.pool())
        .await?)
    }

    /// Pulls on each of the last `days` days, today last, by the id of the repository. They are those of a list, which
    /// was permitted; one statement for all.
    pub async fn pulls_of(
        &self,
        repositories: &[Repository],
        days: i32,
    ) -> Result<HashMap<i64, Vec<i64>>, Error> {
        let days = within(days);
        let ids: Vec<i64> = repositories.iter().map(|repository| repository.id).collect();
        let rows = sqlx::query!(
            r#"select repository_id, catalog.utc_day(now()) - day as "ago!", pulls from catalog.repository_days
               where repository_id = any($1) and day > catalog.utc_day(now()) - $2::integer and pulls > 0"#,
            &ids,
            days
        )
        .fetch_all(self.database.pool())
        .await?;
        let length = usize::try_from(days).unwrap_or_default();
        let mut pulls: HashMap<i64, Vec<i64>> = ids.into_iter().map(|id| (id, vec![0; length])).collect();
        for row in rows {
            let place = usize::try_from(days - 1 - row.ago).ok();
            let row_of = pulls.get_mut(&row.repository_id);
            if let Some(count) = row_of.zip(place).and_then(|(row_of, place)| row_of.get_mut(place)) {
                *count = row.pulls;
            }
        }
        Ok(pulls)
    }

    /// The job: adds up what is not final, and forgets what is too old.
    pub async fn run(&self, _job: RollUpDays, context: JobContext) -> Result<(), JobError> {
        let rolled = self.roll_up(None, || context.cancelled()).await.map_err(JobError::retry)?;
        tracing::debug!(?rolled, "added up what happened by day");
        Ok(())
    }

    /// Adds up every day that is not final as if it were `at` (the present, usually), each in a transaction of its own,
    /// until `cancelled` says so. Any number of nodes may do this at once.
    pub async fn roll_up(
        &self,
        at: Option<DateTime<Utc>>,
        cancelled: impl Fn() -> bool,
    ) -> Result<RolledUp, Error> {
        let mut rolled = RolledUp::default();
        while !cancelled() {
            let more =
                sqlx::query_scalar!(r#"select catalog.roll_up_day(coalesce($1, now())) as "more!""#, at)
                    .fetch_one(self.database.pool())
                    .await?;
            rolled.days += 1;
            if !more {
                break;
            }
        }
        while !cancelled() {
            let forgotten = self.forget(at).await?;
            rolled.forgotten += forgotten;
            if forgotten == 0 {
                break;
            }
        }
        Ok(rolled)
    }

    /// Deletes some of what is too old; none are left when it was nothing.
    async fn forget(&self, at: Option<DateTime<Utc>>) -> Result<u64, Error> {
        let repositories = sqlx::query!(
            "delete from catalog.repository_days where (repository_id, day) in (
                 select repository_id, day from catalog.repository_days
                 where day < catalog.utc_day(coalesce($1, now())) - $2::integer order by day limit $3
                 for update skip locked)",
            at,
            DAYS_KEPT,
            FORGOTTEN_AT_ONCE
        )
        .execute(self.database.pool())
        .await?;
        let projects = sqlx::query!(
            "delete from catalog.project_days where (project_id, day) in (
                 select project_id, day from catalog.project_days
                 where day < catalog.utc_day(coalesce($1, now())) - $2::integer order by day limit $3
                 for update skip locked)",
            at,
            DAYS_KEPT,
            FORGOTTEN_AT_ONCE
        )
        .execute(self.database.pool())
        .await?;
        let installation = sqlx::query!(
            "delete from catalog.installation_days where day < catalog.utc_day(coalesce($1, now())) - $2::integer",
            at,
            DAYS_KEPT
        )
        .execute(self.database.pool())
        .await?;
        Ok(repositories.rows_affected() + projects.rows_affected() + installation.rows_affected())
    }
}

/// Today alone at least, everything that is kept at most.
fn within(days: i32) -> i32 {
    days.clamp(1, DAYS_KEPT)
}
