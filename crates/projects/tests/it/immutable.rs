//! Immutable tags: the rules over REST, and that no path moves or deletes what they cover (AZ-05, AZ-11).

use catalog::Error;
use oci::Reference;
use serde_json::{Value, json};

use crate::support::{CONFIG, LAYER};
use crate::world::World;

const RULES: &str = "/api/v2.0/projects/alpha/immutabletagrules";

fn rule(repository: &str, tag: &str) -> Value {
    json!({
        "action": "immutable", "template": "immutable_template", "id": 7, "project_id": 99, "priority": 0,
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": tag}],
        "scope_selectors": {"repository":
            [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repository}]},
    })
}

#[actix_web::test]
async fn life_of_a_rule() {
    let world = World::new().await;
    world.project("ana", "alpha", false).await;
    world.project("ana", "beta", false).await;
    assert_eq!(world.get("ana", RULES).await.body, "[]");
    let created = world.send("ana", "POST", RULES, rule("**", "v*")).await;
    assert_eq!((created.status, created.body.as_str()), (201, ""), "{}", created.body);
    let location = created.header("location").unwrap().to_owned();
    let id: i64 = location.strip_prefix(RULES).unwrap()[1..].parse().unwrap();
    let again = world.send("ana", "POST", RULES, rule("**", "v*")).await;
    assert_eq!((again.status, again.code().as_str()), (409, "CONFLICT"));

    let listed = world.get("ana", RULES).await;
    assert_eq!(listed.header("x-total-count"), Some("1"));
    let mut expected = rule("**", "v*");
    expected["id"] = json!(id);
    expected.as_object_mut().unwrap().retain(|key, _| key != "project_id" && key != "priority");
    assert_eq!(listed.json()[0], expected);
    assert_eq!(world.get("ana", &format!("{RULES}?q=disabled%3Dtrue")).await.body, "[]");
    assert_eq!(world.get("ana", &format!("{RULES}?q=tag_matches%3Dx")).await.status, 400);

    let mut other = rule("**", "r*");
    other["disabled"] = json!(true);
    let changed = world.send("ana", "PUT", &location, other).await;
    assert_eq!((changed.status, changed.body.as_str()), (200, ""));
    let listed = world.get("ana", RULES).await.json();
    assert_eq!(
        (&listed[0]["disabled"], &listed[0]["tag_selectors"][0]["pattern"]),
        (&json!(true), &json!("r*"))
    );

    // AU-20: through another project the rule does not exist.
    let foreign = format!("/api/v2.0/projects/beta/immutabletagrules/{id}");
    let unknown = "/api/v2.0/projects/beta/immutabletagrules/4711";
    for method in ["PUT", "DELETE"] {
        let one = world.send("ana", method, &foreign, rule("**", "x")).await;
        let other = world.send("ana", method, unknown, rule("**", "x")).await;
        assert_eq!((one.status, other.status), (404, 404));
        assert_eq!(one.body.replace(&id.to_string(), "4711"), other.body);
    }
    assert_eq!(world.send("ben", "DELETE", &location, Value::Null).await.status, 403);
    assert_eq!(world.send("", "DELETE", &location, Value::Null).await.status, 401);
    assert_eq!(world.send("ana", "DELETE", &location, Value::Null).await.status, 200);
    assert_eq!(world.send("ana", "DELETE", &location, Value::Null).await.status, 404);
    for action in ["immutable_rule_create", "immutable_rule_update", "immutable_rule_delete"] {
        assert_eq!(world.acts(action).await, 1, "{action}");
    }
}

