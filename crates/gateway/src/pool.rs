//! Connections to one upstream: made when needed, kept for a while when their request is over.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::body::Outgoing;
use crate::upstream::Address;

/// A connection over which one request at a time is sent.
pub(crate) type Connection = SendRequest<Outgoing>;

/// Unused connections, the one used last on top.
pub(crate) struct Pool {
    unused: Mutex<Vec<(Instant, Connection)>>,
    connections_max: usize,
    idle_max: Duration,
}

impl Pool {
    pub(crate) fn new(connections_max: usize, idle_max: Duration) -> Self {
        Self { unused: Mutex::default(), connections_max, idle_max }
    }

    fn unused(&self) -> MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An unused connection that the upstream has not closed, as far as is known.
    pub(crate) fn take(&self) -> Option<Connection> {
        let mut unused = self.unused();
        while let Some((since, connection)) = unused.pop() {
            if since.elapsed() > self.idle_max {
                // Those below are older still.
                unused.clear();
                return None;
            }
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose request is over.
    pub(crate) fn put(&self, connection: Connection) {
        let mut unused = self.unused();
        if unused.len() < self.connections_max {
            unused.push((Instant::now(), connection));
        }
    }

    /// Closes what has not been used for too long, or is closed already.
    pub(crate) fn sweep(&self) {
        let idle_max = self.idle_max;
        self.unused().retain(|(since, connection)| since.elapsed() <= idle_max && !connection.is_closed());
    }
}

/// A new connection, driven by a task of its own until either side closes it.
pub(crate) async fn connect(address: &Address, port: u16, patience: Duration) -> io::Result<Connection> {
    let host = (address.host.as_str(), port);
    let stream = timeout(patience, TcpStream::connect(host))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    stream.set_nodelay(true)?;
    let (connection, driver) =
        Builder::new().handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "a connection to an upstream ended: {error}");
        }
    });
    Ok(connection)
}
