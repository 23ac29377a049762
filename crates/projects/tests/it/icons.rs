//! Icons: every artifact names one, and anybody can have it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci::{Algorithm, Digest};
use serde_json::json;

use crate::support::{CONFIG, LAYER};
use crate::world::World;

#[actix_web::test]
async fn an_artifact_names_the_icon_of_its_type() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let mut icons = Vec::new();
    for config in
        [CONFIG, "application/vnd.cncf.helm.config.v1+json", "application/vnd.acme.thing.config.v1+json"]
    {
        let layers = [(&b"layer"[..], LAYER)];
        let digest =
            world.artifact(id, "alpha/app", &["x"], (b"{}", config), &layers, json!({})).await.unwrap();
        let path = format!("/api/v2.0/projects/alpha/repositories/app/artifacts/{digest}");
        let icon = world.get("ana", &path).await.json()["icon"].as_str().unwrap().to_owned();
        let answer = world.get("", &format!("/api/v2.0/icons/{icon}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = answer.json();
        assert_eq!(body["content-type"], "image/png");
        let bytes = STANDARD.decode(body["content"].as_str().unwrap()).unwrap();
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() < 4096);
        assert_eq!(Digest::of(Algorithm::Sha256, &bytes).to_string(), icon);
        icons.push(icon);
    }
    icons.sort();
    icons.dedup();
    assert_eq!(icons.len(), 3, "each type has its own");
}

/// No oracle: what an artifact is made of is no icon, whoever asks, and gives the answer of what is nowhere.
#[actix_web::test]
async fn content_is_no_icon() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", true).await;
    let image = world.image(id, "alpha/app", "v1", b"layer").await;
    let (layer, nothing) =
        (Digest::of(Algorithm::Sha256, b"layer"), Digest::of(Algorithm::Sha256, b"nothing"));
    let mut answers = Vec::new();
    for digest in [image, layer, nothing] {
        for user in ["", "ana", "admin"] {
            let answer = world.get(user, &format!("/api/v2.0/icons/{digest}")).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"));
            answers.push(answer.body.replace(&digest.to_string(), "DIGEST"));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    for text in ["sha256:x", "default.png", "..%2Fx", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = world.get("", &format!("/api/v2.0/icons/{text}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{text}");
    }
}
