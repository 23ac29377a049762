//! Brings the schema to the version of this binary, and gives the runtime role its rights. An account that may do
//! neither only looks whether somebody else has.
//!
//! Never waits inside PostgreSQL for the lock: a waiting statement holds a snapshot that index builds of others
//! would wait for in turn. A database that is newer than the binary is fine (the previous release runs on the
//! schema of this one) and keeps the rights that the newer release gave; one whose past differs is not.
//!
//! Invariant: when there is nothing to do, nothing is written.
//! Invariant: an account that does not own the schema is never made to try.

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

/// Looking takes a handful of catalog queries. A server that takes longer is not there.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Every schema that migrations make.
const SCHEMAS: [&str; 6] = ["identity", "sealed", "queue", "audit", "tenancy", "catalog"];

/// What [`migrate`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Numbers of the migrations applied by this call, in order.
    pub applied: Vec<i64>,
}

/// A migration that the database lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub version: i64,
    pub description: String,
}

/// Applies what is missing and then grants `app_role` its rights, unless it is the owner itself.
///
/// Any number of processes may call this at once: one works, the others wait for it by polling. An account that
/// does not own the schema changes nothing: it gets [`MigrationError::Behind`] or [`MigrationError::NoRights`]
/// until somebody else has seen to both.
pub async fn migrate(owner_url: &str, app_role: Option<&str>) -> Result<Report, Error> {
    let mut connection = connect(owner_url).await?;
    let result = run(&mut connection, app_role).await;
    // Closing gives the lock back, whatever happened.
    connection.close().await.ok();
    result
}

/// Looks whether the database has every migration of this binary and whether the account of the URL has its
/// rights. Changes nothing; [`MigrationError::Behind`] or [`MigrationError::NoRights`] when it is not so.
pub async fn check_schema(url: &str) -> Result<(), Error> {
    looked(url, async |connection| require_current(connection, None).await).await
}

/// The migrations that [`migrate`] would apply, in order. Changes nothing.
pub async fn plan(url: &str) -> Result<Vec<Planned>, Error> {
    let missing = looked(url, pending).await?;
    let planned = MIGRATOR.iter().filter(|migration| missing.contains(&migration.version));
    let planned =
        planned.map(|one| Planned { version: one.version, description: one.description.to_string() });
    Ok(planned.collect())
}

async fn connect(url: &str) -> Result<PgConnection, Error> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("hythe migrate")
        // A statement may take long; waiting for a lock may not, because everybody else queues up behind it.
        .options([("lock_timeout", "5000"), ("statement_timeout", "0")]);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    connected
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
        .map_err(Error::from)
}

async fn looked<T>(
    url: &str,
    look: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut connection = connect(url).await?;
    let result = tokio::time::timeout(LOOK_TIMEOUT, look(&mut connection)).await;
    let result = result.unwrap_or_else(|_| Err(Error::timed_out("schema check")))?;
    connection.close().await.ok();
    Ok(result)
}

async fn run(connection: &mut PgConnection, app_role: Option<&str>) -> Result<Report, Error> {
    if !may_migrate(connection).await? {
        require_current(connection, app_role).await?;
        return Ok(Report::default());
    }
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

/// Whether this account owns the schema, or, in a database without one, could make it.
async fn may_migrate(connection: &mut PgConnection) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        "select case when to_regclass('_sqlx_migrations') is null
            then has_database_privilege(current_database()::text, 'create')
                 and coalesce(has_schema_privilege(current_schema()::text, 'create'), false)
            else (select pg_has_role(relowner, 'usage') from pg_class
                  where oid = to_regclass('_sqlx_migrations')::oid) end",
    )
    .fetch_one(connection)
    .await?)
}

