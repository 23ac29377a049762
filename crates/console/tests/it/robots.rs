//! Robots of projects and of the installation: their rights, and secrets that are shown once.

use crate::world::World;

const PAGE: &str = "/projects/shop/robots";
const NEW: &str = "/projects/shop/robots/-/new";

fn secret(body: &str) -> String {
    let (_, rest) = body.split_once("id=\"secret\" class=\"mono\" value=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[actix_web::test]
async fn a_secret_is_shown_once() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    let fields = [("name", "ci"), ("description", "builds"), ("expiry", "90"), ("preset", "push")];
    let made = world.post(&ana, NEW, NEW, &fields).await;
    assert_eq!((made.status, made.header("cache-control")), (200, Some("no-store")), "{}", made.body);
    let first = secret(&made.body);
    assert!(first.len() >= 20 && made.has("robot+shop+ci") && made.has("REGISTRY_PASSWORD"));
    // The form once more, as when the page is loaded again.
    let again = world.post(&ana, NEW, NEW, &fields).await;
    assert!(again.status == 422 && again.has("its secret was shown once") && again.has("value=\"builds\""));

    let robot = format!("{PAGE}/ci");
    let page = world.get(&ana, &robot).await;
    assert!(page.has("Repositories") && !page.has(&first));
    let version = page.body.split_once("name=\"version\" value=\"").unwrap().1.split_once('"').unwrap().0;
    let path = format!("{robot}/secret");
    let other = world.post(&ana, &robot, &path, &[("version", version)]).await;
    assert_ne!(secret(&other.body), first);
    let again = world.post(&ana, &robot, &path, &[("version", version)]).await;
    assert!(again.status == 422 && !again.has("value=\"hythe") && again.has("has been shown once"));

    assert_eq!(world.post(&ana, &robot, &format!("{robot}/disable"), &[]).await.status, 303);
    assert!(world.get(&ana, PAGE).await.has("Disabled"));
    assert_eq!(world.post(&ana, &robot, &format!("{robot}/enable"), &[]).await.status, 303);
    assert_eq!(world.number("select count(*) from tenancy.robot_grants").await, 2);
    let confirm = format!("{robot}/-/delete");
    assert_eq!(world.post(&ana, &confirm, &confirm, &[]).await.location(), PAGE);
    assert_eq!(world.get(&ana, &robot).await.status, 404);
}

#[actix_web::test]
async fn what_is_missing_is_said_at_its_field() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    for (fields, field) in [
        (vec![("name", "ci"), ("expiry", "date"), ("date", "2001-01-01"), ("preset", "pull")], "#date"),
        (vec![("name", "ci"), ("expiry", "date"), ("preset", "pull")], "#date"),
        (vec![("name", "ci"), ("expiry", "30"), ("preset", "custom")], "#preset"),
        (vec![("name", "C I"), ("expiry", "30"), ("preset", "pull")], "#name"),
        (vec![("name", "ci"), ("expiry", "30"), ("preset", "custom"), ("right", "robot:update")], "#name"),
    ] {
        let page = world.post(&ana, NEW, NEW, &fields).await;
        assert_eq!(page.status, 422, "{fields:?}");
        assert!(page.has(&format!("href=\"{field}\"")), "{fields:?}: {}", page.body);
    }
    assert_eq!(world.number("select count(*) from identity.robots").await, 0);
}

#[actix_web::test]
async fn robots_are_for_who_may_see_them() {
    let world = World::new().await;
    let project = world.project("ana", "shop", true).await;
    world.member(project, "ben", 3).await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    world.post(&ana, NEW, NEW, &[("name", "ci"), ("expiry", "30"), ("preset", "ci")]).await;
    let list = world.get(&ben, PAGE).await;
    assert!(list.has("robot+shop+ci") && !list.has("robots/-/new"));
    let robot = world.get(&ben, &format!("{PAGE}/ci")).await;
    assert!(robot.status == 200 && !robot.has("/secret") && !robot.has("/-/delete"));
    assert_eq!(world.get(&ben, NEW).await.status, 404);
    let stolen = world.post(&ben, &format!("{PAGE}/ci"), &format!("{PAGE}/ci/secret"), &[]).await;
    assert_eq!(stolen.status, 404);
    let stale = world.send(&ana, "POST", &format!("{PAGE}/ci/-/delete"), &[]).await;
    assert_eq!(stale.status, 403);
    assert_eq!(world.number("select count(*) from identity.robots where deleted_at is null").await, 1);

    // Robots of the installation have the same pages, for administrators.
    assert_eq!(world.get(&ana, "/admin/robots").await.status, 404);
    assert_eq!(world.get(&ana, "/admin/robots/-/new").await.status, 404);
    let new = "/admin/robots/-/new";
    let fields = [
        ("name", "mirror"),
        ("expiry", "never"),
        ("preset", "pull"),
        ("projects", "shop\nlibrary"),
        ("systemright", "project:list"),
    ];
    let unknown = world.post(&admin, new, new, &fields).await;
    assert_eq!(unknown.status, 422, "there is no project library here");
    let fields = [&fields[..3], &[("projects", "shop"), ("systemright", "project:list")]].concat();
    let made = world.post(&admin, new, new, &fields).await;
    assert!(made.status == 200 && made.has("robot+mirror"), "{}", made.body);
    let page = world.get(&admin, "/admin/robots/mirror").await;
    assert!(page.has("In the project shop") && page.has("On the installation"));
    assert!(!world.get(&admin, "/admin/robots").await.has("robot+shop+ci"));
}

