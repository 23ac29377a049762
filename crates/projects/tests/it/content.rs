//! Repositories, artifacts and tags over REST.

use serde_json::{Value, json};

use crate::world::World;

const BASE: &str = "/api/v2.0/projects/alpha/repositories";

#[actix_web::test]
async fn repositories() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    world.image(id, "alpha/a/b", "v1", b"one").await;
    world.image(id, "alpha/c", "v1", b"two").await;
    let list = world.get("ana", &format!("{BASE}?sort=name")).await;
    assert_eq!(list.header("x-total-count"), Some("2"));
    let body = list.json();
    assert_eq!((&body[0]["name"], &body[1]["name"]), (&json!("alpha/a/b"), &json!("alpha/c")));
    assert_eq!((&body[0]["artifact_count"], &body[0]["pull_count"]), (&json!(1), &json!(0)));
    assert!(body[0].get("description").is_none());

    // Encoded once and twice, with and without a slash at the end: one repository.
    for name in ["a%2Fb", "a%252Fb", "a%2fb/", "a%252fb/"] {
        let answer = world.get("ana", &format!("{BASE}/{name}")).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert_eq!(answer.json()["name"], "alpha/a/b", "{name}");
    }
    for name in ["a%25252Fb", "A", "nothing", "a%252F..%252Fb", "%252E%252E", "a%00"] {
        assert_eq!(world.get("ana", &format!("{BASE}/{name}")).await.status, 404, "{name}");
    }
    let path = format!("{BASE}/a%252Fb");
    let text = "<b>as typed</b>";
    assert_eq!(
        world.send("ana", "PUT", &path, json!({"description": text, "pull_count": 9})).await.status,
        200
    );
    let read = world.get("ana", &path).await.json();
    assert_eq!((&read["description"], &read["pull_count"]), (&json!(text), &json!(0)));

    // Seen from the outside.
    assert_eq!(world.get("", "/api/v2.0/repositories").await.body, "[]");
    assert_eq!(world.get("ben", "/api/v2.0/repositories").await.body, "[]");
    assert_eq!(world.get("ana", "/api/v2.0/repositories").await.header("x-total-count"), Some("2"));
    assert_eq!(
        world.get("admin", "/api/v2.0/repositories?q=name%3D~c").await.header("x-total-count"),
        Some("1")
    );
    world.send("ana", "PUT", "/api/v2.0/projects/alpha", json!({"metadata": {"public": "true"}})).await;
    assert_eq!(world.get("", "/api/v2.0/repositories").await.header("x-total-count"), Some("2"));
    assert_eq!(world.get("", BASE).await.status, 200);
    assert_eq!(world.get("", &path).await.status, 401, "one repository's own page needs membership");
    assert_eq!(world.get("ben", &path).await.status, 403);

    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 404);
    assert_eq!(world.get("ana", "/api/v2.0/projects/alpha").await.json()["repo_count"], 1);
}

