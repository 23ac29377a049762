//! The token service as clients meet it: every rule of the token endpoint, over a real database.
#![expect(clippy::unwrap_used, reason = "tests")]

use actix_web::App;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, SET_COOKIE};
use actix_web::test::{self, TestRequest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use database::testing::TestDatabase;
use database::{Clock, Database};
use hythe_auth::{Auth, PREFIXES, routes};
use identity::{Caller, Identity, NewUser, Origin, Principal, Secret};
use serde_json::{Value, json};
use tenancy::{NewProject, Tenancy};

const PASSWORD: &str = "Passw0rd-1";

struct World {
    _database: TestDatabase,
    pool: Database,
    identity: Identity,
    auth: Auth,
}

/// What came back.
struct Answer {
    status: StatusCode,
    body: Value,
    retry_after: Option<u64>,
    allow: String,
}

impl Answer {
    fn claims(&self) -> Value {
        let token = self.body["token"].as_str().unwrap_or_else(|| panic!("no token in {}", self.body));
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&claims).unwrap()
    }

    fn refusal(&self) -> (u16, &str, &str) {
        let error = &self.body["errors"][0];
        (self.status.as_u16(), error["code"].as_str().unwrap_or(""), error["message"].as_str().unwrap_or(""))
    }
}

impl World {
    /// `admin`, `alice` who owns the private project `team` and the public `open`, and `bob` who owns nothing.
    async fn new() -> Self {
        let database = database::testing::database().await;
        let pool =
            Database::connect(database.url(), &database::Config::default(), Clock::system()).await.unwrap();
        let keyring = sealed::Keyring::load(Secret::new(vec![7; 32]), &pool).await.unwrap();
        let config = identity::Config::default();
        let identity = Identity::new(pool.clone(), keyring, config, Clock::system()).await.unwrap();
        let tenancy = Tenancy::new(pool.clone(), identity.clone(), tenancy::Config::default());
        let given = || Ok::<_, std::io::Error>(Secret::new(PASSWORD.into()));
        identity.ensure_first_admin(given).await.unwrap();
        let admin = caller(&identity, "admin").await;
        for name in ["alice", "bob"] {
            let new = NewUser {
                name: name.to_owned(),
                email: format!("{name}@example.com"),
                realname: name.to_owned(),
                comment: String::new(),
                password: Secret::new(PASSWORD.into()),
            };
            identity.user_create(&admin, new).await.unwrap();
        }
        let alice = caller(&identity, "alice").await;
        for (name, public) in [("team", false), ("open", true)] {
            let new = NewProject { name: name.to_owned(), public, ..NewProject::default() };
            tenancy.project_create(&alice, new).await.unwrap();
        }
        let auth = Auth::new(identity.clone(), tenancy);
        Self { _database: database, pool, identity, auth }
    }

    async fn send(&self, request: TestRequest) -> Answer {
        let auth = self.auth.clone();
        let app = test::init_service(App::new().configure(|config| auth.configure(config))).await;
        let request =
            request.insert_header(("x-hythe-peer", "192.0.2.7")).insert_header(("x-request-id", "r-1"));
        let response = test::call_service(&app, request.to_request()).await;
        assert!(response.headers().get(SET_COOKIE).is_none());
        let text = |name| {
            response
                .headers()
                .get(name)
                .map(|value: &actix_web::http::header::HeaderValue| value.to_str().unwrap().to_owned())
        };
        let (status, allow) = (response.status(), text(ALLOW).unwrap_or_default());
        let retry_after = text(RETRY_AFTER).map(|seconds| seconds.parse().unwrap());
        let body = test::read_body(response).await;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status, body, retry_after, allow }
    }

    async fn get(&self, query: &str, credentials: Option<(&str, &str)>) -> Answer {
        let mut request = TestRequest::get().uri(&format!("/service/token?{query}"));
        if let Some((name, password)) = credentials {
            request = request.insert_header(("authorization", basic(name, password)));
        }
        self.send(request).await
    }

    async fn post(&self, form: &str) -> Answer {
        let request = TestRequest::post()
            .uri("/service/token")
            .insert_header(("content-type", "application/x-www-form-urlencoded"))
            .set_payload(form.to_owned());
        self.send(request).await
    }
}

