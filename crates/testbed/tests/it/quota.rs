//! Space that is limited (DS-05, DS-06, DS-13): a quota holds however many take from it at once, and unfinished
//! uploads cannot go past it either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hythe_testbed::{Answer, Bed, Options, Registry, Role, image_manifest, random_bytes};
use oci::manifest::OCI_MANIFEST;
use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::json;

use crate::instances::Instances;
use crate::support::eventually;

const PUSHES: usize = 200;
/// Repositories that one token speaks of; it would not fit into a header with all of them.
const PER_TOKEN: usize = 50;
/// Bytes of the layer that only one image has, and of those that many share.
const OWN_BYTES: usize = 60_000;
const SHARED_BYTES: usize = 40_000;
const SHARED: usize = 5;
/// Half of what all pushes together bring, and a rest in which no layer fits, but the documents of an image do.
const QUOTA: usize =
    (PUSHES * OWN_BYTES + SHARED * SHARED_BYTES) / 2 + SHARED * SHARED_BYTES / 2 + OWN_BYTES / 2;

/// What all tasks of the race look at.
#[derive(Clone)]
struct Race {
    /// Both registries, with the token of each group of repositories.
    nodes: Arc<Vec<[Registry; 2]>>,
    project: String,
    shared: Arc<Vec<Vec<u8>>>,
    pushed: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    deleted: Arc<AtomicUsize>,
}

impl Race {
    fn repository(&self, number: usize) -> String {
        format!("{}/app{number}", self.project)
    }

    /// One of the registries, with a token for this repository.
    fn node(&self, number: usize, node: usize) -> &Registry {
        &self.nodes[number / PER_TOKEN][node % 2]
    }

    /// Counts a refusal, which has to be one for the quota; true for a success.
    fn judge(&self, answer: Answer, success: u16) -> bool {
        if answer.status == 403 {
            assert_eq!(answer.code(), "DENIED", "{answer}");
            assert!(answer.text().contains("quota"), "{answer}");
            return false;
        }
        answer.expect(success);
        true
    }

