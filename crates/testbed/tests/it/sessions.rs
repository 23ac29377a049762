//! Sessions of browsers, on pages and over REST: a new one at every sign-in, over when it ought to be, and good for a
//! change only together with the token of our own pages.

use hythe_testbed::{Answer, Bed, Browser, Options, User};
use reqwest::Method;
use serde_json::json;

const HEADER: &str = "X-Harbor-CSRF-Token";

async fn me(browser: &Browser) -> Answer {
    browser.request(Method::GET, "/api/v2.0/users/current").send().await
}

/// A change over REST with the cookie, and with these headers.
async fn create(browser: &Browser, name: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = browser.request(Method::POST, "/api/v2.0/projects");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.json(json!({"project_name": name})).send().await
}

async fn exists(bed: &Bed, project: &str) -> bool {
    bed.admin().client().head(format!("/api/v2.0/projects?project_name={project}")).await.status == 200
}

/// The session is nobody's, on pages and over REST.
async fn over(browser: &Browser) {
    let mut browser = browser.clone();
    me(&browser).await.expect(401);
    assert!(browser.get("/projects/new").await.expect(303).header("location").starts_with("/login"));
}

#[tokio::test]
async fn au_08_a_session_is_new_at_every_sign_in_and_over_when_it_ought_to_be() {
    let bed = Bed::shared().await;
    let user = bed.user("session").await;

    let mut browser = Browser::new(&bed);
    let planted = "A".repeat(43);
    browser.plant("hythe", &planted);
    browser.sign_in(&user).await.expect(303);
    let first = browser.cookie("hythe").expect("a session").to_owned();
    assert_ne!(first, planted);
    me(&browser).await.expect(200);
    let mut fixed = Browser::new(&bed);
    fixed.plant("hythe", &planted);
    over(&fixed).await;

    // Another one, while the first lives on.
    let other = Browser::signed_in(&bed, &user).await;
    assert_ne!(other.cookie("hythe"), Some(first.as_str()));
    me(&other).await.expect(200);

    // Signing out ends the one, wherever its cookie is.
    let copy = browser.clone();
    browser.post("/about", "/logout", &[]).await.expect(303);
    assert_eq!(browser.cookie("hythe"), None);
    over(&copy).await;
    me(&other).await.expect(200);

    // A new password ends all others.
    let fresh = "Another-Lantern-7731";
    let change = json!({"old_password": user.password, "new_password": fresh});
    let id = user.client().get("/api/v2.0/users/current").await.expect(200).json()["user_id"].clone();
    user.client().put(format!("/api/v2.0/users/{id}/password"), change).await.expect(200);
    over(&other).await;

    // And so does the end of the account.
    let user: User = user.with_password(fresh.to_owned());
    let last = Browser::signed_in(&bed, &user).await;
    me(&last).await.expect(200);
    bed.admin().client().delete(format!("/api/v2.0/users/{id}")).await.expect(200);
    over(&last).await;
}

