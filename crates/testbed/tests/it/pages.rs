//! Every page and every form of the console, tried as everybody, on a private, a public and a missing project. What must
//! come back is computed from the lines of `permissions.txt` that begin with `page` and from the role matrix of roles.rs.
//!
//! Pages know people by their session alone, so robots and access tokens are nobody here. A form that would change
//! something is sent empty, by those who may only where it says nothing that a project could mind.

use std::collections::{BTreeMap, BTreeSet};

use cli::{Role as Service, Route};
use hythe_testbed::{Answer, Bed, Browser, Client, Options};
use reqwest::Method;

use crate::roles::{self, Everybody, Identity, Place, Target};
use crate::support::random_digest;

fn pages() -> Vec<Route> {
    // Asking for it ends the session: sessions.rs does.
    let page = |route: &Route| route.role == Service::Console && route.id != "console_client_logout";
    cli::routes().into_iter().filter(page).collect()
}

/// The path of a page, with real things where there are some.
fn fill(route: &Route, target: &Target) -> String {
    let reading = route.method == "GET";
    let mut path = String::new();
    for (index, part) in route.path.split(['{', '}']).enumerate() {
        let value = match part {
            text if index % 2 == 0 => text.to_owned(),
            "project" => target.name.clone(),
            "repository" => "app".to_owned(),
            "tag" if reading => "1".to_owned(),
            "digest" if reading => target.image.digest.to_string(),
            "digest" => random_digest().to_string(),
            "robot" if reading && route.path.starts_with("/projects") => target.robot_name.clone(),
            "operation" => "listProjects".to_owned(),
            "document" => "cli".to_owned(),
            // What the world of roles.rs has none of, and nothing that a form could hit.
            "tag" | "user" | "robot" | "key" | "page" => "missing".to_owned(),
            "rule" | "request" | "token" | "quota" | "session" | "job" | "id" => "999999999".to_owned(),
            unknown => panic!("pages.rs has no value for the placeholder {unknown} of {}", route.path),
        };
        path.push_str(&value);
    }
    path
}

/// Whether the path names something that is not there: files of an image, a request while nobody may make one, no tag to
/// delete, and pages of what has its name in the query.
fn unreal(path: &str) -> bool {
    let nothing = [
        "/files",
        "/requests/new",
        "/-/delete-tags",
        "/members/-/delete",
        "/groups/-/edit",
        "/groups/-/delete",
        "/labels/-/edit",
        "/labels/-/delete",
    ];
    path.contains("/missing") || path.contains("999999999") || nothing.iter().any(|end| path.ends_with(end))
}