    async fn blob(&self, node: usize, number: usize, bytes: &[u8]) -> Option<Digest> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let upload = self.node(number, node).start_upload(&self.repository(number)).await;
        // The bytes go to one node, the end of the upload to the other.
        if !self.judge(self.node(number, node).patch(&upload, None, bytes).await, 202) {
            return None;
        }
        let finished = self.node(number, node + 1).finish(&upload, &digest, b"").await;
        self.judge(finished, 201).then_some(digest)
    }

    /// The shared layer out of another repository, where it is there already; else as any other.
    async fn shared_blob(&self, node: usize, number: usize, bytes: &[u8]) -> Option<Digest> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let repository = self.repository(number);
        let request = self
            .node(number, node)
            .request(Method::POST, format!("/v2/{repository}/blobs/uploads/"))
            .query("mount", &digest)
            .query("from", self.repository(number.saturating_sub(SHARED).max(number - number % PER_TOKEN)));
        let answer = request.send().await;
        if answer.status == 201 {
            return Some(digest);
        }
        if !self.judge(answer, 202) {
            return None;
        }
        self.blob(node, number, bytes).await
    }

    async fn push(&self, number: usize) -> Option<Digest> {
        let (node, repository) = (number % 2, self.repository(number));
        let own = random_bytes(OWN_BYTES);
        let shared = &self.shared[number % SHARED];
        let config = json!({"architecture": "amd64", "os": "linux", "author": number}).to_string();
        let common = self.shared_blob(node + 1, number, shared).await?;
        let config_digest = self.blob(node, number, config.as_bytes()).await?;
        let layer = self.blob(node, number, &own).await?;
        let layers = [(&layer, own.len()), (&common, shared.len())];
        let manifest = image_manifest((&config_digest, config.len()), &layers);
        let answer = self.node(number, node).put_manifest(&repository, "1", OCI_MANIFEST, &manifest).await;
        self.judge(answer, 201).then(|| Digest::of(Algorithm::Sha256, &manifest))
    }

    /// One client: pushes an image; every fourth deletes it again, every eighth with its blobs.
    async fn client(self, number: usize) {
        let Some(digest) = self.push(number).await else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.pushed.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(4) {
            let repository = self.repository(number);
            let node = self.node(number, number);
            let manifest = node.get_manifest(&repository, &digest).await.expect(200).json();
            node.delete(format!("/v2/{repository}/manifests/{digest}")).await.expect(202);
            if number.is_multiple_of(8) {
                for layer in manifest["layers"].as_array().expect("our own manifest") {
                    let layer = layer["digest"].as_str().unwrap_or_default();
                    node.delete(format!("/v2/{repository}/blobs/{layer}")).await.expect(202);
                }
            }
            self.deleted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// DS-13: two hundred clients at two registry processes push twice what fits, mount, share and delete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_13_a_quota_holds_against_two_hundred_at_once() {
    let _alone = crate::support::heavy().await;
    let instances = Instances::start(&[]).await;
    let project = instances.projects.project("race").storage_limit(QUOTA as i64).create().await;
    let admin = instances.projects.admin();
    let scopes: Vec<String> = (0..PUSHES)
        .map(|number| format!("repository:{}/app{number}:pull,push,delete", project.name))
        .collect();
    let mut nodes = Vec::new();
    for group in scopes.chunks(PER_TOKEN) {
        let group: Vec<&str> = group.iter().map(String::as_str).collect();
        nodes.push(instances.with(&instances.token(&admin, &group).await));
    }
    let race = Race {
        nodes: Arc::new(nodes),
        project: project.name.clone(),
        shared: Arc::new((0..SHARED).map(|_| random_bytes(SHARED_BYTES)).collect()),
        pushed: Arc::default(),
        refused: Arc::default(),
        deleted: Arc::default(),
    };

    let ended = Arc::new(AtomicBool::new(false));
    let sampler = {
        let (pool, ended, id) = (instances.database.owner().clone(), ended.clone(), project.id);
        tokio::spawn(async move {
            let (mut samples, mut highest) = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                let sample =
                    sqlx::query_as("select used_bytes, hard_bytes from tenancy.quotas where project_id = $1");
                let (used, hard): (i64, i64) = sample.bind(id).fetch_one(&pool).await.expect("a quota");
                assert_eq!(hard, QUOTA as i64);
                assert!((0..=hard).contains(&used), "{used} of {hard} bytes at sample {samples}");
                (samples, highest) = (samples + 1, highest.max(used));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (samples, highest)
        })
    };
    let clients: Vec<_> = (0..PUSHES).map(|number| tokio::spawn(race.clone().client(number))).collect();
    for client in clients {
        client.await.unwrap_or_else(|err| panic!("{err}"));
    }
    ended.store(true, Ordering::Relaxed);
    let (samples, highest) = sampler.await.unwrap_or_else(|err| panic!("{err}"));
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (pushed, refused, deleted) = (count(&race.pushed), count(&race.refused), count(&race.deleted));
    println!(
        "DS-13: {pushed} pushed, {refused} refused, {deleted} deleted, at most {highest} of {QUOTA} in {samples} samples"
    );
    assert!(
        pushed >= 1 && refused >= 1 && samples > 50,
        "{pushed} pushed, {refused} refused, {samples} samples"
    );

    // Nobody is at work any more: what is counted is what is there.
    let recount =
        "select (coalesce((select sum(size) from catalog.project_blobs where project_id = $1 and charged), 0)
           + coalesce((select sum(octet_length(m.payload)) from catalog.manifests m
                       join catalog.repositories r on r.id = m.repository_id
                       where r.project_id = $1 and m.deleted_at is null), 0))::bigint";
    let expected: i64 = sqlx::query_scalar(recount)
        .bind(project.id)
        .fetch_one(instances.database.owner())
        .await
        .expect("a sum");
    assert_eq!(project.quota_used().await, expected, "used bytes and a full recount");
    // And it is given back to the last byte, also what refused pushes left behind.
    for number in 0..PUSHES {
        let (node, repository) = (race.node(number, 0), race.repository(number));
        let image = node.get_manifest(&repository, "1").await;
        if image.status == 200 {
            let digest = image.header("docker-content-digest").to_owned();
            node.delete(format!("/v2/{repository}/manifests/{digest}")).await.expect(202);
        }
    }
    let links: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "select r.path, l.digest from catalog.repository_blobs l join catalog.repositories r on r.id = l.repository_id
         where r.project_id = $1",
    )
    .bind(project.id)
    .fetch_all(instances.database.owner())
    .await
    .expect("links");
    for (repository, digest) in links {
        let digest = Digest::from_bytes(&digest).expect("a stored digest");
        let number = repository.rsplit("app").next().and_then(|number| number.parse().ok()).unwrap_or(0);
        race.node(number, 1).delete(format!("/v2/{repository}/blobs/{digest}")).await.expect(202);
    }
    assert_eq!(project.quota_used().await, 0);
}

/// A body that never ends, in chunks that are made when they are asked for.
fn endless() -> reqwest::Body {
    let chunk = bytes::Bytes::from(random_bytes(64 * 1024));
    reqwest::Body::wrap_stream(stream::repeat(chunk).map(Ok::<_, std::io::Error>))
}

