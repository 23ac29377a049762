//! The public listener: mounts behind the checks of `middleware`, until shutdown.
//!
//! Every timeout and bound of the HTTP server is set here, none is left to a library's default.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};

use crate::middleware::{Front, front};
use crate::mount::ordered;
use crate::{Config, Mount, Shutdown, answer, check_prefixes};

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

    let server = HttpServer::new(move || {
        let state = Rc::new(Front {
            trusted: trusted.clone(),
            access_log,
            prefixes: prefixes.clone(),
            home: home.clone(),
        });
        let mut app = App::new();
        for mount in &mounts {
            app = app.configure(|config| (mount.configure)(config));
        }
        app.default_service(web::to(|| async { answer::not_found() }))
            .wrap(from_fn(move |request, next| front(state.clone(), request, next)))
    })
    .workers(config.worker_count())
    .worker_max_blocking_threads(config.worker_blocking_threads_max.max(1))
    .max_connections(config.connections_per_worker_max.max(1))
    .keep_alive(Duration::from_secs(config.keep_alive_seconds))
    .client_request_timeout(Duration::from_secs(config.request_head_timeout_seconds))
    .client_disconnect_timeout(Duration::from_secs(config.linger_timeout_seconds))
    .shutdown_timeout(config.drain_timeout_seconds)
    .tcp_nodelay(true)
    .shutdown_signal(shutdown.stopping().cancelled_owned())
    .listen(listener)?
    .run();
    server.await
}
