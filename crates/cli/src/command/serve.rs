//! The commands that run until they are told to end: `hythe serve`, every service in one process, `hythe registry`
//! and its like, one service each, and `hythe gateway`, the entrance in front of them.

use std::future::Future;
use std::time::Duration;

use serve::Shutdown;
use serve::telemetry;

use crate::background::Ending;
use crate::exit::{Exit, Failure};
use crate::process::{Listeners, Process};
use crate::role::Role;
use crate::settings::{Loaded, Settings};
use crate::{gateway, platform};

/// Runs these roles.
pub(super) async fn run(loaded: Loaded, roles: &[Role]) -> Result<Exit, Failure> {
    let is_public = roles.iter().any(|role| role.is_public());
    let names_itself = loaded.settings.http.external_url.is_some();
    until_signal(loaded, is_public, |settings, listeners, shutdown| {
        if is_public && !names_itself {
            tracing::warn!("http.external_url is not set: the token realm follows the Host of each request");
        }
        platform::start(settings, roles, listeners, shutdown)
    })
    .await
}

/// Runs the gateway.
pub(super) async fn run_gateway(loaded: Loaded) -> Result<Exit, Failure> {
    until_signal(loaded, true, gateway::start).await
}

/// Runs until a signal, or until something it cannot do without breaks.
async fn until_signal<S>(
    loaded: Loaded,
    is_public: bool,
    start: impl FnOnce(Settings, Listeners, Shutdown) -> S,
) -> Result<Exit, Failure>
where
    S: Future<Output = Result<Process, Failure>>,
{
    let Loaded { settings, merged, warnings } = loaded;
    let log = settings.log.clone();
    telemetry::init(&log).map_err(|error| Failure::new(Exit::Configuration, error))?;
    let shutdown = Shutdown::new();
    shutdown
        .follow_signals(Duration::from_millis(settings.http.drain_delay_ms))
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        data_dir = %settings.data_dir.display(),
        "starting; beside the defaults: {}", merged.differences()
    );
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let listeners = Listeners::bind(&settings, is_public)?;
    let process = tokio::select! {
        started = start(settings, listeners, shutdown.clone()) => started?,
        () = shutdown.draining().cancelled_owned() => {
            tracing::info!("stopped before it was ready");
            return Ok(Exit::Done);
        }
    };
    let mut lines = Vec::new();
    lines.extend(process.notice.clone());
    lines.extend(process.public.map(|address| format!("listening on http://{address}")));
    lines.extend(process.operations.map(|address| format!("operations on http://{address}")));
    for line in lines {
        if let Err(error) = telemetry::announce(&log, &line) {
            tracing::warn!("standard output is gone: {error}");
        }
    }
    let ending = process.run().await;
    tracing::info!("stopped");
    Ok(match ending {
        Ending::Orderly => Exit::Done,
        Ending::Broken => Exit::Failed,
    })
}