/// Bytes of all unfinished uploads on the disk.
fn staged(bed: &Bed) -> u64 {
    let entries =
        std::fs::read_dir(bed.data_directory().join("blobs/uploads")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}

/// DS-06: an upload that does not end is refused at the quota, its bytes go at once, and smaller ones still fit.
#[tokio::test]
async fn ds_06_an_endless_upload_ends_at_the_quota() {
    let bed = Bed::own(Options::default()).await;
    let user = bed.user("pusher").await;
    let quota = 4 * 1024 * 1024;
    let project = bed.project("bounded").storage_limit(quota).member(&user, Role::Developer).create().await;
    let (registry, repository) = (user.registry(), project.repository("app"));
    let refused = |answer: Answer| {
        let answer = answer.expect_error(403, "DENIED");
        assert!(answer.text().contains("quota"), "{answer}");
    };
    for round in 0..2 {
        let upload = registry.start_upload(&repository).await;
        refused(registry.request(Method::PATCH, &upload.location).body(endless()).send().await);
        registry.get(&upload.location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        assert_eq!(staged(&bed), 0, "round {round}");
    }
    // Announced in advance, it is refused without being read, whichever request brings it.
    let too_much = random_bytes(usize::try_from(quota).expect("small") + 1);
    let digest = Digest::of(Algorithm::Sha256, &too_much);
    let upload = registry.start_upload(&repository).await;
    refused(registry.patch(&upload, None, &too_much).await);
    let upload = registry.start_upload(&repository).await;
    refused(registry.finish(&upload, &digest, &too_much).await);
    let single = registry.request(Method::POST, format!("/v2/{repository}/blobs/uploads/"));
    refused(single.query("digest", &digest).body(too_much.clone()).send().await);
    // Several sessions together hold no more than one of them could.
    let part = too_much.len() / 3;
    let open = [registry.start_upload(&repository).await, registry.start_upload(&repository).await];
    for upload in &open {
        registry.patch(upload, None, &too_much[..part]).await.expect(202);
    }
    let third = registry.start_upload(&repository).await;
    refused(registry.request(Method::PATCH, &third.location).body(endless()).send().await);
    assert_eq!(staged(&bed), 2 * part as u64);
    for upload in &open {
        registry.delete(&upload.location).await.expect(204);
    }
    assert_eq!((staged(&bed), project.quota_used().await), (0, 0));
    registry.push_image(&repository, "small").await;
}

/// DS-05: sessions are counted per account and per project; all of them end, and nothing of them stays.
#[tokio::test]
async fn ds_05_upload_sessions_are_capped_and_expire() {
    const PER_ACCOUNT: usize = 40;
    const PER_PROJECT: usize = 60;
    const ATTEMPTS: usize = 500;
    let options = Options::default()
        .set("HYTHE_CATALOG__UPLOADS_PER_ACCOUNT_MAX", &PER_ACCOUNT.to_string())
        .set("HYTHE_CATALOG__UPLOADS_PER_PROJECT_MAX", &PER_PROJECT.to_string());
    let bed = Bed::own(options).await;
    let (first, second) = (bed.user("dev").await, bed.user("dev").await);
    let members = |name| bed.project(name).member(&first, Role::Developer).member(&second, Role::Developer);
    let (project, other) = (members("open").create().await, members("other").create().await);
    let start = async |registry: &Registry, repository: &str| {
        registry.request(Method::POST, format!("/v2/{repository}/blobs/uploads/")).send().await
    };
    // One after the other, so that the cap is met exactly.
    let (mut opened, mut refused) = (0, 0);
    let (registry, repository) = (first.registry(), project.repository("app"));
    for _ in 0..ATTEMPTS {
        let answer = start(&registry, &repository).await.expect_any(&[202, 429]);
        if answer.status == 202 {
            let location = answer.header("location").to_owned();
            if opened == 0 {
                let upload = hythe_testbed::Upload { location };
                registry.patch(&upload, None, &random_bytes(50_000)).await.expect(202);
            }
            opened += 1;
        } else {
            assert_eq!(answer.code(), "TOOMANYREQUESTS", "{answer}");
            assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{answer}");
            refused += 1;
        }
    }
    assert_eq!((opened, refused), (PER_ACCOUNT, ATTEMPTS - PER_ACCOUNT));
    // The account's cap is the same everywhere; the project's counts everybody.
    start(&registry, &other.repository("app")).await.expect(429);
    for _ in PER_ACCOUNT..PER_PROJECT {
        start(&second.registry(), &repository).await.expect(202);
    }
    start(&second.registry(), &repository).await.expect(429);
    start(&second.registry(), &other.repository("app")).await.expect(202);

    // As if their lifetime were over, and it were time to look.
    let inside = bed.inside().await;
    let pool = inside.database.pool();
    let aged = "update catalog.upload_sessions set last_write_at = now() - interval '8 days'";
    sqlx::query(aged).execute(pool).await.expect("sessions have rows");
    let due = "update queue.schedules set next_run_at = now() where name = 'expire_uploads'";
    sqlx::query(due).execute(pool).await.expect("a schedule");
    let rows = "select count(*) from catalog.upload_sessions";
    eventually(Duration::from_secs(20), "all sessions end", async || {
        sqlx::query_scalar::<_, i64>(rows).fetch_one(pool).await.expect("a number") == 0
    })
    .await;
    // Bytes wait a minute for transactions that may still be open.
    let aged = "update catalog.dead_objects set queued_at = now() - interval '5 minutes'";
    sqlx::query(aged).execute(pool).await.expect("notes have rows");
    sqlx::query(due).execute(pool).await.expect("a schedule");
    let notes = "select count(*) from catalog.dead_objects";
    eventually(Duration::from_secs(20), "nothing is left of them", async || {
        sqlx::query_scalar::<_, i64>(notes).fetch_one(pool).await.expect("a number") == 0 && staged(&bed) == 0
    })
    .await;
    registry.push_image(&repository, "1").await;
}
