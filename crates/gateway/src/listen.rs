//! The public listener: accepts, guards, and drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serve::{Admission, Guarded, Rules, Shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::Gateway;

/// How long nothing is accepted after an error that will not pass at once, such as no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// How long a connection that has not asked anything yet may still do so while the gateway ends.
const NEWCOMER_PATIENCE: Duration = Duration::from_secs(1);
/// Descriptors per client: its connection, and one to an upstream.
const DESCRIPTORS: usize = 2;

impl Gateway {
    /// Serves on `listener` until `shutdown` is stopping and requests in flight are done, at most
    /// `http.drain_timeout_seconds`.
    pub async fn run(self, listener: std::net::TcpListener, shutdown: Shutdown) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let local = listener.local_addr()?;
        let http = &self.shared.http;
        let places = Arc::new(Semaphore::new(http.limits.connections(DESCRIPTORS)));
        let admission = Admission::new(http.limits.connections_per_address_max, self.shared.trusted.clone());
        let rules = Rules::new(&http.limits, Duration::from_secs(http.linger_timeout_seconds), true);
        let stopping = shutdown.stopping();
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = next(&listener, &places) => accepted,
                () = stopping.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    if let Some(guarded) = accept(stream, peer, &admission, &rules) {
                        let serving = self.clone().serve(guarded, peer, local, shutdown.clone(), place);
                        connections.spawn(serving);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        connections.close();
        let patience = Duration::from_secs(http.drain_timeout_seconds);
        if tokio::time::timeout(patience, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests did not end in time and are given up");
        }
        Ok(())
    }

    /// One connection, request after request.
    async fn serve(
        self,
        stream: Guarded<TcpStream>,
        peer: SocketAddr,
        local: SocketAddr,
        shutdown: Shutdown,
        _place: OwnedSemaphorePermit,
    ) {
        let http = &self.shared.http;
        let keep_alive = Duration::from_secs(http.keep_alive_seconds);
        let gateway = self.clone();
        let asked = Arc::new(AtomicBool::new(false));
        let noted = asked.clone();
        let service = service_fn(move |request| {
            noted.store(true, Ordering::Relaxed);
            let gateway = gateway.clone();
            async move { Ok::<_, std::convert::Infallible>(gateway.answer(request, peer, local).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The guard hands over whole heads: what is left to wait for is the next request.
            .header_read_timeout(keep_alive)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = shutdown.stopping().cancelled_owned() => {
                connection.as_mut().graceful_shutdown();
                // An idle connection is closed at once, but the library waits for the first request of a new one.
                tokio::select! {
                    ended = &mut connection => ended,
                    () = silent(&asked) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a client's connection ended: {error}");
        }
    }
}

/// Comes when nothing was asked for a moment; never after a request.
async fn silent(asked: &AtomicBool) {
    tokio::time::sleep(NEWCOMER_PATIENCE).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// The next connection, when there is a place for it. Until then clients wait in the backlog.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Ok((stream, peer, place)),
            // The client's fault, and over already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A guarded connection, unless its address has too many. The one place where a connection comes in: whatever
/// encrypts it stands between the socket and the guard, here.
fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    admission: &Admission,
    rules: &Arc<Rules>,
) -> Option<Guarded<TcpStream>> {
    let place = admission.admit(peer.ip())?;
    // A connection that cannot be told is slower, not wrong.
    let _ = stream.set_nodelay(true);
    Some(Guarded::new(stream, rules.clone(), place))
}
