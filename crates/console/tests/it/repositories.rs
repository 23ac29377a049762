//! Who sees repositories, and what.

use crate::world::World;

#[actix_web::test]
async fn a_private_repository_is_missing_for_strangers() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    world.image(project, "shop/back/api", "v1", b"layer").await;
    let (ana, ben) = (world.sign_in("ana").await, world.sign_in("ben").await);
    let base = "/projects/shop/repositories/back/api";
    assert!(world.get(&ana, base).await.has("back/api"));
    let page = world.get(&ben, base).await;
    let missing = world.get(&ben, "/projects/none/repositories/back/api").await;
    assert_eq!((page.status, missing.status), (404, 404));
}
