//! A running platform: domains, services, worker and background tasks in one process, and what has to be closed.
//!
//! At the end everything goes in this order: listeners, jobs, what is buffered in memory, pool, embedded server,
//! operations listener.

use std::time::Duration;

use database::Clock;
use serve::{Check, Outcome, Shutdown};
use tokio_util::sync::CancellationToken;

use crate::assemble::{self, Domains, Ground};
use crate::background::Background;
use crate::exit::{Failure, chain};
use crate::first_start;
use crate::ground;
use crate::process::{Listeners, Process};
use crate::role::Role;
use crate::settings::Settings;

/// What is buffered in memory has to be written within this time after the last request.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);
const GAUGES_INTERVAL: Duration = Duration::from_secs(10);

/// Starts everything these roles need, the embedded database included, and returns when requests are answered.
/// Health and metrics answer from the beginning.
pub async fn start(
    settings: Settings,
    roles: &[Role],
    listeners: Listeners,
    shutdown: Shutdown,
) -> Result<Process, Failure> {
    let mut process = Process::begin(listeners, &settings.http, shutdown, FLUSH_TIMEOUT)?;
    let found = match roles == Role::ALL_IN_ONE {
        true => ground::take(&settings).await?,
        false => ground::join(&settings).await?,
    };
    let ground = Ground {
        database_url: found.url.clone(),
        master_key: sealed::Secret::new(found.master_key.expose().to_vec()),
        clock: Clock::system(),
    };
    let prepared = async {
        let domains = assemble::domains(&settings, ground).await?;
        let notice = match roles.contains(&Role::Projects) {
            true => first_start::prepare(&domains, &settings.data_dir).await?,
            false => None,
        };
        let worker = match roles.contains(&Role::Worker) {
            true => Some(assemble::worker(&domains, &settings)?),
            false => None,
        };
        Ok::<_, Failure>((domains, notice, worker))
    };
    let (domains, notice, worker) = match prepared.await {
        Ok(prepared) => prepared,
        Err(failure) => {
            found.release().await;
            return Err(failure);
        }
    };

    process.notice = notice;
    let flush = process.flush.clone();
    spawn_all(&mut process.background, &domains, &flush);
    if roles.contains(&Role::Projects) {
        let watch = first_start::watch_admin_password(
            domains.identity.clone(),
            settings.data_dir.clone(),
            flush.clone(),
        );
        process.background.spawn("administrator's password", watch);
    }
    if let Some(worker) = worker {
        let linker = audit::Linker::new(domains.database.clone());
        process.background.spawn("chain of the audit trail", linker.run(flush.clone()));
        process.background.spawn("worker", worker.run(process.shutdown.stopping()));
    }
    let mounts = assemble::mounts(roles, &domains, &settings);
    let config = settings.http;
    process.serve(|listener, shutdown| async move { serve::run(listener, mounts, &config, shutdown).await });
    process.started(checks(roles, &domains)).await;
    process.close_with(async move {
        domains.database.close().await;
        found.release().await;
    });
    Ok(process)
}

/// The tasks every role has. They outlive the listeners, because requests in flight
/// still fill what they write.
fn spawn_all(background: &mut Background, domains: &Domains, flush: &CancellationToken) {
    let identity = domains.identity.clone();
    let until = flush.clone();
    background.spawn("identity", async move { identity.run(until).await });

    background.spawn("refusals", domains.tenancy.refusals().run(flush.clone()));

    let pulls = domains.catalog.pulls.clone();
    let until = flush.clone();
    background.spawn("pull counters", async move { pulls.run(until.cancelled_owned()).await });

    let pulls = domains.catalog.pull_trail.clone();
    background.spawn("pulls of the audit trail", pulls.run(flush.clone()));

    let blobs = domains.catalog.blobs.clone();
    let until = flush.clone();
    background.spawn("damaged content", async move { blobs.watch_damage(until.cancelled_owned()).await });

    background.spawn("gauges", gauges(domains.clone(), flush.clone()));
}

/// Figures that nobody counts as they happen.
async fn gauges(domains: Domains, shutdown: CancellationToken) {
    loop {
        let (in_use, idle) = domains.database.pool_status();
        metrics::gauge!("hythe_db_pool_in_use").set(in_use as f64);
        metrics::gauge!("hythe_db_pool_idle").set(idle as f64);
        let store = domains.store.clone();
        // A disk that hangs holds up this figure and nothing else.
        if let Ok(free) = tokio::task::spawn_blocking(move || store.free()).await {
            for blobstore::Free { root, bytes, .. } in free {
                metrics::gauge!("hythe_storage_free_bytes", "root" => root.display().to_string())
                    .set(bytes as f64);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(GAUGES_INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// What this process cannot serve without.
fn checks(roles: &[Role], domains: &Domains) -> Vec<Check> {
    let database = domains.database.clone();
    let schema = domains.database.clone();
    let store = domains.store.clone();
    let mut checks = vec![
        Check::new("database", move || {
            let database = database.clone();
            async move { database.ping().await.map_err(|error| chain(&error)) }
        }),
        Check::new("migrations", move || {
            let schema = schema.clone();
            async move {
                match schema.schema_is_current().await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err("migrations are missing".to_owned()),
                    Err(error) => Err(chain(&error)),
                }
            }
        }),
    ];
    if roles.iter().any(|role| role.uses_store()) {
        checks.push(Check::graded("storage", move || {
            let store = store.clone();
            async move {
                match store.probe().await {
                    // Pulls go on without space; pushes say so themselves.
                    Ok(()) | Err(blobstore::Error::Full) => Outcome::Passed,
                    // Every process sees the same disks: nobody else could serve what this one cannot.
                    Err(error @ blobstore::Error::Partial(_)) => Outcome::Degraded(chain(&error)),
                    Err(error) => Outcome::Failed(chain(&error)),
                }
            }
        }));
    }
    checks
}
