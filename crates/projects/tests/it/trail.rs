//! The audit trail as clients read it.

use actix_web::test::TestRequest;
use audit::Linker;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{Answer, PASSWORD, World};

const LOGS: &str = "/api/v2.0/audit-logs";
const EXTS: &str = "/api/v2.0/auditlog-exts";

/// Two projects with content; `ana` administers the first, `ben` is a guest there.
async fn world() -> (World, i64, i64) {
    let world = World::new().await;
    let alpha = world.project("ana", "alpha", false).await;
    let beta = world.project("admin", "beta", false).await;
    world.image(alpha, "alpha/app", "v1", b"layer").await;
    world.image(beta, "beta/app", "v2", b"layer").await;
    let guest = json!({"role_id": 3, "member_user": {"username": "ben"}});
    let added = world.send("ana", "POST", "/api/v2.0/projects/alpha/members", guest).await;
    assert_eq!(added.status, 201, "{}", added.body);
    (world, alpha, beta)
}

fn listed(answer: &Answer, key: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|act| act[key].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn csv(world: &World, user: &str, path: &str) -> Answer {
    let credentials = STANDARD.encode(format!("{user}:{PASSWORD}"));
    let request = TestRequest::with_uri(path)
        .insert_header(("authorization", format!("Basic {credentials}")))
        .insert_header(("accept", "text/csv"));
    world.send_raw(request).await
}

#[actix_web::test]
async fn everybody_reads_the_projects_whose_logs_they_may_list() {
    let (world, alpha, _) = world().await;
    let resources = listed(&world.get("ana", EXTS).await, "operation_description");
    assert_eq!(
        resources,
        ["create member ben", "create artifact alpha/app:v1", "create project alpha"],
        "newest first, and nothing of other projects"
    );
    assert_eq!(listed(&world.get("ben", EXTS).await, "resource"), [""; 0], "guests may not list logs");
    let all = listed(&world.get("admin", EXTS).await, "operation_description");
    assert!(
        all.contains(&"create artifact beta/app:v2".to_owned())
            && all.contains(&"create user ana".to_owned())
    );
    // A filter for a project that may not be read finds nothing.
    let hidden = world.get("ana", &format!("{EXTS}?q=resource=beta")).await;
    assert_eq!((hidden.status, hidden.body.as_str()), (200, "[]"));

    let of_project = world.get("ana", "/api/v2.0/projects/alpha/auditlog-exts").await;
    assert_eq!(listed(&of_project, "operation_description"), resources);
    assert_eq!(of_project.header("x-total-count"), Some("3"));
    assert_eq!(world.get("ben", "/api/v2.0/projects/alpha/logs").await.status, 403);
    assert_eq!(world.get("ana", "/api/v2.0/projects/beta/logs").await.status, 403);
    for path in [LOGS, EXTS, "/api/v2.0/auditlog-exts/events", "/api/v2.0/audit/verify"] {
        assert_eq!(world.get("", path).await.status, 401, "{path}");
    }
    // The refusals of those who are signed in are acts of the project themselves.
    let denied = world.get("ana", &format!("{EXTS}?q=is_successful=false")).await.json();
    assert_eq!(denied[0]["username"], "ben");
    assert_eq!((&denied[0]["action"], &denied[0]["project_id"]), (&json!("log_list"), &json!(alpha)));
}

#[actix_web::test]
async fn both_forms_have_their_fields_filters_and_pages() {
    let (world, ..) = world().await;
    let old = world.get("ana", "/api/v2.0/projects/alpha/logs").await;
    assert_eq!(listed(&old, "operation"), ["create", "create"], "content only");
    let act = &old.json()[0];
    let mut fields: Vec<_> = act.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    assert_eq!(fields, ["id", "op_time", "operation", "resource", "resource_type", "username"]);
    assert_eq!((&act["resource"], &act["resource_type"]), (&json!("alpha/app:v1"), &json!("artifact")));

    let new = world.get("ana", &format!("{EXTS}?q=operation=create,resource_type=artifact")).await.json();
    assert_eq!(new[0]["operation_result"], true);
    assert!(new[0]["resource_id"].as_str().unwrap().starts_with("sha256:"), "tag and digest: {new}");
    for (q, count) in [
        ("username=admin", 1),
        ("username=~AN", 2),
        ("op_time=%5B2001-01-01T00:00:00~%5D", 3),
        ("op_time=%5B~2001-01-01T00:00:00%5D", 0),
        ("operation_description=~member", 1),
        ("resource=%7Balpha+ben%7D", 2),
    ] {
        let answer = world.get("ana", &format!("{EXTS}?q={q}")).await;
        assert_eq!(listed(&answer, "resource").len(), count, "{q}");
    }
    for (path, status) in [
        (format!("{EXTS}?q=body_hash=~a"), 400),
        (format!("{EXTS}?q=client=x"), 400),
        (format!("{LOGS}?q=operation_result=true"), 400),
        (format!("{EXTS}?page_size=101"), 422),
        (format!("{EXTS}?sort=-username,resource,nothing"), 200),
    ] {
        assert_eq!(world.get("ana", &path).await.status, status, "{path}");
    }
    let mut walked = Vec::new();
    for page in 1..=3 {
        walked
            .extend(listed(&world.get("ana", &format!("{EXTS}?page={page}&page_size=1")).await, "resource"));
    }
    assert_eq!(walked, ["ben", "alpha/app:v1", "alpha"]);
}

#[actix_web::test]
async fn a_page_costs_the_same_whatever_there_is() {
    let (world, ..) = world().await;
    let reads = async || {
        let counts = world.database.statement_counts().await;
        let ours = |text: &String| text.contains("audit.entries e");
        counts.into_iter().filter(|(text, _)| ours(text)).map(|(_, calls)| calls).sum::<i64>()
    };
    let mut costs = Vec::new();
    for size in [1, 2] {
        let before = reads().await;
        assert_eq!(
            listed(&world.get("ana", &format!("{EXTS}?page_size={size}")).await, "resource").len(),
            size
        );
        costs.push(reads().await - before);
    }
    assert_eq!(costs, [2, 2], "a page and its count");
}

/// AU-30.
#[actix_web::test]
async fn exports_hold_everything_once_and_no_formulas() {
    let (world, ..) = world().await;
    let name = "=cmd|' /C calc'!A0";
    let refused = world.send("ben", "GET", "/api/v2.0/projects/alpha/logs", Value::Null).await;
    assert_eq!(refused.status, 403);
    world
        .send_with("ben", "GET", "/api/v2.0/projects/alpha/logs", Value::Null, &[("user-agent", name)])
        .await;
    world.projects((0..120).map(|number| format!("many-{number}"))).await;
    let answer = csv(&world, "admin", EXTS).await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<&str> = answer.body.trim_end().split("\r\n").collect();
    let total: usize = world.get("admin", EXTS).await.header("x-total-count").unwrap().parse().unwrap();
    assert_eq!(lines.len(), total + 1, "a head and every act");
    let ids: Vec<i64> =
        lines[1..].iter().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|newer, older| newer > older));
    assert!(answer.body.contains("\"'=cmd|"), "{}", answer.body);

    let of_project = csv(&world, "ana", "/api/v2.0/projects/alpha/auditlog-exts?q=operation=create").await;
    assert_eq!(of_project.body.trim_end().split("\r\n").count(), 4);
    assert_eq!(csv(&world, "ana", &format!("{EXTS}?q=nothing=1")).await.status, 400);
    assert_eq!(csv(&world, "ben", "/api/v2.0/projects/alpha/auditlog-exts").await.status, 403);
}

