//! The pool of connections.
//!
//! sqlx's own pool asks every connection that comes back whether it still answers, and hands out the one that
//! has rested longest. On a registry's short statements the first doubles the round trips and the second makes
//! every session plan every statement for itself. This one trusts a connection whose statement ended, and hands
//! out the one used last.
//!
//! Invariant: a connection whose statement or transaction was abandoned is asked, within a bound, before anybody
//! gets it, and closed when it does not answer. sqlx offers no socket options, so without the bound a peer that
//! vanished without a word (power cut, dropped packets) would hang it for a quarter of an hour.

use std::fmt;
use std::future::Future;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection as _, Either, Execute, Executor, PgConnection, Postgres, SqlStr};

/// A healthy server answers a ping in far less than a millisecond; this only has to survive a busy machine.
const PING_TIMEOUT: Duration = Duration::from_millis(1500);

/// A connection handed out this recently is handed out again without a ping. Short enough that after a restart
/// of the server almost every stale connection is noticed, long enough that a busy pool never pings.
pub(crate) const TRUSTED: Duration = Duration::from_millis(200);

/// A session that nobody has needed for this long is ended; the server's memory for it is some megabytes.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// A session is ended at this age, so that what it has remembered about statements does not grow for ever.
const AGE_MAX: Duration = Duration::from_secs(1800);

/// How often sessions that nobody needs are looked for, at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Pauses between attempts to reach a server that is starting or has no free session.
const CONNECT_BACKOFF: Duration = Duration::from_millis(10);
const CONNECT_BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Connections to one database. Clone freely; every clone is the same pool. `&Pool` runs single statements:
/// `sqlx::query!(..).fetch_one(pool)`.
#[derive(Clone)]
pub struct Pool {
    sessions: managed::Pool<Sessions>,
    acquire_timeout: Duration,
    swept: Arc<Mutex<Instant>>,
}

impl Pool {
    /// A pool of at most `size` connections, none of which is open yet. Whoever waits for one longer than
    /// `acquire_timeout` gets [`sqlx::Error::PoolTimedOut`].
    pub(crate) fn new(
        options: PgConnectOptions,
        size: u32,
        acquire_timeout: Duration,
    ) -> Result<Self, sqlx::Error> {
        let sessions = managed::Pool::builder(Sessions { options })
            .max_size(usize::try_from(size.max(1)).unwrap_or(usize::MAX))
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| sqlx::Error::Configuration(error.into()))?;
        Ok(Self { sessions, acquire_timeout, swept: Arc::new(Mutex::new(Instant::now())) })
    }

    /// A connection for several statements. What is left unfinished on it costs whoever drops it nothing; see the
    /// invariant of the module.
    pub async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        self.sweep();
        match tokio::time::timeout(self.acquire_timeout, self.sessions.get()).await {
            Ok(Ok(session)) => Ok(Connection { session: Some(session), state: State::Settled }),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
            Ok(Err(_)) | Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// No new connections, none to anybody who waits. Ends when those in use have come back.
    pub(crate) async fn close(&self) {
        self.sessions.close();
        while self.sessions.status().size > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Connections in use and connections idle.
    pub(crate) fn status(&self) -> (usize, usize) {
        let status = self.sessions.status();
        (status.size.saturating_sub(status.available), status.available)
    }

    fn sweep(&self) {
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.elapsed() < SWEEP_INTERVAL {
                return;
            }
            *swept = Instant::now();
        }
        drop(self.sessions.retain(|_, metrics| metrics.last_used() < IDLE_MAX));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.sessions.status()).finish_non_exhaustive()
    }
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async_stream::try_stream! {
            let mut connection = pool.acquire().await?;
            {
                let mut answers = connection.fetch_many(query);
                while let Some(answer) = answers.try_next().await? {
                    yield answer;
                }
            }
            connection.settle();
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move {
            let mut connection = pool.acquire().await?;
            let row = connection.fetch_optional(query).await?;
            connection.settle();
            Ok(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.describe(sql).await })
    }
}

/// What is known about a connection that goes back to its pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything that was sent has been answered.
    Settled,
    /// A statement may be under way.
    Used,
    /// A transaction may be open.
    InTransaction,
}

/// A connection on loan from a [`Pool`].
pub struct Connection {
    /// `None` only while it is being given back.
    session: Option<Object<Sessions>>,
    state: State,
}

