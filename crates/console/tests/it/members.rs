//! Members: who sees and changes them, and who is kept.

use crate::world::World;

const PAGE: &str = "/projects/shop/members";

#[actix_web::test]
async fn members_are_added_changed_and_removed() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    let missing = world.post(&ana, PAGE, PAGE, &[("kind", "user"), ("name", "nobody"), ("role", "2")]).await;
    assert_eq!(missing.status, 422);
    assert!(missing.has("value=\"nobody\"") && missing.has("aria-invalid=\"true\" autofocus"));
    assert!(missing.has("There is no user nobody"));
    let group = world.post(&ana, PAGE, PAGE, &[("kind", "group"), ("name", "team"), ("role", "2")]).await;
    assert!(group.status == 422 && group.has("There is no group team"));

    let added = world.post(&ana, PAGE, PAGE, &[("kind", "user"), ("name", "ben"), ("role", "3")]).await;
    assert_eq!((added.status, added.location()), (303, PAGE));
    let again = world.post(&ana, PAGE, PAGE, &[("kind", "user"), ("name", "ben"), ("role", "3")]).await;
    assert!(again.status == 422 && again.has("is a member already"));
    let changed = world.post(&ana, PAGE, &format!("{PAGE}/-/role?user=ben"), &[("role", "4")]).await;
    assert_eq!(changed.status, 303);
    assert_eq!(world.number("select count(*) from tenancy.members where role = 4").await, 1);

    let confirm = format!("{PAGE}/-/delete?user=ben");
    for stranger in ["", "?user=nobody", "?user=", "?oidc=ben", "?ldap=ben"] {
        assert_eq!(world.get(&ana, &format!("{PAGE}/-/delete{stranger}")).await.status, 404, "{stranger}");
    }
    let removed = world.post(&ana, &confirm, &confirm, &[]).await;
    assert_eq!(removed.status, 303);
    assert_eq!(world.number("select count(*) from tenancy.members where role = 4").await, 0);
    let told = removed.cookie("hythe-told").unwrap();
    let page = world.get(&format!("{ana}; {told}"), PAGE).await;
    assert!(page.has("ben was removed") && page.has("name=\"role\" value=\"4\""), "{}", page.body);
}

#[actix_web::test]
async fn the_last_administrator_stays() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    let page = world.get(&ana, PAGE).await;
    assert!(page.has("The only administrator") && !page.has("/-/delete"));
    let weaker = world.post(&ana, PAGE, &format!("{PAGE}/-/role?user=ana"), &[("role", "3")]).await;
    let removed = world.post(&ana, PAGE, &format!("{PAGE}/-/delete?user=ana"), &[]).await;
    assert_eq!((weaker.status, removed.status), (422, 422));
    assert!(removed.has("Make somebody else an administrator first"));
}

#[actix_web::test]
async fn who_may_not_is_offered_nothing_and_changes_nothing() {
    let world = World::new().await;
    let project = world.project("ana", "shop", true).await;
    world.member(project, "ben", 3).await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    assert_eq!(world.get(&admin, PAGE).await.status, 200);
    let page = world.get(&ben, PAGE).await;
    assert_eq!(page.status, 200);
    assert!(!page.has("method=\"post\" action=\"/projects/shop/members") && !page.has("/-/delete"));
    assert!(!page.has("/projects/shop/settings") && page.has("/projects/shop/robots"));
    let refused = world.post(&ben, PAGE, PAGE, &[("kind", "user"), ("name", "admin"), ("role", "1")]).await;
    assert_eq!(refused.status, 404);
    let stale = world.send(&ana, "POST", PAGE, &[("name", "admin"), ("role", "1")]).await;
    assert_eq!(stale.status, 403);
    world.execute("delete from tenancy.members where role = 3").await;
    // The project is public, its members are not.
    assert_eq!(world.get(&ben, PAGE).await.status, 404);
    assert_eq!(
        world.number("select count(*) from tenancy.members where entity_id = 1 and project_id > 1").await,
        0
    );
}

#[actix_web::test]
async fn groups_are_members_by_what_they_are_known_by() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    world
        .execute(
            "insert into identity.groups (kind, name, dn) values (3, '/devs & ops', ''), (2, 'builders', ''),
             (1, 'builders', 'cn=builders,dc=a'), (1, 'builders', 'cn=builders,dc=b');
             insert into tenancy.members (project_id, entity_type, entity_id, role)
             select p.id, 'g', g.id, 3 from identity.groups g, tenancy.projects p where p.name = 'shop'",
        )
        .await;
    let page = world.get(&ana, PAGE).await;
    for (query, left) in [
        ("oidc=%2Fdevs%20%26%20ops", 3),
        ("http=builders", 2),
        ("ldap=cn%3Dbuilders%2Cdc%3Db", 1),
        ("ldap=cn%3Dbuilders%2Cdc%3Da", 0),
    ] {
        let confirm = format!("{PAGE}/-/delete?{query}");
        assert!(page.has(&confirm), "{query}: {}", page.body);
        assert_eq!(world.post(&ana, &confirm, &confirm, &[]).await.status, 303, "{query}");
        let sql = "select count(*) from tenancy.members where entity_type = 'g'";
        assert_eq!(world.number(sql).await, left, "{query}");
    }
}
