//! Policies: rules as sentences, what they lock, and names that break the rules.

use crate::world::World;

const PAGE: &str = "/projects/shop/policies";
const NEW: &str = "/projects/shop/policies/immutability/new";

#[actix_web::test]
async fn a_rule_is_tried_made_changed_and_deleted() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    for (name, tag) in [("api", "v1"), ("api", "latest"), ("back/db", "v2")] {
        world.image(project, &format!("shop/{name}"), tag, b"layer").await;
    }
    let ana = world.sign_in("ana").await;
    let rule = |done: &'static str, how: &'static str, tags: &'static str| {
        vec![("do", done), ("repohow", "matches"), ("repositories", "**"), ("taghow", how), ("tags", tags)]
    };
    let tried = world.post(&ana, NEW, NEW, &rule("preview", "matches", "v*")).await;
    assert!(
        tried.status == 200 && tried.has("Locks 2 tags now") && tried.has("shop/back/db"),
        "{}",
        tried.body
    );
    assert_eq!(world.number("select count(*) from catalog.immutable_rules").await, 0);
    let wrong = world.post(&ana, NEW, NEW, &rule("save", "matches", "[")).await;
    assert!(wrong.status == 422 && wrong.has("value=\"[\"") && wrong.has("href=\"#tags\""), "{}", wrong.body);
    assert_eq!(world.post(&ana, NEW, NEW, &rule("save", "matches", "v*")).await.location(), PAGE);
    let twin = world.post(&ana, NEW, NEW, &rule("save", "matches", "v*")).await;
    assert!(twin.status == 422 && twin.has("says the same"));
    let page = world.get(&ana, PAGE).await;
    assert!(page.has("“v*” tags can be neither moved nor deleted"), "{}", page.body);
    assert!(world.get(&ana, "/projects/shop").await.has("“v*” tags"));
    let id = world.number("select id from catalog.immutable_rules").await;
    let path = format!("{PAGE}/immutability/{id}");
    assert!(world.get(&ana, &path).await.has("Locks 2 tags now"));
    assert_eq!(world.post(&ana, &path, &path, &rule("save", "excludes", "v*")).await.status, 303);
    assert!(world.get(&ana, PAGE).await.has("all but “v*”"));
    assert!(world.get(&ana, &path).await.has("Locks 1 tag now"));
    assert_eq!(world.post(&ana, PAGE, &format!("{path}/disable"), &[]).await.status, 303);
    assert!(!world.get(&ana, "/projects/shop").await.has("all but “v*”"));
    assert_eq!(world.post(&ana, PAGE, &format!("{path}/enable"), &[]).await.status, 303);
    // The page of deletion refuses nothing: content stays when its rule goes.
    let confirm = format!("{path}/-/delete");
    assert!(world.get(&ana, &confirm).await.has("1 tag can be moved"));
    // A project with locked tags cannot be deleted, and says why.
    let delete = "/projects/shop/-/delete";
    let kept = world.post(&ana, delete, delete, &[("name", "shop"), ("content", "1")]).await;
    assert!(kept.status == 422 && kept.has("a rule makes immutable"));
    assert_eq!(world.post(&ana, &confirm, &confirm, &[]).await.status, 303);
    assert_eq!(world.number("select count(*) from catalog.immutable_rules").await, 0);
}

#[actix_web::test]
async fn policies_are_changed_by_who_may() {
    let world = World::new().await;
    let project = world.project("ana", "shop", true).await;
    world.member(project, "ben", 3).await;
    let (ana, ben) = (world.sign_in("ana").await, world.sign_in("ben").await);
    let page = world.get(&ben, PAGE).await;
    assert!(
        page.has("Names") && !page.has("Immutable tags") && !page.has("policies/naming\""),
        "{}",
        page.body
    );
    assert_eq!(world.get(&ben, NEW).await.status, 404);
    assert_eq!(world.get(&ben, &format!("{PAGE}/naming")).await.status, 404);
    let rule = [("pattern", "v[0-9]+"), ("message", ""), ("target", "tag"), ("mode", "enforce")];
    assert_eq!(world.post(&ben, PAGE, &format!("{PAGE}/naming"), &rule).await.status, 404);
    assert_eq!(world.send(&ana, "POST", &format!("{PAGE}/naming"), &rule).await.status, 403);
    assert_eq!(world.send(&ana, "POST", NEW, &[("tags", "**"), ("repositories", "**")]).await.status, 403);
    assert_eq!(world.number("select count(*) from catalog.naming_policies where project_id > 0").await, 0);
    assert_eq!(world.get("", PAGE).await.status, 404, "public, and yet nothing of this is");
}

#[actix_web::test]
async fn names_have_rules_and_a_report() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    world.image(project, "shop/api", "latest", b"layer").await;
    let ana = world.sign_in("ana").await;
    let naming = format!("{PAGE}/naming");
    let rules = |pattern: &'static str| {
        [
            ("target", "tag"),
            ("pattern", pattern),
            ("message", "use a version"),
            ("mode", "enforce"),
            ("target", "tag"),
            ("pattern", ""),
            ("message", ""),
            ("mode", "enforce"),
            ("target", "repository"),
            ("pattern", "[a-z]+"),
            ("message", ""),
            ("mode", "warn"),
        ]
    };
    let wrong = world.post(&ana, &naming, &naming, &rules("v[0-9+")).await;
    assert!(wrong.status == 422 && wrong.has("v[0-9+") && wrong.has("use a version"), "{}", wrong.body);
    assert_eq!(world.post(&ana, &naming, &naming, &rules("v[0-9]+")).await.location(), PAGE);
    let page = world.get(&ana, PAGE).await;
    assert!(page.has("New tags have to match v[0-9]+") && page.has("New repositories should match [a-z]+"));
    let report = world.get(&ana, &format!("{naming}/report")).await;
    assert!(report.has("shop/api") && report.has("latest") && report.has("use a version"), "{}", report.body);
    assert_eq!(world.get(&ana, &format!("{naming}/report?after=x")).await.status, 400);
}
