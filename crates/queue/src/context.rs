//! What a handler may know and say about the job it runs.
//!
//! Invariant: everything a handler writes through here carries the fencing number of its claim; once another
//! worker has taken the job over, or it was stopped for good, nothing is written any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use database::{Database, Tx};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::job::JobError;

/// Lines that one attempt may write. What comes after them is not kept, and the log says so.
const LINES_MAX: u64 = 100_000;

/// How long a job waits between two looks whether it is its turn.
const TURN_PAUSE: Duration = Duration::from_millis(500);

/// The job a handler is running. Cheap to clone.
#[derive(Clone)]
pub struct JobContext {
    held: Arc<Held>,
}

/// One claim of one job.
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) kind: String,
    pub(crate) fence: i64,
    pub(crate) attempt: i32,
    pub(crate) asked_by: String,
    /// None outside of a runner: nothing is written then.
    pub(crate) database: Option<Database>,
    pub(crate) lease: Duration,
    /// Moment of the last claim or heartbeat that the database confirmed, as the moment it was sent.
    pub(crate) renewed: Mutex<Instant>,
    /// Somebody asked for this job to stop.
    pub(crate) stop: AtomicBool,
    /// Another worker has the job.
    pub(crate) lost: AtomicBool,
    /// The handler was told to stop, for whatever reason.
    pub(crate) told: AtomicBool,
    /// The outcome is being written: a heartbeat that finds nothing is no surprise.
    pub(crate) settling: AtomicBool,
    /// Lines of the log written under this claim.
    pub(crate) lines: AtomicU64,
    pub(crate) shutdown: CancellationToken,
}

impl Held {
    pub(crate) fn renew(&self, sent: Instant) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = sent;
    }

    /// Whether others may believe that this worker is dead.
    fn has_expired(&self) -> bool {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= self.lease
    }
}

