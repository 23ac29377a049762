//! Projects: their first page, their settings and their end; requests for new ones; what was done in them.

use std::time::Duration;

use catalog::RemoveProject;
use queue::Runner;
use tokio_util::sync::CancellationToken;

use crate::world::World;

#[actix_web::test]
async fn the_first_page_shows_what_the_viewer_may_know() {
    let world = World::new().await;
    let project = world.project("ana", "shop", true).await;
    world.image(project, "shop/back/api", "v1", b"layer").await;
    world.execute("update tenancy.quotas set hard_bytes = used_bytes * 100 / 96").await;
    let (ana, ben) = (world.sign_in("ana").await, world.sign_in("ben").await);
    let page = world.get(&ana, "/projects/shop").await;
    for text in ["back/api:v1", "Over 95 % full", "docker push hythe.example:8080/shop/IMAGE:TAG", "-u ana"] {
        assert!(page.has(text), "{text}: {}", page.body);
    }
    assert!(world.get(&ana, "/projects/shop?client=helm").await.has("helm push"));
    assert!(world.get(&ana, "/projects/shop?client=none").await.has("docker push"));
    for tab in ["members", "robots", "policies", "activity", "settings"] {
        assert!(page.has(&format!("href=\"/projects/shop/{tab}\"")), "{tab}");
    }
    // Everybody may pull from it; that is all.
    let page = world.get(&ben, "/projects/shop").await;
    assert!(page.has("back/api:v1") && !page.has("docker push") && !page.has("Over 95"));
    for tab in ["members", "robots", "policies", "activity", "settings"] {
        assert!(!page.has(&format!("href=\"/projects/shop/{tab}\"")), "{tab}");
        assert_eq!(world.get(&ben, &format!("/projects/shop/{tab}")).await.status, 404, "{tab}");
    }
    // As many statements for many tags and repositories as for one.
    let before = world.statements().await;
    world.get(&ana, "/projects/shop").await;
    let one = world.statements().await - before;
    world.execute("update tenancy.quotas set hard_bytes = -1").await;
    for name in ["a", "b", "c"] {
        world.image(project, &format!("shop/{name}"), "v1", b"layer").await;
    }
    let before = world.statements().await;
    world.get(&ana, "/projects/shop").await;
    assert_eq!(world.statements().await - before, one);
}

#[actix_web::test]
async fn settings_are_saved_by_who_may() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    let page = "/projects/shop/settings";
    assert_eq!(world.get(&ben, page).await.status, 404);
    assert!(!world.get(&ana, page).await.has("action=\"/projects/shop/quota\""));
    assert_eq!(world.send(&ana, "POST", page, &[("visibility", "public")]).await.status, 403);
    assert_eq!(world.number("select count(*) from tenancy.projects where public").await, 0);
    assert_eq!(world.post(&ana, page, page, &[("visibility", "public")]).await.location(), page);
    assert_eq!(world.number("select count(*) from tenancy.projects where public").await, 1);
    let quota = "/projects/shop/quota";
    assert_eq!(world.post(&ana, page, quota, &[("quota", "1 TiB")]).await.status, 404);
    let wrong = world.post(&admin, page, quota, &[("quota", "much")]).await;
    assert!(wrong.status == 422 && wrong.has("value=\"much\"") && wrong.has("href=\"#quota\""));
    assert_eq!(world.post(&admin, page, quota, &[("quota", "10 GiB")]).await.status, 303);
    assert_eq!(world.number("select hard_bytes from tenancy.quotas").await, 10 << 30);
}

