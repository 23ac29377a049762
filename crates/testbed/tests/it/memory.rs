//! Memory does not follow the size of what passes through (DS-11).
//!
//! The peak of the process's resident memory is measured, not a control group that kills: control groups of memory
//! are not everywhere at hand. `HYTHE_MEMORY_MIB` sets the size of a blob; `make soak` takes 1 GiB as the bar has it.

use futures_util::{StreamExt, stream};
use hythe_testbed::{Bed, Options, Registry, Upload, random_bytes};
use oci::Digest;
use reqwest::Method;

use crate::abuse::memory_mib;

const CLIENTS: usize = 50;
/// What a control group of this size would leave to the process.
const PEAK_MIB_MAX: u64 = 256;
/// How much more a blob of many times the size may take: what allocators do, not buffers.
const DIFFERENCE_MIB_MAX: u64 = 32;
const SMALL_MIB: usize = 2;

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

/// Pushes and pulls the blob, everybody at the same time. The digest is what the server says it is.
async fn pass(registry: &Registry, project: &str, pieces: &Pieces) {
    // Found out by a wrong guess: hashing gigabytes here as well would double the work.
    let digest = digest_of(registry, &format!("{project}/first"), pieces).await;
    let work: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (registry, pieces, digest) = (registry.clone(), pieces.clone(), digest.clone());
            let (own, first) = (format!("{project}/client{number}"), format!("{project}/first"));
            tokio::spawn(async move {
                if number.is_multiple_of(2) {
                    let upload = registry.start_upload(&own).await;
                    send(&registry, &upload, &pieces).await;
                    registry.finish(&upload, &digest, b"").await.expect(201);
                } else {
                    take(&registry, &format!("/v2/{first}/blobs/{digest}"), pieces.count << 20).await;
                }
            })
        })
        .collect();
    for client in work {
        client.await.unwrap_or_else(|err| panic!("{err}"));
    }
}

async fn send(registry: &Registry, upload: &Upload, pieces: &Pieces) {
    registry.request(Method::PATCH, &upload.location).body(pieces.body()).send().await.expect(202);
}

async fn digest_of(registry: &Registry, repository: &str, pieces: &Pieces) -> Digest {
    let mut wrong = None;
    for _ in 0..2 {
        let upload = registry.start_upload(repository).await;
        send(registry, &upload, pieces).await;
        let claimed = wrong.clone().unwrap_or_else(crate::support::random_digest);
        let answer = registry.finish(&upload, &claimed, b"").await;
        if answer.status == 201 {
            return claimed;
        }
        let text = answer.expect_error(400, "DIGEST_INVALID").text();
        let actual = text.split("content is ").nth(1).and_then(|rest| rest.split(',').next());
        wrong = actual.and_then(|actual| actual.parse::<Digest>().ok());
    }
    panic!("the server does not say what the digest is");
}

/// Reads an answer piece by piece and throws it away.
async fn take(registry: &Registry, path: &str, length: usize) {
    let got =
        registry.request(Method::GET, path).send_discarding().await.unwrap_or_else(|err| panic!("{err}"));
    assert_eq!(got, (200, length as u64), "{path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "make soak takes larger blobs than make test")]
async fn ds_11_memory_does_not_follow_the_size_of_blobs() {
    let large = std::env::var("HYTHE_MEMORY_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(32);
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
