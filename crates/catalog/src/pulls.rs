//! Pull counters, kept in memory for a few seconds and written in batches.
//!
//! A database write per pull would limit pull throughput. A crash loses at most one interval of counts.
//! Bounded: beyond the bound pulls are served and not counted, and a metric says how many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use database::Database;
use oci::{Digest, Reference};

use crate::{Error, Place};

/// Distinct (repository, manifest, tag) counted between two flushes.
const PENDING_MAX: usize = 100_000;

#[derive(Clone, PartialEq, Eq, Hash)]
struct What {
    project: i64,
    path: String,
    digest: Vec<u8>,
    /// Empty for a pull by digest.
    tag: String,
}

/// Counts pulls. Clone freely; all clones count into one buffer.
#[derive(Clone)]
pub struct PullCounter {
    database: Database,
    interval: Duration,
    pending: Arc<Mutex<HashMap<What, i64>>>,
}

impl PullCounter {
    pub(crate) fn new(database: Database, flush_seconds: u64) -> Self {
        Self { database, interval: Duration::from_secs(flush_seconds.max(1)), pending: Arc::default() }
    }

    pub(crate) fn count(&self, place: &Place, digest: &Digest, reference: &Reference) {
        let what = What {
            project: place.project.0,
            path: place.repository.to_string(),
            digest: digest.to_bytes(),
            tag: match reference {
                Reference::Tag(tag) => tag.to_string(),
                Reference::Digest(_) => String::new(),
            },
        };
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= PENDING_MAX && !pending.contains_key(&what) {
            metrics::counter!("hythe_pulls_uncounted_total").increment(1);
            return;
        }
        *pending.entry(what).or_default() += 1;
    }

    /// Flushes until `shutdown`, and once more then.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let last = tokio::select! {
                () = &mut shutdown => true,
                () = tokio::time::sleep(self.interval) => false,
            };
            if let Err(err) = self.flush().await {
                tracing::warn!(error = ?err, "pull counters were not written; they are kept for the next try");
            }
            if last {
                return;
            }
        }
    }

    /// Writes what is pending. On failure everything stays pending.
    pub async fn flush(&self) -> Result<(), Error> {
        let taken = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.is_empty() {
            return Ok(());
        }
        let written = self.write(&taken).await;
        if written.is_err() {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            for (what, count) in taken {
                *pending.entry(what).or_default() += count;
            }
        }
        written
    }

    async fn write(&self, taken: &HashMap<What, i64>) -> Result<(), Error> {
        let mut columns = Columns::default();
        for (what, count) in taken {
            columns.projects.push(what.project);
            columns.paths.push(what.path.clone());
            columns.digests.push(what.digest.clone());
            columns.tags.push(what.tag.clone());
            columns.counts.push(*count);
        }
        let Columns { projects, paths, digests, tags, counts } = &columns;
        let mut tx = self.database.begin().await?;
        // Rows are updated in key order, so two processes that flush at once cannot deadlock.
        sqlx::query!(
            "with counted as (
                 update catalog.repositories r set pull_count = r.pull_count + n.count
                 from (select r.id, sum(p.count)::bigint as count
                       from unnest($1::bigint[], $2::text[], $3::bigint[]) as p(project, path, count)
                       join catalog.repositories r
                         on r.project_id = p.project and r.path = p.path and r.deleted_at is null
                       group by r.id order by r.id) n
                 where r.id = n.id returning r.id, r.project_id, n.count
             )
             insert into catalog.repository_days as d (repository_id, project_id, day, pulls)
             select id, project_id, catalog.utc_day(now()), count from counted
             on conflict (repository_id, day) do update set pulls = d.pulls + excluded.pulls",
            projects,
            paths,
            counts
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "insert into catalog.manifest_pulls as p (manifest_id, pull_count, last_pulled_at)
             select m.id, sum(n.count)::bigint, now()
             from unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[]) as n(project, path, digest, count)
             join catalog.repositories r on r.project_id = n.project and r.path = n.path and r.deleted_at is null
             join catalog.manifests m on m.repository_id = r.id and m.digest = n.digest
             group by m.id order by m.id
             on conflict (manifest_id) do update set
                 pull_count = p.pull_count + excluded.pull_count, last_pulled_at = excluded.last_pulled_at",
            projects,
            paths,
            digests,
            counts
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "update catalog.tags t set pull_count = t.pull_count + n.count, last_pulled_at = now()
             from (select t.id, sum(p.count)::bigint as count
                   from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) as p(project, path, tag, count)
                   join catalog.repositories r on r.project_id = p.project and r.path = p.path and r.deleted_at is null
                   join catalog.tags t on t.repository_id = r.id and t.name = p.tag
                   where p.tag <> '' group by t.id order by t.id) n
             where t.id = n.id",
            projects,
            paths,
            tags,
            counts
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

#[derive(Default)]
struct Columns {
    projects: Vec<i64>,
    paths: Vec<String>,
    digests: Vec<Vec<u8>>,
    tags: Vec<String>,
    counts: Vec<i64>,
}
