//! Who may do what on `/v2` (AZ-02 to AZ-16): rights come from grants, never from names, headers,
//! path tricks or knowing a digest; and a refusal never tells whether the thing exists.

use hythe_testbed::{Bed, Credentials, Options, Registry, Role, forge};
use reqwest::Method;

use crate::support::{Tenants, random_digest, random_uuid};

#[tokio::test]
async fn az_02_anonymous_token_opens_nothing_private() {
    let Tenants { bed, app, .. } = Tenants::new().await;
    let token = bed.nobody().token(&[&format!("repository:{}:pull", app.repository)]).await;
    assert_eq!(forge::Parts::of(&token).access(), [(app.repository.clone(), vec![])]);
    let anonymous = bed.client(Credentials::Bearer(token));
    for path in [
        format!("manifests/{}", app.digest),
        "manifests/1".to_owned(),
        format!("blobs/{}", app.layer),
        "tags/list".to_owned(),
        format!("referrers/{}", app.digest),
    ] {
        anonymous.get(format!("/v2/{}/{path}", app.repository)).await.expect_challenge("insufficient_scope");
    }
    // Unknown project, unknown repository: the same token, the same answer.
    let unknown = format!("{}/app", bed.unique("nowhere"));
    let token = bed.nobody().token(&[&format!("repository:{unknown}:pull")]).await;
    assert_eq!(forge::Parts::of(&token).access(), [(unknown, vec![])]);
}

#[tokio::test]
async fn az_03_tokens_carry_only_what_the_role_allows() {
    let bed = Bed::shared().await;
    let roles = [
        (Role::LimitedGuest, vec!["pull"]),
        (Role::Guest, vec!["pull"]),
        (Role::Developer, vec!["pull", "push"]),
        (Role::Maintainer, vec!["pull", "push", "delete"]),
        (Role::ProjectAdmin, vec!["pull", "push", "delete"]),
    ];
    let project = bed.project("priv").create().await;
    for (role, allowed) in roles {
        let user = bed.user("alice").await;
        project.add_member(&user, role).await;
        for asked in ["pull,push,delete,*", "*", "delete,push,pull"] {
            let token =
                user.client().token(&[&format!("repository:{}:{asked}", project.repository("x"))]).await;
            let access = forge::Parts::of(&token).access();
            assert_eq!(access.len(), 1);
            assert_eq!(access[0].1, allowed, "{role:?} asked for {asked}");
        }
        let token = user.client().token(&[&format!("repository:{}:push", project.repository("x"))]).await;
        let granted = &forge::Parts::of(&token).access()[0].1;
        assert!(granted.iter().all(|action| action == "push"), "{role:?} got {granted:?} for push alone");
    }
}

