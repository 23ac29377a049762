//! Processes that start over one database: the account that owns the tables migrates, the others wait for it.

use std::time::{Duration, Instant};

use database::testing::{EmptyDatabase, empty_database};
use hythe_testbed::{Bed, Options};

use crate::support::eventually;

/// Processes of one installation whose database is still empty.
struct Site {
    database: EmptyDatabase,
    directory: tempfile::TempDir,
}

impl Site {
    async fn new() -> Site {
        let directory = tempfile::Builder::new().prefix("hythe-site-").tempdir_in("/tmp").expect("/tmp");
        Site { database: empty_database().await, directory }
    }

    /// A process whose account owns nothing.
    fn app(&self, role: &'static str) -> Options {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        Options::default()
            .role(role, &self.directory.path().join("data"))
            .operations(&port.expect("a free port").to_string())
            .set("HYTHE_DATABASE__URL", &self.database.url)
            .set("HYTHE_DATABASE__POOL_MAX", "4")
    }
}

/// Alive, not ready, and it says what it waits for.
async fn waits(bed: &Bed, reason: &str) {
    let says = async || {
        let log = bed.log();
        log.contains("run `hythe migrate`") && log.contains(reason)
    };
    eventually(Duration::from_secs(30), "it says what it waits for", says).await;
    assert_eq!(bed.health("/livez").await, Some(200));
    assert_eq!(bed.health("/startupz").await, Some(503));
    assert_eq!(bed.health("/readyz").await, Some(503));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_processes_on_an_empty_database_the_owner_migrates_and_the_others_wait() {
    let site = Site::new().await;
    let owner = site.app("projects").set("HYTHE_DATABASE__OWNER_URL", &site.database.owner_url);
    let beds = [Bed::begun(site.app("registry")), Bed::begun(site.app("worker")), Bed::begun(owner)];
    for bed in &beds {
        bed.wait_started().await;
    }
    let migrated = |bed: &Bed| bed.log().contains("database schema migrated");
    assert_eq!(beds.iter().map(migrated).collect::<Vec<_>>(), [false, false, true]);
    beds[2].project("p").create().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_owner_a_process_waits_until_somebody_migrates() {
    let site = Site::new().await;
    let app = Bed::begun(site.app("projects"));
    waits(&app, "migrations").await;

    // As the account of the services: refused, with what to do. As the owner: first only looking.
    let refused = app.run(&["migrate"], "").await;
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("database.owner_url"), "{text}");
    let owner = Bed::begun(
        site.app("worker")
            .set("HYTHE_DATABASE__URL", &site.database.owner_url)
            .set("HYTHE_DATABASE__MIGRATE", "never"),
    );
    waits(&owner, "migrations").await;
    let plan = owner.run(&["migrate", "--plan"], "").await;
    assert!(plan.status.success());
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.contains("identity create tables"), "{plan}");
    waits(&app, "migrations").await;

    // Tables without rights are not enough.
    let done = owner.run(&["migrate"], "").await;
    let text = String::from_utf8_lossy(&done.stdout);
    assert_eq!(text, format!("{} migrations applied\n", plan.lines().count()));
    assert_eq!(app.health("/readyz").await, Some(503));
    for _ in 0..2 {
        let again = owner.run(&["migrate", "--app-role", "hythe_app"], "").await;
        assert_eq!(String::from_utf8_lossy(&again.stdout), "the schema is up to date\n");
    }
    app.wait_started().await;
    owner.wait_started().await;
    app.project("p").create().await;
    let nothing = owner.run(&["migrate", "--plan"], "").await;
    assert_eq!(String::from_utf8_lossy(&nothing.stdout), "the schema is up to date\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_waits_ends_when_asked_to_and_when_it_has_waited_long_enough() {
    let site = Site::new().await;
    let asked = Bed::begun(site.app("registry"));
    waits(&asked, "migrations").await;
    let started = Instant::now();
    asked.terminate();
    assert_eq!(asked.ended(Duration::from_secs(20)).await, Some(0), "{}", asked.log());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());

    let given_up = Bed::begun(site.app("auth").set("HYTHE_DATABASE__SCHEMA_WAIT_SECONDS", "2"));
    assert_eq!(given_up.ended(Duration::from_secs(60)).await, Some(1), "{}", given_up.log());
    let log = given_up.log();
    assert!(log.contains("try: hythe migrate"), "{log}");
}
