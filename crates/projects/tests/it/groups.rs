//! Groups of people over REST, and what membership in them gives.

use serde_json::{Value, json};

use crate::world::World;

const GROUPS: &str = "/api/v2.0/usergroups";

async fn made(world: &World, input: Value) -> i64 {
    let answer = world.send("admin", "POST", GROUPS, input).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, ""));
    let location = answer.header("location").unwrap();
    location.strip_prefix(&format!("{GROUPS}/")).unwrap().parse().unwrap()
}

/// What a source of groups will do at login.
async fn joins(world: &World, group: i64, user: i64) {
    world.execute(&format!("insert into identity.group_members values ({group}, {user})")).await;
}

#[actix_web::test]
async fn life_of_a_group() {
    let world = World::new().await;
    let dev = made(&world, json!({"group_name": "dev", "group_type": 3})).await;
    let ops =
        made(&world, json!({"group_name": "ops", "group_type": 1, "ldap_group_dn": "CN=Ops,DC=x"})).await;
    let path = format!("{GROUPS}/{dev}");
    let entity = json!({"id": dev, "group_name": "dev", "group_type": 3});
    assert_eq!(world.get("admin", &path).await.json(), entity);
    for (input, status) in [
        (json!({"group_name": "dev", "group_type": 3}), 409),
        (json!({"group_name": "dev", "group_type": 2}), 201),
        (json!({"group_name": "x", "group_type": 1, "ldap_group_dn": "cn=ops,dc=X"}), 409),
        (json!({"group_name": "x", "group_type": 1}), 400),
        (json!({"group_name": "x", "group_type": 9}), 400),
        (json!({"group_name": "x"}), 400),
        (json!({"group_type": 3}), 400),
    ] {
        assert_eq!(world.send("admin", "POST", GROUPS, input.clone()).await.status, status, "{input}");
    }
    for (query, expected) in [
        ("", 3),
        ("?group_name=DE", 2),
        ("?group_name=d_v", 0),
        ("?ldap_group_dn=cn=ops,dc=x", 1),
        ("?page_size=1&page=3", 1),
    ] {
        let answer = world.get("admin", &format!("{GROUPS}{query}")).await;
        assert_eq!(answer.json().as_array().unwrap().len(), expected, "{query}");
    }
    let renamed = world.send("admin", "PUT", &path, json!({"group_name": "devs", "group_type": 1})).await;
    assert_eq!((renamed.status, renamed.body.as_str()), (200, ""));
    assert_eq!(world.get("admin", &path).await.json()["group_type"], 3);
    assert_eq!(world.send("admin", "PUT", &path, json!({})).await.status, 400);

    assert_eq!(world.get("ana", &format!("{GROUPS}/search")).await.status, 422);
    let found = world.get("ana", &format!("{GROUPS}/search?groupname=op")).await.json();
    assert_eq!(found, json!([{"id": ops, "group_name": "ops", "group_type": 1}]), "no distinguished name");
    for (method, path) in
        [("GET", GROUPS), ("POST", GROUPS), ("GET", &path), ("PUT", &path), ("DELETE", &path)]
    {
        assert_eq!(world.send("ana", method, path, Value::Null).await.status, 403, "{method} {path}");
        assert_eq!(world.send("", method, path, Value::Null).await.status, 401, "{method} {path}");
    }
    assert_eq!(world.send("admin", "DELETE", &path, Value::Null).await.status, 200);
    for method in ["GET", "DELETE"] {
        assert_eq!(world.send("admin", method, &path, Value::Null).await.status, 404);
    }
}

