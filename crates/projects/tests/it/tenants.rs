//! Projects and what describes the installation and the caller.

use serde_json::{Value, json};

use crate::world::World;

const PROJECTS: &str = "/api/v2.0/projects";

#[actix_web::test]
async fn life_of_a_project() {
    let world = World::new().await;
    let input = json!({"project_name": "alpha", "metadata": {"public": "true", "severity": "High", "auto_scan": "false"},
        "storage_limit": 5, "owner_id": 1, "project_id": 77, "unknown": {"x": 1}});
    let created = world.send("ana", "POST", PROJECTS, input.clone()).await;
    assert_eq!((created.status, created.body.as_str()), (201, ""));
    let location = created.header("location").unwrap().to_owned();
    let id: i64 = location.strip_prefix("/api/v2.0/projects/").unwrap().parse().unwrap();
    let again = world.send("ana", "POST", PROJECTS, input).await;
    assert_eq!((again.status, again.code().as_str()), (409, "CONFLICT"));

    let project = world.get("ana", &location).await.json();
    assert_eq!((&project["project_id"], &project["name"]), (&json!(id), &json!("alpha")));
    assert_eq!((&project["owner_name"], &project["owner_id"]), (&json!("ana"), &json!(2)));
    assert_eq!((&project["repo_count"], &project["current_user_role_id"]), (&json!(0), &json!(1)));
    assert_eq!(project["current_user_role_ids"], json!([1]));
    assert_eq!(project["metadata"], json!({"public": "true", "severity": "high", "auto_scan": "false"}));
    let time = project["creation_time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
    let seen = world.get("", &format!("{PROJECTS}/alpha")).await.json();
    assert!(seen.get("current_user_role_id").is_none() && seen.get("registry_id").is_none());

    let summary = world.get("ana", &format!("{location}/summary")).await.json();
    let expected = json!({"repo_count": 0, "project_admin_count": 1,
        "quota": {"hard": {"storage": -1}, "used": {"storage": 0}}});
    assert_eq!(summary, expected, "the limit of an ordinary account is the default");
    assert_eq!(world.get("", &format!("{location}/summary")).await.json(), json!({"repo_count": 0}));

    let changed =
        world.send("ana", "PUT", &location, json!({"metadata": {"public": "false"}, "owner_id": 1})).await;
    assert_eq!((changed.status, changed.body.as_str()), (200, ""));
    let project = world.get("ana", &location).await.json();
    assert_eq!(project["metadata"], json!({"public": "false", "severity": "high", "auto_scan": "false"}));
    assert_eq!(project["owner_name"], "ana");
    assert_eq!(world.get("", &location).await.status, 401);

    assert_eq!(world.get("ana", &format!("{location}/_deletable")).await.json(), json!({"deletable": true}));
    world.image(id, "alpha/app", "v1", b"layer").await;
    let deletable = world.get("ana", &format!("{location}/_deletable")).await.json();
    assert_eq!(deletable["deletable"], false);
    let refused = world.send("ana", "DELETE", &location, Value::Null).await;
    assert_eq!((refused.status, refused.code().as_str()), (412, "PRECONDITION"));
    assert!(refused.body.contains("the project contains repositories, can not be deleted"));
    let emptied =
        world.send("ana", "DELETE", &format!("{PROJECTS}/alpha/repositories/app"), Value::Null).await;
    assert_eq!(emptied.status, 200, "{}", emptied.body);
    let deleted = world.send("ana", "DELETE", &location, Value::Null).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
    assert_eq!(world.get("ana", &location).await.status, 403);
    assert_eq!(world.get("admin", &location).await.status, 404);
}

#[actix_web::test]
async fn names_that_look_like_numbers() {
    let world = World::new().await;
    let header = [("X-Resource-Name-In-Location", "true")];
    let created = world.send_with("ana", "POST", PROJECTS, json!({"project_name": "12345"}), &header).await;
    assert_eq!(created.header("location"), Some("/api/v2.0/projects/12345"));
    let path = format!("{PROJECTS}/12345");
    assert_eq!(world.get("ana", &path).await.status, 403, "an id");
    let as_name = |value: &'static str| {
        let (world, path) = (&world, &path);
        async move {
            world.send_with("ana", "GET", path, Value::Null, &[("X-Is-Resource-Name", value)]).await.status
        }
    };
    assert_eq!(as_name("true").await, 200);
    assert_eq!(as_name("True").await, 200);
    assert_eq!(as_name("false").await, 403);
    assert_eq!(as_name("").await, 403);
    assert_eq!(as_name("perhaps").await, 422);
    assert_eq!(world.get("ana", &format!("{path}/repositories")).await.status, 200, "always a name there");
}

