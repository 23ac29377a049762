//! Pulls in the audit trail.

use blobstore::BlobStore;
use catalog::{Catalog, Config};
use oci::Reference;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// Pulls once, and writes what waits as the end of a process does.
async fn pull(world: &World, catalog: &Catalog, reference: &Reference) {
    let pull = world.pull("p/a");
    let found = catalog.manifests.get(&pull, reference).await.unwrap();
    catalog.manifests.pulled(&pull, &found, reference);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    catalog.pull_trail.clone().run(shutdown).await;
}

async fn pulls(world: &World) -> Vec<(String, String, String, Option<i64>)> {
    sqlx::query_as(
        "select actor_name, object_id, object_name, project_id from audit.entries
         where action = 'artifact_pull' and outcome = 'done' order by id",
    )
    .fetch_all(world.database.owner())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_an_act_unless_it_is_switched_off() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    let digest = world.image("p/a", Some("1"), &[b"layer"]).await.digest;
    let (tag, by_digest): (Reference, _) = ("1".parse().unwrap(), Reference::Digest(digest.clone()));
    pull(&world, &world.catalog, &tag).await;
    pull(&world, &world.catalog, &by_digest).await;
    let act = |name: String| ("ana".to_owned(), digest.to_string(), name, Some(world.project));
    let both = [act("p/a:1".to_owned()), act(format!("p/a@{digest}"))];
    assert_eq!(pulls(&world).await, both);

    let switch = async |value: &str| {
        let change = json!({"disabled_audit_log_event_types": value});
        world.tenancy.configuration_update(&world.caller, change.as_object().unwrap()).await
    };
    switch("pull_artifact").await.unwrap();
    pull(&world, &world.catalog, &tag).await;
    assert_eq!(pulls(&world).await, both, "switched off while it runs");
    assert!(switch("delete_project").await.is_err(), "changes are always recorded");
    switch("").await.unwrap();
    let config = Config { audit_pulls: false, ..crate::world::config() };
    let silent = Catalog::new(world.database.clone(), BlobStore::memory(), world.tenancy.clone(), config);
    pull(&world, &silent, &tag).await;
    assert_eq!(pulls(&world).await, both, "switched off from the start");
    pull(&world, &world.catalog, &tag).await;
    assert_eq!(pulls(&world).await.len(), 3, "on again");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pull_waits_for_its_act() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    world.image("p/a", Some("1"), &[b"layer"]).await;
    let (pull, tag): (_, Reference) = (world.pull("p/a"), "1".parse().unwrap());
    let before = world.database.statements().await;
    for _ in 0..20 {
        let found = world.catalog.manifests.get(&pull, &tag).await.unwrap();
        world.catalog.manifests.pulled(&pull, &found, &tag);
    }
    assert_eq!(world.database.statements().await - before, 20);
}
