//! Uploads over a bucket: what ended sessions left there goes, although only their rows knew where it is.

use oci::{Algorithm, Digest};

use crate::s3::{self, S3Server};
use crate::world::{World, nothing, whole};

const MIB: usize = 1024 * 1024;

async fn run(world: &World, sql: &'static str) -> u64 {
    sqlx::query(sql).execute(world.database.pool()).await.unwrap().rows_affected()
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_uploads_leave_neither_parts_nor_objects() {
    let server = S3Server::start();
    let world = World::on(s3::open(server.port())).await;
    let (push, uploads) = (world.push("p/a"), &world.catalog.uploads);
    let bytes = vec![7; 6 * MIB];
    for size in [6 * MIB, 1000] {
        let forgotten = uploads.start(&push, Algorithm::Sha256).await.unwrap();
        uploads.append(&push, forgotten.id, whole(&bytes[..size])).await.unwrap();
    }
    assert_eq!(server.files().len(), 3, "a part, the rest of it, and a small one: {:?}", server.files());
    assert_eq!(
        run(&world, "update catalog.upload_sessions set last_write_at = now() - interval '8 days'").await,
        2
    );
    let removed = uploads.remove_forgotten(|| false).await.unwrap();
    assert_eq!(removed, catalog::Removed { sessions: 2, objects: 0 });
    assert_eq!(
        run(&world, "update catalog.dead_objects set queued_at = now() - interval '2 minutes'").await,
        2
    );
    let removed = uploads.remove_forgotten(|| false).await.unwrap();
    assert_eq!(removed, catalog::Removed { sessions: 0, objects: 2 });
    assert_eq!(server.files(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_never_removed_with_the_session_that_it_came_from() {
    let server = S3Server::start();
    let world = World::on(s3::open(server.port())).await;
    let (push, uploads) = (world.push("p/a"), &world.catalog.uploads);
    for size in [6 * MIB, 1000] {
        let bytes = vec![size as u8 + 1; size];
        let session = uploads.start(&push, Algorithm::Sha256).await.unwrap();
        uploads.append(&push, session.id, whole(&bytes)).await.unwrap();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        uploads.finish(&push, session.id, &digest, nothing()).await.unwrap();
        // Late repetitions of everything that ends a session.
        assert!(uploads.finish(&push, session.id, &digest, nothing()).await.is_err());
        assert!(uploads.cancel(&push, session.id).await.is_err());
        run(&world, "insert into catalog.dead_objects (key) select location from catalog.blobs").await;
        run(&world, "update catalog.dead_objects set queued_at = now() - interval '2 minutes'").await;
        uploads.remove_forgotten(|| false).await.unwrap();
        assert_eq!(world.catalog.blobs.head(&world.pull("p/a"), &digest).await.unwrap().size, size as u64);
    }
}

/// A process that finished in the bucket and died before its row said so: the client comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_finish_that_was_cut_off_before_its_row_is_repeated() {
    let server = S3Server::start();
    let store = s3::open(server.port());
    let world = World::on(store.clone()).await;
    let (push, uploads) = (world.push("p/a"), &world.catalog.uploads);
    let bytes = vec![9; 6 * MIB];
    let session = uploads.start(&push, Algorithm::Sha256).await.unwrap();
    uploads.append(&push, session.id, whole(&bytes)).await.unwrap();
    let state: Vec<u8> = sqlx::query_scalar("select store_state from catalog.upload_sessions")
        .fetch_one(world.database.pool())
        .await
        .unwrap();
    let state = blobstore::UploadState::from_bytes(&state).unwrap();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let mut writer = store.writer(session.id).await.unwrap();
    writer.digest(&state, Algorithm::Sha256).await.unwrap();
    writer.publish().await.unwrap();
    drop(writer);
    uploads.finish(&push, session.id, &digest, nothing()).await.unwrap();
    let blob = world.catalog.blobs.head(&world.pull("p/a"), &digest).await.unwrap();
    assert_eq!(blob.size, bytes.len() as u64);
}
