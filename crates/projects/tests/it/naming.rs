//! Naming rules: the policies over REST, that no path makes a name they refuse, and what breaks them today.

use catalog::{Error, PushTarget};
use oci::manifest::OCI_MANIFEST;
use oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::support::{CONFIG, LAYER, manifest};
use crate::world::{Answer, World};

const SYSTEM: &str = "/api/v2.0/system/naming-policy";
const POLICY: &str = "/api/v2.0/projects/alpha/naming-policy";
const REPORT: &str = "/api/v2.0/projects/alpha/naming-report";

fn rule(target: &str, pattern: &str, message: &str, mode: &str) -> Value {
    json!({"target": target, "pattern": pattern, "message": message, "mode": mode})
}

async fn set(world: &World, user: &str, path: &str, rules: Value) -> Answer {
    world.send(user, "PUT", path, json!({"rules": rules, "id": 7})).await
}

#[actix_web::test]
async fn life_of_a_policy() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    for path in [SYSTEM, POLICY] {
        assert_eq!(world.get("admin", path).await.body, r#"{"rules":[]}"#);
    }
    let strict = rule("tag", "v[0-9]+", "use a version", "enforce");
    let put = set(
        &world,
        "ana",
        POLICY,
        json!([{"target": "tag", "pattern": "v[0-9]+", "message": "use a version"}]),
    );
    let put = put.await;
    assert_eq!((put.status, put.body.as_str()), (200, ""));
    // What was left out has its default, in the answer as well.
    assert_eq!(world.get("ana", POLICY).await.json(), json!({"rules": [strict]}));
    // A developer may read and not write; the installation is for who administers it.
    world.member("ana", id, "ben", 2).await;
    assert_eq!(world.get("ben", POLICY).await.status, 200);
    assert_eq!(set(&world, "ben", POLICY, json!([])).await.status, 403);
    assert_eq!(world.get("ana", SYSTEM).await.status, 403);
    assert_eq!(set(&world, "ana", SYSTEM, json!([])).await.status, 403);
    assert_eq!(world.get("", SYSTEM).await.status, 401);
    assert_eq!(world.get("", POLICY).await.status, 401);

    for bad in [
        json!([{"target": "project", "pattern": "a"}]),
        json!([{"target": "tag", "pattern": "a", "mode": "shout"}]),
        json!([{"target": "tag"}]),
        json!([{"target": "tag", "pattern": ""}]),
        json!([{"target": "tag", "pattern": "("}]),
        json!([{"target": "tag", "pattern": "a)|(b"}]),
        json!([{"target": "tag", "pattern": "(?=a)a"}]),
        json!([{"target": "tag", "pattern": "((a{99}){99}){99}"}]),
        json!([{"target": "tag", "pattern": "a", "message": "two\nlines"}]),
        Value::Array(vec![json!({"target": "tag", "pattern": "a"}); 21]),
        Value::Null,
    ] {
        let refused = set(&world, "ana", POLICY, bad.clone()).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "BAD_REQUEST"), "{bad}");
    }
    assert_eq!(world.send("ana", "PUT", POLICY, json!({})).await.status, 400);
    assert_eq!(world.get("ana", POLICY).await.json(), json!({"rules": [strict]}), "nothing was changed");
    assert_eq!(set(&world, "admin", SYSTEM, json!([strict])).await.status, 200);
    assert_eq!(world.acts("naming_policy_update").await, 2);
    // The rules go with their project; those of the installation stay.
    assert_eq!(world.send("ana", "DELETE", "/api/v2.0/projects/alpha", Value::Null).await.status, 200);
    assert_eq!(world.number("select count(*) from catalog.naming_policies").await, 1);
}

