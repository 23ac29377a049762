//! What pages show of a repository beside what the API does.

use bytes::Bytes;
use catalog::{Pull, PushTarget};
use oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use oci::{Algorithm, Digest, Reference};
use serde_json::json;
use tenancy::list::Query;
use tenancy::{DeleteTag, ListRepositories, ListTags, ProjectRef, PullRepository, ReadArtifact};

use crate::world::{CONFIG, World};

#[tokio::test]
async fn a_repository_with_an_index() {
    let world = World::new().await;
    for bytes in [CONFIG, b"layer"] {
        world.blob("p/a", bytes).await;
    }
    let part = world.image("p/a", Some("v1"), &[b"layer"]).await.digest;
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": part.to_string(), "size": 1}]});
    let payload = Bytes::from(index.to_string());
    let digest = Digest::of(Algorithm::Sha256, &payload);
    let target = PushTarget { digest: None, tags: vec!["multi".parse().unwrap()] };
    world.catalog.manifests.put(&world.push("p/a"), target, Some(OCI_INDEX), payload).await.unwrap();

    let (name, project) = ("p/a".parse().unwrap(), ProjectRef::Id(world.project));
    let tenancy = &world.tenancy;
    let list = tenancy.permit::<ListTags>(&world.caller, &project).await.unwrap();
    let tags = world.catalog.history.repository_tags(&list, &name, &Query::default()).await.unwrap().rows;
    let (multi, v1) = (&tags[0], &tags[1]);
    assert_eq!((multi.whole_size - multi.size, v1.whole_size), (v1.size, v1.size));

    let all = tenancy.permit::<ListRepositories>(&world.caller, &project).await.unwrap();
    let page = world.catalog.repositories.list(&all, &Query::default()).await.unwrap();
    let row = &page.rows[0];
    let blobs = world.number("select sum(size)::bigint from catalog.blobs where $1 > 0", 1).await;
    assert_eq!((row.tag_count, row.size), (2, blobs));

    let read = tenancy.permit::<ReadArtifact>(&world.caller, &project).await.unwrap();
    let artifacts = &world.catalog.artifacts;
    assert_eq!(artifacts.indexes_of(&read, &name, &part).await.unwrap(), std::slice::from_ref(&digest));
    assert_eq!(artifacts.indexes_of(&read, &name, &digest).await.unwrap(), []);

    let permit = tenancy.permit::<PullRepository>(&world.caller, &project).await.unwrap();
    let pull = Pull::from_permit(&permit, &name);
    let found = world.catalog.manifests.get(&pull, &Reference::Digest(digest.clone())).await.unwrap();
    assert_eq!(found.digest, digest);

    let delete = tenancy.permit::<DeleteTag>(&world.caller, &project).await.unwrap();
    world.catalog.tags.delete(&delete, &name, &digest, &"multi".parse().unwrap()).await.unwrap();
    let changes = world.catalog.history.repository_changes(&list, &name, &Query::default()).await.unwrap();
    let told: Vec<_> = changes.rows.iter().map(|row| (row.tag.as_str(), row.action.as_str())).collect();
    assert_eq!(told, [("multi", "delete"), ("multi", "create"), ("v1", "create")]);
    // Kept for as long as was promised, give or take the time between.
    let until = world.catalog.history.restorable_until().await.unwrap();
    assert!(changes.rows[0].restorable_until.unwrap() <= until && changes.rows[1].restorable_until.is_none());
}