/// Nothing is missing, and the role (this account, when none is given) can do what a running process has to do.
async fn require_current(connection: &mut PgConnection, role: Option<&str>) -> Result<(), Error> {
    let (own, readable): (String, Option<bool>) = sqlx::query_as(
        "select current_user::text, has_table_privilege(to_regclass('_sqlx_migrations')::oid, 'select')",
    )
    .fetch_one(&mut *connection)
    .await?;
    let no_rights = |role: &str| Error::Migration(MigrationError::NoRights { role: role.to_owned() });
    if readable == Some(false) {
        return Err(no_rights(&own));
    }
    let recorded = recorded(connection).await?;
    let missing = missing(&recorded)?.len();
    if missing > 0 {
        return Err(Error::Migration(MigrationError::Behind { missing }));
    }
    let role = role.unwrap_or(&own);
    // What a newer release gives to whom, only that release knows.
    if !is_newer(&recorded) && differs(connection, role, false).await? {
        return Err(no_rights(role));
    }
    Ok(())
}

/// Migrations of this binary that the database does not have. A changed one is an error.
pub(crate) async fn pending(connection: &mut PgConnection) -> Result<Vec<i64>, Error> {
    missing(&recorded(connection).await?)
}

/// Number and checksum of what was applied. A migration that was interrupted is an error.
async fn recorded(connection: &mut PgConnection) -> Result<HashMap<i64, Vec<u8>>, Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(HashMap::new());
    }
    let dirty: Option<i64> =
        sqlx::query_scalar("select min(version) from _sqlx_migrations where not success")
            .fetch_one(&mut *connection)
            .await?;
    if let Some(version) = dirty {
        return Err(Error::Migration(MigrationError::Dirty { version }));
    }
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from _sqlx_migrations").fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

fn missing(recorded: &HashMap<i64, Vec<u8>>) -> Result<Vec<i64>, Error> {
    let mut missing = Vec::new();
    for migration in MIGRATOR.iter() {
        match recorded.get(&migration.version) {
            None => missing.push(migration.version),
            Some(checksum) if checksum[..] == *migration.checksum => {}
            Some(_) => return Err(Error::Migration(changed(migration.version))),
        }
    }
    Ok(missing)
}

/// Whether a later release has been at work here.
fn is_newer(recorded: &HashMap<i64, Vec<u8>>) -> bool {
    recorded.keys().any(|version| !MIGRATOR.iter().any(|migration| migration.version == *version))
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

/// Whether the role is another one than ours and has not exactly the rights that [`grant`] gives.
async fn lacks_rights(connection: &mut PgConnection, app_role: Option<&str>) -> Result<bool, Error> {
    let Some(role) = app_role else {
        return Ok(false);
    };
    let (own, exists): (bool, bool) =
        sqlx::query_as("select $1 = current_user::text, exists (select from pg_roles where rolname = $1)")
            .bind(role)
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        return Err(Error::Migration(MigrationError::NoSuchRole { role: role.to_owned() }));
    }
    if own || is_newer(&recorded(connection).await?) {
        return Ok(false);
    }
    differs(connection, role, true).await
}

/// Whether the role lacks a right that it needs. `exactly`: also whether it has one that it must not have, or
/// would not get its rights on what the next migration makes.
async fn differs(connection: &mut PgConnection, role: &str, exactly: bool) -> Result<bool, Error> {
    // A superuser has every right and keeps it, so there is nothing to give or take.
    Ok(sqlx::query_scalar(
        "select not exists (select from pg_roles where rolname = $1 and rolsuper) and (
            exists (select from pg_namespace n
                    where n.nspname = any($3) and not has_schema_privilege($1, n.oid, 'usage'))
            or exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    cross join unnest(array['select', 'insert', 'update', 'delete']) needed
                    where n.nspname = any($3) and c.relkind in ('r', 'p', 'v')
                      and case when n.nspname = 'audit' and needed in ('update', 'delete')
                          then $2 and has_table_privilege($1, c.oid, needed)
                          else not has_table_privilege($1, c.oid, needed) end)
            or exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = any($3)
                      and case when c.relkind = 'S' then not has_sequence_privilege($1, c.oid, 'usage') end)
            or exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                    where n.nspname = any($3) and not has_function_privilege($1, p.oid, 'execute'))
            or not has_table_privilege($1, '_sqlx_migrations', 'select')
            or $2 and exists (select from pg_namespace n cross join unnest(array['r', 'S']) kind
                    where n.nspname = any($3) and not exists (
                        select from pg_default_acl d cross join aclexplode(d.defaclacl) given
                        join pg_roles owner on owner.oid = d.defaclrole and owner.rolname = current_user
                        join pg_roles grantee on grantee.oid = given.grantee and grantee.rolname = $1
                        where d.defaclnamespace = n.oid and d.defaclobjtype::text = kind)))",
    )
    .bind(role)
    .bind(exactly)
    .bind(&SCHEMAS[..])
    .fetch_one(connection)
    .await?)
}

