//! No existence oracle: for callers without rights a private project and no project are the same, in every
//! operation there is. Generated from the table of routes, so a new route is covered the day it appears.

use projects::ROUTES;
use serde_json::{Value, json};

use crate::world::World;

fn filled(path: &str, project: &str, repository: &str, member: &str) -> String {
    let digest = format!("sha256:{}", "0".repeat(64));
    path.replace("{project_name_or_id}", project)
        .replace("{project_name}", project)
        .replace("{repository_name}", repository)
        .replace("{reference}", &digest)
        .replace("{tag_name}", "latest")
        .replace("{meta_name}", "public")
        .replace("{mid}", member)
        .replace("{immutable_rule_id}", member)
        .replace("{label_id}", member)
        .replace("{user_id}", member)
        .replace("{token_id}", member)
        .replace("{group_id}", member)
        .replace("{robot_id}", member)
        .replace("{id}", member)
        .replace("{addition}", "build_history")
}

fn body(method: &str) -> Value {
    if ["POST", "PUT"].contains(&method) { json!({}) } else { Value::Null }
}

#[actix_web::test]
async fn unknown_and_hidden_projects_answer_alike() {
    let world = World::new().await;
    let id = world.project("ana", "private", false).await;
    world.image(id, "private/app", "latest", b"layer").await;
    let mut checked = 0;
    for route in ROUTES.iter().filter(|route| route.path.contains("{project_name")) {
        for (user, status, code) in [("", 401, "UNAUTHORIZED"), ("ben", 403, "FORBIDDEN")] {
            let existing = filled(route.path, "private", "app", "1");
            let unknown = filled(route.path, "unknown", "nothing", "4711");
            let impossible = filled(route.path, "No-Such", "%252E%252E", "1");
            let mut bodies = Vec::new();
            for path in [existing, unknown, impossible] {
                let answer = world.send(user, route.method, &path, body(route.method)).await;
                assert_eq!((answer.status, answer.code().as_str()), (status, code), "{} {path}", route.id);
                let mut headers: Vec<_> = answer.headers.iter().map(|(name, _)| name.to_string()).collect();
                headers.sort();
                bodies.push((answer.body, headers));
            }
            assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{}: {bodies:?}", route.id);
            checked += 1;
        }
    }
    assert!(checked > 30, "the table of routes is read wrongly");
}

#[actix_web::test]
async fn by_id_as_by_name() {
    let world = World::new().await;
    let id = world.project("ana", "private", false).await;
    for path in [format!("/api/v2.0/projects/{id}"), "/api/v2.0/projects/4711".to_owned()] {
        assert_eq!(world.get("", &path).await.status, 401);
        let answer = world.get("ben", &path).await;
        assert_eq!((answer.status, answer.body.contains(&id.to_string())), (403, false));
    }
    assert_eq!(world.get("admin", "/api/v2.0/projects/4711").await.status, 404);
    assert_eq!(world.get("ana", &format!("/api/v2.0/projects/{id}")).await.status, 200);
}

#[actix_web::test]
async fn head_tells_what_is_visible_and_nothing_else() {
    let world = World::new().await;
    world.project("ana", "private", false).await;
    let head = |user: &'static str, name: &'static str| {
        let world = &world;
        async move {
            let path = format!("/api/v2.0/projects?project_name={name}");
            world.send(user, "HEAD", &path, Value::Null).await.status
        }
    };
    assert_eq!(head("", "private").await, 401);
    assert_eq!(head("", "unknown").await, 401);
    assert_eq!(head("ana", "private").await, 200);
    assert_eq!(head("ben", "private").await, 404);
    assert_eq!(head("ben", "unknown").await, 404);
    assert_eq!(head("ben", "").await, 422);
}

/// Everything needs a right: an anonymous caller gets through exactly where the API says so.
#[actix_web::test]
async fn what_is_open_to_anybody() {
    let world = World::new().await;
    let mut open = Vec::new();
    for route in ROUTES {
        let path = filled(route.path, "unknown", "nothing", "1");
        if world.send("", route.method, &path, body(route.method)).await.status == 200 {
            open.push(route.id);
        }
    }
    assert_eq!(
        open,
        ["getVersion", "getPing", "getHealth", "getSystemInfo", "listProjects", "listAllRepositories"]
    );
}

/// In read-only mode nothing changes but the configuration, whoever asks and by whichever operation; the refusal looks at
/// nothing, so it tells nothing either.
#[actix_web::test]
async fn read_only_refuses_every_change() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    world.image(id, "alpha/app", "latest", b"layer").await;
    let configure = async |read_only: bool| {
        let body = json!({ "read_only": read_only });
        world.send("admin", "PUT", "/api/v2.0/configurations", body).await.status
    };
    assert_eq!(configure(true).await, 200);
    let changing = ROUTES.iter().filter(|route| !["GET", "HEAD"].contains(&route.method));
    let mut refused = 0;
    for route in changing.filter(|route| route.id != "updateConfigurations") {
        let path = filled(route.path, "alpha", "app", "1");
        for user in ["admin", "ana", "ben"] {
            let answer = world.send(user, route.method, &path, body(route.method)).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"), "{user}: {}", route.id);
            assert!(answer.body.contains("read-only"), "{}: {}", route.id, answer.body);
        }
        assert_eq!(world.send("", route.method, &path, body(route.method)).await.status, 401, "{}", route.id);
        refused += 1;
    }
    assert!(refused > 40, "the table of routes is read wrongly");
    assert_eq!(world.get("ana", "/api/v2.0/projects/alpha/repositories/app").await.status, 200);
    assert_eq!(configure(false).await, 200);
    world.project("ana", "beta", false).await;
}
