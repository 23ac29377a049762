//! A bad line between the platform and its PostgreSQL: a TCP relay whose faults a test switches on and off.
//!
//! Looks at no byte of what it carries, so it can cut a message anywhere. It acknowledges what it holds back, as a
//! middlebox does: neither end can tell a silent line from a slow one.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What the line does to everything that goes over it, from the moment it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Whole,
    /// Every piece, in both directions, takes `delay` and up to `jitter` more.
    Slow {
        delay: Duration,
        jitter: Duration,
    },
    /// Connections are reset after a random number of bytes.
    Reset(RangeInclusive<u64>),
    /// Answers end after a random number of bytes, in good order, as if PostgreSQL had closed.
    Truncated(RangeInclusive<u64>),
    /// Nothing arrives while this lasts; connections stay open, and what was sent arrives afterwards.
    Silent,
    /// Connections that are open now stay open and carry nothing any more, ever; new ones are whole.
    Forgotten,
}

/// A relay in front of one PostgreSQL.
pub struct Relay {
    url: String,
    line: watch::Sender<(u64, Line)>,
    accepted: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
enum Target {
    Tcp(String),
    Unix(String),
}

impl Relay {
    /// In front of the server that `url` names.
    pub async fn start(url: &str) -> Relay {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (authority, database) = rest.split_once('/').expect("a URL with a database");
        let (user, host) = authority.rsplit_once('@').expect("a URL with an account");
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "5432"));
        let target = match name.starts_with("%2F") {
            true => Target::Unix(format!("{}/.s.PGSQL.{port}", name.replace("%2F", "/"))),
            false => Target::Tcp(format!("{name}:{port}")),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (line, watched) = watch::channel((0, Line::Whole));
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, target, watched, accepted.clone()));
        let url = format!("{scheme}://{user}@{address}/{database}");
        Relay { url, line, accepted, task }
    }

    /// The URL of the database through this relay.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Changes what the line does, for connections that are open and for new ones.
    pub fn set(&self, line: Line) {
        self.line.send_modify(|now| *now = (now.0 + 1, line));
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: Target,
    line: watch::Receiver<(u64, Line)>,
    accepted: Arc<AtomicUsize>,
) {
    // Ends all connections with the relay.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        let (target, line) = (target.clone(), line.clone());
        connections.spawn(async move {
            match &target {
                Target::Tcp(address) => {
                    if let Ok(server) = TcpStream::connect(address).await {
                        carry(client, server, line).await;
                    }
                }
                Target::Unix(path) => {
                    if let Ok(server) = UnixStream::connect(path).await {
                        carry(client, server, line).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// How one direction of a connection ended.
#[derive(PartialEq, Eq)]
enum End {
    InOrder,
    Reset,
    Forgotten,
}

/// Ends both directions when one does.
async fn carry<S>(client: TcpStream, server: S, line: watch::Receiver<(u64, Line)>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut client_in, mut client_out) = client.into_split();
    let (mut server_in, mut server_out) = tokio::io::split(server);
    let born = line.borrow().0;
    let ended = tokio::select! {
        ended = pump(&mut client_in, &mut server_out, line.clone(), born, false) => ended,
        ended = pump(&mut server_in, &mut client_out, line, born, true) => ended,
    };
    drop((server_in, server_out));
    match ended {
        End::InOrder => {
            client_out.shutdown().await.ok();
        }
        End::Reset => {
            client_in.as_ref().set_zero_linger().ok();
        }
        // PostgreSQL finds out by its keepalives. The client hears nothing until it gives up.
        End::Forgotten => {
            let mut unheard = vec![0; 16 << 10];
            while matches!(client_in.read(&mut unheard).await, Ok(length) if length > 0) {}
        }
    }
}

async fn pump(
    source: &mut (impl AsyncRead + Unpin),
    sink: &mut (impl AsyncWrite + Unpin),
    mut line: watch::Receiver<(u64, Line)>,
    born: u64,
    is_answer: bool,
) -> End {
    let mut buffer = vec![0; 16 << 10];
    // Bytes that may still pass, and the setting of the line that says so.
    let mut budget = (0, u64::MAX);
    loop {
        let read = tokio::select! {
            // A fault has to reach connections that say nothing, too.
            biased;
            changed = line.changed() => {
                if changed.is_err() {
                    return End::Reset;
                }
                None
            }
            read = source.read(&mut buffer) => Some(read),
        };
        let (mut number, mut now) = line.borrow_and_update().clone();
        if now == Line::Forgotten && number > born {
            return End::Forgotten;
        }
        let length = match read {
            None => continue,
            Some(Err(_)) => return End::Reset,
            Some(Ok(0)) => return End::InOrder,
            Some(Ok(length)) => length,
        };
        while now == Line::Silent {
            if line.changed().await.is_err() {
                return End::Reset;
            }
            (number, now) = line.borrow_and_update().clone();
        }
        if budget.0 != number {
            let bytes = match &now {
                Line::Reset(bytes) => rand::random_range(bytes.clone()),
                Line::Truncated(bytes) if is_answer => rand::random_range(bytes.clone()),
                _ => u64::MAX,
            };
            budget = (number, bytes);
        }
        if let Line::Slow { delay, jitter } = now {
            tokio::time::sleep(delay + jitter.mul_f64(rand::random())).await;
        }
        let passing = usize::try_from(budget.1).unwrap_or(usize::MAX).min(length);
        budget.1 -= passing as u64;
        if sink.write_all(&buffer[..passing]).await.is_err() || sink.flush().await.is_err() {
            return End::Reset;
        }
        if passing < length {
            return if matches!(now, Line::Reset(_)) { End::Reset } else { End::InOrder };
        }
    }
}
