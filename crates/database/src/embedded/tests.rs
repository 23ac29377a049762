//! The private server: start, crash, restart, and the death of its parent.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};

use super::*;
use crate::{Clock, Config, Database};

async fn start(data_dir: &Path) -> Embedded {
    Embedded::start(data_dir, &EmbeddedConfig::default()).await.unwrap()
}

async fn show(database: &Database, setting: &str) -> String {
    let select = sqlx::query_scalar("select current_setting($1)").bind(setting.to_owned());
    select.fetch_one(database.pool()).await.unwrap()
}

#[tokio::test]
async fn starts_survives_a_kill_and_stops() {
    let data_dir = scratch::directory().unwrap();
    assert_eq!(Embedded::connect_existing(&data_dir).await, None);
    let embedded = start(&data_dir).await;
    let database = Database::connect(&embedded.url(), &Config::default(), Clock::system()).await.unwrap();
    for (setting, value) in
        [("fsync", "on"), ("data_checksums", "on"), ("listen_addresses", ""), ("jit", "off")]
    {
        assert_eq!(show(&database, setting).await, value, "{setting}");
    }
    let role: bool = sqlx::query_scalar("select rolsuper from pg_roles where rolname = current_user")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert!(!role);
    let urls = Embedded::connect_existing(&data_dir).await.unwrap();
    assert_eq!((urls.url, urls.owner_url), (embedded.url(), embedded.owner_url()));
    let second = Embedded::start(&data_dir, &EmbeddedConfig::default()).await;
    assert!(matches!(second.err(), Some(Error::InUse { .. })));

    let cluster = place::cluster(&data_dir);
    let first = place::recorded_pid(&cluster).unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    let killed = Instant::now();
    // The old sessions may answer for a moment.
    while place::recorded_pid(&cluster).is_none_or(|pid| pid == first) || database.begin().await.is_err() {
        assert!(killed.elapsed() < Duration::from_secs(30), "not back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    database.close().await;
    embedded.stop().await;
    assert_eq!(Embedded::connect_existing(&data_dir).await, None);
    assert!(place::processes_in(&cluster).is_empty());
    let again = start(&data_dir).await;
    again.stop().await;
}

/// Not a test: the parent that dies in the test below, in a process of its own.
#[tokio::test]
#[ignore = "started by the_server_ends_with_its_parent"]
async fn parent_that_dies() {
    let data_dir = std::env::current_dir().unwrap();
    if data_dir.join("die-here").exists() {
        let embedded = start(&data_dir).await;
        let mut connection = PgConnection::connect(&embedded.owner_url()).await.unwrap();
        sqlx::query("create table promise as select 1 as kept").execute(&mut connection).await.unwrap();
        std::process::abort();
    }
}

#[tokio::test]
async fn the_server_ends_with_its_parent_and_the_data_stay() {
    let data_dir = scratch::directory().unwrap();
    std::fs::write(data_dir.join("die-here"), "").unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::parent_that_dies", "--ignored"])
        .current_dir(&data_dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    // At once: the old server may still be writing its checkpoint.
    let embedded = start(&data_dir).await;
    let mut connection = PgConnection::connect(&embedded.owner_url()).await.unwrap();
    let kept: i32 = sqlx::query_scalar("select kept from promise").fetch_one(&mut connection).await.unwrap();
    assert_eq!(kept, 1);
    let log = std::fs::read_to_string(data_dir.join("postgres.log")).unwrap();
    assert!(log.contains("received fast shutdown request"), "{log}");
    connection.close().await.unwrap();
    embedded.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let data_dir = scratch::directory().unwrap();
    let settings = &[("shared_buffers", "1PB"), ("fsync", "off")];
    let result = Embedded::start_with(&data_dir, &EmbeddedConfig::default(), settings).await;
    let err = result.err().unwrap();
    assert!(matches!(&err, Error::Ended { tail, .. } if tail.contains("shared_buffers")), "{err}");
    // Nothing is left behind that stops the next attempt.
    start(&data_dir).await.stop().await;
}

#[test]
fn urls_carry_the_socket_directory() {
    let url = url(Path::new("/var/lib/my data"), "hythe_app", "hythe");
    assert_eq!(url, "postgres://hythe_app@%2Fvar%2Flib%2Fmy%20data:5432/hythe");
    let options: PgConnectOptions = url.parse().unwrap();
    assert_eq!(options.get_socket().unwrap(), Path::new("/var/lib/my data"));
}
