//! What this process knows about epochs, blocks and signing keys, and how old that knowledge is.
//!
//! One background task reloads everything once a second and whenever PostgreSQL announces a change; announcements
//! get lost, so they only make it faster. What this process itself changed is noted at once and forgotten when a
//! reload has it.
//!
//! Invariant: knowledge is dated by when its query was sent, on the monotonic clock; after five seconds it decides
//! nothing any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use database::Database;
use sealed::Keyring;
use sqlx::postgres::PgListener;
use sqlx::{Acquire, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::epochs::Subject;
use crate::error::Error;
use crate::keys::{self, Ring};
use crate::throttle::{Pair, WHOLE_ADDRESS};
use crate::tokens::LEEWAY_SECONDS;

/// Older knowledge may not decide (docs/ARCHITECTURE.md).
const FRESH_FOR: Duration = Duration::from_secs(5);
/// How often everything is read, whether or not anything was announced.
const POLL: Duration = Duration::from_secs(1);
/// A reload that takes longer is given up and its connection with it.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3);
/// Announcements come in bursts; one reload answers those of this long.
const BURST: Duration = Duration::from_millis(20);
/// Beyond the life of tokens, so that a transaction that commits late is still seen.
const WINDOW_SLACK_SECONDS: i64 = 600;
/// More blocks than this are not followed in memory; remembered credentials then ask the database.
const BLOCKS_MAX: i64 = 10_000;
const CHANNEL: &str = "hythe_identity";

/// One reading of the database.
struct Snapshot {
    /// When the query was sent, not when it was answered.
    taken: Instant,
    /// Epochs raised within the window. A subject that is absent was not raised for longer than any token lives.
    epochs: HashMap<Subject, i64>,
    blocks: HashMap<Pair, Instant>,
    blocks_complete: bool,
    keys: Arc<Ring>,
    robot_prefix: Arc<str>,
}

/// What this process changed itself since the snapshot: with the moment of the note.
#[derive(Default)]
struct Notes {
    epochs: HashMap<Subject, (i64, Instant)>,
    blocks: HashMap<Pair, (Instant, Instant)>,
}

/// Answer to whether a login is blocked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    No,
    /// For this long.
    For(Duration),
    /// The feed does not know every block: ask the database.
    Unknown,
}

pub(crate) struct Feed {
    database: Database,
    keyring: Keyring,
    window_seconds: i64,
    snapshot: RwLock<Arc<Snapshot>>,
    notes: Mutex<Notes>,
}

impl Feed {
    /// Reads everything once.
    pub(crate) async fn start(database: Database, keyring: Keyring, config: &Config) -> Result<Self, Error> {
        let feed = Self {
            database,
            keyring,
            window_seconds: config.token_seconds() + LEEWAY_SECONDS + WINDOW_SLACK_SECONDS,
            snapshot: RwLock::new(Arc::new(Snapshot {
                taken: Instant::now(),
                epochs: HashMap::new(),
                blocks: HashMap::new(),
                blocks_complete: false,
                keys: Arc::default(),
                robot_prefix: Arc::from(""),
            })),
            notes: Mutex::default(),
        };
        feed.reload_once().await?;
        Ok(feed)
    }

