//! The audit trail of a running platform: what is refused on `/v2` stands in it, and its chain is whole.

use std::time::Duration;

use hythe_testbed::{Bed, Options};
use reqwest::Method;
use serde_json::Value;

use crate::support::Tenants;

#[tokio::test]
async fn refusals_on_v2_are_acts_of_the_project_and_bare_challenges_are_none() {
    let Tenants { bed, bob, eve, ours, app, .. } = Tenants::new().await;
    let manifest = format!("/v2/{}/manifests/{}", app.repository, app.digest);
    bed.registry().get(&manifest).await.expect(401);
    for _ in 0..5 {
        // What is refused again is counted and no further row.
        eve.registry().get(&manifest).await.expect(401);
    }
    let scope = format!("repository:{}:pull", app.repository);
    eve.registry_with_token(&[&scope]).await.get(&manifest).await.expect(401);
    bob.registry().delete(&manifest).await.expect(401);

    let path = ours.path("/auditlog-exts?q=is_successful=false&sort=id");
    let acts = bed.admin().client().get(&path).await.expect(200).json();
    let shown: Vec<_> = acts
        .as_array()
        .expect("a list")
        .iter()
        .map(|act| {
            let text = |key: &str| act[key].as_str().unwrap_or_default().to_owned();
            assert_eq!(text("resource"), app.repository);
            assert!(!text("client_address").is_empty() && !text("request_id").is_empty(), "{act}");
            (text("username"), text("action"), text("outcome"), text("auth_method"))
        })
        .collect();
    let act = |name: &str, action: &str, method: &str| {
        (name.to_owned(), action.to_owned(), "denied".to_owned(), method.to_owned())
    };
    assert_eq!(
        shown,
        [
            act(&eve.name, "repository_pull", "password"),
            act(&eve.name, "repository_pull", "token"),
            act(&bob.name, "repository_delete", "password"),
        ]
    );
}

/// A client that tries again and again fills no table, and none of its attempts is lost when the server ends.
#[tokio::test]
async fn refusals_that_repeat_are_counted_in_one_more_entry() {
    let bed = Bed::own(Options::default()).await;
    let project = bed.project("ours").create().await;
    let repository = project.repository("app");
    bed.admin().registry().push_image(&repository, "1").await;
    let eve = bed.user("eve").await;
    for _ in 0..30 {
        eve.registry().get_manifest(&repository, "1").await.expect(401);
    }
    bed.stop();
    bed.restart().await;
    let path = project.path("/auditlog-exts?q=is_successful=false&sort=id");
    let acts = bed.admin().client().get(&path).await.expect(200).json();
    let repeated: Vec<_> =
        acts.as_array().expect("a list").iter().map(|act| act["repeated"].as_i64()).collect();
    assert_eq!(repeated, [None, Some(29)], "{acts}");
}

#[tokio::test]
async fn a_pull_is_an_act_with_tag_digest_address_and_client() {
    let Tenants { bed, bob, eve: _, ours, app, .. } = Tenants::new().await;
    let manifest = |reference: &str| format!("/v2/{}/manifests/{reference}", app.repository);
    let registry = bob.registry();
    registry.head(manifest("1")).await.expect(200);
    let answer = registry
        .request(Method::GET, manifest("1"))
        .header("user-agent", "some-client/1.0")
        .header("x-request-id", "a-pull-by-tag")
        .send()
        .await
        .expect(200);
    let digest = answer.header("docker-content-digest").to_owned();
    // A client that has it already is told so, and pulls nothing.
    let unchanged =
        registry.request(Method::GET, manifest("1")).header("if-none-match", format!("\"{digest}\""));
    unchanged.send().await.expect(304);
    registry.get(manifest(&digest)).await.expect(200);

    let path = ours.path("/auditlog-exts?q=operation=pull&sort=id");
    let acts = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let acts = bed.admin().client().get(&path).await.expect(200).json();
            let mine = acts.as_array().expect("a list").iter().filter(|act| act["username"] == bob.name);
            let mine: Vec<Value> = mine.cloned().collect();
            if mine.len() >= 2 {
                return mine;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("pulls come into the trail");
    assert_eq!(acts.len(), 2, "{acts:?}");
    let by_tag = &acts[0];
    assert_eq!(by_tag["resource"], format!("{}:1", app.repository));
    assert_eq!(by_tag["resource_id"], digest);
    assert_eq!((&by_tag["action"], &by_tag["resource_type"]), (&"artifact_pull".into(), &"artifact".into()));
    assert_eq!(
        (&by_tag["client"], &by_tag["request_id"]),
        (&"some-client/1.0".into(), &"a-pull-by-tag".into())
    );
    assert!(by_tag["client_address"].as_str().is_some_and(|address| !address.is_empty()), "{by_tag}");
    assert_eq!(acts[1]["resource"], format!("{}@{digest}", app.repository));
}

#[tokio::test]
async fn the_chain_grows_by_itself_and_is_verified_from_the_command_line() {
    let Tenants { bed, .. } = Tenants::new().await;
    let admin = bed.admin();
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let found = admin.client().get("/api/v2.0/audit/verify").await.expect(200).json();
            assert_eq!(found["first_bad_position"], Value::Null, "{found}");
            if found["verified_until"].as_i64() > Some(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("entries are linked");
    let verify = async |more: &[&str]| {
        let output = bed.run(&[&["audit", "verify", "--json"], more].concat(), "").await;
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), report)
    };
    let (code, report) = verify(&[]).await;
    assert_eq!((code, &report["problems"]), (Some(0), &serde_json::json!([])), "{report}");
    let until = report["verified_until"].as_i64().expect("a position");
    let hash = report["hash"].as_str().expect("a hash");
    assert_eq!(verify(&["--expect", &format!("{until}:{hash}")]).await.0, Some(0));
    let (code, report) = verify(&["--expect", &format!("{until}:{}", "0".repeat(64))]).await;
    assert_eq!(code, Some(10), "{report}");
    let usage = bed.run(&["audit", "verify", "--expect", "nothing"], "").await;
    assert_eq!(usage.status.code(), Some(2));
}
