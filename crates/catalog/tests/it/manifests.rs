//! Manifests and tags: checks on push, history, deletion, review queues.

use bytes::Bytes;
use catalog::{Error, PushTarget};
use oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use oci::{Algorithm, Digest, Reference};
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_needs_its_blobs_in_its_own_repository() {
    let world = World::new().await;
    let layer = world.blob("p/other", b"layer").await;
    let refused = world.try_image("p/a", Some("1"), &[b"layer"]).await;
    let Err(Error::ManifestBlobUnknown(missing)) = refused else { panic!("{refused:?}") };
    assert_eq!(missing, [layer]);
    world.blob("p/a", b"layer").await;
    world.image("p/a", Some("1"), &[b"layer"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_back_as_they_were_pushed() {
    let world = World::new().await;
    let payload = Bytes::from_static(
        br#"{ "schemaVersion":2,"custom": 1.50,
        "mediaType":"application/vnd.oci.image.index.v1+json","manifests":[] }"#,
    );
    let digest = Digest::of(Algorithm::Sha512, &payload);
    let target =
        PushTarget { digest: Some(digest.clone()), tags: vec!["a".parse().unwrap(), "b".parse().unwrap()] };
    let wrong = PushTarget { digest: Some(Digest::of(Algorithm::Sha256, b"")), tags: vec![] };
    let manifests = &world.catalog.manifests;
    let push = world.push("p/a");
    let refused = manifests.put(&push, wrong, Some(OCI_INDEX), payload.clone()).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    manifests.put(&push, target, Some(OCI_INDEX), payload.clone()).await.unwrap();
    for reference in ["a".to_owned(), "b".to_owned(), digest.to_string()] {
        let reference: Reference = reference.parse().unwrap();
        let found = manifests.get(&world.pull("p/a"), &reference).await.unwrap();
        assert_eq!(
            (found.payload, found.digest, found.media_type.as_str()),
            (payload.clone(), digest.clone(), OCI_INDEX)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_tag_has_its_history() {
    let world = World::new().await;
    for layer in [b"one", b"two"] {
        world.blob("p/a", layer).await;
    }
    let one = world.image("p/a", Some("latest"), &[b"one"]).await.digest;
    world.image("p/a", Some("latest"), &[b"one"]).await;
    let two = world.image("p/a", Some("latest"), &[b"two"]).await.digest;
    let latest: Reference = "latest".parse().unwrap();
    world.catalog.manifests.delete(&world.delete("p/a"), &latest).await.unwrap();
    let gone = world.catalog.manifests.get(&world.pull("p/a"), &latest).await;
    assert!(matches!(gone, Err(Error::ManifestUnknown(_))), "{gone:?}");
    let by_digest = Reference::Digest(two.clone());
    assert!(world.catalog.manifests.get(&world.pull("p/a"), &by_digest).await.is_ok(), "the tag only");

    type Row = (String, Option<Vec<u8>>, Option<Vec<u8>>);
    let rows: Vec<Row> =
        sqlx::query_as("select action, from_digest, to_digest from catalog.tag_history order by id")
            .fetch_all(world.database.pool())
            .await
            .unwrap();
    let (one, two) = (one.to_bytes(), two.to_bytes());
    assert_eq!(
        rows,
        [
            ("create".to_owned(), None, Some(one.clone())),
            ("move".to_owned(), Some(one), Some(two.clone())),
            ("delete".to_owned(), Some(two), None),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_index_stays_until_the_index_goes() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    let child = world.image("p/a", None, &[b"layer"]).await.digest;
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": child.to_string(), "size": 1,
         "platform": {"os": "linux", "architecture": "amd64"}}]});
    let payload = Bytes::from(index.to_string());
    let target = PushTarget { digest: None, tags: vec!["multi".parse().unwrap()] };
    let index = world.catalog.manifests.put(&world.push("p/a"), target, None, payload).await.unwrap().digest;
    let delete = world.delete("p/a");
    let child = Reference::Digest(child);
    let refused = world.catalog.manifests.delete(&delete, &child).await;
    assert!(matches!(refused, Err(Error::ManifestInIndex { .. })), "{refused:?}");
    world.catalog.manifests.delete(&delete, &Reference::Digest(index)).await.unwrap();
    world.catalog.manifests.delete(&delete, &child).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_in_an_old_cache_index_are_references() {
    let world = World::new().await;
    let layer = world.blob("p/cache", b"layer").await;
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer.to_string(), "size": 5}]});
    let target = PushTarget { digest: None, tags: vec!["cache".parse().unwrap()] };
    let payload = Bytes::from(index.to_string());
    world.catalog.manifests.put(&world.push("p/cache"), target, None, payload).await.unwrap();
    let refused = world.catalog.blobs.delete(&world.delete("p/cache"), &layer).await;
    assert!(matches!(refused, Err(Error::BlobInUse(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_index_pushed_again_keeps_the_layers_that_arrived_since() {
    let world = World::new().await;
    let layers =
        [b"early".as_slice(), b"late!".as_slice()].map(|bytes| (bytes, Digest::of(Algorithm::Sha256, bytes)));
    let manifests: Vec<_> = layers
        .iter()
        .map(|(_, digest)| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest.to_string(), "size": 5}))
        .collect();
    let payload =
        Bytes::from(json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string());
    for (bytes, digest) in &layers {
        world.blob("p/cache", bytes).await;
        for _ in 0..2 {
            let target = PushTarget { digest: None, tags: vec!["cache".parse().unwrap()] };
            world.catalog.manifests.put(&world.push("p/cache"), target, None, payload.clone()).await.unwrap();
        }
        let refused = world.catalog.blobs.delete(&world.delete("p/cache"), digest).await;
        assert!(matches!(refused, Err(Error::BlobInUse(_))), "{refused:?}");
    }
    assert_eq!(world.used().await, 10 + payload.len() as i64);
    let counted =
        "select count(*) from catalog.project_blobs where project_id = $1 and refs = 1 and links = 1";
    assert_eq!(world.number(counted, world.project).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_review_queues_fill_themselves() {
    let world = World::new().await;
    world.blob("p/a", b"one").await;
    world.blob("p/a", b"two").await;
    let due = "select count(*) from catalog.blobs where gc_after is not null and $1 = $1";
    assert_eq!(world.number(due, 0).await, 2);
    let pushed = world.image("p/a", Some("t"), &[b"one"]).await;
    let due_manifests = "select count(*) from catalog.manifests where gc_after is not null and $1 = $1";
    assert_eq!(world.number(due_manifests, 0).await, 1);
    let clear = || async {
        sqlx::query("update catalog.manifests set gc_after = null")
            .execute(world.database.pool())
            .await
            .unwrap();
        sqlx::query("update catalog.blobs set gc_after = null").execute(world.database.pool()).await.unwrap();
    };
    clear().await;
    world.image("p/a", Some("t"), &[b"two"]).await;
    assert_eq!(world.number(due_manifests, 0).await, 2, "the one the tag left, and the new one");
    clear().await;
    let old = Reference::Digest(pushed.digest);
    world.catalog.manifests.delete(&world.delete("p/a"), &old).await.unwrap();
    assert_eq!(world.number(due_manifests, 0).await, 1);
    clear().await;
    sqlx::query("delete from catalog.manifests where deleted_at is not null")
        .execute(world.database.pool())
        .await
        .unwrap();
    assert_eq!(world.number(due, 0).await, 2, "its config and its layer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_manifest_pushed_again_is_alive() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    let digest = world.image("p/a", Some("1"), &[b"layer"]).await.digest;
    let used = world.used().await;
    let reference = Reference::Digest(digest);
    world.catalog.manifests.delete(&world.delete("p/a"), &reference).await.unwrap();
    assert!(matches!(
        world.catalog.manifests.get(&world.pull("p/a"), &reference).await,
        Err(Error::ManifestUnknown(_))
    ));
    assert_eq!(world.used().await, 0, "quota is released at once");
    world.image("p/a", Some("1"), &[b"layer"]).await;
    assert!(world.catalog.manifests.get(&world.pull("p/a"), &reference).await.is_ok());
    assert_eq!(world.used().await, used);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_are_counted_in_batches() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    world.image("p/a", Some("1"), &[b"layer"]).await;
    let reference: Reference = "1".parse().unwrap();
    let pull = world.pull("p/a");
    for _ in 0..3 {
        let found = world.catalog.manifests.get(&pull, &reference).await.unwrap();
        world.catalog.manifests.pulled(&pull, &found, &reference);
    }
    world.catalog.pulls.flush().await.unwrap();
    for counter in [
        "select pull_count from catalog.repositories where $1 = $1",
        "select pull_count from catalog.manifest_pulls where $1 = $1",
        "select pull_count from catalog.tags where $1 = $1",
    ] {
        assert_eq!(world.number(counter, 0).await, 3, "{counter}");
    }
}

/// A push that waited for a deletion must judge what is there afterwards, not what it saw before.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_beside_a_deletion_is_refused_and_not_half_stored() {
    for whole_repository in [true, false] {
        let world = std::sync::Arc::new(World::new().await);
        let layer = world.blob("p/a", b"layer").await;
        world.blob("p/a", br#"{"architecture":"amd64","os":"linux"}"#).await;
        let mut deletion = world.database.begin().await.unwrap();
        sqlx::query("select id from catalog.repositories where path = 'p/a' for update")
            .execute(&mut *deletion)
            .await
            .unwrap();
        let push = tokio::spawn({
            let world = std::sync::Arc::clone(&world);
            async move { world.try_put("p/a", "1", &[b"layer"]).await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(!push.is_finished(), "the push waits for the repository");
        if whole_repository {
            sqlx::query("update catalog.repositories set deleted_at = now() where path = 'p/a'")
                .execute(&mut *deletion)
                .await
                .unwrap();
        } else {
            sqlx::query(
                "select catalog.unlink_blob(project_id, id, $1) from catalog.repositories where path = 'p/a'",
            )
            .bind(layer.to_bytes())
            .execute(&mut *deletion)
            .await
            .unwrap();
        }
        deletion.commit().await.unwrap();
        let pushed = push.await.unwrap();
        assert!(matches!(pushed, Err(Error::ManifestBlobUnknown(_))), "{whole_repository}: {pushed:?}");
        assert_eq!(world.number("select count(*) from catalog.manifests where $1 = $1", 0).await, 0);
    }
}
