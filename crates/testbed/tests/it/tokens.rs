//! The token service and what is accepted as a token (JW-01 to JW-18). Half of the forgeries carry
//! the platform's own signature, so that only the rule under test can refuse them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hythe_testbed::forge::{self, Attacker, Parts};
use hythe_testbed::{Bed, Credentials, Image, Options, Role, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::now;

/// A user with an image to pull and a good token for it.
struct Holder {
    bed: Bed,
    user: User,
    image: Image,
    token: String,
    parts: Parts,
}

impl Holder {
    async fn new() -> Holder {
        Holder::on(Bed::shared().await).await
    }

    async fn on(bed: Bed) -> Holder {
        let user = bed.user("holder").await;
        let project = bed.project("held").member(&user, Role::Developer).create().await;
        let image = user.registry().push_image(&project.repository("app"), "1").await;
        let token = user.client().token(&[&format!("repository:{}:pull,push", image.repository)]).await;
        let parts = Parts::of(&token);
        Holder { bed, user, image, token, parts }
    }

    /// Presents a token where the good one opens the door.
    async fn present(&self, token: &str) -> hythe_testbed::Answer {
        let client = self.bed.client(Credentials::Bearer(token.to_owned()));
        client.get(format!("/v2/{}/manifests/1", self.image.repository)).await
    }

    async fn accepted(&self, token: &str, what: &str) {
        let answer = self.present(token).await;
        assert_eq!(answer.status, 200, "{what}: {answer}");
    }

    async fn refused(&self, token: &str, what: &str) {
        let answer = self.present(token).await;
        assert_eq!(answer.status, 401, "{what}: {answer}");
        let answer = answer.expect_challenge("invalid_token");
        assert!(!answer.text().contains("panic"), "{what}: {answer}");
        let base = self.bed.client(Credentials::Bearer(token.to_owned())).get("/v2/").await;
        assert_eq!(base.status, 401, "{what} on /v2/: {base}");
    }
}

#[tokio::test]
async fn jw_01_unsigned_tokens() {
    let holder = Holder::new().await;
    holder.accepted(&holder.token, "the real token").await;
    for algorithm in ["none", "None", "nOnE", "NONE", ""] {
        let forged = holder.parts.header("alg", json!(algorithm));
        for signature in ["", "AA", holder.parts.signature.as_str()] {
            holder.refused(&forged.with_signature(signature), algorithm).await;
        }
        holder.refused(&forged.message(), algorithm).await;
    }
    holder.refused(&holder.parts.with_signature(""), "empty signature").await;
    holder.refused(&holder.parts.message(), "no signature").await;
}

#[tokio::test]
async fn jw_02_symmetric_signature_with_the_public_key() {
    let holder = Holder::new().await;
    let nobody = holder.bed.nobody();
    let bundle = nobody.get("/service/certificates").await.expect(200).text();
    let jwks = nobody.get("/service/jwks").await.expect(200);
    let keys = jwks.json();
    let key =
        keys["keys"].as_array().and_then(|keys| keys.iter().find(|key| key["kid"] == holder.parts.key_id()));
    let key = key.unwrap_or_else(|| panic!("the signing key is not in {keys}"));
    let coordinate =
        |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().expect("an EC key")).expect("base64");
    let (x, y) = (coordinate("x"), coordinate("y"));
    let point = [&[4][..], &x, &y].concat();
    // SubjectPublicKeyInfo of a P-256 key is this and the point.
    let head = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
    let public_der = [&head[..], &point].concat();
    let public_pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&public_der));
    let first: String = bundle.lines().take_while(|line| !line.contains("END")).skip(1).collect();
    let certificate_der = STANDARD.decode(first).expect("a PEM certificate");
    let forged = holder.parts.header("alg", json!("HS256"));
    for secret in [
        bundle.as_bytes(),
        bundle.trim().as_bytes(),
        &certificate_der,
        &public_der,
        public_pem.as_bytes(),
        public_pem.trim().as_bytes(),
        &point,
        &x,
        &y,
        key.to_string().as_bytes(),
        &jwks.body,
        b"",
        b"secret",
    ] {
        holder.refused(&forged.signed_hs256(secret), "HS256").await;
        // The header may lie about the algorithm, too.
        holder.refused(&holder.parts.signed_hs256(secret), "HS256 under the name of ES256").await;
    }
}

