//! Refusals, bounded: whoever is refused the same thing again and again fills no table with it.
//!
//! The first one is a row at once. Equal ones of the next minute (same account, act, project, address and way of signing
//! in) are counted, and one more row tells how many they were. The numbers are kept by each process in its memory: they
//! survive an outage of the database, not the sudden end of the process.
//!
//! Invariant: a refusal is in a row, or in the number of one that will be written; a number that was not written stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use database::Database;
use tokio_util::sync::CancellationToken;

use crate::append::{append_alone, append_repeated};
use crate::entry::{Entry, OwnedEntry};

/// How long equal refusals are counted as one.
const WINDOW: Duration = Duration::from_secs(60);

/// Different refusals remembered at the same time, about 10 MB. Beyond that each is a row of its own until some are
/// forgotten.
const KINDS_MAX: usize = 10_000;

const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// How long the last flush may take when the process stops.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// The numbers. Clones share them; one of them must be [run](Refusals::run).
#[derive(Clone)]
pub struct Refusals {
    database: Database,
    seen: Arc<Mutex<HashMap<Kind, Seen>>>,
    window: Duration,
}

#[derive(PartialEq, Eq, Hash)]
struct Kind {
    actor_kind: String,
    actor_id: Option<i64>,
    action: &'static str,
    project: Option<i64>,
    address: String,
    method: &'static str,
}

struct Seen {
    since: Instant,
    /// Those that are in no row yet, and the last of them.
    more: Option<(i32, OwnedEntry)>,
}

impl Seen {
    fn count(&mut self, entry: OwnedEntry) {
        let before = self.more.as_ref().map_or(0, |(number, _)| *number);
        self.more = Some((before.saturating_add(1), entry));
    }
}

impl Kind {
    fn of(entry: &Entry<'_>) -> Self {
        Self {
            actor_kind: entry.actor.kind.to_owned(),
            actor_id: entry.actor.id,
            action: entry.action,
            project: entry.project,
            address: entry.origin.address.clone(),
            method: entry.origin.method,
        }
    }
}

impl Refusals {
    /// Nothing was refused yet.
    pub fn new(database: Database) -> Self {
        Self { database, seen: Arc::default(), window: WINDOW }
    }

    /// Records a refusal: the first of its kind in a minute with a row before this returns, others by counting.
    ///
    /// # Errors
    /// As [`append_alone`]; the refusal is counted then.
    pub async fn record(&self, entry: &Entry<'_>) -> Result<(), database::Error> {
        let kind = Kind::of(entry);
        {
            let mut seen = self.lock();
            if let Some(seen) = seen.get_mut(&kind) {
                seen.count(entry.into());
                return Ok(());
            }
            if seen.len() < KINDS_MAX {
                seen.insert(kind, Seen { since: Instant::now(), more: None });
            }
        }
        let written = append_alone(&self.database, entry).await;
        if written.is_err()
            && let Some(seen) = self.lock().get_mut(&Kind::of(entry))
        {
            seen.count(entry.into());
        }
        written
    }

    /// Writes the numbers of what is a minute old every second, and all of them when `shutdown` is cancelled.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(FLUSH_INTERVAL) => self.flush(self.window).await,
            }
        }
        if tokio::time::timeout(LAST_FLUSH, self.flush(Duration::ZERO)).await.is_err() {
            tracing::warn!("the last refusals could not be written to the audit trail");
        }
    }

    /// Forgets what is older than `age`, and writes how often it was repeated. What cannot be written stays for the
    /// next time.
    pub(crate) async fn flush(&self, age: Duration) {
        let due: Vec<(Kind, Seen)> = self.lock().extract_if(|_, seen| seen.since.elapsed() >= age).collect();
        let mut due = due.into_iter();
        while let Some((kind, seen)) = due.next() {
            let Some((number, entry)) = &seen.more else { continue };
            if let Err(error) = append_repeated(&self.database, entry, *number).await {
                tracing::warn!(%error, "refusals could not be written to the audit trail for now");
                self.keep(std::iter::once((kind, seen)).chain(due));
                return;
            }
        }
    }

    /// Puts back what was not written. What was refused meanwhile is added to it.
    fn keep(&self, kept: impl Iterator<Item = (Kind, Seen)>) {
        let mut all = self.lock();
        for (kind, seen) in kept {
            let Some((number, entry)) = seen.more else { continue };
            let now = all.entry(kind).or_insert(Seen { since: seen.since, more: None });
            let (newer, last) = now.more.take().unwrap_or((0, entry));
            now.more = Some((number.saturating_add(newer), last));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
