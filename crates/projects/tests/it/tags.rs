//! Tags as tags: made over REST, listed over repositories, with their history, and restored.

use oci::Digest;
use serde_json::{Value, json};

use crate::world::World;

const REPOSITORY: &str = "/api/v2.0/projects/alpha/repositories/app";

async fn names(world: &World, path: &str) -> Vec<String> {
    let answer = world.get("ana", path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json().as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn a_tag_is_made_once() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let digest = world.image(id, "alpha/app", "v1", b"one").await;
    let path = format!("{REPOSITORY}/artifacts/{digest}/tags");
    let made = world.send("ana", "POST", &path, json!({"name": "stable"})).await;
    assert_eq!((made.status, made.body.as_str()), (201, ""), "{}", made.body);
    for (name, status) in [("stable", 409), ("v1", 409), ("", 400), ("-x", 400), ("a b", 400)] {
        let answer = world.send("ana", "POST", &path, json!({"name": name})).await;
        assert_eq!(answer.status, status, "{name}");
    }
    let missing = format!("{REPOSITORY}/artifacts/v9/tags");
    assert_eq!(world.send("ana", "POST", &missing, json!({"name": "x"})).await.status, 404);
    assert_eq!(world.send("ben", "POST", &path, json!({"name": "x"})).await.status, 403);
    assert_eq!(names(&world, &format!("{path}?sort=name")).await, ["stable", "v1"]);
    assert_eq!(world.acts("tag_create").await, 1);
    let rule = json!({
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "stable"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    });
    let rules = "/api/v2.0/projects/alpha/immutabletagrules";
    assert_eq!(world.send("ana", "POST", rules, rule).await.status, 201);
    let again = world.send("ana", "POST", &path, json!({"name": "stable"})).await;
    assert_eq!((again.status, again.code().as_str()), (409, "CONFLICT"), "immutable or not");
}

#[actix_web::test]
async fn lists_of_tags() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    world.project("ana", "beta", false).await;
    for (at, tag) in ["v1.9.0", "v1.10.0", "latest", "v1.10.0-rc.1"].into_iter().enumerate() {
        world.image(id, "alpha/app", tag, &[at as u8]).await;
    }
    let digest = world.image(id, "alpha/lib/core", "v1.9.1", b"core").await;
    world.image(id, "alpha/lib/core", "edge", b"core").await;
    let tags = format!("{REPOSITORY}/tags");
    assert_eq!(
        names(&world, &format!("{tags}?sort=natural")).await,
        ["latest", "v1.9.0", "v1.10.0", "v1.10.0-rc.1"]
    );
    assert_eq!(
        names(&world, &format!("{tags}?sort=-semver")).await,
        ["v1.10.0", "v1.10.0-rc.1", "v1.9.0", "latest"]
    );
    assert_eq!(names(&world, &format!("{tags}?sort=name&q=name%3D~9")).await, ["v1.9.0"]);
    assert_eq!(
        names(&world, "/api/v2.0/projects/alpha/tags?sort=-semver&page_size=3").await,
        ["v1.10.0", "v1.10.0-rc.1", "v1.9.1"]
    );
    assert_eq!(
        names(&world, &format!("/api/v2.0/projects/{id}/tags?q=repository_name%3Dalpha/lib/core&sort=name"))
            .await,
        ["edge", "v1.9.1"]
    );
    assert_eq!(world.get("ana", "/api/v2.0/projects/beta/tags").await.body, "[]");
    assert_eq!(world.get("ana", &format!("{tags}?q=manifest_id%3D1")).await.status, 400);
    assert_eq!(world.get("ana", "/api/v2.0/projects/alpha/repositories/nothing/tags").await.status, 404);

    let one = &world.get("ana", "/api/v2.0/projects/alpha/tags?q=name%3Dedge").await.json()[0];
    let expected = json!({
        "name": "edge", "repository_name": "alpha/lib/core", "digest": digest.to_string(), "type": "IMAGE",
        "size": one["size"], "platforms": [{"os": "linux", "architecture": "amd64"}], "push_time": one["push_time"],
        "pull_time": "0001-01-01T00:00:00.000Z", "pull_count": 0, "pushed_by": "admin", "immutable": false,
        "aliases": ["v1.9.1"],
    });
    assert_eq!(*one, expected);
    // As many statements for one row as for many, and none that counts unless something is filtered.
    let cost = async |path: &str| {
        let before = world.statements().await;
        world.get("ana", path).await;
        world.statements().await - before
    };
    let list = "/api/v2.0/projects/alpha/tags";
    assert_eq!(cost(&format!("{list}?page_size=1")).await, cost(&format!("{list}?page_size=5")).await);
    assert_eq!(cost(&format!("{list}?page_size=1")).await, cost(&format!("{list}?page_size=100")).await);
    let filtered = cost(&format!("{list}?page_size=1&q=name%3D~v")).await;
    assert_eq!(filtered, cost(&format!("{list}?page_size=1")).await + 1);
}

