//! Runs of the collector that somebody asked for: what they are told, what they say, and the dry run.
//!
//! Invariant: a dry run is a path of its own that only reads. It asks the same functions what is due.

use queue::{JobContext, JobError};
use serde::{Deserialize, Serialize};

use super::{Collected, Collector, MANIFESTS_MAX, Scope};
use crate::Error;
use crate::manifests::stored_digest;

/// Blobs that a dry run looks at with one statement.
const PAGE: i64 = 1000;

/// A run of the collector. Shown to people as it is: it holds what they asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectGarbage {
    /// Say what would go, and change nothing.
    pub dry_run: bool,
    /// Artifacts without a tag go once the grace is over, whatever the policies say.
    pub delete_untagged: bool,
    /// As the client said it, to be told again: a run shares its work by itself.
    pub workers: u8,
}

impl Default for CollectGarbage {
    fn default() -> Self {
        Self { dry_run: false, delete_untagged: false, workers: 1 }
    }
}

impl queue::Job for CollectGarbage {
    const KIND: &'static str = "catalog.collect_garbage";
    /// What a run has removed is removed: it goes on where it was.
    const ATTEMPTS_MAX: i32 = 3;
}

impl Collector {
    /// The job. One runs at a time. Phases: `sessions`, `manifests`, `blobs`.
    pub async fn run_job(&self, job: CollectGarbage, context: JobContext) -> Result<(), JobError> {
        context.wait_for_turn().await?;
        let mut all =
            if context.attempt() > 1 { self.earlier(&context).await? } else { Collected::default() };
        let scope = Scope { delete_untagged: job.delete_untagged, ahead: true };
        let done = if job.dry_run {
            self.rehearse(scope, &context, &mut all).await
        } else {
            self.perform(scope, &context, &mut all).await
        };
        context.result(&all).await?;
        done?;
        if !context.cancelled() {
            let verb = if job.dry_run { "would remove" } else { "removed" };
            context
                .log(&format!(
                    "{verb} {} manifests and {} blobs of {} bytes",
                    all.manifests, all.blobs, all.bytes
                ))
                .await?;
        }
        Ok(())
    }

    /// What the attempts before this one removed.
    async fn earlier(&self, context: &JobContext) -> Result<Collected, JobError> {
        let record = queue::History::new(self.database.clone()).get(context.id()).await?;
        let earlier = record.and_then(|record| record.result);
        Ok(earlier.and_then(|earlier| serde_json::from_value(earlier).ok()).unwrap_or_default())
    }

    async fn perform(&self, scope: Scope, context: &JobContext, all: &mut Collected) -> Result<(), JobError> {
        self.tenancy.require_writable().await.map_err(JobError::fail)?;
        context.progress("sessions", 0, 0).await?;
        let found = self.collect_sessions(|| context.cancelled()).await.map_err(JobError::retry)?;
        all.sessions += found.sessions;
        context.log(&format!("sessions: {} unfinished uploads removed", found.sessions)).await?;

        context.progress("manifests", 0, 0).await?;
        let report = Report { context, phase: "manifests", before: *all };
        let cancelled = || context.cancelled();
        let found = self.collect_manifests(scope, cancelled, Some(&report)).await.map_err(JobError::retry)?;
        all.add(found);
        context.log(&format!("manifests: {} removed", found.manifests)).await?;

        context.progress("blobs", 0, 0).await?;
        let report = Report { context, phase: "blobs", before: *all };
        let found = self.collect_blobs(scope, cancelled, Some(&report)).await.map_err(JobError::retry)?;
        all.add(found);
        context.log(&format!("blobs: {} removed, {} bytes", found.blobs, found.bytes)).await
    }

