//! Robots: what a program's account may do, how it proves itself, and how that ends.

use std::time::{Duration, Instant};

use hythe_testbed::{Bed, Client, Credentials, Registry, Role, User};
use reqwest::Method;
use serde_json::{Value, json};

const ROBOTS: &str = "/api/v2.0/robots";

fn entry(kind: &str, namespace: &str, rights: &[&str]) -> Value {
    let access: Vec<Value> = rights
        .iter()
        .filter_map(|right| right.split_once(':'))
        .map(|(resource, action)| json!({"resource": resource, "action": action}))
        .collect();
    json!({"kind": kind, "namespace": namespace, "access": access})
}

fn body(bed: &Bed, level: &str, permissions: &Value) -> Value {
    json!({"name": bed.unique("ci"), "level": level, "duration": 30, "permissions": permissions})
}

fn basic(bed: &Bed, name: &str, secret: &str) -> Client {
    bed.client(Credentials::Basic { name: name.to_owned(), password: secret.to_owned() })
}

async fn id_of(robot: &User) -> i64 {
    // The administrator's list is sorted by name; the filter finds the one.
    let name = robot.name.trim_start_matches("robot$");
    let admin = robot.client().bed().admin().client();
    let path = format!("{ROBOTS}?q=Level=system,name={name}");
    admin.get(path).await.expect(200).json()[0]["id"]
        .as_i64()
        .unwrap_or_else(|| panic!("{name} is not listed"))
}

