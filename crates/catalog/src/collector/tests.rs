//! The statements of a push and those of the collector, in every order.

use std::time::Duration;

use database::testing::TestDatabase;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

/// A step that has not ended after this is waiting for a lock.
const BLOCKED: Duration = Duration::from_millis(150);

const BLOB: [u8; 33] = [1; 33];

/// How the collector takes a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As this module does.
    TwoStatements,
    /// As it must not: judged on a snapshot from before the lock.
    OneStatement,
    /// As it must not: both statements share one snapshot.
    RepeatableRead,
}

/// Somebody who does one step after another when told to, and may have to wait in one.
struct Actor {
    steps: mpsc::UnboundedSender<()>,
    done: mpsc::UnboundedReceiver<()>,
    told: usize,
    ended: usize,
    task: JoinHandle<bool>,
}

impl Actor {
    fn tell(&mut self) {
        self.told += 1;
        let _ = self.steps.send(());
    }

    /// Waits for the steps told so far, or until one of them waits for somebody.
    async fn settle(&mut self) {
        while self.ended < self.told {
            match tokio::time::timeout(BLOCKED, self.done.recv()).await {
                Ok(Some(())) => self.ended += 1,
                _ => return,
            }
        }
    }
}

fn actor<F>(run: impl FnOnce(mpsc::UnboundedReceiver<()>, mpsc::UnboundedSender<()>) -> F) -> Actor
where
    F: Future<Output = bool> + Send + 'static,
{
    let (steps, told) = mpsc::unbounded_channel();
    let (ending, done) = mpsc::unbounded_channel();
    Actor { steps, done, told: 0, ended: 0, task: tokio::spawn(run(told, ending)) }
}

/// Locks the blob as the first statement of a push does, names it, commits. Tells whether the push was acknowledged.
async fn push(
    database: Database,
    project: i64,
    mut told: mpsc::UnboundedReceiver<()>,
    done: mpsc::UnboundedSender<()>,
) -> bool {
    told.recv().await;
    let mut tx = database.begin().await.unwrap();
    let begun: (i64, Option<bool>) =
        sqlx::query_as("select repository, live from catalog.begin_push($1, 'p/a', $2, '{}')")
            .bind(project)
            .bind(vec![BLOB.to_vec()])
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    let _ = done.send(());
    told.recv().await;
    let live = begun.1 == Some(true);
    if live {
        sqlx::query(
            "with m as (insert into catalog.manifests (repository_id, digest, media_type, payload, total_size, kind)
                        values ($1, $2, 'application/x', 'x', 1, 'IMAGE') returning id)
             insert into catalog.manifest_blobs (manifest_id, digest, role, size) select id, $3, 'layer', 1 from m",
        )
        .bind(begun.0)
        .bind(vec![2_u8; 33])
        .bind(BLOB.to_vec())
        .execute(&mut *tx)
        .await
        .unwrap();
    }
    let _ = done.send(());
    told.recv().await;
    if live {
        tx.commit().await.unwrap();
    }
    let _ = done.send(());
    live
}

