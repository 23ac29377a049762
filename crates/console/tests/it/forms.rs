//! What happens to forms that come too late: somebody else was faster, or the session has ended. And the pages of errors.

use crate::world::{PASSWORD, World};

/// Ends every session, as time does.
async fn lapse(world: &World) {
    world.execute("update identity.sessions set last_seen_at = now() - interval '2 days'").await;
}

#[actix_web::test]
async fn what_was_typed_outlives_the_session() {
    let world = World::new().await;
    let ana = world.sign_in("ana").await;
    let token = world.get(&ana, "/projects/new").await.token().to_owned();
    lapse(&world).await;
    let fields = [("csrf", token.as_str()), ("name", "team-<a>"), ("public", "1")];
    let asked = world.send(&ana, "POST", "/projects/new", &fields).await;
    assert_eq!((asked.status, asked.header("cache-control")), (401, Some("no-store")), "{}", asked.body);
    assert!(asked.has("what you typed is kept") && asked.has("action=\"/login\""), "{}", asked.body);
    let (draft, form) = (asked.field("draft"), asked.cookie("hythe-form").unwrap());
    let cookies = format!("{ana}; {form}");
    let login = |password: &'static str, token: String, draft: String| {
        let (world, cookies) = (&world, &cookies);
        async move {
            let fields =
                [("csrf", token.as_str()), ("name", "ana"), ("password", password), ("draft", &draft)];
            world.send(cookies, "POST", "/login", &fields).await
        }
    };
    let wrong = login("Wrong-horse-1", asked.token().to_owned(), draft).await;
    assert_eq!(wrong.status, 401);
    let back = login(PASSWORD, wrong.token().to_owned(), wrong.field("draft")).await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert!(back.has("action=\"/projects/new\"") && back.has("value=\"team-&#60;a&#62;\""), "{}", back.body);
    assert!(back.has("name=\"public\" value=\"1\"") && back.has(">ana</span></summary>"), "{}", back.body);
    assert_eq!(world.number("select count(*) from tenancy.projects where name like 'team%'").await, 0);
    let ana = back.cookie("hythe").unwrap();
    let fields = [("csrf", back.token()), ("name", "team-a"), ("public", "1")];
    let sent = world.send(&ana, "POST", "/projects/new", &fields).await;
    assert_eq!(sent.location(), "/projects/team-a", "{}", sent.body);
}

#[actix_web::test]
async fn what_nobody_typed_here_is_not_kept() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    assert!(project > 0);
    let ana = world.sign_in("ana").await;
    let token = world.get(&ana, "/me/password").await.token().to_owned();
    lapse(&world).await;
    // Passwords are never kept.
    let fields = [("csrf", token.as_str()), ("old", PASSWORD), ("password", "Better-horse-1")];
    let asked = world.send(&ana, "POST", "/me/password", &fields).await;
    assert_eq!(asked.status, 401);
    assert!(!asked.has(PASSWORD) && !asked.has("Better-horse"));
    let draft = asked.field("draft");
    assert!(!draft.contains("QmV0dGVy"), "{draft}");
    // A form with another token, or one that another site sent.
    for (path, status) in [("/projects/new", 401), ("/projects/shop/settings", 403)] {
        for token in ["", "x", &token[1..]] {
            let fields = [("csrf", token), ("name", "mine")];
            let page = world.send(&ana, "POST", path, &fields).await;
            assert_eq!(page.status, status, "{path} {token}: {}", page.body);
            assert!(!page.has("name=\"draft\""), "{path}");
        }
    }
    // More than a page carries: signing in is asked for all the same.
    let long = "x".repeat(100 * 1024);
    let fields = [("csrf", token.as_str()), ("name", &long)];
    let page = world.send(&ana, "POST", "/projects/new", &fields).await;
    assert!(page.status == 401 && !page.has("name=\"draft\"") && page.has("too long"), "{}", page.status);
    // A draft that leads elsewhere, as nobody's page makes one.
    let page = world.get("", "/login").await;
    for draft in ["eyJhY3Rpb24iOiIvL2V2aWwuZXhhbXBsZSIsImZpZWxkcyI6W119", "%%%", "e30"] {
        let fields = [("csrf", page.token()), ("name", "ana"), ("password", PASSWORD), ("draft", draft)];
        let entered = world.send(&page.cookie("hythe-form").unwrap(), "POST", "/login", &fields).await;
        assert_eq!(entered.location(), "/", "{draft}");
    }
}

#[actix_web::test]
async fn a_browser_has_one_session() {
    let world = World::new().await;
    let first = world.sign_in("ana").await;
    let token = world.get(&first, "/").await.token().to_owned();
    let fields = [("csrf", token.as_str()), ("name", "ana"), ("password", PASSWORD), ("return", "/")];
    let again = world.send(&first, "POST", "/login", &fields).await;
    assert_eq!(again.status, 303, "{}", again.body);
    let second = again.cookie("hythe").unwrap();
    assert_eq!(world.get(&first, "/me").await.status, 303);
    assert_eq!(world.get(&second, "/me").await.status, 200);
    assert_eq!(world.number("select count(*) from identity.sessions").await, 1);
}