async fn caller(identity: &Identity, name: &str) -> Caller {
    let account = identity.user_by_name(name).await.unwrap().unwrap();
    let user = identity.active_user(account.id.0).await.unwrap().unwrap();
    Caller::new(Principal::User(user), Origin::default())
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

const ALICE: Option<(&str, &str)> = Some(("alice", PASSWORD));
const SERVICE: &str = "service=harbor-registry";

#[actix_web::test]
async fn docker_login_gets_a_token_with_everything_clients_read() {
    let world = World::new().await;
    let query = format!("account=alice&client_id=docker&offline_token=true&{SERVICE}");
    let answer = world.get(&query, ALICE).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["token"], answer.body["access_token"]);
    assert_eq!(answer.body["expires_in"], 1800);
    let issued_at = answer.body["issued_at"].as_str().unwrap();
    assert!(issued_at.len() == 20 && issued_at.ends_with('Z'), "{issued_at}");
    let claims = answer.claims();
    assert_eq!((&claims["sub"], &claims["access"]), (&json!("alice"), &json!([])));
    assert!(world.identity.verify(answer.body["token"].as_str().unwrap()).await.is_ok());

    let refresh = answer.body["refresh_token"].as_str().unwrap();
    let form = format!("grant_type=refresh_token&{SERVICE}&client_id=docker&refresh_token={refresh}");
    let again = world.post(&format!("{form}&scope=repository:team/app:pull&access_type=offline")).await;
    assert_eq!(again.claims()["access"][0]["actions"], json!(["pull"]));
    assert_eq!(again.body["refresh_token"], refresh);
    assert_eq!(world.post(&form).await.body.get("refresh_token"), None, "only when asked for");
    assert_eq!(world.get(SERVICE, ALICE).await.body.get("refresh_token"), None);
}

#[actix_web::test]
async fn grants_are_what_was_asked_for_and_allowed_and_nothing_tells_why_not() {
    let world = World::new().await;
    let admin = Some(("admin", PASSWORD));
    let bob = Some(("bob", PASSWORD));
    // Who asks, for what, and the actions of the first entry.
    type Case<'a> = (Option<(&'a str, &'a str)>, &'a str, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (ALICE, "repository:team/app:pull,push", &["pull", "push"]),
        (ALICE, "repository:team/app:push", &["push"]),
        (ALICE, "repository:team/app:delete,push,pull,pull", &["pull", "push", "delete"]),
        (ALICE, "repository:team/app:*", &["pull", "push", "delete"]),
        (ALICE, "repository:team/app:fly", &[]),
        (ALICE, "registry:catalog:*", &[]),
        (admin, "registry:catalog:*", &["*"]),
        (admin, "repository:team/app:pull", &["pull"]),
        (bob, "repository:open/app:pull,push", &["pull"]),
        (bob, "repository:team/app:pull", &[]),
        (bob, "repository:nowhere/app:pull", &[]),
        (bob, "repository(plugin):team/app:pull", &[]),
        (bob, "repository:*:pull", &[]),
        (ALICE, "repository:Team/app:pull", &[]),
        (ALICE, "repository:team:pull", &[]),
        (ALICE, "repository:host:5000/team/app:pull", &[]),
        (None, "repository:open/app:pull,push", &["pull"]),
        (None, "repository:team/app:pull", &[]),
        (None, "repository:nowhere/app:pull", &[]),
    ];
    for (credentials, scope, actions) in cases {
        let answer = world.get(&format!("{SERVICE}&scope={scope}"), *credentials).await;
        assert_eq!(answer.status, 200, "{credentials:?} {scope}");
        let access = &answer.claims()["access"][0];
        let (name, _) = scope.split_once(':').unwrap().1.rsplit_once(':').unwrap();
        assert_eq!((&access["actions"], &access["name"]), (&json!(actions), &json!(name)), "{scope}");
    }
    // Several scopes, repeated and in one parameter, in order.
    let query = format!(
        "{SERVICE}&scope=repository:team/a:pull%20repository:open/b:pull&scope=repository:team/c:push"
    );
    let access = world.get(&query, ALICE).await.claims()["access"].clone();
    let names: Vec<_> =
        access.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["team/a", "open/b", "team/c"]);
}

