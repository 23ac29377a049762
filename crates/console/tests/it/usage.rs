//! What happened by day, what people marked, and what wants their attention.

use crate::world::World;

/// Thirty days of the project, each a little fuller than the one before.
const HISTORY: &str = "
    insert into catalog.project_days (project_id, day, used_bytes, pulls, pushes)
        select p.id, catalog.utc_day(now()) - ago, 100 - ago, 3, 1
        from tenancy.projects p, generate_series(1, 29) ago where p.name = 'shop';
    insert into catalog.installation_days (day, used_bytes, pulls, pushes)
        select day, used_bytes * 1000000, pulls, pushes from catalog.project_days;
    insert into catalog.repository_days (repository_id, project_id, day, pulls)
        select id, project_id, catalog.utc_day(now()) - 1, 41 from catalog.repositories where path = 'shop/api';
    update catalog.days_rolled set through = catalog.utc_day(now())";

#[actix_web::test]
async fn charts_show_what_the_viewer_may_know() {
    let world = World::new().await;
    let project = world.project("ana", "shop", true).await;
    world.project("ana", "bare", false).await;
    let ana = world.sign_in("ana").await;
    world.image(project, "shop/api", "v1", b"layer").await;
    world.execute(HISTORY).await;
    let page = world.get(&ana, "/projects/shop").await;
    for text in [
        "aria-label=\"Storage from 71 B on ",
        "aria-label=\"Pulls per day: 87 in 30 days, 3 at most, on ",
        "aria-label=\"Pushes per day: 30 in 30 days",
        "87 in 30 days",
        "Storage as a table",
        "Largest repositories",
    ] {
        assert!(page.has(text), "{text}: {}", page.body);
    }
    // The picture has no style and no text of its own, and as many bars as days on which something happened.
    assert!(!page.has("style=") && !page.has("<text"), "{}", page.body);
    assert_eq!(page.body.matches("<rect class=\"b\"").count(), 29 + 30);
    let chinese = world.get(&ana, "/projects/shop?lang=zh-CN").await;
    assert!(chinese.has("30 天共 87 次"), "{}", chinese.body);
    // How full it is, is for members; what is pulled from it is no secret where it is public.
    let visitor = world.get("", "/projects/shop").await;
    assert!(!visitor.has("Storage from") && visitor.has("Pulls per day: 87"), "{}", visitor.body);
    assert!(!world.get(&ana, "/projects/bare").await.has("<svg role"), "nothing happened there");

    let list = world.get(&ana, "/projects/shop/repositories").await;
    assert!(
        list.has("Pulls in 30 days") && list.has("class=\"spark\"") && list.has(" 41</td>"),
        "{}",
        list.body
    );
    // One statement for the pulls of all repositories of the page.
    let before = world.statements().await;
    world.get(&ana, "/projects/shop/repositories").await;
    let one = world.statements().await - before;
    for name in ["a", "b", "c"] {
        world.image(project, &format!("shop/{name}"), "v1", b"layer").await;
    }
    let before = world.statements().await;
    world.get(&ana, "/projects/shop/repositories").await;
    assert_eq!(world.statements().await - before, one);
}

#[actix_web::test]
async fn administrators_see_the_installation_grow() {
    let world = World::new().await;
    let project = world.project("ana", "shop", true).await;
    world.image(project, "shop/api", "v1", b"layer").await;
    world.execute(HISTORY).await;
    // Today as much as the line says.
    world.execute("update tenancy.quotas set used_bytes = 100000000").await;
    let (ana, admin) = (world.sign_in("ana").await, world.sign_in("admin").await);
    let storage = world.get(&admin, "/admin/storage").await;
    assert!(storage.has("aria-label=\"Storage from "), "{}", storage.body);
    // A million bytes each day until 3 GiB are full is too far ahead.
    assert!(!storage.has("full in about"), "{}", storage.body);
    world.execute("update catalog.installation_days set used_bytes = used_bytes * 100").await;
    world.execute("update tenancy.quotas set used_bytes = 10000000000").await;
    let storage = world.get(&admin, "/admin/storage").await;
    assert!(storage.has("the storage is full in about 32 days"), "{}", storage.body);
    let home = world.get(&admin, "/").await;
    assert!(home.has("aria-label=\"Storage from ") && home.has("Pushes per day"), "{}", home.body);
    assert!(!world.get(&ana, "/").await.has("<svg role"));
    assert!(!world.get("", "/").await.has("<svg role"));
}

