//! Robots over REST: what a change keeps, how long they live, and how they are listed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::World;

const ROBOTS: &str = "/api/v2.0/robots";

fn input(name: &str, level: &str, namespace: &str) -> Value {
    let access = json!([{"resource": "repository", "action": "pull"}]);
    json!({"name": name, "level": level, "duration": 30,
        "permissions": [{"kind": "project", "namespace": namespace, "access": access}]})
}

async fn made(world: &World, user: &str, input: &Value) -> (String, Value) {
    let answer = world.send(user, "POST", ROBOTS, input.clone()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    (answer.header("location").unwrap().to_owned(), answer.json())
}

#[actix_web::test]
async fn a_change_keeps_what_it_does_not_speak_of() {
    let world = World::new().await;
    world.project("ana", "alpha", false).await;
    let (path, created) = made(&world, "ana", &input("ci", "project", "alpha")).await;
    let mut change = input("robot$alpha+ci", "project", "alpha");
    assert_eq!(created["name"], change["name"]);
    change["disable"] = json!(true);
    change["description"] = json!("d");
    let update = async |body: &Value| world.send("ana", "PUT", &path, body.clone()).await.status;
    assert_eq!(update(&change).await, 200);
    let shown = world.get("ana", &path).await.json();
    assert_eq!(
        (&shown["disable"], &shown["editable"], &shown["duration"]),
        (&json!(true), &json!(true), &json!(30))
    );
    assert!(shown.get("secret").is_none(), "{shown}");

    // Neither an absent `disable` nor an absent `duration` changes anything.
    change.as_object_mut().unwrap().remove("disable");
    change.as_object_mut().unwrap().remove("duration");
    assert_eq!(update(&change).await, 200);
    let kept = world.get("ana", &path).await.json();
    assert_eq!((&kept["disable"], &kept["expires_at"]), (&json!(true), &shown["expires_at"]), "{kept}");
    change["duration"] = json!(-1);
    change["disable"] = json!(false);
    assert_eq!(update(&change).await, 200);
    let kept = world.get("ana", &path).await.json();
    assert_eq!((&kept["disable"], &kept["expires_at"]), (&json!(false), &json!(-1)), "{kept}");

    world.project("ana", "beta", false).await;
    for (key, value) in [
        ("name", json!("robot$alpha+other")),
        ("name", json!("ci")),
        ("level", json!("system")),
        ("duration", json!(0)),
        ("duration", json!(2_147_483_647_i64)),
        ("permissions", json!([])),
        ("permissions", input("x", "project", "beta")["permissions"].clone()),
    ] {
        let mut bad = change.clone();
        bad[key] = value.clone();
        assert_eq!(update(&bad).await, 400, "{key} {value}");
    }
    change["duration"] = json!(2_147_483_646_i64);
    assert_eq!(update(&change).await, 200);
}

#[actix_web::test]
async fn durations_secrets_and_lists() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    for duration in [Value::Null, json!(0), json!(-2), json!(2_147_483_647_i64)] {
        let mut bad = input("x", "system", "*");
        bad["duration"] = duration.clone();
        assert_eq!(world.send("admin", "POST", ROBOTS, bad).await.status, 400, "{duration}");
    }
    let (path, created) = made(&world, "ana", &input("ci", "project", "alpha")).await;
    made(&world, "admin", &input("all", "system", "*")).await;

    // A new secret on request, or a chosen one, which is not said back.
    let rekey = async |secret: &str| world.send("ana", "PATCH", &path, json!({"secret": secret})).await;
    let fresh = rekey("").await;
    assert_eq!(fresh.status, 200);
    let fresh = fresh.json()["secret"].as_str().unwrap().to_owned();
    assert!(fresh.len() >= 43 && fresh != created["secret"], "another one of 256 bits");
    for (secret, status) in [("short1A", 400), ("nouppercase1", 400), ("Chosen-secret-1", 200)] {
        assert_eq!(rekey(secret).await.status, status, "{secret}");
    }
    assert_eq!(rekey("Chosen-secret-2").await.json(), json!({"secret": ""}));
    assert_eq!(world.send("ben", "PATCH", &path, json!({"secret": ""})).await.status, 403);

    let names = async |user: &str, query: &str| {
        let answer = world.get(user, &format!("{ROBOTS}{query}")).await;
        assert!(!answer.body.contains("\"secret\""), "{}", answer.body);
        let rows = answer.json().as_array().cloned().unwrap_or_default();
        (answer.status, rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let of_project = format!("?q=Level%3Dproject,ProjectID%3D{id}");
    assert_eq!(names("admin", "").await, (200, vec!["robot$all".to_owned()]));
    assert_eq!(names("ana", &of_project).await, (200, vec!["robot$alpha+ci".to_owned()]));
    assert_eq!(names("ana", "").await.0, 403);
    assert_eq!(names("ben", &of_project).await.0, 403);
    assert_eq!(names("admin", "?q=Level%3Dproject").await.0, 400);
    assert_eq!(names("admin", "?q=secret%3Dx").await.0, 400);

    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(world.get("admin", &path).await.status, 404);
    assert_eq!(world.get("ana", &path).await.status, 403, "unknown is like somebody else's");
}

#[actix_web::test]
async fn the_prefix_of_all_robots() {
    let world = World::new().await;
    world.project("ana", "alpha", false).await;
    let (path, created) = made(&world, "ana", &input("ci", "project", "alpha")).await;
    let secret = created["secret"].as_str().unwrap();
    let signs_in = async |name: &str| {
        let credentials = STANDARD.encode(format!("{name}:{secret}"));
        let request = actix_web::test::TestRequest::with_uri("/api/v2.0/users/current/permissions")
            .insert_header(("authorization", format!("Basic {credentials}")));
        world.send_raw(request).await.status == 200
    };
    let set = async |prefix: Value| {
        let body = json!({"robot_name_prefix": prefix});
        world.send("admin", "PUT", "/api/v2.0/configurations", body).await.status
    };
    for bad in
        [json!(""), json!("Bot-"), json!("a b"), json!("x:"), json!("x".repeat(33)), json!(1), json!("an")]
    {
        assert_eq!(set(bad.clone()).await, 400, "{bad}: no prefix, or what ana's name begins with");
    }
    assert_eq!(set(json!("bot-")).await, 200);
    assert_eq!(world.get("ana", &path).await.json()["name"], "bot-alpha+ci");
    assert!(
        !signs_in("robot$alpha+ci").await
            && signs_in("bot-alpha+ci").await
            && signs_in("robot+alpha+ci").await
    );
    let person = json!({"username": "Bot-1", "email": "b@example.com", "realname": "b", "password": "Quay-Lantern-5528"});
    assert_eq!(world.send("admin", "POST", "/api/v2.0/users", person).await.status, 400);
    let shown = world.get("admin", "/api/v2.0/configurations").await.json();
    assert_eq!(shown["robot_name_prefix"]["value"], "bot-");
}
