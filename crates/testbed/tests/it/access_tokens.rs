//! Personal access tokens on `/v2` and at the token service: their scopes hold on every surface (AZ-22), and their
//! end ends what they gave out (AZ-19).

use hythe_testbed::{Bed, Client, Credentials, Registry, Role, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{REVOCATION, eventually};

const OWN: &str = "/api/v2.0/users/current/tokens";

/// Makes a token; its path, and its owner with the token in place of the password.
async fn token(owner: &User, scopes: &[&str], projects: &[&str]) -> (String, User) {
    let bed = owner.client().bed().clone();
    let input = json!({"name": bed.unique("token"), "scopes": scopes, "projects": projects});
    let answer = owner.client().post(OWN, input).await.expect(201);
    let path = answer.header("location").to_owned();
    let secret = answer.json()["secret"].as_str().unwrap_or_default().to_owned();
    (path, owner.with_password(secret))
}

async fn by_token(bed: &Bed, user: &User, repository: &str) -> Registry {
    let scope = format!("repository:{repository}:pull,push,delete");
    let token = user.client().token(&[&scope, "registry:catalog:*"]).await;
    Registry::new(bed.client(Credentials::Bearer(token)))
}

#[tokio::test]
async fn az_22_scopes_hold_on_the_registry_and_at_the_token_service() {
    let bed = Bed::shared().await;
    let owner = bed.user("owner").await;
    let project = bed.project("scopes").member(&owner, Role::ProjectAdmin).create().await;
    let other = bed.project("scopes").member(&owner, Role::ProjectAdmin).create().await;
    let (own, elsewhere) = (project.repository("app"), other.repository("app"));
    let image = owner.registry().push_image(&own, "1").await;
    owner.registry().push_image(&elsewhere, "1").await;

    for (scopes, pull, push, delete) in [
        (vec!["pull"], true, false, false),
        // Whoever pushes reads as well.
        (vec!["push"], true, true, false),
        (vec!["delete"], false, false, true),
        (vec!["api"], false, false, false),
        (vec!["api:read"], false, false, false),
        (vec!["pull", "push", "delete", "api"], true, true, true),
    ] {
        let (_, user) = token(&owner, &scopes, &[&project.name]).await;
        for registry in [user.registry(), by_token(&bed, &user, &own).await] {
            let status = |open: bool, success: u16| if open { success } else { 401 };
            let got = registry.get_manifest(&own, "1").await.status;
            assert_eq!(got, status(pull, 200), "{scopes:?} pull");
            let upload = format!("/v2/{own}/blobs/uploads/");
            let got = registry.request(Method::POST, upload).send().await.status;
            assert_eq!(got, status(push, 202), "{scopes:?} push");
            let got = registry.delete(format!("/v2/{own}/manifests/missing")).await.status;
            assert_eq!(got, status(delete, 404), "{scopes:?} delete");
            // Not beyond its projects, and not what only the whole account may.
            registry.get_manifest(&elsewhere, "1").await.expect(401);
            registry.get("/v2/_catalog").await.expect(401);
            registry.get("/v2/").await.expect(200);
        }
        // The project it does not open as the mount's source: an ordinary upload, or the refusal to push.
        let mount = format!("/v2/{own}/blobs/uploads/?mount={}&from={elsewhere}", image.layer);
        let got = user.registry().request(Method::POST, mount).send().await.status;
        assert_eq!(got, if push { 202 } else { 401 }, "{scopes:?} mount");
    }
    // An administrator's token for content lists the catalog only without a limit to projects.
    let (_, all) = token(&bed.admin(), &["pull"], &[]).await;
    all.registry().get("/v2/_catalog").await.expect(200);
    by_token(&bed, &all, &own).await.get("/v2/_catalog").await.expect(200);
    let (_, some) = token(&bed.admin(), &["pull"], &[&project.name]).await;
    some.registry().get("/v2/_catalog").await.expect(401);
    some.registry().get_manifest(&own, "1").await.expect(200);
    all.client().get("/api/v2.0/users").await.expect(403);
}

#[tokio::test]
async fn no_refresh_token_comes_of_an_access_token() {
    let bed = Bed::shared().await;
    let owner = bed.user("owner").await;
    let (_, user) = token(&owner, &["pull"], &[]).await;
    let ask = async |client: Client| -> Value {
        client
            .request(Method::GET, "/service/token")
            .query("service", "harbor-registry")
            .query("offline_token", "true")
            .query("client_id", "docker")
            .send()
            .await
            .expect(200)
            .json()
    };
    assert!(ask(owner.client()).await["refresh_token"].is_string());
    assert!(ask(user.client()).await.get("refresh_token").is_none());
}

#[tokio::test]
async fn az_19_a_token_that_ends_takes_along_what_it_gave_out() {
    let bed = Bed::shared().await;
    let owner = bed.user("owner").await;
    let project = bed.project("ends").member(&owner, Role::Developer).create().await;
    let own = project.repository("app");
    owner.registry().push_image(&own, "1").await;
    let (path, user) = token(&owner, &["pull", "push", "api"], &[]).await;
    let (_, second) = token(&owner, &["pull"], &[]).await;
    let registry = by_token(&bed, &user, &own).await;
    let sibling = by_token(&bed, &second, &own).await;
    for _ in 0..2 {
        registry.get_manifest(&own, "1").await.expect(200);
        user.client().get("/api/v2.0/users/current").await.expect(200);
    }
    owner.client().delete(&path).await.expect(200);
    eventually(REVOCATION, "the access token ends everywhere", async || {
        registry.get_manifest(&own, "1").await.status == 401
            && user.registry().get_manifest(&own, "1").await.status == 401
            && user.client().get("/api/v2.0/users/current").await.status == 401
    })
    .await;
    registry.request(Method::POST, format!("/v2/{own}/blobs/uploads/")).send().await.expect(401);
    // Nothing else of the same person does.
    sibling.get_manifest(&own, "1").await.expect(200);
    owner.registry().get_manifest(&own, "1").await.expect(200);
}
