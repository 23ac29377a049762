//! a service that fails again and again, in all the ways services fail, before many uploads and downloads at once.
//! `HYTHE_R09_UPLOADS` says how many; `make soak` takes a thousand.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use hythe_blobstore::{BlobStore, Key, UploadState};
use oci::{Algorithm, Digest};
use support::{Fault, Proxy, S3Server, content};
use uuid::Uuid;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const AT_ONCE: usize = 4;

/// What is pushed in turn: small, a little below a part, and in parts.
const SIZES: [usize; 5] = [10, 70 * KIB, 2 * MIB, 5 * MIB - 1, 11 * MIB];

/// One in a thousand may fail.
const FAILED_MAX: f64 = 0.001;
const REQUESTS_MAX: f64 = 1.3;

/// What became of one upload.
enum Outcome {
    Pushed(Key),
    /// Not taken, and said so. What it left is purged as the catalog does it.
    Failed(String),
}

/// Uploads in two requests, as clients with chunks do, and reads everything back. Wrong bytes end the test.
async fn push_and_pull(store: &BlobStore, number: usize) -> Outcome {
    let bytes = content(SIZES[number % SIZES.len()], number as u64);
    let id = store.upload_id().await.unwrap();
    let mut recorded = UploadState::new(Algorithm::Sha256);
    match push(store, id, &bytes, &mut recorded).await {
        Ok((key, digest)) => {
            assert_eq!(digest, Digest::of(Algorithm::Sha256, &bytes));
            match pull(store, &key, &digest, bytes.len()).await {
                Ok(read) => assert!(read == bytes, "upload {number} came back as something else"),
                Err(err) => return Outcome::Failed(format!("pull of {number}: {err}")),
            }
            Outcome::Pushed(key)
        }
        Err(err) => {
            for _ in 0..10 {
                if store.discard(id, Some(&recorded)).await.is_ok() {
                    break;
                }
            }
            Outcome::Failed(format!("push of {number}: {err}"))
        }
    }
}

async fn push(
    store: &BlobStore,
    id: Uuid,
    bytes: &Bytes,
    recorded: &mut UploadState,
) -> Result<(Key, Digest), String> {
    let told = |err: &dyn std::error::Error| format!("{err}: {:?}", err.source().map(ToString::to_string));
    for piece in [bytes.slice(..bytes.len() / 3), bytes.slice(bytes.len() / 3..)] {
        let mut writer = store.writer(id).await.map_err(|err| told(&err))?;
        let body = stream::iter([Ok::<_, io::Error>(piece)]);
        *recorded = writer.append(recorded.clone(), body, None).await.map_err(|err| told(&err))?.state;
    }
    let mut writer = store.writer(id).await.map_err(|err| told(&err))?;
    let digest = writer.digest(recorded, Algorithm::Sha256).await.map_err(|err| told(&err))?;
    let key = writer.publish().await.map_err(|err| told(&err))?;
    Ok((key, digest))
}

async fn pull(store: &BlobStore, key: &Key, digest: &Digest, size: usize) -> Result<Bytes, String> {
    let chunks =
        store.read(key, digest, size as u64, 0..size as u64).await.map_err(|err| format!("{err:?}"))?;
    let chunks: Vec<Bytes> = chunks.try_collect().await.map_err(|err| err.to_string())?;
    Ok(chunks.concat().into())
}

/// `count` of them, some at once.
async fn round(store: &BlobStore, count: usize) -> (Vec<Key>, Vec<String>) {
    let (mut keys, mut failed) = (Vec::new(), Vec::new());
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(AT_ONCE) {
        let tasks: Vec<_> = some
            .iter()
            .map(|number| {
                let (store, number) = (store.clone(), *number);
                tokio::spawn(async move { push_and_pull(&store, number).await })
            })
            .collect();
        for task in tasks {
            match task.await.unwrap() {
                Outcome::Pushed(key) => keys.push(key),
                Outcome::Failed(why) => failed.push(why),
            }
        }
    }
    (keys, failed)
}

