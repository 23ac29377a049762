//! Personal access tokens over REST.

use actix_web::test::TestRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{Answer, PASSWORD, World};

const OWN: &str = "/api/v2.0/users/current/tokens";

/// As `user` with another secret than the password.
async fn with(world: &World, user: &str, secret: &str, method: &str, path: &str, body: Value) -> Answer {
    let credentials = STANDARD.encode(format!("{user}:{secret}"));
    let mut request = TestRequest::with_uri(path)
        .method(method.parse().unwrap())
        .insert_header(("authorization", format!("Basic {credentials}")));
    if !body.is_null() {
        request = request.set_json(body);
    }
    world.send_raw(request).await
}

/// Makes a token and returns its path and secret.
async fn made(world: &World, user: &str, input: Value) -> (String, String) {
    let answer = world.send(user, "POST", OWN, input).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let body = answer.json();
    let path = answer.header("location").unwrap().to_owned();
    assert_eq!(path, format!("{OWN}/{}", body["id"]));
    (path, body["secret"].as_str().unwrap().to_owned())
}

#[actix_web::test]
async fn life_of_an_access_token() {
    let world = World::new().await;
    let (path, secret) = made(&world, "ana", json!({"name": "ci", "scopes": ["api", "api"]})).await;
    assert!(secret.starts_with("hyt_") && secret.len() == 47, "{secret}");
    // By name or address, in any case; never with somebody else's name.
    for (name, status) in [("ana", 200), ("ANA", 200), ("ana@example.com", 200), ("ben", 401), ("", 401)] {
        let answer = with(&world, name, &secret, "GET", "/api/v2.0/users/current", Value::Null).await;
        assert_eq!(answer.status, status, "{name}");
        if status == 200 {
            assert_eq!(answer.json()["username"], "ana");
        }
    }
    let list = world.get("ana", OWN).await;
    let row = &list.json()[0];
    assert_eq!(
        (&row["name"], &row["scopes"], &row["all_projects"]),
        (&json!("ci"), &json!(["api"]), &json!(true))
    );
    assert!(row["last_used_at"].is_string(), "{row}");
    assert!(!list.body.contains("hyt_") && !list.body.contains("sha256"), "{}", list.body);

    for (input, status) in [
        (json!({"name": "ci", "scopes": ["pull"]}), 409),
        (json!({"name": "", "scopes": ["pull"]}), 400),
        (json!({"name": "x"}), 400),
        (json!({"name": "x", "scopes": ["admin"]}), 400),
        (json!({"name": "x", "scopes": ["pull"], "expires_at": "2020-01-01T00:00:00Z"}), 400),
        (json!({"name": "x", "scopes": ["pull"], "expires_at": "soon"}), 400),
        (json!({"name": "x", "scopes": ["pull"], "projects": ["nowhere"]}), 400),
    ] {
        let answer = world.send("ana", "POST", OWN, input.clone()).await;
        assert_eq!(answer.status, status, "{input}: {}", answer.body);
    }
    // A hidden project is refused like a missing one.
    world.project("ben", "bens", false).await;
    let hidden =
        world.send("ana", "POST", OWN, json!({"name": "x", "scopes": ["pull"], "projects": ["bens"]})).await;
    let missing =
        world.send("ana", "POST", OWN, json!({"name": "x", "scopes": ["pull"], "projects": ["nope"]})).await;
    assert_eq!((hidden.status, hidden.body.replace("bens", "nope")), (400, missing.body));

    assert_eq!(list.header("x-total-count"), Some("1"));
    assert_eq!(world.get("ana", &format!("{OWN}?page=2")).await.json(), json!([]));

    // A token makes no tokens, sets no password, and is no password.
    let denied = with(&world, "ana", &secret, "POST", OWN, json!({"name": "y", "scopes": ["api"]})).await;
    assert_eq!(denied.status, 403);
    assert_eq!(with(&world, "ana", &secret, "DELETE", &path, Value::Null).await.status, 403);
    let change = json!({"old_password": PASSWORD, "new_password": "Another-1"});
    let password = "/api/v2.0/users/2/password";
    assert_eq!(with(&world, "ana", &secret, "PUT", password, change).await.status, 403);
    let change = json!({"old_password": secret, "new_password": "Another-1"});
    assert_eq!(world.send("ana", "PUT", password, change).await.status, 403);

    // Only one's own, and only their own id under another account.
    assert_eq!(world.send("ben", "DELETE", &path, Value::Null).await.status, 404);
    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 404);
    let ended = with(&world, "ana", &secret, "GET", "/api/v2.0/users/current", Value::Null).await;
    assert_eq!(ended.status, 401, "at once in this process");
}

