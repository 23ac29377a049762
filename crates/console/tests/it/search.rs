//! Search: what it finds, and for whom.

use crate::world::World;

#[actix_web::test]
async fn everything_is_found_by_those_who_may_see_it() {
    let world = World::new().await;
    let secret = world.project("ana", "secret", false).await;
    let open = world.project("ana", "open", true).await;
    let digest = world.image(secret, "secret/pay/api", "v1.10.0-rc", b"one").await;
    world.image(open, "open/web", "v1.10.0", b"two").await;
    world.image(open, "open/x", "1", b"three").await;
    world
        .execute("update catalog.repositories set description = '支付网关\nPayments of <shops>' where path = 'secret/pay/api'")
        .await;
    let (ana, ben, admin) =
        (world.sign_in("ana").await, world.sign_in("ben").await, world.sign_in("admin").await);
    let digits = digest.to_string().split_once(':').unwrap().1.to_owned();
    let tag = "/projects/secret/repositories/pay/api/-/tags/v1.10.0-rc".to_owned();
    let repository = "/projects/secret/repositories/pay/api".to_owned();
    let artifact = format!("/projects/secret/repositories/pay/api/-/artifacts/{digest}");
    for (q, found) in [
        ("1.10", &tag),
        ("10.0-RC", &tag),
        ("%E6%94%AF%E4%BB%98", &repository),
        ("ayments%20of", &repository),
        (&digits[..6], &artifact),
        (&format!("sha256:{}", &digits[..9]), &artifact),
        (&digits, &artifact),
        ("secret/pay/api:v1.10.0-rc", &tag),
    ] {
        let link = format!("href=\"{found}\"");
        for (who, sees) in [(&ana, true), (&admin, true), (&ben, false), (&String::new(), false)] {
            let page = world.get(who, &format!("/search?q={q}")).await;
            assert_eq!(page.status, 200);
            assert_eq!(page.has(&link), sees, "{q} {who}: {}", page.body);
            assert!(sees || q.contains("secret") || !page.has("secret/pay"), "{q}: {}", page.body);
            assert!(!sees || page.body.matches(" autofocus").count() == 1, "{q}: {}", page.body);
        }
    }
    let page = world.get(&ben, "/search?q=v1.10").await;
    assert!(page.has("open/web:v1.10.0") && page.has("/projects/open/repositories/web/-/tags/v1.10.0"));
    let page = world.get(&ana, "/search?q=v1.10.0").await;
    assert!(
        page.body.find("open/web:v1.10.0").unwrap() < page.body.find("v1.10.0-rc").unwrap(),
        "the same name first"
    );
    assert!(
        world.get(&ben, "/search?q=1").await.has("open/x:1"),
        "one character is looked for at the beginning"
    );
    for nothing in [&digits[..5], &digits[1..8], "%25", "_", "v1_10", "%27%3B--", "%01v1", "1.10.0-rd"] {
        let page = world.get(&ana, &format!("/search?q={nothing}")).await;
        assert!(
            page.status == 200 && !page.has("/-/tags/") && !page.has("/-/artifacts/"),
            "{nothing}: {}",
            page.body
        );
    }
    // What is gone is not found.
    world.execute("update catalog.repositories set deleted_at = now() where path = 'secret/pay/api'").await;
    for q in ["1.10.0-rc", "%E6%94%AF%E4%BB%98", &digits] {
        assert!(!world.get(&ana, &format!("/search?q={q}")).await.has("secret/pay"), "{q}");
    }
}

#[actix_web::test]
async fn a_search_costs_the_same_however_much_it_finds() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    let ana = world.sign_in("ana").await;
    let mut costs = Vec::new();
    for round in 0..2 {
        for number in 0..12 {
            world
                .image(
                    project,
                    &format!("shop/app{round}{number}"),
                    "app-1",
                    format!("{round}{number}").as_bytes(),
                )
                .await;
        }
        let before = world.statements().await;
        assert!(world.get(&ana, "/search?q=app").await.has("app-1"));
        costs.push(world.statements().await - before);
    }
    assert_eq!(costs[0], costs[1]);
}