async fn collect(
    collector: Collector,
    way: Way,
    mut told: mpsc::UnboundedReceiver<()>,
    done: mpsc::UnboundedSender<()>,
) -> bool {
    told.recv().await;
    let grace = collector.config.grace();
    let mut tx = collector.database.begin().await.unwrap();
    let held = match way {
        Way::TwoStatements => hold_blobs(&mut tx, Scope::default(), grace).await.unwrap(),
        Way::RepeatableRead => {
            sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await.unwrap();
            let held: Vec<Vec<u8>> =
                sqlx::query_scalar("select digest from catalog.blobs where gc_after < now() for update")
                    .fetch_all(&mut *tx)
                    .await
                    .unwrap();
            held
        }
        Way::OneStatement => Vec::new(),
    };
    let _ = done.send(());
    told.recv().await;
    match way {
        Way::OneStatement => {
            // Waits for the lock in the middle of a statement, as one without SKIP LOCKED does.
            sqlx::query(
                "with held as (select digest from catalog.blobs where gc_after < now() for update)
                 update catalog.blobs b set state = 'deleting' from held where b.digest = held.digest
                   and not exists (select 1 from catalog.manifest_blobs u where u.digest = b.digest)",
            )
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        _ if held.is_empty() => {}
        _ => {
            collector.judge_blobs(&mut tx, &held).await.unwrap();
        }
    }
    let _ = done.send(());
    told.recv().await;
    tx.commit().await.unwrap();
    let _ = done.send(());
    !held.is_empty()
}

/// Plays one order of steps (`p` the push, `c` the collector) and tells what became of it: acknowledged, and taken.
async fn play(order: &str, way: Way) -> (bool, bool) {
    let database: TestDatabase = database::testing::database().await;
    let project: i64 = sqlx::query_scalar(
        "with owner as (insert into identity.users (username) values ('ana') returning id)
         insert into tenancy.projects (name, owner_id) select 'p', id from owner returning id",
    )
    .fetch_one(database.pool())
    .await
    .unwrap();
    sqlx::query("insert into catalog.repositories (project_id, path) values ($1, 'p/a')")
        .bind(project)
        .execute(database.pool())
        .await
        .unwrap();
    sqlx::query("insert into catalog.blobs (digest, size, location) values ($1, 1, 'k')")
        .bind(BLOB.to_vec())
        .execute(database.pool())
        .await
        .unwrap();
    sqlx::query("update catalog.blobs set gc_after = now() - interval '1 day', last_touch = now() - interval '3 days'")
        .execute(database.pool())
        .await
        .unwrap();
    let collector = for_tests(&database).await;
    let pushing = (*database).clone();
    let mut p = actor(|told, done| push(pushing, project, told, done));
    let mut c = actor(|told, done| collect(collector, way, told, done));
    for step in order.chars() {
        match step {
            'p' => p.tell(),
            _ => c.tell(),
        }
        p.settle().await;
        c.settle().await;
    }
    let acknowledged = tokio::time::timeout(Duration::from_secs(10), p.task).await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(10), c.task).await.unwrap().unwrap();
    let taken: bool = sqlx::query_scalar("select state = 'deleting' from catalog.blobs")
        .fetch_one(database.pool())
        .await
        .unwrap();
    (acknowledged, taken)
}

async fn for_tests(database: &Database) -> Collector {
    let keyring = sealed::Keyring::load(sealed::Secret::new(vec![7; 32]), database).await.unwrap();
    let clock = database::Clock::system();
    let identity =
        identity::Identity::new(database.clone(), keyring, identity::Config::default(), clock).await.unwrap();
    let tenancy = Tenancy::new(database.clone(), identity, tenancy::Config::default());
    let config = crate::Config {
        upload_hours_max: 168,
        upload_empty_minutes_max: 15,
        uploads_per_account_max: 20,
        uploads_per_project_max: 30,
        pull_flush_seconds: 1,
        audit_pulls: true,
        gc: CollectorConfig { grace_seconds: 60, ..CollectorConfig::default() },
    };
    crate::Catalog::new(database.clone(), BlobStore::memory(), tenancy, config).collector
}

/// All orders of three steps of the one and three of the other.
fn orders() -> Vec<String> {
    (0_u32..64)
        .filter(|bits| bits.count_ones() == 3)
        .map(|bits| (0..6).map(|at| if bits >> at & 1 == 1 { 'p' } else { 'c' }).collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_of_steps_takes_a_blob_that_a_push_relies_on() {
    let orders = orders();
    assert_eq!(orders.len(), 20);
    let (mut pushed, mut collected) = (0, 0);
    let plays = orders.iter().map(async |order| (order, play(order, Way::TwoStatements).await));
    let mut plays = futures_util::stream::iter(plays).buffer_unordered(5);
    while let Some((order, (acknowledged, taken))) = plays.next().await {
        assert!(!(acknowledged && taken), "{order}: pushed and taken");
        assert!(acknowledged || taken, "{order}: refused, and yet not taken");
        pushed += i32::from(acknowledged);
        collected += i32::from(taken);
    }
    assert!(pushed > 0 && collected > 0, "both happen: {pushed} {collected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_forbidden_ways_do_lose_it() {
    // The collector waits for the row while the push holds it, and judges what it saw before the push committed.
    assert_eq!(play("pccppc", Way::OneStatement).await, (true, true));
    assert_eq!(play("pcppcc", Way::RepeatableRead).await, (true, true));
}