#[tokio::test]
async fn jw_03_a_key_inside_the_token_is_not_trusted() {
    let holder = Holder::new().await;
    let attacker = Attacker::default();
    for key_id in [holder.parts.key_id(), "attacker"] {
        let forged = holder.parts.header("jwk", attacker.jwk(key_id)).header("kid", json!(key_id));
        holder.refused(&forged.signed_by(&attacker), "embedded jwk").await;
    }
    let without_id =
        holder.parts.header("jwk", attacker.jwk(holder.parts.key_id())).header("kid", Value::Null);
    holder.refused(&without_id.signed_by(&attacker), "embedded jwk, no kid").await;
    holder.refused(&holder.parts.signed_by(&attacker), "foreign key under the trusted kid").await;
}

#[tokio::test]
async fn jw_04_no_key_is_fetched() {
    let holder = Holder::new().await;
    let attacker = Attacker::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    for key_id in [holder.parts.key_id(), "attacker"] {
        for (name, value) in [
            ("jku", json!(format!("http://{address}/jwks.json"))),
            ("x5u", json!(format!("http://{address}/chain.pem"))),
            ("x5c", json!([attacker.certificate()])),
            ("kid", json!(format!("http://{address}/key"))),
        ] {
            let forged = holder.parts.header("kid", json!(key_id)).header(name, value);
            holder.refused(&forged.signed_by(&attacker), name).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(connections.load(Ordering::SeqCst), 0, "a key address of a token was dialled");
}

#[tokio::test]
async fn jw_05_key_ids_are_only_looked_up() {
    let holder = Holder::new().await;
    let attacker = Attacker::default();
    let long = "A".repeat(8 * 1024);
    for key_id in [
        json!("../../dev/null"),
        json!("/dev/null"),
        json!("'||1--"),
        json!("' or 1=1 --"),
        json!("unknown"),
        json!(""),
        json!("\u{0}"),
        json!("%00"),
        json!(long),
        Value::Null,
        json!(1),
        json!(["a"]),
        json!({"a": 1}),
        json!(true),
        json!(format!("{}\u{0}", holder.parts.key_id())),
        json!(holder.parts.key_id().to_lowercase()),
    ] {
        let forged = holder.parts.header("kid", key_id.clone());
        holder.refused(&forged.signed_hs256(b""), &key_id.to_string()).await;
        holder.refused(&forged.signed_by(&attacker), &key_id.to_string()).await;
    }
    let huge = holder.parts.header("kid", json!("A".repeat(64 * 1024))).signed_by(&attacker);
    let answer = holder.bed.raw_get("/v2/", &format!("Authorization: Bearer {huge}\r\n")).await;
    assert!([401, 431].contains(&answer.status.unwrap_or_default()), "{}", answer.text);
}

#[tokio::test]
async fn jw_06_times_have_one_form() {
    let holder = Holder::new().await;
    let key = holder.bed.inside().await.signing_key(holder.parts.key_id()).await;
    holder.accepted(&holder.parts.signed_es256(&key), "the real claims, signed again").await;
    let good = now();
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!(good.to_string()),
            json!(good as f64 + 600.5),
            json!(-1),
            json!(1e308),
            json!(-1e308),
            Value::Null,
            json!(true),
            json!([good]),
            json!({"v": good}),
            json!("never"),
            json!(""),
            json!(u64::MAX),
        ] {
            let forged = holder.parts.claim(name, value.clone());
            holder.refused(&forged.signed_es256(&key), &format!("{name} = {value}")).await;
        }
        let mut nulled = holder.parts.clone();
        nulled.claims[name] = Value::Null;
        holder.refused(&nulled.signed_es256(&key), &format!("{name} is null")).await;
    }
    // Times so large that adding a leeway overflows.
    for value in [json!(i64::MAX), json!(i64::MIN), json!(9_999_999_999_999_999_i64)] {
        for name in ["nbf", "iat"] {
            let forged = holder.parts.claim(name, value.clone());
            holder.refused(&forged.signed_es256(&key), &format!("{name} = {value}")).await;
        }
        let answer = holder.present(&holder.parts.claim("exp", value).signed_es256(&key)).await;
        assert!([200, 401].contains(&answer.status), "{answer}");
    }
}

