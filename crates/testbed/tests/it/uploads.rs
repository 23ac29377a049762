//! Upload sessions (CT-01, CT-11, CT-12): what was acknowledged is kept, what was torn is not, and two
//! writers never mix.

use hythe_testbed::forge::Parts;
use hythe_testbed::{Bed, Credentials, Registry, Role, random_bytes};
use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::json;

use crate::support::now;

async fn pusher() -> (Registry, String) {
    let bed = Bed::shared().await;
    let user = bed.user("pusher").await;
    let project = bed.project("uploads").member(&user, Role::Developer).create().await;
    (user.registry(), project.repository("app"))
}

#[tokio::test]
async fn ct_01_a_wrong_digest_leaves_nothing() {
    let (registry, repository) = pusher().await;
    let bytes = random_bytes(10_000);
    let (claimed, actual) = (Digest::of(Algorithm::Sha256, b"else"), Digest::of(Algorithm::Sha256, &bytes));
    let upload = registry.start_upload(&repository).await;
    registry.patch(&upload, None, &bytes[..5000]).await.expect(202);
    registry.finish(&upload, &claimed, &bytes[5000..]).await.expect_error(400, "DIGEST_INVALID");
    registry.get(&upload.location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    for digest in [&claimed, &actual] {
        registry.head_blob(&repository, digest).await.expect(404);
    }
    let request =
        registry.request(Method::POST, format!("/v2/{repository}/blobs/uploads/")).query("digest", &claimed);
    request.body(bytes).send().await.expect_error(400, "DIGEST_INVALID");
    registry.head_blob(&repository, &actual).await.expect(404);
}

#[tokio::test]
async fn ct_11_chunks_out_of_order_are_refused_and_the_session_goes_on() {
    let (registry, repository) = pusher().await;
    let bytes = random_bytes(100);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = registry.start_upload(&repository).await;
    let fresh = registry.get(&upload.location).await.expect(204);
    assert_eq!((fresh.header("range"), fresh.header("docker-upload-uuid")), ("0-0", upload.id()));
    let answer = registry.patch(&upload, Some("0-39"), &bytes[..40]).await.expect(202);
    assert_eq!((answer.header("range"), answer.header("location")), ("0-39", upload.location.as_str()));
    let at_40 = async || {
        assert_eq!(registry.get(&upload.location).await.expect(204).header("range"), "0-39");
    };
    for (what, range, part) in [
        ("again", "0-39", &bytes[..40]),
        ("overlap", "20-59", &bytes[20..60]),
        ("gap", "50-99", &bytes[50..]),
    ] {
        let answer = registry.patch(&upload, Some(range), part).await;
        assert_eq!((answer.status, answer.header("range")), (416, "0-39"), "{what}: {answer}");
        at_40().await;
    }
    for (what, range) in [
        ("negative", "-1-39"),
        ("reversed", "60-40"),
        ("letters", "a-b"),
        ("huge", "40-18446744073709551615"),
        ("empty", ""),
    ] {
        let answer = registry.patch(&upload, Some(range), &bytes[40..60]).await;
        assert!([400, 416].contains(&answer.status), "{what}: {answer}");
        at_40().await;
    }
    for (what, part) in [("announced more", &bytes[40..60]), ("announced less", &bytes[40..95])] {
        let answer = registry.patch(&upload, Some("40-89"), part).await;
        assert!([400, 416].contains(&answer.status), "{what}: {answer}");
        at_40().await;
    }
    // The last chunk may come with the PUT, but only in its place.
    let put = registry
        .request(Method::PUT, &upload.location)
        .query("digest", &digest)
        .header("content-range", "50-99");
    put.body(bytes[50..].to_vec()).send().await.expect(416);
    at_40().await;
    registry.patch(&upload, Some("bytes 40-59/100"), &bytes[40..60]).await.expect(202);
    let put = registry
        .request(Method::PUT, &upload.location)
        .query("digest", &digest)
        .header("content-range", "60-99");
    put.body(bytes[60..].to_vec()).send().await.expect(201);
    assert_eq!(registry.get_blob(&repository, &digest).await.expect(200).body, bytes);
    registry.get(&upload.location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

/// A body that ends before its Content-Length must not leave the session in a state that cannot go on.
#[tokio::test]
async fn ct_11_a_torn_body_can_be_continued() {
    let (registry, repository) = pusher().await;
    let bed = registry.client().bed().clone();
    let bytes = random_bytes(100_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = registry.start_upload(&repository).await;
    registry.patch(&upload, None, &bytes[..1000]).await.expect(202);
    let hythe_testbed::Credentials::Basic { name, password } = registry.client().credentials() else {
        panic!("Basic")
    };
    let authorization = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"))
    };
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: hythe.test\r\nAuthorization: Basic {authorization}\r\nContent-Length: 99000\r\n\r\n",
        upload.location
    );
    let torn = [head.as_bytes(), &bytes[1000..50_000]].concat();
    bed.raw_torn(torn).await;
    // The server may still be writing down what it got: the offset it tells is taken at its word or refused.
    crate::support::eventually(std::time::Duration::from_secs(15), "the upload goes on", async || {
        let status = registry.get(&upload.location).await.expect(204);
        let last = status.header("range").rsplit('-').next().and_then(|last| last.parse::<usize>().ok());
        let offset = last.map_or(0, |last| last + 1);
        assert!((1000..=50_000).contains(&offset), "offset {offset}");
        let range = format!("{offset}-{}", bytes.len() - 1);
        registry.patch(&upload, Some(&range), &bytes[offset..]).await.status == 202
    })
    .await;
    registry.finish(&upload, &digest, b"").await.expect(201);
    assert_eq!(registry.get_blob(&repository, &digest).await.expect(200).body, bytes);
}

#[tokio::test]
async fn ct_12_of_two_writers_one_wins() {
    let (registry, repository) = pusher().await;
    for round in 0..5 {
        let (left, right) = (random_bytes(300_000), random_bytes(300_000));
        let upload = registry.start_upload(&repository).await;
        let range = "0-299999";
        let (first, second) = tokio::join!(
            registry.patch(&upload, Some(range), &left),
            registry.patch(&upload, Some(range), &right)
        );
        let won: Vec<&Vec<u8>> = [(&first, &left), (&second, &right)]
            .iter()
            .filter(|(answer, _)| answer.status == 202)
            .map(|(_, b)| *b)
            .collect();
        assert_eq!(won.len(), 1, "round {round}: {first} and {second}");
        for answer in [&first, &second] {
            assert!([202, 416].contains(&answer.status), "round {round}: {answer}");
        }
        let digest = Digest::of(Algorithm::Sha256, won[0]);
        registry.finish(&upload, &digest, b"").await.expect(201);
        assert_eq!(registry.get_blob(&repository, &digest).await.expect(200).body, won[0][..]);
    }
}

/// Either order is a whole blob or an honest refusal, but one of the two always gets its way.
#[tokio::test]
async fn ct_12_a_chunk_beside_the_finish() {
    let (registry, repository) = pusher().await;
    for round in 0..10 {
        let (base, more) = (random_bytes(100_000), random_bytes(100_000));
        let short = Digest::of(Algorithm::Sha256, &base);
        let long = Digest::of(Algorithm::Sha256, &[&base[..], &more].concat());
        let upload = registry.start_upload(&repository).await;
        registry.patch(&upload, Some("0-99999"), &base).await.expect(202);
        let (patch, put) = tokio::join!(
            registry.patch(&upload, Some("100000-199999"), &more),
            registry.finish(&upload, &short, b"")
        );
        match put.status {
            201 => {
                assert!([404, 416].contains(&patch.status), "round {round}: {patch}");
                assert_eq!(registry.get_blob(&repository, &short).await.expect(200).body, base);
            }
            // The chunk came first, so the digest of the short blob no longer fits.
            400 => assert_eq!(patch.status, 202, "round {round}: {patch}"),
            _ => panic!("round {round}: {put} beside {patch}"),
        }
        registry.head_blob(&repository, &long).await.expect(404);
    }
}

/// A client that lost patience sends its PUT again while the first is still at work.
#[tokio::test]
async fn ct_12_two_finishes_make_one_blob() {
    let (registry, repository) = pusher().await;
    for round in 0..10 {
        let bytes = random_bytes(100_000);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let upload = registry.start_upload(&repository).await;
        registry.patch(&upload, None, &bytes).await.expect(202);
        let (first, second) =
            tokio::join!(registry.finish(&upload, &digest, b""), registry.finish(&upload, &digest, b""));
        let mut statuses = [first.status, second.status];
        statuses.sort();
        assert_eq!(statuses, [201, 404], "round {round}: {first} and {second}");
        assert_eq!(registry.get_blob(&repository, &digest).await.expect(200).body, bytes);
    }
}

#[tokio::test]
async fn every_way_of_uploading_ends_in_the_same_blob() {
    let (registry, repository) = pusher().await;
    let path = format!("/v2/{repository}/blobs/uploads/");
    // POST with digest and body.
    let bytes = random_bytes(5000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let answer = registry
        .request(Method::POST, &path)
        .query("digest", &digest)
        .body(bytes.clone())
        .send()
        .await
        .expect(201);
    assert_eq!(answer.header("location"), format!("/v2/{repository}/blobs/{digest}"));
    assert_eq!(registry.get_blob(&repository, &digest).await.expect(200).body, bytes);
    // One streaming PATCH of unknown length, then an empty PUT: classic docker.
    let bytes = random_bytes(500_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = registry.start_upload(&repository).await;
    registry
        .request(Method::PATCH, &upload.location)
        .body(hythe_testbed::streaming(&bytes, 70_000))
        .send()
        .await
        .expect(202);
    registry.finish(&upload, &digest, b"").await.expect(201);
    let answer = registry.get_blob(&repository, &digest).await.expect(200);
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    // SHA-512, named in advance and not.
    let bytes = random_bytes(9000);
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let answer =
        registry.request(Method::POST, &path).query("digest-algorithm", "sha512").send().await.expect(202);
    let upload = hythe_testbed::Upload { location: answer.header("location").to_owned() };
    registry.finish(&upload, &digest, &bytes).await.expect(201);
    registry.head_blob(&repository, &digest).await.expect(200);
    registry.request(Method::POST, &path).query("digest-algorithm", "md5").send().await.expect(400);
    // The empty blob.
    let nothing = registry.push_blob(&repository, b"").await;
    assert_eq!(registry.head_blob(&repository, &nothing).await.expect(200).header("content-length"), "0");
    // A cancelled session is gone.
    let upload = registry.start_upload(&repository).await;
    registry.delete(&upload.location).await.expect(204);
    registry.get(&upload.location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.delete(&upload.location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

/// DS-06.
#[tokio::test]
async fn a_quota_is_enforced_and_given_back() {
    let bed = Bed::shared().await;
    let user = bed.user("quota").await;
    let project = bed.project("small").storage_limit(10_000).member(&user, Role::Maintainer).create().await;
    let (registry, repository) = (user.registry(), project.repository("app"));
    let first = random_bytes(6000);
    let digest = registry.push_blob(&repository, &first).await;
    let upload = registry.start_upload(&repository).await;
    let second = random_bytes(6000);
    let answer = registry.finish(&upload, Digest::of(Algorithm::Sha256, &second), &second).await;
    answer.expect_error(403, "DENIED");
    // The same bytes again cost nothing.
    registry.push_blob(&repository, &first).await;
    registry.delete(format!("/v2/{repository}/blobs/{digest}")).await.expect(202);
    assert_eq!(project.quota_used().await, 0);
    registry.push_blob(&repository, &second).await;
    assert_eq!(project.quota_used().await, 6000);
}

/// A push that takes longer than its token lives goes on; nothing else that a token could do does.
#[tokio::test]
async fn an_ended_token_finishes_its_own_upload_and_no_other() {
    let bed = Bed::shared().await;
    let (pusher, other) = (bed.user("pusher").await, bed.user("other").await);
    let project = bed
        .project("outlived")
        .member(&pusher, Role::Developer)
        .member(&other, Role::Developer)
        .create()
        .await;
    let (repository, elsewhere) = (project.repository("app"), project.repository("lib"));
    let inside = bed.inside().await;
    let ended = async |user: &hythe_testbed::User, repository: &str, actions: &str| {
        let token = user.client().token(&[&format!("repository:{repository}:{actions}")]).await;
        let parts = Parts::of(&token);
        let key = inside.signing_key(parts.key_id()).await;
        let parts = parts.claim("iat", json!(now() - 700)).claim("nbf", json!(now() - 700));
        let token = parts.claim("exp", json!(now() - 100)).signed_es256(&key);
        Registry::new(bed.client(Credentials::Bearer(token)))
    };
    let own = ended(&pusher, &repository, "pull,push").await;
    let bytes = random_bytes(1000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = pusher.registry().start_upload(&repository).await;
    pusher.registry().patch(&upload, None, &bytes[..600]).await.expect(202);
    own.finish(&upload, &digest, &bytes[600..]).await.expect(401).expect_challenge("invalid_token");
    // The token ended 100 s ago: it can only serve a session that was opened before.
    let opened = sqlx::query(
        "update catalog.upload_sessions set created_at = now() - interval '5 minutes' where id = $1::uuid",
    );
    opened.bind(upload.id()).execute(inside.database.pool()).await.expect("the session has a row");
    for (what, registry) in [
        ("never had push", ended(&pusher, &repository, "pull").await),
        ("had push elsewhere", ended(&pusher, &elsewhere, "pull,push").await),
        ("somebody else's", ended(&other, &repository, "pull,push").await),
    ] {
        for answer in [
            registry.patch(&upload, None, &bytes[600..700]).await,
            registry.finish(&upload, &digest, &bytes[600..]).await,
        ] {
            assert_eq!(answer.status, 401, "{what}: {answer}");
        }
    }
    assert_eq!(own.head_blob(&repository, &digest).await.status, 401, "the rest of the token has ended");
    own.patch(&upload, None, &bytes[600..700]).await.expect(202);
    own.finish(&upload, &digest, &bytes[700..]).await.expect(201);
    pusher.registry().head_blob(&repository, &digest).await.expect(200);
}
