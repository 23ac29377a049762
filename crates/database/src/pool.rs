//! The database as a process sees it: single statements, transactions, notifications.
//!
//! Invariant: `begin`, `ping`, `commit` and `close` end within five seconds whatever the network does.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

use crate::connections::{Connection, Pool, TRUSTED};
use crate::{Clock, Config, Error};

/// Upper bound of `acquire_timeout_ms`: with the second added for the statement itself, an answer still comes
/// within the five seconds that a request may take while the database is away.
const ACQUIRE_TIMEOUT_MS_MAX: u64 = 4000;

/// What `begin` and `ping` may take on top of waiting for a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(900);

/// The server ends a transaction that does nothing for this long: its owner is gone, and its locks stop others.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "30000";

/// A commit has to flush to the disk, which a slow disk makes longer than a statement.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(4900);

/// Closing waits for connections in use; their owners get this long.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The database as this process sees it: a pool and the clock. Clone freely; every clone is the same pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    options: PgConnectOptions,
    acquire_timeout: Duration,
    clock: Clock,
}

impl Database {
    /// Connects with the timeouts of `config` and checks that the server answers.
    ///
    /// [`Error::Unavailable`] when it does not answer within five seconds; [`Error::Other`] when the URL is
    /// malformed or the server refuses the credentials.
    pub async fn connect(url: &str, config: &Config, clock: Clock) -> Result<Self, Error> {
        let options = connect_options(url, config)?;
        let acquire_timeout =
            Duration::from_millis(config.acquire_timeout_ms.clamp(1, ACQUIRE_TIMEOUT_MS_MAX));
        let pool = Pool::new(options.clone(), config.pool_max, acquire_timeout)?;
        let database = Self { pool, options, acquire_timeout, clock };
        database.ping().await?;
        Ok(database)
    }

    /// The pool, for single statements: `sqlx::query!(..).fetch_one(database.pool())`.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Begins a transaction. When a pooled connection turns out to be dead, which is how a restart of the server
    /// shows, it tries once more on one that has been tested.
    pub async fn begin(&self) -> Result<Tx, Error> {
        self.bounded("begin", async {
            let mut connection = self.pool.acquire().await?;
            if let Err(err) = connection.begin().await {
                if !is_stale(&err) {
                    return Err(err.into());
                }
                drop(connection);
                self.distrust().await;
                connection = self.pool.acquire().await?;
                connection.begin().await?;
            }
            Ok(Tx(connection))
        })
        .await
    }

    /// The clock of the process.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// One round trip to the server, for readiness checks.
    pub async fn ping(&self) -> Result<(), Error> {
        self.bounded("ping", async {
            match self.pool.acquire().await?.ping().await {
                Err(err) if is_stale(&err) => {
                    self.distrust().await;
                    Ok(self.pool.acquire().await?.ping().await?)
                }
                first => Ok(first?),
            }
        })
        .await
    }

    /// Whether every migration of this binary has been applied, for readiness checks. A newer schema is current.
    pub async fn schema_is_current(&self) -> Result<bool, Error> {
        self.bounded("schema check", async {
            let mut connection = self.pool.acquire().await?;
            Ok(crate::migrate::pending(&mut connection).await?.is_empty())
        })
        .await
    }

    /// Closes the pool; whoever asks for a connection later gets [`Error::Unavailable`].
    pub async fn close(&self) {
        // A connection whose peer is gone cannot say goodbye; the process ends anyway.
        if tokio::time::timeout(CLOSE_TIMEOUT, self.pool.close()).await.is_err() {
            tracing::warn!("connections were still in use when the pool was closed");
        }
    }

    /// Listens on a notification channel over a connection of its own, beside the pool.
    ///
    /// The listener connects again by itself after a loss, but what was sent meanwhile is gone: poll as well.
    pub async fn listen(&self, channel: &str) -> Result<PgListener, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(self.acquire_timeout)
            .connect_lazy_with(self.options.clone());
        self.bounded("listen", async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(channel).await?;
            Ok(listener)
        })
        .await
    }

    /// Connections in use and connections idle, for metrics.
    pub fn pool_status(&self) -> (usize, usize) {
        self.pool.status()
    }

    /// Where one connection was dead the others are too. After this pause none of them is trusted without a
    /// ping any more.
    async fn distrust(&self) {
        tokio::time::sleep(TRUSTED).await;
    }

    async fn bounded<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(self.acquire_timeout + ANSWER_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| Err(Error::timed_out(what)))
    }
}

/// A transaction. Pass `&mut Tx` between crates and run statements on `&mut *tx` (or `&mut **tx` when `tx` is
/// itself a reference). Dropped without [`Tx::commit`] it is rolled back.
pub struct Tx(Connection);

