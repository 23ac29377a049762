//! Signing in as docker does, and what wrong credentials get.

use hythe_testbed::{Bed, Credentials, Registry, Role, forge};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn docker_login_and_pull() {
    let bed = Bed::shared().await;
    let user = bed.user("docker").await;
    let project = bed.project("login").member(&user, Role::Developer).create().await;
    let image = user.registry().push_image(&project.repository("app"), "1").await;
    let challenge = bed.nobody().get("/v2/").await.expect_challenge("");
    let realm = format!("realm=\"{}/service/token\"", bed.url());
    assert!(
        challenge.header("www-authenticate").contains(&realm),
        "{}",
        challenge.header("www-authenticate")
    );
    let answer = user
        .client()
        .request(Method::GET, "/service/token")
        .query("account", &user.name)
        .query("client_id", "docker")
        .query("offline_token", "true")
        .query("service", "harbor-registry")
        .send()
        .await
        .expect(200)
        .json();
    let token = answer["token"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answer["access_token"], answer["token"]);
    bed.client(Credentials::Bearer(token)).get("/v2/").await.expect(200);
    // docker keeps the refresh token and asks again with it.
    let refresh = answer["refresh_token"].as_str().unwrap_or_default().to_owned();
    let scope = format!("repository:{}:pull", image.repository);
    let fields = [
        ("grant_type", "refresh_token"),
        ("service", "harbor-registry"),
        ("client_id", "docker"),
        ("refresh_token", &refresh),
        ("scope", &scope),
    ];
    let answer =
        bed.nobody().request(Method::POST, "/service/token").form(&fields).send().await.expect(200).json();
    let token = answer["access_token"].as_str().unwrap_or_default().to_owned();
    let registry = Registry::new(bed.client(Credentials::Bearer(token)));
    let manifest = registry.get_manifest(&image.repository, "1").await.expect(200);
    assert_eq!(manifest.body, image.manifest);
    assert_eq!(registry.get_blob(&image.repository, &image.layer).await.expect(200).body, image.layer_bytes);
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_never_anonymous() {
    let bed = Bed::shared().await;
    let user = bed.user("wrong").await;
    let project = bed.project("open").public().member(&user, Role::Developer).create().await;
    let image = user.registry().push_image(&project.repository("app"), "1").await;
    let scope = format!("repository:{}:pull", image.repository);
    let wrong = Credentials::Basic { name: user.name.clone(), password: "not-the-password".to_owned() };
    let unknown = Credentials::Basic { name: bed.unique("nobody"), password: "not-the-password".to_owned() };
    let mut shapes = Vec::new();
    for credentials in [wrong, unknown] {
        let Credentials::Basic { name, .. } = &credentials else { unreachable!("made above") };
        let name = name.clone();
        let client = bed.client(credentials);
        client.get(format!("/v2/{}/manifests/1", image.repository)).await.expect_challenge("");
        client.get("/v2/").await.expect_challenge("");
        let answer = client.token_answer(&[&scope]).await.expect_error(401, "UNAUTHORIZED");
        assert!(
            answer.json()["errors"][0]["message"]
                .as_str()
                .is_some_and(|m| m.starts_with("authentication required"))
        );
        client.get("/api/v2.0/projects").await.expect(401);
        shapes.push(answer.shape(&[&name]));
    }
    assert_eq!(shapes[0], shapes[1], "known and unknown names are told apart");
    for authorization in ["Basic", "Basic !!!", "Basic YQ==", "Bearer", "Digest x", "Negotiate x"] {
        let request =
            bed.nobody().request(Method::GET, "/api/v2.0/projects").header("authorization", authorization);
        request.send().await.expect(401);
        let path = format!("/v2/{}/manifests/1", image.repository);
        bed.nobody()
            .request(Method::GET, path)
            .header("authorization", authorization)
            .send()
            .await
            .expect(401);
    }
    // `docker login` without a user proves nothing; asking for a scope as nobody is fine.
    bed.nobody().token_answer(&[]).await.expect(401);
    let token = bed.nobody().token(&[&format!("{scope},push,delete")]).await;
    assert_eq!(forge::Parts::of(&token).access(), [(image.repository.clone(), vec!["pull".to_owned()])]);
    let anonymous = Registry::new(bed.client(Credentials::Bearer(token)));
    anonymous.get_manifest(&image.repository, "1").await.expect(200);
    anonymous.get_blob(&image.repository, &image.layer).await.expect(200);
    anonymous
        .delete(format!("/v2/{}/manifests/1", image.repository))
        .await
        .expect_challenge("insufficient_scope");
    // Public or not, nobody is challenged first: that is how clients learn the realm.
    let challenge = bed.registry().get_manifest(&image.repository, "1").await.expect_challenge("");
    assert!(challenge.header("www-authenticate").contains(&format!("scope=\"{scope}\"")));
}

#[tokio::test]
async fn too_many_wrong_passwords_are_throttled() {
    let bed = Bed::shared().await;
    let user = bed.user("throttled").await;
    let wrong = bed.client(Credentials::Basic { name: user.name.clone(), password: "guess".to_owned() });
    let mut throttled = None;
    for _ in 0..12 {
        let answer = wrong.get("/api/v2.0/users/current").await;
        if answer.status == 429 {
            throttled = Some(answer);
            break;
        }
        answer.expect(401);
    }
    let throttled = throttled.expect("twelve guesses in a row were allowed");
    assert!(throttled.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{throttled}");
    // One counter for all doors.
    wrong.token_answer(&["repository:a/b:pull"]).await.expect(429);
    wrong.get("/v2/").await.expect(429);
    // The account's owner is told apart from others.
    bed.admin().client().get("/api/v2.0/users/current").await.expect(200);
}

#[tokio::test]
async fn answers_carry_a_request_id_and_no_cookie() {
    let bed = Bed::shared().await;
    let admin = bed.admin().client();
    for path in ["/v2/", "/service/token?service=harbor-registry", "/api/v2.0/users/current", "/api/nowhere"]
    {
        let answer = admin.request(Method::GET, path).header("x-request-id", "my-id-1").send().await;
        assert_eq!(answer.header("x-request-id"), "my-id-1", "{answer}");
        assert_eq!(answer.header("set-cookie"), "", "{answer}");
        for bad in ["a b", "a_b", "<script>", &"x".repeat(65)] {
            let answer = admin.request(Method::GET, path).header("x-request-id", bad).send().await;
            let given = answer.header("x-request-id");
            assert!(given != bad && given.len() == 36, "{bad:?} became {given:?} on {path}");
        }
    }
}

#[tokio::test]
async fn nobody_makes_projects() {
    let bed = Bed::shared().await;
    let body = json!({"project_name": bed.unique("mine")});
    bed.nobody().post("/api/v2.0/projects", body).await.expect(401);
}
