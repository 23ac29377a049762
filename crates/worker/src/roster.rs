//! The whole background work of the platform on one page: which job is done by whom, and when.
//!
//! The history of finished jobs is purged by every runner itself. Counters and buffered trail entries are not
//! jobs: they live in the memory of a process and are written by its own tasks.

use catalog::{Catalog, CollectGarbage, Expire, Recount, RemoveProject, RollUpDays};
use identity::keys::Rotate;
use identity::{Identity, Purge};
use queue::{CronInvalid, JobError, Runner};
use tenancy::{TellQuotaWarnings, Tenancy};

/// Registers every handler and every schedule. Cron expressions have six fields, seconds first, in UTC.
pub(crate) fn register(
    runner: &mut Runner,
    identity: &Identity,
    tenancy: &Tenancy,
    catalog: &Catalog,
) -> Result<(), CronInvalid> {
    // Forgotten uploads and bytes without a row.
    let uploads = catalog.uploads.clone();
    runner.handle(move |job: Expire, context| {
        let uploads = uploads.clone();
        async move { uploads.expire(job, context).await }
    });
    runner.schedule("expire_uploads", "15 * * * * *", Expire {})?;

    // What throttling and refresh tokens leave behind.
    let purging = identity.clone();
    runner.handle(move |_: Purge, _| {
        let identity = purging.clone();
        async move {
            let purged = identity.purge().await.map_err(JobError::retry)?;
            tracing::debug!(?purged, "removed what logins left behind");
            Ok(())
        }
    });
    runner.schedule("purge_identity", "30 7 * * * *", Purge {})?;

    // Signing keys that have served their time.
    let rotating = identity.clone();
    runner.handle(move |_: Rotate, _| {
        let identity = rotating.clone();
        async move {
            if identity.rotate_when_due().await.map_err(JobError::retry)? {
                tracing::info!("the signing key of registry tokens was replaced");
            }
            Ok(())
        }
    });
    runner.schedule("rotate_signing_key", "0 23 3 * * *", Rotate {})?;

    // Projects that come near their limit.
    let quotas = tenancy.clone();
    runner.handle(move |_: TellQuotaWarnings, context| {
        let quotas = quotas.clone();
        async move {
            quotas.quota_warnings_tell(|| context.cancelled()).await.map_err(JobError::retry)?;
            Ok(())
        }
    });
    runner.schedule("tell_quota_warnings", "45 * * * * *", TellQuotaWarnings {})?;

    // Projects that are deleted with everything in them.
    let removals = catalog.removals.clone();
    runner.handle(move |job: RemoveProject, context| {
        let removals = removals.clone();
        async move { removals.run(job, context).await }
    });

    // Runs of the collector that somebody asked for; its schedule is set while the program runs.
    let collector = catalog.collector.clone();
    runner.handle(move |job: CollectGarbage, context| {
        let collector = collector.clone();
        async move { collector.run_job(job, context).await }
    });

    // What quotas say is used, against what is there.
    let recounts = catalog.recounts.clone();
    runner.handle(move |job: Recount, context| {
        let recounts = recounts.clone();
        async move { recounts.recount(job, context).await }
    });
    runner.schedule("recount_quotas", "0 41 2 * * *", Recount {})?;

    // What charts show. Soon after the hour: the first run of a day says what was used at the end of the one before.
    let days = catalog.days.clone();
    runner.handle(move |job: RollUpDays, context| {
        let days = days.clone();
        async move { days.run(job, context).await }
    });
    runner.schedule("roll_up_days", "0 2 * * * *", RollUpDays {})?;
    Ok(())
}
