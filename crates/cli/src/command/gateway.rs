//! `hythe gateway`: the entrance in front of other roles.

use std::time::Duration;

use serve::Shutdown;
use serve::telemetry;

use crate::background::Ending;
use crate::exit::{Exit, Failure};
use crate::gateway::Entrance;
use crate::platform::Listeners;
use crate::settings::Loaded;

/// Runs until a signal.
pub(super) async fn run(loaded: Loaded) -> Result<Exit, Failure> {
    let Loaded { settings, merged, warnings } = loaded;
    let log = settings.log.clone();
    telemetry::init(&log).map_err(|error| Failure::new(Exit::Configuration, error))?;
    let shutdown = Shutdown::new();
    shutdown
        .follow_signals(Duration::from_millis(settings.http.drain_delay_ms))
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, "starting the gateway; beside the defaults: {}", merged.differences());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let listeners = Listeners::bind(&settings)?;
    let entrance = Entrance::start(settings, listeners, shutdown).await?;
    let mut lines = vec![format!("listening on http://{}", entrance.public)];
    lines.extend(entrance.operations.map(|address| format!("operations on http://{address}")));
    for line in lines {
        if let Err(error) = telemetry::announce(&log, &line) {
            tracing::warn!("standard output is gone: {error}");
        }
    }
    let ending = entrance.run().await;
    tracing::info!("stopped");
    Ok(match ending {
        Ending::Orderly => Exit::Done,
        Ending::Broken => Exit::Failed,
    })
}
