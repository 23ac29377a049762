//! Brings the schema to the version of this binary, and gives the runtime role its rights.
//!
//! Never waits inside PostgreSQL for the lock: a waiting statement holds a snapshot that index builds of others
//! would wait for in turn. A database that is newer than the binary is fine (the previous release runs on the
//! schema of this one); one whose past differs is not.
//!
//! Invariant: when there is nothing to do, nothing is written.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::{Error, MigrationError};

/// All migrations of all schemas, in order.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Our own advisory lock ("hythe" in ASCII), distinct from the one of sqlx, which is waited for.
const LOCK: i64 = 0x68_79_74_68_65;

/// Between two attempts to get the lock.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// A migration is short by rule; whoever holds the lock for longer hangs.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(600);

/// How long the server may take to accept the one connection of a migration.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`migrate`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Numbers of the migrations applied by this call, in order.
    pub applied: Vec<i64>,
}

/// Applies what is missing and then grants `app_role` its rights, unless it is the owner itself.
///
/// Any number of processes may call this at once: one works, the others wait for it by polling.
pub async fn migrate(owner_url: &str, app_role: Option<&str>) -> Result<Report, Error> {
    let options = PgConnectOptions::from_str(owner_url)?
        .application_name("hythe migrate")
        // A statement may take long; waiting for a lock may not, because everybody else queues up behind it.
        .options([("lock_timeout", "5000"), ("statement_timeout", "0")]);
    let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, options.connect())
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))?;
    let result = run(&mut connection, app_role).await;
    // Closing gives the lock back, whatever happened.
    connection.close().await.ok();
    result
}

async fn run(connection: &mut PgConnection, app_role: Option<&str>) -> Result<Report, Error> {
    if pending(connection).await?.is_empty() && !lacks_rights(connection, app_role).await? {
        return Ok(Report::default());
    }
    lock(connection).await?;
    // Somebody else may have done all of it while this process waited.
    let applied = pending(connection).await?;
    if !applied.is_empty() {
        let mut migrator = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
        migrator.set_ignore_missing(true).set_locking(false);
        migrator.run_direct(None, connection, false).await.map_err(failure)?;
        tracing::info!(migrations = applied.len(), "database schema migrated");
    }
    if lacks_rights(connection, app_role).await? {
        grant(connection, app_role).await?;
    }
    Ok(Report { applied })
}

/// Migrations of this binary that the database does not have. A changed one is an error.
pub(crate) async fn pending(connection: &mut PgConnection) -> Result<Vec<i64>, Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    let mut recorded: HashMap<i64, Vec<u8>> = HashMap::new();
    if exists {
        let dirty: Option<i64> =
            sqlx::query_scalar("select min(version) from _sqlx_migrations where not success")
                .fetch_one(&mut *connection)
                .await?;
        if let Some(version) = dirty {
            return Err(Error::Migration(MigrationError::Dirty { version }));
        }
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select version, checksum from _sqlx_migrations").fetch_all(connection).await?;
        recorded.extend(rows);
    }
    let mut pending = Vec::new();
    for migration in MIGRATOR.iter() {
        match recorded.get(&migration.version) {
            None => pending.push(migration.version),
            Some(checksum) if checksum[..] == *migration.checksum => {}
            Some(_) => return Err(Error::Migration(changed(migration.version))),
        }
    }
    Ok(pending)
}

