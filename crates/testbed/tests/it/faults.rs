//! for a PostgreSQL of one's own: a bad line between the platform and its database, and a
//! database that takes no more connections. Requests succeed or get 503 in time, the process lives on, nothing
//! acknowledged is lost, no session is left behind, and everything goes on by itself.

use std::time::{Duration, Instant};

use database::testing::TestDatabase;
use hythe_testbed::{Bed, Line, Options, Relay};
use sqlx::AssertSqlSafe;

use crate::postgres::Load;
use crate::support::eventually;

/// Connections of the platform's pool.
const POOL_MAX: i64 = 10;

/// Connections beside the pool: listeners, and one more that is being replaced.
const SESSIONS_BESIDE: i64 = 6;

/// How often each fault comes. Once is enough for `make test`; the soak sets `HYTHE_FAULT_ROUNDS`.
#[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the product")]
fn rounds() -> usize {
    std::env::var("HYTHE_FAULT_ROUNDS").map_or(1, |text| text.parse().expect("a number of rounds"))
}

/// A platform whose line to the database is in the test's hands, and people at work on it.
struct World {
    database: TestDatabase,
    relay: Relay,
    load: Load,
    _bed: Bed,
}

impl World {
    async fn new() -> World {
        let database = database::testing::database().await;
        let relay = Relay::start(database.url()).await;
        let options = Options::default()
            .set("HYTHE_DATABASE__URL", relay.url())
            .set("HYTHE_DATABASE__POOL_MAX", &POOL_MAX.to_string());
        let bed = Bed::own(options).await;
        let load = Load::start(&bed).await;
        World { database, relay, load, _bed: bed }
    }

    /// Lets people work, then work on for `duration` with the fault, then waits until all is well again.
    async fn under(&self, what: &str, line: Line, duration: Duration) {
        self.load.calm().await;
        let before = self.load.refusals();
        self.relay.set(line);
        self.load.endure(duration).await;
        self.relay.set(Line::Whole);
        self.well_again(what, before).await;
    }

    async fn well_again(&self, what: &str, refusals_before: usize) {
        let refused = self.load.refusals() - refusals_before;
        let healed = Instant::now();
        self.load.recovered().await;
        println!(
            "{what}: {refused} refused; ten images and a hundred reads {:?} after the end",
            healed.elapsed()
        );
        let settled = async || self.sessions().await <= POOL_MAX + SESSIONS_BESIDE;
        eventually(Duration::from_secs(40), &format!("no session is left behind by {what}"), settled).await;
    }

    async fn sessions(&self) -> i64 {
        sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and usename = 'hythe_app'",
        )
        .fetch_one(self.database.owner())
        .await
        .expect("the owner's line is whole")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_28_a_slow_line_to_the_database_makes_no_request_hang() {
    let world = World::new().await;
    let line = |delay, jitter| Line::Slow {
        delay: Duration::from_millis(delay),
        jitter: Duration::from_millis(jitter),
    };
    for _ in 0..rounds() {
        world.under("100 ms", line(25, 50), Duration::from_secs(3)).await;
        world.under("two seconds", line(750, 500), Duration::from_secs(8)).await;
    }
    world.load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_r_11_a_line_that_breaks_anywhere_costs_no_promise() {
    let world = World::new().await;
    for _ in 0..rounds() {
        world.under("resets", Line::Reset(0..=20_000), Duration::from_secs(3)).await;
        world.under("resets of new connections", Line::Reset(0..=1000), Duration::from_secs(2)).await;
        world.under("truncation", Line::Truncated(0..=20_000), Duration::from_secs(3)).await;
    }
    world.load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_a_line_that_swallows_everything_makes_no_request_hang() {
    let world = World::new().await;
    for _ in 0..rounds() {
        world.under("silence", Line::Silent, Duration::from_secs(10)).await;
        world.under("forgotten connections", Line::Forgotten, Duration::from_secs(6)).await;
    }
    assert!(world.load.refusals() > 0, "for ten seconds somebody must have been refused");
    world.load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_a_database_that_takes_no_more_connections_makes_no_request_hang() {
    let world = World::new().await;
    let owner = world.database.owner();
    let name: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(owner).await.expect("it answers");
    let cap = async |limit: i64| {
        let statement = format!("alter database {name} connection limit {limit}");
        sqlx::query(AssertSqlSafe(statement)).execute(owner).await.expect("the owner may");
    };
    for limit in [0, 2].repeat(rounds()) {
        world.load.calm().await;
        let (before, accepted) = (world.load.refusals(), world.relay.accepted());
        cap(limit).await;
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and usename = 'hythe_app'",
        )
        .execute(owner)
        .await
        .expect("the owner may");
        world.load.endure(Duration::from_secs(6)).await;
        let attempts = world.relay.accepted() - accepted;
        println!("{attempts} attempts to connect in six seconds");
        cap(-1).await;
        world.well_again(&format!("a limit of {limit} connections"), before).await;
        assert!(limit > 0 || world.load.refusals() > before, "without a connection somebody must be refused");
    }
    world.load.finish().await;
}