#[actix_web::test]
async fn a_project_is_marked_by_who_may_see_it() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    world.project("ana", "other", true).await;
    world.member(project, "ben", 5).await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    let (page, mark) = ("/projects/shop", "/projects/shop/-/favourite");
    assert!(world.get(&ben, page).await.has("aria-pressed=\"false\""));
    assert_eq!(world.send(&ben, "POST", mark, &[("marked", "yes")]).await.status, 403);
    assert_eq!(world.number("select count(*) from tenancy.favourites").await, 0);
    for _ in 0..2 {
        assert_eq!(world.post(&ben, page, mark, &[("marked", "yes")]).await.location(), page);
    }
    assert!(world.get(&ben, page).await.has("aria-pressed=\"true\""));
    assert!(world.get(&ben, "/").await.has("Favourites"));
    assert!(!world.get(&ana, "/").await.has("Favourites") && !world.get(&admin, "/").await.has("Favourites"));
    let list = world.get(&ben, "/projects?favourites=yes").await;
    assert!(list.has("href=\"/projects/shop\"") && !list.has("href=\"/projects/other\""), "{}", list.body);
    assert!(world.get(&ana, "/projects?favourites=yes").await.has("No favourites yet."));
    // Visitors have none: to them the list is the list, and there is no star.
    assert!(world.get("", "/projects?favourites=yes").await.has("href=\"/projects/other\""));
    let visitor = world.get("", "/projects/other").await;
    assert!(!visitor.has("aria-pressed"), "{}", visitor.body);
    // The star ends with access, and a stranger is told what there is nothing of.
    world.execute("delete from tenancy.members where role = 5").await;
    assert!(!world.get(&ben, "/").await.has("Favourites"));
    assert!(!world.get(&ben, "/projects?favourites=yes").await.has("href=\"/projects/shop\""));
    assert_eq!(world.post(&ben, "/about", mark, &[("marked", "")]).await.status, 404);
    assert_eq!(world.post(&ben, "/about", "/projects/nothing/-/favourite", &[]).await.status, 404);
    world.member(project, "ben", 5).await;
    world.post(&ben, page, mark, &[("marked", "no")]).await;
    assert_eq!(world.number("select count(*) from tenancy.favourites").await, 0);
}

#[actix_web::test]
async fn home_tells_what_wants_attention() {
    let world = World::new().await;
    let project = world.project("ana", "shop", true).await;
    world.member(project, "ben", 3).await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    for who in [&ana, &admin] {
        assert!(!world.get(who, "/").await.has("Needs attention"));
    }
    world.execute("update tenancy.quotas set hard_bytes = 100, used_bytes = 93").await;
    world
        .execute(
            "insert into identity.robots (project_id, name, secret_hash, duration_days, expires_at, creator_kind, creator_id)
             select id, 'shop+ci', 'x', 30, now() + interval '5 days', 'user', 1 from tenancy.projects where name = 'shop'",
        )
        .await;
    let page = world.get(&ana, "/").await;
    for text in ["Needs attention", "93 % full", "href=\"/projects/shop/robots/ci\"", "robot account ends"] {
        assert!(page.has(text), "{text}: {}", page.body);
    }
    assert!(!page.has("/admin/"), "{}", page.body);
    assert!(!world.get(&ben, "/").await.has("robot account ends"));
    world
        .execute(
            "insert into audit.entries (actor_kind, actor_name, action, object_kind, object_id, object_name, outcome,
                                        body_hash)
             values ('system', 'hythe', 'audit_acts_lost', 'audit', '', '3 acts', 'failed', decode(repeat('00', 32), 'hex'))",
        )
        .await;
    let page = world.get(&admin, "/").await;
    assert!(
        page.has("Acts were lost") && page.has("93 % full") && page.has("shop/robots/ci"),
        "{}",
        page.body
    );
    let link = "/admin/audit?kind=audit&operation=lost&range=30d";
    assert!(world.get(&admin, link).await.has("3 acts"));
}
