//! The statements of a runner, one method each. They decide nothing that is not in the row.
//!
//! Time is the database's: leases, pauses and schedules are compared by `now()` inside the statement, so the
//! clocks of two workers never meet.
//!
//! Invariant: what changes a running job names its id, its fencing number and its state.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::Database;
use serde_json::Value;

use crate::roster::Roster;
use crate::schedule;

/// No statement of a runner waits longer than this for an answer, whatever the network does.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Rows per statement in sweeps, fan-out and purge.
const BATCH: i64 = 100;

/// First pause after a failed attempt; doubled with every further one, and spread by half in both directions so
/// that jobs that failed together do not come back together.
const RETRY_SECONDS: f64 = 5.0;

/// The longest pause.
const RETRY_SECONDS_MAX: f64 = 3600.0;

/// An error text may quote an answer of any length.
const MESSAGE_CHARS_MAX: usize = 4096;

/// Days after which an event of a kind that this roster does not know is removed. Not at once: during an upgrade
/// an old runner must not remove what a new one will handle.
const UNKNOWN_EVENT_DAYS: i32 = 7;

/// The queue's tables, for one runner.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) database: Database,
    pub(crate) worker: String,
    pub(crate) lease: Duration,
}

/// A job this runner holds now.
pub(crate) struct Claimed {
    pub(crate) id: i64,
    pub(crate) kind: String,
    pub(crate) payload: Value,
    pub(crate) fence: i64,
    pub(crate) attempts: i32,
    pub(crate) asked_by: String,
}

/// A job whose worker is gone.
pub(crate) struct Swept {
    pub(crate) id: i64,
    pub(crate) kind: String,
    pub(crate) state: String,
}

/// How an attempt ended, for the row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    Done,
    Stopped,
    Failed,
    /// Becomes `retrying`, `failed` after the last attempt, or `stopped` if that was asked for.
    Retry,
    /// Becomes `queued` with the attempt given back, or `stopped` if that was asked for.
    HandBack,
}

