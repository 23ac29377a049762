//! Jobs for people: what ran, what runs, what waits; and asking one to stop.
//!
//! Reads rows that runners write. There is no other record of a job.

use chrono::{DateTime, Utc};
use database::list::{self, Columns, Page, Query, Select};
use database::{Database, Tx};
use serde_json::Value;

/// Rows of one page at most.
const LIMIT_MAX: i64 = 100;

/// Lines of one page of a log.
const LINES_MAX: i64 = 1000;

/// The jobs of this database, for reading.
#[derive(Clone)]
pub struct History {
    database: Database,
}

/// Which jobs a page is about. Everything that is `None` is not asked about.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Jobs of this kind.
    pub kind: Option<String>,
    /// Jobs in this state.
    pub state: Option<String>,
}

/// One job.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Record {
    pub id: i64,
    pub kind: String,
    pub payload: Value,
    /// `queued`, `running`, `retrying`, `stopping`, `done`, `failed` or `stopped`.
    pub state: String,
    pub attempts: i32,
    pub attempts_max: i32,
    /// Name of the schedule that asked for it.
    pub schedule: Option<String>,
    pub asked_by: String,
    /// Who holds or last held it.
    pub worker: Option<String>,
    pub phase: String,
    pub done_count: i64,
    pub total_count: i64,
    /// Why the last attempt did not succeed.
    pub message: String,
    /// What it came to, as its kind defines it.
    pub result: Option<Value>,
    /// The newest 200 lines of its log; empty in lists.
    pub log_tail: String,
    /// When the next attempt is due.
    pub run_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// What a list of the runs of one kind can be asked for, as the REST API calls it.
const RUNS: Columns = Columns::new(
    &[
        list::integer("id", "j.id").sortable(),
        list::text("status", STATUS).sortable(),
        list::text("trigger", "case when j.schedule is null then 'MANUAL' else 'SCHEDULE' end").sortable(),
        list::time("start_time", "j.created_at").sortable(),
        list::time("creation_time", "j.created_at").sortable(),
        list::time("update_time", "coalesce(j.finished_at, j.started_at, j.created_at)").sortable(),
        list::time("end_time", "j.finished_at").sortable(),
    ],
    "j.created_at desc",
    "j.id desc",
);

/// [`Record::status`] in SQL.
const STATUS: &str =
    "case j.state when 'queued' then 'Pending' when 'done' then 'Success' when 'failed' then 'Error'
                           when 'stopped' then 'Stopped' else 'Running' end";

impl Record {
    /// The state in the words of the REST API: `Pending`, `Running`, `Success`, `Error` or `Stopped`. What is about to be
    /// tried again runs.
    pub fn status(&self) -> &'static str {
        match self.state.as_str() {
            "queued" => "Pending",
            "done" => "Success",
            "failed" => "Error",
            "stopped" => "Stopped",
            _ => "Running",
        }
    }

    /// When the row changed for the last time that matters to people.
    pub fn updated_at(&self) -> DateTime<Utc> {
        self.finished_at.or(self.started_at).unwrap_or(self.created_at)
    }
}

impl History {
    /// A reader of this database's jobs.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The newest jobs below `before` (all of them when it is `None`), at most `limit` and never more than 100.
    /// The id of the last one is the `before` of the next page.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        &self,
        filter: &Filter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Record>, database::Error> {
        let rows = sqlx::query_as!(
            Record,
            r#"select id, kind, payload, state, attempts, attempts_max, schedule, asked_by, worker, phase,
                    done_count, total_count, message, result, '' as "log_tail!", run_at, created_at, started_at,
                    finished_at
             from queue.jobs
             where ($1::bigint is null or id < $1)
               and ($2::text is null or kind = $2)
               and ($3::text is null or state = $3)
             order by id desc limit $4"#,
            before,
            filter.kind,
            filter.state,
            limit.clamp(1, LIMIT_MAX)
        )
        .fetch_all(self.database.pool())
        .await?;
        Ok(rows)
    }