#[tokio::test]
async fn jw_07_clocks_may_differ_by_a_minute() {
    let holder = Holder::new().await;
    let key = holder.bed.inside().await.signing_key(holder.parts.key_id()).await;
    let times = |iat: i64, nbf: i64, exp: i64| {
        let base = now();
        let parts = holder.parts.claim("iat", json!(base + iat)).claim("nbf", json!(base + nbf));
        parts.claim("exp", json!(base + exp)).signed_es256(&key)
    };
    holder.accepted(&times(-600, -600, -30), "expired 30 s ago").await;
    holder.refused(&times(-600, -600, -90), "expired 90 s ago").await;
    holder.accepted(&times(0, 30, 600), "valid in 30 s").await;
    holder.refused(&times(0, 90, 600), "valid in 90 s").await;
    holder.refused(&times(90, 0, 600), "issued in 90 s").await;
    // A lifetime of our making is the longest there is.
    holder.refused(&times(-86_400, -86_400, 86_400), "issued yesterday, valid until tomorrow").await;
}

#[tokio::test]
async fn jw_08_audience_issuer_and_every_byte() {
    let holder = Holder::new().await;
    let key = holder.bed.inside().await.signing_key(holder.parts.key_id()).await;
    for name in ["aud", "iss"] {
        let real = holder.parts.claims[name].clone();
        for value in [
            Value::Null,
            json!("evil"),
            json!(""),
            json!([real]),
            json!([real, "evil"]),
            json!(1),
            json!({"a": real}),
        ] {
            let forged = holder.parts.claim(name, value.clone()).signed_es256(&key);
            holder.refused(&forged, &format!("{name} = {value}")).await;
        }
    }
    for name in ["access", "sub", "jti"] {
        holder
            .refused(&holder.parts.claim(name, Value::Null).signed_es256(&key), &format!("without {name}"))
            .await;
    }
    for kind in [json!("at+jwt"), json!("refresh"), json!("session"), Value::Null, json!(1)] {
        holder
            .refused(&holder.parts.header("typ", kind.clone()).signed_es256(&key), &format!("typ {kind}"))
            .await;
    }
    let token = &holder.token;
    for length in [1, 10, token.len() / 2, token.len() - 1] {
        holder.refused(&token[..length], &format!("cut to {length}")).await;
    }
    for tail in ["A", "=", ".", ".AAAA", "AAAA"] {
        holder.refused(&format!("{token}{tail}"), &format!("{tail:?} appended")).await;
        holder.refused(&format!("{tail}{token}"), &format!("{tail:?} in front")).await;
    }
    let dots: Vec<usize> = token.match_indices('.').map(|(index, _)| index).collect();
    for position in [3, dots[0] + 5, dots[1] + 5, token.len() - 20] {
        let mut bytes = token.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("still ASCII");
        holder.refused(&changed, &format!("byte {position} changed")).await;
    }
}

