//! Naming rules as clients of `/v2` meet them: a refusal that is final and says why, and a warning beside a success.

use hythe_testbed::{Bed, Role, image_manifest, random_bytes};
use oci::manifest::OCI_MANIFEST;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn naming_rules_refuse_and_warn() {
    let bed = Bed::shared().await;
    let owner = bed.user("naming").await;
    let project = bed.project("naming").member(&owner, Role::ProjectAdmin).create().await;
    let (registry, client) = (owner.registry(), owner.client());
    let rules = json!({"rules": [
        {"target": "repository", "pattern": "team-[a-z]+", "message": "begin with team-", "mode": "enforce"},
        {"target": "tag", "pattern": "v[0-9.]+|latest", "message": "use a version", "mode": "enforce"},
        {"target": "tag", "pattern": "v.*", "message": "\"latest\" says nothing", "mode": "warn"},
    ]});
    client.put(project.path("/naming-policy"), rules).await.expect(200);

    let push = async |repository: &str, tag: &str, query: &str| {
        let layer = random_bytes(64);
        let layer_digest = registry.push_blob(repository, &layer).await;
        let config_digest = registry.push_blob(repository, b"{}").await;
        let manifest = image_manifest((&config_digest, 2), &[(&layer_digest, layer.len())]);
        let path = format!("/v2/{repository}/manifests/{tag}{query}");
        registry.request(Method::PUT, path).header("content-type", OCI_MANIFEST).body(manifest).send().await
    };
    let (wrong, right) = (project.repository("app"), project.repository("team-app"));
    let refused = push(&wrong, "v1", "").await;
    assert!(refused.text().contains("the repository name app breaks a naming rule"), "{refused}");
    assert!(refused.text().contains("begin with team-"), "{refused}");
    refused.expect_error(403, "DENIED");
    assert_eq!(client.get(project.path("/repositories")).await.expect(200).text(), "[]");
    let refused = push(&right, "nightly", "").await;
    assert!(refused.text().contains("use a version"), "{refused}");
    refused.expect_error(403, "DENIED");

    let pushed = push(&right, "v1", "").await.expect(201);
    assert!(!pushed.headers.contains_key("warning"));
    let pushed = push(&right, "latest", "").await.expect(201);
    let expected =
        "299 - \"the tag latest breaks a naming rule of the project: \\\"latest\\\" says nothing\"";
    assert_eq!(pushed.header("warning"), expected);
    // Nothing is new, so nothing is to be said.
    let pushed = push(&right, "latest", "").await.expect(201);
    assert!(!pushed.headers.contains_key("warning"));
}