#[tokio::test]
async fn az_04_push_token_cannot_delete() {
    let Tenants { bed, bob, ours, app, .. } = Tenants::new().await;
    let carol = bed.user("carol").await;
    ours.add_member(&carol, Role::Maintainer).await;
    let repository = &app.repository;
    let scope = format!("repository:{repository}:pull,push");
    let pusher = carol.registry_with_token(&[&scope]).await;
    for path in
        [format!("manifests/{}", app.digest), "manifests/1".to_owned(), format!("blobs/{}", app.layer)]
    {
        pusher.delete(format!("/v2/{repository}/{path}")).await.expect_challenge("insufficient_scope");
        bob.registry().get(format!("/v2/{repository}/{path}")).await.expect(200);
    }
    // Cancelling an upload needs push, but only one's own upload is there to be cancelled.
    let upload = bob.registry().start_upload(repository).await;
    pusher.delete(&upload.location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    bob.registry().get(&upload.location).await.expect(204);
    bob.registry_with_token(&[&scope]).await.delete(&upload.location).await.expect(204);
}

#[tokio::test]
async fn az_06_digest_of_another_tenant_is_unknown() {
    let Tenants { bob, app, secret, .. } = Tenants::new().await;
    let repository = &app.repository;
    let scope = format!("repository:{repository}:pull,push");
    let unknown = random_digest();
    let (secret_text, unknown_text) = (secret.layer.to_string(), unknown.to_string());
    for client in [bob.registry(), bob.registry_with_token(&[&scope]).await] {
        for method in [Method::GET, Method::HEAD] {
            for range in [None, Some("bytes=0-9")] {
                let ask = async |digest: &str| {
                    let mut request =
                        client.request(method.clone(), format!("/v2/{repository}/blobs/{digest}"));
                    if let Some(range) = range {
                        request = request.header("range", range);
                    }
                    request.send().await.expect(404).shape(&[digest])
                };
                assert_eq!(ask(&secret_text).await, ask(&unknown_text).await, "{method} {range:?}");
            }
        }
        for kind in ["manifests", "referrers"] {
            let ask = async |digest: &str| {
                client.get(format!("/v2/{repository}/{kind}/{digest}")).await.shape(&[digest])
            };
            assert_eq!(ask(&secret.digest.to_string()).await, ask(&unknown_text).await, "{kind}");
        }
    }
}

#[tokio::test]
async fn az_07_mount_without_rights_is_an_ordinary_upload() {
    let Tenants { bed, bob, app, secret, .. } = Tenants::new().await;
    let repository = &app.repository;
    let here = format!("repository:{repository}:pull,push");
    let both = format!("repository:{}:pull", secret.repository);
    let unknown = random_digest();
    let nowhere = format!("{}/x", bed.unique("nowhere"));
    for client in [
        bob.registry(),
        bob.registry_with_token(&[&here]).await,
        bob.registry_with_token(&[&here, &both]).await,
    ] {
        let ask = async |digest: &oci::Digest, from: Option<&str>| {
            let mut request = client
                .request(Method::POST, format!("/v2/{repository}/blobs/uploads/"))
                .query("mount", digest);
            if let Some(from) = from {
                request = request.query("from", from);
            }
            let answer = request.send().await.expect(202);
            let location = answer.header("location").to_owned();
            let id = location.rsplit('/').next().unwrap_or_default().to_owned();
            client.delete(&location).await.expect(204);
            answer.shape(&[&id])
        };
        let expected = ask(&unknown, Some(&secret.repository)).await;
        assert_eq!(ask(&secret.layer, Some(&secret.repository)).await, expected);
        assert_eq!(ask(&secret.layer, Some(&nowhere)).await, expected);
        assert_eq!(ask(&secret.layer, None).await, expected);
        assert_eq!(ask(&unknown, None).await, expected);
    }
    bob.registry().head_blob(repository, &secret.layer).await.expect(404);
}

#[tokio::test]
async fn mount_with_rights_links_the_blob() {
    let Tenants { bob, ours, app, .. } = Tenants::new().await;
    let target = ours.repository("copy");
    let answer = bob
        .registry()
        .request(Method::POST, format!("/v2/{target}/blobs/uploads/"))
        .query("mount", &app.layer)
        .query("from", &app.repository)
        .send()
        .await
        .expect(201);
    assert_eq!(answer.header("location"), format!("/v2/{target}/blobs/{}", app.layer));
    assert_eq!(answer.header("docker-content-digest"), app.layer.to_string());
    assert_eq!(bob.registry().get_blob(&target, &app.layer).await.expect(200).body, app.layer_bytes);
    // The token has to name the source; the account's right alone is not enough.
    let narrow = bob.registry_with_token(&[&format!("repository:{target}:pull,push")]).await;
    let answer = narrow
        .request(Method::POST, format!("/v2/{target}/blobs/uploads/"))
        .query("mount", &app.config)
        .query("from", &app.repository)
        .send()
        .await
        .expect_challenge("insufficient_scope");
    assert!(answer.header("www-authenticate").contains(&format!("repository:{}:pull", app.repository)));
    bob.registry().head_blob(&target, &app.config).await.expect(404);
}

#[tokio::test]
async fn az_08_a_project_that_came_back_is_another_project() {
    let Tenants { bed, bob, ours, app, .. } = Tenants::new().await;
    let repository = app.repository.clone();
    let other = bed.project("other").member(&bob, Role::Developer).create().await;
    let target = other.repository("x");
    let scope = format!("repository:{repository}:pull,push");
    let old = bob.registry_with_token(&[&scope]).await;
    let old_mount = bob.registry_with_token(&[&format!("repository:{target}:pull,push"), &scope]).await;
    old.get_manifest(&repository, "1").await.expect(200);
    let upload = old.start_upload(&repository).await;
    old.patch(&upload, None, b"half of it").await.expect(202);

    ours.delete().await;
    let again = bed.project("ours").named(&ours.name).member(&bob, Role::Developer).create().await;
    assert_ne!(again.id, ours.id);
    // The same names and the same bytes stand there again, and Bob may see them: but not by the old papers.
    let registry = bob.registry();
    registry.push_blob(&repository, &app.layer_bytes).await;

    // At most five seconds until every process knows, and nothing to be had meanwhile.
    let began = std::time::Instant::now();
    loop {
        let answer = old.get_manifest(&repository, "1").await;
        if answer.status == 401 {
            break;
        }
        assert_eq!(answer.status, 404, "{answer}");
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    old.head_blob(&repository, &app.layer).await.expect(401);
    old.get(format!("/v2/{repository}/tags/list")).await.expect(401);
    old.request(Method::POST, format!("/v2/{repository}/blobs/uploads/")).send().await.expect(401);
    old.get(&upload.location).await.expect(401);
    registry.get(&upload.location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.patch(&upload, None, b"more").await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.finish(&upload, &app.layer, b"").await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let answer = old_mount
        .request(Method::POST, format!("/v2/{target}/blobs/uploads/"))
        .query("mount", &app.layer)
        .query("from", &repository)
        .send()
        .await;
    assert!([202, 401].contains(&answer.status), "{answer}");
    registry.head_blob(&target, &app.layer).await.expect(404);
    registry.get_manifest(&repository, "1").await.expect_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn az_09_upload_of_somebody_else_does_not_exist() {
    let Tenants { bed, bob, eve, ours, app, theirs, .. } = Tenants::new().await;
    let ben = bed.user("ben").await;
    ours.add_member(&ben, Role::ProjectAdmin).await;
    let bytes = hythe_testbed::random_bytes(1000);
    let digest = oci::Digest::of(oci::Algorithm::Sha256, &bytes);
    let upload = bob.registry().start_upload(&app.repository).await;
    bob.registry().patch(&upload, None, &bytes[..400]).await.expect(202);

    let unknown = random_uuid();
    let attempt = async |client: &Registry, repository: &str, id: &str, method: &Method| {
        let mut request = client.request(method.clone(), format!("/v2/{repository}/blobs/uploads/{id}"));
        if *method == Method::PUT {
            request = request.query("digest", &digest);
        }
        // A question with a body is refused before anybody looks at it.
        let body: &[u8] = if *method == Method::GET { b"" } else { b"evil" };
        request.body(body).send().await
    };
    let eves_repository = theirs.repository("secret");
    for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
        for (client, repository, status) in [
            (eve.registry(), &eves_repository, 404),
            (ben.registry(), &app.repository, 404),
            (bed.admin().registry(), &app.repository, 404),
            (eve.registry(), &app.repository, 401),
            (bed.registry(), &app.repository, 401),
        ] {
            let found = attempt(&client, repository, upload.id(), &method).await.expect(status);
            let missing = attempt(&client, repository, &unknown, &method).await;
            assert_eq!(found.shape(&[upload.id()]), missing.shape(&[&unknown]), "{method} in {repository}");
        }
        // Bob himself, through another repository of his.
        let elsewhere = ours.repository("elsewhere");
        attempt(&bob.registry(), &elsewhere, upload.id(), &method)
            .await
            .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let standing = bob.registry().get(&upload.location).await.expect(204);
    assert_eq!(standing.header("range"), "0-399");
    bob.registry().patch(&upload, Some("400-999"), &bytes[400..]).await.expect(202);
    bob.registry().finish(&upload, &digest, b"").await.expect(201);
    assert_eq!(bob.registry().get_blob(&app.repository, &digest).await.expect(200).body, bytes);
}

#[tokio::test]
async fn az_11_disabled_deletes_are_refused_on_every_path() {
    let bed = Bed::own(Options::default().set("HYTHE_REGISTRY__DELETE_ENABLED", "false")).await;
    let project = bed.project("kept").create().await;
    let admin = bed.admin();
    let image = admin.registry().push_image(&project.repository("app"), "1").await;
    let scope = format!("repository:{}:*", image.repository);
    for client in [admin.registry(), admin.registry_with_token(&[&scope]).await] {
        for path in [
            format!("manifests/{}", image.digest),
            "manifests/1".to_owned(),
            format!("blobs/{}", image.layer),
        ] {
            client.delete(format!("/v2/{}/{path}", image.repository)).await.expect_error(405, "UNSUPPORTED");
        }
    }
    let answer = admin.registry().get_manifest(&image.repository, "1").await.expect(200);
    assert_eq!(answer.header("docker-content-digest"), image.digest.to_string());
    // Permission comes before policy.
    let stranger = bed.user("stranger").await;
    stranger.registry().delete(format!("/v2/{}/manifests/1", image.repository)).await.expect_challenge("");
}

#[tokio::test]
async fn az_12_a_deleted_blob_stays_deleted_while_others_use_it() {
    let Tenants { bed, bob, eve, ours, theirs, .. } = Tenants::new().await;
    let carol = bed.user("carol").await;
    ours.add_member(&carol, Role::Maintainer).await;
    let bytes = hythe_testbed::random_bytes(5000);
    let (here, there) = (ours.repository("a"), theirs.repository("b"));
    let digest = bob.registry().push_blob(&here, &bytes).await;
    eve.registry().push_blob(&there, &bytes).await;
    assert_eq!(bob.registry().get_blob(&here, &digest).await.expect(200).body, bytes);
    carol.registry().delete(format!("/v2/{here}/blobs/{digest}")).await.expect(202);
    for _ in 0..3 {
        assert_eq!(eve.registry().get_blob(&there, &digest).await.expect(200).body, bytes);
        bob.registry().get_blob(&here, &digest).await.expect_error(404, "BLOB_UNKNOWN");
        bob.registry().head_blob(&here, &digest).await.expect(404);
    }
}

#[tokio::test]
async fn az_13_no_spelling_opens_the_catalog() {
    let Tenants { bed, bob, app, .. } = Tenants::new().await;
    let basic = |name: &str, password: &str| {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        format!("Authorization: Basic {pair}\r\n")
    };
    let anonymous_token = bed.nobody().token(&["registry:catalog:*"]).await;
    let token = bob.client().token(&["registry:catalog:*", "registry:catalog:read,*"]).await;
    for (name, actions) in forge::Parts::of(&token).access() {
        assert!(actions.is_empty(), "{name}: {actions:?}");
    }
    for authorization in [
        String::new(),
        basic(&bob.name, &bob.password),
        format!("Authorization: Bearer {token}\r\n"),
        format!("Authorization: Bearer {anonymous_token}\r\n"),
    ] {
        for path in [
            "/v2/_catalog",
            "/v2/_catalog/",
            "/v2/_catalog?n=1000",
            "//v2/_catalog",
            "/v2//_catalog",
            "/v2/%5fcatalog",
            "/v2/%5Fcatalog",
            "/v2/./_catalog",
            "/v2/x/../_catalog",
            "/v2/%2e/_catalog",
            "/v2/x/%2e%2e/_catalog",
            "/v2/_catalog;x",
            "/v2/_catalog%00",
            "/v2\\_catalog",
            "/V2/_catalog",
            "/v2/_CATALOG",
        ] {
            let answer = bed.raw_get(path, &authorization).await;
            let status = answer.status.unwrap_or_else(|| panic!("no answer to {path}"));
            assert!([400, 401, 404].contains(&status), "{path}: {}", answer.text);
            // The key of the list; pages of the console have the word.
            assert!(!answer.text.contains("\"repositories\""), "{path}: {}", answer.text);
            assert!(!answer.text.contains(&app.repository), "{path}: {}", answer.text);
        }
        for path in ["/v2/_catalog", "/v2/_catalog/", "/v2/%5fcatalog"] {
            assert_eq!(bed.raw_get(path, &authorization).await.status, Some(401), "{path}");
        }
    }
    let admin = bed.admin();
    for path in ["/v2/_catalog?n=10000", "/v2/_catalog/?n=10000", "/v2/%5fcatalog?n=10000"] {
        let answer = bed.raw_get(path, &basic(&admin.name, &admin.password)).await;
        assert_eq!(answer.status, Some(200), "{path}: {}", answer.text);
    }
    let last = app.repository.strip_suffix("app").unwrap_or_default();
    let page = admin.registry().get(format!("/v2/_catalog?n=1&last={last}")).await.expect(200).json();
    assert_eq!(page["repositories"][0], app.repository.as_str());
    let catalog = admin.registry_with_token(&["registry:catalog:*"]).await;
    catalog.get("/v2/_catalog").await.expect(200);
}

#[tokio::test]
async fn az_14_path_tricks_reach_no_other_repository() {
    let Tenants { bed, bob, secret, .. } = Tenants::new().await;
    let public = bed.project("pub").public().member(&bob, Role::Developer).create().await;
    bob.registry().push_image(&public.repository("app"), "1").await;
    let (public, theirs) = (&public.name, &secret.repository);
    let token = bob.client().token(&[&format!("repository:{public}/app:pull,push")]).await;
    let marker = secret.config.to_string();
    for path in [
        format!("/v2/{public}/../{theirs}/manifests/1"),
        format!("/v2/{public}/app/../../{theirs}/manifests/1"),
        format!("/v2/{public}/%2e%2e/{theirs}/manifests/1"),
        format!("/v2/{public}/%2E%2E/{theirs}/manifests/1"),
        format!("/v2/{public}/..%2f{theirs}/manifests/1"),
        format!("/v2/{public}%2f..%2f{theirs}/manifests/1"),
        format!("/v2/{public}/..%5c{theirs}/manifests/1"),
        format!("/v2/{public}/..\\{theirs}/manifests/1"),
        format!("/v2/{public}/%252e%252e/{theirs}/manifests/1"),
        format!("/v2/{public}/app;x/../{theirs}/manifests/1"),
        format!("/v2/{public};/{theirs}/manifests/1"),
        format!("/v2//{theirs}/manifests/1"),
        format!("//v2/{theirs}/manifests/1"),
        format!("/v2/./{theirs}/manifests/1"),
        format!("/v2/{theirs}/./manifests/1"),
        format!("/v2/{theirs}/manifests//1"),
        format!("/v2/{public}%00/../{theirs}/manifests/1"),
        format!("/v2/{theirs}%00/manifests/1"),
        format!("/v2/{theirs}%c0%af/manifests/1"),
        format!("/v2/{public}/app/manifests/../../../{theirs}/manifests/1"),
        format!("/v2/{public}/app/blobs/../../../{theirs}/blobs/{}", secret.config),
        format!("/api/../v2/{theirs}/manifests/1"),
        format!("/service/token/../../v2/{theirs}/manifests/1"),
        format!("http://127.0.0.1/v2/{theirs}/manifests/1"),
    ] {
        for authorization in [String::new(), format!("Authorization: Bearer {token}\r\n")] {
            let answer = bed.raw_get(&path, &authorization).await;
            let status = answer.status.unwrap_or_else(|| panic!("no answer to {path}"));
            assert!([400, 401, 404].contains(&status), "{path}: {}", answer.text);
            assert!(!answer.text.contains(&marker), "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn az_15_trust_headers_from_outside_change_nothing() {
    let Tenants { bed, bob, app, .. } = Tenants::new().await;
    let path = format!("/v2/{}/manifests/1", app.repository);
    let plain = bed.nobody().get(&path).await.expect_challenge("");
    for (name, value) in [
        ("x-forwarded-user", "admin"),
        ("x-remote-user", "admin"),
        ("remote-user", "admin"),
        ("x-webauth-user", "admin"),
        ("x_forwarded_user", "admin"),
        ("x-hythe-user", "admin"),
        ("x-hythe-peer", "127.0.0.1"),
        ("x-hythe-scheme", "https"),
        ("x-hythe-secret", "x"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("forwarded", "for=127.0.0.1;host=evil.test"),
        ("user-agent", "kube-probe/1.30"),
        ("user-agent", "cosign/v2"),
        ("x-original-url", "/v2/"),
        ("x-rewrite-url", "/v2/"),
        ("cookie", "hythe=x; sid=y"),
    ] {
        let answer = bed.nobody().request(Method::GET, &path).header(name, value).send().await;
        assert_eq!(answer.shape(&[]), plain.shape(&[]), "{name}: {value}");
    }
    // A method is what the request line says.
    for override_header in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let answer =
            bob.registry().request(Method::GET, &path).header(override_header, "DELETE").send().await;
        answer.expect(200);
        let answer =
            bob.registry().request(Method::DELETE, &path).header(override_header, "GET").send().await;
        answer.expect_challenge("");
    }
    bob.registry().get(&path).await.expect(200);
}

#[tokio::test]
async fn az_16_operations_are_not_on_the_public_listener() {
    let bed = Bed::shared().await;
    let admin = bed.admin().client();
    for path in [
        "/metrics",
        "/livez",
        "/healthz",
        "/readyz",
        "/startupz",
        "/version",
        "/debug",
        "/debug/pprof/",
        "/debug/vars",
        "/internal",
        "/api/internal",
        "/_status",
    ] {
        bed.nobody().get(path).await.expect(404);
        admin.get(path).await.expect(404);
    }
    let operations = reqwest::Client::builder().no_proxy().build().expect("a plain client");
    for (path, status) in [
        ("/livez", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/startupz", 200),
        ("/metrics", 200),
        ("/version", 200),
        ("/v2/", 404),
        ("/api/v2.0/ping", 404),
        ("/service/token", 404),
    ] {
        let answer = operations.get(format!("{}{path}", bed.operations_url())).send().await;
        let found = answer.unwrap_or_else(|err| panic!("{path}: {err}")).status().as_u16();
        assert_eq!(found, status, "{path}");
    }
}

#[tokio::test]
async fn refusals_do_not_tell_what_exists() {
    let Tenants { bed, bob, secret, theirs, .. } = Tenants::new().await;
    let missing_project = bed.unique("theirs");
    // As long as the existing one: Content-Length counts the name in the message.
    let missing_repository = theirs.repository("absent");
    let digest = random_digest();
    for client in [bed.registry(), bob.registry()] {
        for (method, rest) in [
            (Method::GET, "manifests/1".to_owned()),
            (Method::HEAD, "manifests/1".to_owned()),
            (Method::PUT, "manifests/1".to_owned()),
            (Method::DELETE, "manifests/1".to_owned()),
            (Method::GET, format!("manifests/{}", secret.digest)),
            (Method::GET, format!("blobs/{}", secret.layer)),
            (Method::HEAD, format!("blobs/{}", secret.layer)),
            (Method::DELETE, format!("blobs/{}", secret.layer)),
            (Method::GET, "tags/list".to_owned()),
            (Method::GET, format!("referrers/{}", secret.digest)),
            (Method::POST, "blobs/uploads/".to_owned()),
            (Method::POST, format!("blobs/uploads/?digest={digest}")),
        ] {
            let ask = async |repository: &str| {
                let asks = [Method::GET, Method::HEAD].contains(&method);
                let body = if asks { Vec::new() } else { secret.manifest.clone() };
                let request = client.request(method.clone(), format!("/v2/{repository}/{rest}"));
                let request = request.header("content-type", oci::manifest::OCI_MANIFEST).body(body);
                request.send().await.expect_challenge("").shape(&[repository])
            };
            let existing = ask(&secret.repository).await;
            assert_eq!(existing, ask(&missing_repository).await, "{method} {rest}");
            assert_eq!(existing, ask(&format!("{missing_project}/secret")).await, "{method} {rest}");
        }
    }
}
