//! The online garbage collector: removes what nothing refers to, while everybody goes on pushing and pulling.
//!
//! There is no mark and no sweep. Triggers note for each manifest and blob when it is to be looked at (`gc_after`), and
//! the collector looks at what is due, batch by batch: manifests, then blobs, then the links and bytes of blobs that it
//! has. What it costs follows the garbage, not what is stored.
//!
//! Invariants:
//! * A blob is taken by two statements of one READ COMMITTED transaction: the first wins the lock of its row, the second
//!   judges it on a fresh snapshot. Pushes hold the same row until they commit, so the second statement sees every
//!   manifest that names it. One statement would judge on a snapshot from before the lock; so would a stricter
//!   isolation level.
//! * A blob that is taken (`deleting`) counts as absent everywhere. Whoever uploads it again stores it under a new key;
//!   the bytes below the old key are nobody's.
//! * No store is asked inside a transaction.
//! * Nobody loses what they were promised: what was pushed, or said to be there, within the grace is left alone.

mod run;
mod runs;

use std::collections::BTreeMap;
use std::time::Duration;

use audit::{Actor, Entry, Object, Outcome};
use blobstore::{BlobStore, Key};
use chrono::{DateTime, Utc};
use database::{Database, Tx};
use serde::{Deserialize, Serialize};
use sqlx::postgres::types::PgInterval;
use tenancy::{ProjectId, Tenancy};
use tokio_util::sync::CancellationToken;

pub use run::CollectGarbage;
use run::Report;
pub use runs::{Collection, CollectionSchedule, Collections};

use crate::{Error, Uploads, retrying};

/// Manifests of one repository in one transaction. Its pushes wait as long.
const MANIFESTS_MAX: i64 = 100;

/// Blobs in one transaction, and keys in one call of the store: what an S3 service takes at once.
const BLOBS_MAX: i64 = 1000;

/// Seconds until somebody else tries to remove the bytes that one collector took and did not finish.
const CLAIM_SECONDS: f64 = 600.0;

/// Longest pause of an idle collector between two looks.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// Pause after an error.
const ERROR_PAUSE: Duration = Duration::from_secs(60);

/// How the collector works, section `catalog.gc`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorConfig {
    /// Off keeps everything until a run is asked for.
    pub enabled: bool,
    /// Seconds a blob or manifest is kept after it was pushed, referred to, or said to be there. Longer than the longest
    /// push takes.
    pub grace_seconds: u32,
    /// Seconds between two looks while there is work.
    pub interval_seconds: u32,
    /// Days an artifact without a tag is kept, in projects without a policy of their own; -1 keeps it.
    pub untagged_days: i32,
    /// Days it is kept since it was last pulled.
    pub pulled_days: u32,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self { enabled: true, grace_seconds: 86_400, interval_seconds: 5, untagged_days: 14, pulled_days: 30 }
    }
}

impl CollectorConfig {
    /// Seconds for which a promise is not renewed when it is made again. Far shorter than the grace, and long enough that
    /// a layer that everybody asks for is written once in a while and not with every request.
    pub(crate) fn touch_seconds(&self) -> f64 {
        f64::from(self.grace_seconds / 4).min(3600.0)
    }

    fn grace(&self) -> PgInterval {
        PgInterval { months: 0, days: 0, microseconds: i64::from(self.grace_seconds) * 1_000_000 }
    }
}

/// What a run or one look removed, or would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collected {
    /// Upload sessions that nobody finished.
    pub sessions: u64,
    pub manifests: u64,
    pub blobs: u64,
    /// Bytes of those blobs, as the store gave them back.
    pub bytes: u64,
}

impl Collected {
    fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.manifests += other.manifests;
        self.blobs += other.blobs;
        self.bytes += other.bytes;
    }
}

/// What a look is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// Artifacts without a tag go once the grace is over, whatever the policies say.
    pub delete_untagged: bool,
    /// Also what is put down for the coming minute: what a run sets free is to go in the same run.
    pub ahead: bool,
}

impl Scope {
    /// Seconds to look ahead; reviews are spread over less than a minute.
    fn ahead_seconds(self) -> f64 {
        if self.ahead { 61.0 } else { 0.0 }
    }

    fn untagged_days(self) -> Option<i32> {
        self.delete_untagged.then_some(0)
    }
}

