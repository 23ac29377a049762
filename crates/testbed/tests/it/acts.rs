//! Changes over the REST API seen from outside: each is one entry of the trail (AD-01), and none of them sets what is
//! nobody's to set (AU-18, AU-19). With what no answer may carry (AU-11, AU-17).

use std::collections::BTreeSet;

use hythe_testbed::{Answer, Bed, Client, Options, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::random_uuid;

/// Sends a change under a request id of its own; returns the answer and that id.
async fn change(client: &Client, method: Method, path: &str, body: Value, status: u16) -> (Answer, String) {
    let id = random_uuid();
    let request = client.request(method, path).header("x-request-id", &id);
    let request = if body.is_null() { request } else { request.json(body) };
    (request.send().await.expect(status), id)
}

/// AD-01: every kind of change, a failed login and a refusal leave exactly one entry each, with all it has to say.
#[tokio::test]
async fn ad_01_every_act_is_one_entry() {
    let bed = Bed::own(Options::default()).await;
    let (admin, person) = (bed.admin().client(), bed.user("person").await);
    let name = bed.unique("acts");
    let mut acts: Vec<(String, &str)> = Vec::new();
    let mut did = async |method: Method, path: &str, body: Value, status: u16, outcome: &'static str| {
        let (answer, id) = change(&admin, method, path, body, status).await;
        acts.push((id, outcome));
        answer.header("location").trim_start_matches("/api/v2.0").to_owned()
    };
    let api = |path: &str| format!("/api/v2.0{path}");
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);

    let made = did(post.clone(), &api("/projects"), json!({"project_name": name}), 201, "done").await;
    did(post.clone(), &api("/projects"), json!({"project_name": name}), 409, "failed").await;
    did(put.clone(), &api(&made), json!({"metadata": {"public": "true"}}), 200, "done").await;
    let members = api(&format!("{made}/members"));
    let member = json!({"role_id": 3, "member_user": {"username": person.name}});
    let member = did(post.clone(), &members, member, 201, "done").await;
    did(put.clone(), &api(&member), json!({"role_id": 2}), 200, "done").await;
    did(delete.clone(), &api(&member), Value::Null, 200, "done").await;
    let label = json!({"name": "stable", "color": "#00ff00", "scope": "g"});
    let label = did(post.clone(), &api("/labels"), label, 201, "done").await;
    did(delete.clone(), &api(&label), Value::Null, 200, "done").await;
    let robot = json!({"name": "ci", "level": "project", "duration": 1, "permissions":
        [{"kind": "project", "namespace": name, "access": [{"resource": "repository", "action": "pull"}]}]});
    let robot = did(post.clone(), &api("/robots"), robot, 201, "done").await;
    did(Method::PATCH, &api(&robot), json!({}), 200, "done").await;
    did(delete.clone(), &api(&robot), Value::Null, 200, "done").await;
    let user = json!({"username": bed.unique("new"), "password": "Lantern-Quay-77a", "realname": "N", "email": "n@example.org"});
    let user = did(post.clone(), &api("/users"), user, 201, "done").await;
    did(put.clone(), &api(&format!("{user}/sysadmin")), json!({"sysadmin_flag": true}), 200, "done").await;
    did(delete.clone(), &api(&user), Value::Null, 200, "done").await;
    did(
        put.clone(),
        &api("/configurations"),
        json!({"project_creation_restriction": "adminonly"}),
        200,
        "done",
    )
    .await;
    did(delete.clone(), &api(&made), Value::Null, 200, "done").await;

    // A refusal of somebody who is known, and a login that fails.
    let id = random_uuid();
    let stranger = person.client();
    let request = stranger.request(post.clone(), api("/users")).header("x-request-id", &id);
    request.json(json!({"username": "x", "password": "Lantern-Quay-77a"})).send().await.expect(403);
    acts.push((id, "denied"));
    let id = random_uuid();
    let wrong = person.with_password("not-it".to_owned()).client();
    wrong.request(Method::GET, api("/users/current")).header("x-request-id", &id).send().await.expect(401);
    acts.push((id, "failed"));

    let mut rows = Vec::new();
    for page in 1.. {
        let path = api(&format!("/auditlog-exts?page_size=100&page={page}"));
        let Value::Array(more) = admin.get(path).await.expect(200).json() else { panic!("no list") };
        let last = more.len() < 100;
        rows.extend(more);
        if last {
            break;
        }
    }
    let mut wrong = Vec::new();
    for (id, outcome) in &acts {
        let found: Vec<&Value> = rows.iter().filter(|row| row["request_id"] == id.as_str()).collect();
        let told = |row: &&Value| {
            let says = |field: &str| row[field].as_str().is_some_and(|text| !text.is_empty());
            row["outcome"] == *outcome
                && (row["actor_type"] == "anonymous" || says("username"))
                && ["client_address", "operation", "resource_type", "op_time"].into_iter().all(says)
        };
        if found.len() != 1 || !found.iter().all(told) {
            wrong.push(format!("{id} {outcome}: {found:?}"));
        }
    }
    let distinct: BTreeSet<&str> = acts.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(distinct.len(), acts.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// AU-18 and AU-19.
#[tokio::test]
async fn au_18_au_19_nobody_sets_what_is_not_theirs() {
    let bed = Bed::shared().await;
    let api = |path: &str| format!("/api/v2.0{path}");
    let (user, maintainer) = (bed.user("plain").await, bed.user("maintainer").await);
    let project = bed.project("assign").member(&user, Role::ProjectAdmin).create().await;
    project.add_member(&maintainer, Role::Maintainer).await;
    let elsewhere = bed.project("elsewhere").create().await;
    let person = user.client();

    // Nobody registers, with or without a flag.
    let wanted = json!({"username": bed.unique("x"), "password": "Lantern-Quay-77a", "sysadmin_flag": true});
    bed.nobody().post(api("/users"), wanted.clone()).await.expect(401);
    person.post(api("/users"), wanted).await.expect(403);

    // Oneself: the profile changes and nothing else.
    let me = person.get(api("/users/current")).await.expect(200).json();
    let id = me["user_id"].as_i64().unwrap_or_default();
    let more = json!({"realname": "R", "email": format!("{}@example.org", user.name), "comment": "c", "user_id": 1, "sysadmin_flag": true,
        "admin_role_in_auth": true, "has_admin_role": true, "role_id": 1, "salt": "x", "password": "Other-Quay-77a", "username": "admin"});
    person.put(api(&format!("/users/{id}")), more).await.expect(200);
    let now = person.get(api("/users/current")).await.expect(200).json();
    assert_eq!((&now["user_id"], &now["username"]), (&me["user_id"], &me["username"]));
    assert!(!now["sysadmin_flag"].as_bool().unwrap_or_default(), "{now}");
    person.put(api(&format!("/users/{id}/sysadmin")), json!({"sysadmin_flag": true})).await.expect(403);

    // A project: neither its owner nor its id.
    let path = api(&format!("/projects/{}", project.id));
    let before = person.get(&path).await.expect(200).json();
    let more = json!({"metadata": {"public": "false"}, "owner_id": 1, "project_id": elsewhere.id, "id": elsewhere.id, "name": elsewhere.name,
        "storage_limit": -1, "registry_id": 1, "deleted": true});
    person.put(&path, more).await.expect_any(&[200, 400, 403]);
    let after = person.get(&path).await.expect(200).json();
    for field in ["project_id", "name", "owner_id", "owner_name", "registry_id"] {
        assert_eq!(before[field], after[field], "{field}");
    }

    // A robot: no level, no project and no maker that the caller does not have.
    let robot = |level: &str, namespace: &str| {
        json!({"name": bed.unique("r"), "level": level, "duration": 1, "creator_ref": 1, "creator_type": "local", "id": 987_654, "secret": "Chosen-Secret-1",
            "permissions": [{"kind": "project", "namespace": namespace, "access": [{"resource": "repository", "action": "pull"}]}]})
    };
    person.post(api("/robots"), robot("system", &project.name)).await.expect(403);
    person.post(api("/robots"), robot("project", &elsewhere.name)).await.expect(403);
    let made = person.post(api("/robots"), robot("project", &project.name)).await.expect(201).json();
    assert!(made["id"] != 987_654 && made["secret"] != "Chosen-Secret-1", "{made}");

    // Members: a maintainer makes nobody a project administrator, nor anybody anything.
    let members = api(&format!("/projects/{}/members", project.id));
    let member = json!({"role_id": 1, "member_user": {"username": maintainer.name}, "id": 1, "project_id": elsewhere.id});
    maintainer.client().post(&members, member).await.expect(403);
}

/// AU-11 and AU-17: no other site is let in, and nothing a client sends becomes a header.
#[tokio::test]
async fn au_11_au_17_no_header_is_of_a_clients_making() {
    let bed = Bed::shared().await;
    let admin = bed.admin().client();
    for path in
        ["/api/v2.0/projects", "/api/v2.0/users/current", "/v2/", "/service/token?service=harbor-registry"]
    {
        for method in [Method::GET, Method::OPTIONS] {
            let answer = admin
                .request(method.clone(), path)
                .header("origin", "https://evil.example")
                .header("access-control-request-method", "DELETE")
                .send()
                .await;
            for name in ["access-control-allow-origin", "access-control-allow-credentials"] {
                assert!(!answer.headers.contains_key(name), "{method} {path}: {answer}");
            }
        }
    }
    let project = bed.project("header").create().await;
    let image = bed.admin().registry().push_image(&project.repository("app"), "1").await;
    let broken = "x%0d%0aSet-Cookie:%20a=b%0d%0a";
    for path in [
        format!("/v2/{}/tags/list?last={broken}&n=1", project.repository("app")),
        format!("/v2/_catalog?last={broken}&n=1"),
        format!("/v2/{}/manifests/{broken}", project.repository("app")),
        format!("/v2/{}/blobs/sha256:{broken}", project.repository("app")),
        format!("/v2/{}/referrers/{}?artifactType={broken}", project.repository("app"), image.digest),
        format!("/api/v2.0/projects?name={broken}&page_size=1"),
        format!("/api/v2.0/projects?page_size=1&q=name%3D~{broken}&sort={broken}"),
        format!("/api/v2.0/projects/{broken}"),
        format!("/service/token?service={broken}&scope=repository:{broken}:pull"),
    ] {
        let answer = admin.get(&path).await;
        assert!(answer.status < 500 && !answer.headers.contains_key("set-cookie"), "{path}: {answer}");
    }
}