#[tokio::test]
async fn au_09_cookies_are_for_the_server_alone() {
    let plain = Bed::shared().await;
    let https = Options::default()
        .set("HYTHE_HTTP__EXTERNAL_URL", "https://registry.example")
        .set("HYTHE_HTTP__TRUSTED_PROXIES", "127.0.0.1");
    let secure = Bed::own(https).await;
    for (bed, prefix, is_secure) in [(&plain, "", false), (&secure, "__Host-", true)] {
        let user = bed.user("cookie").await;
        let mut browser = Browser::new(bed);
        let page = browser.get("/login").await.expect(200);
        let answer = browser.sign_in(&user).await.expect(303);
        let mut values = Vec::new();
        for line in page.headers.get_all("set-cookie").iter().chain(answer.headers.get_all("set-cookie")) {
            let line = line.to_str().expect("a line of text");
            for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
                assert!(line.contains(attribute), "{line}");
            }
            assert!(!line.contains("Domain"), "{line}");
            assert_eq!(line.contains("Secure"), is_secure, "{line}");
            assert!(line.starts_with(&format!("{prefix}hythe")), "{line}");
            if let Some(rest) = line.strip_prefix(&format!("{prefix}hythe=")) {
                values.push(rest.split(';').next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(values.len(), 1, "{values:?}");
        assert_eq!(values[0].len(), 43, "256 bits");
        assert_eq!(me(&browser).await.expect(200).json()["username"], user.name.as_str());
    }
    // What does not come from signing in sets nothing, and `/v2` knows no cookies.
    let user = plain.user("cookie").await;
    let browser = Browser::signed_in(&plain, &user).await;
    for path in ["/api/v2.0/users/current", "/v2/", "/service/token?service=harbor-registry"] {
        let answer = user.client().get(path).await.expect(200);
        assert!(!answer.headers.contains_key("set-cookie"), "{answer}");
    }
    browser.request(Method::GET, "/v2/").send().await.expect(401);
    browser.request(Method::GET, "/service/token?service=harbor-registry").send().await.expect(401);
}

#[tokio::test]
async fn au_09_a_session_ends_when_nobody_uses_it() {
    let bed = Bed::own(Options::default()).await;
    let user = bed.user("idle").await;
    let browser = Browser::signed_in(&bed, &user).await;
    let inside = bed.inside().await;
    me(&browser).await.expect(200);
    inside.age_sessions(61, 0).await;
    over(&browser).await;
    let browser = Browser::signed_in(&bed, &user).await;
    me(&browser).await.expect(200);
    inside.age_sessions(0, 12 * 60).await;
    over(&browser).await;
}

#[tokio::test]
async fn au_10_a_change_needs_the_token_of_our_pages() {
    let bed = Bed::shared().await;
    let user = bed.user("csrf").await;
    let mut browser = Browser::signed_in(&bed, &user).await;
    let token = browser.token("/about").await;
    let foreign = Browser::signed_in(&bed, &bed.user("csrf").await).await.token("/about").await;
    let name = bed.unique("csrf");
    for headers in [
        &[][..],
        &[(HEADER, "")],
        &[(HEADER, "x")],
        &[(HEADER, &foreign)],
        &[(HEADER, &token), ("sec-fetch-site", "cross-site")],
        &[(HEADER, &token), ("sec-fetch-site", "same-site")],
    ] {
        let answer = create(&browser, &name, headers).await;
        answer.expect_error(403, "FORBIDDEN");
        assert!(!exists(&bed, &name).await, "{headers:?}");
    }
    // Reading needs none, and is done as the person.
    assert_eq!(me(&browser).await.expect(200).json()["username"], user.name.as_str());
    // The page says the token in a header too, for programs.
    assert_eq!(browser.get("/about").await.header(HEADER), token);
    create(&browser, &name, &[(HEADER, &token), ("sec-fetch-site", "same-origin")]).await.expect(201);
    assert!(exists(&bed, &name).await);
    // Who says it with every request needs no token, and its cookie says nothing.
    let request = browser.request(Method::GET, "/api/v2.0/users/current");
    request.header("authorization", "Basic eDp5").send().await.expect(401);

    // Forms: sign-in and sign-out as well.
    for path in ["/login", "/logout", "/projects/new", "/c/login"] {
        for fields in [&[][..], &[("csrf", "x")], &[("csrf", foreign.as_str())]] {
            browser.post_raw(path, fields).await.expect(403);
        }
        let request = browser.request(Method::POST, path).form(&[("csrf", &token)]);
        browser.send(request.header("sec-fetch-site", "cross-site")).await.expect(403);
        let request = browser.request(Method::POST, path).header("content-type", "text/plain");
        browser.send(request.body(format!("csrf={token}"))).await.expect(403);
    }
    me(&browser).await.expect(200);
}

/// Programs that sign in as people do.
#[tokio::test]
async fn clients_sign_in_and_out_with_statuses() {
    let bed = Bed::shared().await;
    let user = bed.user("client").await;
    let mut browser = Browser::new(&bed);
    let token = browser.get("/c/login").await.header(HEADER).to_owned();
    let sign_in = |browser: &Browser, password: &str| {
        let fields = [("principal", user.name.as_str()), ("password", password)];
        browser.request(Method::POST, "/c/login").form(&fields)
    };
    let request = sign_in(&browser, &user.password);
    assert_eq!(browser.send(request).await.status, 403);
    let request = sign_in(&browser, "wrong").header(HEADER, &token);
    let refused = browser.send(request).await.expect(401);
    assert_eq!(refused.text(), "");
    let request = sign_in(&browser, &user.password).header(HEADER, &token);
    assert_eq!(browser.send(request).await.expect(200).text(), "");
    me(&browser).await.expect(200);

    let copy = browser.clone();
    let request = browser.request(Method::GET, "/c/log_out").header("sec-fetch-site", "cross-site");
    browser.send(request).await.expect(403);
    me(&copy).await.expect(200);
    browser.get("/c/log_out").await.expect(200);
    over(&copy).await;
}