#[actix_web::test]
async fn whoever_is_late_sees_what_is_there() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    world.image(project, "shop/app", "1", b"layer").await;
    let (ana, admin) = (world.sign_in("ana").await, world.sign_in("admin").await);
    let rule = "/projects/shop/policies/immutability/new";
    let fields = [("repositories", "**"), ("tags", "v*"), ("do", "save")];
    assert_eq!(world.post(&ana, rule, rule, &fields).await.status, 303);
    let rule = world.number("select id from catalog.immutable_rules").await;
    let rule = format!("/projects/shop/policies/immutability/{rule}");
    let about = "/projects/shop/repositories/app/-/about/edit";
    let settings = "/admin/settings/general";
    let numbers = [("session_timeout", "60"), ("restore_days", "14"), ("limit", "10")];
    let with = |days: &'static str, prefix: &'static str| {
        [&numbers[..], &[("robot_token_duration", days), ("robot_name_prefix", prefix)]].concat()
    };
    for (who, path, theirs, mine, shown) in [
        (&ana, about, vec![("description", "theirs")], vec![("description", "mine\r\nhere")], "mine\nhere"),
        (
            &ana,
            "/projects/shop/settings",
            vec![("visibility", "public")],
            vec![("visibility", "private")],
            "Private",
        ),
        (
            &ana,
            rule.as_str(),
            vec![("repositories", "**"), ("tags", "w*")],
            vec![("repositories", "a"), ("tags", "x*")],
            "x*",
        ),
        (
            &ana,
            "/projects/shop/policies/naming",
            vec![("pattern", "a+"), ("message", ""), ("target", "tag"), ("mode", "warn")],
            vec![("pattern", "b+"), ("message", ""), ("target", "tag"), ("mode", "warn")],
            "b+",
        ),
        (&admin, settings, with("31", "bot-"), with("32", "robot$"), "32"),
    ] {
        let seen = world.get(who, path).await.field("seen");
        let with = |fields: &[(&'static str, &'static str)], seen: &str| {
            let mut all: Vec<(String, String)> =
                fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            all.push(("seen".to_owned(), seen.to_owned()));
            all
        };
        let send = |fields: Vec<(String, String)>| {
            let world = &world;
            async move {
                let fields: Vec<(&str, &str)> =
                    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                world.post(who, path, path, &fields).await
            }
        };
        assert_eq!(send(with(&theirs, &seen)).await.status, 303, "{path}");
        let clash = send(with(&mine, &seen)).await;
        assert_eq!(clash.status, 409, "{path}: {}", clash.body);
        assert!(clash.has("Somebody else changed this") && clash.has(shown), "{path}: {}", clash.body);
        assert_eq!(clash.body.matches("<h1").count(), 1, "{path}");
        let again = send(with(&mine, &clash.field("seen"))).await;
        assert_eq!(again.status, 303, "{path}: {}", again.body);
    }
    let bad = world.post(&admin, settings, settings, &with("31", "Ä b")).await;
    assert!(
        bad.status == 422 && bad.has("href=\"#robot_name_prefix\"") && bad.has("value=\"Ä b\""),
        "{}",
        bad.body
    );
}

#[actix_web::test]
async fn errors_say_what_why_and_what_next() {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    world.image(project, "shop/backend", "1.4.1", b"layer").await;
    let (ana, ben) = (world.sign_in("ana").await, world.sign_in("ben").await);
    let token = world.get(&ana, "/").await.token().to_owned();
    let long = "x".repeat(300 * 1024);
    for (answer, status, words) in [
        (world.get(&ana, "/projects/nothing").await, 404, "There is nothing here"),
        (world.send(&ana, "POST", "/projects/new", &[]).await, 403, "This form is too old"),
        (world.send("", "POST", "/projects/new", &[]).await, 401, "Sign in first"),
        (
            world.send(&ana, "POST", "/projects/new", &[("csrf", &token), ("name", &long)]).await,
            413,
            "256 KiB",
        ),
        (
            world.send(&ana, "POST", "/projects/new", &[("csrf", &token), ("name", "\0")]).await,
            400,
            "refused",
        ),
    ] {
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(
            answer.has(words) && answer.has("data-copy=\"") && answer.has("<time datetime="),
            "{}",
            answer.body
        );
        assert_eq!(answer.body.matches("<h1").count(), 1);
    }
    // What it may have been meant for, to those who may see it.
    let base = "/projects/shop/repositories";
    for (path, meant) in [
        (format!("{base}/backends"), format!("{base}/backend")),
        (format!("{base}/backend/-/tags/1.4.2"), format!("{base}/backend/-/tags/1.4.1")),
        ("/shop/backend:1.4.2".to_owned(), format!("{base}/backend/-/tags/1.4.1")),
    ] {
        let link = format!("href=\"{meant}\"");
        let page = world.get(&ana, &path).await;
        assert!(page.status == 404 && page.has(&link), "{path}: {}", page.body);
        for stranger in [&ben, &String::new()] {
            let page = world.get(stranger, &path).await;
            assert!(page.status == 404 && !page.has(&link), "{path}: {}", page.body);
        }
    }
}

#[actix_web::test]
async fn programs_get_no_pages() {
    let world = World::new().await;
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/api",
        "/api/v9/x",
        "/api/v2.0x",
        "/service/nothing",
        "/v2",
        "/v2/x/y",
    ] {
        for method in ["GET", "POST"] {
            let answer = world.send("", method, path, &[]).await;
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (404, Some("application/json")),
                "{path}"
            );
            assert!(answer.has("\"NOT_FOUND\""), "{path}");
        }
    }
    let page = world.get("", "/apis").await;
    assert!(page.status == 404 && page.header("content-type").unwrap().starts_with("text/html"));
}
