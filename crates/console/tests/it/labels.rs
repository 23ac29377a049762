//! Labels: of projects and of the installation, and on artifacts.

use crate::world::World;

const PAGE: &str = "/projects/shop/labels";
const NEW: &str = "/projects/shop/labels/-/new";
/// `new & <b>/..` as a name in an address.
const ODD: &str = "new%20%26%20%3Cb%3E%2F%2E%2E";

fn fields<'a>(name: &'a str, color: &'a str, other: &'a str) -> [(&'a str, &'a str); 4] {
    [("name", name), ("description", "for <people>"), ("color", color), ("other", other)]
}

#[actix_web::test]
async fn labels_are_made_changed_and_deleted() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    assert!(world.get(&ana, PAGE).await.has("No labels yet"));
    let made = world.post(&ana, NEW, NEW, &fields("new & <b>/..", "#B0241C", "")).await;
    assert_eq!((made.status, made.location()), (303, PAGE), "{}", made.body);
    let twin = world.post(&ana, NEW, NEW, &fields("new & <b>/..", "other", "tomato")).await;
    assert!(
        twin.status == 422 && twin.has("href=\"#name\"") && twin.has("value=\"tomato\""),
        "{}",
        twin.body
    );
    for (name, color, other, field) in [
        ("", "#B0241C", "", "#name"),
        ("a", "other", "url(x)", "#other"),
        ("a", "other", "\" onload=\"x", "#other"),
    ] {
        let page = world.post(&ana, NEW, NEW, &fields(name, color, other)).await;
        assert!(
            page.status == 422 && page.has(&format!("href=\"{field}\"")),
            "{name} {other}: {}",
            page.body
        );
    }
    let list = world.get(&ana, PAGE).await;
    assert!(list.has("fill=\"#B0241C\"") && !list.has("<b>") && !list.has("style="), "{}", list.body);
    assert!(world.get(&ana, &format!("{PAGE}?q=nothing")).await.has("Clear"));

    let (edit, delete) = (format!("{PAGE}/-/edit?name={ODD}"), format!("{PAGE}/-/delete?name={ODD}"));
    assert_eq!(world.get(&ana, &edit).await.status, 200);
    for missing in ["", "?name=", "?name=other"] {
        assert_eq!(world.get(&ana, &format!("{PAGE}/-/edit{missing}")).await.status, 404, "{missing}");
    }
    let saved = world.post(&ana, &edit, &edit, &fields("tested", "other", "tomato")).await;
    assert_eq!(saved.status, 303);
    assert_eq!(world.get(&ana, &edit).await.status, 404);
    let edit = format!("{PAGE}/-/edit?name=tested");
    let page = world.get(&ana, &edit).await;
    assert!(page.has("value=\"tomato\"") && page.has("value=\"other\" checked"), "{}", page.body);
    assert_eq!(world.get(&ana, &delete).await.status, 404);
    let delete = format!("{PAGE}/-/delete?name=tested");
    assert!(world.get(&ana, &delete).await.has("No artifact wears this label"));
    assert_eq!(world.send(&ana, "POST", &delete, &[]).await.status, 403);
    assert_eq!(world.number("select count(*) from catalog.labels").await, 1);
    assert_eq!(world.post(&ana, &delete, &delete, &[]).await.location(), PAGE);
    assert_eq!(world.number("select count(*) from catalog.labels").await, 0);
}

#[actix_web::test]
async fn the_second_of_two_sees_both() {
    let world = World::new().await;
    world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    world.post(&ana, NEW, NEW, &fields("tested", "#B0241C", "")).await;
    let edit = format!("{PAGE}/-/edit?name=tested");
    let seen = world.get(&ana, &edit).await.field("seen");
    let first = [("name", "tested"), ("description", "theirs"), ("color", "#B0241C"), ("seen", &seen)];
    assert_eq!(world.post(&ana, &edit, &edit, &first).await.status, 303);
    let second = [("name", "tested"), ("description", "mine"), ("color", "#B0241C"), ("seen", &seen)];
    let clash = world.post(&ana, &edit, &edit, &second).await;
    assert_eq!(clash.status, 409);
    assert!(
        clash.has(">theirs</td>") && clash.has(">mine</td>") && clash.has("value=\"mine\""),
        "{}",
        clash.body
    );
    assert_eq!(world.number("select count(*) from catalog.labels where description = 'theirs'").await, 1);
    let seen = clash.field("seen");
    let again = [("name", "tested"), ("description", "mine"), ("color", "#B0241C"), ("seen", &seen)];
    assert_eq!(world.post(&ana, &edit, &edit, &again).await.status, 303);
    assert_eq!(world.number("select count(*) from catalog.labels where description = 'mine'").await, 1);
}