/// What may come back for a page. Who may not see a thing is told that there is none.
fn page_expected(permission: &'static str, identity: Identity, place: Place, path: &str) -> &'static [u16] {
    let nobody = identity == Identity::Nobody;
    let shown: &[u16] = if unreal(path) { &[200, 303, 404] } else { &[200] };
    match permission {
        "page" => shown,
        "page-login" | "page-login-sysadmin" if nobody => &[303],
        "page-login" => shown,
        "page-login-sysadmin" => {
            if identity == Identity::Sysadmin {
                shown
            } else {
                &[404]
            }
        }
        _ => {
            let (signed_in, right) = right(permission);
            if signed_in && nobody {
                return &[303];
            }
            if place != Place::Missing && roles::holds(identity, place, right) { shown } else { &[404] }
        }
    }
}

/// The right after `page+` or `page-login+`, and whether the page wants somebody who signed in.
fn right(permission: &'static str) -> (bool, &'static str) {
    match permission.strip_prefix("page-login+") {
        Some(right) => (true, right),
        None => {
            (false, permission.strip_prefix("page+").unwrap_or_else(|| panic!("{permission} is of no page")))
        }
    }
}

struct Visitor {
    identity: Identity,
    browser: Browser,
}

async fn visitors(everybody: &Everybody) -> Vec<Visitor> {
    let mut visitors = Vec::new();
    for identity in everybody.identities() {
        let browser = match (identity, everybody.user(identity)) {
            (Identity::Nobody, _) => Browser::new(&everybody.bed),
            (Identity::Stranger | Identity::Member(_) | Identity::Sysadmin, Some(user)) => {
                Browser::signed_in(&everybody.bed, &user).await
            }
            _ => continue,
        };
        visitors.push(Visitor { identity, browser });
    }
    visitors
}

/// A page without what differs from one request to the next: its id and time, the token of forms, and the address.
fn bare(answer: &Answer, path: &str) -> String {
    let id = answer.header("x-request-id").to_owned();
    let mut text = answer.text().replace(&id, "ID").replace(path, "PATH");
    let queried = path.replace('/', "%2F").replace(':', "%3A");
    for escaped in [queried, path.replace('/', "&#x2F;"), path.replace('/', "&#47;")] {
        text = text.replace(&escaped, "PATH");
    }
    let without = |text: &str, begin: &str, end: &str| {
        let mut plain = String::new();
        for (index, part) in text.split(begin).enumerate() {
            plain.push_str(if index == 0 {
                part
            } else {
                part.split_once(end).map_or(part, |(_, rest)| rest)
            });
        }
        plain
    };
    let text = without(&text, "name=\"csrf\" value=\"", "\"");
    without(&without(&text, "<time ", "</time>"), "data-copy=\"", "\"")
}

#[tokio::test]
async fn az_01_every_page_as_everybody() {
    let table = roles::permissions();
    let (everybody, targets) = roles::world_in(Bed::own(Options::default()).await).await;
    let mut visitors = visitors(&everybody).await;
    let (mut cells, mut wrong) = (0, Vec::new());
    for target in &targets {
        for visitor in &mut visitors {
            let identity = visitor.identity;
            let token = visitor.browser.token("/about").await;
            for route in pages() {
                let permission =
                    *table.get(route.id).unwrap_or_else(|| panic!("{} has no permission", route.id));
                let path = fill(&route, target);
                let mut complain = |what: &str, answer: &Answer| {
                    wrong.push(format!(
                        "{} ({permission}) as {identity:?} on {:?}: {what}: {answer}",
                        route.id, target.place
                    ));
                };
                cells += 1;
                if route.method == "GET" {
                    // Somebody who is signed in is sent on from there.
                    if route.id == "console_login" && identity != Identity::Nobody {
                        continue;
                    }
                    let answer = visitor.browser.get(&path).await;
                    let expected = page_expected(permission, identity, target.place, &path);
                    if !expected.contains(&answer.status) {
                        complain(&format!("expected {expected:?}"), &answer);
                    }
                    if answer.status == 303
                        && identity == Identity::Nobody
                        && !answer.header("location").starts_with("/login?")
                    {
                        complain("leads elsewhere", &answer);
                    }
                    continue;
                }
                for fields in [&[][..], &[("csrf", "x")], &[("csrf", &token[1..])]] {
                    let answer = visitor.browser.post_raw(&path, fields).await;
                    let refused: &[u16] =
                        if identity == Identity::Nobody && permission.starts_with("page-login") {
                            &[401]
                        } else {
                            &[403]
                        };
                    if !refused.contains(&answer.status) {
                        complain("went through without its token", &answer);
                    }
                }
                let may = match permission {
                    "page" => true,
                    "page-login" => identity != Identity::Nobody,
                    "page-login-sysadmin" => identity == Identity::Sysadmin,
                    _ => {
                        let (signed_in, right) = right(permission);
                        !(signed_in && identity == Identity::Nobody)
                            && target.place != Place::Missing
                            && roles::holds(identity, target.place, right)
                    }
                };
                // An empty form for settings says "private", which the public project is not to become; and whoever
                // signs out here is nobody for the rest.
                if may
                    && (target.place == Place::Public
                        || ["console_logout_do", "console_login_do", "console_client_login_do"]
                            .contains(&route.id))
                {
                    continue;
                }
                let answer = visitor.browser.clone().post_raw(&path, &[("csrf", &token)]).await;
                let right = if may {
                    answer.status < 500
                        && ![401, 405].contains(&answer.status)
                        && (answer.status != 403 || route.id.contains("member"))
                } else {
                    [401, 403, 404].contains(&answer.status)
                };
                if !right {
                    complain(if may { "refused" } else { "let through" }, &answer);
                }
            }
        }
    }
    println!("pages: {cells} cells");
    assert!(wrong.is_empty(), "{} of {cells} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Robots, access tokens and passwords of `Authorization` open no page.
#[tokio::test]
async fn pages_know_sessions_alone() {
    let (everybody, targets) = roles::world_in(Bed::shared().await).await;
    let private = &targets[0];
    let path = format!("/projects/{}", private.name);
    let mut tried = 0;
    for identity in everybody.identities() {
        let Some(user) = everybody.user(identity) else { continue };
        let client: Client = user.client();
        client.get(&path).await.expect(404);
        client.get("/projects/new").await.expect(303);
        let token = client.token(&[]).await;
        everybody.bed.client(hythe_testbed::Credentials::Bearer(token)).get(&path).await.expect(404);
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
}

/// A page of a project that is not for the viewer, and of one that is not there, are the same bytes.
#[tokio::test]
async fn hidden_and_missing_pages_are_alike() {
    let (everybody, targets) = roles::world_in(Bed::shared().await).await;
    let table = roles::permissions();
    for visitor in &mut visitors(&everybody).await {
        if ![Identity::Nobody, Identity::Stranger].contains(&visitor.identity) {
            continue;
        }
        // The first page brings a visitor's cookie.
        visitor.browser.get("/about").await;
        for route in pages().iter().filter(|route| route.path.contains("{project}")) {
            let signed_in = table[route.id].starts_with("page-login");
            let mut seen = BTreeMap::new();
            for target in targets.iter().filter(|target| target.place != Place::Public) {
                let path = fill(route, target);
                let answer = if route.method == "GET" {
                    visitor.browser.get(&path).await
                } else {
                    visitor.browser.post("/about", &path, &[]).await
                };
                let expected = match (signed_in && visitor.identity == Identity::Nobody, route.method) {
                    (true, "GET") => 303,
                    (true, _) => 401,
                    _ => 404,
                };
                assert_eq!(answer.status, expected, "{} as {:?}: {answer}", route.id, visitor.identity);
                // A connection is closed when a form came faster than it was refused: no word about the project.
                let names: BTreeSet<String> = answer
                    .headers
                    .keys()
                    .map(ToString::to_string)
                    .filter(|name| name != "connection")
                    .collect();
                seen.insert((bare(&answer, &path), names), path);
            }
            assert_eq!(seen.len(), 1, "{} as {:?}: {seen:#?}", route.id, visitor.identity);
        }
    }
}

/// Reading the address of a form does nothing, and neither does any method that is not in the table.
#[tokio::test]
async fn addresses_of_forms_do_nothing_when_read() {
    let (everybody, targets) = roles::world_in(Bed::shared().await).await;
    let mut admin = Browser::signed_in(&everybody.bed, &everybody.bed.admin()).await;
    let pages = pages();
    for route in &pages {
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if pages.iter().any(|other| other.path == route.path && other.method == method) {
                continue;
            }
            let path = fill(route, &targets[0]);
            let request = admin.request(method.parse::<Method>().expect("a method"), &path);
            let answer = admin.send(request).await;
            assert!([400, 404, 405, 501].contains(&answer.status), "{method} {path}: {answer}");
        }
    }
    // It is still signed in, and everything is still there.
    admin.get("/projects/new").await.expect(200);
    for target in &targets[..2] {
        let path = format!("/projects/{}/repositories/app", target.name);
        admin.get(&path).await.expect(200);
    }
}

/// What a page says about how it may be shown and kept, as the administrator and as nobody, whatever its status.
#[tokio::test]
async fn au_12_every_page_says_how_it_may_be_shown() {
    let (everybody, targets) = roles::world_in(Bed::shared().await).await;
    let admin = Browser::signed_in(&everybody.bed, &everybody.bed.admin()).await;
    for mut browser in [admin, Browser::new(&everybody.bed)] {
        let mut paths: Vec<String> = pages()
            .iter()
            .filter(|route| route.method == "GET")
            .map(|route| fill(route, &targets[0]))
            .collect();
        paths.push("/nowhere".to_owned());
        for path in paths {
            let answer = browser.get(&path).await;
            let policy = answer.header("content-security-policy").to_owned();
            for part in
                ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
            {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "same-origin"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(answer.header(name), value, "{name} of {path}");
            }
        }
    }
}

/// What a request says comes back as text, wherever it comes back.
#[tokio::test]
async fn au_14_what_a_request_says_comes_back_as_text() {
    let bed = Bed::shared().await;
    let admin = Browser::signed_in(&bed, &bed.admin()).await;
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for mut browser in [admin, Browser::new(&bed)] {
        for hostile in [
            "\"><svg onload=hacked()>",
            "'><svg onload=hacked()>",
            "<svg onload=hacked()>",
            "</title><svg onload=hacked()>",
            "</textarea><svg onload=hacked()>",
            "{{7*7}}<svg onload=hacked()>",
            "\u{fe64}svg onload=hacked()><svg onload=hacked()>",
        ] {
            let q = escaped(hostile);
            for path in [
                format!("/{q}"),
                format!("/library/{q}:1"),
                format!("/projects/{q}"),
                format!("/projects/library/repositories/{q}"),
                format!("/projects/library/labels/-/edit?name={q}"),
                format!("/search?q={q}"),
                format!("/projects?q={q}&sort={q}&visibility={q}&size={q}"),
                format!("/login?return={q}"),
                format!("/login?return=/{q}"),
                format!("/about?lang={q}"),
                format!("/projects/new?name={q}"),
                format!("/admin/users?q={q}"),
                format!("/admin/labels?q={q}"),
                format!("/admin/audit?actor={q}&from={q}&to={q}"),
                format!("/admin/jobs?state={q}&before={q}"),
                format!("/docs/api/{q}"),
            ] {
                let text = browser.get(&path).await.text();
                assert!(!text.contains("<svg onload"), "{path}: {text}");
                assert!(!text.contains("49<svg") && !text.contains("49&"), "{path}: {text}");
            }
        }
        for link in
            ["javascript:hacked()", "data:text/html,hacked", "vbscript:hacked()", "\tjavascript:hacked()"]
        {
            for path in [format!("/login?return={}", escaped(link)), format!("/search?q={}", escaped(link))] {
                let text = browser.get(&path).await.text();
                for attribute in ["href", "action", "src"] {
                    assert!(!text.contains(&format!("{attribute}=\"{link}")), "{path}: {text}");
                }
            }
        }
    }
}

/// After signing in and after choosing colours a browser stays here.
#[tokio::test]
async fn au_16_nobody_is_sent_elsewhere() {
    let bed = Bed::shared().await;
    let user = bed.user("returns").await;
    let mut signed_in = Browser::signed_in(&bed, &user).await;
    for elsewhere in [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "///evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "https:evil.example",
        "https://evil.example/",
        "javascript:hacked()",
        "evil.example",
        "@evil.example",
        "/\r\nSet-Cookie: hacked=1",
        "http://127.0.0.1:1/",
        "/login?return=//evil.example",
    ] {
        let fields = [("theme", "dark"), ("return", elsewhere)];
        let answer = signed_in.post("/about", "/-/appearance", &fields).await.expect(303);
        assert_eq!(answer.header("location"), "/", "{elsewhere:?}");
        assert!(!answer.headers.contains_key("hacked"), "{elsewhere:?}");
        let fields =
            [("name", user.name.as_str()), ("password", user.password.as_str()), ("return", elsewhere)];
        let answer = Browser::new(&bed).post("/login", "/login", &fields).await.expect(303);
        assert_eq!(answer.header("location"), "/", "{elsewhere:?}");
    }
    // What looks odd and is here stays what it is.
    for here in ["/%5Cevil.example", "/%2F%2Fevil.example", "/@evil.example", "/projects?q=https://a"] {
        let answer = signed_in.post("/about", "/-/appearance", &[("theme", "dark"), ("return", here)]).await;
        assert_eq!(answer.expect(303).header("location"), here);
    }
}

/// The form tells nobody whether a name is known, and takes as many guesses as every other door.
#[tokio::test]
async fn au_02_au_03_the_sign_in_page_tells_nothing_and_is_throttled() {
    let bed = Bed::own(Options::default()).await;
    let user = bed.user("form").await;
    let wrong = |name: &str| {
        [("name".to_owned(), name.to_owned()), ("password".to_owned(), "Wrong-horse-1".to_owned())]
    };
    let mut pages = BTreeSet::new();
    for name in [user.name.clone(), bed.unique("nobody"), "robot+library+ci".to_owned()] {
        let mut browser = Browser::new(&bed);
        let fields = wrong(&name);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let answer = browser.post("/login", "/login", &fields).await.expect(401);
        let text = bare(&answer, "/login");
        assert!(!text.contains("Wrong-horse-1"));
        pages.insert(text.replace(&name, "NAME").replace(&name.replace('+', "&#43;"), "NAME"));
    }
    assert_eq!(pages.len(), 1, "{pages:#?}");

    // However it is written; the right password comes too late.
    let mut last = 0;
    for round in 0..6 {
        let name = if round % 2 == 0 { user.name.to_uppercase() } else { user.name.clone() };
        let fields = [("name", name.as_str()), ("password", "Wrong-horse-1")];
        last = Browser::new(&bed).post("/login", "/login", &fields).await.status;
    }
    assert_eq!(last, 429);
    let fields = [("name", user.name.as_str()), ("password", user.password.as_str())];
    let answer = Browser::new(&bed).post("/login", "/login", &fields).await;
    assert_eq!(answer.status, 429, "{answer}");
    assert!(answer.text().contains("role=\"alert\""), "{answer}");
}
