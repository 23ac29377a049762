//! Memory does not follow the size of what passes through (DS-11).
//!
//! The peak of the process's resident memory is measured, not a control group that kills: control groups of memory
//! are not everywhere at hand. `HYTHE_MEMORY_MIB` sets the size of a blob; `make soak` takes 1 GiB as the bar has it.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use hythe_testbed::{Answer, Bed, Options, Registry, Upload, random_bytes};
use oci::Digest;
use reqwest::Method;

use crate::abuse::memory_mib;

const CLIENTS: usize = 50;
/// What a control group of this size would leave to the process.
const PEAK_MIB_MAX: u64 = 256;
/// How much more a blob of many times the size may take: what allocators do, not buffers.
const DIFFERENCE_MIB_MAX: u64 = 32;
const SMALL_MIB: usize = 6;

/// A blob of equal pieces, which nobody has to hold as a whole.
#[derive(Clone)]
struct Pieces {
    piece: bytes::Bytes,
    count: usize,
}

impl Pieces {
    fn of(mebibytes: usize) -> Pieces {
        Pieces { piece: random_bytes(1 << 20).into(), count: mebibytes }
    }

    fn body(&self) -> reqwest::Body {
        let pieces = stream::repeat(self.piece.clone()).take(self.count);
        reqwest::Body::wrap_stream(pieces.map(Ok::<_, std::io::Error>))
    }
}

/// Pushes and pulls the blob, everybody at the same time.
async fn pass(registry: &Registry, project: &str, pieces: &Pieces) {
    let first = format!("{project}/first");
    let digest = digest_of(registry, &first, pieces).await;
    let work: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (registry, pieces, digest) = (registry.clone(), pieces.clone(), digest.clone());
            let (own, first) = (format!("{project}/client{number}"), first.clone());
            tokio::spawn(async move {
                if number.is_multiple_of(2) {
                    settled(&registry, &own, &pieces, &digest).await.expect(201);
                } else {
                    pull(&registry, &format!("/v2/{first}/blobs/{digest}"), pieces.count << 20).await;
                }
            })
        })
        .collect();
    for client in work {
        client.await.unwrap_or_else(|err| panic!("{err}"));
    }
}

/// Sends everything in one stream and finishes with this digest. A 503 comes back like any other answer.
async fn upload(registry: &Registry, repository: &str, pieces: &Pieces, digest: &Digest) -> Answer {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let started = registry.request(Method::POST, path).send().await;
    if started.status != 202 {
        return started;
    }
    let session = Upload { location: started.header("location").to_owned() };
    let sent = registry.request(Method::PATCH, &session.location).body(pieces.body()).send().await;
    if sent.status != 202 {
        return sent;
    }
    registry.finish(&session, digest, b"").await
}

/// The answer to an upload that is not a 503. One is tried again, as clients do: fifty at once are much for an
/// unoptimised build on a busy machine.
async fn settled(registry: &Registry, repository: &str, pieces: &Pieces, digest: &Digest) -> Answer {
    for _ in 0..20 {
        let answer = upload(registry, repository, pieces, digest).await;
        if answer.status != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("twenty pushes to {repository} were put off");
}

/// Uploads the blob for the first time. The server says what its digest is when the claimed one is wrong: hashing it
/// here as well would double the work.
async fn digest_of(registry: &Registry, repository: &str, pieces: &Pieces) -> Digest {
    let refused = settled(registry, repository, pieces, &crate::support::random_digest()).await;
    let text = refused.expect_error(400, "DIGEST_INVALID").text();
    let actual = text.split("content is ").nth(1).and_then(|rest| rest.split(',').next());
    let digest =
        actual.and_then(|actual| actual.parse().ok()).unwrap_or_else(|| panic!("no digest in {text}"));
    settled(registry, repository, pieces, &digest).await.expect(201);
    digest
}

async fn pull(registry: &Registry, path: &str, length: usize) {
    for _ in 0..20 {
        let got =
            registry.request(Method::GET, path).send_discarding().await.unwrap_or_else(|err| panic!("{err}"));
        if got.0 != 503 {
            assert_eq!(got, (200, length as u64), "{path}");
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("twenty pulls of {path} were put off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "make soak takes larger blobs than make test")]
async fn ds_11_memory_does_not_follow_the_size_of_blobs() {
    let _alone = crate::support::heavy().await;
    let large = std::env::var("HYTHE_MEMORY_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    // Whether the disk has confirmed the bytes makes no difference to memory.
    let bed = Bed::own(Options::default().set("HYTHE_STORAGE__FILESYSTEM__FSYNC", "false")).await;
    let project = bed.project("memory").create().await;
    let admin = bed.admin();
    let names = (0..CLIENTS).map(|number| format!("client{number}")).chain(["first".to_owned()]);
    let scopes: Vec<String> =
        names.map(|name| format!("repository:{}:pull,push", project.repository(&name))).collect();
    let registry = admin.registry_with_token(&scopes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut peaks = Vec::new();
    for mebibytes in [SMALL_MIB, large] {
        // Writing 5 starts the peak anew.
        std::fs::write(format!("/proc/{}/clear_refs", bed.process_id()), "5").expect("our own child");
        pass(&registry, &project.name, &Pieces::of(mebibytes)).await;
        peaks.push(memory_mib(bed.process_id(), "VmHWM"));
    }
    println!(
        "DS-11: {CLIENTS} clients push and pull: {} MiB at most with {SMALL_MIB} MiB each, {} MiB with {large} MiB each",
        peaks[0], peaks[1]
    );
    assert!(peaks[1] < PEAK_MIB_MAX, "{} MiB resident", peaks[1]);
    assert!(
        peaks[1] <= peaks[0] + DIFFERENCE_MIB_MAX,
        "{} MiB for small blobs, {} MiB for large ones",
        peaks[0],
        peaks[1]
    );
}
