//! A running gateway: the table of paths and what is watched. Needs no database, no blobs and no key.

use std::time::Duration;

use gateway::{Gateway, Service};
use serve::Shutdown;

use crate::exit::{Exit, Failure};
use crate::process::{Listeners, Process};
use crate::settings::Settings;

/// How long metrics and looks at upstreams may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Every service that answers HTTP, and its paths. The console is the rest.
const SERVICES: [Service; 4] = [
    Service { name: "registry", prefixes: registry::PREFIXES },
    Service { name: "auth", prefixes: auth::PREFIXES },
    Service { name: "projects", prefixes: projects::PREFIXES },
    Service { name: "console", prefixes: console::PREFIXES },
];

/// Starts to serve; upstreams may come later.
pub(crate) async fn start(
    settings: Settings,
    listeners: Listeners,
    shutdown: Shutdown,
) -> Result<Process, Failure> {
    let Settings { gateway, http, .. } = settings;
    let mut process = Process::begin(listeners, &http, shutdown, END_TIMEOUT)?;
    let gateway = Gateway::new(&SERVICES, gateway, http).map_err(|error| {
        Failure::new(Exit::Configuration, error)
            .remedy("HYTHE_GATEWAY__UPSTREAMS__REGISTRY=http://registry:8080, and so for auth and projects")
    })?;
    process.background.spawn("upstreams", gateway.clone().watch(process.flush.clone()));
    process.started(vec![gateway.check()]).await;
    process.serve(|listener, shutdown| gateway.run(listener, shutdown));
    Ok(process)
}
