//! The chain over the trail: every entry is linked to the one before, so that a row that is changed, moved or
//! removed afterwards shows, whoever did it.
//!
//! Linking happens just after commit, by one process at a time: taking the head of the chain inside the caller's
//! transaction would put every change of the platform behind one lock. For a second or two an entry is not linked
//! yet; `hythe_audit_unlinked_seconds` tells how long the oldest has been waiting.
//!
//! Cutting off the end leaves a shorter chain that is whole. The head is therefore written to the log every hour;
//! [`Trail::verify`] compares with such a [`Mark`].

use std::time::{Duration, Instant};

use database::Database;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{Record, Trail};

/// Entries linked in one transaction.
const BATCH: i32 = 1_000;

const INTERVAL: Duration = Duration::from_secs(1);

/// Links read by one statement of a verification.
const VERIFY_BATCH: i64 = 1_000;

/// Links new entries until it is told to stop.
#[derive(Clone)]
pub struct Linker {
    database: Database,
}

/// A place in the chain and the hash there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub position: i64,
    /// 32 bytes.
    pub hash: Vec<u8>,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The last position that is as it was written; 0 for an empty chain.
    pub until: i64,
    /// The hash there.
    pub hash: Vec<u8>,
    /// The first position that is not, and what is wrong with it.
    pub bad: Option<Bad>,
    /// Entries that wait to be linked.
    pub pending: i64,
    /// Whether the end of the chain was reached (or the first bad position).
    pub complete: bool,
}

/// What is wrong at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub position: i64,
    pub why: &'static str,
}

impl Linker {
    /// A linker for this database. Several may run; they take turns.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Links every second until `shutdown`, and a last time then.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(INTERVAL) => self.link_and_report().await,
            }
        }
        if tokio::time::timeout(INTERVAL * 5, self.link_and_report()).await.is_err() {
            tracing::warn!(
                "the last linking of the audit trail took too long; the next start goes on with it"
            );
        }
    }

    async fn link_and_report(&self) {
        if let Err(error) = self.link().await {
            // The entries are safe and wait; the metric of their age tells when this goes on.
            tracing::warn!(%error, "the audit trail could not be linked for now");
        }
    }

    /// Links everything that waits. Returns how many entries that were.
    ///
    /// # Errors
    /// When the database does not answer; what was linked before stays linked.
    pub async fn link(&self) -> Result<i64, database::Error> {
        let mut all = 0;
        loop {
            let done = sqlx::query!(
                r#"select linked as "linked!", head_position, head_hash, is_checkpoint as "is_checkpoint!",
                          waiting_seconds
                   from audit.link($1)"#,
                BATCH
            )
            .fetch_one(self.database.pool())
            .await?;
            if let Some(seconds) = done.waiting_seconds {
                metrics::gauge!("hythe_audit_unlinked_seconds").set(seconds);
            }
            if let (true, Some(position), Some(hash)) =
                (done.is_checkpoint, done.head_position, done.head_hash)
            {
                tracing::info!(position, hash = hex(&hash), "checkpoint of the audit trail");
            }
            all += i64::from(done.linked.max(0));
            if done.linked < BATCH {
                return Ok(all);
            }
        }
    }
}