/// The collector. Clone freely; any number of processes may run one.
#[derive(Clone)]
pub struct Collector {
    database: Database,
    store: BlobStore,
    tenancy: Tenancy,
    uploads: Uploads,
    config: CollectorConfig,
}

/// Manifests to look at, in one repository.
struct Candidates {
    project: i64,
    repository: i64,
    /// With the project.
    path: String,
    manifests: Vec<i64>,
}

/// A manifest to look at.
struct Candidate {
    id: i64,
    at: Option<DateTime<Utc>>,
    repository: i64,
    path: String,
    project: i64,
}

/// How far a look at manifests is.
#[derive(Clone, Copy)]
enum Place {
    /// Behind what was due at this time, with this id.
    Due {
        at: DateTime<Utc>,
        id: i64,
    },
    /// Behind this id, among those without a tag.
    Untagged {
        id: i64,
    },
    End,
}

impl Place {
    fn start() -> Self {
        Self::Due { at: DateTime::UNIX_EPOCH, id: 0 }
    }

    fn is_end(self) -> bool {
        matches!(self, Self::End)
    }

    /// Behind the last one that was found; when there was none, where to look next.
    fn behind(self, last: Option<&Candidate>, scope: Scope) -> Self {
        match (self, last) {
            (Self::Due { at, .. }, Some(last)) => Self::Due { at: last.at.unwrap_or(at), id: last.id },
            (Self::Due { .. }, None) if scope.delete_untagged => Self::Untagged { id: 0 },
            (Self::Untagged { .. }, Some(last)) => Self::Untagged { id: last.id },
            _ => Self::End,
        }
    }
}

/// A blob whose bytes are to go.
struct Taken {
    digest: Vec<u8>,
    location: String,
    size: i64,
}

impl Collector {
    pub(crate) fn new(
        database: Database,
        store: BlobStore,
        tenancy: Tenancy,
        uploads: Uploads,
        config: CollectorConfig,
    ) -> Self {
        Self { database, store, tenancy, uploads, config }
    }

