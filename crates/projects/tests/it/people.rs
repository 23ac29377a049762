//! Accounts over REST.

use serde_json::{Value, json};

use crate::world::{PASSWORD, World};

fn account(name: &str) -> Value {
    json!({"username": name, "password": PASSWORD, "email": format!("{name}@example.com"), "realname": name,
        "comment": "c"})
}

async fn made(world: &World, name: &str) -> String {
    let answer = world.send("admin", "POST", "/api/v2.0/users", account(name)).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, ""));
    answer.header("location").unwrap().to_owned()
}

fn names(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn life_of_an_account() {
    let world = World::new().await;
    let mut input = account("carla");
    // AU-18: none of these has a place in the input.
    for (key, value) in
        [("sysadmin_flag", json!(true)), ("user_id", json!(1)), ("role_id", json!(1)), ("salt", json!("x"))]
    {
        input[key] = value;
    }
    let path = made(&world, "dora").await;
    let answer = world.send("admin", "POST", "/api/v2.0/users", input).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, ""));
    let carla = answer.header("location").unwrap().to_owned();
    let seen = world.get("carla", &carla).await.json();
    assert_eq!(seen["username"], "carla");
    assert_eq!((&seen["sysadmin_flag"], &seen["comment"]), (&json!(false), &json!("c")));
    assert_eq!(seen, world.get("admin", &carla).await.json());
    assert_eq!(seen, world.get("carla", "/api/v2.0/users/current").await.json());

    for (name, change, status) in [
        ("CARLA", json!({"email": "other@example.com"}), 409),
        ("x", json!({"email": "CARLA@example.com"}), 409),
        ("x", json!({"email": ""}), 400),
        ("x", json!({"email": "nonsense"}), 400),
        ("x", json!({"realname": ""}), 400),
        ("x", json!({"password": "weak"}), 400),
        ("robot$x", json!({}), 400),
        ("robot+x", json!({}), 400),
        ("a#b", json!({}), 400),
        ("", json!({}), 400),
        ("x", json!({"comment": "c".repeat(31)}), 400),
        ("x", json!({"username": 7}), 400),
    ] {
        let mut input = account(name);
        input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = world.send("admin", "POST", "/api/v2.0/users", input.clone()).await;
        assert_eq!(answer.status, status, "{input}: {}", answer.body);
        answer.code();
    }

    // One's own profile, and nobody else's.
    let profile =
        json!({"email": "c2@example.com", "realname": "Carla C", "comment": "", "sysadmin_flag": true});
    let updated = world.send("carla", "PUT", &carla, profile.clone()).await;
    assert_eq!((updated.status, updated.body.as_str()), (200, ""));
    let seen = world.get("carla", &carla).await.json();
    assert_eq!((&seen["realname"], &seen["sysadmin_flag"]), (&json!("Carla C"), &json!(false)));
    // AU-28: unknown and forbidden are alike, down to the byte.
    for (method, body) in [("GET", Value::Null), ("PUT", profile), ("DELETE", Value::Null)] {
        let known = world.send("carla", method, &path, body.clone()).await;
        let unknown = world.send("carla", method, "/api/v2.0/users/4711", body.clone()).await;
        assert_eq!((known.status, &known.body), (403, &unknown.body), "{method}");
        assert_eq!(unknown.status, 403);
        assert_eq!(world.send("", method, &path, body).await.status, 401);
    }
    let unknown = world.get("admin", "/api/v2.0/users/4711").await;
    assert_eq!((unknown.status, unknown.body.contains("user 4711 not found")), (404, true));
    assert_eq!(world.get("admin", "/api/v2.0/users/x").await.status, 422);

    // Deleted: gone at once, and the name is free again for another number.
    assert_eq!(world.send("admin", "DELETE", "/api/v2.0/users/1", Value::Null).await.status, 409);
    assert_eq!(world.send("admin", "DELETE", &carla, Value::Null).await.status, 200);
    assert_eq!(world.get("carla", "/api/v2.0/users/current").await.status, 401);
    assert_eq!(world.send("admin", "DELETE", &carla, Value::Null).await.status, 404);
    let again = made(&world, "carla").await;
    assert_ne!(again, carla);
    assert_eq!(world.get("admin", &carla).await.status, 404);
    assert_eq!(world.get("carla", "/api/v2.0/users/current").await.status, 200);
}

#[actix_web::test]
async fn passwords_and_what_they_end() {
    let world = World::new().await;
    let ana = "/api/v2.0/users/2/password";
    for (user, old, new, status) in [
        ("", PASSWORD, "Another-1", 401),
        ("ben", PASSWORD, "Another-1", 403),
        ("ana", "", "Another-1", 400),
        ("ana", "Wrong-horse-1", "Another-1", 403),
        ("ana", PASSWORD, "weak", 400),
        ("ana", PASSWORD, PASSWORD, 400),
        ("ana", PASSWORD, "Another-1", 200),
        // The old one is dead at once.
        ("ana", "Another-1", "Another-2", 401),
        ("admin", "", "Another-1", 400),
        ("admin", "", PASSWORD, 200),
    ] {
        let body = json!({"old_password": old, "new_password": new});
        let answer = world.send(user, "PUT", ana, body).await;
        assert_eq!(answer.status, status, "{user} {old} {new}: {}", answer.body);
    }
    assert_eq!(world.get("ana", "/api/v2.0/users/current").await.status, 200);
}