#[actix_web::test]
async fn the_chain_is_verified_for_administrators() {
    let (world, ..) = world().await;
    let path = "/api/v2.0/audit/verify";
    let pending = world.get("admin", path).await.json();
    assert_eq!((&pending["verified_until"], &pending["first_bad_position"]), (&json!(0), &Value::Null));
    let waiting = pending["pending"].as_i64().unwrap();
    assert!(waiting > 3);
    Linker::new((*world.database).clone()).link().await.unwrap();
    let linked = world.get("admin", path).await.json();
    assert_eq!((&linked["verified_until"], &linked["pending"]), (&json!(waiting), &json!(0)));
    assert_eq!(linked["complete"], true);
    assert_eq!(world.get("admin", &format!("{path}?after=2")).await.json()["verified_until"], waiting);
    assert_eq!(world.get("admin", &format!("{path}?after=x")).await.status, 422);
    assert_eq!(world.get("ana", path).await.status, 403);
}

#[actix_web::test]
async fn attempts_to_create_projects_are_limited_per_account() {
    let world = World::new().await;
    let create = async |user: &'static str| {
        world.send(user, "POST", "/api/v2.0/projects", json!({"project_name": "library"})).await
    };
    world.project("admin", "library", false).await;
    for _ in 0..60 {
        assert_eq!(create("ana").await.status, 409);
    }
    let limited = create("ana").await;
    assert_eq!((limited.status, limited.code().as_str()), (429, "TOO_MANY_REQUEST"));
    let seconds: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(create("ben").await.status, 409, "another account");
    assert_eq!(create("admin").await.status, 409, "who sees every project");
    let denied =
        world.get("admin", &format!("{EXTS}?q=operation=create,is_successful=false&page_size=100")).await;
    let outcomes = listed(&denied, "outcome");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "denied").count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "failed").count(), 62);
}

#[actix_web::test]
async fn event_types_are_for_those_who_read_everything() {
    let world = World::new().await;
    let types = world.get("admin", "/api/v2.0/auditlog-exts/events").await.json();
    assert_eq!(types.as_array().unwrap().len(), 18);
    assert_eq!(types[0], json!({"event_type": "create_artifact"}));
    assert_eq!(world.get("ana", "/api/v2.0/auditlog-exts/events").await.status, 403);
}