#[tokio::test]
async fn jw_09_every_credential_has_one_purpose() {
    let holder = Holder::new().await;
    let bearer = holder.bed.client(Credentials::Bearer(holder.token.clone()));
    for path in ["/api/v2.0/users/current", "/api/v2.0/projects", "/api/v2.0/repositories"] {
        bearer.get(path).await.expect(401);
    }
    bearer.token_answer(&[&format!("repository:{}:pull", holder.image.repository)]).await.expect(401);
    let answer = holder
        .user
        .client()
        .request(Method::GET, "/service/token")
        .query("service", "harbor-registry")
        .query("offline_token", "true")
        .query("client_id", "docker")
        .send()
        .await
        .expect(200)
        .json();
    let refresh = answer["refresh_token"].as_str().expect("a refresh token was asked for");
    holder.refused(refresh, "a refresh token as bearer").await;
    for password in [refresh, &holder.token] {
        let basic = Credentials::Basic { name: holder.user.name.clone(), password: password.to_owned() };
        holder.bed.client(basic.clone()).get("/v2/").await.expect(401);
        holder.bed.client(basic).get("/api/v2.0/users/current").await.expect(401);
    }
    let exchange = async |token: &str| {
        let fields =
            [("grant_type", "refresh_token"), ("service", "harbor-registry"), ("refresh_token", token)];
        holder.bed.nobody().request(Method::POST, "/service/token").form(&fields).send().await
    };
    exchange(&holder.token).await.expect(401);
    exchange("").await.expect_any(&[400, 401]);
    exchange(&format!("{refresh}x")).await.expect(401);
    exchange(refresh).await.expect(200);
    // Cookies are nobody's credentials here.
    for name in ["sid", "hythe", "token", "__Host-hythe"] {
        let request = holder.bed.nobody().request(Method::GET, "/v2/");
        request.header("cookie", format!("{name}={}", holder.token)).send().await.expect_challenge("");
    }
}

#[tokio::test]
async fn jw_10_the_caller_does_not_choose_the_audience() {
    let holder = Holder::new().await;
    for client in [holder.bed.nobody(), holder.user.client()] {
        for services in [
            &["evil"][..],
            &[""],
            &["harbor-registry", "evil"],
            &["evil", "harbor-registry"],
            &["harbor-registry "],
            &["Harbor-Registry"],
            &["http://evil.test"],
        ] {
            let mut request = client.request(Method::GET, "/service/token");
            for service in services {
                request = request.query("service", service);
            }
            let answer = request.query("scope", "repository:a/b:pull").query("aud", "evil").send().await;
            assert_eq!(answer.status, 400, "{services:?}: {answer}");
        }
        let request = client.request(Method::GET, "/service/token").query("service", "harbor-registry");
        let request =
            request.query("audience", "evil").query("aud", "evil").query("scope", "repository:a/b:pull");
        let token = request.send().await.expect(200).json()["token"].as_str().unwrap_or_default().to_owned();
        assert_eq!(Parts::of(&token).claims["aud"], "harbor-registry");
    }
}

#[tokio::test]
async fn jw_11_keys_are_not_managed_over_the_network() {
    for route in cli::routes() {
        for word in ["rotate", "signing", "private", "keys"] {
            assert!(!route.path.contains(word) && !route.id.to_lowercase().contains(word), "{route:?}");
        }
    }
    let holder = Holder::new().await;
    for client in [
        holder.user.client(),
        holder.bed.admin().client(),
        holder.bed.client(Credentials::Bearer(holder.token.clone())),
    ] {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for path in ["/service/jwks", "/service/certificates", "/service/token/keys", "/service/keys"] {
                client.request(method.clone(), path).json(json!({})).send().await.expect_any(&[404, 405]);
            }
        }
    }
    let jwks = holder.bed.nobody().get("/service/jwks").await.expect(200).json();
    for key in jwks["keys"].as_array().expect("a key set") {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{private} of a private key is published");
        }
    }
}

#[tokio::test]
async fn jw_12_giant_tokens_are_refused_at_once() {
    let holder = Holder::new().await;
    for (what, token) in [
        ("1 MiB", "A".repeat(1024 * 1024)),
        ("100 000 dots", ".".repeat(100_000)),
        ("8 MiB", "A.".repeat(4 * 1024 * 1024)),
    ] {
        let answer = holder.bed.raw_get("/v2/", &format!("Authorization: Bearer {token}\r\n")).await;
        let status = answer.status.unwrap_or_else(|| panic!("{what}: closed without an answer"));
        assert!([401, 431].contains(&status), "{what}: {status}");
    }
    for (what, token) in
        [("dots", ".".repeat(8000)), ("letters", "A".repeat(12_000)), ("pairs", "A.".repeat(4000))]
    {
        holder.refused(&token, what).await;
    }
}