    /// A page of the jobs of one kind.
    ///
    /// # Errors
    /// What a client asked wrong; when the database does not answer.
    pub async fn page(&self, kind: &str, query: &Query) -> Result<Page<Record>, list::Error> {
        let select = Select::new(
            "j.id, j.kind, j.payload, j.state, j.attempts, j.attempts_max, j.schedule, j.asked_by, j.worker, j.phase,
             j.done_count, j.total_count, j.message, j.result, '' as log_tail, j.run_at, j.created_at, j.started_at,
             j.finished_at",
            "queue.jobs j",
        )
        .and("j.kind = ", kind);
        list::page(self.database.pool(), select, &RUNS, query).await
    }

    /// How many jobs are being worked on, or are about to be tried again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn at_work(&self) -> Result<i64, database::Error> {
        let count = sqlx::query_scalar!(
            r#"select (select count(*) from queue.jobs where state in ('running', 'stopping'))
                    + (select count(*) from queue.jobs where state = 'retrying') as "count!""#
        )
        .fetch_one(self.database.pool())
        .await?;
        Ok(count)
    }

    /// How many jobs that `name` asked for are not finished, and the newest of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unfinished_of(&self, name: &str) -> Result<(i64, Option<i64>), database::Error> {
        let row = sqlx::query!(
            r#"select count(*) as "count!", max(id) as newest from (
                   select id from queue.jobs where state in ('queued', 'retrying') and asked_by = $1
                   union all
                   select id from queue.jobs where state in ('running', 'stopping') and asked_by = $1
               ) as own"#,
            name
        )
        .fetch_one(self.database.pool())
        .await?;
        Ok((row.count, row.newest))
    }

    /// Lines of a job's log after the one numbered `after` (0: from the start), at most 1000.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lines(&self, id: i64, after: i64) -> Result<Vec<Line>, database::Error> {
        let lines = sqlx::query_as!(
            Line,
            "select number, at, line from queue.lines where job_id = $1 and number > $2 order by number limit $3",
            id,
            after,
            LINES_MAX
        )
        .fetch_all(self.database.pool())
        .await?;
        Ok(lines)
    }

    /// One job, unless there is none or its history was purged.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, id: i64) -> Result<Option<Record>, database::Error> {
        let row = sqlx::query_as!(
            Record,
            r#"select id, kind, payload, state, attempts, attempts_max, schedule, asked_by, worker, phase,
                    done_count, total_count, message, result,
                    coalesce((select string_agg(l.line || e'\n', '' order by l.number)
                              from (select number, line from queue.lines where job_id = $1
                                    order by number desc limit 200) l), '') as "log_tail!",
                    run_at, created_at, started_at, finished_at
             from queue.jobs where id = $1"#,
            id
        )
        .fetch_optional(self.database.pool())
        .await?;
        Ok(row)
    }
}

/// One line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Higher than that of every earlier line.
    pub number: i64,
    pub at: DateTime<Utc>,
    pub line: String,
}

/// Asks a job to stop. One that waits is stopped at once; a running one is told, and stops between two of its
/// batches. Returns whether there was anything to stop.
///
/// # Errors
/// When the row cannot be written; the caller's transaction is lost then.
pub async fn stop(tx: &mut Tx, id: i64) -> Result<bool, database::Error> {
    let told = sqlx::query!(
        "update queue.jobs set
             cancel_requested = true,
             finished_at = case when state = 'running' then finished_at else now() end,
             state = case when state = 'running' then state else 'stopped' end
         where id = $1 and state in ('queued', 'retrying', 'running')",
        id
    )
    .execute(&mut **tx)
    .await?;
    if told.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(r#"select pg_notify('hythe_queue', $1)::text as "sent""#, crate::runner::STOP_NOTICE)
        .fetch_one(&mut **tx)
        .await?;
    Ok(true)
}