/// What the one robot holds, and when it ends.
async fn held(world: &World) -> (i64, i64) {
    let days = "select coalesce(duration_days, 0)::bigint from identity.robots where deleted_at is null";
    (world.number("select count(*) from tenancy.robot_grants").await, world.number(days).await)
}

#[actix_web::test]
async fn a_robot_can_become_another() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    world.member(project, "ben", 3).await;
    let (ana, ben) = (world.sign_in("ana").await, world.sign_in("ben").await);
    // A name may be a word of the addresses.
    world.post(&ana, NEW, NEW, &[("name", "new"), ("expiry", "90"), ("preset", "push")]).await;
    let (robot, edit) = (format!("{PAGE}/new"), format!("{PAGE}/new/-/edit"));
    assert!(world.get(&ana, &robot).await.has(&edit));
    assert_eq!(held(&world).await, (2, 90));
    let form = world.get(&ana, &edit).await;
    assert!(form.has("value=\"push\" checked") && form.has("value=\"keep\" selected"), "{}", form.body);
    assert!(!form.has("name=\"name\"") && form.has("It ends at"));
    let seen = form.field("seen");

    let kept = [("description", "builds"), ("expiry", "keep"), ("preset", "pull"), ("seen", &seen)];
    let saved = world.post(&ana, &edit, &edit, &kept).await;
    assert_eq!((saved.status, saved.location()), (303, robot.as_str()), "{}", saved.body);
    assert_eq!(held(&world).await, (1, 90));
    // Somebody who opened the form before.
    let late = [("description", "mirrors"), ("expiry", "never"), ("preset", "push"), ("seen", &seen)];
    let clash = world.post(&ana, &edit, &edit, &late).await;
    assert!(clash.status == 409 && clash.has(">builds</td>") && clash.has(">mirrors</td>"), "{}", clash.body);
    assert_eq!(held(&world).await, (1, 90));
    let seen = clash.field("seen");
    let rights = [("right", "repository:pull"), ("right", "tag:delete"), ("preset", "custom")];
    let late = [&rights[..], &[("description", "mirrors"), ("expiry", "never"), ("seen", &seen)]].concat();
    assert_eq!(world.post(&ana, &edit, &edit, &late).await.status, 303);
    assert_eq!(held(&world).await, (2, -1));
    let form = world.get(&ana, &edit).await;
    assert!(form.has("value=\"tag:delete\" checked") && form.has("value=\"custom\" checked"));
    assert!(form.has("value=\"mirrors\"") && form.has("It never ends"));

    for (fields, field) in [
        (vec![("expiry", "date"), ("date", "2001-01-01"), ("preset", "pull")], "#date"),
        (vec![("expiry", "keep"), ("preset", "custom")], "#preset"),
        (vec![("expiry", "keep"), ("preset", "custom"), ("right", "robot:update")], "#description"),
    ] {
        let page = world.post(&ana, &edit, &edit, &fields).await;
        assert!(page.status == 422 && page.has(&format!("href=\"{field}\"")), "{fields:?}: {}", page.body);
    }
    assert_eq!(world.get(&ben, &edit).await.status, 404);
    let fields = [("expiry", "keep"), ("preset", "push")];
    assert_eq!(world.post(&ben, &robot, &edit, &fields).await.status, 404);
    assert_eq!(world.send(&ana, "POST", &edit, &fields).await.status, 403);
    assert_eq!(held(&world).await, (2, -1));
}

#[actix_web::test]
async fn rights_that_the_form_cannot_say_stay() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    world.project("ana", "mirror", false).await;
    let admin = world.sign_in("admin").await;
    let new = "/admin/robots/-/new";
    let fields = [("name", "sync"), ("expiry", "30"), ("preset", "push"), ("projects", "shop mirror")];
    world.post(&admin, new, new, &fields).await;
    let edit = "/admin/robots/sync/-/edit";
    assert!(world.get(&admin, edit).await.has(">mirror\nshop<"), "both are in the form");
    world
        .execute(
            "delete from tenancy.robot_grants where action = 'push'
             and project_id = (select id from tenancy.projects where name = 'shop')",
        )
        .await;
    let form = world.get(&admin, edit).await;
    assert!(
        !form.has("name=\"preset\"") && form.has("other rights in each of its projects"),
        "{}",
        form.body
    );
    let saved = world.post(&admin, edit, edit, &[("description", "moved"), ("expiry", "keep")]).await;
    assert_eq!(saved.status, 303, "{}", saved.body);
    assert_eq!(held(&world).await, (3, 30));
}