impl Tx {
    /// Makes everything done here durable. After [`Error::Unavailable`] nobody knows whether it is.
    pub async fn commit(self) -> Result<(), Error> {
        self.finish("commit").await
    }

    /// Undoes everything now, instead of when the connection is next used.
    pub async fn rollback(self) -> Result<(), Error> {
        self.finish("rollback").await
    }

    async fn finish(mut self, statement: &'static str) -> Result<(), Error> {
        match tokio::time::timeout(COMMIT_TIMEOUT, self.0.finish(statement)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Error::timed_out(statement)),
        }
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// Whether the connection was dead before the statement reached the server, so that a fresh one may do better.
/// Waiting in vain for a connection is not that.
fn is_stale(err: &sqlx::Error) -> bool {
    match err {
        // `Protocol`: the line broke within a message.
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(answer) => {
            matches!(answer.code().as_deref(), Some("57P01" | "57P02" | "57P05"))
        }
        _ => false,
    }
}

/// Timeouts travel in the start-up packet, so they cost no statement and survive a `RESET ALL`.
fn connect_options(url: &str, config: &Config) -> Result<PgConnectOptions, Error> {
    Ok(PgConnectOptions::from_str(url)?.application_name("hythe").options([
        ("statement_timeout", config.statement_timeout_ms.to_string().as_str()),
        ("lock_timeout", config.lock_timeout_ms.to_string().as_str()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
        // The server's side of a half-open connection, so that locks of a vanished process are freed soon.
        // Ignored on Unix sockets.
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "10000"),
        ("TimeZone", "UTC"),
    ]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Instant;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;
    use crate::testing;

    fn impatient() -> Config {
        Config { acquire_timeout_ms: 300, ..Config::default() }
    }

    async fn project(tx: &mut Tx, name: &str, owner: i64) -> Result<(), Error> {
        let insert = sqlx::query("insert into tenancy.projects (name, owner_id) values ($1, $2)");
        insert.bind(name).bind(owner).execute(&mut **tx).await?;
        Ok(())
    }

    async fn user(database: &Database, name: &str) -> i64 {
        let insert = sqlx::query_scalar("insert into identity.users (username) values ($1) returning id");
        insert.bind(name).fetch_one(database.pool()).await.unwrap()
    }

    #[tokio::test]
    async fn refused_rows_name_their_constraint() {
        let database = testing::database().await;
        let ana = user(&database, "ana").await;

        let mut tx = database.begin().await.unwrap();
        project(&mut tx, "library", ana).await.unwrap();
        let err = project(&mut tx, "library", ana).await.unwrap_err();
        assert!(
            matches!(&err, Error::Conflict { constraint } if constraint == "projects_name_key"),
            "{err:?}"
        );
        assert_eq!(err.constraint(), Some("projects_name_key"));

        let mut tx = database.begin().await.unwrap();
        let err = project(&mut tx, "library", ana + 1).await.unwrap_err();
        assert!(
            matches!(&err, Error::Reference { constraint } if constraint == "projects_owner_id_fkey"),
            "{err:?}"
        );
        assert!(!err.is_unavailable());
    }

    #[tokio::test]
    async fn only_a_commit_keeps_what_was_written() {
        let database = testing::database().await;
        let ana = user(&database, "ana").await;
        for (name, commit) in [("kept", true), ("dropped", false)] {
            let mut tx = database.begin().await.unwrap();
            project(&mut tx, name, ana).await.unwrap();
            if commit {
                tx.commit().await.unwrap();
            }
        }
        let mut tx = database.begin().await.unwrap();
        project(&mut tx, "undone", ana).await.unwrap();
        tx.rollback().await.unwrap();
        let names: Vec<String> = sqlx::query_scalar("select name::text from tenancy.projects")
            .fetch_all(database.pool())
            .await
            .unwrap();
        assert_eq!(names, ["kept"]);
    }

    #[tokio::test]
    async fn one_side_of_a_deadlock_may_retry() {
        let database = testing::database().await;
        for name in ["ana", "bob"] {
            user(&database, name).await;
        }
        async fn lock(tx: &mut Tx, name: &str) -> Result<(), Error> {
            let update = sqlx::query("update identity.users set comment = 'x' where username = $1");
            update.bind(name).execute(&mut **tx).await?;
            Ok(())
        }
        let (mut one, mut other) = (database.begin().await.unwrap(), database.begin().await.unwrap());
        lock(&mut one, "ana").await.unwrap();
        lock(&mut other, "bob").await.unwrap();
        let crossing = async {
            let result = lock(&mut one, "bob").await;
            drop(one);
            result
        };
        let (first, second) = tokio::join!(crossing, async {
            let result = lock(&mut other, "ana").await;
            drop(other);
            result
        });
        let lost = [first, second].into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert!(matches!(lost[..], [Error::Retry(_)]), "{lost:?}");
    }

    #[tokio::test]
    async fn slow_statements_and_long_waits_for_locks_are_ended() {
        let config = Config { statement_timeout_ms: 100, lock_timeout_ms: 50, ..Config::default() };
        let database = testing::database_with(&config).await;
        let err = Error::from(sqlx::query("select pg_sleep(5)").execute(database.pool()).await.unwrap_err());
        assert!(matches!(err, Error::Unavailable(_)), "{err:?}");

        user(&database, "ana").await;
        let mut holder = database.begin().await.unwrap();
        let select = "select 1 from identity.users for update";
        sqlx::query(select).execute(&mut *holder).await.unwrap();
        let err = Error::from(sqlx::query(select).execute(database.pool()).await.unwrap_err());
        let Error::Unavailable(sqlx::Error::Database(answer)) = &err else { panic!("{err:?}") };
        assert_eq!(answer.code().as_deref(), Some("55P03"));
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_noticed_in_time() {
        // Nobody listens; somebody listens and never says a word.
        let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = refused.local_addr().unwrap().port();
        drop(refused);
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for port in [port, silent.local_addr().unwrap().port()] {
            let started = Instant::now();
            let url = format!("postgres://ana@127.0.0.1:{port}/hythe");
            let result = Database::connect(&url, &impatient(), Clock::system()).await;
            assert!(matches!(result.err(), Some(Error::Unavailable(_))));
            assert!(started.elapsed() < Duration::from_secs(5));
        }
    }

    #[tokio::test]
    async fn a_pool_in_full_use_and_a_closed_one_are_unavailable() {
        let database = testing::database_with(&Config { pool_max: 1, ..impatient() }).await;
        let held = database.begin().await.unwrap();
        assert_eq!(database.pool_status(), (1, 0));
        assert!(matches!(database.begin().await.err(), Some(Error::Unavailable(_))));
        drop(held);
        database.begin().await.unwrap().commit().await.unwrap();
        database.close().await;
        assert!(matches!(database.ping().await, Err(Error::Unavailable(_))));
    }

    #[tokio::test]
    async fn connections_that_the_server_ended_are_replaced() {
        let database = testing::database().await;
        // Several, all of them fresh, so that none of them is tested before it is handed out.
        let held = [
            database.begin().await.unwrap(),
            database.begin().await.unwrap(),
            database.begin().await.unwrap(),
        ];
        drop(held);
        while database.pool_status() != (0, 3) {
            tokio::task::yield_now().await;
        }
        let ended: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
             where usename = 'hythe_app' and datname = current_database()",
        )
        .fetch_one(database.owner())
        .await
        .unwrap();
        assert_eq!(ended, 3);
        database.begin().await.unwrap().commit().await.unwrap();
        database.ping().await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_whose_peer_is_silent_is_replaced() {
        let database = testing::database().await;
        let mut connection = database.pool().acquire().await.unwrap();
        let pid: i32 =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *connection).await.unwrap();
        drop(connection);
        tokio::time::sleep(TRUSTED * 2).await;
        // As good as a pulled cable: the socket stays open and nothing comes.
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        let started = Instant::now();
        let begun = database.begin().await;
        kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
        begun.unwrap().commit().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_listener_hears_and_takes_no_connection_from_the_pool() {
        let database = testing::database().await;
        let mut listener = database.listen("hythe_queue").await.unwrap();
        // What made the database gives its connection back a moment later.
        let returned = async {
            while database.pool_status().0 > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), returned).await.unwrap();
        sqlx::query("select pg_notify('hythe_queue', 'x')").execute(database.pool()).await.unwrap();
        assert_eq!(listener.recv().await.unwrap().payload(), "x");
    }

    #[tokio::test]
    async fn sessions_carry_their_name_and_limits() {
        let database = testing::database().await;
        let settings: Vec<String> = sqlx::query_scalar(
            "select setting from pg_settings where name in ('application_name', 'statement_timeout', 'lock_timeout',
             'idle_in_transaction_session_timeout') order by name",
        )
        .fetch_all(database.pool())
        .await
        .unwrap();
        assert_eq!(settings, ["hythe", "30000", "3000", "4500"]);
    }

    #[tokio::test]
    async fn statements_are_counted() {
        let database = testing::database().await;
        let before = database.statements().await;
        let mut tx = database.begin().await.unwrap();
        for _ in 0..3 {
            sqlx::query("select count(*) from identity.users").execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(database.statements().await - before, 3);
    }
}