async fn lock(connection: &mut PgConnection) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let won: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *connection)
            .await?;
        if won {
            return Ok(());
        }
        if started.elapsed() > LOCK_WAIT_MAX {
            return Err(Error::Migration(MigrationError::Busy { waited_seconds: LOCK_WAIT_MAX.as_secs() }));
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

fn changed(version: i64) -> MigrationError {
    let description = MIGRATOR.iter().find(|migration| migration.version == version);
    MigrationError::Changed {
        version,
        description: description.map(|migration| migration.description.to_string()).unwrap_or_default(),
    }
}

fn failure(err: MigrateError) -> Error {
    match err {
        MigrateError::Execute(source) => source.into(),
        MigrateError::ExecuteMigration(source, version) => match Error::from(source) {
            Error::Unavailable(source) => Error::Unavailable(source),
            Error::Retry(source) | Error::Other(source) => {
                Error::Migration(MigrationError::Failed { version, source })
            }
            other => other,
        },
        MigrateError::VersionMismatch(version) => Error::Migration(changed(version)),
        MigrateError::Dirty(version) => Error::Migration(MigrationError::Dirty { version }),
        other => Error::Migration(MigrationError::Runner(other)),
    }
}

/// Whether the role is another one than ours and lacks anything that [`grant`] gives, or has what it takes.
async fn lacks_rights(connection: &mut PgConnection, app_role: Option<&str>) -> Result<bool, Error> {
    let Some(role) = app_role else {
        return Ok(false);
    };
    // A superuser has every right and keeps it, so there is nothing to give or take.
    Ok(sqlx::query_scalar(
        "select $1 <> current_user::text and not exists (select from pg_roles where rolname = $1 and rolsuper) and (
            exists (select from pg_namespace n
                    where n.nspname in ('identity', 'sealed', 'queue', 'audit', 'tenancy', 'catalog')
                      and not has_schema_privilege($1, n.oid, 'usage'))
            or exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    cross join unnest(array['select', 'insert', 'update', 'delete']) needed
                    where n.nspname in ('identity', 'sealed', 'queue', 'audit', 'tenancy', 'catalog')
                      and c.relkind in ('r', 'p', 'v')
                      and has_table_privilege($1, c.oid, needed)
                          = (n.nspname = 'audit' and c.relname = 'entries' and needed in ('update', 'delete')))
            or exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    where n.nspname in ('identity', 'sealed', 'queue', 'audit', 'tenancy', 'catalog')
                      and case when c.relkind = 'S' then not has_sequence_privilege($1, c.oid, 'usage') end)
            or exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                    where n.nspname in ('identity', 'sealed', 'queue', 'audit', 'tenancy', 'catalog')
                      and not has_function_privilege($1, p.oid, 'execute'))
            or not has_table_privilege($1, '_sqlx_migrations', 'select'))",
    )
    .bind(role)
    .fetch_one(connection)
    .await?)
}

/// Rows of the audit trail can be added and read by the runtime role, never changed or removed.
const GRANT: &str = "do $$
declare
    role text := current_setting('hythe.app_role');
    one  text;
begin
    foreach one in array array['identity', 'sealed', 'queue', 'audit', 'tenancy', 'catalog'] loop
        execute format('grant usage on schema %I to %I', one, role);
        execute format('grant select, insert, update, delete on all tables in schema %I to %I', one, role);
        execute format('grant usage, select on all sequences in schema %I to %I', one, role);
        execute format('grant execute on all functions in schema %I to %I', one, role);
    end loop;
    execute format('revoke update, delete, truncate on audit.entries from %I', role);
    -- Readiness compares the version of the schema with that of the binary.
    execute format('grant select on _sqlx_migrations to %I', role);
end $$";