    /// Says what a run would remove, a line for each, and changes nothing.
    async fn rehearse(
        &self,
        scope: Scope,
        context: &JobContext,
        all: &mut Collected,
    ) -> Result<(), JobError> {
        // A dry run that is tried again says everything again.
        *all = Collected::default();
        context.progress("manifests", 0, 0).await?;
        let mut after = 0;
        while !context.cancelled() {
            let (next, lines) = self.manifests_due(scope, after).await.map_err(JobError::retry)?;
            let Some(next) = next else { break };
            after = next;
            all.manifests += lines.len() as u64;
            context.log_all(&lines).await?;
            context.progress("manifests", all.manifests as i64, 0).await?;
        }
        context.progress("blobs", 0, 0).await?;
        let mut after = Vec::new();
        while !context.cancelled() {
            let page = self.blobs_due(scope, &after).await.map_err(JobError::retry)?;
            let Some(next) = page.next else { break };
            after = next;
            all.blobs += page.lines.len() as u64;
            all.bytes += page.bytes;
            context.log_all(&page.lines).await?;
            context.progress("blobs", all.blobs as i64, 0).await?;
        }
        Ok(())
    }

    /// Looks at manifests after `after`: where to go on, and a line for each that would go.
    async fn manifests_due(&self, scope: Scope, after: i64) -> Result<(Option<i64>, Vec<String>), Error> {
        let rows = sqlx::query!(
            r#"select m.id, r.path, catalog.digest_text(m.digest) as "digest!", m.total_size,
                      m.deleted_at is not null as "deleted!",
                      catalog.manifest_goes(m.id, $3, $4, $5, $6) as "over!"
               from (select m.id, m.repository_id, m.digest, m.total_size, m.deleted_at from catalog.manifests m
                     where m.id > $1 order by m.id limit $2) m
               join catalog.repositories r on r.id = m.repository_id
               order by m.id"#,
            after,
            MANIFESTS_MAX,
            self.config.grace() as _,
            self.config.untagged_days,
            self.config.pulled_days as i32,
            scope.untagged_days()
        )
        .fetch_all(self.database.pool())
        .await?;
        let lines = rows.iter().filter(|row| row.over).map(|row| {
            let why = if row.deleted { "deleted" } else { "no tag" };
            format!(
                "manifest {}@{}, {} bytes with what it names, {why}",
                row.path, row.digest, row.total_size
            )
        });
        Ok((rows.last().map(|row| row.id), lines.collect()))
    }

    /// Looks at blobs after `after`.
    async fn blobs_due(&self, scope: Scope, after: &[u8]) -> Result<BlobPage, Error> {
        let rows = sqlx::query!(
            r#"select b.digest, b.size,
                      b.state = 'deleting' or b.last_touch < now() - $3::interval
                      and not exists (
                          select 1 from catalog.manifest_blobs u where u.digest = b.digest
                          and not catalog.manifest_goes(u.manifest_id, $3, $4, $5, $6)) as "over!"
               from (select digest, size, state, last_touch from catalog.blobs
                     where digest > $1 order by digest limit $2) b
               order by b.digest"#,
            after,
            PAGE,
            self.config.grace() as _,
            self.config.untagged_days,
            self.config.pulled_days as i32,
            scope.untagged_days()
        )
        .fetch_all(self.database.pool())
        .await?;
        let mut page = BlobPage { next: rows.last().map(|row| row.digest.clone()), ..BlobPage::default() };
        for row in rows.into_iter().filter(|row| row.over) {
            page.bytes += row.size as u64;
            page.lines.push(format!("blob {}, {} bytes", stored_digest(&row.digest)?, row.size));
        }
        Ok(page)
    }
}

#[derive(Default)]
struct BlobPage {
    next: Option<Vec<u8>>,
    bytes: u64,
    lines: Vec<String>,
}

/// Tells how far a phase is, after each batch.
pub(super) struct Report<'a> {
    context: &'a JobContext,
    phase: &'static str,
    /// What the phases before this one removed.
    before: Collected,
}

impl Report<'_> {
    /// `phase` is what this phase has removed so far.
    pub(super) async fn tell(&self, phase: Collected) -> Result<(), Error> {
        let mut all = self.before;
        all.add(phase);
        let told = async {
            self.context.result(&all).await?;
            self.context.progress(self.phase, (phase.manifests + phase.blobs) as i64, 0).await
        };
        // The job is another worker's by now, or the database is away: the run ends here either way.
        told.await.map_err(|(JobError::Retry(err) | JobError::Fail(err))| Error::Refused(err.to_string()))
    }
}
