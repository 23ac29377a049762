//! Administration: for system administrators, and missing for everybody else.

use crate::world::{PASSWORD, World};

const PAGES: [&str; 15] = [
    "/admin",
    "/admin/users",
    "/admin/users/-/new",
    "/admin/users/ana",
    "/admin/users/ana/-/delete",
    "/admin/groups",
    "/admin/groups/-/new",
    "/admin/storage",
    "/admin/storage/quotas",
    "/admin/audit",
    "/admin/audit/-/verify",
    "/admin/settings/general",
    "/admin/health",
    "/admin/jobs",
    "/",
];

const CHANGES: [(&str, &[(&str, &str)]); 11] = [
    ("/admin/users/-/new", &[("name", "eve"), ("password", PASSWORD)]),
    ("/admin/users/ben", &[("email", "eve@example.com")]),
    ("/admin/users/ben/-/rights", &[("sysadmin", "1")]),
    ("/admin/users/ben/-/disabled", &[("disabled", "1")]),
    ("/admin/users/ben/-/password", &[("password", "Better-horse-1")]),
    ("/admin/users/ben/-/sessions", &[]),
    ("/admin/users/ben/-/tokens", &[("token", "1")]),
    ("/admin/users/ben/-/delete", &[("name", "ben")]),
    ("/admin/groups/-/new", &[("name", "ops"), ("kind", "3")]),
    ("/admin/storage/quotas", &[("project", "team-a"), ("limit", "1")]),
    ("/admin/settings/general", &[("read_only", "1")]),
];

/// What the changes above would change.
const STATE: &str = "select (select count(*) from identity.users where deleted_at is null and not disabled)
    + (select sum(credential_version) from identity.users)::bigint + (select count(*) from identity.groups)
    + (select count(*) from tenancy.settings) + (select count(*) from tenancy.quotas where hard_bytes > 0)
    + (select count(*) from identity.sessions) + (select count(*) from identity.users where sysadmin)";