#[tokio::test]
async fn jw_13_encrypted_compressed_and_critical_tokens() {
    let holder = Holder::new().await;
    let key = holder.bed.inside().await.signing_key(holder.parts.key_id()).await;
    let part = |value: &Value| forge::encode(value);
    for header in [
        json!({"alg": "dir", "enc": "A256GCM"}),
        json!({"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2_147_483_648_u64, "p2s": "AAAA"}),
        json!({"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF", "kid": holder.parts.key_id()}),
    ] {
        let started = std::time::Instant::now();
        holder.refused(&format!("{}.AAAA.AAAA.AAAA.AAAA", part(&header)), &header.to_string()).await;
        assert!(started.elapsed() < Duration::from_secs(5), "a key was derived for {header}");
    }
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!(["evil"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("jku", json!("http://127.0.0.1:9/")),
        ("enc", json!("A256GCM")),
    ] {
        holder
            .refused(&holder.parts.header(name, value.clone()).signed_es256(&key), &format!("{name} {value}"))
            .await;
    }
}

#[tokio::test]
async fn jw_14_ambiguous_json_and_malleable_signatures() {
    let holder = Holder::new().await;
    let key = holder.bed.inside().await.signing_key(holder.parts.key_id()).await;
    let (header, claims) = (holder.parts.header.to_string(), holder.parts.claims.to_string());
    holder.accepted(&forge::sign_text(&header, &claims, &key), "the real texts").await;
    let extended = |text: &str, member: &str| format!("{}{member}}}", &text[..text.len() - 1]);
    let cases: Vec<(&str, String, String)> = vec![
        ("access twice", header.clone(), extended(&claims, r#","access":[]"#)),
        ("access twice, once escaped", header.clone(), extended(&claims, r#","acces\u0073":[]"#)),
        ("aud twice", header.clone(), extended(&claims, r#","aud":"harbor-registry""#)),
        ("alg twice", extended(&header, r#","alg":"ES256""#), claims.clone()),
        ("kid twice", extended(&header, &format!(r#","kid":"{}""#, holder.parts.key_id())), claims.clone()),
        ("mark before the claims", header.clone(), format!("\u{feff}{claims}")),
        ("mark before the header", format!("\u{feff}{header}"), claims.clone()),
        ("bytes after the claims", header.clone(), format!("{claims}x")),
        (
            "deep claims",
            header.clone(),
            extended(&claims, &format!(r#","x":{}{}"#, "[".repeat(2000), "]".repeat(2000))),
        ),
        ("claims are a list", header.clone(), format!("[{claims}]")),
    ];
    for (what, header, claims) in cases {
        holder.refused(&forge::sign_text(&header, &claims, &key), what).await;
    }
    let raw = URL_SAFE_NO_PAD.decode(&holder.parts.signature).expect("base64");
    let integer = |bytes: &[u8]| {
        let pad: &[u8] = if bytes[0] >= 0x80 { &[0] } else { &[] };
        let body = [pad, bytes].concat();
        [&[2, u8::try_from(body.len()).expect("short")][..], &body].concat()
    };
    let both = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [&[0x30, u8::try_from(both.len()).expect("short")][..], &both].concat();
    for (what, signature) in [
        ("zero", vec![0; 64]),
        ("DER", der),
        ("short", raw[..63].to_vec()),
        ("long", [&raw[..], &[0]].concat()),
    ] {
        holder.refused(&holder.parts.with_signature(&URL_SAFE_NO_PAD.encode(signature)), what).await;
    }
}

#[tokio::test]
async fn jw_15_odd_scopes_grant_nothing() {
    let holder = Holder::new().await;
    let repository = &holder.image.repository;
    let project = repository.split('/').next().unwrap_or_default();
    for scope in [
        "repository:*:pull".to_owned(),
        "repository:**:*".to_owned(),
        format!("repository:{project}/*:pull"),
        format!("repository:{project}:pull"),
        format!("repository:{project}/:pull"),
        "registry:catalog:*".to_owned(),
        format!("repository(plugin):{repository}:pull"),
        format!("Repository:{repository}:pull"),
        format!("repository:{}:pull", repository.to_uppercase()),
        format!("repository:127.0.0.1:5000/{repository}:pull"),
        format!("repository:{repository}/../app:pull"),
        format!("repository:{repository}%2f:pull"),
        format!("repository:{repository}:PULL"),
        format!("repository:{repository}:pull\u{0}"),
        format!("repository:{repository}:"),
        format!("repository:{repository}:scanner-pull"),
        "x".to_owned(),
        "::".to_owned(),
    ] {
        let token = holder.user.client().token(&[&scope]).await;
        for (name, actions) in Parts::of(&token).access() {
            assert!(actions.is_empty(), "{scope:?} granted {actions:?} on {name:?}");
        }
        holder.present(&token).await.expect_challenge("insufficient_scope");
    }
    // Each repository stands for itself.
    let other = format!("{project}/other");
    let token = holder.user.client().token(&[&format!("repository:{other}:pull,push")]).await;
    holder.present(&token).await.expect_challenge("insufficient_scope");

    let scopes: Vec<String> = (0..1000).map(|number| format!("repository:a/b{number}:pull")).collect();
    let many: Vec<&str> = scopes.iter().map(String::as_str).collect();
    holder.user.client().token_answer(&many[..100]).await.expect(200);
    holder.user.client().token_answer(&many[..101]).await.expect(400);
    holder.user.client().token_answer(&[&scopes[..101].join(" ")]).await.expect(400);
    let long = format!("repository:a/{}:pull", "b".repeat(64 * 1024));
    for query in [many.join("&scope="), long.clone()] {
        let path = format!("/service/token?service=harbor-registry&scope={query}");
        let answer = holder.bed.raw_get(&path, "").await;
        assert!([400, 414].contains(&answer.status.unwrap_or_default()), "{}", answer.text);
    }
    let fields = [
        ("grant_type", "refresh_token"),
        ("service", "harbor-registry"),
        ("refresh_token", "x"),
        ("scope", &long),
    ];
    holder
        .bed
        .nobody()
        .request(Method::POST, "/service/token")
        .form(&fields)
        .send()
        .await
        .expect_any(&[400, 413]);
    let mut form = vec![("grant_type", "password"), ("service", "harbor-registry")];
    form.extend([("username", holder.user.name.as_str()), ("password", holder.user.password.as_str())]);
    let joined = scopes[..101].join(" ");
    form.push(("scope", &joined));
    holder.bed.nobody().request(Method::POST, "/service/token").form(&form).send().await.expect(400);
}

#[tokio::test]
async fn jw_16_keys_change_under_traffic() {
    let options = Options::default().set("HYTHE_IDENTITY__SIGNING_KEY_DELAY_SECONDS", "5");
    let holder = Holder::on(Bed::own(options).await).await;
    let first = holder.parts.key_id().to_owned();
    let output = holder.bed.run(&["keys", "rotate"], "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scope = format!("repository:{}:pull", holder.image.repository);
    let started = std::time::Instant::now();
    let second = loop {
        let token = holder.user.client().token(&[&scope]).await;
        holder.accepted(&token, "a token made during the change").await;
        holder.accepted(&holder.token, "a token of the old key").await;
        let key_id = Parts::of(&token).key_id().to_owned();
        if key_id != first {
            break key_id;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the new key never signs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let jwks = holder.bed.nobody().get("/service/jwks").await.expect(200).json();
    let published: Vec<&str> =
        jwks["keys"].as_array().expect("a key set").iter().filter_map(|key| key["kid"].as_str()).collect();
    assert!(published.contains(&first.as_str()) && published.contains(&second.as_str()), "{published:?}");

    let inside = holder.bed.inside().await;
    inside.identity.key_remove(&first).await.unwrap_or_else(|err| panic!("the old key stays: {err}"));
    crate::support::eventually(crate::support::REVOCATION, "tokens of a removed key end", async || {
        holder.present(&holder.token).await.status == 401
    })
    .await;
    holder.accepted(&holder.user.client().token(&[&scope]).await, "a token of the new key").await;
}

#[tokio::test]
async fn jw_17_lifetime_and_size() {
    let holder = Holder::new().await;
    let scopes: Vec<String> =
        (0..50).map(|number| format!("repository:{}-{number}:pull,push", holder.image.repository)).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let answer = holder.user.client().token_answer(&scopes).await.expect(200).json();
    let token = answer["token"].as_str().unwrap_or_default();
    assert!(token.len() <= 8 * 1024, "{} bytes for 50 scopes of long names", token.len());
    assert!(holder.token.len() <= 1024, "{} bytes for one scope", holder.token.len());
    let claims = Parts::of(token).claims;
    let lifetime = claims["exp"].as_i64().unwrap_or_default() - claims["iat"].as_i64().unwrap_or_default();
    assert_eq!(answer["expires_in"], lifetime);
    assert!((60..=1800).contains(&lifetime), "{lifetime}");
    assert!(answer["issued_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{answer}");
    assert!(answer.get("refresh_token").is_none(), "nobody asked for a refresh token");
    assert!((claims["iat"].as_i64().unwrap_or_default() - now()).abs() < 60);
}

#[tokio::test]
async fn jw_18_the_form_gives_the_same_verdict() {
    let holder = Holder::new().await;
    let post = async |fields: &[(&str, &str)]| {
        holder.bed.nobody().request(Method::POST, "/service/token").form(fields).send().await
    };
    let scope = format!("repository:{}:pull,push,delete", holder.image.repository);
    let (name, password) = (holder.user.name.as_str(), holder.user.password.as_str());
    let base = [
        ("grant_type", "password"),
        ("service", "harbor-registry"),
        ("client_id", "t"),
        ("scope", scope.as_str()),
    ];
    let with = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        base.iter()
            .map(|(k, v)| (*k, (*v).to_owned()))
            .chain(more.iter().map(|(k, v)| (*k, (*v).to_owned())))
            .collect()
    };
    let send = async |fields: Vec<(&'static str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        post(&fields).await
    };
    let answer = send(with(&[("username", name), ("password", password)])).await.expect(200).json();
    let token = answer["access_token"].as_str().unwrap_or_default();
    assert_eq!(Parts::of(token).access()[0].1, ["pull", "push"]);
    let canary = format!("CANARY-{:x}", rand::random::<u64>());
    let form = send(with(&[("username", name), ("password", &canary)])).await.expect(401);
    let wrong = holder.bed.client(Credentials::Basic { name: name.to_owned(), password: canary.clone() });
    let basic = wrong.token_answer(&[&scope]).await.expect(401);
    assert_eq!((form.code(), form.text()), (basic.code(), basic.text()));
    assert!(form.text().contains("authentication required"), "{form}");
    for (what, fields) in [
        ("no grant type", vec![("service", "harbor-registry")]),
        ("unknown grant type", vec![("grant_type", "implicit"), ("service", "harbor-registry")]),
        ("no password", vec![("grant_type", "password"), ("service", "harbor-registry"), ("username", name)]),
        (
            "another service",
            vec![("grant_type", "password"), ("service", "evil"), ("username", name), ("password", password)],
        ),
    ] {
        let answer = post(&fields).await;
        assert_eq!(answer.status, 400, "{what}: {answer}");
    }
    assert!(!holder.bed.log().contains(&canary), "a password is in the log");
    assert!(!holder.bed.log().contains(password), "a password is in the log");
}
