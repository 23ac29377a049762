//! What every endpoint shares: errors, credentials, bodies, paging.

use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::world::World;

#[actix_web::test]
async fn paths_and_methods_that_do_not_exist() {
    let world = World::new().await;
    for path in
        ["/api", "/api/", "/api/v2.0", "/api/v2.0/nothing", "/api/v2.0/projects/1/robots", "/api/v1/projects"]
    {
        let answer = world.get("", path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{path}");
    }
    for (method, path, allow) in [
        ("DELETE", "/api/v2.0/projects", "GET, HEAD, POST"),
        ("POST", "/api/v2.0/ping", "GET"),
        ("PATCH", "/api/v2.0/projects/x/", "GET, PUT, DELETE"),
    ] {
        let answer = world.send("", method, path, Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "METHOD_NOT_ALLOWED"), "{path}");
        assert_eq!(answer.header("allow"), Some(allow));
    }
}

#[actix_web::test]
async fn both_slash_forms() {
    let world = World::new().await;
    for path in ["/api/version", "/api/v2.0/ping", "/api/v2.0/projects", "/api/v2.0/health"] {
        assert_eq!(world.get("", path).await.status, 200, "{path}");
        assert_eq!(world.get("", &format!("{path}/?page=1")).await.status, 200, "{path}/");
    }
    assert_eq!(world.get("", "/api/v2.0/ping").await.body, "Pong");
    assert_eq!(world.get("", "/api/version").await.json(), json!({"version": "v2.0"}));
}

#[actix_web::test]
async fn wrong_credentials_are_refused_at_once() {
    let world = World::new().await;
    for value in ["Basic YW5hOndyb25n", "Basic nonsense", "Bearer abc.def.ghi", "Basic", "Digest x"] {
        let request = |path: &str| TestRequest::with_uri(path).insert_header(("authorization", value));
        for path in ["/api/v2.0/projects", "/api/v2.0/systeminfo", "/api/v2.0/users/current"] {
            let answer = world.send_raw(request(path)).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHORIZED"), "{value} {path}");
            assert!(answer.header("set-cookie").is_none());
        }
        assert_eq!(world.send_raw(request("/api/v2.0/ping")).await.status, 200);
    }
    let twice = TestRequest::with_uri("/api/v2.0/projects")
        .append_header(("authorization", "Basic YW5hOndyb25n"))
        .append_header(("authorization", "Basic YW5hOndyb25n"));
    assert_eq!(world.send_raw(twice).await.status, 401);
}

#[actix_web::test]
async fn throttling_says_when_to_come_back() {
    let world = World::new().await;
    let mut last = None;
    for _ in 0..8 {
        let wrong = TestRequest::with_uri("/api/v2.0/users/current")
            .insert_header(("authorization", "Basic YW5hOndyb25n"))
            .insert_header(("x-hythe-peer", "192.0.2.7"));
        last = Some(world.send_raw(wrong).await);
    }
    let last = last.unwrap();
    assert_eq!((last.status, last.code().as_str()), (429, "TOO_MANY_REQUEST"));
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(world.get("ana", "/api/v2.0/users/current").await.status, 200, "from elsewhere it is her");
}

#[actix_web::test]
async fn bodies() {
    let world = World::new().await;
    let credentials = "Basic YW5hOkNvcnJlY3QtaG9yc2UtMQ==";
    let post = |kind: &'static str, body: String| {
        let world = &world;
        async move {
            let request = TestRequest::post()
                .uri("/api/v2.0/projects")
                .insert_header(("authorization", credentials))
                .insert_header(("content-type", kind))
                .set_payload(body);
            let answer = world.send_raw(request).await;
            (answer.status, answer.code())
        }
    };
    let answer = |status: u16, code: &str| (status, code.to_owned());
    let json = "application/json";
    assert_eq!(post(json, String::new()).await, answer(400, "BAD_REQUEST"));
    assert_eq!(post(json, "{\"project_name\":".to_owned()).await, answer(400, "BAD_REQUEST"));
    assert_eq!(post(json, "{\"project_name\":1}".to_owned()).await, answer(400, "BAD_REQUEST"));
    assert_eq!(post(json, "[".repeat(100_000)).await, answer(400, "BAD_REQUEST"));
    assert_eq!(post("text/plain", "{}".to_owned()).await, answer(415, "UNSUPPORTED_MEDIA_TYPE"));
    let large = |bytes: usize| format!("{{\"project_name\":\"{}\"}}", "a".repeat(bytes));
    assert_eq!(post(json, large(1024 * 1024)).await, answer(413, "REQUEST_ENTITY_TOO_LARGE"));
    // Below the limit of bodies, above that of names.
    assert_eq!(post(json, large(1000 * 1000)).await, answer(400, "BAD_REQUEST"));
    assert_eq!(post("application/json; charset=utf-8", "{}".to_owned()).await, answer(400, "BAD_REQUEST"));
}

