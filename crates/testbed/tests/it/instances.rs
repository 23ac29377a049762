//! Checks that need two registry processes, or the gateway in front: what one instance did, another knows, and
//! nobody comes in by the side.

use std::time::Duration;

use database::testing::TestDatabase;
use hythe_testbed::{Bed, Credentials, Image, Options, Registry, Role, User, forge, random_bytes};
use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::json;

use crate::support::{REVOCATION, eventually};

/// Two registries, one process of every other role, and the gateway in front of them.
pub struct Instances {
    pub gateway: Bed,
    pub registries: [Bed; 2],
    pub auth: Bed,
    pub projects: Bed,
    pub database: TestDatabase,
    _directory: tempfile::TempDir,
}

impl Instances {
    /// `set` goes to every process but the gateway.
    pub async fn start(set: &[(&str, &str)]) -> Instances {
        let database = database::testing::database().await;
        let directory = tempfile::Builder::new().prefix("hythe-instances-").tempdir_in("/tmp").expect("/tmp");
        let data = directory.path().join("data");
        let node = async |role: &'static str| {
            let options = Options::default()
                .role(role, &data)
                .set("HYTHE_DATABASE__URL", database.url())
                .set("HYTHE_DATABASE__OWNER_URL", database.owner_url())
                .set("HYTHE_HTTP__TRUSTED_PROXIES", "127.0.0.1");
            Bed::own(set.iter().fold(options, |options, (name, value)| options.set(name, value))).await
        };
        let (first, second, auth, projects) =
            tokio::join!(node("registry"), node("registry"), node("auth"), node("projects"));
        let entrance = Options::default()
            .role("gateway", &data)
            .set("HYTHE_GATEWAY__UPSTREAMS__REGISTRY", &format!("{},{}", first.url(), second.url()))
            .set("HYTHE_GATEWAY__UPSTREAMS__AUTH", &auth.url())
            .set("HYTHE_GATEWAY__UPSTREAMS__PROJECTS", &projects.url())
            .set("HYTHE_GATEWAY__HEALTH_PATH", "/");
        Instances {
            gateway: Bed::own(entrance).await,
            registries: [first, second],
            auth,
            projects,
            database,
            _directory: directory,
        }
    }

    /// A token of the token service.
    pub async fn token(&self, user: &User, scopes: &[&str]) -> String {
        self.auth.client(user.credentials()).token(scopes).await
    }

    /// Both registries, for somebody with this token.
    pub fn with(&self, token: &str) -> [Registry; 2] {
        [0, 1].map(|node| Registry::new(self.registries[node].client(Credentials::Bearer(token.to_owned()))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_instance_did_the_other_knows() {
    let instances = Instances::start(&[("HYTHE_IDENTITY__SIGNING_KEY_DELAY_SECONDS", "5")]).await;
    a_deleted_blob_is_gone_everywhere(&instances).await;
    of_two_writers_one_wins(&instances).await;
    old_papers_do_not_open_the_new_project(&instances).await;
    no_side_entrance(&instances).await;
    keys_change(&instances).await;
}

/// AZ-12 on a second instance: what it has read, and remembers, it no longer gives.
async fn a_deleted_blob_is_gone_everywhere(instances: &Instances) {
    let user = instances.projects.user("carol").await;
    let ours = instances.projects.project("ours").member(&user, Role::Maintainer).create().await;
    let theirs = instances.projects.project("theirs").member(&user, Role::Maintainer).create().await;
    let (here, there) = (ours.repository("a"), theirs.repository("b"));
    let scopes = [&here, &there].map(|name| format!("repository:{name}:pull,push,delete"));
    let [first, second] = instances.with(&instances.token(&user, &[&scopes[0], &scopes[1]]).await);
    let bytes = random_bytes(5000);
    let digest = first.push_blob(&here, &bytes).await;
    second.push_blob(&there, &bytes).await;
    for node in [&first, &second] {
        assert_eq!(node.get_blob(&here, &digest).await.expect(200).body, bytes);
    }
    first.delete(format!("/v2/{here}/blobs/{digest}")).await.expect(202);
    for node in [&second, &first] {
        assert_eq!(node.get_blob(&there, &digest).await.expect(200).body, bytes);
        node.get_blob(&here, &digest).await.expect_error(404, "BLOB_UNKNOWN");
        node.head_blob(&here, &digest).await.expect(404);
    }
}

/// CT-12 through two instances.
async fn of_two_writers_one_wins(instances: &Instances) {
    let user = instances.projects.user("pusher").await;
    let project = instances.projects.project("uploads").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let scope = format!("repository:{repository}:pull,push");
    let [first, second] = instances.with(&instances.token(&user, &[&scope]).await);
    for round in 0..5 {
        let (left, right) = (random_bytes(300_000), random_bytes(300_000));
        let upload = first.start_upload(&repository).await;
        let (one, two) = tokio::join!(
            first.patch(&upload, Some("0-299999"), &left),
            second.patch(&upload, Some("0-299999"), &right)
        );
        let won = match (one.status, two.status) {
            (202, 416 | 503) => &left,
            (416 | 503, 202) => &right,
            _ => panic!("round {round}: {one} and {two}"),
        };
        let digest = Digest::of(Algorithm::Sha256, won);
        let (one, two) =
            tokio::join!(first.finish(&upload, &digest, b""), second.finish(&upload, &digest, b""));
        let mut statuses = [one.status, two.status];
        statuses.sort();
        assert!([[201, 404], [201, 503]].contains(&statuses), "round {round}: {one} and {two}");
        for node in [&first, &second] {
            assert_eq!(node.get_blob(&repository, &digest).await.expect(200).body, won[..]);
        }
    }
}

/// AZ-08 for a robot's secret and for an instance that the deletion did not pass through.
async fn old_papers_do_not_open_the_new_project(instances: &Instances) {
    let ours = instances.projects.project("came-back").create().await;
    let repository = ours.repository("app");
    let access =
        json!([{"resource": "repository", "action": "pull"}, {"resource": "repository", "action": "push"}]);
    let permissions = json!([{"kind": "project", "namespace": ours.name, "access": access}]);
    let robot = instances.projects.robot("project", permissions).await;
    let scope = format!("repository:{repository}:pull,push");
    let token = instances.token(&robot, &[&scope]).await;
    let image = instances.with(&token)[0].push_image(&repository, "1").await;
    instances.with(&token)[1].get_manifest(&repository, "1").await.expect(200);

    ours.delete().await;
    let again = instances.projects.project("again").named(&ours.name).create().await;
    assert_ne!(again.id, ours.id);
    let admin = instances.projects.admin();
    let new = instances.with(&instances.token(&admin, &[&scope]).await);
    new[0].push_blob(&repository, &image.layer_bytes).await;
    for node in &instances.with(&token) {
        eventually(REVOCATION, "the robot's token ends with its project", async || {
            let answer = node.head_blob(&repository, &image.layer).await;
            assert!([401, 404].contains(&answer.status), "{answer}");
            answer.status == 401
        })
        .await;
        node.request(Method::POST, format!("/v2/{repository}/blobs/uploads/")).send().await.expect(401);
    }
    let refused = instances.auth.client(robot.credentials());
    eventually(REVOCATION, "the robot's secret ends with its project", async || {
        refused.token_answer(&[&scope]).await.status == 401
    })
    .await;
    for bed in &instances.registries {
        let direct = Registry::new(bed.client(robot.credentials()));
        direct.head_blob(&repository, &image.layer).await.expect(401);
    }
}

/// AZ-13, AZ-14, AZ-15 and AZ-16 with the gateway in front: it and the processes behind it read a request in
/// one way, or refuse it.
async fn no_side_entrance(instances: &Instances) {
    let bob = instances.projects.user("bob").await;
    let eve = instances.projects.user("eve").await;
    let public = instances.projects.project("pub").public().member(&bob, Role::Developer).create().await;
    let private = instances.projects.project("priv").member(&eve, Role::ProjectAdmin).create().await;
    let (shown, hidden) = (public.repository("app"), private.repository("secret"));
    let push = async |user: &User, repository: &str| -> Image {
        let token = instances.token(user, &[&format!("repository:{repository}:pull,push")]).await;
        instances.with(&token)[0].push_image(repository, "1").await
    };
    push(&bob, &shown).await;
    let secret = push(&eve, &hidden).await;
    let gateway = &instances.gateway;
    let token = instances.token(&bob, &[&format!("repository:{shown}:pull,push")]).await;
    let marker = secret.config.to_string();
    let (public, secret) = (&public.name, &hidden);
    for path in [
        format!("/v2/{public}/../{secret}/manifests/1"),
        format!("/v2/{public}/%2e%2e/{secret}/manifests/1"),
        format!("/v2/{public}/..%2f{secret}/manifests/1"),
        format!("/v2/{public}/..%5c{secret}/manifests/1"),
        format!("/v2/{public}/%252e%252e/{secret}/manifests/1"),
        format!("/v2/{public}/app;x/../{secret}/manifests/1"),
        format!("/v2//{secret}/manifests/1"),
        format!("//v2/{secret}/manifests/1"),
        format!("/v2/{secret}%00/manifests/1"),
        format!("/api/../v2/{secret}/manifests/1"),
        format!("/service/../v2/{secret}/manifests/1"),
        "/v2/%5fcatalog".to_owned(),
        "/v2/./_catalog".to_owned(),
        "//v2/_catalog".to_owned(),
        "/v2/x/../_catalog".to_owned(),
    ] {
        for authorization in [String::new(), format!("Authorization: Bearer {token}\r\n")] {
            let answer = gateway.raw_get(&path, &authorization).await;
            let status = answer.status.unwrap_or_else(|| panic!("no answer to {path}"));
            assert!([400, 401, 404].contains(&status), "{path}: {}", answer.text);
            assert!(!answer.text.contains(&marker), "{path}: {}", answer.text);
            assert!(!answer.text.contains("repositories"), "{path}: {}", answer.text);
        }
    }
    let path = format!("/v2/{secret}/manifests/1");
    let plain = gateway.nobody().get(&path).await.expect_challenge("");
    for (name, value) in [
        ("x-forwarded-user", "admin"),
        ("x-remote-user", "admin"),
        ("x-webauth-user", "admin"),
        ("x_forwarded_user", "admin"),
        ("x-hythe-user", "admin"),
        ("x-hythe-peer", "127.0.0.1"),
        ("x-hythe-secret", "x"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=127.0.0.1;host=evil.test"),
        ("user-agent", "kube-probe/1.30"),
    ] {
        let answer = gateway.nobody().request(Method::GET, &path).header(name, value).send().await;
        assert_eq!(answer.shape(&[]), plain.shape(&[]), "{name}: {value}");
    }
    let overridden = gateway.nobody().request(Method::DELETE, &path).header("x-http-method-override", "GET");
    overridden.send().await.expect(401);
    for path in
        ["/metrics", "/livez", "/readyz", "/healthz", "/startupz", "/version", "/debug/pprof/", "/internal"]
    {
        gateway.nobody().get(path).await.expect(404);
        for bed in instances.registries.iter().chain([&instances.auth, &instances.projects]) {
            bed.nobody().get(path).await.expect(404);
        }
    }
}

/// JW-16 over three processes that verify or sign: no request fails while the key changes, and tokens of a
/// removed key end everywhere.
async fn keys_change(instances: &Instances) {
    let user = instances.projects.user("holder").await;
    let project = instances.projects.project("held").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let scope = format!("repository:{repository}:pull,push");
    let old = instances.token(&user, &[&scope]).await;
    instances.with(&old)[0].push_image(&repository, "1").await;
    let first = forge::Parts::of(&old).key_id().to_owned();
    let output = instances.projects.run(&["keys", "rotate"], "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let started = std::time::Instant::now();
    let new = loop {
        let token = instances.token(&user, &[&scope]).await;
        for node in instances.with(&token).iter().chain(&instances.with(&old)) {
            node.get_manifest(&repository, "1").await.expect(200);
        }
        if forge::Parts::of(&token).key_id() != first {
            break token;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the new key never signs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // There is no command for this yet; the row is what every process follows.
    let removed = sqlx::query("delete from identity.signing_keys where kid = $1").bind(&first);
    removed.execute(instances.database.owner()).await.expect("the old key has a row");
    for node in &instances.with(&old) {
        eventually(REVOCATION, "tokens of a removed key end", async || {
            node.get_manifest(&repository, "1").await.status == 401
        })
        .await;
    }
    for node in &instances.with(&new) {
        node.get_manifest(&repository, "1").await.expect(200);
    }
}
