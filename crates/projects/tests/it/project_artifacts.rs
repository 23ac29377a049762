//! The artifacts of a whole project over REST.

use serde_json::Value;

use crate::world::World;

const PATH: &str = "/api/v2.0/projects/alpha/artifacts";

fn names(body: &Value) -> Vec<String> {
    let rows = body.as_array().unwrap().iter();
    rows.map(|row| {
        let tag = row["tags"][0]["name"].as_str().unwrap_or("-");
        format!("{}:{tag}", row["repository_name"].as_str().unwrap())
    })
    .collect()
}

#[actix_web::test]
async fn all_repositories_and_nobody_elses() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", true).await;
    world.image(id, "alpha/a", "v1", b"one").await;
    world.image(id, "alpha/b/c", "v1", b"two").await;
    world.image(id, "alpha/b/c", "v2", b"three").await;
    let other = world.project("ben", "beta", false).await;
    world.image(other, "beta/a", "v1", b"four").await;

    let list = world.get("ana", PATH).await;
    assert_eq!((list.status, list.header("x-total-count")), (200, Some("3")), "{}", list.body);
    assert_eq!(names(&list.json()), ["alpha/b/c:v2", "alpha/b/c:v1", "alpha/a:v1"], "newest first");
    let by_id = world.get("ana", &format!("/api/v2.0/projects/{id}/artifacts/?page_size=1&page=2")).await;
    assert_eq!(names(&by_id.json()), ["alpha/b/c:v1"]);
    assert!(by_id.header("link").unwrap().contains("rel=\"prev\" , "));
    for (query, expected) in [
        ("q=tags%3Dv1", "2"),
        ("q=tags%3D~v", "3"),
        ("q=tags%3Dnil", "0"),
        ("q=repository_name%3Dalpha/a", "1"),
        ("q=type%3DCHART", "0"),
    ] {
        let list = world.get("ana", &format!("{PATH}?{query}")).await;
        assert_eq!((list.status, list.header("x-total-count")), (200, Some(expected)), "{query}");
    }
    // The project is public, the view of all of it is not.
    assert_eq!(world.get("", PATH).await.status, 401);
    assert_eq!(world.get("ben", PATH).await.status, 200);
    assert_eq!(world.get("ana", "/api/v2.0/projects/beta/artifacts").await.status, 403);
    assert_eq!(world.get("ana", "/api/v2.0/projects/nothing/artifacts").await.status, 403);
    assert_eq!(world.get("admin", "/api/v2.0/projects/nothing/artifacts").await.status, 404);
}

#[actix_web::test]
async fn the_newest_of_each_repository() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    for (name, tag, layer) in [
        ("alpha/a", "v1", b"one"),
        ("alpha/a", "v2", b"two"),
        ("alpha/b", "v1", b"one"),
        ("alpha/b", "v2", b"two"),
    ] {
        world.image(id, name, tag, layer).await;
    }
    let config = "application/vnd.oci.image.config.v1%2Bjson";
    for key in ["media_type", "artifact_type", "ArtifactType"] {
        let list = world.get("ana", &format!("{PATH}?latest_in_repository=true&q={key}%3D{config}")).await;
        assert_eq!(names(&list.json()), ["alpha/b:v2", "alpha/a:v2"], "{key}: {}", list.body);
        assert_eq!(list.header("x-total-count"), Some("2"));
    }
    assert_eq!(world.get("ana", &format!("{PATH}?latest_in_repository=maybe")).await.status, 422);
}

/// However many rows, and from however many repositories.
#[actix_web::test]
async fn a_page_costs_the_same_number_of_statements() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    world.image(id, "alpha/a0", "v1", b"one").await;
    let before = world.statements().await;
    world.get("ana", PATH).await;
    let few = world.statements().await - before;
    for number in 1..6 {
        world.image(id, &format!("alpha/a{number}"), "v1", b"one").await;
    }
    let before = world.statements().await;
    assert_eq!(world.get("ana", PATH).await.header("x-total-count"), Some("6"));
    assert_eq!(world.statements().await - before, few);
}