#[actix_web::test]
async fn paging() {
    let world = World::new().await;
    world.projects((0..25).map(|number| format!("p{number:02}"))).await;
    let names = |body: &Value| {
        let rows = body.as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = world.get("admin", "/api/v2.0/projects?q=name%3D~p&sort=&name=").await;
    assert_eq!((first.status, first.header("x-total-count")), (200, Some("25")));
    assert_eq!(names(&first.json()).len(), 10);
    assert_eq!(
        first.header("link"),
        Some("</api/v2.0/projects?q=name%3D~p&page=2&page_size=10>; rel=\"next\"")
    );
    // Following the links walks over every row once.
    let mut seen = names(&first.json());
    let mut next = first.header("link").map(str::to_owned);
    while let Some(link) = next {
        let url =
            link.split(" , ").find(|one| one.contains("next")).and_then(|one| one.split(['<', '>']).nth(1));
        let Some(url) = url else { break };
        let page = world.get("admin", url).await;
        seen.extend(names(&page.json()));
        next = page.header("link").map(str::to_owned);
    }
    assert_eq!(seen, (0..25).map(|number| format!("p{number:02}")).collect::<Vec<_>>());

    let past = world.get("admin", "/api/v2.0/projects?page=9").await;
    assert_eq!((past.status, past.body.as_str(), past.header("x-total-count")), (200, "[]", Some("25")));
    assert_eq!(past.header("link"), None);
    let all = world.get("admin", "/api/v2.0/projects?page_size=0").await;
    assert_eq!((names(&all.json()).len(), all.header("link")), (25, None));
    let sorted = world.get("admin", "/api/v2.0/projects?sort=-name,nonsense&page_size=1").await;
    assert_eq!(names(&sorted.json()), ["p24"]);
    for (query, status) in [
        ("page_size=101", 422),
        ("page=x", 422),
        ("public=maybe", 422),
        ("q=name", 400),
        ("q=nonsense%3D1", 400),
        ("q=owner_id%3Dx", 400),
        ("q=password_hash%3D~a", 400),
        ("q=u.password_hash%3D~a", 400),
        ("public=True", 200),
        ("q=name%253D~p", 200),
        ("q=name%3D~'%3B%20drop%20table%20tenancy.projects%3B--", 200),
        ("sort=name%3B%20drop%20table%20x", 200),
        ("page=9223372036854775807&page_size=100", 200),
    ] {
        let answer = world.get("admin", &format!("/api/v2.0/projects?{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
    }
}

#[actix_web::test]
async fn a_list_page_costs_few_statements() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", true).await;
    for number in 0..3 {
        world.image(id, "alpha/app", &format!("v{number}"), format!("layer {number}").as_bytes()).await;
    }
    // (path, statements beside the one that decides about permission)
    for (path, beside) in [
        ("/api/v2.0/projects", 3),
        ("/api/v2.0/projects/alpha/members", 2),
        ("/api/v2.0/projects/alpha/repositories", 2),
        ("/api/v2.0/repositories", 2),
        ("/api/v2.0/projects/alpha/repositories/app/artifacts", 6),
    ] {
        // A page size that makes the second statement, the count, necessary.
        let path = format!("{path}?page_size=1");
        world.get("ana", &path).await;
        let before = world.statements().await;
        assert_eq!(world.get("ana", &path).await.status, 200);
        let used = world.statements().await - before;
        assert!((2..=beside + 1).contains(&used), "{path}: {used} statements");
    }
}

#[actix_web::test]
async fn while_the_database_is_away() {
    let world = World::new().await;
    assert_eq!(world.get("", "/api/v2.0/health").await.json()["status"], "healthy");
    world.database.close().await;
    for (user, path) in
        [("", "/api/v2.0/projects"), ("ana", "/api/v2.0/users/current"), ("", "/api/v2.0/projects/1")]
    {
        let answer = world.get(user, path).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "UNKNOWN"), "{path}");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(world.get("", "/api/v2.0/ping").await.status, 200);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let health = world.get("", "/api/v2.0/health").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("unhealthy")));
    assert!(!health.body.contains("127.0.0.1") && !health.body.contains("postgres"));
}