#[actix_web::test]
async fn au_29_administrators_and_the_last_of_them() {
    let world = World::new().await;
    let flag = |on: bool| json!({"sysadmin_flag": on});
    let ana = "/api/v2.0/users/2/sysadmin";
    assert_eq!(world.send("ana", "PUT", ana, flag(true)).await.status, 403);
    assert_eq!(world.send("", "PUT", ana, flag(true)).await.status, 401);
    assert_eq!(world.send("admin", "PUT", "/api/v2.0/users/1/sysadmin", flag(false)).await.status, 409);
    assert_eq!(world.send("admin", "PUT", ana, json!({})).await.status, 400);
    assert_eq!(world.send("admin", "PUT", ana, flag(true)).await.status, 200);
    assert_eq!(world.get("ana", "/api/v2.0/users").await.status, 200);
    assert_eq!(world.send("ana", "DELETE", "/api/v2.0/users/2", Value::Null).await.status, 409);
    assert_eq!(world.send("ana", "DELETE", "/api/v2.0/users/1", Value::Null).await.status, 403);

    // Two who take it from each other at the same moment: one of them stays.
    for round in 0..5 {
        let both = tokio::join!(
            world.send("admin", "PUT", ana, flag(false)),
            world.send("ana", "PUT", "/api/v2.0/users/1/sysadmin", flag(false))
        );
        let statuses = (both.0.status, both.1.status);
        let admin_left = world.get("admin", "/api/v2.0/users").await.status == 200;
        let ana_left = world.get("ana", "/api/v2.0/users").await.status == 200;
        assert!(admin_left || ana_left, "round {round}: {statuses:?}");
        let (left, lost) = if admin_left { ("admin", 2) } else { ("ana", 1) };
        let path = format!("/api/v2.0/users/{lost}/sysadmin");
        assert_eq!(world.send(left, "PUT", &path, flag(true)).await.status, 200, "round {round}");
    }
}

#[actix_web::test]
async fn lists_and_searches() {
    let world = World::new().await;
    for name in ["a_b", "axb", "per-cent"] {
        made(&world, name).await;
    }
    let list = |query: &str| format!("/api/v2.0/users?{query}");
    for (query, expected) in [
        ("sort=-user_id", vec!["per-cent", "axb", "a_b", "ben", "ana"]),
        ("q=username=~A_", vec!["a_b"]),
        ("q=username=ana", vec!["ana"]),
        ("username=a_", vec!["a_b"]),
        ("email=ben@", vec!["ben"]),
        ("q=username_or_email=~B@ex", vec!["a_b", "axb"]),
        ("q=username_or_email=ben@example.com", vec!["ben"]),
        ("q=sysadmin_flag=true", vec![]),
        ("q=comment=c&page_size=1&page=2", vec!["axb"]),
    ] {
        let answer = world.get("admin", &list(query)).await;
        assert_eq!(names(&answer.json(), "username"), expected, "{query}");
    }
    assert_eq!(world.get("admin", &list("page_size=2")).await.header("x-total-count"), Some("5"));
    // AU-25: what is not in the list cannot be asked for, nor sorted by.
    for query in ["q=password=~a", "q=password_hash=~a", "q=salt=x", "q=username_or_email=%5B1~2%5D"] {
        assert_eq!(world.get("admin", &list(query)).await.status, 400, "{query}");
    }
    let sorted = world.get("admin", &list("sort=password_hash")).await;
    assert_eq!(sorted.body, world.get("admin", &list("")).await.body);
    assert_eq!(world.get("ana", &list("")).await.status, 403);
    assert_eq!(world.get("", &list("")).await.status, 401);

    let search = |name: &str| format!("/api/v2.0/users/search?username={name}");
    assert_eq!(world.get("", &search("a")).await.status, 401);
    assert_eq!(world.get("ana", "/api/v2.0/users/search").await.status, 422);
    // AU-24, AU-27: literal, and only oneself unless one may add members somewhere.
    let found = world.get("admin", &search("A_")).await.json();
    assert_eq!(names(&found, "username"), ["a_b"]);
    assert_eq!(found[0].as_object().unwrap().len(), 2, "{found}");
    assert_eq!(world.get("ana", &search("%25")).await.json(), json!([]));
    assert_eq!(world.get("ana", &search("be")).await.json(), json!([]));
    assert_eq!(names(&world.get("ana", &search("an")).await.json(), "username"), ["ana"]);
    world.project("ana", "alpha", false).await;
    assert_eq!(names(&world.get("ana", &search("be")).await.json(), "username"), ["ben"]);
    let member = json!({"role_id": 4, "member_user": {"username": "ben"}});
    world.send("ana", "POST", "/api/v2.0/projects/alpha/members", member).await;
    assert_eq!(world.get("ben", &search("an")).await.json(), json!([]), "maintainers add nobody");
}
