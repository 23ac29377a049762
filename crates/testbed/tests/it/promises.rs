//! What a server has promised to writers, and the check that it keeps it: for tests that kill things.
//!
//! Every writer has a repository to itself, so that it knows what must be there without asking. An operation
//! without an answer may or may not have happened; both are right, and nothing else is.
//!
//! Invariant: content is written down as in doubt before the request that changes it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hythe_testbed::{Answer, Bed, Registry, image_manifest};
use oci::manifest::OCI_MANIFEST;
use oci::{Algorithm, Digest};
use reqwest::Method;

/// The longest a request may take while something is broken.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a machine that compiles meanwhile may add to that, as it looks from the client. Without a limit of the
/// server's own a request hangs for as long as the fault lasts, which is longer than both.
const MACHINE_MAX: Duration = Duration::from_millis(2500);

/// Content that can be made again, so that nobody has to keep it.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    seed: u64,
    length: usize,
}

impl Content {
    pub fn random(lengths: std::ops::RangeInclusive<usize>) -> Content {
        Content { seed: rand::random(), length: rand::random_range(lengths) }
    }

    /// An image configuration that no other image has.
    fn config() -> Content {
        Content { seed: rand::random(), length: 0 }
    }

    pub fn bytes(self) -> Vec<u8> {
        if self.length == 0 {
            let author = format!("{:016x}", self.seed);
            return serde_json::json!({"architecture": "amd64", "os": "linux", "author": author})
                .to_string()
                .into();
        }
        // A generator of our own (splitmix64): good ones are slow in an unoptimised build.
        let words = (1..=self.length.div_ceil(8) as u64).flat_map(|position| {
            let mut word = self.seed.wrapping_add(position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (word ^ (word >> 31)).to_le_bytes()
        });
        let mut bytes: Vec<u8> = words.collect();
        bytes.truncate(self.length);
        bytes
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Present,
    Absent,
    /// A request about it got no answer.
    Doubtful,
}

#[derive(Clone, Debug)]
struct Manifest {
    tag: String,
    bytes: Vec<u8>,
    parts: Vec<Digest>,
    /// Parts that no other image uses.
    own_parts: Vec<Digest>,
    fate: Fate,
}

#[derive(Clone, Debug)]
struct OpenUpload {
    repository: String,
    location: String,
    content: Content,
    /// Bytes the server has acknowledged.
    acknowledged: usize,
    /// Bytes that were sent after those, in one chunk, without an answer so far.
    sent: usize,
    /// The last request was sent: the upload may have become a blob.
    finishing: bool,
}

/// The record of all promises.
#[derive(Default)]
pub struct Ledger {
    blobs: BTreeMap<(String, Digest), (Content, Fate)>,
    manifests: BTreeMap<(String, Digest), Manifest>,
    uploads: BTreeMap<String, OpenUpload>,
    /// Images acknowledged so far.
    pub images: usize,
    /// Deletions of manifests acknowledged so far.
    pub deletions: usize,
    /// Requests answered with 503.
    pub unavailable: usize,
}

pub type SharedLedger = Arc<Mutex<Ledger>>;

/// A writer that panicked has failed the test already; the others may still write down what they see.
pub fn locked(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a writer could not go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection broke: the server is gone.
    Gone,
    /// 503: try later.
    Unavailable,
}

/// Somebody who pushes and deletes images in a repository of his own.
pub struct Writer {
    pub registry: Registry,
    pub repository: String,
    pub ledger: SharedLedger,
    /// Layers that all writers use, so that they meet at the same digests.
    pub common: Vec<Content>,
    pub lengths: std::ops::RangeInclusive<usize>,
    /// Whether the server lives on and says 503, or is killed.
    pub server_stays: bool,
}

impl Writer {
    /// One step: mostly a push, sometimes a deletion.
    pub async fn step(&self) -> Result<(), Broken> {
        if rand::random_range(0..4) == 0
            && let Some((digest, manifest)) = self.some_image()
        {
            self.delete_image(digest, manifest).await
        } else {
            self.push_image().await
        }
    }

    pub async fn push_image(&self) -> Result<(), Broken> {
        let mut pushed = Vec::new();
        for _ in 0..rand::random_range(1..=3) {
            let layer = Content::random(self.lengths.clone());
            pushed.push((self.push_blob(layer).await?, layer.length));
        }
        let config = Content::config();
        let config_digest = self.push_blob(config).await?;
        let own_parts =
            pushed.iter().map(|(digest, _)| digest.clone()).chain([config_digest.clone()]).collect();
        if rand::random() {
            let layer = self.common[rand::random_range(0..self.common.len())];
            pushed.push((self.push_blob(layer).await?, layer.length));
        }
        let described: Vec<_> = pushed.iter().map(|(digest, length)| (digest, *length)).collect();
        let bytes = image_manifest((&config_digest, config.bytes().len()), &described);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let manifest = Manifest {
            tag: format!("t{:08x}", rand::random::<u32>()),
            parts: pushed.into_iter().map(|(digest, _)| digest).chain([config_digest]).collect(),
            own_parts,
            bytes,
            fate: Fate::Doubtful,
        };
        let key = (self.repository.clone(), digest);
        locked(&self.ledger).manifests.insert(key.clone(), manifest.clone());
        let put = self
            .registry
            .request(Method::PUT, format!("/v2/{}/manifests/{}", self.repository, manifest.tag))
            .header("content-type", OCI_MANIFEST)
            .body(manifest.bytes);
        self.answer(put.try_send(), &[201]).await?;
        let mut ledger = locked(&self.ledger);
        ledger.images += 1;
        ledger.manifests.get_mut(&key).expect("inserted above").fate = Fate::Present;
        Ok(())
    }

    fn some_image(&self) -> Option<(Digest, Manifest)> {
        let ledger = locked(&self.ledger);
        let mine = ledger.manifests.iter().filter(|((repository, _), manifest)| {
            *repository == self.repository && manifest.fate == Fate::Present
        });
        let mine: Vec<_> = mine.collect();
        let ((_, digest), manifest) = mine.get(rand::random_range(0..mine.len().max(1)))?;
        Some((digest.clone(), (*manifest).clone()))
    }

    async fn delete_image(&self, digest: Digest, manifest: Manifest) -> Result<(), Broken> {
        let key = (self.repository.clone(), digest);
        let fate = |fate| {
            locked(&self.ledger).manifests.get_mut(&key).expect("it was chosen from there").fate = fate;
        };
        fate(Fate::Doubtful);
        let delete = self
            .registry
            .request(Method::DELETE, format!("/v2/{}/manifests/{}", self.repository, key.1))
            .try_send();
        self.answer(delete, &[202]).await?;
        fate(Fate::Absent);
        locked(&self.ledger).deletions += 1;
        for part in manifest.own_parts {
            let key = (self.repository.clone(), part);
            let fate = |fate| {
                locked(&self.ledger).blobs.get_mut(&key).expect("it was pushed with the image").1 = fate;
            };
            fate(Fate::Doubtful);
            let path = format!("/v2/{}/blobs/{}", self.repository, key.1);
            self.answer(self.registry.request(Method::DELETE, path).try_send(), &[202]).await?;
            fate(Fate::Absent);
        }
        Ok(())
    }

    /// Pushes in one of the ways that clients have.
    async fn push_blob(&self, content: Content) -> Result<Digest, Broken> {
        let bytes = content.bytes();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let key = (self.repository.clone(), digest.clone());
        {
            let mut ledger = locked(&self.ledger);
            let known = ledger.blobs.entry(key.clone()).or_insert((content, Fate::Doubtful));
            // Pushing again what is there takes nothing away.
            if known.1 == Fate::Absent {
                known.1 = Fate::Doubtful;
            }
        }
        let start = self.registry.request(Method::POST, format!("/v2/{}/blobs/uploads/", self.repository));
        let style = rand::random_range(0..3);
        if style == 0 {
            self.answer(start.query("digest", &digest).body(bytes).try_send(), &[201]).await?;
        } else {
            let location = self.answer(start.try_send(), &[202]).await?.header("location").to_owned();
            let upload = OpenUpload {
                repository: self.repository.clone(),
                location: location.clone(),
                content,
                acknowledged: 0,
                sent: 0,
                finishing: false,
            };
            locked(&self.ledger).uploads.insert(location.clone(), upload);
            let cut = if style == 1 { 0 } else { bytes.len() / 2 };
            if cut > 0 {
                self.note(&location, |upload| upload.sent = cut);
                let patch = self.registry.request(Method::PATCH, &location).body(bytes[..cut].to_vec());
                self.answer(patch.try_send(), &[202]).await?;
                self.note(&location, |upload| (upload.acknowledged, upload.sent) = (cut, 0));
            }
            self.note(&location, |upload| (upload.sent, upload.finishing) = (bytes.len() - cut, true));
            let put = self.registry.request(Method::PUT, &location).query("digest", &digest);
            self.answer(put.body(bytes[cut..].to_vec()).try_send(), &[201]).await?;
            locked(&self.ledger).uploads.remove(&location);
        }
        locked(&self.ledger).blobs.insert(key, (content, Fate::Present));
        Ok(digest)
    }

    fn note(&self, location: &str, change: impl FnOnce(&mut OpenUpload)) {
        change(
            locked(&self.ledger).uploads.get_mut(location).expect("the upload was noted when it was opened"),
        );
    }

    /// Judges an answer: one of the expected ones, or the one that is right while something is broken.
    async fn answer(
        &self,
        answer: impl Future<Output = Result<Answer, String>>,
        expected: &[u16],
    ) -> Result<Answer, Broken> {
        let started = Instant::now();
        let answer = answer.await;
        if !self.server_stays {
            return answer.map(|answer| answer.expect_any(expected)).map_err(|_| Broken::Gone);
        }
        let answer = answer.unwrap_or_else(|err| panic!("no answer: {err}"));
        if judge(&answer, started.elapsed()) {
            locked(&self.ledger).unavailable += 1;
            return Err(Broken::Unavailable);
        }
        Ok(answer.expect_any(expected))
    }
}

/// Whether this is a refusal in good order. Every answer has to come in time.
pub fn judge(answer: &Answer, took: Duration) -> bool {
    assert!(took <= ANSWER_MAX + MACHINE_MAX, "took {took:?}: {answer}");
    if answer.status == 503 {
        let seconds = answer.header("retry-after").parse::<u32>();
        assert!(seconds.is_ok_and(|seconds| seconds > 0), "503 without Retry-After: {answer}");
    }
    answer.status == 503
}

/// Compares everything that was promised with what is there, and settles all doubts. `again` is a repository
/// that holds nothing: what must not be where it was is pushed there, to see that a push always brings bytes.
pub async fn check(registry: &Registry, ledger: &SharedLedger, again: &str) {
    let (uploads, manifests, blobs) = {
        let mut ledger = locked(ledger);
        (std::mem::take(&mut ledger.uploads), ledger.manifests.clone(), ledger.blobs.clone())
    };
    for upload in uploads.into_values() {
        go_on(registry, ledger, upload).await;
    }
    for (key, manifest) in manifests {
        let fate = check_manifest(registry, &key.0, &key.1, &manifest).await;
        locked(ledger).manifests.get_mut(&key).expect("manifests are never removed").fate = fate;
    }
    // Those that go on have become present above.
    let blobs: Vec<_> = blobs.into_keys().map(|key| (locked(ledger).blobs[&key], key)).collect();
    for ((content, fate), key) in blobs {
        let found = check_blob(registry, &key.0, &key.1, fate).await;
        locked(ledger).blobs.insert(key.clone(), (content, found));
        if found == Fate::Absent {
            let pushed = registry.push_blob(again, &content.bytes()).await;
            check_blob(registry, again, &pushed, Fate::Present).await;
        }
    }
}

async fn check_manifest(registry: &Registry, repository: &str, digest: &Digest, manifest: &Manifest) -> Fate {
    let answer = registry.get_manifest(repository, digest).await;
    let tagged = registry.get_manifest(repository, &manifest.tag).await;
    if answer.status == 404 && manifest.fate != Fate::Present {
        tagged.expect(404);
        return Fate::Absent;
    }
    assert_ne!(manifest.fate, Fate::Absent, "a deleted manifest is back: {answer}");
    for answer in [answer, tagged] {
        let answer = answer.expect(200);
        assert_eq!(Digest::of(Algorithm::Sha256, &answer.body), *digest, "{answer}");
    }
    for part in &manifest.parts {
        check_blob(registry, repository, part, Fate::Present).await;
    }
    Fate::Present
}

async fn check_blob(registry: &Registry, repository: &str, digest: &Digest, fate: Fate) -> Fate {
    let head = registry.head_blob(repository, digest).await;
    if head.status == 404 && fate != Fate::Present {
        registry.get_blob(repository, digest).await.expect(404);
        return Fate::Absent;
    }
    assert_ne!(fate, Fate::Absent, "a deleted blob is back: {head}");
    head.expect(200);
    let answer = registry.get_blob(repository, digest).await.expect(200);
    assert_eq!(Digest::of(Algorithm::Sha256, &answer.body), *digest, "{}", answer.request);
    Fate::Present
}

/// An upload that was cut off is continued where the server says it stands.
async fn go_on(registry: &Registry, ledger: &SharedLedger, upload: OpenUpload) {
    let status = registry.get(&upload.location).await;
    let bytes = upload.content.bytes();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let key = (upload.repository.clone(), digest.clone());
    if status.status == 404 && upload.finishing {
        return;
    }
    let status = status.expect(204);
    let range = status.header("range").to_owned();
    let last: usize =
        range.strip_prefix("0-").and_then(|last| last.parse().ok()).unwrap_or_else(|| panic!("{range}"));
    // "0-0" stands for nothing as well as for one byte; none of our chunks has one byte.
    let offset = if last == 0 { 0 } else { last + 1 };
    let possible = [upload.acknowledged, upload.acknowledged + upload.sent];
    assert!(
        offset >= possible[0] && offset <= possible[1],
        "{offset} is not within {possible:?}: {upload:?}"
    );
    let put = registry
        .request(Method::PUT, &upload.location)
        .query("digest", &digest)
        .body(bytes[offset..].to_vec());
    let put = put.send().await;
    if put.status == 404 && upload.finishing {
        // The bytes had been moved to their place when the end came; the client starts anew.
        return;
    }
    put.expect(201);
    locked(ledger).blobs.insert(key, (upload.content, Fate::Present));
}

/// Process id of the server's private PostgreSQL.
pub fn postmaster(bed: &Bed) -> nix::unistd::Pid {
    let data = bed.data_directory();
    let file = data.join("postgres/postmaster.pid");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
    let id: i32 =
        text.lines().next().and_then(|line| line.trim().parse().ok()).expect("its first line is the id");
    let command = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
    assert!(
        command.contains(data.to_str().expect("paths of tests are text")),
        "{id} is not our server: {command:?}"
    );
    nix::unistd::Pid::from_raw(id)
}