/// Polls until the credentials or the token are refused; a revocation has five seconds.
async fn refused_soon(client: &Client, path: &str) {
    let start = Instant::now();
    while client.get(path).await.status != 401 {
        assert!(start.elapsed() < Duration::from_secs(5), "{path} is answered after five seconds");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_project_robot_pushes_and_pulls_in_its_project_only() {
    let bed = Bed::shared().await;
    let owner = bed.user("owner").await;
    let project = bed.project("robots").member(&owner, Role::ProjectAdmin).create().await;
    let other = bed.project("robots").create().await;
    let permissions = json!([entry("project", &project.name, &["repository:push"])]);
    let request = body(&bed, "project", &permissions);
    let answer = owner.client().post(ROBOTS, request.clone()).await.expect(201);
    let made = answer.json();
    let (name, secret) = (made["name"].as_str().expect("a text"), made["secret"].as_str().expect("a text"));
    assert_eq!(name, format!("robot${}+{}", project.name, request["name"].as_str().expect("a text")));
    assert_eq!(answer.header("location"), format!("{ROBOTS}/{}", made["id"]));
    assert!(secret.len() >= 43, "256 bits");
    owner.client().post(ROBOTS, request).await.expect(409);

    // By token as docker does it, directly, and under the name for shells.
    let scope = |repository: &str| format!("repository:{repository}:pull,push,delete");
    let own = project.repository("app");
    let token = basic(&bed, name, secret).token(&[&scope(&own), &scope(&other.repository("app"))]).await;
    let by_token = Registry::new(bed.client(Credentials::Bearer(token)));
    let image = by_token.push_image(&own, "1").await;
    by_token.get_manifest(&own, "1").await.expect(200);
    let shell = name.replace("robot$", "robot+");
    let direct = Registry::new(basic(&bed, &shell, secret));
    direct.get_manifest(&own, "1").await.expect(200);
    for registry in [&by_token, &direct] {
        registry.delete(format!("/v2/{own}/manifests/{}", image.digest)).await.expect(401);
        registry.get_manifest(&other.repository("app"), "1").await.expect(401);
        registry.get("/v2/_catalog").await.expect(401);
    }
    let robot = basic(&bed, name, secret);
    robot.get("/api/v2.0/users/current").await.expect(412);
    robot.get("/api/v2.0/projects?page=1&page_size=1").await.expect(200);
    robot.get(project.path("")).await.expect(403);
    robot.get("/api/v2.0/repositories").await.expect(200);
    let listed = robot.get("/api/v2.0/projects?page_size=100").await.expect(200).json();
    let names: Vec<&str> =
        listed.as_array().expect("a list").iter().filter_map(|row| row["name"].as_str()).collect();
    assert!(names.contains(&project.name.as_str()) && !names.contains(&other.name.as_str()), "{names:?}");

    // What was used when and from where; never the secret.
    let seen = owner.client().get(answer.header("location")).await.expect(200);
    assert!(!seen.text().contains(secret));
    let seen = seen.json();
    assert_eq!(
        (&seen["level"], &seen["editable"], &seen["disable"]),
        (&json!("project"), &json!(true), &json!(false))
    );
    assert_eq!(seen["last_used_address"], "127.0.0.1");
    assert_eq!(seen["permissions"][0]["namespace"], project.name.as_str());
    assert_eq!(
        seen["permissions"][0]["access"],
        json!([{"resource": "repository", "action": "push", "effect": "allow"}])
    );
}

/// AZ-19.
#[tokio::test]
async fn whatever_ends_a_robot_ends_its_tokens() {
    let bed = Bed::shared().await;
    let project = bed.project("robots").create().await;
    let repository = project.repository("app");
    bed.admin().registry().push_image(&repository, "1").await;
    let admin = bed.admin().client();
    let permissions = json!([entry("project", &project.name, &["repository:pull"])]);
    let manifest = format!("/v2/{repository}/manifests/1");
    for act in ["disable", "secret", "rights", "delete"] {
        let robot = bed.robot("system", permissions.clone()).await;
        let id = id_of(&robot).await;
        let path = format!("{ROBOTS}/{id}");
        let token = robot.client().token(&[&format!("repository:{repository}:pull")]).await;
        let by_token = bed.client(Credentials::Bearer(token));
        by_token.get(&manifest).await.expect(200);
        robot.client().get(&manifest).await.expect(200);
        let mut change = json!({"name": robot.name, "level": "system", "duration": -1, "permissions": permissions.clone()});
        match act {
            "disable" => {
                change["disable"] = true.into();
                admin.put(&path, change).await.expect(200);
            }
            "rights" => {
                change["permissions"] = json!([entry("project", &project.name, &["tag:list"])]);
                admin.put(&path, change).await.expect(200);
            }
            "secret" => {
                let answer = admin.request(Method::PATCH, &path).json(json!({"secret": ""})).send().await;
                let secret = answer.expect(200).json()["secret"].as_str().expect("a text").to_owned();
                assert_ne!(secret, robot.password);
                basic(&bed, &robot.name, &secret).get(&manifest).await.expect(200);
            }
            _ => {
                admin.delete(&path).await.expect(200);
                admin.get(&path).await.expect(404);
            }
        }
        refused_soon(&by_token, &manifest).await;
        refused_soon(&robot.client(), &manifest).await;
    }
}

#[tokio::test]
async fn a_chosen_secret_follows_the_rule() {
    let bed = Bed::shared().await;
    let robot = bed.robot("system", json!([entry("system", "/", &["catalog:read"])])).await;
    let path = format!("{ROBOTS}/{}", id_of(&robot).await);
    let admin = bed.admin().client();
    let patch =
        async |secret: &str| admin.request(Method::PATCH, &path).json(json!({"secret": secret})).send().await;
    for weak in ["short1A", "nouppercase1", "NOLOWERCASE1", "NoDigitsHere"] {
        patch(weak).await.expect(400);
    }
    robot.client().get("/v2/_catalog").await.expect(200);
    assert_eq!(patch("Chosen-Secret-1").await.expect(200).json(), json!({"secret": ""}));
    basic(&bed, &robot.name, "Chosen-Secret-1").get("/v2/_catalog").await.expect(200);
    basic(&bed, &robot.name, "Chosen-Secret-2").get("/v2/_catalog").await.expect(401);
}

#[tokio::test]
async fn a_robot_gives_no_more_than_it_holds() {
    let bed = Bed::shared().await;
    let project = bed.project("robots").create().await;
    let other = bed.project("robots").create().await;
    let held = ["robot:create", "robot:read", "robot:delete", "repository:pull", "tag:list"];
    let maker = bed.robot("project", json!([entry("project", &project.name, &held)])).await.client();
    let give = async |rights: &[&str]| {
        let permissions = json!([entry("project", &project.name, rights)]);
        maker.post(ROBOTS, body(&bed, "project", &permissions)).await
    };
    let made = give(&["repository:pull", "tag:list"]).await.expect(201).json();
    give(&["repository:push"]).await.expect_error(403, "DENIED");
    give(&["tag:list", "member:create"]).await.expect_error(403, "DENIED");
    let elsewhere = json!([entry("project", &other.name, &["tag:list"])]);
    maker.post(ROBOTS, body(&bed, "project", &elsewhere)).await.expect(403);
    maker.post(ROBOTS, body(&bed, "system", &elsewhere)).await.expect(403);
    let path = format!("{ROBOTS}/{}", made["id"]);
    maker.get(&path).await.expect(200);
    maker.request(Method::PATCH, &path).json(json!({"secret": ""})).send().await.expect(403);
    maker.put(&path, json!({})).await.expect(403);
    maker.delete(&path).await.expect(200);
    // The same answer for a project that does not exist as for one that it holds nothing in.
    let system =
        json!([entry("system", "/", &["robot:create"]), entry("project", &project.name, &["tag:list"]),]);
    let maker = bed.robot("system", system).await.client();
    let in_project = async |name: &str| {
        let permissions = json!([entry("project", name, &["tag:list"])]);
        maker.post(ROBOTS, body(&bed, "system", &permissions)).await
    };
    in_project(&project.name).await.expect(201);
    let missing = bed.unique("missing");
    let (unknown, foreign) = (in_project(&missing).await, in_project(&other.name).await);
    assert_eq!(unknown.expect(403).shape(&[]), foreign.expect(403).shape(&[]));
    // Whatever else is wrong with the request, the two stay alike.
    for (what, rights) in
        [("no right", &[][..]), ("no such right", &["repository:fly"]), ("NUL", &["tag:list\0"])]
    {
        let ask = async |name: &str| {
            let permissions = json!([entry("project", name, rights), entry("project", "*", &["tag:list"])]);
            maker.post(ROBOTS, body(&bed, "system", &permissions)).await
        };
        let (unknown, foreign) = (ask(&missing).await, ask(&other.name).await);
        assert_eq!(unknown.shape(&[]), foreign.shape(&[]), "{what}");
    }
    let twice = async |name: &str| {
        let permissions =
            json!([entry("project", name, &["tag:list"]), entry("project", "*", &["tag:list"])]);
        maker.post(ROBOTS, body(&bed, "system", &permissions)).await
    };
    assert_eq!(twice(&missing).await.expect(403).shape(&[]), twice(&other.name).await.expect(403).shape(&[]));
    // The attempt is in the trail, and people are told what is wrong.
    let denied = "select count(*) from audit.entries where action = 'robot_create' and outcome = 'denied'
                  and actor_kind = 'robot'";
    let denied: i64 = sqlx::query_scalar(denied)
        .fetch_one(bed.inside().await.database.pool())
        .await
        .expect("the trail can be read");
    assert!(denied > 0);
    let admin = bed.admin().client();
    for name in [missing.as_str(), "a\0b", "A"] {
        let permissions = json!([entry("project", name, &["tag:list"])]);
        admin.post(ROBOTS, body(&bed, "system", &permissions)).await.expect(400);
    }
}

#[tokio::test]
async fn robots_that_cannot_be() {
    let bed = Bed::shared().await;
    let project = bed.project("robots").create().await;
    let admin = bed.admin().client();
    let pull = json!([entry("project", &project.name, &["repository:pull"])]);
    let good = body(&bed, "project", &pull);
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    for (what, wrong) in [
        ("level", with("level", json!("galaxy"))),
        ("name", with("name", json!("Big"))),
        ("name with +", with("name", json!("a+b"))),
        ("duration 0", with("duration", json!(0))),
        ("no duration", with("duration", Value::Null)),
        ("no permissions", with("permissions", json!([]))),
        ("no access", with("permissions", json!([entry("project", &project.name, &[])]))),
        ("unknown right", with("permissions", json!([entry("project", &project.name, &["repository:fly"])]))),
        ("robot:update", with("permissions", json!([entry("project", &project.name, &["robot:update"])]))),
        ("every right", with("permissions", json!([entry("project", &project.name, &["repository:*"])]))),
        ("all projects", with("permissions", json!([entry("project", "*", &["repository:pull"])]))),
        ("system right", with("permissions", json!([entry("system", "/", &["catalog:read"])]))),
        ("two projects", with("permissions", json!([pull[0], pull[0]]))),
    ] {
        let answer = admin.post(ROBOTS, wrong).await;
        assert!([400, 404].contains(&answer.status), "{what}: {answer}");
    }
    let mut denied = good.clone();
    denied["permissions"][0]["access"][0]["effect"] = json!("deny");
    admin.post(ROBOTS, denied).await.expect(400);
    let made = admin.post(ROBOTS, good.clone()).await.expect(201).json();
    // A name or level cannot be changed; what is left out of an update stays or goes as the contract says.
    let path = format!("{ROBOTS}/{}", made["id"]);
    let mut change = with("name", made["name"].clone());
    change["level"] = json!("system");
    admin.put(&path, change.clone()).await.expect(400);
    change["level"] = json!("project");
    change["duration"] = Value::Null;
    change["description"] = json!("for the build");
    admin.put(&path, change).await.expect(200);
    let seen = admin.get(&path).await.expect(200).json();
    assert_eq!((&seen["duration"], &seen["description"]), (&json!(30), &json!("for the build")));
    let until = seen["expires_at"].as_i64().expect("a number") - crate::support::now();
    assert!((29 * 86_400..=30 * 86_400).contains(&until), "{until} seconds");
}

/// AZ-08.
#[tokio::test]
async fn robots_go_with_their_project() {
    let bed = Bed::shared().await;
    let project = bed.project("robots").create().await;
    let robot = bed.robot("project", json!([entry("project", &project.name, &["repository:list"])])).await;
    let path = project.path("/repositories");
    robot.client().get(&path).await.expect(200);
    project.delete().await;
    refused_soon(&robot.client(), &path).await;
    // Another project under the name is another project.
    let again = bed.project("").named(&project.name).create().await;
    robot.client().get(again.path("/repositories")).await.expect(401);
}

#[tokio::test]
async fn a_robot_that_is_being_disabled_makes_no_other() {
    let bed = Bed::shared().await;
    let permissions = json!([entry("system", "/", &["robot:create", "catalog:read"])]);
    let maker = bed.robot("system", permissions.clone()).await;
    let child = json!([entry("system", "/", &["catalog:read"])]);
    // Its secret is remembered from here on.
    maker.client().post(ROBOTS, body(&bed, "system", &child)).await.expect(201);
    // Disabled behind the back of this process's knowledge: the row alone says so, as in the first seconds.
    let inside = bed.inside().await;
    sqlx::query("update identity.robots set disabled = true where 'robot$' || name = $1")
        .bind(&maker.name)
        .execute(inside.database.pool())
        .await
        .expect("the robot has a row");
    maker.client().post(ROBOTS, body(&bed, "system", &child)).await.expect_any(&[401, 403]);
}
