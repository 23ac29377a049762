//! The description of the API, as clients fetch it.

use actix_web::test::TestRequest;

use crate::world::World;

const PATH: &str = "/api/v2.0/openapi.json";

#[actix_web::test]
async fn anybody_reads_it_and_asks_again_for_nothing() {
    let world = World::new().await;
    let first = world.get("", PATH).await;
    assert_eq!((first.status, first.header("content-type")), (200, Some("application/json")));
    assert_eq!(first.json()["info"]["title"], "Hythe");
    assert!(first.header("cache-control").unwrap().contains("max-age="));
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.len() > 10 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for held in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let again =
            world.send_raw(TestRequest::get().uri(PATH).insert_header(("if-none-match", held.clone()))).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{held}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
    let other = TestRequest::get().uri(PATH).insert_header(("if-none-match", "\"other\""));
    assert_eq!(world.send_raw(other).await.status, 200);
    // Wrong credentials are nobody's business here.
    let wrong = TestRequest::get().uri(PATH).insert_header(("authorization", "Basic eDp5"));
    assert_eq!(world.send_raw(wrong).await.status, 200);
}
