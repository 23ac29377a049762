//! Labels of the installation and of projects, and artifacts that wear them.

use serde_json::{Value, json};

use crate::world::World;

const LABELS: &str = "/api/v2.0/labels";

async fn label(world: &World, user: &str, input: Value) -> i64 {
    let answer = world.send(user, "POST", LABELS, input).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, ""), "{}", answer.body);
    answer.header("location").unwrap().strip_prefix("/api/v2.0/labels/").unwrap().parse().unwrap()
}

#[actix_web::test]
async fn life_of_a_label() {
    let world = World::new().await;
    let project = world.project("ana", "alpha", false).await;
    let own = json!({"name": "tested", "scope": "p", "project_id": project, "color": "#0065AB", "id": 99});
    let id = label(&world, "ana", own.clone()).await;
    let again = world.send("ana", "POST", LABELS, own).await;
    assert_eq!((again.status, again.code().as_str()), (409, "CONFLICT"));
    let global = label(&world, "admin", json!({"name": "tested", "scope": "g", "description": "all"})).await;
    let path = format!("{LABELS}/{id}");

    let read = world.get("ana", &path).await.json();
    assert_eq!(
        (&read["name"], &read["scope"], &read["project_id"]),
        (&json!("tested"), &json!("p"), &json!(project))
    );
    assert!(read.get("description").is_none() && read["creation_time"].is_string());
    let list = world.get("", &format!("{LABELS}?scope=g&name=EST")).await;
    assert_eq!(
        (list.status, list.header("x-total-count"), &list.json()[0]["id"]),
        (200, Some("1"), &json!(global))
    );
    let list = world
        .get("ana", &format!("{LABELS}?scope=p&project_id={project}&q=label_id%3D{id},owner_id%3D5"))
        .await;
    assert_eq!((list.status, list.header("x-total-count")), (200, Some("1")), "{}", list.body);
    for (query, status) in [("", 422), ("?scope=p", 422), ("?scope=p&project_id=x", 422), ("?scope=x", 400)] {
        assert_eq!(world.get("ana", &format!("{LABELS}{query}")).await.status, status, "{query}");
    }

    let changed =
        world.send("ana", "PUT", &path, json!({"name": "proved", "scope": "g", "project_id": 1})).await;
    assert_eq!((changed.status, changed.body.as_str()), (200, ""), "{}", changed.body);
    let read = world.get("ana", &path).await.json();
    assert_eq!((&read["name"], &read["scope"]), (&json!("proved"), &json!("p")), "it stays where it is");
    for input in [
        json!({}),
        json!({"name": "x", "scope": "x"}),
        json!({"name": "x", "scope": "p"}),
        json!({"name": "", "scope": "p", "project_id": project}),
        json!({"name": "x".repeat(129), "scope": "p", "project_id": project}),
        json!({"name": "x", "color": "red;}", "scope": "p", "project_id": project}),
    ] {
        assert_eq!(world.send("ana", "POST", LABELS, input.clone()).await.status, 400, "{input}");
    }

    // Hidden and unknown are one, to the byte and to the statement.
    for (user, status) in [("", 401), ("ben", 403)] {
        for method in ["GET", "PUT", "DELETE"] {
            let mut seen = Vec::new();
            for id in [id, 4711] {
                let before = world.statements().await;
                let answer = world.send(user, method, &format!("{LABELS}/{id}"), json!({"name": "x"})).await;
                assert_eq!(answer.status, status, "{user} {method}");
                seen.push((answer.body, world.statements().await - before));
            }
            assert_eq!(seen[0], seen[1], "{user} {method}");
        }
    }
    let hidden = world.get("ben", &format!("{LABELS}?scope=p&project_id={project}")).await;
    let unknown = world.get("ben", &format!("{LABELS}?scope=p&project_id=4711")).await;
    assert_eq!((hidden.status, hidden.body), (403, unknown.body));
    let made =
        world.send("ben", "POST", LABELS, json!({"name": "x", "scope": "p", "project_id": project})).await;
    assert_eq!(made.status, 403);
    assert_eq!(world.send("ana", "POST", LABELS, json!({"name": "x", "scope": "g"})).await.status, 403);
    assert_eq!(world.send("ana", "DELETE", &format!("{LABELS}/{global}"), Value::Null).await.status, 403);
    assert_eq!(world.get("admin", &format!("{LABELS}/4711")).await.status, 404);

    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(world.get("ana", &path).await.status, 403);
    for (action, count) in [("label_create", 2), ("label_update", 1), ("label_delete", 1)] {
        assert_eq!(world.acts(action).await, count, "{action}");
    }
}