#[actix_web::test]
async fn administration_is_missing_for_everybody_else() {
    let world = World::new().await;
    let (admin, ana) = (world.sign_in("admin").await, world.sign_in("ana").await);
    world.sign_in("ben").await;
    world.project("ana", "team-a", false).await;
    for path in PAGES {
        let page = world.get(&admin, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert_eq!(page.body.matches("<h1").count(), 1, "{path}");
        assert!(!page.has("style=\"") && page.has("href=\"/admin/users\""), "{path}");
        let page = world.get(&ana, path).await;
        assert!(!page.has("href=\"/admin"), "{path}");
        if path != "/" {
            assert_eq!(page.status, 404, "{path}");
            assert!(world.get("", path).await.location().starts_with("/login"), "{path}");
        }
    }
    let before = world.number(STATE).await;
    for (path, fields) in CHANGES {
        assert_eq!(world.post(&ana, "/me", path, fields).await.status, 404, "{path}");
        assert_eq!(world.send(&admin, "POST", path, fields).await.status, 403, "{path}");
    }
    assert_eq!(world.number(STATE).await, before);
}

#[actix_web::test]
async fn accounts_are_made_changed_and_deleted() {
    let world = World::new().await;
    let admin = world.sign_in("admin").await;
    let new = "/admin/users/-/new";
    let bad =
        world.post(&admin, new, new, &[("name", "eve"), ("email", "typed@"), ("password", PASSWORD)]).await;
    assert_eq!(bad.status, 422);
    assert!(bad.has("This is no e-mail address.") && bad.has("value=\"typed@\"") && !bad.has(PASSWORD));
    let taken = world.post(&admin, new, new, &[("name", "ana"), ("password", PASSWORD)]).await;
    assert!(taken.status == 422 && taken.has("This user name is taken."), "{}", taken.body);
    let made = world.post(&admin, new, new, &[("name", "eve"), ("password", PASSWORD)]).await;
    assert_eq!(made.location(), "/admin/users/eve");
    let one = made.location().to_owned();
    let list = world.get(&admin, "/admin/users?q=ev").await;
    assert!(list.has(">eve</a>") && !list.has(">ana</a>"), "{}", list.body);
    assert!(world.get(&admin, "/admin/users?admins=1").await.has(">admin</a>"));

    let eve = world.sign_in("eve").await;
    let act = |what: &str| format!("{one}/-/{what}");
    assert_eq!(world.post(&admin, &one, &act("rights"), &[("sysadmin", "1")]).await.location(), one);
    assert_eq!(world.get(&eve, "/admin").await.status, 200);
    assert_eq!(world.post(&admin, &one, &act("rights"), &[("sysadmin", "0")]).await.location(), one);
    assert_eq!(world.get(&eve, "/admin").await.status, 404);
    assert_eq!(world.post(&admin, &one, &act("sessions"), &[]).await.location(), one);
    assert_eq!(world.get(&eve, "/me").await.status, 303);
    let weak = world.post(&admin, &one, &act("password"), &[("password", "weak")]).await;
    assert!(weak.status == 422 && weak.has("The password must have"), "{}", weak.body);
    assert_eq!(world.post(&admin, &one, &act("disabled"), &[("disabled", "1")]).await.location(), one);
    assert!(world.get(&admin, &one).await.has("This account cannot sign in"));
    assert_eq!(world.post(&admin, &one, &act("disabled"), &[("disabled", "0")]).await.location(), one);

    let delete = act("delete");
    let wrong = world.post(&admin, &delete, &delete, &[("name", "ev")]).await;
    assert!(wrong.status == 422 && wrong.has("Nothing was deleted."), "{}", wrong.body);
    assert_eq!(world.post(&admin, &delete, &delete, &[("name", "eve")]).await.location(), "/admin/users");
    assert_eq!(world.get(&admin, &one).await.status, 404);
    // Nobody cuts off the branch they sit on: what cannot be done is not offered.
    let own = world.get(&admin, "/admin/users/admin").await;
    assert!(!own.has("/-/rights") && !own.has("/-/delete") && !own.has("/-/disabled"));
}

#[actix_web::test]
async fn groups_are_made_renamed_and_deleted() {
    let world = World::new().await;
    let admin = world.sign_in("admin").await;
    let new = "/admin/groups/-/new";
    let bad = world.post(&admin, new, new, &[("kind", "1"), ("name", "ops"), ("dn", "typed")]).await;
    assert!(
        bad.status == 422 && bad.has("distinguished name like") && bad.has("value=\"typed\""),
        "{}",
        bad.body
    );
    assert_eq!(
        world.post(&admin, new, new, &[("kind", "3"), ("name", "ops")]).await.location(),
        "/admin/groups"
    );
    assert!(
        world.post(&admin, new, new, &[("kind", "3"), ("name", "ops")]).await.has("such a group already")
    );
    // A name may be a word of the address, or hold its signs.
    let page = |name: &str| format!("/admin/groups/-/edit?oidc={name}");
    let renamed = world.post(&admin, &page("ops"), &page("ops"), &[("name", "new")]).await;
    assert_eq!(renamed.location(), page("new"));
    let renamed = world.post(&admin, &page("new"), &page("new"), &[("name", "a/b & c")]).await;
    let one = page("a%2Fb%20%26%20c");
    assert_eq!(renamed.location(), one);
    assert!(world.get(&admin, "/admin/groups").await.has(&one) && world.get(&admin, &one).await.has("a/b"));
    assert_eq!(world.get(&admin, &page("ops")).await.status, 404);
    assert_eq!(world.get(&admin, "/admin/groups/-/edit").await.status, 404);
    let one = one.as_str();
    let delete = one.replace("/-/edit", "/-/delete");
    assert_eq!(world.send(&admin, "POST", &delete, &[]).await.status, 403);
    assert_eq!(world.post(&admin, &delete, &delete, &[]).await.location(), "/admin/groups");
    assert_eq!(world.get(&admin, one).await.status, 404);
}

#[actix_web::test]
async fn limits_are_set_where_they_are_listed() {
    let world = World::new().await;
    let admin = world.sign_in("admin").await;
    world.project("ana", "team-a", false).await;
    let path = "/admin/storage/quotas";
    let bad = world.post(&admin, path, path, &[("project", "team-a"), ("limit", "plenty")]).await;
    assert!(bad.status == 422 && bad.has("value=\"plenty\" ") && bad.has("id=\"refused\""), "{}", bad.body);
    assert_eq!(world.post(&admin, path, path, &[("project", "team-x"), ("limit", "1")]).await.status, 404);
    assert_eq!(
        world.post(&admin, path, path, &[("project", "team-a"), ("limit", "1.5")]).await.location(),
        path
    );
    assert_eq!(world.number("select max(hard_bytes) from tenancy.quotas").await, 1_610_612_736);
    let all = [("project", "team-a"), ("limit", ""), ("unlimited", "1")];
    assert_eq!(world.post(&admin, path, path, &all).await.location(), path);
    assert_eq!(world.number("select max(hard_bytes) from tenancy.quotas").await, -1);
}

#[actix_web::test]
async fn settings_say_where_they_come_from_and_take_effect() {
    let world = World::new().await;
    let (admin, path) = (world.sign_in("admin").await, "/admin/settings/general");
    let page = world.get(&admin, path).await;
    assert!(page.has("HYTHE_IDENTITY__TOKEN_MINUTES") && page.has("Default."), "{}", page.body);
    let fields = |minutes: &'static str, message: &'static str| {
        [
            ("project_creation_restriction", "adminonly"),
            ("quota_per_project_enable", "1"),
            ("audit_pulls", "1"),
            ("session_timeout", minutes),
            ("restore_days", "7"),
            ("robot_token_duration", "30"),
            ("limit", "10"),
            ("banner", message),
            ("banner_type", "warning"),
        ]
    };
    for minutes in ["many", "0", "99999999999"] {
        let bad = world.post(&admin, path, path, &fields(minutes, "Typed")).await;
        assert_eq!(bad.status, 422);
        assert!(bad.has("href=\"#session_timeout\"") && bad.has("Typed</textarea>"), "{}", bad.body);
    }
    assert_eq!(world.number("select count(*) from tenancy.settings").await, 0);
    assert_eq!(world.post(&admin, path, path, &fields("30", "Down <b>at noon</b>")).await.location(), path);
    let page = world.get("", "/about").await;
    assert!(page.has("note warn") && page.has("Down &#60;b&#62;at noon"), "{}", page.body);
    let page = world.get(&admin, path).await;
    assert!(page.has("Set here; the default is: 60.") && page.has("value=\"10\""), "{}", page.body);
    // Who may not make projects is not offered to.
    let ana = world.sign_in("ana").await;
    assert!(!world.get(&ana, "/").await.has("href=\"/projects/new\""));
    assert!(world.get(&admin, "/").await.has("href=\"/projects/new\""));
}

#[actix_web::test]
async fn the_trail_is_narrowed_down_and_checked() {
    let world = World::new().await;
    let admin = world.sign_in("admin").await;
    let project = world.project("ana", "team-a", false).await;
    world.image(project, "team-a/web", "1", b"layer").await;
    let all = world.get(&admin, "/admin/audit").await;
    assert!(all.has("artifact_push") && all.has("project_create") && all.has("login"), "{}", all.body);
    for (query, has, lacks) in [
        ("kind=artifact&operation=create", "<code>artifact_push", "<code>login"),
        ("actor=an&range=24h", "<code>project_create", "<code>artifact_push"),
        ("project=team-a", "<code>artifact_push", "<code>login"),
        ("result=done&resource=team-a%2Fweb", "<code>artifact_push", "<code>project_create"),
        ("result=refused", "Nothing matches.", "<code>login"),
        ("project=nothing", "Nothing matches.", "<code>login"),
        ("to=2020-01-01", "Nothing matches.", "<code>login"),
        ("from=soon", "This is no day.", "Nothing matches."),
    ] {
        let page = world.get(&admin, &format!("/admin/audit?{query}")).await;
        assert_eq!(page.status, 200, "{query}");
        assert!(page.has(has) && !page.has(lacks), "{query}: {}", page.body);
    }
    let page = world.get(&admin, "/admin/audit?actor=an").await;
    assert!(page.has("auditlog-exts?q=username%3D%7Ean"), "{}", page.body);
    assert!(world.get(&admin, "/admin/audit/-/verify").await.has("Whole: nobody changed it"));
}

#[actix_web::test]
async fn figures_jobs_and_health_are_shown() {
    let world = World::new().await;
    let admin = world.sign_in("admin").await;
    let project = world.project("ana", "team-a", false).await;
    world.image(project, "team-a/web", "1", &[7; 4096]).await;
    let storage = world.get(&admin, "/admin/storage").await;
    assert!(
        storage.has("team-a/web") && storage.has("3.0 GiB free") && storage.has("4.0 KiB"),
        "{}",
        storage.body
    );
    let health = world.get(&admin, "/admin/health").await;
    assert!(health.has("Database") && health.has("works") && !health.has("does not work"), "{}", health.body);
    let home = world.get(&admin, "/").await;
    assert!(home.has("team-a/web:1") && home.has("/projects/team-a/repositories/web"), "{}", home.body);
    world
        .execute(
            "insert into queue.jobs (kind, payload, state, asked_by, attempts_max, lease_until)
             values ('test.work', '{}', 'running', 'ana', 3, now() + interval '1 hour')",
        )
        .await;
    let jobs = world.get(&admin, "/admin/jobs?state=running").await;
    assert!(jobs.has("test.work") && jobs.has("1 job at work"), "{}", jobs.body);
    assert!(world.get(&admin, "/admin/jobs?state=failed").await.has("No jobs."));
    let path = jobs.body.split("href=\"").find(|rest| rest.starts_with("/jobs/")).unwrap();
    assert!(world.get(&admin, path.split('"').next().unwrap()).await.has("Nothing was logged."));
    assert_eq!(world.get(&admin, "/jobs/999999").await.status, 404);
}

#[actix_web::test]
async fn pages_cost_the_same_however_much_there_is() {
    let world = World::new().await;
    let admin = world.sign_in("admin").await;
    let mut costs = Vec::new();
    for round in 0..2 {
        for number in 0..12 {
            world.project("ana", &format!("p{round}-{number}"), false).await;
        }
        let before = world.statements().await;
        for path in ["/admin/storage", "/admin/storage/quotas", "/admin/users/ana/-/delete"] {
            world.get(&admin, path).await;
        }
        costs.push(world.statements().await - before);
    }
    assert_eq!(costs[0], costs[1]);
}