#[actix_web::test]
async fn what_a_project_is_refused_for() {
    let world = World::new().await;
    for (user, input, status) in [
        ("", json!({"project_name": "a"}), 401),
        ("ana", json!({}), 400),
        ("ana", json!({"project_name": "Alpha"}), 400),
        ("ana", json!({"project_name": "a__b"}), 400),
        ("ana", json!({"project_name": "v2"}), 400),
        ("ana", json!({"project_name": "a", "metadata": {"public": "yes"}}), 400),
        ("ana", json!({"project_name": "a", "metadata": {"severity": "worst"}}), 400),
        ("ana", json!({"project_name": "a", "metadata": {"prevent_vul": "true"}}), 412),
        ("ana", json!({"project_name": "a", "metadata": {"enable_content_trust_cosign": "true"}}), 412),
        ("ana", json!({"project_name": "a", "registry_id": 1}), 403),
        ("admin", json!({"project_name": "a", "registry_id": 1}), 412),
        ("admin", json!({"project_name": "a", "storage_limit": 0}), 400),
        ("ana", json!({"project_name": "a", "registry_id": null, "metadata": {"retention_id": "5"}}), 201),
    ] {
        let answer = world.send(user, "POST", PROJECTS, input.clone()).await;
        assert_eq!(answer.status, status, "{input}: {}", answer.body);
        if status == 412 {
            assert!(answer.body.contains("not available yet"), "{}", answer.body);
        }
    }
    for input in [json!({"metadata": {"retention_id": "5"}}), json!({"cve_allowlist": {"project_id": 4711}})]
    {
        assert_eq!(world.send("ana", "PUT", &format!("{PROJECTS}/a"), input).await.status, 400);
    }
}

#[actix_web::test]
async fn lists_by_who_asks() {
    let world = World::new().await;
    world.project("ana", "a-private", false).await;
    world.project("ana", "a-public", true).await;
    world.project("ben", "b-private", false).await;
    for (user, query, expected) in [
        ("", "", "a-public"),
        ("", "public=false", ""),
        ("ana", "", "a-private a-public"),
        ("ana", "public=false", "a-private"),
        ("ben", "owner=ana", "a-public"),
        ("admin", "", "a-private a-public b-private"),
        ("admin", "name=PRIV", "a-private b-private"),
        ("admin", "q=name%3Db-private", "b-private"),
        ("admin", "with_detail=False&owner=ben", "b-private"),
    ] {
        let answer = world.get(user, &format!("{PROJECTS}?{query}")).await;
        let body = answer.json();
        let names: Vec<_> =
            body.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(" "), expected, "{user} {query}");
        assert_eq!(answer.header("x-total-count"), Some(names.len().to_string().as_str()));
    }
}

#[actix_web::test]
async fn the_installation_and_the_caller() {
    let world = World::new().await;
    let public = world.get("", "/api/v2.0/systeminfo").await.json();
    let expected = json!({"auth_mode": "db_auth", "primary_auth_mode": false, "self_registration": false,
        "banner_message": "", "oidc_provider_name": ""});
    assert_eq!(public, expected);
    let headers = [("host", "hub.example.com:8443"), ("x-hythe-scheme", "https")];
    let info = world.send_with("ana", "GET", "/api/v2.0/systeminfo", Value::Null, &headers).await.json();
    assert_eq!(info["external_url"], "https://hub.example.com:8443");
    assert_eq!(info["registry_url"], "hub.example.com:8443");
    assert!(info["harbor_version"].as_str().unwrap().starts_with("v2.15.2-hythe."));
    assert_eq!(
        (&info["project_creation_restriction"], &info["read_only"]),
        (&json!("everyone"), &json!(false))
    );

    let me = world.get("ana", "/api/v2.0/users/current").await.json();
    assert_eq!(
        (&me["user_id"], &me["username"], &me["email"]),
        (&json!(2), &json!("ana"), &json!("ana@example.com"))
    );
    assert_eq!((&me["sysadmin_flag"], &me["admin_role_in_auth"]), (&json!(false), &json!(false)));
    assert!(me.get("comment").is_none() && me.get("password").is_none());
    assert_eq!(world.get("admin", "/api/v2.0/users/current").await.json()["sysadmin_flag"], true);
    assert_eq!(world.get("", "/api/v2.0/users/current").await.status, 401);
}

#[actix_web::test]
async fn permissions_of_the_caller() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let count = |user: &'static str, query: String| {
        let world = &world;
        async move {
            let path = format!("/api/v2.0/users/current/permissions?{query}");
            world.get(user, &path).await.json().as_array().unwrap().clone()
        }
    };
    assert_eq!(count("ana", format!("scope=/project/{id}")).await.len(), 75);
    assert_eq!(count("admin", format!("scope=/project/{id}")).await.len(), 75);
    for query in ["", "scope=/project/4711", "scope=/nothing", "scope=/system"] {
        assert!(count("ana", query.to_owned()).await.is_empty(), "{query}");
    }
    assert!(count("ben", format!("scope=/project/{id}")).await.is_empty());
    assert!(!count("admin", "scope=/system".to_owned()).await.is_empty());
    let absolute = count("ana", format!("scope=/project/{id}")).await;
    assert!(absolute.contains(&json!({"resource": format!("/project/{id}/repository"), "action": "push"})));
    assert!(absolute.contains(&json!({"resource": format!("/project/{id}"), "action": "delete"})));
    let relative = count("ana", format!("scope=/project/{id}&relative=true")).await;
    assert!(relative.contains(&json!({"resource": "repository", "action": "push"})));
    assert!(relative.contains(&json!({"resource": ".", "action": "delete"})));
    let path = "/api/v2.0/users/current/permissions?scope=/system";
    assert_eq!(world.get("", path).await.status, 401);
}