/// A bad day: of 200 requests 20 are told to slow down and two meet an error inside the service, two are broken off, one
/// is never answered, one comes from a clock that is wrong; every sixth download breaks off, and of the
/// requests that join parts every fourth answer is lost and every fifth request comes twice.
fn bad_day(proxy: &Proxy, silence: Duration) {
    let mut deck = vec![None; 200];
    let faults = [
        (20, Fault::Answer(503)),
        (2, Fault::Answer(500)),
        (2, Fault::Break),
        (1, Fault::Stall(silence)),
        (1, Fault::Skewed),
    ];
    let all = faults.into_iter().flat_map(|(times, fault)| std::iter::repeat_n(fault, times));
    for (number, fault) in all.enumerate() {
        // 77 and 200 have no common factor, so no place is taken twice.
        deck[(number * 77 + 5) % 200] = Some(fault);
    }
    proxy.every(Some("GET "), vec![None, None, Some(Fault::Cut(50_000)), None, None, None]);
    let join = vec![None, None, Some(Fault::Lose), None, Some(Fault::Twice)];
    proxy.every(Some("POST uploadId="), join);
    proxy.every(None, deck);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
async fn r_09_a_service_that_fails_all_day_loses_nothing() {
    let uploads = std::env::var("HYTHE_R09_UPLOADS").map_or(40, |count| count.parse().unwrap());
    let server = S3Server::start();
    let proxy = Proxy::start(server.port());
    let store = support::open(proxy.port());
    store.probe().await.unwrap();
    proxy.requests();
    let (keys, failed) = round(&store, SIZES.len() * AT_ONCE).await;
    assert_eq!(failed, Vec::<String>::new());
    let calm = proxy.requests().len() as f64 / keys.len() as f64;
    store.delete(&keys).await.unwrap();
    let mut damaged = store.damaged();

    // Nothing here waits half a minute when everything is tested.
    bad_day(&proxy, Duration::from_secs(if uploads < 100 { 6 } else { 30 }));
    proxy.requests();
    let (keys, failed) = round(&store, uploads).await;
    let bad = proxy.requests().len() as f64 / uploads as f64;
    let faults = proxy.calm();
    println!(
        "R-09: {uploads} uploads and downloads, {} failed; {bad:.2} requests each, {calm:.2} on a calm day ({:.2} times); \
         faults met: {faults:?}",
        failed.len(),
        bad / calm
    );
    assert!(failed.len() as f64 <= FAILED_MAX * uploads as f64, "{failed:#?}");
    assert!(faults.len() >= 8 || uploads < 40, "not every kind of fault was met: {faults:?}");
    assert!(bad <= REQUESTS_MAX * calm, "{bad:.2} requests instead of {calm:.2}");
    assert!(damaged.try_recv().is_err(), "nothing is taken for damaged");

    // What is published and then removed is all there is: no parts, and no object that nobody knows.
    store.delete(&keys).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !server.files().is_empty() && std::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.files(), Vec::<std::path::PathBuf>::new());
}

/// A clock that stays wrong is a fault that says so, never missing content.
#[tokio::test(flavor = "multi_thread")]
async fn r_09_a_clock_that_is_wrong_is_a_fault() {
    let server = S3Server::start();
    let proxy = Proxy::start(server.port());
    let store = support::open(proxy.port());
    let Outcome::Pushed(key) = push_and_pull(&store, 2).await else { panic!("the push failed") };
    let bytes = content(SIZES[2], 2);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    proxy.every(None, vec![Some(Fault::Skewed)]);
    let mut damaged = store.damaged();
    assert!(store.stat(&key).await.is_err());
    assert!(store.probe().await.is_err());
    assert!(pull(&store, &key, &digest, bytes.len()).await.is_err());
    let Outcome::Failed(why) = push_and_pull(&store, 3).await else { panic!("the push worked") };
    assert!(why.contains("clock"), "{why}");
    assert!(damaged.try_recv().is_err());
    proxy.calm();
    assert!(pull(&store, &key, &digest, bytes.len()).await.unwrap() == bytes);
}
