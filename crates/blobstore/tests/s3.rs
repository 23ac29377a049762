//! The S3 driver before a real server, with a network between them that fails: what is asked of the service, and
//! what callers see when it is slow, breaks off, or is not there.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hythe_blobstore::{AppendError, BlobStore, Error, Key, ReadError, S3Config, UploadState};
use oci::{Algorithm, Digest};
use support::{Fault, Proxy, S3Server, content};
use uuid::Uuid;

const MIB: usize = 1024 * 1024;

/// A server, a proxy before it, and a store that knows the proxy only.
struct Bed {
    store: BlobStore,
    proxy: Proxy,
    server: S3Server,
}

fn bed() -> Bed {
    let server = S3Server::start();
    let proxy = Proxy::start(server.port());
    Bed { store: support::open(proxy.port()), proxy, server }
}

async fn append(
    store: &BlobStore,
    id: Uuid,
    state: UploadState,
    bytes: Bytes,
) -> Result<UploadState, AppendError> {
    let body = stream::iter(
        bytes.chunks(100_000).map(Bytes::copy_from_slice).map(Ok::<_, io::Error>).collect::<Vec<_>>(),
    );
    let mut writer = store.writer(id).await.unwrap();
    Ok(writer.append(state, body, None).await?.state)
}

async fn publish(store: &BlobStore, id: Uuid, state: &UploadState) -> Result<(Key, Digest), Error> {
    let mut writer = store.writer(id).await?;
    let digest = writer.digest(state, Algorithm::Sha256).await.unwrap();
    Ok((writer.publish().await?, digest))
}

async fn put(store: &BlobStore, bytes: &Bytes) -> (Key, Digest) {
    let id = Uuid::new_v4();
    let state = append(store, id, UploadState::new(Algorithm::Sha256), bytes.clone()).await.unwrap();
    publish(store, id, &state).await.unwrap()
}

/// Everything that arrives, and the error at the end.
async fn read(store: &BlobStore, key: &Key, digest: &Digest, size: usize) -> (Vec<u8>, Option<io::Error>) {
    let mut stream = match store.read(key, digest, size as u64, 0..size as u64).await {
        Ok(stream) => stream,
        Err(ReadError::Io(err)) => return (Vec::new(), Some(err)),
        Err(other) => panic!("{other:?}"),
    };
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(err) => return (all, Some(err)),
        }
    }
    (all, None)
}

fn count(requests: &[String], wanted: impl Fn(&str) -> bool) -> usize {
    requests.iter().filter(|line| wanted(line)).count()
}

fn is_part(line: &str) -> bool {
    line.starts_with("PUT ") && line.contains("partNumber=")
}

fn is_object(line: &str) -> bool {
    line.starts_with("PUT ") && !line.contains('?') && !line.ends_with("hythe-store")
}

fn is_begin(line: &str) -> bool {
    line.starts_with("POST ") && line.contains("?uploads")
}

fn is_join(line: &str) -> bool {
    line.starts_with("POST ") && line.contains("uploadId=")
}

