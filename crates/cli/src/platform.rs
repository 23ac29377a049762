//! A running platform: domains, services, worker and background tasks in one process, and how they end.
//!
//! The order of the end is fixed: listeners, jobs, what is buffered in memory, pool, embedded server, operations
//! listener. `hythe serve` and the tests run the same thing.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use database::Clock;
use nix::sys::socket::{Backlog, listen};
use serve::{Check, Health, Metrics, Operations, Outcome, Shutdown};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::assemble::{self, Domains, Ground};
use crate::background::{Background, Ending};
use crate::exit::{Exit, Failure};
use crate::first_start;
use crate::ground::{self, Found};
use crate::role::Role;
use crate::settings::Settings;

/// Connections the kernel keeps waiting while all workers are busy.
const BACKLOG: i32 = 1024;
/// What is buffered in memory has to be written within this time after the last request.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);
const GAUGES_INTERVAL: Duration = Duration::from_secs(10);

/// Sockets that are bound and not yet served: a port that is taken shows before anything is started.
pub struct Listeners {
    pub public: TcpListener,
    pub operations: Option<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of the `http` section.
    pub fn bind(settings: &Settings) -> Result<Self, Failure> {
        let public = bind(&settings.http.addr, "--listen")?;
        let operations = match settings.http.ops_addr.as_str() {
            "off" => None,
            address => Some(bind(address, "--ops-listen")?),
        };
        Ok(Self { public, operations })
    }
}

fn bind(address: &str, flag: &str) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listen(&listener.as_fd(), Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
        Ok(listener)
    });
    bound.with_context(|| format!("cannot listen on {address}")).map_err(|error| {
        Failure::new(Exit::Conflict, error).remedy(format!("name another address with {flag}"))
    })
}

/// A platform that serves.
pub struct Platform {
    /// Where clients connect.
    pub public: SocketAddr,
    /// Where operators look.
    pub operations: Option<SocketAddr>,
    pub domains: Domains,
    /// What the operator has to be told about a first start.
    pub notice: Option<String>,
    shutdown: Shutdown,
    settings: Settings,
    found: Found,
    server: JoinHandle<std::io::Result<()>>,
    operations_server: Option<JoinHandle<std::io::Result<()>>>,
    background: Background,
    flush: CancellationToken,
}

impl Platform {
    /// Starts everything these roles need, the embedded database included, and returns when requests are
    /// answered. Health and metrics answer from the beginning.
    pub async fn start(
        settings: Settings,
        roles: &[Role],
        listeners: Listeners,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let metrics = Metrics::install().map_err(|error| Failure::new(Exit::Failed, error))?;
        metrics::gauge!("hythe_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let health = Health::new(shutdown.clone());
        let public = listeners.public.local_addr().context("no local address")?;
        let operations = listeners.operations.as_ref().and_then(|listener| listener.local_addr().ok());
        let operations_server =
            listeners.operations.map(|listener| serve_operations(listener, &health, &metrics, &shutdown));

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

        let flush = CancellationToken::new();
        let drain_delay = Duration::from_millis(settings.http.drain_delay_ms);
        let mut background = Background::new(shutdown.clone(), drain_delay);
        spawn_all(&mut background, &domains, metrics, &flush);
        if roles.contains(&Role::Projects) {
            let watch = first_start::watch_admin_password(
                domains.identity.clone(),
                settings.data_dir.clone(),
                flush.clone(),
            );
            background.spawn("administrator's password", watch);
        }
        if let Some(worker) = worker {
            background.spawn("worker", worker.run(shutdown.stopping()));
        }
        let server = tokio::spawn({
            let mounts = assemble::mounts(roles, &domains, &settings);
            let config = settings.http.clone();
            let shutdown = shutdown.clone();
            async move { serve::run(listeners.public, mounts, &config, shutdown).await }
        });
        health.start(checks(roles, &domains)).await;
        Ok(Self {
            public,
            operations,
            domains,
            notice,
            shutdown,
            settings,
            found,
            server,
            operations_server,
            background,
            flush,
        })
    }

    /// Serves until shutdown begins, then ends everything in order.
    pub async fn run(self) -> Ending {
        let Self { shutdown, settings, server, background, flush, domains, found, .. } = self;
        let drain_delay = Duration::from_millis(settings.http.drain_delay_ms);
        let mut served = Ending::Orderly;
        let until = async {
            let failed = match server.await {
                Ok(Ok(())) if shutdown.is_draining() => None,
                Ok(Ok(())) => Some("it ended by itself".to_owned()),
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = failed {
                tracing::error!("the public listener failed: {reason}");
                served = Ending::Broken;
                shutdown.begin(drain_delay);
                shutdown.stopping().cancelled().await;
            }
            flush.cancel();
        };
        let tasks = background.watch(until, FLUSH_TIMEOUT).await;
        domains.database.close().await;
        found.release().await;
        shutdown.finish();
        if let Some(operations) = self.operations_server {
            match operations.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("the operations listener failed: {error}"),
                Err(error) => tracing::error!("the operations listener failed: {error}"),
            }
        }
        match (served, tasks) {
            (Ending::Orderly, Ending::Orderly) => Ending::Orderly,
            _ => Ending::Broken,
        }
    }
}

pub(crate) fn serve_operations(
    listener: TcpListener,
    health: &Health,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> JoinHandle<std::io::Result<()>> {
    let shown =
        Operations { health: health.clone(), metrics: metrics.clone(), version: env!("CARGO_PKG_VERSION") };
    tokio::spawn(serve::run_operations(listener, shown, shutdown.clone()))
}

/// The tasks every process has, whatever its roles. They outlive the listeners, because requests in flight
/// still fill what they write.
fn spawn_all(background: &mut Background, domains: &Domains, metrics: Metrics, flush: &CancellationToken) {
    let identity = domains.identity.clone();
    let until = flush.clone();
    background.spawn("identity", async move { identity.run(until).await });

    let pulls = domains.catalog.pulls.clone();
    let until = flush.clone();
    background.spawn("pull counters", async move { pulls.run(until.cancelled_owned()).await });

    let blobs = domains.catalog.blobs.clone();
    let until = flush.clone();
    background.spawn("damaged content", async move { blobs.watch_damage(until.cancelled_owned()).await });

    background.spawn("metrics", metrics.run(flush.clone()));
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
            for blobstore::Free { root, bytes } in free {
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

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