impl JobContext {
    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self { held }
    }

    /// A context without a row behind it, for calling a handler directly: in tests and one-shot commands.
    /// Progress and log lines go nowhere, and it is never cancelled.
    pub fn detached() -> Self {
        Self::new(Arc::new(Held {
            id: 0,
            kind: String::new(),
            fence: 0,
            attempt: 1,
            asked_by: "system".to_owned(),
            database: None,
            lease: Duration::MAX,
            renewed: Mutex::new(Instant::now()),
            stop: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            told: AtomicBool::new(false),
            settling: AtomicBool::new(false),
            lines: AtomicU64::new(0),
            shutdown: CancellationToken::new(),
        }))
    }

    /// The job's id.
    pub fn id(&self) -> i64 {
        self.held.id
    }

    /// Fencing number of this claim; higher with every claim of the job.
    pub fn fence(&self) -> i64 {
        self.held.fence
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> i32 {
        self.held.attempt
    }

    /// Whoever asked for the job.
    pub fn asked_by(&self) -> &str {
        &self.held.asked_by
    }

    /// Whether to stop now: somebody asked for it, the process ends, or the lease is gone. Ask between batches
    /// and return `Ok`: the job is then stopped, or handed back without using up an attempt.
    pub fn cancelled(&self) -> bool {
        let held = &self.held;
        let cancelled = held.stop.load(Ordering::Acquire)
            || held.lost.load(Ordering::Acquire)
            || held.shutdown.is_cancelled()
            || held.has_expired();
        if cancelled {
            held.told.store(true, Ordering::Release);
        }
        cancelled
    }

    /// Says how far the job is. `total` is 0 while it is not known.
    ///
    /// # Errors
    /// `Retry` when the job belongs to another worker by now, or the database does not answer.
    pub async fn progress(&self, phase: &str, done: i64, total: i64) -> Result<(), JobError> {
        let Some(database) = &self.held.database else {
            return Ok(());
        };
        let written = sqlx::query!(
            "update queue.jobs set phase = $3, done_count = $4, total_count = $5
             where id = $1 and fence = $2 and state in ('running', 'stopping')",
            self.held.id,
            self.held.fence,
            phase,
            done,
            total
        )
        .execute(database.pool())
        .await
        .map_err(database::Error::from)?;
        self.expect_row(written.rows_affected() == 1)
    }

    /// Adds a line to the job's log, which those may read who may see the job.
    ///
    /// # Errors
    /// As [`JobContext::progress`].
    pub async fn log(&self, line: &str) -> Result<(), JobError> {
        self.log_all(&[line.to_owned()]).await
    }

    /// Adds lines to the job's log in one statement. Of one attempt 100 000 lines are kept.
    ///
    /// # Errors
    /// As [`JobContext::progress`].
    pub async fn log_all(&self, lines: &[String]) -> Result<(), JobError> {
        let Some(database) = &self.held.database else {
            return Ok(());
        };
        let before = self.held.lines.fetch_add(lines.len() as u64, Ordering::Relaxed);
        let room = LINES_MAX.saturating_sub(before) as usize;
        let mut kept: Vec<String> =
            lines.iter().take(room).map(|line| line.replace('\0', "\u{fffd}")).collect();
        if kept.len() < lines.len() && before <= LINES_MAX {
            kept.push(format!("more than {LINES_MAX} lines; the rest is not kept"));
        }
        if kept.is_empty() {
            return Ok(());
        }
        let written = sqlx::query!(
            "insert into queue.lines (job_id, line)
             select j.id, l.line from queue.jobs j cross join unnest($3::text[]) with ordinality as l (line, place)
             where j.id = $1 and j.fence = $2 and j.state in ('running', 'stopping')
             order by l.place",
            self.held.id,
            self.held.fence,
            &kept
        )
        .execute(database.pool())
        .await
        .map_err(database::Error::from)?;
        self.expect_row(written.rows_affected() > 0)
    }

    /// Says what the job came to so far; the last word stays with the row.
    ///
    /// # Errors
    /// As [`JobContext::progress`], and `Fail` when it is no plain data.
    pub async fn result(&self, result: &impl Serialize) -> Result<(), JobError> {
        let Some(database) = &self.held.database else {
            return Ok(());
        };
        let result = serde_json::to_value(result).map_err(JobError::fail)?;
        let written = sqlx::query!(
            "update queue.jobs set result = $3
             where id = $1 and fence = $2 and state in ('running', 'stopping')",
            self.held.id,
            self.held.fence,
            result
        )
        .execute(database.pool())
        .await
        .map_err(database::Error::from)?;
        self.expect_row(written.rows_affected() == 1)
    }

    /// Waits until no older job of the same kind runs; for kinds of which one runs at a time while others queue up.
    /// Returns at once when the job is cancelled.
    ///
    /// # Errors
    /// `Retry` when the database does not answer.
    pub async fn wait_for_turn(&self) -> Result<(), JobError> {
        let Some(database) = &self.held.database else {
            return Ok(());
        };
        while !self.cancelled() {
            let occupied = sqlx::query_scalar!(
                r#"select exists (select 1 from queue.jobs
                                  where kind = $1 and id < $2 and state in ('running', 'stopping')) as "occupied!""#,
                self.held.kind,
                self.held.id
            )
            .fetch_one(database.pool())
            .await
            .map_err(database::Error::from)?;
            if !occupied {
                return Ok(());
            }
            tokio::time::sleep(TURN_PAUSE).await;
        }
        Ok(())
    }

    /// Makes the handler's own transaction depend on the claim: it can commit only while this worker still has
    /// the job. Call it before the first write of every transaction whose effect must not come late or twice.
    ///
    /// # Errors
    /// `Retry` when the job belongs to another worker by now, or the database does not answer.
    pub async fn guard(&self, tx: &mut Tx) -> Result<(), JobError> {
        if self.held.database.is_none() {
            return Ok(());
        }
        // A take-over locks the row FOR UPDATE, which this lock keeps away until the caller commits; a
        // heartbeat changes no key and passes.
        let row = sqlx::query_scalar!(
            "select id from queue.jobs
             where id = $1 and fence = $2 and state in ('running', 'stopping') for key share",
            self.held.id,
            self.held.fence
        )
        .fetch_optional(&mut **tx)
        .await
        .map_err(database::Error::from)?;
        self.expect_row(row.is_some())
    }

    #[cfg(test)]
    pub(crate) fn shutdown_for_tests(&self) -> CancellationToken {
        self.held.shutdown.clone()
    }

    fn expect_row(&self, found: bool) -> Result<(), JobError> {
        if found {
            return Ok(());
        }
        self.held.lost.store(true, Ordering::Release);
        Err(JobError::retry("another worker has taken the job over"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(change: impl FnOnce(&mut Held)) -> JobContext {
        let mut context = JobContext::detached();
        change(Arc::get_mut(&mut context.held).expect("nobody else has it"));
        context
    }

    #[test]
    fn every_reason_to_stop_is_told_and_noted() {
        let cases: [(&str, JobContext, bool); 5] = [
            ("nothing", context(|_| {}), false),
            ("a wish", context(|held| *held.stop.get_mut() = true), true),
            ("another worker", context(|held| *held.lost.get_mut() = true), true),
            ("the end of the process", context(|held| held.shutdown.cancel()), true),
            // No heartbeat was confirmed for a whole lease: others may have the job by now.
            ("silence", context(|held| held.lease = Duration::ZERO), true),
        ];
        for (reason, context, expected) in cases {
            assert_eq!(context.cancelled(), expected, "{reason}");
            assert_eq!(context.held.told.load(Ordering::Acquire), expected, "{reason}");
        }
    }
}