#[actix_web::test]
async fn no_path_makes_a_name_that_is_refused() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let other = world.project("ana", "beta", false).await;
    let old = world.image(id, "alpha/old", "old", b"old").await;
    let source = world.image(other, "beta/source", "bad", b"source").await;
    let rules = json!([
        rule("repository", "team/[a-z]+", "begin with team/", "enforce"),
        rule("tag", "v[0-9]+", "use a version", "enforce"),
    ]);
    assert_eq!(set(&world, "ana", POLICY, rules).await.status, 200);
    let push = async |name: &str, tags: &[&str], layer: &[u8]| {
        world.artifact(id, name, tags, (b"{}", CONFIG), &[(layer, LAYER)], json!({})).await
    };
    let refused = |result: Result<Digest, Error>, text: &str| match result {
        Err(Error::NameRefused(message)) => assert!(message.contains(text), "{message}"),
        other => panic!("{text}: {other:?}"),
    };
    refused(
        push("alpha/app", &["v1"], b"1").await,
        "the repository name app breaks a naming rule of the project: begin with team/",
    );
    refused(
        push("alpha/team/app", &["latest"], b"1").await,
        "the tag latest breaks a naming rule of the project: use a version",
    );
    refused(push("alpha/team/app", &["v1", "v2", "v3-rc"], b"1").await, "v3-rc");
    // Without a tag the name of the repository counts as well.
    refused(push("alpha/app", &[], b"1").await, "begin with team/");
    assert_eq!(
        world.get("ana", "/api/v2.0/projects/alpha/repositories").await.header("x-total-count"),
        Some("1")
    );
    let digest = push("alpha/team/app", &["v1", "v2"], b"1").await.unwrap();
    // What exists can be pushed to and moved; a new tag beside it has to follow the rules.
    push("alpha/old", &["old"], b"2").await.unwrap();
    refused(push("alpha/old", &["old", "new"], b"3").await, "the tag new");
    // Signatures are made by a rule of the protocol.
    push("alpha/team/app", &[&format!("sha256-{}.sig", digest.hex())], b"4").await.unwrap();

    // The REST paths: a tag, a copy, and a tag that comes back.
    let base = "/api/v2.0/projects/alpha/repositories/team%252Fapp";
    let precondition = |answer: Answer, text: &str| {
        assert_eq!((answer.status, answer.code().as_str()), (412, "PRECONDITION"), "{}", answer.body);
        assert!(answer.body.contains(text), "{}", answer.body);
    };
    let tags = format!("{base}/artifacts/{digest}/tags");
    precondition(world.send("ana", "POST", &tags, json!({"name": "latest"})).await, "use a version");
    assert_eq!(world.send("ana", "POST", &tags, json!({"name": "v7"})).await.status, 201);
    let copy = format!("{base}/artifacts?from=beta/source@{source}");
    precondition(world.send("ana", "POST", &copy, Value::Null).await, "the tag bad");
    let copy = "/api/v2.0/projects/alpha/repositories/elsewhere/artifacts?from=alpha/team/app:v1";
    precondition(world.send("ana", "POST", copy, Value::Null).await, "begin with team/");
    let copy = "/api/v2.0/projects/alpha/repositories/team%252Fcopy/artifacts?from=alpha/team/app:v1";
    assert_eq!(world.send("ana", "POST", copy, Value::Null).await.status, 201);
    let path = "/api/v2.0/projects/alpha/repositories/old";
    let restore = format!("{path}/tags/old/restore");
    let body = json!({"digest": old.to_string(), "overwrite": true});
    assert_eq!(world.send("ana", "POST", &restore, body.clone()).await.status, 201, "the tag was moved only");
    assert_eq!(
        world.send("ana", "DELETE", &format!("{path}/artifacts/{old}/tags/old"), Value::Null).await.status,
        200
    );
    precondition(world.send("ana", "POST", &restore, body).await, "use a version");

    // Rules of the installation hold beside those of the project.
    let system = json!([rule("tag", "v[1-8]", "", "enforce")]);
    assert_eq!(set(&world, "admin", SYSTEM, system).await.status, 200);
    refused(
        push("alpha/team/app", &["v9"], b"5").await,
        "naming rule of the installation: it has to match v[1-8]",
    );
    push("alpha/team/app", &["v8"], b"5").await.unwrap();
}

