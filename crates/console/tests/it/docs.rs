//! The documentation and the reference of the API, for everybody.

use crate::world::World;

#[actix_web::test]
async fn documents_are_listed_searched_and_read() {
    let world = World::new().await;
    let list = world.get("", "/docs").await;
    assert!(list.has("href=\"/docs/operations\"") && list.has("href=\"/docs/api\""), "{}", list.body);
    let found = world.get("", "/docs?q=admin-password").await;
    assert!(found.has("/docs/operations") && !found.has("/docs/glossary"), "{}", found.body);
    assert!(world.get("", "/docs?q=zzzzzz").await.has("Nothing matches."));
    let page = world.get("", "/docs/operations").await;
    assert_eq!((page.status, page.body.matches("<h1").count()), (200, 1));
    assert!(page.has("<h2 id=\"") && !page.has(" style=\""));
    for missing in ["/docs/nothing", "/docs/..%2FREADME", "/docs/api/nothing"] {
        assert_eq!(world.get("", missing).await.status, 404, "{missing}");
    }
}

#[actix_web::test]
async fn operations_come_with_a_command() {
    let world = World::new().await;
    let list = world.get("", "/docs/api?q=thing").await;
    assert!(list.has("href=\"/docs/api/listThings\"") && list.has("/api/v2.0/things"), "{}", list.body);
    assert!(world.get("", "/docs/api?q=zzz").await.has("Nothing matches."));
    let one = world.get(&world.sign_in("ana").await, "/docs/api/listThings").await;
    assert!(one.has("curl -u ana") && one.has("hythe.example:8080/api/v2.0/things"), "{}", one.body);
}
