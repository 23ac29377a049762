//! A real database for every test: `let database = database::testing::database().await;`
//!
//! One private server per test process, started at first use and ended by the kernel with the process. Migrations
//! run once, into a template; a test's database is a copy of it, made in some ten milliseconds and dropped with
//! the [`TestDatabase`]. With `HYTHE_TEST_DATABASE_URL` (a superuser's URL) that server is used instead.
//!
//! Tests run as the runtime role, so a missing grant shows in them. What only the owner may do goes through
//! [`TestDatabase::owner`].
#![expect(clippy::expect_used, clippy::panic, reason = "a test that has no database cannot go on")]

use std::ops::Deref;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;

use crate::embedded::{self, Embedded};
use crate::{Clock, Config, Database, EmbeddedConfig, MIGRATOR};

/// Nothing here outlives the process, so nothing has to survive a power cut.
const FAST: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("max_connections", "300"),
    ("shared_preload_libraries", "pg_stat_statements"),
];

/// The same for an installation without contributed modules.
const FAST_BARE: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("max_connections", "300"),
];

/// A database of its own for one test. Dereferences to [`Database`].
pub struct TestDatabase {
    database: Database,
    name: DatabaseName,
    url: String,
    owner_url: String,
    owner: PgPool,
}

/// A fresh, migrated database.
pub async fn database() -> TestDatabase {
    database_with(&Config { pool_max: 10, ..Config::default() }).await
}

/// A fresh, migrated database, connected to with these settings.
pub async fn database_with(config: &Config) -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server().await;
    let template = TEMPLATE.get_or_init(|| make_template(server)).await;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("hythe_test_{}_{number}_{:08x}", std::process::id(), moment());
    let mut connection = server.connect().await;
    run(&mut connection, format!("create database {name} template {template}")).await;
    connection.close().await.ok();

    let (url, owner_url) = (server.url_of(embedded::APP, &name), server.owner_url_of(&name));
    let database = Database::connect(&url, config, Clock::system()).await.expect("the test database is up");
    let options = PgConnectOptions::from_str(&owner_url).expect("our own URL");
    let owner = PgPoolOptions::new().max_connections(2).connect_lazy_with(options);
    TestDatabase { database, name: DatabaseName(name), url, owner_url, owner }
}

/// A database without any schema, for tests of the migrations. Goes when this goes.
pub struct EmptyDatabase {
    /// URL of the runtime role, which has no rights yet.
    pub url: String,
    /// URL of the owner, a superuser.
    pub owner_url: String,
    _name: DatabaseName,
}

/// An empty database.
pub async fn empty_database() -> EmptyDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server().await;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("hythe_empty_{}_{number}_{:08x}", std::process::id(), moment());
    let mut connection = server.connect().await;
    run(&mut connection, format!("create database {name}")).await;
    connection.close().await.ok();
    let (url, owner_url) = (server.url_of(embedded::APP, &name), server.owner_url_of(&name));
    EmptyDatabase { url, owner_url, _name: DatabaseName(name) }
}

impl TestDatabase {
    /// URL of the runtime role.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// URL of the owner, a superuser.
    pub fn owner_url(&self) -> &str {
        &self.owner_url
    }

    /// A pool of the owner, for what the runtime role may not do.
    pub fn owner(&self) -> &PgPool {
        &self.owner
    }

    /// Statements that the runtime role has sent to this database so far, without `begin`, `commit` and
    /// `rollback`. Take the difference of two calls, with nothing else going on.
    ///
    /// Panics when the server does not have `pg_stat_statements`.
    pub async fn statements(&self) -> i64 {
        self.statement_counts().await.into_iter().map(|(_, calls)| calls).sum()
    }

    /// The same, statement by statement.
    pub async fn statement_counts(&self) -> Vec<(String, i64)> {
        let mut connection = server().await.connect().await;
        let counts = sqlx::query_as(
            "select query, sum(calls)::bigint from pg_stat_statements s
             join pg_database d on d.oid = s.dbid join pg_roles r on r.oid = s.userid
             where d.datname = $1 and r.rolname = 'hythe_app'
               and query !~* '^(begin|commit|rollback|savepoint|release|listen|unlisten)'
             group by query order by query",
        )
        .bind(&self.name.0)
        .fetch_all(&mut connection)
        .await
        .expect("the server counts statements (shared_preload_libraries = pg_stat_statements)");
        connection.close().await.ok();
        counts
    }
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// A database that goes when this goes.
pub(crate) struct DatabaseName(String);

impl Drop for DatabaseName {
    fn drop(&mut self) {
        let (done, dropped) = channel();
        // Fails only at the end of the process, when the server goes too.
        janitor()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send((std::mem::take(&mut self.0), done))
            .ok();
        if SERVER.get().is_some_and(|server| server.embedded.is_none()) {
            // A server that stays must not be left with databases of ours.
            dropped.recv_timeout(Duration::from_secs(10)).ok();
        }
    }
}

/// The server of this process, or the one that the environment names.
struct Server {
    /// URL of the superuser for the database `postgres`.
    url: String,
    /// Ends with the process: nothing ever takes it out of its static.
    embedded: Option<Embedded>,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

async fn server() -> &'static Server {
    SERVER.get_or_init(start).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration; this is how `make test` names a server"
)]
async fn start() -> Server {
    let server = match std::env::var("HYTHE_TEST_DATABASE_URL") {
        Ok(url) if !url.is_empty() => Server { url: with_database(&url, "postgres"), embedded: None },
        _ => {
            let (directory, config) = (scratch(), EmbeddedConfig::default());
            let embedded = match Embedded::start_with(&directory, &config, FAST).await {
                Err(embedded::Error::Ended { tail, .. }) if tail.contains("pg_stat_statements") => {
                    Embedded::start_with(&directory, &config, FAST_BARE).await
                }
                other => other,
            };
            let embedded =
                embedded.unwrap_or_else(|err| panic!("no PostgreSQL for the tests: {}", chain(&err)));
            Server { url: with_database(&embedded.owner_url(), "postgres"), embedded: Some(embedded) }
        }
    };
    let mut connection = server.connect().await;
    // Other processes may be doing the same on a shared server.
    run(&mut connection, "select pg_advisory_lock(7468)".to_owned()).await;
    let role = "do $$ begin create role hythe_app login password 'hythe_app';
                exception when duplicate_object then null; end $$";
    run(&mut connection, role.to_owned()).await;
    // Missing on a server without contributed modules; only `statements` needs it.
    sqlx::query("create extension if not exists pg_stat_statements").execute(&mut connection).await.ok();
    connection.close().await.ok();
    server
}