#[actix_web::test]
async fn a_warning_lets_the_name_through_and_says_so() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let first = world.image(id, "alpha/app", "old", b"one").await;
    let rules = json!([rule("tag", "v[0-9]+", "use a \"version\", bitte schön", "warn")]);
    assert_eq!(set(&world, "ana", POLICY, rules).await.status, 200);
    let warning = |name: &str| {
        format!("the tag {name} breaks a naming rule of the project: use a \"version\", bitte schön")
    };
    let header = |name: &str| {
        format!(
            "299 - \"the tag {name} breaks a naming rule of the project: use a \\\"version\\\", bitte sch?n\""
        )
    };
    world.blob(id, "alpha/app", b"{}").await;
    world.blob(id, "alpha/app", b"two").await;
    let payload = manifest((b"{}", CONFIG), &[(b"two", LAYER)], json!({})).to_string();
    let target = PushTarget {
        digest: Some(Digest::of(Algorithm::Sha256, payload.as_bytes())),
        tags: ["old", "v1", "a", "b"].map(|tag| tag.parse().unwrap()).to_vec(),
    };
    let push = world.push(id, "alpha/app");
    let pushed =
        world.catalog.manifests.put(&push, target, Some(OCI_MANIFEST), payload.into()).await.unwrap();
    assert_eq!(pushed.warnings, [warning("a"), warning("b")]);

    let base = "/api/v2.0/projects/alpha/repositories/app";
    let tags = format!("{base}/artifacts/{first}/tags");
    let made = world.send("ana", "POST", &tags, json!({"name": "c"})).await;
    assert_eq!((made.status, made.header("warning")), (201, Some(header("c").as_str())));
    let made = world.send("ana", "POST", &tags, json!({"name": "v2"})).await;
    assert_eq!((made.status, made.header("warning")), (201, None));
    let copy = "/api/v2.0/projects/alpha/repositories/copy/artifacts?from=alpha/app:c";
    let copied = world.send("ana", "POST", copy, Value::Null).await;
    assert_eq!((copied.status, copied.headers.get_all("warning").count()), (201, 1), "{}", copied.body);
}