fn is_read(line: &str) -> bool {
    line.starts_with("GET ") && line.contains("/b/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_blob_is_written_once() {
    let bed = bed();
    bed.store.probe().await.unwrap();
    bed.proxy.requests();
    let bytes = content(3 * MIB, 1);
    let (key, digest) = put(&bed.store, &bytes).await;
    let requests = bed.proxy.requests();
    assert_eq!(count(&requests, is_object), 1, "{requests:#?}");
    assert_eq!(
        count(&requests, |line| line.starts_with("PUT ") || line.starts_with("POST ")),
        1,
        "{requests:#?}"
    );
    assert!(read(&bed.store, &key, &digest, bytes.len()).await.0 == bytes);
    assert_eq!(bed.server.files().len(), 1, "{:?}", bed.server.files());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_goes_in_parts_through_several_processes() {
    let bed = bed();
    let bytes = content(17 * MIB + 12_345, 2);
    let id = Uuid::new_v4();
    let mut kept = UploadState::new(Algorithm::Sha256).to_bytes();
    for piece in [0..1000, 1000..6 * MIB, 6 * MIB..6 * MIB + 1, 6 * MIB + 1..bytes.len()] {
        // Nothing but the recorded state and the bucket is common to two of them.
        let store = support::open(bed.proxy.port());
        let state = UploadState::from_bytes(&kept).unwrap();
        kept = append(&store, id, state, bytes.slice(piece)).await.unwrap().to_bytes();
    }
    let state = UploadState::from_bytes(&kept).unwrap();
    let mut writer = bed.store.writer(id).await.unwrap();
    for algorithm in [Algorithm::Sha512, Algorithm::Sha256] {
        assert_eq!(writer.digest(&state, algorithm).await.unwrap(), Digest::of(algorithm, &bytes));
    }
    let key = writer.publish().await.unwrap();
    drop(writer);
    let requests = bed.proxy.requests();
    assert_eq!(count(&requests, is_begin), 1, "{requests:#?}");
    let parts: std::collections::BTreeSet<_> = requests.iter().filter(|line| is_part(line)).collect();
    assert_eq!(parts.len(), 4, "three whole parts and the rest: {requests:#?}");
    assert!(read(&bed.store, &key, &Digest::of(Algorithm::Sha256, &bytes), bytes.len()).await.0 == bytes);
    settles_at(&bed.server, 1).await;
}

/// What is removed beside the answer has to go some time.
async fn settles_at(server: &S3Server, files: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.files().len() != files && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.files().len(), files, "{:#?}", server.files());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_upload_leaves_nothing_in_the_bucket() {
    let bed = bed();
    let id = Uuid::new_v4();
    let state =
        append(&bed.store, id, UploadState::new(Algorithm::Sha256), content(11 * MIB, 3)).await.unwrap();
    assert!(!bed.server.files().is_empty());
    let state = UploadState::from_bytes(&state.to_bytes()).unwrap();
    bed.store.discard(id, Some(&state)).await.unwrap();
    settles_at(&bed.server, 0).await;
    bed.store.discard(id, Some(&state)).await.unwrap();
    assert!(matches!(append(&bed.store, id, state, content(10, 4)).await, Err(AppendError::Lost)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_recorded_is_taken_back() {
    let bed = bed();
    let id = Uuid::new_v4();
    let first = append(&bed.store, id, UploadState::new(Algorithm::Sha256), content(1000, 5)).await.unwrap();
    let body = stream::iter([Ok::<_, io::Error>(content(11 * MIB, 6))]);
    let mut writer = bed.store.writer(id).await.unwrap();
    writer.append(first.clone(), body, None).await.unwrap();
    writer.rewind(&first).await.unwrap();
    settles_at(&bed.server, 1).await;
    // A request that is dropped half-way.
    let endless = stream::iter([Ok::<_, io::Error>(content(11 * MIB, 7))]).chain(stream::pending());
    let append = writer.append(first.clone(), Box::pin(endless), None);
    assert!(tokio::time::timeout(Duration::from_secs(2), append).await.is_err());
    drop(writer);
    settles_at(&bed.server, 1).await;
    let (key, digest) = publish(&bed.store, id, &first).await.unwrap();
    assert!(read(&bed.store, &key, &digest, 1000).await.0 == content(1000, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_to_slow_down_is_asked_again() {
    let bed = bed();
    let bytes = content(11 * MIB, 8);
    for status in [500, 503] {
        for kind in [is_begin as fn(&str) -> bool, is_part, is_object, is_join, is_read] {
            bed.proxy.fail(2, Fault::Answer(status), kind);
        }
        bed.proxy.fail(2, Fault::Answer(status), |line| line.starts_with("HEAD "));
        bed.proxy.fail(1, Fault::Slow(Duration::from_millis(500)), is_part);
        let (key, digest) = put(&bed.store, &bytes).await;
        let (all, err) = read(&bed.store, &key, &digest, bytes.len()).await;
        assert!(err.is_none() && all == bytes, "{err:?}");
    }
    settles_at(&bed.server, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_change_nothing() {
    let bed = bed();
    for kind in [is_part as fn(&str) -> bool, is_object, is_join] {
        bed.proxy.fail(1, Fault::Lose, kind);
        let bytes = content(11 * MIB, 9);
        let (key, digest) = put(&bed.store, &bytes).await;
        let (all, err) = read(&bed.store, &key, &digest, bytes.len()).await;
        assert!(err.is_none() && all == bytes, "{err:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_breaks_goes_on_where_it_was() {
    let bed = bed();
    let bytes = content(4 * MIB, 10);
    let (key, digest) = put(&bed.store, &bytes).await;
    bed.proxy.requests();
    for _ in 0..2 {
        bed.proxy.fail(1, Fault::Cut(300_000), is_read);
        bed.proxy.fail(1, Fault::Cut(100), is_read);
        bed.proxy.fail(1, Fault::Cut(1_500_000), is_read);
        let (all, err) = read(&bed.store, &key, &digest, bytes.len()).await;
        assert!(err.is_none() && all == bytes, "{err:?}");
        assert_eq!(count(&bed.proxy.requests(), is_read), 4);
    }
    let mut damaged = bed.store.damaged();
    bed.proxy.fail(100, Fault::Cut(100), is_read);
    let (all, err) = read(&bed.store, &key, &digest, bytes.len()).await;
    assert!(err.is_some() && all.len() < bytes.len());
    assert!(count(&bed.proxy.requests(), is_read) < 10, "a reader does not try for ever");
    assert!(damaged.try_recv().is_err(), "a broken line is no damage");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_content_is_found_by_the_first_whole_reading() {
    let bed = bed();
    let bytes = content(4 * MIB, 11);
    let (key, digest) = put(&bed.store, &bytes).await;
    let path = bed.server.bucket().join("below").join(key.as_str());
    let mut changed = bytes.to_vec();
    changed[MIB] ^= 1;
    std::fs::write(&path, changed).unwrap();
    let mut damaged = bed.store.damaged();
    let (all, err) = read(&bed.store, &key, &digest, bytes.len()).await;
    assert_eq!(err.unwrap().kind(), io::ErrorKind::InvalidData);
    assert!(all.len() < bytes.len());
    assert_eq!(damaged.try_recv().unwrap(), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_is_a_fault_and_comes_back() {
    let mut bed = bed();
    let bytes = content(6 * MIB, 12);
    let (key, digest) = put(&bed.store, &bytes).await;
    let id = Uuid::new_v4();
    let begun =
        append(&bed.store, id, UploadState::new(Algorithm::Sha256), bytes.slice(..MIB)).await.unwrap();
    bed.server.pause();
    let mut damaged = bed.store.damaged();
    let started = Instant::now();
    let (stat, probe, read_now, going_on) = tokio::join!(
        bed.store.stat(&key),
        bed.store.probe(),
        read(&bed.store, &key, &digest, bytes.len()),
        append(&bed.store, id, begun.clone(), bytes.slice(MIB..)),
    );
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(matches!(stat, Err(Error::Io(_))), "{stat:?}");
    assert!(matches!(probe, Err(Error::Io(_))), "{probe:?}");
    assert!(read_now.1.is_some());
    assert!(matches!(going_on, Err(AppendError::Io(_))), "{going_on:?}");
    assert!(damaged.try_recv().is_err());
    let told = format!("{stat:?} {probe:?} {going_on:?}");
    assert!(!told.contains("s3cret-canary") && !told.contains("Signature"), "{told}");
    bed.server.resume();
    assert_eq!(bed.store.stat(&key).await.unwrap(), Some(bytes.len() as u64));
    let state = append(&bed.store, id, begun, bytes.slice(MIB..)).await.unwrap();
    let (key, digest) = publish(&bed.store, id, &state).await.unwrap();
    assert!(read(&bed.store, &key, &digest, bytes.len()).await.0 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_or_another_is_a_fault_and_not_missing_blobs() {
    let bed = bed();
    let (key, digest) = put(&bed.store, &content(10, 13)).await;
    let gone = bed.server.bucket().with_extension("away");
    std::fs::rename(bed.server.bucket(), &gone).unwrap();
    for empty in [false, true] {
        if empty {
            std::fs::create_dir(bed.server.bucket()).unwrap();
        }
        assert!(matches!(bed.store.stat(&key).await, Err(Error::Io(_))), "{empty}");
        let read = bed.store.read(&key, &digest, 10, 0..10).await;
        assert!(matches!(read, Err(ReadError::Io(_))), "{empty}");
        assert!(matches!(bed.store.read_all(&key, 10).await, Err(ReadError::Io(_))), "{empty}");
        if !empty {
            assert!(bed.store.probe().await.is_err());
        }
    }
    std::fs::remove_dir_all(bed.server.bucket()).unwrap();
    std::fs::rename(&gone, bed.server.bucket()).unwrap();
    assert_eq!(bed.store.stat(&key).await.unwrap(), Some(10));
    bed.store.delete(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(bed.store.stat(&key).await.unwrap(), None, "now it is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_a_fault() {
    let bed = bed();
    let (key, _) = put(&bed.store, &content(10, 14)).await;
    let secret_key = Some(hythe_blobstore::Credential::new("wrong-canary".to_owned()));
    let wrong = BlobStore::s3(&S3Config { secret_key, ..bed.server.config() }).unwrap();
    let refused = wrong.stat(&key).await.unwrap_err();
    assert!(matches!(refused, Error::Io(_)));
    assert!(!format!("{refused:?}").contains("wrong-canary"));
    assert!(wrong.probe().await.is_err());
}

/// Whoever answers there is not believed without a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn https_is_spoken_where_the_endpoint_says_so() {
    let server = S3Server::start();
    let endpoint = Some(format!("https://127.0.0.1:{}", server.port()));
    let system = std::path::PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
    for ca_file in [None, Some(system)] {
        let config = S3Config { endpoint: endpoint.clone(), ca_file, ..server.config() };
        let refused = BlobStore::s3(&config).unwrap().probe().await;
        assert!(matches!(refused, Err(Error::Io(_))), "{refused:?}");
    }
    let config = S3Config { ca_file: Some("/nowhere/ca.pem".into()), ..server.config() };
    assert!(BlobStore::s3(&config).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_share_the_memory_for_parts() {
    let bed = bed();
    bed.proxy.fail(40, Fault::Slow(Duration::from_millis(50)), is_part);
    let uploads = (0..20_u64).map(|number| {
        let store = bed.store.clone();
        tokio::spawn(async move {
            let bytes = content(6 * MIB, 100 + number);
            let (_, digest) = put(&store, &bytes).await;
            assert_eq!(digest, Digest::of(Algorithm::Sha256, &bytes));
        })
    });
    futures_util::future::try_join_all(uploads.collect::<Vec<_>>()).await.unwrap();
    settles_at(&bed.server, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_sent_to_the_bucket_only_where_that_is_wanted() {
    let server = S3Server::start();
    let off = support::open(server.port());
    let (key, _) = put(&off, &content(10, 15)).await;
    assert_eq!(off.redirect(&key, "docker/20.10").await.unwrap(), None);
    let config =
        S3Config { redirect: true, redirect_never: vec!["containerd/".to_owned()], ..server.config() };
    let on = BlobStore::s3(&config).unwrap();
    assert_eq!(on.redirect(&key, "containerd/1.6").await.unwrap(), None);
    let address = on.redirect(&key, "docker/20.10").await.unwrap().unwrap();
    assert!(address.contains("X-Amz-Signature="), "{address}");
    assert!(!address.contains("s3cret-canary"));
    assert_eq!(fetch(&address), content(10, 15));
}

/// The body at an address, as a client without credentials gets it.
fn fetch(address: &str) -> Bytes {
    use std::io::{Read, Write};
    let rest = address.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    answer.split_off(end).into()
}
