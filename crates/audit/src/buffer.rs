//! A bounded waiting room for acts that come by the thousand: pulls and token issues.
//!
//! Never blocks a request and never fails one. What does not fit is dropped, counted and reported; what waits
//! survives an outage of the database, not the end of the process.
//!
//! Invariant: an act leaves the buffer only after its row is committed, or when it is counted as dropped. One
//! whose commit was in doubt may be written twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use database::Database;
use tokio_util::sync::CancellationToken;

use crate::append::append_many;
use crate::entry::OwnedEntry;

/// About 10 MB of acts: a minute of outage at 150 pulls a second.
const ENTRIES_MAX: usize = 10_000;

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
    /// Dropped since the last report.
    dropped: u64,
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
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(FLUSH_INTERVAL) => self.flush().await,
            }
        }
        if tokio::time::timeout(LAST_FLUSH, self.flush()).await.is_err() {
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
        self.lock().report();
        let mut left = self.lock().entries.len();
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

    /// One line per flush at most, however many were lost.
    fn report(&mut self) {
        if self.dropped > 0 {
            tracing::error!(dropped = self.dropped, "acts were dropped from the audit trail");
            self.dropped = 0;
        }
    }
}

/// Whether the same statement may work a second later.
fn is_passing(err: &database::Error) -> bool {
    matches!(err, database::Error::Unavailable(_) | database::Error::Retry(_))
}