    /// Collects what becomes due until `shutdown`. Idle looks come more and more rarely; work brings them back.
    pub async fn run(self, shutdown: CancellationToken) {
        if let Err(err) = self.set_delays().await {
            tracing::error!(error = ?err, "the delays of the garbage collector could not be set");
        }
        let busy = Duration::from_secs(u64::from(self.config.interval_seconds));
        let mut pause = busy;
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if !self.config.enabled {
                pause = IDLE_MAX;
                continue;
            }
            pause = match self.collect(Scope::default(), || shutdown.is_cancelled()).await {
                Ok(found) if found == Collected::default() => (pause * 2).min(IDLE_MAX.min(busy * 12)),
                Ok(found) => {
                    tracing::info!(
                        manifests = found.manifests,
                        blobs = found.blobs,
                        bytes = found.bytes,
                        "garbage collected"
                    );
                    busy
                }
                Err(Error::Tenancy(tenancy::Error::ReadOnly)) => ERROR_PAUSE,
                Err(err) => {
                    metrics::counter!("hythe_gc_errors_total").increment(1);
                    tracing::warn!(error = ?err, "the garbage collector failed and tries again in a minute");
                    ERROR_PAUSE
                }
            };
        }
    }

    /// Makes reviews come when the grace is over.
    async fn set_delays(&self) -> Result<(), Error> {
        sqlx::query!(
            "update catalog.review_delays set delay = $1
             where event in ('blob_created', 'manifest_created', 'tag_removed') and delay <> $1",
            self.config.grace()
        )
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Removes everything that is due, in batches, until `cancelled` says so.
    ///
    /// # Errors
    /// `Tenancy` while the installation is read-only: for a move or a repair everything has to stay.
    pub async fn collect(&self, scope: Scope, cancelled: impl Fn() -> bool) -> Result<Collected, Error> {
        self.tenancy.require_writable().await?;
        let mut all = Collected::default();
        all.add(self.collect_manifests(scope, &cancelled, None).await?);
        all.add(self.collect_blobs(scope, &cancelled, None).await?);
        Ok(all)
    }

    /// Phase `sessions`: uploads that nobody finished, and bytes without a row.
    async fn collect_sessions(&self, cancelled: impl Fn() -> bool) -> Result<Collected, Error> {
        let removed = self.uploads.remove_forgotten(cancelled).await?;
        Ok(Collected { sessions: removed.sessions, ..Collected::default() })
    }

    /// Phase `manifests`: artifacts whose time is over, and repositories that were deleted. Each batch is a transaction
    /// and is told to `report` afterwards.
    async fn collect_manifests(
        &self,
        scope: Scope,
        cancelled: impl Fn() -> bool,
        report: Option<&Report<'_>>,
    ) -> Result<Collected, Error> {
        let mut all = Collected::default();
        let mut before = 0;
        let mut place = Place::start();
        while !cancelled() {
            let batch = self.candidates(scope, &mut place).await?;
            for candidates in &batch {
                all.manifests += retrying(|| self.purge(scope, candidates)).await?;
            }
            if let Some(report) = report {
                report.tell(all).await?;
            }
            if !place.is_end() {
                continue;
            }
            // What has gone may have kept something that was looked at before it: parts of an index, signatures of an image.
            if !scope.ahead || all.manifests == before {
                break;
            }
            (place, before) = (Place::start(), all.manifests);
        }
        if !cancelled() {
            self.remove_repositories().await?;
        }
        Ok(all)
    }

    /// Phases `blobs` and `bytes`: blobs that nothing names, their links, and what they take in the store.
    async fn collect_blobs(
        &self,
        scope: Scope,
        cancelled: impl Fn() -> bool,
        report: Option<&Report<'_>>,
    ) -> Result<Collected, Error> {
        let mut all = Collected::default();
        while !cancelled() {
            let looked_at = self.take_blobs(scope).await?;
            let removed = self.remove_bytes().await?;
            if looked_at == 0 && removed == Collected::default() {
                break;
            }
            all.add(removed);
            if let Some(report) = report {
                report.tell(all).await?;
            }
        }
        Ok(all)
    }

    /// The next manifests to look at, by repository; `place` moves behind them.
    async fn candidates(&self, scope: Scope, place: &mut Place) -> Result<Vec<Candidates>, Error> {
        let rows = match *place {
            Place::Due { at, id } => {
                sqlx::query_as!(
                    Candidate,
                    r#"select m.id, m.gc_after as at, r.id as repository, r.path, r.project_id as project
                       from (select id, repository_id, gc_after from catalog.manifests
                             where gc_after < now() + make_interval(secs => $3) and (gc_after, id) > ($1, $2)
                             order by gc_after, id limit $4) m
                       join catalog.repositories r on r.id = m.repository_id
                       order by m.gc_after, m.id"#,
                    at,
                    id,
                    scope.ahead_seconds(),
                    MANIFESTS_MAX
                )
                .fetch_all(self.database.pool())
                .await?
            }
            Place::Untagged { id } => {
                sqlx::query_as!(
                    Candidate,
                    r#"select m.id, m.gc_after as at, r.id as repository, r.path, r.project_id as project
                       from (select m.id, m.repository_id, m.gc_after from catalog.manifests m
                             where m.id > $1 and m.deleted_at is null
                               and not exists (select 1 from catalog.tags t where t.manifest_id = m.id)
                             order by m.id limit $2) m
                       join catalog.repositories r on r.id = m.repository_id
                       order by m.id"#,
                    id,
                    MANIFESTS_MAX
                )
                .fetch_all(self.database.pool())
                .await?
            }
            Place::End => Vec::new(),
        };
        *place = place.behind(rows.last(), scope);
        let mut batch: BTreeMap<i64, Candidates> = BTreeMap::new();
        for row in rows {
            let Candidate { id, repository, path, project, .. } = row;
            let new = || Candidates { project, repository, path, manifests: Vec::new() };
            batch.entry(repository).or_insert_with(new).manifests.push(id);
        }
        Ok(batch.into_values().collect())
    }

    /// Judges manifests of one repository and removes those whose time is over. Returns how many.
    async fn purge(&self, scope: Scope, candidates: &Candidates) -> Result<u64, Error> {
        let mut tx = self.database.begin().await?;
        // Every push of a manifest holds this row until it commits: what is judged below cannot change.
        let held = sqlx::query_scalar!(
            "select id from catalog.repositories where id = $1 for no key update",
            candidates.repository
        )
        .fetch_optional(&mut *tx)
        .await?;
        if held.is_none() {
            return Ok(0);
        }
        let judged = sqlx::query!(
            r#"select m.id, catalog.digest_text(m.digest) as "digest!", m.deleted_at is null as "alive!",
                      d.due <= now() as "over!"
               from catalog.manifests m
               cross join lateral (select catalog.manifest_due(m.id, $2, $3, $4, $5) as due) d
               where m.id = any($1) order by m.digest"#,
            &candidates.manifests,
            self.config.grace() as _,
            self.config.untagged_days,
            self.config.pulled_days as i32,
            scope.untagged_days()
        )
        .fetch_all(&mut *tx)
        .await?;
        let over: Vec<i64> = judged.iter().filter(|one| one.over).map(|one| one.id).collect();
        let rest: Vec<i64> = judged.iter().filter(|one| !one.over).map(|one| one.id).collect();
        if !rest.is_empty() {
            // Looked at again when its time comes, or when something happens to it.
            sqlx::query!(
                "update catalog.manifests m set gc_after = nullif(d.due, 'infinity')
                 from (select i.id, catalog.manifest_due(i.id, $2, $3, $4, null) as due from unnest($1::bigint[]) as i (id)) d
                 where m.id = d.id and m.gc_after is distinct from nullif(d.due, 'infinity')",
                &rest,
                self.config.grace() as _,
                self.config.untagged_days,
                self.config.pulled_days as i32
            )
            .execute(&mut *tx)
            .await?;
        }
        if !over.is_empty() {
            let delta = sqlx::query_scalar!(
                r#"select catalog.purge_manifests($1, $2, $3) as "delta!""#,
                candidates.project,
                candidates.repository,
                &over
            )
            .fetch_one(&mut *tx)
            .await?;
            for one in judged.iter().filter(|one| one.over && one.alive) {
                self.trail(&mut tx, candidates, &one.digest).await?;
            }
            self.tenancy.quota_charge(&mut tx, ProjectId(candidates.project), delta).await?;
        }
        tx.commit().await?;
        metrics::counter!("hythe_gc_manifests_total").increment(over.len() as u64);
        Ok(over.len() as u64)
    }

    /// An artifact that a policy removed is an act; what somebody deleted before was one then.
    async fn trail(&self, tx: &mut Tx, candidates: &Candidates, digest: &str) -> Result<(), Error> {
        let name = format!("{}@{digest}", candidates.path);
        let entry = Entry {
            actor: Actor { kind: "system", id: None, name: "garbage collection" },
            action: "artifact_delete",
            object: Object { kind: "artifact", id: digest.to_owned(), name: &name },
            project: Some(candidates.project),
            outcome: Outcome::Done,
            origin: &audit::Origin::default(),
            changed: &[],
        };
        audit::append(tx, &entry).await?;
        Ok(())
    }

    /// Rows of repositories that were deleted and hold nothing any more.
    async fn remove_repositories(&self) -> Result<(), Error> {
        sqlx::query!(
            "delete from catalog.repositories where id in (
                 select r.id from catalog.repositories r
                 where r.deleted_at < now() - $1::interval
                   and not exists (select 1 from catalog.manifests m where m.repository_id = r.id)
                 order by r.id limit $2 for update skip locked)",
            self.config.grace() as _,
            BLOBS_MAX
        )
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Takes blobs that are due and that nothing names, and removes stale links of the others. Returns how many were
    /// looked at.
    async fn take_blobs(&self, scope: Scope) -> Result<usize, Error> {
        let mut tx = self.database.begin().await?;
        let held = hold_blobs(&mut tx, scope, self.config.grace()).await?;
        if held.is_empty() {
            return Ok(0);
        }
        let with_links = self.judge_blobs(&mut tx, &held).await?;
        tx.commit().await?;
        if !with_links.is_empty() {
            retrying(|| self.prune(&with_links)).await?;
        }
        Ok(held.len())
    }

    /// The second statement of the rule above, and what follows from it for blobs that are held. Returns those that stay
    /// and have stale links.
    async fn judge_blobs(&self, tx: &mut Tx, held: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
        let grace = self.config.grace();
        sqlx::query!(
            "update catalog.blobs b set state = 'deleting', gc_after = now()
             where b.digest = any($1) and b.last_touch < now() - $2::interval
               and not exists (select 1 from catalog.manifest_blobs u where u.digest = b.digest)",
            held,
            grace as _
        )
        .execute(&mut **tx)
        .await?;
        // What was promised lately is looked at again when the promise is over, and what is used when something happens
        // to it. What has stale links comes again soon: these go in another transaction, which may fail.
        let kept = sqlx::query!(
            r#"update catalog.blobs b set gc_after = case
                   when b.last_touch >= now() - $2::interval then b.last_touch + $2::interval + interval '1 second'
                   when s.stale then now() + interval '10 minutes'
               end
               from (select k.digest, exists (
                         select 1 from catalog.repository_blobs l
                         where l.digest = k.digest and catalog.is_stale(l.repository_id, l.digest, l.linked_at, $2)) as stale
                     from unnest($1::bytea[]) as k (digest)) s
               where b.digest = s.digest and b.state <> 'deleting'
               returning b.digest, s.stale as "stale!""#,
            held,
            grace as _
        )
        .fetch_all(&mut **tx)
        .await?;
        Ok(kept.into_iter().filter(|one| one.stale).map(|one| one.digest).collect())
    }

    /// Removes the bytes of one batch of blobs that are taken, their links before and their rows after that.
    async fn remove_bytes(&self) -> Result<Collected, Error> {
        let taken = sqlx::query_as!(
            Taken,
            "update catalog.blobs b set gc_after = now() + make_interval(secs => $2)
             where b.digest in (select digest from catalog.blobs
                                where state = 'deleting' and gc_after <= now()
                                order by gc_after limit $1 for update skip locked)
             returning b.digest, b.location, b.size",
            BLOBS_MAX,
            CLAIM_SECONDS
        )
        .fetch_all(self.database.pool())
        .await?;
        if taken.is_empty() {
            return Ok(Collected::default());
        }
        let digests: Vec<Vec<u8>> = taken.iter().map(|one| one.digest.clone()).collect();
        retrying(|| self.prune(&digests)).await?;
        let keys: Vec<Key> = taken.iter().map(|one| Key::from_stored(one.location.clone())).collect();
        self.store.delete(&keys).await?;
        let locations: Vec<String> = taken.iter().map(|one| one.location.clone()).collect();
        // One that was uploaded again meanwhile has another key, and stays.
        let gone = sqlx::query!(
            "delete from catalog.blobs b using unnest($1::bytea[], $2::text[]) as t (digest, location)
             where b.digest = t.digest and b.location = t.location and b.state = 'deleting'",
            &digests,
            &locations
        )
        .execute(self.database.pool())
        .await?;
        let bytes = taken.iter().map(|one| one.size as u64).sum();
        metrics::counter!("hythe_gc_blobs_total").increment(taken.len() as u64);
        metrics::counter!("hythe_gc_bytes_total").increment(bytes);
        tracing::debug!(taken = taken.len(), rows = gone.rows_affected(), "removed the bytes of blobs");
        Ok(Collected { blobs: taken.len() as u64, bytes, ..Collected::default() })
    }

    /// Removes stale links of these blobs, and what they cost their projects.
    async fn prune(&self, digests: &[Vec<u8>]) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let changes = sqlx::query!(
            r#"select project as "project!", delta as "delta!" from catalog.prune_links($1, $2)"#,
            digests,
            self.config.grace() as _
        )
        .fetch_all(&mut *tx)
        .await?;
        for change in changes {
            self.tenancy.quota_charge(&mut tx, ProjectId(change.project), change.delta).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// The first statement of the rule above: wins the locks of blobs that are due. The transaction has to be READ COMMITTED,
/// which it is made here.
async fn hold_blobs(tx: &mut Tx, scope: Scope, grace: PgInterval) -> Result<Vec<Vec<u8>>, Error> {
    sqlx::query!("set transaction isolation level read committed").execute(&mut **tx).await?;
    Ok(sqlx::query_scalar!(
        "select digest from catalog.blobs
         where state <> 'deleting' and gc_after < now() + make_interval(secs => $1)
           and (gc_after < now() or last_touch < now() - $2::interval)
         order by gc_after limit $3 for update skip locked",
        scope.ahead_seconds(),
        grace as _,
        BLOBS_MAX
    )
    .fetch_all(&mut **tx)
    .await?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