#[actix_web::test]
async fn presented_and_wrong_is_401_always_and_nothing_at_all_needs_a_scope() {
    let world = World::new().await;
    let scope = format!("{SERVICE}&scope=repository:open/app:pull");
    let wrong = (401, "UNAUTHORIZED", "authentication required");
    for query in [SERVICE, scope.as_str()] {
        assert_eq!(world.get(query, Some(("alice", "Wrong-1"))).await.refusal(), wrong);
        assert_eq!(world.get(query, Some(("nobody", PASSWORD))).await.refusal(), wrong);
        let token = world.identity.sign(&Principal::Anonymous, &[]).await.unwrap().token;
        for header in ["Basic", "Basic !", "Digest x", "", &format!("Bearer {token}")] {
            let request = TestRequest::get()
                .uri(&format!("/service/token?{query}"))
                .insert_header(("authorization", header));
            assert_eq!(world.send(request).await.refusal(), wrong, "{header:?}");
        }
        let twice = TestRequest::get()
            .uri(&format!("/service/token?{query}"))
            .append_header(("authorization", basic("alice", PASSWORD)))
            .append_header(("authorization", basic("alice", PASSWORD)));
        assert_eq!(world.send(twice).await.refusal(), wrong);
    }
    assert_eq!(world.get(SERVICE, None).await.refusal(), wrong);
    assert_eq!(world.get(&format!("{SERVICE}&scope=&scope=%20"), None).await.refusal(), wrong);
    assert_eq!(world.get(&scope, None).await.claims()["sub"], "");
    // What cannot be read as a scope was still asked for.
    assert_eq!(world.get(&format!("{SERVICE}&scope=nonsense"), None).await.status, 200);
    // No refresh token for nobody.
    let offline = world.get(&format!("{scope}&offline_token=true"), None).await;
    assert_eq!((offline.status.as_u16(), offline.body.get("refresh_token")), (200, None));

    let admin = caller(&world.identity, "admin").await;
    let bob = world.identity.user_by_name("bob").await.unwrap().unwrap();
    world.identity.user_disable(&admin, bob.id, true).await.unwrap();
    let disabled = world.get(SERVICE, Some(("bob", PASSWORD))).await;
    assert_eq!(disabled.refusal(), (401, "UNAUTHORIZED", "authentication required: the account is disabled"));
}

#[actix_web::test]
async fn requests_that_cannot_be_understood_are_400_and_never_500() {
    let world = World::new().await;
    let scopes = |count: usize| "&scope=repository:team/a:pull".repeat(count);
    let many = format!("{SERVICE}{}", scopes(101));
    let joined = format!("{SERVICE}&scope={}", "repository:team/a:pull%20".repeat(101));
    let long = format!("{SERVICE}&scope={}", "x".repeat(65 * 1024));
    for query in [
        "",
        "service=",
        "service=evil",
        "service=HARBOR-REGISTRY",
        "service=harbor-registry&service=evil",
        many.as_str(),
        joined.as_str(),
    ] {
        for credentials in [None, ALICE] {
            let answer = world.get(query, credentials).await;
            assert_eq!((answer.refusal().0, answer.refusal().1), (400, "BAD_REQUEST"), "{query:.60}");
        }
    }
    assert_eq!(world.get(&format!("{SERVICE}{}", scopes(100)), ALICE).await.status, 200);
    let forms = [
        String::new(),
        "%".to_owned(),
        "&&&===".to_owned(),
        SERVICE.to_owned(),
        format!("{SERVICE}&grant_type=implicit"),
        format!("{SERVICE}&grant_type=password"),
        format!("{SERVICE}&grant_type=password&username=alice"),
        format!("{SERVICE}&grant_type=password&username=alice&username=bob&password={PASSWORD}"),
        format!("{SERVICE}&grant_type=password&grant_type=refresh_token&username=alice&password={PASSWORD}"),
        format!("grant_type=password&username=alice&password={PASSWORD}"),
        format!("service=evil&grant_type=password&username=alice&password={PASSWORD}"),
        format!("{SERVICE}&grant_type=refresh_token"),
        format!("{SERVICE}&grant_type=password&username=alice&password={PASSWORD}{}", scopes(101)),
        long,
        "{\"grant_type\":\"password\"}".to_owned(),
    ];
    for form in &forms {
        let answer = world.post(form).await;
        assert_eq!((answer.refusal().0, answer.refusal().1), (400, "BAD_REQUEST"), "{form:.80}");
    }
    let good = format!("{SERVICE}&grant_type=password&username=alice&password={PASSWORD}");
    for (content_type, payload, authorization) in [
        ("application/json", good.clone().into_bytes(), None),
        ("application/x-www-form-urlencoded", vec![0xff, 0xfe], None),
        ("application/x-www-form-urlencoded", good.clone().into_bytes(), Some(basic("alice", PASSWORD))),
    ] {
        let mut request =
            TestRequest::post().uri("/service/token").insert_header(("content-type", content_type));
        if let Some(value) = authorization {
            request = request.insert_header(("authorization", value));
        }
        assert_eq!(world.send(request.set_payload(payload)).await.status, 400, "{content_type}");
    }
}

