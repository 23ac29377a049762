//! Accounts are exact after any sequence of operations, at once and by several clients.

use std::sync::Arc;

use oci::{Algorithm, Digest, Reference};
use tenancy::{DeleteRepository, ProjectRef};

use crate::world::World;

const REPOSITORIES: [&str; 3] = ["p/a", "p/b", "p/c"];
const LAYERS: [&[u8]; 5] = [b"1", b"22", b"333", b"4444", b"55555"];

/// A small generator with a seed: a failure names the seed that shows it again.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % sides
    }
}

async fn step(world: &World, dice: &mut Dice) {
    let name = REPOSITORIES[dice.roll(3)];
    let layer = LAYERS[dice.roll(5)];
    let other = LAYERS[dice.roll(5)];
    match dice.roll(8) {
        0 => {
            world.blob(name, layer).await;
        }
        1..=3 => {
            world.blob(name, layer).await;
            world.blob(name, other).await;
            let tag = ["x", "y"][dice.roll(2)];
            // Another client may delete a blob in between; the push then says so.
            let _ = world.try_image(name, Some(tag), &[layer, other]).await;
        }
        4 => {
            let digest = Digest::of(Algorithm::Sha256, layer);
            let from = world.pull(REPOSITORIES[dice.roll(3)]);
            let _ = world.catalog.uploads.mount(&world.push(name), &digest, Some(&from)).await.unwrap();
        }
        5 => {
            let _ =
                world.catalog.blobs.delete(&world.delete(name), &Digest::of(Algorithm::Sha256, layer)).await;
        }
        6 => {
            let tag: Reference = ["x", "y"][dice.roll(2)].parse().unwrap();
            if let Ok(found) = world.catalog.manifests.get(&world.pull(name), &tag).await {
                let _ = world
                    .catalog
                    .manifests
                    .delete(&world.delete(name), &Reference::Digest(found.digest))
                    .await;
            }
        }
        _ if dice.roll(3) == 0 => {
            let project = ProjectRef::Name("p".parse().unwrap());
            let permit = world.tenancy.permit::<DeleteRepository>(&world.caller, &project).await.unwrap();
            let _ = world.catalog.repositories.delete(&permit, &name.parse().unwrap()).await;
        }
        _ => {}
    }
}

/// Recomputes every account from the rows it sums up.
async fn check(world: &World, seed: u64) {
    let wrong = |what: &'static str, sql: &'static str| async move {
        assert_eq!(world.number(sql, world.project).await, 0, "{what}, seed {seed}");
    };
    wrong(
        "links",
        "select count(*) from catalog.project_blobs p where p.project_id = $1 and p.links <> (
           select count(*) from catalog.repository_blobs l join catalog.repositories r on r.id = l.repository_id
           where r.project_id = p.project_id and l.digest = p.digest)",
    )
    .await;
    wrong(
        "references",
        "select count(*) from catalog.project_blobs p where p.project_id = $1 and p.refs <> (
           select count(*) from catalog.manifest_blobs b join catalog.manifests m on m.id = b.manifest_id
           join catalog.repositories r on r.id = m.repository_id
           where r.project_id = p.project_id and b.digest = p.digest and m.deleted_at is null)",
    )
    .await;
    wrong(
        "what a live manifest uses is charged",
        "select count(*) from catalog.project_blobs where project_id = $1 and refs > 0 and not charged",
    )
    .await;
    wrong(
        "what nobody links and nobody uses is not charged",
        "select count(*) from catalog.project_blobs where project_id = $1 and links = 0 and refs = 0 and charged",
    )
    .await;
    wrong(
        "a deleted repository holds no links",
        "select count(*) from catalog.repository_blobs l join catalog.repositories r on r.id = l.repository_id
         where r.project_id = $1 and r.deleted_at is not null",
    )
    .await;
    wrong(
        "every link and reference has an account",
        "select count(*) from catalog.repository_blobs l join catalog.repositories r on r.id = l.repository_id
         where r.project_id = $1 and not exists (
           select 1 from catalog.project_blobs p where p.project_id = r.project_id and p.digest = l.digest)",
    )
    .await;
    wrong(
        "the repository's bytes",
        "select count(*) from catalog.repositories r where r.project_id = $1 and r.size_bytes <> (
           select coalesce(sum(size), 0) from catalog.repository_blobs l where l.repository_id = r.id)",
    )
    .await;
    wrong(
        "the repository's manifests",
        "select count(*) from catalog.repositories r where r.project_id = $1 and r.manifest_count <> (
           select count(*) from catalog.manifests m where m.repository_id = r.id and m.deleted_at is null)",
    )
    .await;
    wrong(
        "the project's repositories",
        "select count(*) from tenancy.projects p where p.id = $1 and p.repository_count <> (
           select count(*) from catalog.repositories r
           where r.project_id = p.id and r.deleted_at is null and r.last_published_at is not null)",
    )
    .await;
    let expected = world
        .number(
            "select (coalesce((select sum(size) from catalog.project_blobs where project_id = $1 and charged), 0)
               + coalesce((select sum(octet_length(m.payload)) from catalog.manifests m
                           join catalog.repositories r on r.id = m.repository_id
                           where r.project_id = $1 and m.deleted_at is null), 0))::bigint",
            world.project,
        )
        .await;
    assert_eq!(world.used().await, expected, "the quota's used bytes, seed {seed}");
    let recounted = world.catalog.recounts.recount_quotas(|| false).await.unwrap();
    assert_eq!(recounted.drifted, 0, "the recount, seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_exact_after_every_step() {
    for seed in 1..=4 {
        let world = World::new().await;
        let mut dice = Dice(seed);
        for _ in 0..40 {
            step(&world, &mut dice).await;
            check(&world, seed).await;
        }
    }
}

#[tokio::test]
async fn a_recount_finds_what_drifted() {
    let world = World::new().await;
    world.blob("p/a", b"1").await;
    world.image("p/a", Some("x"), &[b"1"]).await;
    let drifted = async || {
        let counted = world.catalog.recounts.recount_quotas(|| false).await.unwrap();
        (counted.projects, counted.drifted)
    };
    let (projects, none) = drifted().await;
    assert!(projects >= 1 && none == 0);
    sqlx::query("update tenancy.quotas set used_bytes = used_bytes + 1 where project_id = $1")
        .bind(world.project)
        .execute(world.database.owner())
        .await
        .unwrap();
    assert_eq!(drifted().await, (projects, 1));
    let told = "select count(*) from audit.entries where action = 'quota_drift' and project_id = $1";
    assert_eq!(world.number(told, world.project).await, 1);
}

/// DS-13.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_exact_after_concurrent_clients() {
    let world = Arc::new(World::new().await);
    let clients: Vec<_> = (1..=6)
        .map(|seed| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let mut dice = Dice(seed);
                for _ in 0..25 {
                    step(&world, &mut dice).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    check(&world, 0).await;
    // Everybody takes locks in one order. A session reports its deadlocks when it ends, if not earlier.
    world.database.close().await;
    let number = async |sql: &'static str| -> i64 {
        sqlx::query_scalar(sql).fetch_one(world.database.owner()).await.unwrap()
    };
    while number(
        "select count(*) from pg_stat_activity where datname = current_database() and usename <> current_user",
    )
    .await
        > 0
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(
        number("select deadlocks from pg_stat_database where datname = current_database()").await,
        0,
        "deadlocks"
    );
}