#[actix_web::test]
async fn administrators_see_tokens_and_never_secrets() {
    let world = World::new().await;
    let twin = "/api/v2.0/users/2/tokens";
    let (_, secret) = made(&world, "ana", json!({"name": "ci", "scopes": ["api"]})).await;
    let list = world.get("admin", twin).await;
    assert_eq!((list.status, &list.json()[0]["name"]), (200, &json!("ci")));
    assert!(!list.body.contains("hyt_") && !list.body.contains("secret"), "{}", list.body);
    assert_eq!(world.get("ben", twin).await.status, 403);
    assert_eq!(world.get("", twin).await.status, 401);
    assert_eq!(world.get("admin", "/api/v2.0/users/4711/tokens").await.status, 404);
    let body = json!({"name": "svc", "scopes": ["api:read"]});
    let answer = world.send("admin", "POST", twin, body.clone()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let svc = answer.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(
        with(&world, "ana", &svc, "GET", OWN, Value::Null).await.status,
        403,
        "managed by password only"
    );
    assert_eq!(with(&world, "ana", &svc, "GET", "/api/v2.0/users/2", Value::Null).await.status, 200);
    assert_eq!(world.send("admin", "POST", "/api/v2.0/users/4711/tokens", body).await.status, 404);

    // An account that ends takes its tokens along.
    assert_eq!(world.send("admin", "DELETE", "/api/v2.0/users/2", Value::Null).await.status, 200);
    for secret in [&secret, &svc] {
        let answer = with(&world, "ana", secret, "GET", "/api/v2.0/users/current", Value::Null).await;
        assert_eq!(answer.status, 401);
    }
}

#[actix_web::test]
async fn az_22_scopes_and_projects_narrow_every_right() {
    let world = World::new().await;
    world.project("ana", "alpha", false).await;
    world.project("ana", "beta", false).await;
    world.project("ben", "open", true).await;
    let token = |name: &str, scopes: Value, projects: Value| json!({"name": name, "scopes": scopes, "projects": projects});
    let (_, content) =
        made(&world, "ana", token("content", json!(["pull", "push", "delete"]), json!([]))).await;
    let (_, reader) = made(&world, "ana", token("reader", json!(["api:read"]), json!([]))).await;
    let (_, alpha) = made(&world, "ana", token("alpha", json!(["api"]), json!(["alpha"]))).await;
    let (_, root) = made(&world, "admin", token("root", json!(["api"]), json!([]))).await;
    let (_, narrow) = made(&world, "admin", token("narrow", json!(["api"]), json!(["alpha"]))).await;
    let (_, watcher) = made(&world, "admin", token("watcher", json!(["api:read"]), json!([]))).await;
    let project = |name: &str| format!("/api/v2.0/projects/{name}");
    let update = json!({"metadata": {"public": "false"}});
    for (user, secret, method, path, status) in [
        // Scopes of content open nothing here, public or not.
        ("ana", &content, "GET", project("alpha"), 403),
        ("ana", &content, "GET", "/api/v2.0/projects".to_owned(), 403),
        ("ana", &content, "GET", "/api/v2.0/users/current".to_owned(), 403),
        ("ana", &content, "GET", "/api/v2.0/ping".to_owned(), 200),
        ("ana", &reader, "GET", project("alpha"), 200),
        ("ana", &reader, "PUT", project("alpha"), 403),
        ("ana", &reader, "DELETE", project("beta"), 403),
        ("ana", &reader, "GET", "/api/v2.0/users/2".to_owned(), 200),
        ("ana", &alpha, "GET", project("alpha"), 200),
        ("ana", &alpha, "PUT", project("alpha"), 200),
        ("ana", &alpha, "GET", project("beta"), 403),
        ("ana", &alpha, "GET", project("open"), 403),
        ("ana", &alpha, "PUT", "/api/v2.0/users/2".to_owned(), 403),
        ("admin", &root, "GET", project("beta"), 200),
        ("admin", &root, "GET", "/api/v2.0/users".to_owned(), 200),
        ("admin", &root, "PUT", "/api/v2.0/users/2/sysadmin".to_owned(), 403),
        ("admin", &narrow, "GET", project("alpha"), 200),
        ("admin", &narrow, "GET", project("beta"), 403),
        ("admin", &narrow, "GET", "/api/v2.0/users".to_owned(), 403),
        ("admin", &narrow, "GET", "/api/v2.0/robots".to_owned(), 403),
        ("admin", &watcher, "GET", "/api/v2.0/users".to_owned(), 200),
        ("admin", &watcher, "DELETE", "/api/v2.0/users/3".to_owned(), 403),
    ] {
        let body = match (method, path.contains("sysadmin")) {
            ("PUT", true) => json!({"sysadmin_flag": true}),
            ("PUT", false) => update.clone(),
            _ => Value::Null,
        };
        let answer = with(&world, user, secret, method, &path, body).await;
        assert_eq!(answer.status, status, "{user} {method} {path}: {}", answer.body);
    }
    let names = |answer: Answer| -> Vec<String> {
        answer.json().as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let list = "/api/v2.0/projects";
    assert_eq!(names(with(&world, "ana", &alpha, "GET", list, Value::Null).await), ["alpha"]);
    assert_eq!(names(with(&world, "admin", &narrow, "GET", list, Value::Null).await), ["alpha"]);
    assert_eq!(
        names(with(&world, "ana", &reader, "GET", list, Value::Null).await),
        ["alpha", "beta", "open"]
    );
    let create = json!({"project_name": "gamma"});
    assert_eq!(with(&world, "ana", &alpha, "POST", list, create.clone()).await.status, 403);
    assert_eq!(with(&world, "ana", &reader, "POST", list, create.clone()).await.status, 403);
    assert_eq!(with(&world, "admin", &root, "POST", list, create).await.status, 201);
    let head = |name: &str| format!("{list}?project_name={name}");
    assert_eq!(with(&world, "ana", &alpha, "HEAD", &head("alpha"), Value::Null).await.status, 200);
    for hidden in ["beta", "open", "missing"] {
        assert_eq!(
            with(&world, "ana", &alpha, "HEAD", &head(hidden), Value::Null).await.status,
            404,
            "{hidden}"
        );
    }
    // Its only project is gone: nothing is left, which is not the same as no limit.
    assert_eq!(world.send("ana", "DELETE", &project("alpha"), Value::Null).await.status, 200);
    assert_eq!(with(&world, "ana", &alpha, "GET", list, Value::Null).await.json(), json!([]));
    let row = world.get("ana", OWN).await.json()[0].clone();
    assert_eq!((&row["projects"], &row["all_projects"]), (&json!([]), &json!(false)), "{row}");
}

/// Whoever guesses secrets of access tokens is stopped like one who guesses passwords, with the account's own secrets as
/// well, and its owner comes in from elsewhere.
#[actix_web::test]
async fn guesses_of_access_tokens_are_throttled() {
    let world = World::new().await;
    let (_, secret) = made(&world, "ana", json!({"name": "ci", "scopes": ["api"]})).await;
    let from = async |peer: &str, secret: &str| {
        let credentials = STANDARD.encode(format!("ana:{secret}"));
        let request = TestRequest::with_uri("/api/v2.0/users/current")
            .insert_header(("authorization", format!("Basic {credentials}")))
            .insert_header(("x-hythe-peer", peer));
        world.send_raw(request).await
    };
    assert_eq!(from("192.0.2.1", &secret).await.status, 200);
    let mut statuses = Vec::new();
    for guess in 0..10 {
        let answer = from("192.0.2.1", &format!("hyt_{guess:043}")).await;
        statuses.push(answer.status);
        if answer.status == 429 {
            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
            break;
        }
    }
    assert!((3..10).contains(&statuses.len()) && statuses.ends_with(&[401, 429]), "{statuses:?}");
    for right in [secret.as_str(), PASSWORD] {
        assert_eq!(from("192.0.2.1", right).await.status, 429);
        assert_eq!(from("192.0.2.2", right).await.status, 200);
    }
    let failures = "select count(*) from audit.entries where action = 'login' and outcome = 'failed'";
    assert_eq!(world.number(failures).await, statuses.len() as i64 - 1);
}