/// Rows of the audit trail can be added and read by the runtime role, never changed or removed. What the next
/// migration makes can be used at once, before this runs again: processes of this release go on meanwhile.
const GRANT: &str = "do $$
declare
    role text := current_setting('hythe.app_role');
    one  text;
begin
    foreach one in array string_to_array(current_setting('hythe.schemas'), ',') loop
        execute format('grant usage on schema %I to %I', one, role);
        execute format('grant select, insert, update, delete on all tables in schema %I to %I', one, role);
        execute format('grant usage, select on all sequences in schema %I to %I', one, role);
        execute format('grant execute on all functions in schema %I to %I', one, role);
        execute format('alter default privileges in schema %I grant select, insert%s on tables to %I', one,
                       case when one = 'audit' then '' else ', update, delete' end, role);
        execute format('alter default privileges in schema %I grant usage, select on sequences to %I', one, role);
    end loop;
    execute format('revoke update, delete, truncate on all tables in schema audit from %I', role);
    -- Readiness compares the version of the schema with that of the binary.
    execute format('grant select on _sqlx_migrations to %I', role);
end $$";

async fn grant(connection: &mut PgConnection, app_role: Option<&str>) -> Result<(), Error> {
    let Some(role) = app_role else { return Ok(()) };
    let mut tx = connection.begin().await?;
    // A `do` block takes no parameters; the settings end with the transaction.
    sqlx::query("select set_config('hythe.app_role', $1, true), set_config('hythe.schemas', $2, true)")
        .bind(role)
        .bind(SCHEMAS.join(","))
        .execute(&mut *tx)
        .await?;
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
             union all select xmin from pg_namespace union all select xmin from pg_proc
             union all select xmin from pg_default_acl) newest",
        )
        .fetch_one(connection)
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn of_three_at_once_one_works_and_a_fourth_writes_nothing() {
        let database = testing::empty_database().await;
        let url = &database.owner_url;
        let (one, two, three) =
            tokio::join!(migrate(url, Some(APP)), migrate(url, Some(APP)), migrate(url, Some(APP)));
        let mut applied: Vec<usize> = [one, two, three].map(|report| report.unwrap().applied.len()).to_vec();
        applied.sort_unstable();
        assert_eq!(applied, [0, 0, MIGRATOR.iter().count()]);

        let mut connection = connect(url).await;
        let before = last_writer(&mut connection).await;
        assert_eq!(migrate(url, Some(APP)).await.unwrap(), Report::default());
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
    async fn an_account_that_owns_nothing_waits_for_the_schema_and_then_for_its_rights() {
        let database = testing::empty_database().await;
        let (app, owner) = (&database.url, &database.owner_url);
        let all = MIGRATOR.iter().count();
        assert_eq!(plan(owner).await.unwrap().len(), all);
        for outcome in [migrate(app, Some(APP)).await.map(drop), check_schema(app).await] {
            let err = outcome.unwrap_err();
            assert!(err.awaits_migration(), "{err:?}");
            assert!(matches!(err, Error::Migration(MigrationError::Behind { missing }) if missing == all));
        }
        assert_eq!(plan(owner).await.unwrap().len(), all, "nothing was changed");

        migrate(owner, None).await.unwrap();
        assert_eq!(plan(owner).await.unwrap(), []);
        for outcome in [migrate(app, Some(APP)).await.map(drop), check_schema(app).await] {
            let err = outcome.unwrap_err();
            assert!(
                matches!(&err, Error::Migration(MigrationError::NoRights { role }) if role == APP),
                "{err:?}"
            );
        }
        let err = migrate(owner, Some("nobody_of_that_name")).await.unwrap_err();
        assert!(matches!(err, Error::Migration(MigrationError::NoSuchRole { .. })), "{err:?}");

        migrate(owner, Some(APP)).await.unwrap();
        assert_eq!(migrate(app, Some(APP)).await.unwrap(), Report::default());
        check_schema(app).await.unwrap();
        check_schema(owner).await.unwrap();
    }

    #[tokio::test]
    async fn the_runtime_role_cannot_change_the_schema() {
        let database = testing::database().await;
        for statement in [
            "alter table catalog.tags add column x int",
            "drop table catalog.tags",
            "truncate catalog.tags",
            "create table catalog.x (x int)",
            "create table public.x (x int)",
            "create index on catalog.tags (repository_id)",
            "create schema x",
            "drop schema queue cascade",
            "create or replace function catalog.x() returns int language sql as 'select 1'",
            "alter table audit.entries disable trigger all",
            "delete from _sqlx_migrations",
            "grant update on audit.entries to hythe_app",
            "set role postgres",
        ] {
            let err = sqlx::query(statement).execute(database.pool()).await;
            let Err(err) = err else {
                // PostgreSQL takes a grant without the right to give it for a warning.
                assert!(statement.starts_with("grant"), "{statement}");
                continue;
            };
            let code = err.as_database_error().unwrap().code().map(|code| code.into_owned());
            assert!(["42501", "22023"].contains(&code.as_deref().unwrap()), "{statement}: {err}");
        }
        let mut connection = connect(database.owner_url()).await;
        assert!(!lacks_rights(&mut connection, Some(APP)).await.unwrap());
    }

    #[tokio::test]
    async fn what_the_next_migration_makes_can_be_used_before_rights_are_given_again() {
        let database = testing::database().await;
        for statement in
            ["create table catalog.later (id bigserial primary key)", "create table audit.later (id bigint)"]
        {
            sqlx::query(statement).execute(database.owner()).await.unwrap();
        }
        sqlx::query("insert into catalog.later default values").execute(database.pool()).await.unwrap();
        sqlx::query("delete from catalog.later").execute(database.pool()).await.unwrap();
        sqlx::query("insert into audit.later values (1)").execute(database.pool()).await.unwrap();
        assert!(sqlx::query("delete from audit.later").execute(database.pool()).await.is_err());
    }

    #[tokio::test]
    async fn a_newer_release_decides_about_rights() {
        let database = testing::database().await;
        let owner = database.owner();
        for statement in [
            "insert into _sqlx_migrations values (99999999999999, 'later', now(), true, '', 0)",
            "revoke delete on catalog.tags from hythe_app",
        ] {
            sqlx::query(statement).execute(owner).await.unwrap();
        }
        check_schema(database.url()).await.unwrap();
        migrate(database.owner_url(), Some(APP)).await.unwrap();
        assert!(sqlx::query("delete from catalog.tags").execute(database.pool()).await.is_err());
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
        for statement in [
            "update audit.entries set action = 'y'",
            "delete from audit.entries",
            "truncate audit.entries",
            "delete from audit.pending",
            "update audit.links set hash = ''",
            "delete from audit.links",
            "delete from audit.checkpoints",
        ] {
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
            "alter default privileges in schema queue revoke all on tables from hythe_app",
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