impl Server {
    async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(&self.url).expect("HYTHE_TEST_DATABASE_URL is a URL");
        options.connect().await.expect("the server for tests answers")
    }

    fn owner_url_of(&self, database: &str) -> String {
        with_database(&self.url, database)
    }

    fn url_of(&self, role: &str, database: &str) -> String {
        let url = with_database(&self.url, database);
        let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
        format!("{scheme}://{role}:{role}@{}", &rest[start..])
    }
}

/// Named after the migrations, so that a shared server never hands out an old schema.
async fn make_template(server: &Server) -> String {
    let checksums: Vec<u8> =
        MIGRATOR.iter().flat_map(|migration| migration.checksum.iter().copied()).collect();
    let name = format!("hythe_template_{:016x}", embedded::fingerprint(&checksums));
    let mut connection = server.connect().await;
    run(&mut connection, "select pg_advisory_lock(7468)".to_owned()).await;
    let done = sqlx::query_scalar::<_, i32>("select 1 from pg_database where datname = $1 and datistemplate");
    if done.bind(&name).fetch_optional(&mut connection).await.expect("the catalog can be read").is_none() {
        run(&mut connection, format!("drop database if exists {name}")).await;
        run(&mut connection, format!("create database {name}")).await;
        let migrated = crate::migrate(&server.owner_url_of(&name), Some(embedded::APP)).await;
        migrated.unwrap_or_else(|err| panic!("the migrations fail: {}", chain(&err)));
        run(&mut connection, format!("alter database {name} is_template true")).await;
    }
    connection.close().await.ok();
    name
}

/// Name of a database that is not needed any more, and whom to tell when it is gone.
type Dropped = (String, Sender<()>);

/// Drops databases on a thread of its own: a destructor cannot wait for PostgreSQL.
fn janitor() -> &'static Mutex<Sender<Dropped>> {
    static JANITOR: OnceLock<Mutex<Sender<Dropped>>> = OnceLock::new();
    JANITOR.get_or_init(|| {
        let (names, inbox) = channel::<Dropped>();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            for (name, done) in inbox {
                let Some(server) = SERVER.get() else { continue };
                runtime.block_on(async {
                    let options = PgConnectOptions::from_str(&server.url).expect("used before");
                    // The server may be going already, with everything in it.
                    let Ok(mut connection) = options.connect().await else {
                        return;
                    };
                    let statement = AssertSqlSafe(format!("drop database if exists {name} with (force)"));
                    sqlx::query(statement).execute(&mut connection).await.ok();
                    connection.close().await.ok();
                });
                done.send(()).ok();
            }
        });
        Mutex::new(names)
    })
}

fn scratch() -> std::path::PathBuf {
    embedded::scratch::directory().expect("a directory under /tmp")
}

/// Runs SQL with names in it, all of which are made in this file.
async fn run(connection: &mut PgConnection, sql: String) {
    let result = sqlx::query(AssertSqlSafe(sql.clone())).execute(connection).await;
    result.unwrap_or_else(|err| panic!("{sql}: {}", chain(&err)));
}

/// The URL with another database in it.
fn with_database(url: &str, database: &str) -> String {
    let (base, query) =
        url.split_once('?').map_or((url, String::new()), |(base, query)| (base, format!("?{query}")));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    format!("{}/{database}{query}", &base[..end])
}

/// Keeps the names of two runs with the same process number apart.
fn moment() -> u32 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_millis() & 0xffff_ffff).unwrap_or_default()
}

fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        text = format!("{text}: {err}");
        source = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_pointed_at_another_database_and_role() {
        let cases = [
            ("postgres://u:p@h:1/x?a=b", "postgres://u:p@h:1/y?a=b", "postgres://r:r@h:1/y?a=b"),
            ("postgres://h", "postgres://h/y", "postgres://r:r@h/y"),
            ("postgres://u@%2Ftmp:5/x", "postgres://u@%2Ftmp:5/y", "postgres://r:r@%2Ftmp:5/y"),
        ];
        for (url, other, role) in cases {
            assert_eq!(with_database(url, "y"), other);
            assert_eq!(Server { url: url.to_owned(), embedded: None }.url_of("r", "y"), role);
        }
    }
}
