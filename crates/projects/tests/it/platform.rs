//! Metadata, quotas, configuration and what else describes projects and the installation.

use actix_web::test::TestRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalog::RemoveProject;
use queue::{JobContext, JobError};
use serde_json::{Value, json};

use crate::world::World;

#[actix_web::test]
async fn metadata_one_key_at_a_time() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", true).await;
    let path = format!("/api/v2.0/projects/{id}/metadatas");
    let send = async |user: &str, method: &str, path: String, body: Value| {
        let answer = world.send(user, method, &path, body).await;
        (answer.status, answer.body)
    };

    assert_eq!(world.get("ana", &path).await.status, 403, "no role may list");
    for form in [path.clone(), format!("{path}/")] {
        assert_eq!(world.get("admin", &form).await.json(), json!({"public": "true"}));
    }
    let added = send("ana", "POST", format!("{path}/"), json!({"severity": "HIGH"})).await;
    assert_eq!(added, (200, String::new()));
    assert_eq!(world.get("ana", &format!("{path}/severity")).await.json(), json!({"severity": "high"}));
    assert_eq!(world.get("ana", &format!("{path}/auto_scan/")).await.status, 404);
    for (method, key, body, status) in [
        ("POST", "", json!({"severity": "low"}), 409),
        ("POST", "", json!({"public": "false"}), 409),
        ("POST", "", json!({}), 400),
        ("POST", "", json!({"severity": "low", "auto_scan": "false"}), 400),
        ("POST", "", json!({"auto_scan": false}), 400),
        ("POST", "", json!({"auto_scan": "perhaps"}), 400),
        ("POST", "", json!({"prevent_vul": "true"}), 412),
        ("POST", "", json!({"owner_id": "1"}), 400),
        ("POST", "", json!({"retention_id": "1"}), 400),
        ("PUT", "/severity", json!({"auto_scan": "false"}), 400),
        ("PUT", "/severity", json!({"severity": "worst"}), 400),
        ("PUT", "/auto_scan", json!({"auto_scan": "false"}), 404),
        ("DELETE", "/auto_scan", Value::Null, 404),
        ("DELETE", "/retention_id", Value::Null, 400),
    ] {
        let (got, text) = send("ana", method, format!("{path}{key}"), body.clone()).await;
        assert_eq!(got, status, "{method} {key} {body}: {text}");
    }
    let (status, text) = send("ana", "POST", path.clone(), json!({})).await;
    assert!(status == 400 && text.contains("only allow one key/value pair"), "{text}");
    let changed = send("ana", "PUT", format!("{path}/severity"), json!({"severity": "Low"})).await;
    assert_eq!(changed, (200, String::new()));
    assert_eq!(send("ana", "DELETE", format!("{path}/severity"), Value::Null).await, (200, String::new()));
    assert_eq!(world.get("ana", &format!("{path}/severity")).await.status, 404);
}

