//! Members over REST.

use serde_json::{Value, json};

use crate::world::World;

#[actix_web::test]
async fn life_of_a_member() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let members = "/api/v2.0/projects/alpha/members";
    let add = json!({"role_id": 2, "member_user": {"username": "ben"}, "member_group": {}});
    let added = world.send("ana", "POST", members, add.clone()).await;
    assert_eq!((added.status, added.body.as_str()), (201, ""));
    let location = added.header("location").unwrap().to_owned();
    let mid: i64 = location.strip_prefix(&format!("{members}/")).unwrap().parse().unwrap();
    let entity = json!({"id": mid, "project_id": id, "entity_name": "ben", "role_name": "developer", "role_id": 2,
        "entity_id": 3, "entity_type": "u"});
    assert_eq!(world.get("ben", &location).await.json(), entity);
    let list = world.get("ana", &format!("{members}?entityname=BE")).await;
    assert_eq!((list.json(), list.header("x-total-count")), (json!([entity]), Some("1")));
    let by_id = format!("/api/v2.0/projects/{id}/members");
    assert_eq!(world.get("ana", &by_id).await.json().as_array().unwrap().len(), 2);
    let seen = world.get("ben", "/api/v2.0/projects/alpha").await.json();
    assert_eq!(seen["current_user_role_id"], 2);

    let again = world.send("ana", "POST", &by_id, add).await;
    assert_eq!((again.status, again.code().as_str()), (409, "CONFLICT"));
    for (input, status) in [
        (json!({"role_id": 2, "member_user": {"user_id": 4711}}), 400),
        (json!({"role_id": 2, "member_user": {"username": "nobody"}}), 404),
        (json!({"role_id": 9, "member_user": {"username": "admin"}}), 400),
        (json!({"member_user": {"username": "admin"}}), 400),
        (json!({"role_id": 2}), 400),
        (json!({"role_id": 2, "member_group": {"id": 4711}}), 400),
        (json!({"role_id": 2, "member_group": {"group_name": "g", "group_type": 1}}), 400),
    ] {
        assert_eq!(world.send("ana", "POST", members, input.clone()).await.status, status, "{input}");
    }

    // AU-18: whoever may not administer members cannot make one, whatever the role.
    let updated = world.send("ana", "PUT", &location, json!({"role_id": 4})).await;
    assert_eq!((updated.status, updated.body.as_str()), (200, ""));
    let risen = json!({"role_id": 1, "member_user": {"username": "admin"}});
    assert_eq!(world.send("ben", "POST", members, risen).await.status, 403);
    assert_eq!(world.send("ben", "PUT", &location, json!({"role_id": 1})).await.status, 403);
    assert_eq!(world.send("ana", "PUT", &location, json!({"role_id": 0})).await.status, 400);
    assert_eq!(world.send("ana", "PUT", &format!("{members}/x"), json!({"role_id": 1})).await.status, 422);
    let unknown = world.send("ana", "PUT", &format!("{members}/4711"), json!({"role_id": 1})).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "NOT_FOUND"));

    let removed = world.send("ana", "DELETE", &location, Value::Null).await;
    assert_eq!((removed.status, removed.body.as_str()), (200, ""));
    assert_eq!(world.get("ben", "/api/v2.0/projects/alpha").await.status, 403);
    assert_eq!(world.send("ana", "DELETE", &location, Value::Null).await.status, 404);
}