#[actix_web::test]
async fn labels_are_for_who_may() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    world.member(project, "ben", 3).await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    world.post(&ana, NEW, NEW, &fields("tested", "#B0241C", "")).await;
    let list = world.get(&ben, PAGE).await;
    assert!(list.status == 200 && list.has("tested") && !list.has("labels/-/"), "{}", list.body);
    for page in ["new", "edit?name=tested", "delete?name=tested"] {
        let path = format!("{PAGE}/-/{page}");
        assert_eq!(world.get(&ben, &path).await.status, 404, "{page}");
        assert_eq!(world.post(&ben, PAGE, &path, &fields("mine", "#B0241C", "")).await.status, 404, "{page}");
        assert!(world.get("", &path).await.location().starts_with("/login"), "{page}");
    }
    world.execute("delete from tenancy.members where role = 3").await;
    assert_eq!(world.get(&ben, PAGE).await.status, 404);
    assert_eq!(world.get("", PAGE).await.status, 404);

    // Those of the installation have the same pages, for administrators.
    let new = "/admin/labels/-/new";
    assert_eq!(world.get(&ana, "/admin/labels").await.status, 404);
    assert_eq!(world.post(&ana, "/", new, &fields("keep", "#B0241C", "")).await.status, 404);
    let made = world.post(&admin, new, new, &fields("keep", "other", "")).await;
    assert_eq!(made.location(), "/admin/labels");
    let list = world.get(&admin, "/admin/labels").await;
    assert!(list.has("fill=\"none\"") && !list.has("tested"));
    assert_eq!(world.get(&admin, "/admin/labels/-/edit?name=tested").await.status, 404);
    assert_eq!(world.number("select count(*) from catalog.labels").await, 2);
}

#[actix_web::test]
async fn artifacts_wear_labels() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    world.member(project, "ben", 3).await;
    let digest = world.image(project, "shop/app", "1", b"layer").await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    world.post(&ana, NEW, NEW, &fields("tested", "#B0241C", "")).await;
    let new = "/admin/labels/-/new";
    world.post(&admin, new, new, &fields("tested", "other", "")).await;
    world.project("ana", "other", false).await;
    let new = "/projects/other/labels/-/new";
    world.post(&ana, new, new, &fields("elsewhere", "other", "")).await;

    let page = format!("/projects/shop/repositories/app/-/artifacts/{digest}");
    let (add, remove) = (format!("{page}/labels"), format!("{page}/labels/-/remove"));
    assert!(world.get(&ana, &page).await.has("<option value=\"tested\">"));
    let unknown = world.post(&ana, &page, &add, &[("label", "elsewhere")]).await;
    assert!(unknown.status == 422 && unknown.has("value=\"elsewhere\"") && unknown.has("href=\"#label\""));
    // The project's first, then that of the installation; a third time there is none.
    for (status, worn) in [(303, 1), (303, 2), (422, 2)] {
        assert_eq!(world.post(&ana, &page, &add, &[("label", "tested")]).await.status, status);
        assert_eq!(world.number("select count(*) from catalog.manifest_labels").await, worn);
    }
    let delete = format!("{PAGE}/-/delete?name=tested");
    assert!(world.get(&ana, &delete).await.has("taken off 1 artifact"));

    let shown = world.get(&ben, &page).await;
    assert!(shown.has("tested") && !shown.has("/labels"), "{}", shown.body);
    let id = world.number("select label_id from catalog.manifest_labels order by label_id limit 1").await;
    for (path, field) in [(&add, "tested".to_owned()), (&remove, id.to_string())] {
        assert_eq!(world.post(&ben, &page, path, &[("label", &field)]).await.status, 404);
        assert_eq!(world.send(&ana, "POST", path, &[("label", &field)]).await.status, 403);
    }
    let removed = world.post(&ana, &page, &remove, &[("label", &id.to_string())]).await;
    assert_eq!((removed.status, removed.location()), (303, page.as_str()));
    assert_eq!(world.number("select count(*) from catalog.manifest_labels").await, 1);
    let told = removed.cookie("hythe-told").unwrap();
    let after = world.get(&format!("{ana}; {told}"), &page).await;
    assert!(after.has(&format!("action=\"{add}\"")) && after.has("Undo"), "{}", after.body);
    assert_eq!(world.post(&ana, &page, &remove, &[("label", &id.to_string())]).await.status, 404);
}