/// AZ: making a project private by its metadata ends what was granted on it, as by the project itself.
#[actix_web::test]
async fn metadata_obeys_the_rules_of_the_project() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", true).await;
    world.member("ana", id, "ben", 4).await;
    let path = format!("/api/v2.0/projects/{id}/metadatas/public");
    assert_eq!(world.get("ben", &path).await.json(), json!({"public": "true"}), "a maintainer reads");
    for (method, body) in [("PUT", json!({"public": "false"})), ("DELETE", Value::Null)] {
        assert_eq!(world.send("ben", method, &path, body).await.status, 403, "a maintainer changes nothing");
    }
    let epoch = world.number("select coalesce(max(epoch), 0) from identity.epochs where kind = 2").await;
    assert_eq!(world.send("ana", "PUT", &path, json!({"public": "False"})).await.status, 200);
    assert_eq!(world.get("", &format!("/api/v2.0/projects/{id}")).await.status, 401);
    let raised = world.number("select coalesce(max(epoch), 0) from identity.epochs where kind = 2").await;
    assert_eq!(raised, epoch + 1);
    let audited = "select count(*) from audit.entries where action = 'project_metadata_update'
                   and (outcome = 'done' and changed = '{public}' or outcome = 'denied')";
    assert_eq!(world.number(audited).await, 2);
    assert_eq!(world.send("ana", "PUT", &path, json!({"public": "1"})).await.status, 200);
    assert_eq!(world.send("ana", "DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(world.get("ana", &path).await.json(), json!({"public": "false"}), "absent means private");
}

#[actix_web::test]
async fn quotas_over_the_api() {
    let world = World::new().await;
    let ids = [world.project("ana", "alpha", false).await, world.project("ben", "beta", false).await];
    let path = "/api/v2.0/quotas";
    for (user, status) in [("", 401), ("ana", 403)] {
        let own = format!("{path}/{}", ids[0]);
        for one in [own.as_str(), "/api/v2.0/quotas/4711"] {
            assert_eq!(world.get(user, one).await.status, status, "{user} {one}");
            assert_eq!(world.send(user, "PUT", one, json!({})).await.status, status, "{user} {one}");
        }
        assert_eq!(world.get(user, path).await.status, status);
    }
    let set = async |id: i64, storage: i64| {
        let body = json!({"hard": {"storage": storage, "count": 1}});
        let answer = world.send("admin", "PUT", &format!("{path}/{id}"), body).await;
        (answer.status, answer.body.is_empty())
    };
    assert_eq!(set(ids[0], 1000).await, (200, true));
    assert_eq!(set(ids[0], 0).await, (400, false));
    assert_eq!(set(ids[0], -2).await, (400, false));
    assert_eq!(set(4711, 5).await, (404, false));
    world.image(ids[1], "beta/app", "v1", b"layer").await;

    let one = world.get("admin", &format!("{path}/{}", ids[0])).await.json();
    assert_eq!(one["ref"], json!({"id": ids[0], "name": "alpha", "owner_name": "ana"}));
    assert_eq!(
        (&one["id"], &one["hard"], &one["used"]),
        (&json!(ids[0]), &json!({"storage": 1000}), &json!({"storage": 0}))
    );
    assert_eq!(world.get("admin", &format!("{path}/4711")).await.status, 404);
    for (query, expected) in [
        ("sort=hard.storage&reference=project", "alpha beta"),
        ("sort=-hard.storage", "beta alpha"),
        ("sort=-used.storage", "beta alpha"),
        ("sort=-fullness", "alpha beta"),
        ("sort=creation_time&page_size=1", "alpha"),
        ("reference_id=0", ""),
    ] {
        let answer = world.get("admin", &format!("{path}/?{query}")).await;
        let rows = answer.json();
        let names: Vec<_> =
            rows.as_array().unwrap().iter().map(|row| row["ref"]["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(" "), expected, "{query}");
    }
    assert_eq!(world.get("admin", &format!("{path}?reference=user")).await.status, 400);
    assert_eq!(world.get("admin", &format!("{path}?reference_id=x")).await.status, 400);
    let by_id = world.get("admin", &format!("{path}?reference=project&reference_id={}", ids[1])).await;
    assert_eq!((by_id.header("x-total-count"), by_id.json()[0]["id"].as_i64()), (Some("1"), Some(ids[1])));
    let denied = "select count(*) from audit.entries where action like 'quota_%' and outcome = 'denied'";
    assert_eq!(world.number(denied).await, 5);
}

#[actix_web::test]
async fn configuration_over_the_api() {
    let world = World::new().await;
    let path = "/api/v2.0/configurations";
    for (user, status) in [("", 401), ("ana", 403)] {
        assert_eq!(world.get(user, path).await.status, status);
        assert_eq!(world.send(user, "PUT", path, json!({"read_only": true})).await.status, status);
    }
    let all = world.get("admin", path).await.json();
    for (key, value, editable) in [
        ("auth_mode", json!("db_auth"), true),
        ("storage_per_project", json!(-1), true),
        ("token_expiration", json!(30), false),
        ("ldap_timeout", json!(5), true),
        ("read_only", json!(false), true),
    ] {
        assert_eq!(all[key], json!({"value": value, "editable": editable}), "{key}");
    }
    for secret in ["ldap_search_password", "oidc_client_secret", "uaa_client_secret"] {
        assert!(all.get(secret).is_none(), "{secret}");
    }
    let put = async |body: Value| {
        let answer = world.send("admin", "PUT", path, body).await;
        (answer.status, answer.body)
    };
    for (body, status) in [
        (json!({"read_only": "true"}), 400),
        (json!({"token_expiration": 0}), 400),
        (json!({"token_expiration": 31}), 403),
        (json!({"token_expiration": 30}), 200),
        (json!({"auth_mode": "ldap_auth"}), 400),
        (json!({"auth_mode": "db_auth", "unknown": {}, "ldap_search_password": ""}), 200),
        (json!({"ldap_search_password": "Hidden-Value-1"}), 412),
        (json!({"self_registration": true}), 412),
        (json!({"skip_audit_log_database": true}), 400),
        (json!({"audit_log_forward_endpoint": "127.0.0.1:514"}), 412),
        (json!({"quota_per_project_enable": "false"}), 400),
        (json!([]), 400),
    ] {
        let (got, text) = put(body.clone()).await;
        assert_eq!(got, status, "{body}: {text}");
    }
    // One of two does not fit: neither is changed.
    assert_eq!(put(json!({"banner_message": "x", "storage_per_project": 0})).await.0, 400);
    assert_eq!(world.get("admin", path).await.json(), all);
    let changes = json!({"banner_message": "hello", "storage_per_project": 77, "ldap_url": "ldap://x", "notification_enable": false});
    assert_eq!(put(changes).await, (200, String::new()));
    let changed = world.get("admin", path).await.json();
    assert_eq!(
        (&changed["storage_per_project"]["value"], &changed["ldap_url"]["value"]),
        (&json!(77), &json!("ldap://x"))
    );
    let info = world.get("ana", "/api/v2.0/systeminfo").await.json();
    assert_eq!((&info["banner_message"], &info["notification_enable"]), (&json!("hello"), &json!(false)));
    let id = world.project("ana", "alpha", false).await;
    let summary = world.get("ana", &format!("/api/v2.0/projects/{id}/summary")).await.json();
    assert_eq!(summary["quota"]["hard"]["storage"], 77);
    let named =
        "select count(*) from audit.entries where action = 'configuration_update' and outcome = 'done'
                 and changed = '{banner_message,ldap_url,notification_enable,storage_per_project}'";
    assert_eq!(world.number(named).await, 1);
}

#[actix_web::test]
async fn counts_search_and_catalogue() {
    let world = World::new().await;
    let own = world.project("ana", "web", false).await;
    let open = world.project("ana", "myweb", true).await;
    let hidden = world.project("ben", "webben", false).await;
    for (id, name) in [(own, "web/app"), (open, "myweb/web"), (open, "myweb/a-web"), (hidden, "webben/web-x")]
    {
        world.image(id, name, "v1", b"layer").await;
    }
    let statistics = "/api/v2.0/statistics";
    assert_eq!(world.get("", statistics).await.status, 401);
    let used = world.number("select sum(used_bytes)::bigint from tenancy.quotas").await;
    assert!(used > 0);
    for (user, expected) in
        [("ana", [1, 1, 1, 2, 0, 0, 0]), ("ben", [1, 1, 1, 2, 0, 0, 0]), ("admin", [2, 2, 1, 2, 3, 4, used])]
    {
        let got = world.get(user, statistics).await.json();
        let keys = [
            "private_project_count",
            "private_repo_count",
            "public_project_count",
            "public_repo_count",
            "total_project_count",
            "total_repo_count",
            "total_storage_consumption",
        ];
        assert_eq!(keys.map(|key| got[key].as_i64().unwrap()), expected, "{user}");
    }

    for (user, text, projects, repositories) in [
        ("", "web", "myweb", "myweb/web myweb/a-web"),
        ("ana", "WEB", "web myweb", "myweb/web web/app myweb/a-web"),
        ("ben", "web", "webben myweb", "myweb/web webben/web-x myweb/a-web"),
        ("admin", "web", "web webben myweb", "myweb/web web/app webben/web-x myweb/a-web"),
        ("admin", "web/app", "", "web/app"),
        ("admin", "%25", "", ""),
        ("admin", "_", "", ""),
    ] {
        let found = world.get(user, &format!("/api/v2.0/search?q={text}")).await.json();
        let names = |kind: &str, key: &str| {
            let rows = found[kind].as_array().unwrap();
            rows.iter().map(|row| row[key].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("project", "name"), projects, "{user} {text}");
        assert_eq!(names("repository", "repository_name"), repositories, "{user} {text}");
    }
    let found = world.get("", "/api/v2.0/search?q=a-web").await.json();
    let expected = json!({"project_id": open, "project_name": "myweb", "project_public": true,
        "repository_name": "myweb/a-web", "artifact_count": 1});
    assert_eq!(found["repository"], json!([expected]));
    assert_eq!(world.get("", "/api/v2.0/search").await.status, 422);

    let permissions = "/api/v2.0/permissions";
    assert_eq!(world.get("", permissions).await.status, 401);
    world.member("ben", hidden, "ana", 3).await;
    let all = world.get("admin", permissions).await.json();
    assert!(all["system"].as_array().unwrap().contains(&json!({"resource": "quota", "action": "update"})));
    let some = world.get("ana", permissions).await.json();
    assert!(some.get("system").is_none() && some["project"] == all["project"]);
    assert!(
        all["project"].as_array().unwrap().contains(&json!({"resource": "repository", "action": "push"}))
    );

    let volumes = "/api/v2.0/systeminfo/volumes";
    assert_eq!((world.get("", volumes).await.status, world.get("ana", volumes).await.status), (401, 403));
    assert_eq!(world.get("admin", volumes).await.json(), json!({"storage": [{"total": 10, "free": 3}]}));
}

/// What a page of anything costs does not depend on how much there is.
#[actix_web::test]
async fn constant_numbers_of_statements() {
    let world = World::new().await;
    let cost = async |path: &'static str| {
        assert_eq!(world.get("admin", path).await.status, 200);
        let before = world.statements().await;
        assert_eq!(world.get("admin", path).await.status, 200);
        world.statements().await - before
    };
    let paths = ["/api/v2.0/quotas?page_size=20", "/api/v2.0/search?q=p", "/api/v2.0/statistics"];
    world.project("ana", "p0", false).await;
    let few = [cost(paths[0]).await, cost(paths[1]).await, cost(paths[2]).await];
    world.projects((1..15).map(|number| format!("p{number}"))).await;
    let many = [cost(paths[0]).await, cost(paths[1]).await, cost(paths[2]).await];
    assert_eq!(few, many);
}

#[actix_web::test]
async fn requests_for_projects() {
    let world = World::new().await;
    let path = "/api/v2.0/project-requests";
    let wish = json!({"project_name": "wanted", "public": true, "storage_limit": 500, "reason": "to build",
        "requester_id": 1});
    assert_eq!(world.send("", "POST", path, wish.clone()).await.status, 401);
    assert_eq!(world.send("ana", "POST", path, wish.clone()).await.status, 412, "switched off at first");
    let switched = json!({"project_request_enabled": true, "project_creation_restriction": "adminonly"});
    assert_eq!(world.send("admin", "PUT", "/api/v2.0/configurations", switched).await.status, 200);
    let created = world.send("ana", "POST", "/api/v2.0/projects", json!({"project_name": "wanted"})).await;
    assert_eq!(created.status, 403);

    let asked = world.send("ana", "POST", path, wish.clone()).await;
    assert_eq!((asked.status, asked.body.as_str()), (201, ""));
    let one = asked.header("location").unwrap().to_owned();
    assert_eq!(world.send("ana", "POST", path, wish.clone()).await.status, 409, "asked twice");
    assert_eq!(world.send("ben", "POST", path, wish).await.status, 201, "another wants the same");
    for bad in [json!({}), json!({"project_name": "Bad"}), json!({"project_name": "a", "storage_limit": 0})] {
        assert_eq!(world.send("ana", "POST", path, bad.clone()).await.status, 400, "{bad}");
    }

    let seen = async |user: &str| world.get(user, path).await.json().as_array().unwrap().len();
    assert_eq!((seen("ana").await, seen("ben").await, seen("admin").await), (1, 1, 2));
    let unknown = format!("{path}/4711");
    for (user, target, status) in [
        ("", &one, 401),
        ("", &unknown, 401),
        ("ben", &one, 403),
        ("ben", &unknown, 403),
        ("ana", &one, 200),
        ("admin", &one, 200),
        ("admin", &unknown, 404),
    ] {
        assert_eq!(world.get(user, target).await.status, status, "{user} {target}");
    }
    let decide = async |user: &str, path: &str, decision: &str| {
        world.send(user, "PUT", path, json!({"decision": decision, "reason": "as discussed"})).await.status
    };
    assert_eq!(decide("", &one, "approve").await, 401);
    assert_eq!(decide("ana", &one, "approve").await, 403, "nobody approves their own");
    assert_eq!(decide("ana", &unknown, "approve").await, 403);
    assert_eq!(decide("admin", &unknown, "approve").await, 404);
    assert_eq!(decide("admin", &one, "perhaps").await, 400);
    assert_eq!(decide("admin", &one, "approve").await, 200);
    assert_eq!(decide("admin", &one, "refuse").await, 409);

    let decided = world.get("ana", &one).await.json();
    assert_eq!((&decided["status"], &decided["decided_by"]), (&json!("approved"), &json!("admin")));
    let project = world.get("ana", "/api/v2.0/projects/wanted").await.json();
    assert_eq!((&project["project_id"], &project["owner_name"]), (&decided["project_id"], &json!("ana")));
    assert_eq!(project["current_user_role_id"], 1);
    let summary = world.get("ana", "/api/v2.0/projects/wanted/summary").await.json();
    assert_eq!(summary["quota"]["hard"]["storage"], 500);

    let other = world.get("admin", &format!("{path}?q=status%3Dpending")).await.json();
    let other = format!("{path}/{}", other[0]["id"]);
    assert_eq!(decide("admin", &other, "approve").await, 409, "the name is taken");
    assert_eq!(world.get("ben", &other).await.json()["status"], "pending");
    assert_eq!(decide("admin", &other, "refuse").await, 200);
    let refused = world.get("ben", &other).await.json();
    assert_eq!(
        (&refused["status"], &refused["decision_reason"]),
        (&json!("refused"), &json!("as discussed"))
    );
    let trail = "select count(*) from audit.entries where outcome = 'done'
                 and action in ('project_request_create', 'project_request_approve', 'project_request_refuse',
                                'project_create')";
    assert_eq!(world.number(trail).await, 5);
}

/// The payload of the last job that removes a project.
async fn removal(world: &World) -> RemoveProject {
    let payload: Value = sqlx::query_scalar(
        "select payload from queue.jobs where kind = 'catalog.remove_project' order by id desc limit 1",
    )
    .fetch_one(world.database.owner())
    .await
    .unwrap();
    serde_json::from_value(payload).unwrap()
}

#[actix_web::test]
async fn a_project_deleted_with_everything_in_it() {
    let world = World::new().await;
    let id = world.project("ana", "full", false).await;
    let other = world.project("ben", "other", false).await;
    for number in 0..25 {
        world.image(id, &format!("full/app{number}"), "v1", format!("layer {number}").as_bytes()).await;
    }
    world.image(other, "other/app", "v1", b"layer 1").await;
    let path = format!("/api/v2.0/projects/{id}");
    let force = format!("{path}?force=true");
    let remove = async |path: &str, user: &str| world.send(user, "DELETE", path, Value::Null).await;
    assert_eq!(remove(&force, "").await.status, 401);
    assert_eq!(remove(&force, "ben").await.status, 403);
    assert_eq!(remove(&format!("{path}?force=perhaps"), "ana").await.status, 422);
    assert_eq!(remove(&format!("{path}?force=false"), "ana").await.status, 412);

    let rule = json!({"tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "app7"}]}});
    let made = world.send("ana", "POST", &format!("{path}/immutabletagrules"), rule).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let refused = remove(&force, "ana").await;
    assert_eq!((refused.status, refused.code().as_str()), (412, "PRECONDITION"), "{}", refused.body);
    let rule = made.header("location").unwrap();
    assert_eq!(remove(rule, "ana").await.status, 200);

    let asked = remove(&force, "ana").await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    assert!(asked.json()["job_id"].as_str().unwrap().parse::<i64>().unwrap() > 0);

    // Whoever asked has lost the right: nothing more goes.
    let demote = "update tenancy.members set role = 2 where entity_id = (select id from identity.users where username = 'ana')";
    let promote = "update tenancy.members set role = 1 where entity_id = (select id from identity.users where username = 'ana')";
    let count = "select count(*) from catalog.repositories where deleted_at is null";
    sqlx::query(demote).execute(world.database.owner()).await.unwrap();
    let removals = &world.catalog.removals;
    let ended = removals.run(removal(&world).await, JobContext::detached()).await;
    assert!(matches!(ended, Err(JobError::Fail(_))), "{ended:?}");
    assert_eq!(world.number(count).await, 26);

    sqlx::query(promote).execute(world.database.owner()).await.unwrap();
    removals.run(removal(&world).await, JobContext::detached()).await.unwrap();
    assert_eq!(world.number(count).await, 1, "another project is not touched");
    assert_eq!((world.get("ana", &path).await.status, world.get("admin", &path).await.status), (403, 404));
    let left = "select count(*) from catalog.project_blobs b join tenancy.projects p on p.id = b.project_id
                where p.deleted_at is not null and (b.charged or b.links > 0 or b.refs > 0)";
    assert_eq!(world.number(left).await, 0);
    assert_eq!(world.number("select count(*) from tenancy.quotas where used_bytes < 0").await, 0);
    let by_ana = "select count(*) from audit.entries where actor_name = 'ana' and outcome = 'done'
                  and action in ('repository_delete', 'project_delete_start', 'project_delete')";
    assert_eq!(world.number(by_ana).await, 27);
    // A second run of the same job, as after a crash, has nothing to do.
    removals.run(removal(&world).await, JobContext::detached()).await.unwrap();
    world.project("ben", "full", false).await;
}

/// What was asked for with an access token is done with what the token leaves, and no longer than it lasts.
#[actix_web::test]
async fn a_removal_ends_with_the_access_token_that_asked_for_it() {
    let world = World::new().await;
    let removals = &world.catalog.removals;
    for (name, ends, done) in [
        ("revoked", "delete from identity.access_tokens", false),
        ("over", "update identity.access_tokens set expires_at = now() - interval '1 second'", false),
        ("narrowed", "update identity.access_tokens set scopes = array['api:read']", false),
        ("elsewhere", "update identity.access_tokens set projects = array[4711]", false),
        ("left-alone", "select", true),
    ] {
        let id = world.project("ana", name, false).await;
        world.image(id, &format!("{name}/app"), "v1", b"layer").await;
        let input = json!({"name": name, "scopes": ["api"]});
        let token = world.send("ana", "POST", "/api/v2.0/users/current/tokens", input).await.json();
        let credentials = STANDARD.encode(format!("ana:{}", token["secret"].as_str().unwrap()));
        let path = format!("/api/v2.0/projects/{id}");
        let request = TestRequest::delete()
            .uri(&format!("{path}?force=true"))
            .insert_header(("authorization", format!("Basic {credentials}")));
        let asked = world.send_raw(request).await;
        assert_eq!(asked.status, 202, "{}", asked.body);
        world.execute(ends).await;
        let ended = removals.run(removal(&world).await, JobContext::detached()).await;
        match ended {
            Ok(()) => assert!(done, "{name}"),
            Err(JobError::Fail(_)) => assert!(!done, "{name}"),
            Err(JobError::Retry(err)) => panic!("{name}: {err}"),
        }
        let status = if done { 404 } else { 200 };
        for path in [path, format!("/api/v2.0/projects/{name}/repositories/app")] {
            assert_eq!(world.get("admin", &path).await.status, status, "{path}");
        }
        world.execute("delete from identity.access_tokens").await;
    }
}

/// Limits that are switched off refuse nothing, on any path; what is used is counted, and counts when they are back.
#[actix_web::test]
async fn quotas_can_be_switched_off() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let quota = format!("/api/v2.0/quotas/{id}");
    let set = world.send("admin", "PUT", &quota, json!({"hard": {"storage": 1000}})).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let enforce = async |on: bool| {
        let body = json!({"quota_per_project_enable": on});
        assert_eq!(world.send("admin", "PUT", "/api/v2.0/configurations", body).await.status, 200);
    };
    let push = async |bytes: &[u8]| {
        let push = world.push(id, "alpha/app");
        let session = world.catalog.uploads.start(&push, oci::Algorithm::Sha256).await.unwrap();
        let body = catalog::Body {
            length: None,
            range: None,
            patience: catalog::Patience::default(),
            bytes: futures_util::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(
                bytes,
            ))]),
        };
        let digest = oci::Digest::of(oci::Algorithm::Sha256, bytes);
        world.catalog.uploads.finish(&push, session.id, &digest, body).await
    };
    let used = async || world.number("select used_bytes from tenancy.quotas where used_bytes > 0").await;
    assert!(push(&[1; 900]).await.is_ok());
    assert!(push(&[2; 900]).await.is_err(), "charged at the end");
    assert!(push(&[3; 2000]).await.is_err(), "refused while it is received");
    enforce(false).await;
    for bytes in [&[2; 900][..], &[3; 2000]] {
        push(bytes).await.unwrap();
    }
    assert_eq!(used().await, 3800);
    let shown = world.get("admin", &quota).await.json();
    assert_eq!((&shown["hard"]["storage"], &shown["used"]["storage"]), (&json!(1000), &json!(3800)));
    enforce(true).await;
    assert!(push(&[4; 1]).await.is_err());
    assert_eq!(used().await, 3800);
}

#[actix_web::test]
async fn usage_by_day_is_told_to_who_reads_the_project() {
    let world = World::new().await;
    let project = world.project("ana", "alpha", true).await;
    world.project("ana", "hidden", false).await;
    world.image(project, "alpha/app", "1", b"layer").await;
    let usage = "/api/v2.0/projects/alpha/usage";
    let days = world.get("ana", usage).await.json()["days"].clone();
    assert_eq!(days.as_array().unwrap().len(), 30);
    let today = &days[29];
    assert!(today["storage"].as_i64().unwrap() > 5, "{today}");
    assert_eq!((&today["pulls"], &today["pushes"]), (&json!(0), &json!(1)));
    assert_eq!(days[0]["storage"], Value::Null);
    // Everybody may see a public project, and not how full it is.
    let seen = world.get("", &format!("{usage}?days=1")).await.json();
    assert_eq!((&seen["days"][0]["storage"], &seen["days"][0]["pushes"]), (&Value::Null, &json!(1)));
    for asked in ["0", "401", "-1", "many"] {
        assert_eq!(world.get("ana", &format!("{usage}?days={asked}")).await.status, 422, "{asked}");
    }
    assert_eq!(world.get("ben", "/api/v2.0/projects/hidden/usage").await.status, 403);
    let all = "/api/v2.0/usage?days=2";
    assert_eq!(world.get("", all).await.status, 401);
    assert_eq!(world.get("ana", all).await.status, 403);
    let all = world.get("admin", all).await.json();
    assert_eq!((all["days"].as_array().unwrap().len(), &all["days"][1]["pushes"]), (2, &json!(1)));
}