async fn grant(connection: &mut PgConnection, app_role: Option<&str>) -> Result<(), Error> {
    let Some(role) = app_role else { return Ok(()) };
    let mut tx = connection.begin().await?;
    // A `do` block takes no parameters; the setting ends with the transaction.
    sqlx::query("select set_config('hythe.app_role', $1, true)").bind(role).execute(&mut *tx).await?;
    sqlx::query(GRANT).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::embedded::APP;
    use crate::testing;

    async fn connect(url: &str) -> PgConnection {
        PgConnection::connect(url).await.unwrap()
    }

    /// Who wrote the newest row of what migrations and grants write.
    async fn last_writer(connection: &mut PgConnection) -> i64 {
        sqlx::query_scalar(
            "select max(x::text::bigint) from (select xmin x from _sqlx_migrations union all select xmin from pg_class
             union all select xmin from pg_namespace union all select xmin from pg_proc) newest",
        )
        .fetch_one(connection)
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn of_three_at_once_one_works_and_a_fourth_writes_nothing() {
        let (url, _name) = testing::empty_database().await;
        let (one, two, three) =
            tokio::join!(migrate(&url, Some(APP)), migrate(&url, Some(APP)), migrate(&url, Some(APP)));
        let mut applied: Vec<usize> = [one, two, three].map(|report| report.unwrap().applied.len()).to_vec();
        applied.sort_unstable();
        assert_eq!(applied, [0, 0, MIGRATOR.iter().count()]);

        let mut connection = connect(&url).await;
        let before = last_writer(&mut connection).await;
        assert_eq!(migrate(&url, Some(APP)).await.unwrap(), Report::default());
        assert_eq!(last_writer(&mut connection).await, before);
    }

    #[tokio::test]
    async fn a_newer_schema_is_accepted_and_a_changed_past_is_not() {
        let database = testing::database().await;
        assert!(database.schema_is_current().await.unwrap());
        let migrated = || migrate(database.owner_url(), Some(APP));
        let owner = database.owner();
        sqlx::query("insert into _sqlx_migrations values (99999999999999, 'later', now(), true, '', 0)")
            .execute(owner)
            .await
            .unwrap();
        assert_eq!(migrated().await.unwrap(), Report::default());
        assert!(database.schema_is_current().await.unwrap());

        sqlx::query("update _sqlx_migrations set checksum = '' where version = (select min(version) from _sqlx_migrations)")
            .execute(owner)
            .await
            .unwrap();
        let Error::Migration(err) = migrated().await.unwrap_err() else { panic!("another error") };
        assert!(matches!(err, MigrationError::Changed { .. }), "{err}");
        assert!(err.to_string().contains("identity create tables"), "{err}");

        sqlx::query("update _sqlx_migrations set success = false where version = 99999999999999")
            .execute(owner)
            .await
            .unwrap();
        let err = migrated().await.unwrap_err();
        assert!(
            matches!(err, Error::Migration(MigrationError::Dirty { version: 99_999_999_999_999 })),
            "{err:?}"
        );
    }

    #[tokio::test]
    async fn an_empty_database_is_not_current() {
        let (url, _name) = testing::empty_database().await;
        assert_eq!(pending(&mut connect(&url).await).await.unwrap().len(), MIGRATOR.iter().count());
    }

    #[tokio::test]
    async fn the_runtime_role_cannot_change_the_audit_trail() {
        let database = testing::database().await;
        let insert =
            "insert into audit.entries (actor_kind, actor_name, action, object_kind, outcome, body_hash)
                      values ('system', 'x', 'x', 'x', 'done', '')";
        sqlx::query(insert).execute(database.pool()).await.unwrap();
        let count: i64 = sqlx::query_scalar("select count(*) from audit.entries")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(count, 1);
        for statement in
            ["update audit.entries set action = 'y'", "delete from audit.entries", "truncate audit.entries"]
        {
            let err = sqlx::query(statement).execute(database.pool()).await.unwrap_err();
            // insufficient_privilege: refused before the trigger had a say.
            assert_eq!(err.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}");
        }
    }

    #[tokio::test]
    async fn rights_that_got_lost_or_were_added_are_put_right() {
        let database = testing::database().await;
        let owner = database.owner();
        for statement in [
            "revoke all on all tables in schema catalog from hythe_app",
            "grant update on audit.entries to hythe_app",
        ] {
            sqlx::query(statement).execute(owner).await.unwrap();
            migrate(database.owner_url(), Some(APP)).await.unwrap();
            let mut connection = connect(database.owner_url()).await;
            assert!(!lacks_rights(&mut connection, Some(APP)).await.unwrap(), "{statement}");
        }
        sqlx::query("delete from catalog.tags").execute(database.pool()).await.unwrap();
        assert!(sqlx::query("update audit.entries set action = 'y'").execute(database.pool()).await.is_err());
    }
}
