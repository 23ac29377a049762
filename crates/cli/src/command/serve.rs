//! `hythe serve`, every service in one process, and `hythe registry` and its like, one service each.

use std::time::Duration;

use serve::Shutdown;
use serve::telemetry;

use crate::background::Ending;
use crate::exit::{Exit, Failure};
use crate::platform::{Listeners, Platform};
use crate::role::Role;
use crate::settings::Loaded;

/// Runs until a signal, or until something it cannot do without breaks.
pub(super) async fn run(loaded: Loaded, roles: &[Role]) -> Result<Exit, Failure> {
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
    if settings.http.external_url.is_none() {
        tracing::warn!("http.external_url is not set: the token realm follows the Host of each request");
    }
    let listeners = Listeners::bind(&settings)?;
    let start = Platform::start(settings, roles, listeners, shutdown.clone());
    let platform = tokio::select! {
        started = start => started?,
        () = shutdown.draining().cancelled_owned() => {
            tracing::info!("stopped before it was ready");
            return Ok(Exit::Done);
        }
    };
    let mut lines = Vec::new();
    lines.extend(platform.notice.clone());
    lines.push(format!("listening on http://{}", platform.public));
    lines.extend(platform.operations.map(|address| format!("operations on http://{address}")));
    for line in lines {
        if let Err(error) = telemetry::announce(&log, &line) {
            tracing::warn!("standard output is gone: {error}");
        }
    }
    let ending = platform.run().await;
    tracing::info!("stopped");
    Ok(match ending {
        Ending::Orderly => Exit::Done,
        Ending::Broken => Exit::Failed,
    })
}
