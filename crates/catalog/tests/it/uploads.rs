//! Sessions: order of chunks, resuming, digests, mounting, expiry.

use catalog::Error;
use oci::{Algorithm, Digest};
use uuid::Uuid;

use crate::world::{World, broken, chunk, nothing, whole};

#[tokio::test(flavor = "multi_thread")]
async fn chunks_out_of_order_leave_the_session_as_it_was() {
    let world = World::new().await;
    let push = world.push("p/a");
    let uploads = &world.catalog.uploads;
    let session = uploads.start(&push, Algorithm::Sha256).await.unwrap();
    uploads.append(&push, session.id, chunk(0, b"hello ")).await.unwrap();
    for first in [0, 5, 7] {
        let refused = uploads.append(&push, session.id, chunk(first, b"world")).await;
        assert!(matches!(refused, Err(Error::RangeInvalid { offset: 6, .. })), "{refused:?}");
    }
    let digest = Digest::of(Algorithm::Sha256, b"hello world");
    let refused = uploads.finish(&push, session.id, &digest, chunk(9, b"world")).await;
    assert!(matches!(refused, Err(Error::RangeInvalid { offset: 6, .. })), "{refused:?}");
    assert_eq!(uploads.status(&push, session.id).await.unwrap().offset, 6);
    uploads.append(&push, session.id, chunk(6, b"world")).await.unwrap();
    let blob = uploads.finish(&push, session.id, &digest, nothing()).await.unwrap();
    assert_eq!(blob.size, 11);
    assert!(matches!(uploads.status(&push, session.id).await, Err(Error::UploadUnknown(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_chunk_is_not_taken_and_a_torn_stream_goes_on() {
    let world = World::new().await;
    let push = world.push("p/a");
    let uploads = &world.catalog.uploads;
    let session = uploads.start(&push, Algorithm::Sha256).await.unwrap();
    let mut torn = chunk(0, b"0123456789");
    torn.bytes = whole(b"0123").bytes;
    let refused = uploads.append(&push, session.id, torn).await;
    assert!(matches!(refused, Err(Error::SizeInvalid { announced: 10, received: 4 })), "{refused:?}");
    assert_eq!(uploads.status(&push, session.id).await.unwrap().offset, 0);

    let refused = uploads.append(&push, session.id, broken(b"01234")).await;
    assert!(matches!(refused, Err(Error::SizeInvalid { .. })), "{refused:?}");
    assert_eq!(uploads.status(&push, session.id).await.unwrap().offset, 5);
    let digest = Digest::of(Algorithm::Sha256, b"0123456789");
    uploads.finish(&push, session.id, &digest, whole(b"56789")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_ends_the_session_and_another_algorithm_does_not() {
    let world = World::new().await;
    let push = world.push("p/a");
    let uploads = &world.catalog.uploads;
    let session = uploads.start(&push, Algorithm::Sha256).await.unwrap();
    let wrong = Digest::of(Algorithm::Sha256, b"other");
    let refused = uploads.finish(&push, session.id, &wrong, whole(b"bytes")).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    assert!(matches!(uploads.status(&push, session.id).await, Err(Error::UploadUnknown(_))));
    assert!(world.catalog.blobs.get(&world.pull("p/a"), &wrong).await.is_err());

    let session = uploads.start(&push, Algorithm::Sha256).await.unwrap();
    let sha512 = Digest::of(Algorithm::Sha512, b"bytes");
    uploads.finish(&push, session.id, &sha512, whole(b"bytes")).await.unwrap();
    assert_eq!(world.catalog.blobs.head(&world.pull("p/a"), &sha512).await.unwrap().size, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_bound_to_its_repository_and_account() {
    let world = World::new().await;
    let uploads = &world.catalog.uploads;
    let session = uploads.start(&world.push("p/a"), Algorithm::Sha256).await.unwrap();
    let elsewhere = world.push("p/b");
    let mut stranger = world.push("p/a");
    let identity::Principal::User(user) = &mut stranger.caller.principal else {
        unreachable!("ana is a user")
    };
    user.id = identity::UserId(user.id.0 + 1);
    for push in [&elsewhere, &stranger] {
        assert!(matches!(uploads.status(push, session.id).await, Err(Error::UploadUnknown(_))));
        assert!(matches!(uploads.append(push, session.id, whole(b"x")).await, Err(Error::UploadUnknown(_))));
        assert!(matches!(uploads.cancel(push, session.id).await, Err(Error::UploadUnknown(_))));
    }
    assert_eq!(uploads.status(&world.push("p/a"), session.id).await.unwrap().offset, 0);
    let unknown = uploads.status(&world.push("p/a"), Uuid::new_v4()).await;
    assert!(matches!(unknown, Err(Error::UploadUnknown(_))));
}

/// DS-05.
#[tokio::test(flavor = "multi_thread")]
async fn one_account_holds_a_bounded_number_of_sessions() {
    let world = World::new().await;
    let push = world.push("p/a");
    for _ in 0..20 {
        world.catalog.uploads.start(&push, Algorithm::Sha256).await.unwrap();
    }
    assert!(matches!(
        world.catalog.uploads.start(&push, Algorithm::Sha256).await,
        Err(Error::TooManyUploads)
    ));
}

/// AZ-07.
#[tokio::test(flavor = "multi_thread")]
async fn mounts_need_the_blob_in_the_source() {
    let world = World::new().await;
    let digest = world.blob("p/a", b"shared").await;
    let uploads = &world.catalog.uploads;
    let push = world.push("p/b");
    let elsewhere = uploads.mount(&push, &digest, Some(&world.pull("p/empty"))).await.unwrap();
    assert!(elsewhere.is_none());
    assert!(world.catalog.blobs.get(&world.pull("p/b"), &digest).await.is_err());
    let mounted = uploads.mount(&push, &digest, Some(&world.pull("p/a"))).await.unwrap().unwrap();
    assert_eq!(mounted.size, 6);
    assert!(world.catalog.blobs.get(&world.pull("p/b"), &digest).await.is_ok());
    let anywhere = uploads.mount(&world.push("p/c"), &digest, None).await.unwrap();
    assert!(anywhere.is_some());
    let unknown = Digest::of(Algorithm::Sha256, b"unknown");
    assert!(uploads.mount(&push, &unknown, None).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_sessions_and_dead_objects_go() {
    let world = World::new().await;
    let push = world.push("p/a");
    let uploads = &world.catalog.uploads;
    let empty = uploads.start(&push, Algorithm::Sha256).await.unwrap();
    let half = uploads.start(&push, Algorithm::Sha256).await.unwrap();
    uploads.append(&push, half.id, whole(b"half")).await.unwrap();
    assert_eq!(uploads.remove_forgotten(|| false).await.unwrap(), catalog::Removed::default());

    // Rows move, not the clock: the database's own time decides.
    sqlx::query("update catalog.upload_sessions set last_write_at = now() - interval '20 minutes'")
        .execute(world.database.pool())
        .await
        .unwrap();
    let removed = uploads.remove_forgotten(|| false).await.unwrap();
    assert_eq!(removed, catalog::Removed { sessions: 1, objects: 0 });
    dead_for_long(&world).await;
    assert_eq!(
        uploads.remove_forgotten(|| false).await.unwrap(),
        catalog::Removed { sessions: 0, objects: 1 }
    );
    assert!(matches!(uploads.status(&push, empty.id).await, Err(Error::UploadUnknown(_))));
    assert_eq!(uploads.status(&push, half.id).await.unwrap().offset, 4);
    sqlx::query("update catalog.upload_sessions set last_write_at = now() - interval '8 days'")
        .execute(world.database.pool())
        .await
        .unwrap();
    assert_eq!(uploads.remove_forgotten(|| false).await.unwrap().sessions, 1);

    // The same bytes twice: the second writer's object has no row and goes.
    world.blob("p/a", b"twice").await;
    world.blob("p/b", b"twice").await;
    // A key that a blob names is never removed, whatever the list says: a link whose commit was not confirmed.
    sqlx::query("insert into catalog.dead_objects (key) select location from catalog.blobs")
        .execute(world.database.pool())
        .await
        .unwrap();
    dead_for_long(&world).await;
    // The other writer's copy, and the bytes of the session that expired above.
    assert_eq!(
        uploads.remove_forgotten(|| false).await.unwrap(),
        catalog::Removed { sessions: 0, objects: 2 }
    );
    let digest = Digest::of(Algorithm::Sha256, b"twice");
    assert_eq!(world.catalog.blobs.head(&world.pull("p/a"), &digest).await.unwrap().size, 5);
}

async fn dead_for_long(world: &World) {
    sqlx::query("update catalog.dead_objects set queued_at = now() - interval '2 minutes'")
        .execute(world.database.pool())
        .await
        .unwrap();
}