#[actix_web::test]
async fn history_and_restoration() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let used = async || -> i64 {
        world.get("ana", "/api/v2.0/projects/alpha/summary").await.json()["quota"]["used"]["storage"]
            .as_i64()
            .unwrap()
    };
    let first = world.image(id, "alpha/app", "v1", b"one").await;
    let before = used().await;
    let second = world.image(id, "alpha/app", "v1", b"two").await;
    let restore = async |user: &str, tag: &str, digest: &Digest, overwrite: bool| {
        let path = format!("{REPOSITORY}/tags/{tag}/restore");
        world.send(user, "POST", &path, json!({"digest": digest.to_string(), "overwrite": overwrite})).await
    };
    // The tag was moved: what it named is still there.
    assert_eq!(restore("ana", "v1", &first, false).await.status, 409);
    assert_eq!(restore("ben", "v1", &first, true).await.status, 403);
    let restored = restore("ana", "v1", &first, true).await;
    assert_eq!((restored.status, restored.body.as_str()), (201, ""), "{}", restored.body);

    // Artifact and tags are deleted: they come back and are charged again.
    for digest in [&first, &second] {
        let path = format!("{REPOSITORY}/artifacts/{digest}");
        assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 200);
    }
    assert_eq!(used().await, 0);
    assert_eq!(restore("ana", "v1", &first, false).await.status, 201);
    assert_eq!(used().await, before);
    let read = world.get("ana", &format!("{REPOSITORY}/artifacts/v1")).await.json();
    assert_eq!(read["digest"], first.to_string());
    assert_eq!(world.get("ana", REPOSITORY).await.json()["artifact_count"], 1);
    assert_eq!(restore("ana", "v1", &first, false).await.status, 201, "again is as well");
    assert_eq!(used().await, before);

    let history = world.get("ana", &format!("{REPOSITORY}/tags/v1/history")).await;
    assert_eq!(history.header("x-total-count"), Some("5"), "{}", history.body);
    let rows = history.json();
    let actions: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["restore", "delete", "restore", "move", "create"]);
    assert_eq!(
        (&rows[3]["from_digest"], &rows[3]["to_digest"]),
        (&json!(first.to_string()), &json!(second.to_string()))
    );
    assert_eq!(rows[1]["from_digest"], first.to_string());
    assert!(rows[1]["restorable_until"].is_string() && rows[4].get("restorable_until").is_none());
    assert_eq!((&rows[0]["actor"], &rows[3]["actor"]), (&json!("ana"), &json!("admin")));
    assert_eq!(world.get("ana", &format!("{REPOSITORY}/tags/none/history")).await.body, "[]");

    // What never was, and what is gone for good.
    let never = Digest::of(oci::Algorithm::Sha256, b"never");
    assert_eq!(restore("ana", "v1", &never, true).await.status, 404);
    world
        .count(
            "with late as (update catalog.manifests set deleted_at = now() - interval '15 days'
        where deleted_at is not null returning id) select count(*) from late",
        )
        .await;
    assert_eq!(restore("ana", "v1", &second, true).await.status, 410);
    let unknown = format!("{REPOSITORY}/tags/v1/restore");
    assert_eq!(world.send("ana", "POST", &unknown, json!({})).await.status, 400);
    assert_eq!(world.acts("tag_restore").await, 3);
}

/// `restore_days` says how long, in what the history tells and in what can be done.
#[actix_web::test]
async fn the_window_of_restoration_is_a_setting() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let digest = world.image(id, "alpha/app", "v1", b"one").await;
    let artifact = format!("{REPOSITORY}/artifacts/{digest}");
    assert_eq!(world.send("ana", "DELETE", &artifact, Value::Null).await.status, 200);
    let configuration = "/api/v2.0/configurations";
    let read = world.get("admin", configuration).await.json();
    assert_eq!(read["restore_days"], json!({"value": 14, "editable": true}));
    let history = format!("{REPOSITORY}/tags/v1/history");
    for days in [14, 3, 30] {
        let set = world.send("admin", "PUT", configuration, json!({ "restore_days": days })).await;
        assert_eq!(set.status, 200, "{}", set.body);
        let row = &world.get("ana", &history).await.json()[0];
        let time = |key: &str| chrono::DateTime::parse_from_rfc3339(row[key].as_str().unwrap()).unwrap();
        assert_eq!((time("restorable_until") - time("time")).num_days(), days);
    }
    world.execute("update catalog.manifests set deleted_at = now() - interval '20 days'").await;
    world.execute("update catalog.tag_history set at = now() - interval '20 days'").await;
    let restore = async |days: i64| {
        let set = world.send("admin", "PUT", configuration, json!({ "restore_days": days })).await;
        assert_eq!(set.status, 200, "{}", set.body);
        let told = world.get("ana", &history).await.json()[0].get("restorable_until").is_some();
        let path = format!("{REPOSITORY}/tags/v1/restore");
        (told, world.send("ana", "POST", &path, json!({"digest": digest.to_string()})).await.status)
    };
    assert_eq!(restore(0).await, (false, 410));
    assert_eq!(restore(19).await, (false, 410));
    assert_eq!(restore(21).await, (true, 201));
    assert_eq!(world.get("ana", &artifact).await.status, 200);
}
