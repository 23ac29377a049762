//! Metadata, quotas, configuration and what else describes projects and the installation.

use serde_json::{Value, json};

use crate::world::World;

#[actix_web::test]
async fn metadata_one_key_at_a_time() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", true).await;
    let path = format!("/api/v2.0/projects/{id}/metadatas");
    let send = async |user: &str, method: &str, path: String, body: Value| {
        let answer = world.send(user, method, &path, body).await;
        (answer.status, answer.body)
    };

    assert_eq!(world.get("ana", &path).await.status, 403, "no role may list");
    for form in [path.clone(), format!("{path}/")] {
        assert_eq!(world.get("admin", &form).await.json(), json!({"public": "true"}));
    }
    let added = send("ana", "POST", format!("{path}/"), json!({"severity": "HIGH"})).await;
    assert_eq!(added, (200, String::new()));
    assert_eq!(world.get("ana", &format!("{path}/severity")).await.json(), json!({"severity": "high"}));
    assert_eq!(world.get("ana", &format!("{path}/auto_scan/")).await.status, 404);
    for (method, key, body, status) in [
        ("POST", "", json!({"severity": "low"}), 409),
        ("POST", "", json!({"public": "false"}), 409),
        ("POST", "", json!({}), 400),
        ("POST", "", json!({"severity": "low", "auto_scan": "false"}), 400),
        ("POST", "", json!({"auto_scan": false}), 400),
        ("POST", "", json!({"auto_scan": "perhaps"}), 400),
        ("POST", "", json!({"prevent_vul": "true"}), 412),
        ("POST", "", json!({"owner_id": "1"}), 400),
        ("POST", "", json!({"retention_id": "1"}), 400),
        ("PUT", "/severity", json!({"auto_scan": "false"}), 400),
        ("PUT", "/severity", json!({"severity": "worst"}), 400),
        ("PUT", "/auto_scan", json!({"auto_scan": "false"}), 404),
        ("DELETE", "/auto_scan", Value::Null, 404),
        ("DELETE", "/retention_id", Value::Null, 400),
    ] {
        let (got, text) = send("ana", method, format!("{path}{key}"), body.clone()).await;
        assert_eq!(got, status, "{method} {key} {body}: {text}");
    }
    let (status, text) = send("ana", "POST", path.clone(), json!({})).await;
    assert!(status == 400 && text.contains("only allow one key/value pair"), "{text}");
    let changed = send("ana", "PUT", format!("{path}/severity"), json!({"severity": "Low"})).await;
    assert_eq!(changed, (200, String::new()));
    assert_eq!(send("ana", "DELETE", format!("{path}/severity"), Value::Null).await, (200, String::new()));
    assert_eq!(world.get("ana", &format!("{path}/severity")).await.status, 404);
}

/// AZ: making a project private by its metadata ends what was granted on it, as by the project itself.
#[actix_web::test]
async fn metadata_obeys_the_rules_of_the_project() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", true).await;
    world.member("ana", id, "ben", 4).await;
    let path = format!("/api/v2.0/projects/{id}/metadatas/public");
    assert_eq!(world.get("ben", &path).await.json(), json!({"public": "true"}), "a maintainer reads");
    for (method, body) in [("PUT", json!({"public": "false"})), ("DELETE", Value::Null)] {
        assert_eq!(world.send("ben", method, &path, body).await.status, 403, "a maintainer changes nothing");
    }
    let epoch = world.number("select coalesce(max(epoch), 0) from identity.epochs where kind = 2").await;
    assert_eq!(world.send("ana", "PUT", &path, json!({"public": "False"})).await.status, 200);
    assert_eq!(world.get("", &format!("/api/v2.0/projects/{id}")).await.status, 401);
    let raised = world.number("select coalesce(max(epoch), 0) from identity.epochs where kind = 2").await;
    assert_eq!(raised, epoch + 1);
    let audited = "select count(*) from audit.entries where action = 'project_metadata_update'
                   and (outcome = 'done' and changed = '{public}' or outcome = 'denied')";
    assert_eq!(world.number(audited).await, 2);
    assert_eq!(world.send("ana", "PUT", &path, json!({"public": "1"})).await.status, 200);
    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(world.get("ana", &path).await.json(), json!({"public": "false"}), "absent means private");
}

#[actix_web::test]
async fn quotas_over_the_api() {
    let world = World::new().await;
    let ids = [world.project("ana", "alpha", false).await, world.project("ben", "beta", false).await];
    let path = "/api/v2.0/quotas";
    for (user, status) in [("", 401), ("ana", 403)] {
        let own = format!("{path}/{}", ids[0]);
        for one in [own.as_str(), "/api/v2.0/quotas/4711"] {
            assert_eq!(world.get(user, one).await.status, status, "{user} {one}");
            assert_eq!(world.send(user, "PUT", one, json!({})).await.status, status, "{user} {one}");
        }
        assert_eq!(world.get(user, path).await.status, status);
    }
    let set = async |id: i64, storage: i64| {
        let body = json!({"hard": {"storage": storage, "count": 1}});
        let answer = world.send("admin", "PUT", &format!("{path}/{id}"), body).await;
        (answer.status, answer.body.is_empty())
    };
    assert_eq!(set(ids[0], 1000).await, (200, true));
    assert_eq!(set(ids[0], 0).await, (400, false));
    assert_eq!(set(ids[0], -2).await, (400, false));
    assert_eq!(set(4711, 5).await, (404, false));
    world.image(ids[1], "beta/app", "v1", b"layer").await;

    let one = world.get("admin", &format!("{path}/{}", ids[0])).await.json();
    assert_eq!(one["ref"], json!({"id": ids[0], "name": "alpha", "owner_name": "ana"}));
    assert_eq!(
        (&one["id"], &one["hard"], &one["used"]),
        (&json!(ids[0]), &json!({"storage": 1000}), &json!({"storage": 0}))
    );
    assert_eq!(world.get("admin", &format!("{path}/4711")).await.status, 404);
    for (query, expected) in [
        ("sort=hard.storage&reference=project", "alpha beta"),
        ("sort=-hard.storage", "beta alpha"),
        ("sort=-used.storage", "beta alpha"),
        ("sort=creation_time&page_size=1", "alpha"),
        ("reference_id=0", ""),
    ] {
        let answer = world.get("admin", &format!("{path}/?{query}")).await;
        let rows = answer.json();
        let names: Vec<_> =
            rows.as_array().unwrap().iter().map(|row| row["ref"]["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(" "), expected, "{query}");
    }
    assert_eq!(world.get("admin", &format!("{path}?reference=user")).await.status, 400);
    assert_eq!(world.get("admin", &format!("{path}?reference_id=x")).await.status, 400);
    let by_id = world.get("admin", &format!("{path}?reference=project&reference_id={}", ids[1])).await;
    assert_eq!((by_id.header("x-total-count"), by_id.json()[0]["id"].as_i64()), (Some("1"), Some(ids[1])));
    let denied = "select count(*) from audit.entries where action like 'quota_%' and outcome = 'denied'";
    assert_eq!(world.number(denied).await, 5);
}