/// Hash of the next position.
fn next_hash(previous: &[u8], position: i64, body_hash: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(position.to_be_bytes());
    hash.update(body_hash);
    hash.finalize().to_vec()
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Trail {
    /// Recomputes the chain behind position `after` (0: from its beginning), at most for `patience`. Where it
    /// stops for lack of time the next call goes on. The hash at `after` itself is taken as it is.
    ///
    /// # Errors
    /// When the database does not answer. A chain that is wrong is no error; see [`Verified::bad`].
    pub async fn verify(&self, after: i64, patience: Option<Duration>) -> Result<Verified, database::Error> {
        let begun = Instant::now();
        let Mark { position, hash } = self.start(after.max(0)).await?;
        let (mut until, mut head, mut bad) = (position, hash, None);
        let mut complete = false;
        while bad.is_none() && !complete && patience.is_none_or(|patience| begun.elapsed() < patience) {
            let links = self.links(until).await?;
            complete = (links.len() as i64) < VERIFY_BATCH;
            for link in links {
                match link.check(until + 1, &head) {
                    Ok(hash) => (until, head) = (until + 1, hash),
                    Err(why) => {
                        bad = Some(Bad { position: until + 1, why });
                        break;
                    }
                }
            }
        }
        if bad.is_none() && complete && self.newest_checkpoint().await? > until {
            bad = Some(Bad { position: until + 1, why: "the chain ends before its newest checkpoint" });
        }
        let pending = sqlx::query_scalar!(r#"select count(*) as "count!" from audit.pending"#)
            .fetch_one(self.database.pool())
            .await?;
        Ok(Verified { until, hash: head, complete: complete || bad.is_some(), bad, pending })
    }

    /// Whether the chain has this hash at this position: what was written down elsewhere still holds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has(&self, mark: &Mark) -> Result<bool, database::Error> {
        let hash = sqlx::query_scalar!("select hash from audit.links where position = $1", mark.position)
            .fetch_optional(self.database.pool())
            .await?;
        Ok(hash.as_ref() == Some(&mark.hash))
    }

    /// The first entry that is neither linked nor waiting: one that was put into the table by other means. Reads
    /// the whole trail.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stray(&self) -> Result<Option<i64>, database::Error> {
        Ok(sqlx::query_scalar!(
            r#"select min(e.id) from audit.entries e
               where not exists (select from audit.links l where l.entry_id = e.id)
                 and not exists (select from audit.pending p where p.entry_id = e.id)"#
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    /// Where to begin behind `after`: not before what a purge has left, and not behind the end.
    async fn start(&self, after: i64) -> Result<Mark, database::Error> {
        let row = sqlx::query!(
            "(select position, hash from audit.checkpoints where reason = 'purge' and position >= $1)
             union all
             (select position, hash from audit.links where position <= $1)
             order by position desc limit 1",
            after
        )
        .fetch_optional(self.database.pool())
        .await?;
        let found = row.and_then(|row| Some(Mark { position: row.position?, hash: row.hash? }));
        Ok(found.unwrap_or_else(|| Mark { position: 0, hash: vec![0; 32] }))
    }

    async fn links(&self, after: i64) -> Result<Vec<Link>, database::Error> {
        let rows = sqlx::query!(
            r#"select l.position, l.hash, c.hash as "checkpoint?", e.id as "id?", e.at as "at?",
                      e.actor_kind as "actor_kind?", e.actor_id, e.actor_name as "actor_name?",
                      e.action as "action?", e.object_kind as "object_kind?", e.object_id as "object_id?",
                      e.object_name as "object_name?", e.project_id, e.outcome as "outcome?",
                      e.request_id as "request_id?", e.address as "address?", e.client as "client?",
                      e.auth_method as "auth_method?", e.changed as "changed?",
                      e.repeated as "repeated?", e.body_hash as "body_hash?"
               from audit.links l
               left join audit.entries e on e.id = l.entry_id
               left join audit.checkpoints c on c.position = l.position and c.reason = 'periodic'
               where l.position > $1 order by l.position limit $2"#,
            after,
            VERIFY_BATCH
        )
        .fetch_all(self.database.pool())
        .await?;
        let links = rows.into_iter().map(|row| {
            let record = (|| {
                Some(Record {
                    id: row.id?,
                    at: row.at?,
                    actor_kind: row.actor_kind?,
                    actor_id: row.actor_id,
                    actor_name: row.actor_name?,
                    action: row.action?,
                    object_kind: row.object_kind?,
                    object_id: row.object_id?,
                    object_name: row.object_name?,
                    project_id: row.project_id,
                    outcome: row.outcome?,
                    request_id: row.request_id?,
                    address: row.address?,
                    client: row.client?,
                    auth_method: row.auth_method?,
                    changed: row.changed?,
                    repeated: row.repeated?,
                    body_hash: row.body_hash?,
                })
            })();
            Link { position: row.position, hash: row.hash, checkpoint: row.checkpoint, record }
        });
        Ok(links.collect())
    }

    async fn newest_checkpoint(&self) -> Result<i64, database::Error> {
        Ok(sqlx::query_scalar!(
            r#"select coalesce(max(position), 0) as "position!" from audit.checkpoints where reason = 'periodic'"#
        )
        .fetch_one(self.database.pool())
        .await?)
    }
}

/// One link with the entry it stands for, which may be gone.
struct Link {
    position: i64,
    hash: Vec<u8>,
    checkpoint: Option<Vec<u8>>,
    record: Option<Record>,
}

impl Link {
    /// The hash of this position when everything is as it has to be.
    fn check(&self, position: i64, previous: &[u8]) -> Result<Vec<u8>, &'static str> {
        if self.position != position {
            return Err("the link is missing");
        }
        let Some(record) = &self.record else { return Err("the entry is missing") };
        if !record.is_intact() {
            return Err("the entry was changed");
        }
        let hash = next_hash(previous, position, &record.body_hash);
        if hash != self.hash {
            return Err("the link does not fit the entry and the link before it");
        }
        if self.checkpoint.as_ref().is_some_and(|checkpoint| *checkpoint != hash) {
            return Err("the link is another one than at its checkpoint");
        }
        Ok(hash)
    }
}

#[cfg(test)]
mod tests;