impl Rows {
    /// Takes up to `limit` due jobs of these kinds, the most urgent first.
    pub(crate) async fn claim(
        &self,
        kinds: &[String],
        limit: usize,
    ) -> Result<Vec<Claimed>, database::Error> {
        bounded(
            sqlx::query_as!(
                Claimed,
                "with due as (
                     select id from queue.jobs
                     where state in ('queued', 'retrying') and run_at <= now() and kind = any($1)
                     order by priority desc, run_at, id
                     limit $2 for update skip locked
                 )
                 update queue.jobs j set
                     state = 'running', worker = $3, lease_until = now() + make_interval(secs => $4),
                     fence = j.fence + 1, attempts = j.attempts + 1, started_at = coalesce(j.started_at, now())
                 from due where j.id = due.id
                 returning j.id, j.kind, j.payload, j.fence, j.attempts, j.asked_by",
                kinds,
                limit as i64,
                self.worker,
                self.lease.as_secs_f64()
            )
            .fetch_all(self.database.pool()),
        )
        .await
    }

    /// A sign of life for these claims (id and fencing number). Returns those that are still held, each with
    /// whether it should stop; the others belong to somebody else.
    pub(crate) async fn renew(
        &self,
        claims: &[(i64, i64)],
    ) -> Result<Vec<(i64, i64, bool)>, database::Error> {
        let (ids, fences): (Vec<i64>, Vec<i64>) = claims.iter().copied().unzip();
        let rows = bounded(
            sqlx::query!(
                "update queue.jobs j set
                     lease_until = now() + make_interval(secs => $3),
                     state = case when j.cancel_requested then 'stopping' else j.state end
                 from unnest($1::bigint[], $2::bigint[]) as c (id, fence)
                 where j.id = c.id and j.fence = c.fence and j.state in ('running', 'stopping')
                 returning j.id, j.fence, j.cancel_requested",
                &ids,
                &fences,
                self.lease.as_secs_f64()
            )
            .fetch_all(self.database.pool()),
        )
        .await?;
        Ok(rows.into_iter().map(|row| (row.id, row.fence, row.cancel_requested)).collect())
    }

    /// Writes how an attempt ended. Returns the new state, or `None` when the claim was lost.
    pub(crate) async fn settle(
        &self,
        id: i64,
        fence: i64,
        settlement: Settlement,
        message: &str,
    ) -> Result<Option<String>, database::Error> {
        let wanted = match settlement {
            Settlement::Done => "done",
            Settlement::Stopped => "stopped",
            Settlement::Failed => "failed",
            Settlement::Retry => "retrying",
            Settlement::HandBack => "queued",
        };
        bounded(
            sqlx::query_scalar!(
                r#"with held as (
                     select id, case
                         when $3 in ('done', 'stopped', 'failed') then $3
                         when cancel_requested then 'stopped'
                         when $3 = 'retrying' and attempts >= attempts_max then 'failed'
                         else $3
                     end as state
                     from queue.jobs
                     where id = $1 and fence = $2 and state in ('running', 'stopping') for update
                 )
                 update queue.jobs j set
                     state = held.state,
                     message = $4,
                     lease_until = null,
                     attempts = case when $3 = 'queued' then greatest(j.attempts - 1, 0) else j.attempts end,
                     run_at = case when held.state = 'retrying' then
                         now() + make_interval(secs => least($6, $5 * power(2, j.attempts - 1)) * (0.5 + random()))
                         else j.run_at end,
                     finished_at = case when held.state in ('done', 'failed', 'stopped') then now() end
                 from held where j.id = held.id
                 returning j.state as "state!""#,
                id,
                fence,
                wanted,
                message.chars().take(MESSAGE_CHARS_MAX).collect::<String>().replace('\0', "\u{fffd}"),
                RETRY_SECONDS,
                RETRY_SECONDS_MAX
            )
            .fetch_optional(self.database.pool()),
        )
        .await
    }

    /// Takes jobs away from workers that gave no sign of life. The attempt counts: a job that kills its worker
    /// must not do so for ever.
    pub(crate) async fn sweep(&self) -> Result<Vec<Swept>, database::Error> {
        bounded(
            sqlx::query_as!(
                Swept,
                "with lost as (
                     select id, case
                         when cancel_requested then 'stopped'
                         when attempts >= attempts_max then 'failed'
                         else 'retrying'
                     end as state
                     from queue.jobs
                     where state in ('running', 'stopping') and lease_until < now()
                     order by lease_until limit $1 for update skip locked
                 )
                 update queue.jobs j set
                     state = lost.state, fence = j.fence + 1, lease_until = null, run_at = now(),
                     message = 'the worker gave no sign of life',
                     finished_at = case when lost.state <> 'retrying' then now() end
                 from lost where j.id = lost.id
                 returning j.id, j.kind, j.state",
                BATCH
            )
            .fetch_all(self.database.pool()),
        )
        .await
    }

    /// Turns facts into one job per subscriber, and removes them, in one statement. Returns the number of jobs.
    pub(crate) async fn fan_out(&self, roster: &Roster) -> Result<u64, database::Error> {
        if roster.subscriptions.is_empty() {
            return Ok(0);
        }
        let events: Vec<String> = roster.subscriptions.iter().map(|one| one.event.to_owned()).collect();
        let jobs: Vec<String> = roster.subscriptions.iter().map(|one| one.job.clone()).collect();
        let attempts: Vec<i32> = roster.subscriptions.iter().map(|one| one.attempts_max).collect();
        let written = bounded(
            sqlx::query!(
                "with facts as (
                     delete from queue.events where id in (
                         select id from queue.events where kind = any($1)
                         order by id limit $4 for update skip locked)
                     returning id, kind, payload
                 )
                 insert into queue.jobs (kind, payload, attempts_max)
                 select s.job, f.payload, s.attempts_max
                 from facts f
                 join unnest($1::text[], $2::text[], $3::integer[]) as s (event, job, attempts_max)
                   on s.event = f.kind
                 order by f.id",
                &events,
                &jobs,
                &attempts,
                BATCH
            )
            .execute(self.database.pool()),
        )
        .await?;
        Ok(written.rows_affected())
    }

    /// Makes the schedules of the roster known. The next run stays where it is unless the expression changed,
    /// so a restart neither skips a run nor repeats one.
    pub(crate) async fn register_schedules(&self, roster: &Roster) -> Result<(), database::Error> {
        for one in &roster.schedules {
            let now = self.now().await?;
            let Ok(next) = schedule::next_after(one.cron, now) else {
                tracing::error!(
                    schedule = one.name,
                    cron = one.cron,
                    "the schedule names no time that ever comes"
                );
                continue;
            };
            bounded(
                sqlx::query!(
                    "insert into queue.schedules as s (name, kind, cron, payload, next_run_at)
                     values ($1, $2, $3, $4, $5)
                     on conflict (name) do update set
                         next_run_at = case when s.cron = excluded.cron then s.next_run_at else excluded.next_run_at end,
                         kind = excluded.kind, cron = excluded.cron, payload = excluded.payload, updated_at = now()
                     where (s.kind, s.cron, s.payload) is distinct from (excluded.kind, excluded.cron, excluded.payload)",
                    one.name,
                    one.kind,
                    one.cron,
                    one.payload,
                    next
                )
                .execute(self.database.pool()),
            )
            .await?;
        }
        Ok(())
    }

    /// Asks for the jobs whose time has come. The time of the next run moves on under the lock of the schedule's
    /// row, so of several runners one asks; runs that were missed meanwhile are made up for by one.
    pub(crate) async fn run_schedules(&self, roster: &Roster) -> Result<(), database::Error> {
        let kinds = roster.kinds();
        let work = async {
            let mut tx = self.database.begin().await?;
            let due = sqlx::query!(
                r#"select name, kind, cron, payload, now() as "now!" from queue.schedules
                   where enabled and next_run_at <= now() and kind = any($1)
                   order by next_run_at limit $2 for update skip locked"#,
                &kinds,
                BATCH
            )
            .fetch_all(&mut *tx)
            .await?;
            if due.is_empty() {
                return Ok(());
            }
            for one in due {
                let Some(handler) = roster.handlers.get(&one.kind) else {
                    continue;
                };
                let next = match schedule::next_after(&one.cron, one.now) {
                    Ok(next) => next,
                    Err(err) => {
                        tracing::error!(schedule = one.name, error = %err, "the schedule is switched off");
                        sqlx::query!("update queue.schedules set enabled = false where name = $1", one.name)
                            .execute(&mut *tx)
                            .await?;
                        continue;
                    }
                };
                sqlx::query!(
                    "insert into queue.jobs (kind, payload, dedupe_key, attempts_max, schedule)
                     values ($1, $2, $3, $4, $5) on conflict do nothing",
                    one.kind,
                    one.payload,
                    handler.unique.then_some(""),
                    handler.attempts_max,
                    one.name
                )
                .execute(&mut *tx)
                .await?;
                sqlx::query!("update queue.schedules set next_run_at = $2 where name = $1", one.name, next)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await
        };
        tokio::time::timeout(STATEMENT_TIMEOUT, work).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Removes one batch of old history, and of old events that nobody in this roster waits for. Returns how
    /// many rows went.
    pub(crate) async fn purge(&self, roster: &Roster, history_days: u32) -> Result<u64, database::Error> {
        let jobs = bounded(
            sqlx::query!(
                "delete from queue.jobs where id in (
                     select id from queue.jobs
                     where finished_at < now() - make_interval(days => $1)
                       and state in ('done', 'failed', 'stopped')
                     order by finished_at limit $2 for update skip locked)",
                history_days as i32,
                BATCH
            )
            .execute(self.database.pool()),
        )
        .await?;
        let known: Vec<String> = roster.subscriptions.iter().map(|one| one.event.to_owned()).collect();
        let events = bounded(
            sqlx::query!(
                "delete from queue.events where id in (
                     select id from queue.events
                     where kind <> all($1) and created_at < now() - make_interval(days => $2)
                     order by id limit $3 for update skip locked)",
                &known,
                UNKNOWN_EVENT_DAYS,
                BATCH
            )
            .execute(self.database.pool()),
        )
        .await?;
        Ok(jobs.rows_affected() + events.rows_affected())
    }

    async fn now(&self) -> Result<DateTime<Utc>, database::Error> {
        bounded(sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(self.database.pool())).await
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, database::Error> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => done.map_err(database::Error::from),
        Err(_) => Err(timed_out()),
    }
}

fn timed_out() -> database::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()
}
