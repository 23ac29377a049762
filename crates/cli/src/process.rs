//! What every process is around its work: listeners, health, metrics, background tasks, and the order of the end.
//!
//! The end: public listener, background tasks, what the work itself has to close, operations listener. Whoever
//! builds a process ([`crate::platform`], [`crate::gateway`]) says what it serves and what has to be closed.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use nix::sys::socket::{Backlog, listen};
use serve::{Check, Health, Metrics, Operations, Shutdown};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::background::{Background, Ending};
use crate::exit::{Exit, Failure};
use crate::settings::Settings;

/// Connections the kernel keeps waiting while all workers are busy.
const BACKLOG: i32 = 1024;

/// Sockets that are bound and not yet served: a port that is taken shows before anything is started.
pub struct Listeners {
    /// None: nobody is served, as in a process of background jobs.
    pub public: Option<TcpListener>,
    pub operations: Option<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of the `http` section.
    pub fn bind(settings: &Settings, is_public: bool) -> Result<Self, Failure> {
        let public = is_public.then(|| bind(&settings.http.addr, "--listen")).transpose()?;
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

/// A process on its way from "starting" to its end.
pub struct Process {
    /// Where clients connect, if they do.
    pub public: Option<SocketAddr>,
    /// Where operators look.
    pub operations: Option<SocketAddr>,
    /// What the operator has to be told about a first start.
    pub notice: Option<String>,
    pub(crate) shutdown: Shutdown,
    pub(crate) background: Background,
    /// Cancelled after the last request: tasks write down what is buffered in memory, and end.
    pub(crate) flush: CancellationToken,
    health: Health,
    drain_delay: Duration,
    listener: Option<TcpListener>,
    server: Option<JoinHandle<std::io::Result<()>>>,
    operations_server: Option<JoinHandle<std::io::Result<()>>>,
    close: Pin<Box<dyn Future<Output = ()> + Send>>,
    flush_timeout: Duration,
}

impl Process {
    /// Health and metrics answer from here on; nothing is served yet. `flush_timeout` is what background tasks
    /// may take after the last request.
    pub(crate) fn begin(
        listeners: Listeners,
        http: &serve::Config,
        shutdown: Shutdown,
        flush_timeout: Duration,
    ) -> Result<Self, Failure> {
        let metrics = Metrics::install().map_err(|error| Failure::new(Exit::Failed, error))?;
        metrics::gauge!("hythe_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let health = Health::new(shutdown.clone());
        let address =
            |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        let public = address(&listeners.public).context("no local address")?;
        let operations = address(&listeners.operations).context("no local address")?;
        let operations_server = listeners.operations.map(|listener| {
            let shown = Operations {
                health: health.clone(),
                metrics: metrics.clone(),
                version: env!("CARGO_PKG_VERSION"),
            };
            tokio::spawn(serve::run_operations(listener, shown, shutdown.clone()))
        });
        let drain_delay = Duration::from_millis(http.drain_delay_ms);
        let flush = CancellationToken::new();
        let mut background = Background::new(shutdown.clone(), drain_delay);
        background.spawn("metrics", metrics.run(flush.clone()));
        Ok(Self {
            public,
            operations,
            notice: None,
            shutdown,
            background,
            flush,
            health,
            drain_delay,
            listener: listeners.public,
            server: None,
            operations_server,
            close: Box::pin(async {}),
            flush_timeout,
        })
    }

    /// Serves on the public listener, if there is one.
    pub(crate) fn serve<S>(&mut self, server: impl FnOnce(TcpListener, Shutdown) -> S)
    where
        S: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let Some(listener) = self.listener.take() else { return };
        self.server = Some(tokio::spawn(server(listener, self.shutdown.clone())));
    }

    /// Says what has to be closed when all background tasks have ended.
    pub(crate) fn close_with(&mut self, close: impl Future<Output = ()> + Send + 'static) {
        self.close = Box::pin(close);
    }

    /// The start is over: from now on readiness is what `checks` say.
    pub(crate) async fn started(&self, checks: Vec<Check>) {
        self.health.start(checks).await;
    }

    /// Goes on until shutdown begins, then ends everything in order.
    pub async fn run(self) -> Ending {
        let Self { shutdown, server, background, flush, .. } = self;
        let mut served = Ending::Orderly;
        let until = async {
            let failed = match server {
                None => {
                    shutdown.stopping().cancelled().await;
                    None
                }
                Some(server) => match server.await {
                    Ok(Ok(())) if shutdown.is_draining() => None,
                    Ok(Ok(())) => Some("it ended by itself".to_owned()),
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(error) => Some(error.to_string()),
                },
            };
            if let Some(reason) = failed {
                tracing::error!("the public listener failed: {reason}");
                served = Ending::Broken;
                shutdown.begin(self.drain_delay);
                shutdown.stopping().cancelled().await;
            }
            flush.cancel();
        };
        let tasks = background.watch(until, self.flush_timeout).await;
        self.close.await;
        shutdown.finish();
        if let Some(operations) = self.operations_server
            && let Err(error) = operations.await.map_err(std::io::Error::other).flatten()
        {
            tracing::error!("the operations listener failed: {error}");
        }
        match (served, tasks) {
            (Ending::Orderly, Ending::Orderly) => Ending::Orderly,
            _ => Ending::Broken,
        }
    }
}
