//! One's own account.

use crate::world::{PASSWORD, World};

const PAGES: [&str; 6] =
    ["/me", "/me/password", "/me/tokens", "/me/tokens/new", "/me/sessions", "/me/preferences"];

#[actix_web::test]
async fn the_pages_are_for_people_who_are_signed_in() {
    let world = World::new().await;
    let ana = world.sign_in("ana").await;
    for path in PAGES {
        assert!(world.get("", path).await.location().starts_with("/login?return="), "{path}");
        let page = world.get(&ana, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert_eq!(page.body.matches("<h1").count(), 1, "{path}");
        assert!(!page.has("style=\""), "{path}");
    }
}

#[actix_web::test]
async fn a_profile_is_changed_and_what_was_typed_is_kept() {
    let world = World::new().await;
    let ana = world.sign_in("ana").await;
    let fields = [("email", "ana@example.org"), ("realname", "Ana B"), ("comment", "here")];
    assert_eq!(world.send(&ana, "POST", "/me", &fields).await.status, 403);
    assert!(world.get(&ana, "/me").await.has("ana@example.com"));
    assert_eq!(world.post(&ana, "/me", "/me", &fields).await.location(), "/me");
    let page = world.get(&ana, "/me").await;
    assert!(page.has("ana@example.org") && page.has("Ana B"), "{}", page.body);

    let taken = world.post(&ana, "/me", "/me", &[("email", "ben@example.com"), ("realname", "Typed")]).await;
    assert_eq!(taken.status, 422);
    assert!(taken.has("Another account has this e-mail address.") && taken.has("value=\"Typed\""));
    assert!(taken.has("aria-invalid=\"true\" autofocus") && taken.has("href=\"#email\""), "{}", taken.body);
}

#[actix_web::test]
async fn a_new_password_ends_the_other_sessions() {
    let world = World::new().await;
    let (ana, other) = (world.sign_in("ana").await, world.sign_in("ana").await);
    let path = "/me/password";
    for (old, new, told) in [
        ("Wrong-horse-1", "Better-horse-1", "The current password is wrong."),
        (PASSWORD, "tiny-1", "The password must have"),
        (PASSWORD, PASSWORD, "the same as the current one"),
    ] {
        let page = world.post(&ana, path, path, &[("old", old), ("password", new)]).await;
        assert_eq!(page.status, 422);
        assert!(page.has(told) && !page.has(new), "{}", page.body);
    }
    let fields = [("old", PASSWORD), ("password", "Better-horse-1")];
    assert_eq!(world.send(&ana, "POST", path, &fields).await.status, 403);
    assert_eq!(world.post(&ana, path, path, &fields).await.location(), path);
    assert_eq!(world.get(&ana, "/me").await.status, 200);
    assert_eq!(world.get(&other, "/me").await.status, 303);
}

#[actix_web::test]
async fn a_token_is_shown_once_and_ended() {
    let world = World::new().await;
    let (ana, ben) = (world.sign_in("ana").await, world.sign_in("ben").await);
    world.project("ana", "team-a", false).await;
    let new = "/me/tokens/new";
    for (fields, told) in [
        (vec![("name", "ci job"), ("end", "30")], "Choose what the token may do."),
        (vec![("name", ""), ("scope", "pull"), ("end", "30")], "The name must have"),
        (vec![("name", "ci job"), ("scope", "pull"), ("end", "date"), ("date", "soon")], "This is no day."),
        (
            vec![("name", "ci job"), ("scope", "pull"), ("end", "date"), ("date", "2020-01-01")],
            "This day is over.",
        ),
        (
            vec![("name", "ci job"), ("scope", "pull"), ("projects", "team-b")],
            "does not exist, or you may not see",
        ),
    ] {
        let page = world.post(&ana, new, new, &fields).await;
        assert_eq!(page.status, 422, "{told}");
        assert!(page.has(told), "{}", page.body);
    }
    let fields =
        [("name", "ci job"), ("scope", "pull"), ("scope", "api:read"), ("projects", "team-a"), ("end", "90")];
    assert_eq!(world.send(&ana, "POST", new, &fields).await.status, 403);
    assert!(!world.get(&ana, "/me/tokens").await.has("ci job"));
    let made = world.post(&ana, new, new, &fields).await;
    assert_eq!((made.status, made.header("cache-control")), (200, Some("no-store")));
    assert!(made.has("hyt_"));
    let again = world.post(&ana, new, new, &fields).await;
    assert_eq!(again.status, 422);
    assert!(again.has("You have a token of this name already.") && !again.has("hyt_"));
    let list = world.get(&ana, "/me/tokens").await;
    assert!(list.has("ci job") && list.has("team-a") && list.has("api:read") && !list.has("hyt_"));

    let delete = "/me/tokens/ci%20job/-/delete";
    assert_eq!(world.get(&ben, delete).await.status, 404);
    assert!(world.get(&ana, delete).await.has("ci job"));
    assert_eq!(world.send(&ana, "POST", delete, &[]).await.status, 403);
    assert_eq!(world.post(&ben, "/me/tokens/new", delete, &[]).await.status, 404);
    assert!(world.get(&ana, "/me/tokens").await.has("ci job"));
    assert_eq!(world.post(&ana, delete, delete, &[]).await.location(), "/me/tokens");
    assert!(world.get(&ana, "/me/tokens").await.has("No access tokens."));
}

#[actix_web::test]
async fn sessions_are_listed_and_ended() {
    let world = World::new().await;
    let (ana, other, ben) =
        (world.sign_in("ana").await, world.sign_in("ana").await, world.sign_in("ben").await);
    let path = "/me/sessions";
    let list = world.get(&ana, path).await;
    assert_eq!(list.body.matches("this one").count(), 1);
    assert_eq!(world.send(&ana, "POST", path, &[("session", "others")]).await.status, 403);
    // Another person's session is not mine to end.
    let foreign = list.body.split("name=\"session\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    assert_eq!(world.post(&ben, path, path, &[("session", foreign.unwrap())]).await.status, 303);
    assert_eq!(world.get(&other, "/me").await.status, 200);
    assert_eq!(world.post(&ana, path, path, &[("session", "none")]).await.status, 404);
    assert_eq!(world.post(&ana, path, path, &[("session", "others")]).await.location(), path);
    assert_eq!(world.get(&other, "/me").await.status, 303);
    assert_eq!((world.get(&ana, "/me").await.status, world.get(&ben, "/me").await.status), (200, 200));
}

#[actix_web::test]
async fn preferences_belong_to_the_account() {
    let world = World::new().await;
    let (ana, path) = (world.sign_in("ana").await, "/me/preferences");
    let project = world.project("ana", "team-a", false).await;
    world.image(project, "team-a/web", "1", b"layer").await;
    let fields = [("language", "zh-CN"), ("theme", "dark"), ("size", "50"), ("client", "podman")];
    assert_eq!(world.send(&ana, "POST", path, &fields).await.status, 403);
    assert!(world.get(&ana, path).await.has("<html lang=\"en\">"));
    assert_eq!(world.post(&ana, path, path, &fields).await.location(), path);
    // Another browser of the same person, without any cookie but the session.
    let page = world.get(&world.sign_in("ana").await, path).await;
    assert!(page.has("<html lang=\"zh-CN\" data-theme=\"dark\" data-shortcuts=\"off\">"), "{}", page.body);
    assert!(
        page.has("<option value=\"50\" selected>") && page.has("<option selected>podman"),
        "{}",
        page.body
    );
    assert!(world.get(&ana, "/projects/team-a/repositories/web").await.has("podman pull"));
    // The menu of the bar changes the same.
    let chosen = [("language", "en"), ("return", "/me")];
    assert_eq!(world.post(&ana, path, "/-/appearance", &chosen).await.location(), "/me");
    assert!(world.get(&ana, path).await.has("<html lang=\"en\" data-theme=\"dark\""));
    let wrong = [("language", "xx"), ("theme", "pink"), ("size", "7"), ("client", "rm"), ("shortcuts", "1")];
    assert_eq!(world.post(&ana, path, path, &wrong).await.status, 303);
    assert!(world.get(&ana, path).await.has("<html lang=\"en\">"));
}
