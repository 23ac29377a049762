//! The public listener: guarded connections, mounts behind the checks of `middleware`, until shutdown.
//!
//! Every timeout and bound of the HTTP server is set here, none is left to a library's default. The server is
//! put together from actix's parts, because its ready-made one takes sockets only and not what guards them.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::{App, Error, web};
use tokio::net::TcpStream;

use crate::middleware::{Front, front};
use crate::mount::ordered;
use crate::{Admission, Config, Guarded, Mount, Rates, Rules, Shutdown, answer, check_prefixes};

/// Serves `mounts` on `listener` until `shutdown` is stopping and requests in flight are done, at most
/// `drain_timeout_seconds`. Takes a bound listener so that callers know the port. Call it inside the
/// multi-thread runtime that owns the database pool: services run with that runtime entered.
///
/// Fails when two mounts want the same paths, a trusted proxy is not an address, or the server cannot start.
pub async fn run(
    listener: TcpListener,
    mounts: Vec<Mount>,
    config: &Config,
    shutdown: Shutdown,
) -> io::Result<()> {
    check_prefixes(&mounts).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let trusted =
        config.trusted_networks().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mounts = ordered(mounts);
    let prefixes: Vec<_> =
        mounts.iter().flat_map(|mount| mount.prefixes.iter().map(|prefix| (mount.name, *prefix))).collect();
    let home = tokio::runtime::Handle::current();
    let access_log = config.access_log;
    let limits = Arc::new(config.limits.clone());
    let rates = Arc::new(Rates::new(&limits));
    let admission = Admission::new(limits.connections_per_address_max, trusted.clone());
    let keep_alive = Duration::from_secs(config.keep_alive_seconds);
    let linger = Duration::from_secs(config.linger_timeout_seconds);
    let rules = Rules::new(&limits, linger, false);
    let workers = config.worker_count();

    let builder = Server::build()
        .workers(workers)
        .worker_max_blocking_threads(config.worker_blocking_threads_max.max(1))
        .max_concurrent_connections(limits.connections(1).div_ceil(workers))
        .shutdown_timeout(config.drain_timeout_seconds)
        .shutdown_signal(shutdown.stopping().cancelled_owned());
    let draining = builder.graceful_shutdown_signal();
    let server = builder.listen("public", listener, move || {
        let state = Rc::new(Front {
            trusted: trusted.clone(),
            access_log,
            prefixes: prefixes.clone(),
            limits: limits.clone(),
            rates: rates.clone(),
            home: home.clone(),
        });
        let mut app = App::new();
        for mount in &mounts {
            app = app.configure(|config| (mount.configure)(config));
        }
        let app = app
            .default_service(web::to(|| async { answer::not_found() }))
            .wrap(from_fn(move |request, next| front(state.clone(), request, next)))
            .into_factory()
            .map_err(|error: Error| error.error_response());
        let draining = draining.clone();
        let http = HttpService::build()
            .keep_alive(keep_alive)
            // The guard sees to heads, of later requests too.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(linger)
            .graceful_shutdown_signal(move || {
                let draining = draining.clone();
                async move { draining.notified().await }
            })
            .finish(map_config(app, |()| AppConfig::default()));
        let (admission, rules) = (admission.clone(), rules.clone());
        fn_service(move |stream: TcpStream| {
            let connection = accept(stream, &admission, &rules);
            async move { connection.map_err(actix_http::error::DispatchError::from) }
        })
        .and_then(http)
    })?;
    server.run().await
}

/// A guarded connection, unless its address has too many. The one place where a connection comes in.
fn accept(
    stream: TcpStream,
    admission: &Admission,
    rules: &Arc<Rules>,
) -> io::Result<(Guarded<TcpStream>, Protocol, Option<std::net::SocketAddr>)> {
    let peer = stream.peer_addr()?;
    let place = admission
        .admit(peer.ip())
        .ok_or_else(|| io::Error::new(io::ErrorKind::QuotaExceeded, "too many connections"))?;
    stream.set_nodelay(true)?;
    Ok((Guarded::new(stream, rules.clone(), place), Protocol::Http1, Some(peer)))
}