impl Connection {
    /// Begins a transaction. It is rolled back when the connection is dropped before [`Connection::finish`].
    pub(crate) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.state = State::InTransaction;
        self.execute(sqlx::raw_sql("begin")).await.map(drop)
    }

    /// Ends the transaction with `commit` or `rollback`.
    pub(crate) async fn finish(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        self.execute(sqlx::raw_sql(statement)).await?;
        self.state = State::Settled;
        Ok(())
    }

    /// Says that every statement so far has been answered, so that nobody has to ask.
    fn settle(&mut self) {
        if self.state == State::Used {
            self.state = State::Settled;
        }
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        #[expect(clippy::expect_used, reason = "taken in drop only")]
        self.session.as_ref().expect("a connection that is not given back")
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        if self.state == State::Settled {
            self.state = State::Used;
        }
        #[expect(clippy::expect_used, reason = "taken in drop only")]
        self.session.as_mut().expect("a connection that is not given back")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        let rollback = match self.state {
            State::Settled => return,
            State::Used => false,
            State::InTransaction => true,
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(Object::take(session));
            return;
        };
        runtime.spawn(async move {
            let usable = if rollback {
                in_time(async { session.execute(sqlx::raw_sql("rollback")).await.map(drop) }).await
            } else {
                in_time(session.ping()).await
            };
            if !usable {
                drop(Object::take(session));
            }
        });
    }
}

/// Opens the sessions of a pool and judges those that have rested.
struct Sessions {
    options: PgConnectOptions,
}

impl Manager for Sessions {
    type Type = PgConnection;
    type Error = sqlx::Error;

    /// Tries again while the server is starting or has no free session; whoever waits bounds it.
    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        let mut pause = CONNECT_BACKOFF;
        loop {
            match PgConnection::connect_with(&self.options).await {
                Err(error) if may_pass(&error) => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause = (pause * 2).min(CONNECT_BACKOFF_MAX);
        }
    }

    async fn recycle(&self, session: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > AGE_MAX {
            return Err(RecycleError::message("old"));
        }
        if metrics.last_used() < TRUSTED || in_time(session.ping()).await {
            return Ok(());
        }
        Err(RecycleError::message("does not answer"))
    }
}

/// Whether connecting may work in a moment: nobody listens yet, too_many_connections, cannot_connect_now.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        sqlx::Error::Database(answer) => matches!(answer.code().as_deref(), Some("53300" | "57P03")),
        _ => false,
    }
}

async fn in_time(answer: impl Future<Output = Result<(), sqlx::Error>>) -> bool {
    matches!(tokio::time::timeout(PING_TIMEOUT, answer).await, Ok(Ok(())))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::Config;
    use crate::testing;

    async fn pid(pool: &Pool) -> i32 {
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(pool).await.unwrap()
    }

    #[tokio::test]
    async fn the_session_used_last_is_used_next() {
        let database = testing::database().await;
        let pool = database.pool();
        let (one, other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        drop((one, other));
        let first = pid(pool).await;
        for _ in 0..5 {
            assert_eq!(pid(pool).await, first);
        }
        assert_eq!(pool.status(), (0, 2));
    }

    #[tokio::test]
    async fn an_abandoned_statement_keeps_nobody_waiting() {
        let database = testing::database_with(&Config { pool_max: 2, ..Config::default() }).await;
        let pool = database.pool();
        let sleep = sqlx::query("select pg_sleep(60)").execute(pool);
        assert!(tokio::time::timeout(Duration::from_millis(100), sleep).await.is_err());
        let started = Instant::now();
        pid(pool).await;
        assert!(started.elapsed() < PING_TIMEOUT, "another session answers meanwhile");
        // The one that is stuck is given up.
        while pool.status() != (0, 1) {
            assert!(started.elapsed() < PING_TIMEOUT * 4, "{:?}", pool.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn an_abandoned_transaction_is_rolled_back_before_its_session_is_used_again() {
        let database = testing::database_with(&Config { pool_max: 1, ..Config::default() }).await;
        let mut tx = database.begin().await.unwrap();
        sqlx::query("create temporary table left_over (id int)").execute(&mut *tx).await.unwrap();
        drop(tx);
        let found: Option<String> = sqlx::query_scalar("select to_regclass('left_over')::text")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(found, None);
        let state: String = sqlx::query_scalar("select (now() = statement_timestamp())::text")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(state, "true", "no transaction is open");
    }

    #[tokio::test]
    async fn a_stream_that_is_not_read_to_its_end_leaves_nothing_behind() {
        let database = testing::database_with(&Config { pool_max: 1, ..Config::default() }).await;
        let mut rows =
            sqlx::query_scalar::<_, i32>("select * from generate_series(1, 10000)").fetch(database.pool());
        assert_eq!(rows.try_next().await.unwrap(), Some(1));
        drop(rows);
        let seven: i32 = sqlx::query_scalar("select 7").fetch_one(database.pool()).await.unwrap();
        assert_eq!(seven, 7);
    }
}