    /// Follows the database until `shutdown`.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let mut listener = None;
        let mut known_away = false;
        loop {
            let turn = async {
                let reloaded = tokio::time::timeout(RELOAD_TIMEOUT, self.follow(&mut listener)).await;
                let problem = match reloaded {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(match std::error::Error::source(&error) {
                        Some(cause) => format!("{error}: {cause}"),
                        None => error.to_string(),
                    }),
                    Err(_) => Some("no answer in time".to_owned()),
                };
                match &problem {
                    // Said once, however long it lasts.
                    Some(cause) if !known_away => tracing::warn!(cause, "revocations cannot be read"),
                    None if known_away => tracing::info!("revocations are read again"),
                    _ => {}
                }
                known_away = problem.is_some();
                if known_away {
                    listener = None;
                }
                wait(&mut listener).await;
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = turn => {}
            }
        }
    }

    /// Reads everything now, on a connection of the pool.
    pub(crate) async fn reload_once(&self) -> Result<(), Error> {
        let mut connection = self.database.pool().acquire().await?;
        self.reload(&mut connection).await
    }

    /// The reload of the background task. It uses the listening connection, so that requests that hold every
    /// connection of the pool cannot make revocations unknown.
    async fn follow(&self, listener: &mut Option<PgListener>) -> Result<(), Error> {
        let listener = match listener {
            Some(listener) => listener,
            None => listener.insert(self.database.listen(CHANNEL).await?),
        };
        let connection = listener.acquire().await?;
        self.reload(connection).await
    }

    async fn reload(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let taken = Instant::now();
        let known = self.current().keys.clone();
        let epochs = sqlx::query!(
            "select kind, subject_id, epoch from identity.epochs
             where raised_at > now() - make_interval(secs => $1)",
            self.window_seconds as f64
        )
        .fetch_all(&mut *connection)
        .await?;
        let blocks = sqlx::query!(
            r#"select account, address, extract(epoch from blocked_until - now())::float8 as "seconds!"
               from identity.throttle where blocked_until > now() order by blocked_until desc limit $1"#,
            BLOCKS_MAX + 1
        )
        .fetch_all(&mut *connection)
        .await?;
        let robot_prefix = sqlx::query_scalar!("select prefix from identity.robot_prefix")
            .fetch_one(&mut *connection)
            .await?;
        let keys = keys::load(connection, &self.keyring, &known).await?;
        self.publish(Snapshot {
            taken,
            epochs: epochs
                .into_iter()
                .filter_map(|row| Some((Subject::from_row(row.kind, row.subject_id)?, row.epoch)))
                .collect(),
            blocks_complete: blocks.len() as i64 <= BLOCKS_MAX,
            blocks: blocks
                .into_iter()
                .map(|row| {
                    let until = taken + Duration::from_secs_f64(row.seconds.clamp(0.0, 86_400.0));
                    (Pair { account: row.account, address: row.address }, until)
                })
                .collect(),
            keys: Arc::new(keys),
            robot_prefix: robot_prefix.into(),
        });
        Ok(())
    }

    fn publish(&self, snapshot: Snapshot) {
        let taken = snapshot.taken;
        let mut current = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        // Two reloads may overtake each other; the later question has the newer answer.
        if taken < current.taken {
            return;
        }
        *current = Arc::new(snapshot);
        drop(current);
        // Whatever was noted before the query was sent was committed before, so the answer holds it.
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.epochs.retain(|_, (_, noted)| *noted >= taken);
        notes.blocks.retain(|_, (_, noted)| *noted >= taken);
    }

    fn current(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what is known may decide.
    pub(crate) fn is_fresh(&self) -> bool {
        self.current().taken.elapsed() <= FRESH_FOR
    }

    /// Age of what is known.
    pub(crate) fn age(&self) -> Duration {
        self.current().taken.elapsed()
    }

    /// What stands in front of the names of robots.
    pub(crate) fn robot_prefix(&self) -> Arc<str> {
        self.current().robot_prefix.clone()
    }

    pub(crate) fn keys(&self) -> Arc<Ring> {
        self.current().keys.clone()
    }

    /// Whether any subject has a newer epoch than the one given. Only as good as `is_fresh`.
    pub(crate) fn is_raised(&self, subjects: impl Iterator<Item = (Subject, i64)>) -> bool {
        let snapshot = self.current();
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        subjects.into_iter().any(|(subject, epoch)| {
            let read = snapshot.epochs.get(&subject).copied();
            let noted = notes.epochs.get(&subject).map(|(epoch, _)| *epoch);
            read.max(noted).is_some_and(|known| known > epoch)
        })
    }

    /// Whether logins of the pair, or of its whole address, are blocked. Only as good as `is_fresh`.
    pub(crate) fn blocked(&self, pair: &Pair) -> Blocked {
        let snapshot = self.current();
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = Pair { account: WHOLE_ADDRESS.to_owned(), address: pair.address.clone() };
        let until = [pair, &whole]
            .into_iter()
            .flat_map(|pair| {
                let noted = notes.blocks.get(pair).map(|(until, _)| *until);
                [snapshot.blocks.get(pair).copied(), noted]
            })
            .flatten()
            .max();
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => Blocked::For(left),
            _ if !snapshot.blocks_complete => Blocked::Unknown,
            _ => Blocked::No,
        }
    }

    /// Tells this process of an epoch it raised, once the transaction is committed.
    pub(crate) fn note_epoch(&self, subject: Subject, epoch: i64) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.epochs.insert(subject, (epoch, Instant::now()));
    }

    /// Tells this process of a block it made.
    pub(crate) fn note_block(&self, pair: Pair, seconds: u64) {
        let now = Instant::now();
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.blocks.insert(pair, (now + Duration::from_secs(seconds), now));
    }

    /// Makes what is known look as old as if the database had been away for that long.
    #[cfg(test)]
    pub(crate) fn age_by(&self, age: Duration) {
        let mut current = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let old = current.clone();
        *current = Arc::new(Snapshot {
            taken: old.taken - age,
            epochs: old.epochs.clone(),
            blocks: old.blocks.clone(),
            blocks_complete: old.blocks_complete,
            keys: old.keys.clone(),
            robot_prefix: old.robot_prefix.clone(),
        });
    }
}

/// Until something is announced, a second at most.
async fn wait(listener: &mut Option<PgListener>) {
    let Some(open) = listener else {
        tokio::time::sleep(POLL).await;
        return;
    };
    match tokio::time::timeout(POLL, open.try_recv()).await {
        Ok(Ok(Some(_))) => {
            tokio::time::sleep(BURST).await;
            while open.next_buffered().is_some() {}
        }
        Err(_) => {}
        Ok(Ok(None) | Err(_)) => {
            *listener = None;
            // The database is restarting or gone; asking again at once would only fail at once.
            tokio::time::sleep(POLL / 4).await;
        }
    }
}