#[actix_web::test]
async fn artifacts_wear_labels() {
    let world = World::new().await;
    let project = world.project("ana", "alpha", false).await;
    let beta = world.project("ana", "beta", false).await;
    for tag in ["v1", "v2", "v3"] {
        world.image(project, "alpha/app", tag, tag.as_bytes()).await;
    }
    let one = label(&world, "ana", json!({"name": "one", "scope": "p", "project_id": project})).await;
    let global = label(&world, "admin", json!({"name": "two", "scope": "g"})).await;
    let foreign = label(&world, "ana", json!({"name": "one", "scope": "p", "project_id": beta})).await;
    let artifacts = "/api/v2.0/projects/alpha/repositories/app/artifacts";
    for (tag, label, status) in [
        ("v1", one, 200),
        ("v1", global, 200),
        ("v2", one, 200),
        ("v2", one, 409),
        ("v2", foreign, 404),
        ("v2", 4711, 404),
        ("v9", one, 404),
    ] {
        let answer =
            world.send("ana", "POST", &format!("{artifacts}/{tag}/labels"), json!({"id": label})).await;
        assert_eq!(answer.status, status, "{tag} {label}: {}", answer.body);
    }
    for (query, expected) in [
        (format!("labels%3D({one})"), 2),
        (format!("labels%3D({one} {global})"), 1),
        (format!("labels%3D({global},tags%3Dv2"), -1),
        (format!("labels%3D({foreign})"), 0),
        (format!("labels%3D{one}"), -1),
        ("labels%3D(x)".to_owned(), -1),
        ("labels%3D()".to_owned(), -1),
    ] {
        let list = world.get("ana", &format!("{artifacts}?q={}", query.replace(' ', "%20"))).await;
        if expected < 0 {
            assert_eq!(list.status, 400, "{query}");
        } else {
            assert_eq!(
                list.header("x-total-count"),
                Some(expected.to_string().as_str()),
                "{query}: {}",
                list.body
            );
        }
    }
    let read = world.get("ana", &format!("{artifacts}/v1")).await.json();
    assert!(read.get("labels").is_none(), "not asked for");
    let before = world.statements().await;
    world.get("ana", &format!("{artifacts}?with_label=true&page_size=1")).await;
    let small = world.statements().await - before;
    let all = world.get("ana", &format!("{artifacts}?with_label=true&sort=id")).await.json();
    assert_eq!(world.statements().await - before - small, small, "whatever the number of rows");
    let names = |at: usize| -> Vec<String> {
        let labels = all[at]["labels"].as_array().cloned().unwrap_or_default();
        labels.iter().map(|label| label["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(0), names(1), names(2).len()),
        (vec!["one".into(), "two".into()], vec!["one".into()], 0)
    );

    let worn = format!("{artifacts}/v1/labels/{one}");
    assert_eq!(world.send("ben", "DELETE", &worn, Value::Null).await.status, 403);
    assert_eq!(world.send("ana", "DELETE", &worn, Value::Null).await.status, 200);
    assert_eq!(world.send("ana", "DELETE", &worn, Value::Null).await.status, 404);
    // A label that is deleted comes off.
    assert_eq!(world.send("ana", "DELETE", &format!("{LABELS}/{one}"), Value::Null).await.status, 200);
    assert_eq!(world.get("ana", &format!("{artifacts}/v2?with_label=true")).await.json().get("labels"), None);
    assert_eq!((world.acts("artifact_label_add").await, world.acts("artifact_label_remove").await), (3, 1));
}
