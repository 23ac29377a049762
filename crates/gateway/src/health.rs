//! Looks at the upstreams now and then, so that one that has gone is noticed before a client is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::body::Outgoing;
use crate::pool::connect;
use crate::upstream::{Address, Group, Upstream};
use crate::{Config, pool};

/// A look that takes longer has failed.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often unused connections are looked through when nobody looks at upstreams.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Looks at every upstream of `group` until shutdown.
pub(crate) async fn watch(group: Arc<Group>, config: Config, shutdown: CancellationToken) {
    let looks = config.health_interval_seconds > 0;
    let interval = if looks { Duration::from_secs(config.health_interval_seconds) } else { SWEEP_INTERVAL };
    loop {
        let round = async {
            resolve(&group).await;
            let upstreams = group.upstreams();
            for upstream in upstreams.iter() {
                upstream.pool.sweep();
            }
            if looks {
                let all = upstreams.iter().map(|upstream| look(&group, upstream, &config));
                futures_util::future::join_all(all).await;
            }
            tokio::time::sleep(interval).await;
        };
        tokio::select! {
            () = round => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Asks which processes the names of a group stand for. A name that cannot be looked up keeps what it stood for.
async fn resolve(group: &Group) {
    let look_up = async |address: &Address| {
        let asked = tokio::net::lookup_host((address.host.as_str(), address.port));
        let found = timeout(LOOK_TIMEOUT, asked).await.ok()?.ok()?;
        let mut ips: Vec<IpAddr> = found.map(|socket| socket.ip()).collect();
        // A process that is reached over both protocols is one process.
        if ips.iter().any(IpAddr::is_ipv4) {
            ips.retain(IpAddr::is_ipv4);
        }
        ips.sort_unstable();
        ips.dedup();
        Some((address.clone(), ips))
    };
    let found = futures_util::future::join_all(group.names().map(look_up)).await;
    // A resolver that does not answer says nothing about the processes.
    if let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() {
        group.settle(&found);
    }
}

async fn look(group: &Group, upstream: &Upstream, config: &Config) {
    let outcome = match timeout(LOOK_TIMEOUT, ask(upstream, config)).await {
        Ok(outcome) => outcome,
        Err(_) => Err("no answer in time".to_owned()),
    };
    let changed = upstream.looked_at(outcome.is_ok());
    let address = upstream.address.authority();
    match outcome {
        Err(error) if changed => {
            tracing::warn!(
                service = group.name,
                upstream = address,
                error,
                "an upstream is not healthy: {error}"
            );
        }
        Ok(()) if changed => {
            tracing::info!(service = group.name, upstream = address, "an upstream is healthy again");
        }
        _ => {}
    }
    let up = if upstream.is_available() { 1.0 } else { 0.0 };
    metrics::gauge!("hythe_gateway_upstream_up", "service" => group.name, "upstream" => address).set(up);
}

async fn ask(upstream: &Upstream, config: &Config) -> Result<(), String> {
    let address = &upstream.address;
    let port = match config.health_port {
        0 => address.port,
        port => port,
    };
    let mut connection: pool::Connection =
        connect(address, port, LOOK_TIMEOUT).await.map_err(|error| error.to_string())?;
    let mut request = Request::new(Outgoing::Nothing);
    *request.uri_mut() = config.health_path.parse().map_err(|_| "health_path is not a path".to_owned())?;
    let host = HeaderValue::from_str(&address.authority()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("hythe-gateway"));
    let answer = connection.send_request(request).await.map_err(|error| error.to_string())?;
    match answer.status() {
        status if status.is_server_error() => Err(status.to_string()),
        _ => Ok(()),
    }
}
