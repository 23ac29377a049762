//! What a request costs the database, in statements: fixed numbers, whatever the content.

use oci::{Algorithm, Digest, Reference};

use crate::world::World;

/// Statements that `work` sends, without begin and commit.
async fn cost<T>(world: &World, work: impl Future<Output = T>) -> i64 {
    let before = world.database.statements().await;
    work.await;
    world.database.statements().await - before
}

/// AZ-06: what exists elsewhere costs what exists nowhere costs.
#[tokio::test(flavor = "multi_thread")]
async fn reads_are_one_statement() {
    let world = World::new().await;
    let layer = world.blob("p/a", b"layer").await;
    let image = world.image("p/a", Some("1"), &[b"layer"]).await.digest;
    let pull = world.pull("p/a");
    let catalog = &world.catalog;
    let by_tag: Reference = "1".parse().unwrap();
    let by_digest = Reference::Digest(image);
    let missing = Digest::of(Algorithm::Sha256, b"missing");
    assert_eq!(cost(&world, catalog.manifests.get(&pull, &by_tag)).await, 1, "manifest by tag");
    assert_eq!(cost(&world, catalog.manifests.get(&pull, &by_digest)).await, 1, "manifest by digest");
    assert_eq!(cost(&world, catalog.blobs.head(&pull, &layer)).await, 1, "HEAD of a blob");
    assert_eq!(cost(&world, catalog.blobs.get(&pull, &layer)).await, 1, "GET of a blob");
    assert_eq!(
        cost(&world, catalog.blobs.get(&pull, &missing)).await,
        1,
        "a blob that is not there costs the same"
    );
    assert_eq!(cost(&world, catalog.tags.names(&pull, None, 100)).await, 1, "tags");
    assert_eq!(cost(&world, catalog.repositories.paths(None, 100)).await, 1, "catalogue");
    assert_eq!(cost(&world, catalog.referrers.list(&pull, &missing, None, 0, 100)).await, 1, "referrers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_costs_the_same_for_two_layers_and_for_forty() {
    let world = World::new().await;
    let layers: Vec<Vec<u8>> = (0..40u8).map(|number| vec![number; 10]).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    for name in ["p/few", "p/many"] {
        for layer in &layers {
            world.blob(name, layer).await;
        }
    }
    let few = cost(&world, world.image("p/few", Some("1"), &layers[..2])).await;
    let many = cost(&world, world.image("p/many", Some("1"), &layers)).await;
    assert_eq!(few, many);
    assert!(many <= 24, "with the upload of the config: {many}");
    // Naming rules ride in the statement that takes the locks.
    let rules = "insert into catalog.naming_policies (project_id, rules)
        select p, '[{\"target\": \"tag\", \"pattern\": \"v.*\", \"mode\": \"warn\"}]' from unnest(array[0, $1]) as p";
    sqlx::query(rules).bind(world.project).execute(world.database.owner()).await.unwrap();
    let ruled = cost(&world, async {
        let pushed = world.image("p/few", Some("latest"), &layers[..3]).await;
        assert_eq!(pushed.warnings.len(), 2);
    });
    let moved = cost(&world, world.image("p/many", Some("v2"), &layers[..3]));
    assert_eq!(ruled.await, moved.await);
}
