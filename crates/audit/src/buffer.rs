//! A bounded waiting room for acts that come by the thousand: pulls and token issues.
//!
//! Never blocks a request and never fails one. What does not fit is dropped and counted, and the trail gets a row that
//! says how many that were; what waits survives an outage of the database, not the end of the process.
//!
//! Invariant: an act leaves the buffer only after its row is committed, when it is counted as dropped, or when nobody
//! wants acts of its kind. One whose commit was in doubt may be written twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use database::Database;
use tokio_util::sync::CancellationToken;

use crate::append::append_many;
use crate::entry::{Origin, Outcome, OwnedEntry};

/// About 10 MB of acts: a minute of outage at 150 pulls a second.
const ENTRIES_MAX: usize = 10_000;

/// Rows that one tick writes at most: what the trail may cost while everybody pulls at once. More waits for the next.
const TICK_ROWS_MAX: usize = 1_000;

/// Rows per statement; keeps one statement below a few hundred kilobytes.
const BATCH_MAX: usize = 500;

const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last flush may take when the process stops.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// The buffer. Clones share it; one of them must be [run](Buffer::run).
#[derive(Clone)]
pub struct Buffer {
    database: Database,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<(Instant, OwnedEntry)>,
    /// Dropped since the last line in the log.
    dropped: u64,
    /// In the log, and not yet in the trail.
    untold: u64,
}

impl Buffer {
    /// An empty buffer.
    pub fn new(database: Database) -> Self {
        Self { database, waiting: Arc::default() }
    }

    /// Takes an act; it is in the trail about a second later. Returns at once.
    pub fn push(&self, entry: impl Into<OwnedEntry>) {
        let mut waiting = self.lock();
        if waiting.entries.len() >= ENTRIES_MAX {
            waiting.drop_one();
        } else {
            waiting.entries.push_back((Instant::now(), entry.into()));
        }
    }

    /// Flushes every second, and a last time when `shutdown` is cancelled.
    pub async fn run(self, shutdown: CancellationToken) {
        self.run_while(shutdown, async || Some(true)).await;
    }

    /// As [`Buffer::run`], asking before each flush that has something to write whether such acts are to be kept at
    /// all; `None` is not known now, and keeps them waiting. Nothing waits, nothing is asked.
    pub async fn run_while<F, W>(self, shutdown: CancellationToken, wanted: F)
    where
        F: Fn() -> W,
        W: Future<Output = Option<bool>>,
    {
        let flush = async |most| {
            if self.lock().is_idle() {
                return;
            }
            match wanted().await {
                Some(true) => self.write_waiting(most).await,
                Some(false) => self.lock().discard(),
                None => {}
            }
        };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(FLUSH_INTERVAL) => flush(TICK_ROWS_MAX).await,
            }
        }
        if tokio::time::timeout(LAST_FLUSH, flush(ENTRIES_MAX)).await.is_err() {
            tracing::warn!("the last flush of the audit buffer took too long");
        }
        let mut waiting = self.lock();
        while waiting.entries.pop_front().is_some() {
            waiting.drop_one();
        }
        waiting.report();
    }

    /// Writes what waits now. What the database cannot take stays for the next time; an act that the database
    /// refuses for itself is dropped, so that it does not hold up the others for ever.
    pub async fn flush(&self) {
        self.write_waiting(ENTRIES_MAX).await;
    }

    async fn write_waiting(&self, most: usize) {
        if !self.confess().await {
            return;
        }
        let mut left = self.lock().entries.len().min(most);
        while left > 0 {
            // Only this task takes from the front, so the batch stays where it is until it is written.
            let batch: Vec<_> = self.lock().entries.iter().take(left.min(BATCH_MAX)).cloned().collect();
            left -= batch.len();
            match self.write(&batch).await {
                Ok(()) => self.forget(batch.len()),
                Err(err) if is_passing(&err) => return,
                Err(_) => {
                    for one in &batch {
                        match self.write(std::slice::from_ref(one)).await {
                            Ok(()) => self.forget(1),
                            Err(err) if is_passing(&err) => return,
                            Err(err) => {
                                tracing::error!(action = one.1.action, error = %err, "an act could not be recorded");
                                self.forget(1);
                                self.lock().drop_one();
                            }
                        }
                    }
                }
            }
        }
    }

    /// Writes how many acts were dropped, as an act of its own. What cannot be written is told the next time:
    /// `false`.
    async fn confess(&self) -> bool {
        let dropped = self.lock().report();
        if dropped == 0 || self.write(&[(Instant::now(), lost(dropped))]).await.is_ok() {
            return true;
        }
        self.lock().untold += dropped;
        false
    }

    async fn write(&self, batch: &[(Instant, OwnedEntry)]) -> Result<(), database::Error> {
        let entries: Vec<_> =
            batch.iter().map(|(since, entry)| (since.elapsed().as_secs_f64(), entry)).collect();
        let work = async {
            let mut tx = self.database.begin().await?;
            append_many(&mut tx, &entries).await?;
            tx.commit().await
        };
        // A peer that vanished without a word must not hold up the buffer until it overflows.
        let timed_out = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into();
        tokio::time::timeout(WRITE_TIMEOUT, work).await.unwrap_or_else(|_| Err(timed_out()))
    }

    fn forget(&self, count: usize) {
        self.lock().entries.drain(..count);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn drop_one(&mut self) {
        self.dropped += 1;
        metrics::counter!("hythe_audit_dropped_total").increment(1);
    }

    /// One line per flush at most, however many were lost. Returns how many the trail is to tell of.
    fn report(&mut self) -> u64 {
        if self.dropped > 0 {
            tracing::error!(dropped = self.dropped, "acts were dropped from the audit trail");
        }
        std::mem::take(&mut self.dropped) + std::mem::take(&mut self.untold)
    }

    fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.dropped == 0 && self.untold == 0
    }

    fn discard(&mut self) {
        *self = Self::default();
    }
}

/// The act of having lost acts.
fn lost(count: u64) -> OwnedEntry {
    OwnedEntry {
        actor_kind: "system".to_owned(),
        actor_id: None,
        actor_name: "hythe".to_owned(),
        action: "audit_acts_lost",
        object_kind: "audit".to_owned(),
        object_id: String::new(),
        object_name: format!("{count} acts"),
        project: None,
        outcome: Outcome::Failed,
        origin: Origin::default(),
        changed: Vec::new(),
    }
}

/// Whether the same statement may work a second later.
fn is_passing(err: &database::Error) -> bool {
    matches!(err, database::Error::Unavailable(_) | database::Error::Retry(_))
}