#[actix_web::test]
async fn artifacts_and_tags() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let digest = world.image(id, "alpha/a/b", "v1", b"one").await;
    world.image(id, "alpha/a/b", "v2", b"one").await;
    world.image(id, "alpha/a/b", "old", b"zero").await;
    let artifacts = format!("{BASE}/a%252Fb/artifacts");

    let list = world.get("ana", &format!("{artifacts}?q=tags%3Dv1")).await;
    assert_eq!((list.status, list.header("x-total-count")), (200, Some("1")), "{}", list.body);
    let artifact = &list.json()[0];
    assert_eq!(artifact["digest"], digest.to_string());
    assert_eq!((&artifact["type"], &artifact["repository_name"]), (&json!("IMAGE"), &json!("alpha/a/b")));
    assert_eq!(artifact["media_type"], "application/vnd.oci.image.config.v1+json");
    assert_eq!(artifact["manifest_media_type"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(artifact["pull_time"], "0001-01-01T00:00:00.000Z");
    assert_eq!(artifact["project_id"], id);
    assert_eq!((&artifact["accessories"], artifact.get("references")), (&Value::Null, None));
    let tags: Vec<_> =
        artifact["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(tags, ["v2", "v1"]);
    assert_eq!(artifact["tags"][0]["immutable"], false);
    let without = world.get("ana", &format!("{artifacts}/v1?with_tag=False")).await.json();
    assert_eq!(without["tags"], Value::Null);
    assert_eq!(world.get("ana", &artifacts).await.header("x-total-count"), Some("2"));
    assert_eq!(world.get("ana", &format!("{artifacts}?with_tag=x")).await.status, 422);
    assert_eq!(world.get("ana", &format!("{artifacts}?q=payload%3Dx")).await.status, 400);
    assert_eq!(world.get("ana", &format!("{artifacts}/{digest}")).await.json()["id"], artifact["id"]);
    for unknown in ["v3", "sha256:00", "-x", &format!("sha256:{}", "0".repeat(64))] {
        let answer = world.get("ana", &format!("{artifacts}/{unknown}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{unknown}");
    }
    assert_eq!(world.get("ana", &format!("{BASE}/nothing/artifacts")).await.status, 404);

    let list = world.get("ana", &format!("{artifacts}/v1/tags?q=name%3D~2")).await;
    assert_eq!((list.status, list.header("x-total-count")), (200, Some("1")));
    let list = world.get("ana", &format!("{artifacts}/{digest}/tags?page_size=1")).await;
    assert!(list.header("link").unwrap().contains("/a%252Fb/artifacts/sha256:"), "as the client wrote it");
    // A tag is deleted through the artifact it names, not through another one.
    let foreign = world.send("ana", "DELETE", &format!("{artifacts}/old/tags/v1"), Value::Null).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "NOT_FOUND"));
    let deleted = world.send("ana", "DELETE", &format!("{artifacts}/{digest}/tags/v1"), Value::Null).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
    assert_eq!(world.get("ana", &format!("{artifacts}/v1")).await.status, 404);
    assert_eq!(world.get("ana", &format!("{artifacts}/v2")).await.status, 200);
    let deleted = world.send("ana", "DELETE", &format!("{artifacts}/v2"), Value::Null).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
    assert_eq!(world.get("ana", &format!("{artifacts}/{digest}")).await.status, 404);
}

/// AU-24: `%`, `_` and `\` are characters like others.
#[actix_web::test]
async fn wildcards_are_literal() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    world.image(id, "alpha/a_b", "v1", b"one").await;
    world.image(id, "alpha/axb", "v1", b"one").await;
    for (part, expected) in [("a_b", "1"), ("_", "1"), ("%2525", "0"), ("%255C", "0"), ("a", "2")] {
        let list = world.get("ana", &format!("{BASE}?q=name%3D~{part}")).await;
        assert_eq!((list.status, list.header("x-total-count")), (200, Some(expected)), "{part}");
    }
}

#[actix_web::test]
async fn read_only_mode_refuses_deletions() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    world.image(id, "alpha/app", "v1", b"one").await;
    let changed = world.send("admin", "PUT", "/api/v2.0/configurations", json!({"read_only": true})).await;
    assert_eq!((changed.status, changed.body.as_str()), (200, ""));
    for path in ["/app", "/app/artifacts/v1", "/app/artifacts/v1/tags/v1"] {
        let answer = world.send("ana", "DELETE", &format!("{BASE}{path}"), Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"), "{path}");
        assert!(answer.body.contains("read-only"));
    }
    assert_eq!(world.get("ana", &format!("{BASE}/app")).await.status, 200);
}

#[actix_web::test]
async fn artifacts_of_all_repositories_of_a_project() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let other = world.project("ana", "beta", false).await;
    for (project, name, tag) in
        [(id, "alpha/app", "v1"), (id, "alpha/app", "v2"), (id, "alpha/web", "v1"), (other, "beta/app", "v9")]
    {
        world.image(project, name, tag, format!("{name} {tag}").as_bytes()).await;
    }
    let list = "/api/v2.0/projects/alpha/artifacts";
    let seen = async |query: &str| -> Vec<String> {
        let answer = world.get("ana", &format!("{list}?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let rows = answer.json();
        let rows = rows.as_array().unwrap();
        assert_eq!(answer.header("x-total-count").unwrap(), rows.len().to_string(), "{query}");
        let name = |row: &Value| {
            format!(
                "{}:{}",
                row["repository_name"].as_str().unwrap(),
                row["tags"][0]["name"].as_str().unwrap()
            )
        };
        rows.iter().map(name).collect()
    };
    assert_eq!(seen("").await, ["alpha/web:v1", "alpha/app:v2", "alpha/app:v1"]);
    assert_eq!(seen("latest_in_repository=true").await, ["alpha/web:v1", "alpha/app:v2"]);
    let config = "application%2Fvnd.oci.image.config.v1%2Bjson";
    assert_eq!(
        seen(&format!("latest_in_repository=true&q=media_type%3D{config}")).await,
        ["alpha/web:v1", "alpha/app:v2"]
    );
    assert!(seen("latest_in_repository=true&q=media_type%3Dapplication%2Fjson").await.is_empty());
    assert_eq!(seen("q=tags%3Dv2").await, ["alpha/app:v2"]);
    assert_eq!(seen("q=repository_name%3D~web&sort=repository_name").await, ["alpha/web:v1"]);
    assert_eq!(world.get("ana", &format!("{list}?latest_in_repository=perhaps")).await.status, 422);
    assert_eq!(world.get("ana", &format!("{list}?q=tags%3D%00")).await.status, 400);
    assert_eq!(world.get("ben", list).await.status, 403);
}