#[actix_web::test]
async fn what_a_rule_may_not_be() {
    let world = World::new().await;
    world.project("ana", "alpha", false).await;
    let refused = |change: fn(&mut Value)| {
        let mut input = rule("**", "v*");
        change(&mut input);
        input
    };
    for input in [
        json!({}),
        refused(|rule| rule["template"] = json!("latestPushedK")),
        refused(|rule| rule["tag_selectors"] = json!([])),
        refused(|rule| rule["tag_selectors"][0]["kind"] = json!("regex")),
        refused(|rule| rule["tag_selectors"][0]["decoration"] = json!("repoMatches")),
        refused(|rule| rule["tag_selectors"][0]["pattern"] = json!("{{{")),
        refused(|rule| rule["tag_selectors"][0]["pattern"] = json!("a".repeat(256))),
        refused(|rule| rule["scope_selectors"] = json!({})),
        refused(|rule| rule["scope_selectors"] = json!({"galaxy": []})),
    ] {
        let answer = world.send("ana", "POST", RULES, input.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{input}");
    }
    // DS-08: what is taken is matched by an engine that cannot be driven into the ground.
    for pattern in ["(a+)+$", &"**/".repeat(80), &"*a".repeat(120), &"{a,b}".repeat(40)] {
        let answer = world.send("ana", "POST", RULES, rule(pattern, pattern)).await;
        assert_eq!(answer.status, 201, "{pattern}: {}", answer.body);
    }
    for number in 0..11 {
        let answer = world.send("ana", "POST", RULES, rule("**", &format!("n{number}"))).await;
        assert_eq!(answer.status, 201);
    }
    let answer = world.send("ana", "POST", RULES, rule("**", "one-more")).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"));
    // With all of them in force a push is judged as always.
    let id = world.get("ana", "/api/v2.0/projects/alpha").await.json()["project_id"].as_i64().unwrap();
    world.image(id, "alpha/a/b", &"a".repeat(120), b"layer").await;
}

#[actix_web::test]
async fn no_path_moves_or_deletes_an_immutable_tag() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let digest = world.image(id, "alpha/team/app", "v1", b"one").await;
    world.image(id, "alpha/other", "v1", b"one").await;
    let mut input = rule("team/**", "v*");
    input["tag_selectors"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kind": "doublestar", "decoration": "excludes", "pattern": "*-rc"}));
    let location = world.send("ana", "POST", RULES, input).await.header("location").unwrap().to_owned();

    let refused = |result: Result<oci::Digest, Error>, tag: &str| match result {
        Err(Error::TagImmutable { repository, tag: found }) => {
            assert_eq!((repository.as_str(), found.as_str()), ("alpha/team/app", tag));
        }
        other => panic!("{tag}: {other:?}"),
    };
    let two = (&b"two"[..], LAYER);
    let push = async |tags: &[&str]| {
        world.artifact(id, "alpha/team/app", tags, (b"{}", CONFIG), &[two], json!({})).await
    };
    refused(push(&["v1"]).await, "v1");
    refused(push(&["a", "b", "v1"]).await, "v1");
    assert!(
        world.get("ana", "/api/v2.0/projects/alpha/repositories/team%2Fapp/artifacts/a").await.status == 404
    );
    // A new tag may come, once; what the rule leaves out may move.
    let second = push(&["v2", "v2-rc", "latest"]).await.unwrap();
    refused(push(&["v2"]).await, "v2");
    push(&["v2-rc", "latest"]).await.unwrap();
    // Signatures of older clients are exempt.
    let signature = format!("sha256-{}.sig", digest.hex());
    let mut all = rule("**", "**");
    all["priority"] = json!(2);
    let all = world.send("ana", "POST", RULES, all).await.header("location").unwrap().to_owned();
    push(&[&signature]).await.unwrap();
    push(&[&signature]).await.unwrap();
    assert_eq!(world.send("ana", "DELETE", &all, Value::Null).await.status, 200);

    let base = "/api/v2.0/projects/alpha/repositories/team%252Fapp";
    for path in ["", "/artifacts/v1", &format!("/artifacts/{digest}"), "/artifacts/v1/tags/v1"] {
        let answer = world.send("ana", "DELETE", &format!("{base}{path}"), Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (412, "PRECONDITION"), "{path}");
        assert!(answer.body.contains("configured as immutable"), "{}", answer.body);
    }
    let deletion = world.deletion(id, "alpha/team/app");
    for reference in [Reference::Tag("v1".parse().unwrap()), Reference::Digest(digest.clone())] {
        let result = world.catalog.manifests.delete(&deletion, &reference).await;
        refused(result.map(|()| digest.clone()), "v1");
    }
    let read = world.get("ana", &format!("{base}/artifacts/v1")).await.json();
    assert_eq!(read["digest"], digest.to_string());
    // A tag that exists cannot be created: what it is beside that does not matter.
    for tag in ["v1", "v2-rc"] {
        let path = format!("{base}/artifacts/{second}/tags");
        let answer = world.send("ana", "POST", &path, json!({ "name": tag })).await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "CONFLICT"), "{tag}: {}", answer.body);
    }
    assert_eq!(world.get("ana", &format!("{base}/artifacts/v1")).await.json()["digest"], read["digest"]);
    // Only when asked for, in the list and alone.
    assert_eq!(read["tags"][0]["immutable"], false);
    let read = world.get("ana", &format!("{base}/artifacts/v1?with_immutable_status=true")).await.json();
    assert_eq!(read["tags"][0]["immutable"], true);
    let tags = format!("{base}/artifacts/{second}/tags?with_immutable_status=true&sort=name");
    let tags: Vec<_> = world
        .get("ana", &tags)
        .await
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| (tag["name"].as_str().unwrap().to_owned(), tag["immutable"].as_bool().unwrap()))
        .collect();
    let expected = [("latest", false), (signature.as_str(), false), ("v2", true), ("v2-rc", false)];
    assert_eq!(tags, expected.map(|(name, immutable)| (name.to_owned(), immutable)));

    // A repository the rule does not name, and the same things once it is switched off.
    assert_eq!(
        world.send("ana", "DELETE", "/api/v2.0/projects/alpha/repositories/other", Value::Null).await.status,
        200
    );
    let mut off = rule("team/**", "v*");
    off["disabled"] = json!(true);
    assert_eq!(world.send("ana", "PUT", &location, off).await.status, 200);
    push(&["v1"]).await.unwrap();
    assert_eq!(world.send("ana", "DELETE", base, Value::Null).await.status, 200);
    // The rules go with their project.
    assert_eq!(world.send("ana", "DELETE", "/api/v2.0/projects/alpha", Value::Null).await.status, 200);
    let left: i64 = world.count("select count(*) from catalog.immutable_rules").await;
    assert_eq!(left, 0);
}

/// AZ-05: judged inside the transaction. Many pushes race for one new tag; one makes it, the others are refused.
#[actix_web::test]
async fn racing_pushes_make_an_immutable_tag_once() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    assert_eq!(world.send("ana", "POST", RULES, rule("**", "**")).await.status, 201);
    let layers: Vec<Vec<u8>> = (0..6u8).map(|number| vec![number]).collect();
    let world = &world;
    let pushes = layers.iter().map(|layer| async move {
        let layers = [(layer.as_slice(), LAYER)];
        world.artifact(id, "alpha/app", &["v1"], (b"{}", CONFIG), &layers, Value::Null).await
    });
    // Pushes of any other error would show here as well.
    let results = futures_util::future::join_all(pushes).await;
    let made: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(made.len(), 1, "{results:?}");
    assert!(
        results.iter().all(|result| matches!(result, Ok(_) | Err(Error::TagImmutable { .. }))),
        "{results:?}"
    );
    let read = world.get("ana", "/api/v2.0/projects/alpha/repositories/app/artifacts/v1").await.json();
    assert_eq!(read["digest"], made[0].to_string());
}
