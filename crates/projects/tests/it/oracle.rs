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
        [
            "getVersion",
            "getPing",
            "getHealth",
            "getOpenApi",
            "getSystemInfo",
            "listProjects",
            "listAllRepositories"
        ]
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
        for user in ["admin", "ben"] {
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

/// AU-20: what belongs to another project cannot be read, changed, deleted or used through a project of one's own, and is
/// as unknown there as a random id: to the byte and to the statement.
#[actix_web::test]
async fn au_20_no_foreign_id_works_under_a_project_of_ones_own() {
    let world = World::new().await;
    let (ours, theirs) =
        (world.project("ana", "alpha", false).await, world.project("ben", "beta", false).await);
    world.image(ours, "alpha/app", "v1", b"ours").await;
    let secret = world.image(theirs, "beta/app", "only", b"theirs").await.to_string();
    let rule = json!({
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "none"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    });
    let label = json!({"name": "theirs", "scope": "p", "project_id": theirs});
    let robot = json!({"name": "ci", "level": "project", "duration": -1, "permissions": [{"kind": "project",
        "namespace": "beta", "access": [{"resource": "repository", "action": "pull"}]}]});
    let mut ids = Vec::new();
    for (path, body) in [
        ("/api/v2.0/projects/beta/members", json!({"role_id": 3, "member_user": {"username": "admin"}})),
        ("/api/v2.0/projects/beta/immutabletagrules", rule.clone()),
        ("/api/v2.0/labels", label),
        ("/api/v2.0/robots", robot),
    ] {
        let made = world.send("ben", "POST", path, body).await;
        assert_eq!(made.status, 201, "{path}: {}", made.body);
        ids.push(made.header("location").unwrap().rsplit('/').next().unwrap().to_owned());
    }
    let [member, rule_id, label, robot] = <[String; 4]>::try_from(ids).unwrap();
    let random = format!("sha256:{}", "7".repeat(64));
    let (project, app) = ("/api/v2.0/projects/alpha", "/api/v2.0/projects/alpha/repositories/app");
    let number = |id: &String| (id.clone(), "987654".to_owned());
    let digest = || (secret.clone(), random.clone());
    let mut tried = 0;
    for ((foreign, unknown), method, path, body, status) in [
        (number(&member), "GET", format!("{project}/members/ID"), Value::Null, 404),
        (number(&member), "PUT", format!("{project}/members/ID"), json!({"role_id": 1}), 404),
        (number(&member), "DELETE", format!("{project}/members/ID"), Value::Null, 404),
        (number(&rule_id), "PUT", format!("{project}/immutabletagrules/ID"), rule.clone(), 404),
        (number(&rule_id), "DELETE", format!("{project}/immutabletagrules/ID"), Value::Null, 404),
        (number(&label), "DELETE", format!("{app}/artifacts/v1/labels/ID"), Value::Null, 404),
        (number(&label), "POST", format!("{app}/artifacts/v1/labels"), json!({"id": "ID"}), 404),
        (number(&label), "GET", "/api/v2.0/labels/ID".to_owned(), Value::Null, 403),
        (number(&label), "PUT", "/api/v2.0/labels/ID".to_owned(), json!({"name": "x"}), 403),
        (number(&label), "DELETE", "/api/v2.0/labels/ID".to_owned(), Value::Null, 403),
        (number(&robot), "GET", "/api/v2.0/robots/ID".to_owned(), Value::Null, 403),
        (number(&robot), "PUT", "/api/v2.0/robots/ID".to_owned(), json!({"disable": true}), 403),
        (number(&robot), "PATCH", "/api/v2.0/robots/ID".to_owned(), json!({}), 403),
        (number(&robot), "DELETE", "/api/v2.0/robots/ID".to_owned(), Value::Null, 403),
        (
            number(&theirs.to_string()),
            "PUT",
            "/api/v2.0/quotas/ID".to_owned(),
            json!({"hard": {"storage": 1}}),
            403,
        ),
        (digest(), "GET", format!("{app}/artifacts/ID"), Value::Null, 404),
        (digest(), "DELETE", format!("{app}/artifacts/ID"), Value::Null, 404),
        (digest(), "GET", format!("{app}/artifacts/ID/accessories"), Value::Null, 404),
        (digest(), "GET", format!("{app}/artifacts/ID/additions/build_history"), Value::Null, 404),
        (digest(), "GET", format!("{app}/artifacts/ID/tags"), Value::Null, 404),
        (digest(), "POST", format!("{app}/artifacts/ID/tags"), json!({"name": "mine"}), 404),
        (digest(), "DELETE", format!("{app}/artifacts/ID/tags/only"), Value::Null, 404),
        (digest(), "POST", format!("{app}/artifacts/ID/labels"), json!({"id": 1}), 404),
        (digest(), "POST", format!("{app}/tags/mine/restore"), json!({"digest": "ID"}), 404),
        (digest(), "POST", format!("{app}/artifacts?from=beta/app@ID"), Value::Null, 403),
    ] {
        let mut seen = Vec::new();
        for id in [&foreign, &unknown] {
            let body = body.to_string().replace("\"id\":\"ID\"", &format!("\"id\":{id}")).replace("ID", id);
            let before = world.statements().await;
            let sent = serde_json::from_str(&body).unwrap();
            let answer = world.send("ana", method, &path.replace("ID", id), sent).await;
            assert_eq!(answer.status, status, "{method} {path} {id}: {}", answer.body);
            seen.push((answer.body.replace(id, "ID"), world.statements().await - before));
        }
        assert_eq!(seen[0], seen[1], "{method} {path}");
        tried += 1;
    }
    assert_eq!(tried, 25);
    // Nothing of it was touched.
    for path in [
        format!("/api/v2.0/projects/beta/members/{member}"),
        format!("/api/v2.0/labels/{label}"),
        format!("/api/v2.0/robots/{robot}"),
        "/api/v2.0/projects/beta/repositories/app/artifacts/only".to_owned(),
    ] {
        assert_eq!(world.get("ben", &path).await.status, 200, "{path}");
    }
    assert_eq!(
        world.get("ben", &format!("/api/v2.0/projects/beta/members/{member}")).await.json()["role_id"],
        3
    );
    let rules = world.get("ben", "/api/v2.0/projects/beta/immutabletagrules").await;
    assert_eq!(rules.header("x-total-count"), Some("1"));
}
