//! One process per role over one PostgreSQL and one directory of blobs: they answer as the single process does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use database::testing::TestDatabase;
use hythe_testbed::{Bed, Credentials, Options, Registry, Role, User, random_bytes};
use oci::{Algorithm, Digest};
use reqwest::Method;

/// Two registry nodes, one process of every other role, and the gateway in front.
struct Fleet {
    gateway: Bed,
    registries: [Bed; 2],
    auth: Bed,
    projects: Bed,
    worker: Bed,
    _database: TestDatabase,
    _directory: tempfile::TempDir,
}

impl Fleet {
    async fn start() -> Fleet {
        let database = database::testing::database().await;
        let directory = tempfile::Builder::new().prefix("hythe-fleet-").tempdir_in("/tmp").expect("/tmp");
        let data = directory.path().join("data");
        let node = async |role: &'static str| {
            let options = Options::default()
                .role(role, &data)
                .set("HYTHE_DATABASE__URL", database.url())
                .set("HYTHE_DATABASE__POOL_MAX", "8")
                .set("HYTHE_HTTP__TRUSTED_PROXIES", "127.0.0.1");
            Bed::own(options).await
        };
        // In any order and at once, as a container engine starts them.
        let (first, second, auth, projects, worker) =
            tokio::join!(node("registry"), node("registry"), node("auth"), node("projects"), node("worker"));
        let entrance = Options::default()
            .role("gateway", &data)
            .set("HYTHE_GATEWAY__UPSTREAMS__REGISTRY", &format!("{},{}", first.url(), second.url()))
            .set("HYTHE_GATEWAY__UPSTREAMS__AUTH", &auth.url())
            .set("HYTHE_GATEWAY__UPSTREAMS__PROJECTS", &projects.url())
            .set("HYTHE_GATEWAY__HEALTH_PATH", "/")
            .set("HYTHE_GATEWAY__HEALTH_INTERVAL_SECONDS", "1");
        Fleet {
            gateway: Bed::own(entrance).await,
            registries: [first, second],
            auth,
            projects,
            worker,
            _database: database,
            _directory: directory,
        }
    }

    /// One node, as somebody with a token that the token service issued.
    async fn registry(&self, node: usize, user: &User, scopes: &[&str]) -> Registry {
        let token = self.auth.client(user.credentials()).token(scopes).await;
        Registry::new(self.registries[node].client(Credentials::Bearer(token)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_roles_make_one_platform() {
    let fleet = Fleet::start().await;
    let pusher = fleet.projects.user("pusher").await;
    let project = fleet.projects.project("split").member(&pusher, Role::Maintainer).create().await;
    let repository = project.repository("app");
    let scope = format!("repository:{repository}:pull,push,delete");
    let first = fleet.registry(0, &pusher, &[&scope]).await;
    let second = fleet.registry(1, &pusher, &[&scope]).await;

    // Every role answers its own prefix and nothing else.
    for (bed, own) in [
        (&fleet.registries[0], "/v2/"),
        (&fleet.registries[1], "/v2/"),
        (&fleet.auth, "/service/jwks"),
        (&fleet.projects, "/api/v2.0/ping"),
    ] {
        for path in ["/v2/", "/service/jwks", "/api/v2.0/ping"] {
            let status = bed.nobody().get(path).await.status;
            assert_eq!(status == 404, path != own, "{path}: {status}");
        }
    }
    assert_eq!(fleet.worker.addresses().public, "", "the worker serves nobody");
    assert!(!fleet.worker.log().contains("listening on"), "the worker serves nobody");
    let refused = fleet.worker.run(&["worker", "--listen", "127.0.0.1:0"], "").await;
    assert_eq!(refused.status.code(), Some(2), "a flag without effect is refused");

    // An upload goes from node to node, with the state of its hash.
    let bytes = random_bytes(300_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = first.start_upload(&repository).await;
    first.patch(&upload, Some("0-99999"), &bytes[..100_000]).await.expect(202);
    second.patch(&upload, Some("100000-199999"), &bytes[100_000..200_000]).await.expect(202);
    let stale = first.patch(&upload, Some("100000-199999"), &bytes[100_000..200_000]).await;
    assert_eq!((stale.status, stale.header("range")), (416, "0-199999"), "{stale}");
    first.finish(&upload, &digest, &bytes[200_000..]).await.expect(201);
    assert_eq!(second.get_blob(&repository, &digest).await.expect(200).body, bytes);

    // What one node stored the others and the REST API show at once.
    let image = first.push_image(&repository, "1").await;
    second.get_manifest(&repository, "1").await.expect(200);
    let artifact = fleet.projects.client(pusher.credentials());
    let path = format!("/api/v2.0/projects/{}/repositories/app/artifacts/1", project.name);
    assert_eq!(artifact.get(&path).await.expect(200).json()["digest"], image.digest.to_string());
    second.delete(format!("/v2/{repository}/manifests/{}", image.digest)).await.expect(202);
    first.get_manifest(&repository, "1").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_mid_upload_is_replaced_by_another() {
    let fleet = Fleet::start().await;
    let pusher = fleet.projects.user("pusher").await;
    let project = fleet.projects.project("split").member(&pusher, Role::Developer).create().await;
    let repository = project.repository("app");
    let scope = format!("repository:{repository}:pull,push");
    let first = fleet.registry(0, &pusher, &[&scope]).await;
    let second = fleet.registry(1, &pusher, &[&scope]).await;
    let bytes = random_bytes(400_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = first.start_upload(&repository).await;
    first.patch(&upload, None, &bytes[..250_000]).await.expect(202);
    fleet.registries[0].kill_9();
    let offset = second.get(&upload.location).await.expect(204).header("range").to_owned();
    assert_eq!(offset, "0-249999");
    second.finish(&upload, &digest, &bytes[250_000..]).await.expect(201);
    assert_eq!(second.get_blob(&repository, &digest).await.expect(200).body, bytes);
    // A right that is taken away ends on a node that has seen the token before.
    second.get_manifest(&repository, "none").await.expect(404);
    project.delete().await;
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while second.get_manifest(&repository, "none").await.status != 401 {
        assert!(std::time::Instant::now() < deadline, "the token lives on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_under_load_costs_no_pull() {
    let fleet = Fleet::start().await;
    let user = fleet.projects.user("puller").await;
    let project = fleet.projects.project("split").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let image = fleet.registry(0, &user, &[&format!("repository:{repository}:pull,push")]).await;
    let image = image.push_image(&repository, "1").await;
    let token =
        fleet.gateway.client(user.credentials()).token(&[&format!("repository:{repository}:pull")]).await;

    let ended = Arc::new(AtomicBool::new(false));
    let pullers: Vec<_> = (0..4)
        .map(|_| {
            let (ended, image, repository) = (ended.clone(), image.clone(), repository.clone());
            let registry = Registry::new(fleet.gateway.client(Credentials::Bearer(token.clone())));
            tokio::spawn(async move {
                let (mut pulls, mut failures) = (0, Vec::new());
                while !ended.load(Ordering::Relaxed) {
                    // As clients do it: an answer that says "try again", or none, is tried again.
                    for attempt in 0..3 {
                        let path = format!("/v2/{repository}/blobs/{}", image.layer);
                        let answer = registry.request(Method::GET, path).try_send().await;
                        match answer {
                            Ok(answer) if answer.status == 200 && answer.body == image.layer_bytes => break,
                            Ok(answer) if attempt == 2 => failures.push(answer.to_string()),
                            Err(error) if attempt == 2 => failures.push(error),
                            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                        }
                    }
                    pulls += 1;
                }
                (pulls, failures)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    fleet.registries[0].kill_9();
    tokio::time::sleep(Duration::from_secs(2)).await;
    fleet.registries[0].restart().await;
    ended.store(true, Ordering::Relaxed);
    let mut total = 0;
    for puller in pullers {
        let (pulls, failures) = puller.await.expect("a puller");
        assert!(failures.is_empty(), "{failures:?}");
        total += pulls;
    }
    assert!(total > 20, "{total} pulls");
}

#[tokio::test]
async fn a_role_without_a_database_says_what_to_set() {
    let bed = Bed::shared().await;
    let output = bed.run(&["registry", "--listen", "127.0.0.1:0", "--ops-listen", "off"], "").await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("HYTHE_DATABASE__URL"), "{text}");
}
