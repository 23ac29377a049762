//! Immutable tags from outside: with full rights of push and deletion, nothing moves or deletes them (AZ-05, AZ-11).

use hythe_testbed::{Bed, Role, image_manifest, random_bytes};
use oci::manifest::OCI_MANIFEST;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn az_05_an_immutable_tag_stays_on_every_path() {
    let bed = Bed::shared().await;
    let owner = bed.user("immutable").await;
    let project = bed.project("immutable").member(&owner, Role::ProjectAdmin).create().await;
    let (registry, client) = (owner.registry(), owner.client());
    let repository = project.repository("app");
    let image = registry.push_image(&repository, "v1").await;
    let rule = json!({
        "action": "immutable", "template": "immutable_template",
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    });
    client.post(project.path("/immutabletagrules"), rule).await.expect(201);

    // Another manifest of the same blobs.
    let layer = random_bytes(64);
    let layer_digest = registry.push_blob(&repository, &layer).await;
    let config_digest = registry.push_blob(&repository, b"{}").await;
    let other = image_manifest((&config_digest, 2), &[(&layer_digest, layer.len())]);
    let digest = oci::Digest::of(oci::Algorithm::Sha256, &other);
    for manifest in [&other, &image.manifest] {
        let refused = registry.put_manifest(&repository, "v1", OCI_MANIFEST, manifest).await;
        assert!(refused.text().contains("configured as immutable"), "{refused}");
        refused.expect_error(412, "PRECONDITION");
    }
    // By the tags of the query: none of them is taken when one may not be.
    let path = format!("/v2/{repository}/manifests/{digest}");
    registry
        .request(Method::PUT, format!("{path}?tag=free&tag=v1"))
        .header("content-type", OCI_MANIFEST)
        .body(other.clone())
        .send()
        .await
        .expect_error(412, "PRECONDITION");
    registry.get_manifest(&repository, "free").await.expect(404);
    registry.put_manifest(&repository, &digest, OCI_MANIFEST, &other).await.expect(201);
    // Deletions on both surfaces, a new tag of the same name, and a copy from elsewhere onto it.
    for reference in ["v1".to_owned(), image.digest.to_string()] {
        let path = format!("/v2/{repository}/manifests/{reference}");
        registry.delete(path).await.expect_error(412, "PRECONDITION");
    }
    let rest = project.path("/repositories/app");
    for path in ["", "/artifacts/v1", "/artifacts/v1/tags/v1"] {
        client.delete(format!("{rest}{path}")).await.expect_error(412, "PRECONDITION");
    }
    let tags = format!("{rest}/artifacts/{digest}/tags");
    client.post(tags, json!({"name": "v1"})).await.expect_error(409, "CONFLICT");
    let elsewhere = project.repository("elsewhere");
    registry.push_image(&elsewhere, "v1").await;
    client
        .post(format!("{rest}/artifacts?from={elsewhere}:v1"), json!({}))
        .await
        .expect_error(412, "PRECONDITION");
    let still = registry.get_manifest(&repository, "v1").await.expect(200);
    assert_eq!(still.header("docker-content-digest"), image.digest.to_string());
}
