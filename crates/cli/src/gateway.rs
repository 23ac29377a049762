//! A running gateway: the table of paths, the listeners, and how it ends. Needs no database, no blobs and no key.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use gateway::{Gateway, Service};
use serve::{Health, Metrics, Shutdown};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::background::{Background, Ending};
use crate::exit::{Exit, Failure};
use crate::platform::{Listeners, serve_operations};
use crate::settings::Settings;

/// How long metrics and looks at upstreams may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Every service that answers HTTP, and its paths. The console is the rest.
const SERVICES: [Service; 4] = [
    Service { name: "registry", prefixes: registry::PREFIXES },
    Service { name: "auth", prefixes: auth::PREFIXES },
    Service { name: "projects", prefixes: projects::PREFIXES },
    Service { name: "console", prefixes: &["/"] },
];

/// A gateway that serves.
pub(crate) struct Entrance {
    pub public: SocketAddr,
    pub operations: Option<SocketAddr>,
    shutdown: Shutdown,
    drain_delay: Duration,
    server: JoinHandle<std::io::Result<()>>,
    operations_server: Option<JoinHandle<std::io::Result<()>>>,
    background: Background,
    flush: CancellationToken,
}

impl Entrance {
    /// Starts to serve; upstreams may come later.
    pub(crate) async fn start(
        settings: Settings,
        listeners: Listeners,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let Settings { gateway, http, .. } = settings;
        let drain_delay = Duration::from_millis(http.drain_delay_ms);
        let gateway = Gateway::new(&SERVICES, gateway, http).map_err(|error| {
            Failure::new(Exit::Configuration, error).remedy(
                "HYTHE_GATEWAY__UPSTREAMS__REGISTRY=http://registry:8080, and so for auth and projects",
            )
        })?;
        let metrics = Metrics::install().map_err(|error| Failure::new(Exit::Failed, error))?;
        metrics::gauge!("hythe_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let health = Health::new(shutdown.clone());
        let public = listeners.public.local_addr().context("no local address")?;
        let operations = listeners.operations.as_ref().and_then(|listener| listener.local_addr().ok());
        let operations_server =
            listeners.operations.map(|listener| serve_operations(listener, &health, &metrics, &shutdown));
        let flush = CancellationToken::new();
        let mut background = Background::new(shutdown.clone(), drain_delay);
        background.spawn("metrics", metrics.run(flush.clone()));
        background.spawn("upstreams", gateway.clone().watch(flush.clone()));
        health.start(vec![gateway.check()]).await;
        let server = tokio::spawn(gateway.run(listeners.public, shutdown.clone()));
        Ok(Self { public, operations, shutdown, drain_delay, server, operations_server, background, flush })
    }

    /// Serves until shutdown begins, then ends in order: requests, looks at upstreams, operations listener.
    pub(crate) async fn run(self) -> Ending {
        let Self { shutdown, drain_delay, server, background, flush, .. } = self;
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
        let tasks = background.watch(until, END_TIMEOUT).await;
        shutdown.finish();
        if let Some(Err(error)) = match self.operations_server {
            Some(operations) => Some(operations.await.map_err(std::io::Error::other).flatten()),
            None => None,
        } {
            tracing::error!("the operations listener failed: {error}");
        }
        match (served, tasks) {
            (Ending::Orderly, Ending::Orderly) => Ending::Orderly,
            _ => Ending::Broken,
        }
    }
}