/// Every finding of a report, and the number of its pages.
async fn walk(world: &World, user: &str, path: &str, size: usize) -> (Vec<Value>, usize) {
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut next = Some(format!("{path}?page_size={size}"));
    while let Some(path) = next {
        let answer = world.get(user, &path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let rows = answer.json();
        assert!(rows.as_array().unwrap().len() <= size);
        found.extend(rows.as_array().unwrap().iter().cloned());
        pages += 1;
        assert!(pages < 100, "a report has to end");
        next = answer.header("link").map(|link| {
            let (path, relation) = link.split_once('>').unwrap();
            assert_eq!(relation, "; rel=\"next\"");
            path[1..].to_owned()
        });
    }
    (found, pages)
}

#[actix_web::test]
async fn what_breaks_the_rules_today() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let other = world.project("ben", "beta", false).await;
    for (project, name, tag) in [
        (id, "alpha/app", "v1"),
        (id, "alpha/app", "latest"),
        (id, "alpha/app", "nightly"),
        (id, "alpha/tool", "v1"),
        (other, "beta/app", "latest"),
    ] {
        world.image(project, name, tag, format!("{name}{tag}").as_bytes()).await;
    }
    assert_eq!(world.get("ana", REPORT).await.body, "[]", "without rules");
    let version = rule("tag", "v[0-9]+", "use a version", "warn");
    let short = rule("tag", ".{2,6}", "", "enforce");
    let team = rule("repository", "t.*", "", "enforce");
    assert_eq!(set(&world, "admin", SYSTEM, json!([short])).await.status, 200);
    assert_eq!(set(&world, "ana", POLICY, json!([version, team])).await.status, 200);
    let finding = |repository: &str, tag: Option<&str>, rule: &Value| {
        let mut finding = rule.clone();
        finding["project_name"] = json!(repository.split('/').next());
        finding["repository_name"] = json!(repository);
        if let Some(tag) = tag {
            finding["tag"] = json!(tag);
        }
        finding
    };
    let expected = [
        finding("alpha/app", None, &team),
        finding("alpha/app", Some("latest"), &version),
        finding("alpha/app", Some("nightly"), &short),
        finding("alpha/app", Some("nightly"), &version),
    ];
    // Pages that end inside the findings of one name, and between names.
    for size in 1..=5 {
        let (found, pages) = walk(&world, "ana", REPORT, size).await;
        assert_eq!(found, expected, "by {size}");
        assert_eq!(pages, expected.len().div_ceil(size));
    }
    assert_eq!(world.get("ana", REPORT).await.header("x-total-count"), Some("4"));
    assert_eq!(world.get("ana", &format!("{REPORT}?page_size=1")).await.header("x-total-count"), None);
    // That of the installation: its own rules, everywhere.
    let (found, _) = walk(&world, "admin", "/api/v2.0/system/naming-report", 10).await;
    assert_eq!(found, [finding("alpha/app", Some("nightly"), &short)]);
    assert_eq!(world.get("ana", "/api/v2.0/system/naming-report").await.status, 403);
    assert_eq!(world.get("ben", REPORT).await.status, 403);
    for after in ["x", "1:2:3", "1:alpha/app:-:0", "1:alpha/app::-1", "1:Alpha:v1:0", "1:a/b:c:0:0"] {
        let refused = world.get("ana", &format!("{REPORT}?after={after}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "BAD_REQUEST"), "{after}");
    }
    assert_eq!(world.get("ana", &format!("{REPORT}?page_size=101")).await.status, 422);
    // A place in another project shows nothing of it.
    let (found, _) = walk(&world, "ana", &format!("{REPORT}?after={other}:beta/a::0&"), 10).await;
    assert!(found.is_empty());
    // Deleted tags are gone from the report at once.
    let path = "/api/v2.0/projects/alpha/repositories/app";
    assert_eq!(world.send("ana", "DELETE", path, Value::Null).await.status, 200);
    assert_eq!(world.get("ana", REPORT).await.body, "[]");
}

#[actix_web::test]
async fn a_report_costs_the_same_however_much_there_is() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    world.image(id, "alpha/app", "v1", b"one").await;
    let rules = json!([rule("tag", "v.*", "", "enforce")]);
    assert_eq!(set(&world, "ana", POLICY, rules).await.status, 200);
    let cost = async || {
        world.get("ana", REPORT).await;
        let before = world.statements().await;
        let answer = world.get("ana", REPORT).await;
        (world.statements().await - before, answer)
    };
    let (few, answer) = cost().await;
    assert_eq!((answer.body.as_str(), answer.header("link")), ("[]", None));
    world
        .execute(
            "insert into catalog.tags (repository_id, name, manifest_id, natural_key)
             select t.repository_id, n.name, t.manifest_id, n.name from catalog.tags t,
                 (select 'v' || to_char(number, 'FM00000') || 'x' as name from generate_series(1, 12000) as number
                  union all select 'wrong') n
             where t.name = 'v1'",
        )
        .await;
    // Nothing among the first names: the page is empty, and says where to go on.
    let (many, answer) = cost().await;
    assert_eq!(many, few);
    assert_eq!(answer.body, "[]");
    assert!(answer.header("link").is_some() && answer.header("x-total-count").is_none());
    let (found, pages) = walk(&world, "ana", REPORT, 10).await;
    assert_eq!((found.len(), pages), (1, 3), "{found:?}");
    assert_eq!(found[0]["tag"], "wrong");
}

/// DS-08: what is taken as a pattern is matched in time linear in the name.
#[actix_web::test]
async fn hostile_patterns_are_matched_quickly() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let rules: Vec<Value> =
        (0..20).map(|n| rule("tag", &format!("(a|a?|(a+)+)+{n}?b?|a+"), "", "warn")).collect();
    assert_eq!(set(&world, "ana", POLICY, json!(rules)).await.status, 200);
    let tags: Vec<String> = (100..128).map(|length| "a".repeat(length)).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    world.artifact(id, "alpha/app", &tags, (b"{}", CONFIG), &[(b"layer", LAYER)], json!({})).await.unwrap();
}