#[actix_web::test]
async fn the_form_gives_what_the_query_gives() {
    let world = World::new().await;
    let scope = "scope=repository:team/app:pull,push%20repository:open/b:pull";
    let form = |username: &str, password: &str| {
        format!("{SERVICE}&grant_type=password&username={username}&password={password}&client_id=c&{scope}")
    };
    let posted = world.post(&form("alice", PASSWORD)).await;
    let got = world.get(&format!("{SERVICE}&{scope}"), ALICE).await;
    assert_eq!(posted.claims()["access"], got.claims()["access"]);
    assert_eq!(posted.body["token"], posted.body["access_token"]);
    assert_eq!(posted.body.get("refresh_token"), None);
    let offline = world.post(&format!("{}&access_type=offline", form("alice", PASSWORD))).await;
    assert!(offline.body["refresh_token"].as_str().unwrap().starts_with("hyr_"));
    let charset = TestRequest::post()
        .uri("/service/token")
        .insert_header(("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"))
        .set_payload(form("alice%40example.com", PASSWORD));
    assert_eq!(world.send(charset).await.claims()["sub"], "alice");

    let wrong = (401, "UNAUTHORIZED", "authentication required");
    assert_eq!(world.post(&form("alice", "Wrong-1")).await.refusal(), wrong);
    assert_eq!(world.post(&form("", "")).await.refusal(), wrong);
    let token = got.body["token"].as_str().unwrap();
    for refresh in ["", "hyr_", "nonsense", token] {
        let form = format!("{SERVICE}&grant_type=refresh_token&refresh_token={refresh}&{scope}");
        assert_eq!(world.post(&form).await.refusal(), wrong, "{refresh:.20}");
    }
}

#[actix_web::test]
async fn too_many_failures_are_429_over_both_doors() {
    let world = World::new().await;
    for number in 0..5 {
        let answer = if number % 2 == 0 {
            world.get(&format!("{SERVICE}&scope=repository:open/a:pull"), Some(("alice", "Wrong-1"))).await
        } else {
            world.post(&format!("{SERVICE}&grant_type=password&username=ALICE&password=Wrong-1")).await
        };
        assert_eq!(answer.status, 401);
    }
    for answer in [
        world.get(SERVICE, ALICE).await,
        world.post(&format!("{SERVICE}&grant_type=password&username=alice&password={PASSWORD}")).await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.refusal().1), (429, "TOOMANYREQUESTS"));
        assert!((290..=300).contains(&answer.retry_after.unwrap()));
    }
}

#[actix_web::test]
async fn without_a_database_the_answer_is_503() {
    let world = World::new().await;
    let refresh = world.get(&format!("{SERVICE}&offline_token=true"), ALICE).await;
    let refresh = refresh.body["refresh_token"].as_str().unwrap().to_owned();
    world.pool.close().await;
    let scope = format!("{SERVICE}&scope=repository:open/app:pull");
    for answer in [
        world.get(&scope, None).await,
        world.get(&scope, ALICE).await,
        world.get(SERVICE, Some(("bob", "Wrong-1"))).await,
        world.post(&format!("{SERVICE}&grant_type=password&username=bob&password={PASSWORD}")).await,
        world.post(&format!("{SERVICE}&grant_type=refresh_token&refresh_token={refresh}")).await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.refusal().1), (503, "UNAVAILABLE"));
        assert!(answer.retry_after.is_some());
    }
}

#[actix_web::test]
async fn routes_are_what_the_table_says() {
    let world = World::new().await;
    for path in PREFIXES {
        let allowed: Vec<_> =
            routes::ROUTES.iter().filter(|route| route.path == *path).map(|route| route.method).collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"] {
            let request = TestRequest::default().method(method.parse().unwrap()).uri(path);
            let answer = world.send(request).await;
            let refused = answer.status == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(refused, !allowed.contains(&method), "{method} {path}");
            if refused {
                assert_eq!(answer.allow, allowed.join(", "));
            }
        }
    }
    let jwks = world.send(TestRequest::get().uri("/service/jwks")).await;
    assert_eq!((jwks.status.as_u16(), jwks.body["keys"][0]["alg"].as_str()), (200, Some("ES256")));
    assert_eq!(jwks.body["keys"][0].get("d"), None);
    let certificates = world.send(TestRequest::get().uri("/service/certificates")).await;
    assert_eq!(certificates.status, 200);
    assert_eq!(world.send(TestRequest::get().uri("/service/other")).await.status, 404);
}