#[actix_web::test]
async fn a_project_is_deleted_by_its_name() {
    let world = World::new().await;
    world.project("ana", "empty", false).await;
    let project = world.project("ana", "shop", false).await;
    world.member(project, "ben", 4).await;
    world.image(project, "shop/api", "v1", b"layer").await;
    let (ana, ben) = (world.sign_in("ana").await, world.sign_in("ben").await);
    let confirm = |name: &str| format!("/projects/{name}/-/delete");
    assert_eq!(world.get(&ben, &confirm("shop")).await.status, 404);
    let stale = world.send(&ana, "POST", &confirm("empty"), &[("name", "empty")]).await;
    assert_eq!(stale.status, 403);
    let other = world.post(&ana, &confirm("empty"), &confirm("empty"), &[("name", "emty")]).await;
    assert!(other.status == 422 && other.has("value=\"emty\""));
    let gone = world.post(&ana, &confirm("empty"), &confirm("empty"), &[("name", "empty")]).await;
    assert_eq!(gone.location(), "/projects");
    assert_eq!(world.get(&ana, "/projects/empty").await.status, 404);

    assert!(world.get(&ana, &confirm("shop")).await.has("name=\"content\""));
    // As if the page had been made before the push.
    let unseen = world.post(&ana, &confirm("shop"), &confirm("shop"), &[("name", "shop")]).await;
    assert!(unseen.status == 422 && unseen.has("Something was pushed meanwhile"));
    let fields = [("name", "shop"), ("content", "1")];
    let started = world.post(&ana, &confirm("shop"), &confirm("shop"), &fields).await;
    let job = started.location().to_owned();
    assert!(job.starts_with("/jobs/"), "{job}");
    let waiting = world.get(&ana, &job).await;
    assert!(
        waiting.has("Waiting")
            && waiting.has("every 2s")
            && waiting.has("<noscript><meta http-equiv=\"refresh\"")
    );
    assert!(
        world.get(&ana, "/").await.has(&format!("href=\"{job}\""))
            && !world.get(&ben, "/").await.has("/jobs/")
    );
    assert_eq!(world.get(&ben, &job).await.status, 404);
    assert_eq!(world.get("", &job).await.status, 303);

    let mut runner = Runner::new(world.database.clone(), queue::Config::default());
    let removals = world.catalog.removals.clone();
    runner.handle::<RemoveProject, _, _>(move |job, context| {
        let removals = removals.clone();
        async move { removals.run(job, context).await }
    });
    let stop = CancellationToken::new();
    let running = tokio::spawn(runner.run(stop.clone()));
    let mut page = world.get(&ana, &job).await;
    for _ in 0..200 {
        if !page.has("data-hx-trigger") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        page = world.get(&ana, &job).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert!(page.has("Done"), "{}", page.body);
    assert_eq!(world.get(&ana, "/projects/shop").await.status, 404);
}

#[actix_web::test]
async fn who_may_not_create_projects_asks_for_one() {
    let world = World::new().await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    assert!(world.get(&ana, "/projects/new").await.has("name=\"name\""));
    assert!(world.get(&admin, "/projects/new").await.has("name=\"quota\""));
    assert_eq!(world.get(&ana, "/requests/new").await.status, 404);
    world
        .execute(
            "insert into tenancy.settings (key, value)
             values ('project_creation_restriction', '\"adminonly\"'), ('project_request_enabled', 'true')",
        )
        .await;
    // Settings are read again after a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let page = world.get(&ana, "/projects/new").await;
    assert!(page.has("/requests/new") && !page.has("name=\"public\""), "{}", page.body);
    let new = "/requests/new";
    let wrong = world.post(&ana, new, new, &[("name", "No Name"), ("reason", "tests")]).await;
    assert!(wrong.status == 422 && wrong.has("tests</textarea>") && wrong.has("href=\"#name\""));
    assert_eq!(world.send(&ana, "POST", new, &[("name", "shop")]).await.status, 403);
    for (name, quota) in [("shop", ""), ("other", "5 GiB")] {
        let sent = world.post(&ana, new, new, &[("name", name), ("quota", quota)]).await;
        assert_eq!(sent.location(), "/requests");
    }
    let again = world.post(&ana, new, new, &[("name", "shop")]).await;
    assert!(again.status == 422 && again.has("asked for this name already"));
    assert!(!world.get(&ben, "/requests").await.has("shop"));
    let shop = world.number("select id from tenancy.project_requests where name = 'shop'").await;
    let other = world.number("select id from tenancy.project_requests where name = 'other'").await;
    let page = format!("/requests/{shop}");
    assert_eq!(world.get(&ben, &page).await.status, 404);
    let own = world.get(&ana, &page).await;
    assert!(own.status == 200 && !own.has("name=\"decision\""));
    assert_eq!(world.post(&ana, &page, &page, &[("decision", "approve")]).await.status, 404);
    let approved = world.post(&admin, &page, &page, &[("decision", "approve")]).await;
    assert_eq!(approved.location(), "/projects/shop");
    assert_eq!(world.get(&ana, "/projects/shop/settings").await.status, 200);
    let late = world.post(&admin, &page, &page, &[("decision", "refuse")]).await;
    assert!(late.status == 422 && late.has("decided this request meanwhile"));
    let page = format!("/requests/{other}");
    world.post(&admin, &page, &page, &[("decision", "refuse"), ("reason", "use shop")]).await;
    assert!(world.get(&ana, &page).await.has("use shop"));
}

#[actix_web::test]
async fn what_was_done_is_listed_and_exported() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    let members = "/projects/shop/members";
    world.post(&ana, members, members, &[("kind", "user"), ("name", "ben"), ("role", "3")]).await;
    let page = world.get(&ana, "/projects/shop/activity").await;
    assert!(page.has("project_member_add") && page.has("project_create"), "{}", page.body);
    let narrowed = "operation=create&actor=ana&result=done&q=ben&from=2020-01-01&to=2999-01-01";
    let page = world.get(&ana, &format!("/projects/shop/activity?{narrowed}")).await;
    assert!(page.has("project_member_add") && !page.has("project_create"), "{}", page.body);
    assert!(page.has("actor=ana&#38;operation=create") && page.has("&#38;format=csv"));
    assert!(!world.get(&ana, "/projects/shop/activity?from=2999-01-01").await.has("project_create"));
    let csv = world.get(&ana, &format!("/projects/shop/activity?{narrowed}&format=csv")).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<&str> = csv.body.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("id,time") && lines[1].contains("ben"), "{}", csv.body);
    // A guest may not read it.
    let ben = world.sign_in("ben").await;
    assert_eq!(world.get(&ben, "/projects/shop/activity?format=csv").await.status, 404);
}
