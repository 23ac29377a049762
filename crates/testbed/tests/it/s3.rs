//! The platform with its blobs in a bucket: what people do works as with files, through restarts and while the
//! service is away.

use std::time::Duration;

use hythe_testbed::{Bed, Options, Registry, Role, S3, random_bytes};
use oci::{Algorithm, Digest};
use reqwest::Method;

use crate::support::eventually;

const MIB: usize = 1024 * 1024;

async fn pusher(bed: &Bed) -> (Registry, String) {
    let user = bed.user("s3").await;
    let project = bed.project("s3").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let registry = user.registry_with_token(&[&format!("repository:{repository}:pull,push")]).await;
    (registry, repository)
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_uploads_and_faults_on_a_bucket() {
    let mut server = S3::start();
    let bed = Bed::own(Options::default().s3(&server)).await;
    let (registry, repository) = pusher(&bed).await;
    let image = registry.push_image(&repository, "1").await;
    let read = registry.get_blob(&repository, &image.layer).await.expect(200);
    assert_eq!(read.body, image.layer_bytes);
    let part = registry.request(Method::GET, format!("/v2/{repository}/blobs/{}", image.layer));
    let part = part.header("range", "bytes=1-3").send().await.expect(206);
    assert_eq!(part.body, image.layer_bytes[1..4]);

    // An upload goes on in a process that knows nothing but the row and the bucket.
    let bytes = random_bytes(12 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = registry.start_upload(&repository).await;
    let first = format!("0-{}", 7 * MIB - 1);
    registry.patch(&upload, Some(&first), &bytes[..7 * MIB]).await.expect(202);
    bed.kill_9();
    bed.restart().await;
    assert_eq!(registry.get(&upload.location).await.expect(204).header("range"), first);
    registry.patch(&upload, None, &bytes[7 * MIB..11 * MIB]).await.expect(202);
    registry.finish(&upload, &digest, &bytes[11 * MIB..]).await.expect(201);
    assert!(registry.get_blob(&repository, &digest).await.expect(200).body == bytes);

    // A cancelled one leaves nothing, neither parts nor the rest.
    let before = server.objects().len();
    let cancelled = registry.start_upload(&repository).await;
    registry.patch(&cancelled, None, &bytes[..6 * MIB]).await.expect(202);
    assert!(server.objects().len() > before);
    registry.delete(&cancelled.location).await.expect(204);
    eventually(Duration::from_secs(10), "the parts go", async || server.objects().len() == before).await;

    // While the service is away everything that needs it says so, and nothing is forgotten.
    let waiting = registry.start_upload(&repository).await;
    registry.patch(&waiting, None, &bytes[..MIB]).await.expect(202);
    server.pause();
    let away = registry.get_blob(&repository, &image.layer).await.expect_error(503, "UNAVAILABLE");
    assert!(!away.header("retry-after").is_empty());
    registry.head_blob(&repository, &image.layer).await.expect(503);
    let refused = registry.patch(&waiting, None, &bytes[MIB..2 * MIB]).await.expect(503);
    assert!(!refused.header("retry-after").is_empty());
    let ready = format!("{}/readyz", bed.operations_url());
    let status = async || reqwest::get(&ready).await.map(|answer| answer.status().as_u16()).unwrap_or(0);
    eventually(Duration::from_secs(30), "not ready", async || status().await == 503).await;
    assert_eq!(registry.get_manifest(&repository, "1").await.expect(200).body, image.manifest);
    server.resume();
    eventually(Duration::from_secs(30), "ready again", async || status().await == 200).await;
    assert_eq!(registry.get_blob(&repository, &image.layer).await.expect(200).body, image.layer_bytes);
    registry.patch(&waiting, None, &bytes[MIB..2 * MIB]).await.expect(202);
    let digest = Digest::of(Algorithm::Sha256, &bytes[..2 * MIB]);
    registry.finish(&waiting, &digest, b"").await.expect(201);
    assert!(registry.get_blob(&repository, &digest).await.expect(200).body == bytes[..2 * MIB]);
    assert!(!bed.log().contains(S3::SECRET_KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_are_redirected_where_that_is_switched_on() {
    let server = S3::start();
    let options = Options::default()
        .s3(&server)
        .set("HYTHE_STORAGE__S3__REDIRECT", "true")
        .set("HYTHE_STORAGE__S3__REDIRECT_NEVER", "old-client/");
    let bed = Bed::own(options).await;
    let (registry, repository) = pusher(&bed).await;
    let bytes = random_bytes(300_000);
    let digest = registry.push_blob(&repository, &bytes).await;
    let path = format!("/v2/{repository}/blobs/{digest}");
    let get = || registry.request(Method::GET, &path);

    let sent = get().send().await.expect(307);
    let address = sent.header("location").to_owned();
    assert_eq!(sent.header("docker-content-digest"), digest.to_string());
    assert_eq!(sent.header("cache-control"), "no-store");
    // A client without any right fetches what the address names, and a part of it.
    let plain = reqwest::Client::builder().no_proxy().build().expect("a client");
    let whole = plain.get(&address).send().await.expect("the bucket answers").bytes().await.expect("bytes");
    assert!(whole == bytes);
    let part = plain.get(&address).header("range", "bytes=5-9").send().await.expect("the bucket answers");
    assert_eq!(
        (part.status().as_u16(), part.bytes().await.expect("bytes").to_vec()),
        (206, bytes[5..10].to_vec())
    );
    get().header("range", "bytes=5-9").send().await.expect(307);

    let head = registry.head_blob(&repository, &digest).await.expect(200);
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    assert!(get().header("user-agent", "old-client/1.2").send().await.expect(200).body == bytes);
    get().header("range", "bytes=0-1,5-6").send().await.expect(206);
    let log = bed.log();
    assert!(!log.contains("X-Amz-Signature") && !log.contains(S3::SECRET_KEY), "a signed address is logged");

    // An object that is gone is damage, and is told before a client is sent after it.
    for path in server.objects() {
        std::fs::remove_file(path).expect("the object goes");
    }
    get().send().await.expect_error(404, "BLOB_UNKNOWN");
}

/// What another process would write into the session's row.
async fn lease_to_another(database: &database::Database, id: &str, seconds: f64) {
    let id = uuid::Uuid::parse_str(id).expect("an id");
    let leased = sqlx::query(
        "update catalog.upload_sessions
         set writer = gen_random_uuid(), lease_until = now() + make_interval(secs => $2) where id = $1",
    );
    let leased = leased.bind(id).bind(seconds).execute(database.pool()).await.expect("the lease is taken");
    assert_eq!(leased.rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_processs_lease_is_respected_and_fences() {
    let server = S3::start();
    let bed = Bed::own(Options::default().s3(&server)).await;
    let (registry, repository) = pusher(&bed).await;
    let database = bed.inside().await.database;
    let bytes = random_bytes(9 * MIB);
    let upload = registry.start_upload(&repository).await;
    registry.patch(&upload, Some("0-999"), &bytes[..1000]).await.expect(202);
    let at_1000 = async || {
        assert_eq!(registry.get(&upload.location).await.expect(204).header("range"), "0-999");
    };

    lease_to_another(&database, upload.id(), 3600.0).await;
    let started = std::time::Instant::now();
    let busy = registry.patch(&upload, Some("1000-1999"), &bytes[1000..2000]).await.expect(503);
    assert!(!busy.header("retry-after").is_empty());
    assert!(started.elapsed() > Duration::from_secs(5), "it is waited for");
    at_1000().await;

    // A process that died two seconds ago is not waited for longer than its lease.
    lease_to_another(&database, upload.id(), 2.0).await;
    registry.patch(&upload, None, b"").await.expect(202);
    at_1000().await;

    // One that takes over in the middle of a transfer makes the slower one fail, and nothing of it counts.
    let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
    let (first, second) = (bytes[1000..6 * MIB].to_vec(), bytes[6 * MIB..].to_vec());
    let body = futures_util::stream::StreamExt::chain(
        futures_util::stream::iter([Ok::<_, std::io::Error>(first)]),
        futures_util::stream::once(async move {
            let _ = wait.await;
            Ok(second)
        }),
    );
    let slow = registry.request(Method::PATCH, &upload.location).body(reqwest::Body::wrap_stream(body));
    let slow = tokio::spawn(slow.try_send());
    tokio::time::sleep(Duration::from_secs(1)).await;
    lease_to_another(&database, upload.id(), 3600.0).await;
    let _ = go_on.send(());
    // The server may close the connection on a client that is still sending.
    if let Ok(answer) = slow.await.expect("the request ended") {
        answer.expect(503);
    }
    at_1000().await;
    lease_to_another(&database, upload.id(), -1.0).await;
    eventually(Duration::from_secs(10), "what did not count goes", async || server.objects().len() == 1)
        .await;
    registry.patch(&upload, Some(&format!("1000-{}", bytes.len() - 1)), &bytes[1000..]).await.expect(202);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    registry.finish(&upload, &digest, b"").await.expect(201);
    assert!(registry.get_blob(&repository, &digest).await.expect(200).body == bytes);
}
