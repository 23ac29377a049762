//! What is attached to artifacts, in every form that clients push, and copies that take it along.

use serde_json::{Value, json};

use crate::support::{CONFIG, EMPTY, LAYER, descriptor};
use crate::world::World;

const ARTIFACTS: &str = "/api/v2.0/projects/alpha/repositories/app/artifacts";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// An image with everything that can be attached to it; returns its digest and what is attached, with its kind.
async fn signed(world: &World, project: i64, name: &str) -> (oci::Digest, Vec<(oci::Digest, &'static str)>) {
    let image = world.image(project, name, "v1", b"layer").await;
    let subject = {
        let read = world.get("admin", &format!("{ARTIFACTS}/v1")).await.json();
        json!({"mediaType": read["manifest_media_type"], "digest": image.to_string(), "size": 1})
    };
    let legacy = |suffix: &str| format!("sha256-{}.{suffix}", image.hex());
    let (signature, attestation, fake) = (legacy("sig"), legacy("att"), legacy("sbom"));
    let mut attached = Vec::new();
    for (tags, layer, kind) in [
        (vec![signature.as_str()], (&b"simple"[..], SIMPLE), "signature.cosign"),
        (
            vec![attestation.as_str()],
            (&b"dsse"[..], "application/vnd.dsse.envelope.v1+json"),
            "subject.accessory",
        ),
        (vec![fake.as_str()], (&b"simple"[..], SIMPLE), "subject.accessory"),
    ] {
        let more = json!({"annotations": {"n": tags[0]}});
        let digest = world.artifact(project, name, &tags, (b"{}", CONFIG), &[layer], more).await.unwrap();
        attached.push((digest, kind));
    }
    for (artifact_type, annotations, kind) in [
        (BUNDLE, json!({"dev.sigstore.bundle.content": "message-signature"}), "signature.cosign"),
        (
            BUNDLE,
            json!({"dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"}),
            "signature.cosign",
        ),
        (
            BUNDLE,
            json!({"dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}),
            "subject.accessory",
        ),
        (BUNDLE, json!({}), "subject.accessory"),
        ("application/vnd.dev.cosign.artifact.sig.v1+json", json!({}), "signature.cosign"),
        ("application/vnd.cncf.notary.signature", json!({}), "signature.notation"),
        ("application/vnd.goharbor.harbor.sbom.v1", json!({}), "sbom.harbor"),
        ("application/spdx+json", json!({}), "subject.accessory"),
    ] {
        let more = json!({"artifactType": artifact_type, "subject": subject, "annotations": annotations});
        let digest = world
            .artifact(project, name, &[], (b"{}", EMPTY), &[(b"{}", "application/json")], more)
            .await
            .unwrap();
        attached.push((digest, kind));
    }
    (image, attached)
}

#[actix_web::test]
async fn every_form_is_an_accessory_of_its_subject() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let (image, attached) = signed(&world, id, "alpha/app").await;
    let count = attached.len().to_string();

    let list = world.get("ana", &format!("{ARTIFACTS}/v1/accessories?page_size=100")).await;
    assert_eq!((list.status, list.header("x-total-count")), (200, Some(count.as_str())), "{}", list.body);
    let rows = list.json();
    for (digest, kind) in &attached {
        let row = rows.as_array().unwrap().iter().find(|row| row["digest"] == digest.to_string()).unwrap();
        assert_eq!(
            (&row["type"], &row["subject_artifact_digest"]),
            (&json!(kind), &json!(image.to_string())),
            "{row}"
        );
        assert_eq!((&row["subject_artifact_repo"], &row["icon"]), (&json!("alpha/app"), &json!("")));
    }
    let list =
        world.get("ana", &format!("{ARTIFACTS}/{image}/accessories?q=type%3Dsignature.notation")).await;
    assert_eq!(list.header("x-total-count"), Some("1"));
    assert_eq!(world.get("ana", &format!("{ARTIFACTS}/v1/accessories?q=payload%3D1")).await.status, 400);
    assert_eq!(world.get("ana", &format!("{ARTIFACTS}/v9/accessories")).await.status, 404);
    assert_eq!(world.get("ben", &format!("{ARTIFACTS}/v1/accessories")).await.status, 403);

    // None of them is an artifact of its own, unless everything is asked for; none of their tags is a tag.
    let plain = world.get("ana", ARTIFACTS).await;
    assert_eq!(plain.header("x-total-count"), Some("1"), "{}", plain.body);
    assert_eq!(plain.json()[0]["accessories"].as_array().unwrap().len(), attached.len());
    let all = world.get("ana", &format!("{ARTIFACTS}?q=base%3D*&page_size=100")).await;
    assert_eq!(all.header("x-total-count"), Some((attached.len() + 1).to_string().as_str()));
    let tags = world.get("ana", "/api/v2.0/projects/alpha/tags").await;
    assert_eq!(tags.header("x-total-count"), Some("1"), "{}", tags.body);
    let repository = world.get("ana", "/api/v2.0/projects/alpha/repositories/app").await.json();
    assert_eq!(repository["artifact_count"], 1);
}

#[actix_web::test]
async fn parts_inherit_what_is_attached_to_their_index() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let part = world.image(id, "alpha/app", "part", b"part").await;
    let read = world.get("ana", &format!("{ARTIFACTS}/part")).await.json();
    let child = json!({"mediaType": read["manifest_media_type"], "digest": part.to_string(), "size": 1,
        "platform": {"os": "linux", "architecture": "arm64"}});
    let index = json!({"schemaVersion": 2, "mediaType": oci::manifest::OCI_INDEX, "manifests": [child]});
    let index = world.put(id, "alpha/app", &["all"], &index).await.unwrap();
    let more = json!({"artifactType": "application/vnd.cncf.notary.signature",
        "subject": {"mediaType": oci::manifest::OCI_INDEX, "digest": index.to_string(), "size": 1}});
    let signature = world
        .artifact(id, "alpha/app", &[], (b"{}", EMPTY), &[(b"{}", "application/json")], more)
        .await
        .unwrap();
    let read = world.get("ana", &format!("{ARTIFACTS}/part?with_inherited_accessory=true")).await.json();
    assert_eq!(read["inherited_accessories"][0]["digest"], signature.to_string());
    assert_eq!(read["accessories"], Value::Null);
    let read = world.get("ana", &format!("{ARTIFACTS}/part")).await.json();
    assert!(read.get("inherited_accessories").is_none());
    let tags = world.get("ana", "/api/v2.0/projects/alpha/tags?q=name%3Dall").await.json();
    assert_eq!(tags[0]["platforms"], json!([{"os": "linux", "architecture": "arm64"}]));
}

#[actix_web::test]
async fn a_copy_takes_everything_along_and_moves_no_bytes() {
    let world = World::new().await;
    let alpha = world.project("ana", "alpha", false).await;
    let beta = world.project("ana", "beta", false).await;
    world.project("ben", "secret", false).await;
    let (image, attached) = signed(&world, alpha, "alpha/app").await;
    let target = "/api/v2.0/projects/beta/repositories/team%252Fcopy/artifacts";
    let used = async |project: &str| -> i64 {
        world.get("ana", &format!("/api/v2.0/projects/{project}/summary")).await.json()["quota"]["used"]["storage"]
            .as_i64()
            .unwrap()
    };
    let blobs = world.count("select count(*) from catalog.blobs").await;

    let copied = world.send("ana", "POST", &format!("{target}?from=alpha/app:v1"), Value::Null).await;
    assert_eq!((copied.status, copied.body.as_str()), (201, ""), "{}", copied.body);
    assert_eq!(copied.header("location"), Some(format!("{target}/v1").as_str()));
    let read = world.get("ana", &format!("{target}/v1")).await.json();
    assert_eq!(
        (&read["digest"], &read["repository_name"]),
        (&json!(image.to_string()), &json!("beta/team/copy"))
    );
    assert_eq!(read["accessories"].as_array().unwrap().len(), attached.len());
    assert_eq!(used("beta").await, used("alpha").await, "the same things cost the same");
    assert_eq!(world.count("select count(*) from catalog.blobs").await, blobs);
    assert_eq!(world.get("ana", "/api/v2.0/projects/beta").await.json()["repo_count"], 1);
    let history = "/api/v2.0/projects/beta/repositories/team%252Fcopy/tags/v1/history";
    assert_eq!(world.get("ana", history).await.json()[0]["action"], "create");
    // Again changes nothing.
    let path = format!("{target}?from=alpha/app@{image}");
    assert_eq!(world.send("ana", "POST", &path, Value::Null).await.status, 201);
    assert_eq!(used("beta").await, used("alpha").await);
    assert_eq!(world.acts("artifact_copy").await, 2);
    // The copy is its own: it outlives what it was made from, and can be pulled.
    assert_eq!(
        world.send("ana", "DELETE", "/api/v2.0/projects/alpha/repositories/app", Value::Null).await.status,
        200
    );
    assert_eq!(world.get("ana", &format!("{target}/{image}")).await.status, 200);
    let layer = descriptor(b"layer", LAYER)["digest"].as_str().unwrap().parse().unwrap();
    world.catalog.blobs.head(&world.pulling(beta, "beta/team/copy"), &layer).await.unwrap();

    // Refusals: malformed, unknown, an accessory, and what the caller may not see or fill.
    let own = "beta/team/copy";
    for (user, from, status) in [
        ("ana", "".to_owned(), 422),
        ("ana", "copy:v1".to_owned(), 400),
        ("ana", format!("{own}@v1"), 400),
        ("ana", format!("{own}:v9"), 404),
        ("ana", format!("{own}@{}", attached[0].0), 403),
        ("ana", "secret/app:v1".to_owned(), 403),
        ("ana", "unknown/app:v1".to_owned(), 403),
        ("ben", format!("{own}:v1"), 403),
        ("", format!("{own}:v1"), 401),
    ] {
        let answer = world.send(user, "POST", &format!("{target}?from={from}"), Value::Null).await;
        assert_eq!(answer.status, status, "{user} {from}: {}", answer.body);
    }
    // A quota that is too small, and a tag that is immutable there: nothing arrives.
    let small = world.project("ana", "small", false).await;
    sqlx::query("update tenancy.quotas set hard_bytes = 10 where project_id = $1")
        .bind(small)
        .execute(world.database.owner())
        .await
        .unwrap();
    let path = format!("/api/v2.0/projects/small/repositories/app/artifacts?from={own}:v1");
    let answer = world.send("ana", "POST", &path, Value::Null).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"), "{}", answer.body);
    assert_eq!(world.get("ana", "/api/v2.0/projects/small/repositories").await.body, "[]");
    let rule = json!({
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    });
    assert_eq!(
        world.send("ana", "POST", "/api/v2.0/projects/beta/immutabletagrules", rule).await.status,
        201
    );
    let path = format!("{target}?from={own}:v1");
    assert_eq!(world.send("ana", "POST", &path, Value::Null).await.status, 412);
}

/// An image that was converted for lazy pulling belongs to the one it was made from.
#[actix_web::test]
async fn accelerated_images_are_accessories() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let image = world.image(id, "alpha/app", "v1", b"layer").await;
    let (bootstrap, source) = (
        "containerd.io/snapshot/nydus-bootstrap",
        "io.goharbor.artifact.v1alpha1.acceleration.source.digest",
    );
    world.blob(id, "alpha/app", b"{}").await;
    world.blob(id, "alpha/app", b"boot").await;
    let converted = |of: &str, layer: Value| {
        let mut manifest = crate::support::manifest((b"{}", CONFIG), &[(b"boot", LAYER)], json!({}));
        manifest["layers"][0]["annotations"] = layer;
        manifest["annotations"] = json!({source: of});
        manifest
    };
    let of = image.to_string();
    let mut accessories = Vec::new();
    for (tag, of, layer, attached) in [
        ("v1-nydus", of.as_str(), json!({bootstrap: "true"}), true),
        ("no-bootstrap", of.as_str(), json!({bootstrap: "false"}), false),
        ("no-digest", "sha256:0", json!({bootstrap: "true"}), false),
        ("no-source", &format!("sha256:{}", "0".repeat(64)), json!({bootstrap: "true"}), false),
    ] {
        let digest = world.put(id, "alpha/app", &[tag], &converted(of, layer)).await.unwrap();
        if attached {
            accessories.push(digest.to_string());
        }
    }
    let listed = world.get("ana", &format!("{ARTIFACTS}/v1/accessories")).await.json();
    let listed: Vec<_> =
        listed.as_array().unwrap().iter().map(|row| (row["digest"].clone(), row["type"].clone())).collect();
    assert_eq!(listed, [(json!(accessories[0]), json!("accelerator.nydus"))]);
    let tags = world.get("ana", "/api/v2.0/projects/alpha/tags?sort=name").await.json();
    let tags: Vec<_> = tags.as_array().unwrap().iter().map(|tag| tag["name"].clone()).collect();
    assert_eq!(tags, ["no-bootstrap", "no-digest", "no-source", "v1"]);
    // It stays what it is without its tag.
    let path = format!("{ARTIFACTS}/{}/tags/v1-nydus", accessories[0]);
    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 200);
    let list = world.get("ana", &format!("{ARTIFACTS}?with_accessory=true&q=tags%3Dv1")).await.json();
    assert_eq!(list[0]["accessories"][0]["type"], "accelerator.nydus", "{list}");
    let all = world.get("ana", ARTIFACTS).await;
    assert_eq!(all.header("x-total-count"), Some("4"), "{}", all.body);
    // It goes with its source, and comes back with it.
    let converted = format!("{ARTIFACTS}/{}", accessories[0]);
    assert_eq!(world.send("ana", "DELETE", &format!("{ARTIFACTS}/v1"), Value::Null).await.status, 200);
    assert_eq!(world.get("ana", &converted).await.status, 404);
    let restore = "/api/v2.0/projects/alpha/repositories/app/tags/v1/restore";
    let restored = world.send("ana", "POST", restore, json!({"digest": of})).await;
    assert_eq!(restored.status, 201, "{}", restored.body);
    assert_eq!(world.get("ana", &converted).await.status, 200);
}