#[actix_web::test]
async fn rights_are_the_union_over_groups() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let project = "/api/v2.0/projects/alpha";
    let members = format!("{project}/members");
    let dev = made(&world, json!({"group_name": "dev", "group_type": 3})).await;
    let add = async |role: i64, group: Value| {
        world.send("ana", "POST", &members, json!({"role_id": role, "member_group": group})).await
    };
    // Every way to name a group; one that nobody made yet is made.
    let by_id = add(3, json!({"id": dev})).await;
    assert_eq!((by_id.status, by_id.body.as_str()), (201, ""));
    let member = by_id.header("location").unwrap().to_owned();
    assert_eq!(add(2, json!({"group_name": "dev", "group_type": 3})).await.status, 409, "the same group");
    assert_eq!(add(5, json!({"group_name": "late", "group_type": 2})).await.status, 201);
    assert_eq!(add(4, json!({"ldap_group_dn": "CN=Ops,DC=x"})).await.status, 201);
    for (group, status) in [
        (json!({"id": 4711}), 400),
        (json!({"group_name": "x"}), 400),
        (json!({"group_name": "x", "group_type": 1}), 400),
        (json!({"ldap_group_dn": "nonsense"}), 400),
        (json!({}), 400),
    ] {
        assert_eq!(add(2, group.clone()).await.status, status, "{group}");
    }
    let listed = world.get("ana", &members).await.json();
    let rows: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["entity_name"].as_str().unwrap(),
                row["entity_type"].as_str().unwrap(),
                row["role_id"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows, [("ana", "u", 1), ("cn=ops,dc=x", "g", 4), ("dev", "g", 3), ("late", "g", 5)]);
    let groups = world.get("admin", GROUPS).await.json();
    let of = |name: &str| {
        groups.as_array().unwrap().iter().find(|row| row["group_name"] == name).unwrap()["id"]
            .as_i64()
            .unwrap()
    };

    assert_eq!(world.get("ben", project).await.status, 403);
    joins(&world, dev, 3).await;
    let seen = world.get("ben", project).await.json();
    assert_eq!(
        (&seen["current_user_role_id"], &seen["current_user_role_ids"]),
        (&json!(3), &json!([3])),
        "{seen}"
    );
    joins(&world, of("cn=ops,dc=x"), 3).await;
    joins(&world, of("late"), 3).await;
    for seen in [
        world.get("ben", project).await.json(),
        world.get("ben", "/api/v2.0/projects?name=alpha").await.json()[0].clone(),
    ] {
        assert_eq!(seen["current_user_role_id"], 4, "the strongest: {seen}");
        assert_eq!(seen["current_user_role_ids"], json!([4, 3, 5]), "{seen}");
    }
    assert_eq!(
        world.send("ben", "HEAD", "/api/v2.0/projects?project_name=alpha", Value::Null).await.status,
        200
    );
    let scope = format!("/api/v2.0/users/current/permissions?scope=/project/{id}&relative=true");
    let held = world.get("ben", &scope).await.json().as_array().unwrap().len();
    assert_eq!(held, 53, "a maintainer's");
    let counts = world.get("ana", &format!("{project}/summary")).await.json();
    assert_eq!(
        (&counts["project_admin_count"], &counts["maintainer_count"]),
        (&json!(1), &json!(1)),
        "{counts}"
    );

    // A group is changed and removed like an account, and takes its people's rights along.
    assert_eq!(world.get("ana", &member).await.json()["entity_id"], dev);
    assert_eq!(world.send("ana", "PUT", &member, json!({"role_id": 1})).await.status, 200);
    let seen = world.get("ben", project).await.json();
    assert_eq!(seen["current_user_role_id"], 1, "{seen}");
    assert_eq!(world.send("ana", "DELETE", &member, Value::Null).await.status, 200);
    assert_eq!(world.get("ben", project).await.json()["current_user_role_id"], 4);
    for name in ["cn=ops,dc=x", "late"] {
        let path = format!("{GROUPS}/{}", of(name));
        assert_eq!(world.send("admin", "DELETE", &path, Value::Null).await.status, 200);
    }
    assert_eq!(world.get("ben", project).await.status, 403);
    assert_eq!(world.get("ana", &members).await.json().as_array().unwrap().len(), 1);
}
