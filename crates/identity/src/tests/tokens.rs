//! What a token may say and what happens to one that says anything else (JW-01 to JW-08, JW-12 to JW-14, JW-17).
#![expect(clippy::unwrap_used, reason = "tests")]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use oci::Action;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{quiet, user};
use crate::keys::fingerprint;
use crate::tokens::{Access, Error};
use crate::{Config, Identity, Principal, SigningAlgorithm};

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// A token with this header and these claims, signed with the key that signs now.
fn signed(identity: &Identity, header: &str, claims: &str) -> String {
    let keys = identity.0.feed.keys();
    let message = format!("{}.{}", b64(header), b64(claims));
    let signature = keys.signer().unwrap().sign(message.as_bytes()).unwrap();
    format!("{message}.{signature}")
}

fn access() -> Vec<Access> {
    let name = "library/app".parse().unwrap();
    vec![Access::repository(&name, &[Action::Pull, Action::Push], Some((3, 2)))]
}

async fn is_invalid(identity: &Identity, token: &str) -> bool {
    matches!(identity.verify(token).await, Err(Error::Invalid))
}

#[tokio::test]
async fn a_token_says_who_and_what_and_never_administrator() {
    let database = database::testing::database().await;
    for algorithm in [SigningAlgorithm::ES256, SigningAlgorithm::RS256] {
        let identity = quiet(&database, Config { signing_algorithm: algorithm, ..Config::default() }).await;
        if part(&identity.sign(&Principal::Anonymous, &[]).await.unwrap().token, 0)["alg"]
            != algorithm.as_str()
        {
            assert!(identity.rotate_when_due().await.unwrap(), "another algorithm is a reason to rotate");
            sqlx::query!("update identity.signing_keys set signs_from = now()")
                .execute(database.pool())
                .await
                .unwrap();
            identity.0.feed.reload_once().await.unwrap();
        }
        let caller = super::administrator(&identity).await;
        let mut grant = access();
        grant.push(Access::nothing("repository", "secret/app"));
        grant.push(Access::catalog());
        let issued = identity.sign(&caller.principal, &grant).await.unwrap();
        assert_eq!(
            (issued.expires_in, part(&issued.token, 0)["alg"].as_str()),
            (1800, Some(algorithm.as_str()))
        );
        let claims = part(&issued.token, 1);
        assert_eq!(claims["aud"], "harbor-registry");
        assert_eq!(claims["iss"], "harbor-token-issuer");
        assert_eq!(claims["sub"], "admin");
        assert_eq!(
            claims["access"][0],
            json!({"type": "repository", "name": "library/app", "actions": ["pull", "push"]})
        );
        assert!(!claims.to_string().contains("sysadmin"));

        let verified = identity.verify(&issued.token).await.unwrap();
        assert_eq!(verified.access, grant);
        assert_eq!(Some(verified.id), caller.user().map(|user| user.id.0));
        assert!(!verified.principal().is_sysadmin());

        let nobody = identity.sign(&Principal::Anonymous, &[]).await.unwrap();
        let nobody = identity.verify(&nobody.token).await.unwrap();
        assert_eq!((nobody.id, nobody.principal()), (0, Principal::Anonymous));
    }
}

#[tokio::test]
async fn headers_decide_nothing() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let token = identity.sign(&Principal::Anonymous, &access()).await.unwrap().token;
    let (header, claims) = (part(&token, 0), part(&token, 1).to_string());
    let kid = header["kid"].as_str().unwrap().to_owned();
    let elsewhere = database::testing::database().await;
    let attacker = quiet(&elsewhere, Config::default()).await;
    let their_jwk = attacker.jwks()["keys"][0].clone();
    assert!(
        identity.verify(&signed(&identity, &header.to_string(), &claims)).await.is_ok(),
        "the forge works"
    );

    let with = |key: &str, value: Value| {
        let mut header = header.clone();
        header[key] = value;
        header.to_string()
    };
    let without = |key: &str| {
        let mut header = header.clone();
        header.as_object_mut().unwrap().remove(key);
        header.to_string()
    };
    let headers = [
        // JW-01
        with("alg", json!("none")),
        with("alg", json!("None")),
        with("alg", json!("nOnE")),
        with("alg", json!("RS256")),
        with("alg", json!(["ES256"])),
        without("alg"),
        // JW-03, JW-04
        with("jwk", their_jwk),
        with("jku", json!("http://127.0.0.1:1/jwks")),
        with("x5u", json!("http://127.0.0.1:1/cert")),
        with("x5c", json!(["AAAA"])),
        // JW-05
        with("kid", json!("../../dev/null")),
        with("kid", json!("'||1--")),
        with("kid", json!("k".repeat(10_000))),
        with("kid", json!(kid.to_lowercase())),
        with("kid", json!(7)),
        without("kid"),
        // JW-09: the purpose is part of the header
        with("typ", json!("at+jwt")),
        with("typ", json!("jwt")),
        without("typ"),
        // JW-13
        with("crit", json!(["exp"])),
        with("zip", json!("DEF")),
        with("p2c", json!(2_147_483_648_u64)),
        // JW-14
        format!("\u{feff}{header}"),
        header.to_string().replace('{', r#"{"alg":"ES256","#),
        header.to_string().replace('{', r#"{"\u0061lg":"ES256","#),
        format!("{header} x"),
        "[]".to_owned(),
        "\"JWT\"".to_owned(),
        String::new(),
    ];
    for header in headers {
        assert!(is_invalid(&identity, &signed(&identity, &header, &claims)).await, "{header:.120}");
    }

    // JW-02: an HMAC made with what everybody knows about the key.
    let (x, y) = {
        let key = &identity.jwks()["keys"][0];
        (key["x"].as_str().unwrap().to_owned(), key["y"].as_str().unwrap().to_owned())
    };
    let raw = [vec![4], URL_SAFE_NO_PAD.decode(&x).unwrap(), URL_SAFE_NO_PAD.decode(&y).unwrap()].concat();
    let stored =
        sqlx::query_scalar!("select public_der from identity.signing_keys").fetch_one(database.pool());
    let known = [
        identity.certificate_bundle().into_bytes(),
        stored.await.unwrap(),
        raw,
        identity.jwks()["keys"][0].to_string().into_bytes(),
        x.into_bytes(),
    ];
    for key in known {
        for alg in ["HS256", "ES256"] {
            let message = format!("{}.{}", b64(with("alg", json!(alg))), b64(&claims));
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(message.as_bytes());
            let forged = format!("{message}.{}", b64(mac.finalize().into_bytes()));
            assert!(is_invalid(&identity, &forged).await, "{alg}");
        }
    }
    // Somebody else's key under our name.
    let theirs = attacker.sign(&Principal::Anonymous, &access()).await.unwrap().token;
    assert!(is_invalid(&identity, &theirs).await);
    let theirs = signed(&attacker, &header.to_string(), &claims);
    assert!(is_invalid(&identity, &theirs).await);
}

#[tokio::test]
async fn signatures_and_shapes() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let token = identity.sign(&Principal::Anonymous, &access()).await.unwrap().token;
    let (message, signature) = token.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let integer = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        if bytes[0] & 0x80 != 0 {
            bytes.insert(0, 0);
        }
        [vec![2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat();
    let encrypted =
        format!("{}.a.b.c.d", b64(r#"{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483648}"#));
    let cases = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        message.to_owned(),
        format!("{message}."),
        format!("{message}.{}", b64([0; 64])),
        format!("{message}.{}", b64(der)),
        format!("{message}.{}", STANDARD.encode(&raw)),
        format!("{message}.{signature}="),
        format!("{message}.{signature}A"),
        format!("{token}.{signature}"),
        token[..token.len() - 2].to_owned(),
        format!(" {token}"),
        format!("{token}\n"),
        token.replacen('.', "..", 1),
        encrypted,
        "x".repeat(1024 * 1024),
        ".".repeat(100_000),
        format!("{message}{}.{signature}", "A".repeat(16 * 1024)),
        "hyr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    ];
    for case in cases {
        assert!(is_invalid(&identity, &case).await, "{case:.100}");
    }
    for bit in 0..raw.len() * 8 {
        let mut raw = raw.clone();
        raw[bit / 8] ^= 1 << (bit % 8);
        assert!(is_invalid(&identity, &format!("{message}.{}", b64(raw))).await, "bit {bit}");
    }
}

#[tokio::test]
async fn claims_must_be_exactly_ours() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let token = identity.sign(&Principal::Anonymous, &access()).await.unwrap().token;
    let (header, claims) = (part(&token, 0).to_string(), part(&token, 1));
    let mut bad = Vec::new();
    // JW-06
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!(null),
            json!("1700000000"),
            json!(1.7e9),
            json!(-1),
            json!(1e308),
            json!(u64::MAX),
            json!(i64::MAX),
            json!([1]),
            json!(true),
        ] {
            let mut claims = claims.clone();
            // A date beyond every calendar is no date; one that is only far away is a fine expiry.
            if name == "exp" && value == json!(i64::MAX) {
                continue;
            }
            claims[name] = value;
            bad.push(claims.to_string());
        }
    }
    // JW-06, JW-08
    for name in ["exp", "nbf", "iat", "jti", "aud", "iss", "sub", "access", "hythe"] {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        bad.push(claims.to_string());
    }
    for (name, value) in [
        ("aud", json!(["harbor-registry"])),
        ("aud", json!("harbor-registry ")),
        ("aud", json!("other")),
        ("iss", json!("other")),
        ("iss", json!(["harbor-token-issuer"])),
        ("jti", json!("")),
        ("sub", json!(1)),
        ("access", json!({})),
        ("access", json!([1])),
        ("access", json!([{"type": "repository", "name": "a/b", "actions": "pull"}])),
        ("hythe", json!({"kind": "system", "id": 1, "epoch": 0, "projects": {}})),
        ("hythe", json!({"kind": "user", "id": "1", "epoch": 0, "projects": {}})),
        ("hythe", json!({"kind": "user", "epoch": 0, "projects": {}})),
        ("hythe", json!({"kind": "anonymous", "epoch": 0})),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        bad.push(claims.to_string());
    }
    // JW-14
    let text = claims.to_string();
    bad.push(text.replacen('{', r#"{"access":[],"#, 1));
    bad.push(text.replacen('{', r#"{"\u0061ccess":[],"#, 1));
    bad.push(text.replace(r#""type""#, r#""type":"x","type""#));
    bad.push(format!("\u{feff}{text}"));
    bad.push(format!("{text}{text}"));
    for claims in bad {
        assert!(is_invalid(&identity, &signed(&identity, &header, &claims)).await, "{claims}");
    }
    assert!(identity.verify(&signed(&identity, &header, &text)).await.is_ok());
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let token = identity.sign(&Principal::Anonymous, &[]).await.unwrap().token;
    let life = 1800;
    // JW-07: seconds after issue, and what becomes of the token.
    let cases =
        [(0, "valid"), (-30, "valid"), (-90, "invalid"), (life + 30, "valid"), (life + 90, "expired")];
    for (seconds, expected) in cases {
        identity.0.clock.shift(TimeDelta::seconds(seconds));
        let found = match identity.verify(&token).await {
            Ok(_) => "valid",
            Err(Error::Expired(contents)) => {
                assert_eq!((contents.expires_at - contents.issued_at).num_seconds(), life);
                "expired"
            }
            Err(Error::Invalid) => "invalid",
            Err(_) => "other",
        };
        assert_eq!(found, expected, "{seconds} s");
        identity.0.clock.shift(TimeDelta::seconds(-seconds));
    }
    // A token cannot live longer than tokens do now, because epochs are not followed for longer.
    let mut claims = part(&token, 1);
    claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 1_000_000);
    let long = signed(&identity, &part(&token, 0).to_string(), &claims.to_string());
    identity.0.clock.shift(TimeDelta::seconds(life + 90));
    assert!(matches!(identity.verify(&long).await, Err(Error::Expired(_))));
}

#[tokio::test]
async fn a_token_with_fifty_scopes_is_small() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let id = user(&identity, "alice").await;
    let principal = Principal::User(identity.active_user(id.0).await.unwrap().unwrap());
    let access: Vec<_> = (0..50)
        .map(|number| {
            let name = format!("team-{}/service-{number}", number % 5).parse().unwrap();
            Access::repository(&name, &[Action::Pull, Action::Push], Some((i64::from(number % 5) + 1, 12)))
        })
        .collect();
    let issued = identity.sign(&principal, &access).await.unwrap();
    assert!(issued.token.len() <= 6 * 1024, "{} bytes", issued.token.len());
    assert_eq!(identity.verify(&issued.token).await.unwrap().access, access);
    let one = identity.sign(&principal, &access[..1]).await.unwrap();
    assert!(one.token.len() <= 1024, "{} bytes", one.token.len());
}

#[tokio::test]
async fn published_keys_are_the_ones_that_verify() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let token = identity.sign(&Principal::Anonymous, &[]).await.unwrap().token;
    identity.keys_rotate().await.unwrap();
    let jwks = identity.jwks();
    let keys = jwks["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "a key is published before it signs");
    let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
    let key = keys.iter().find(|key| key["kid"] == kid.as_str()).unwrap();
    let decoding =
        jsonwebtoken::DecodingKey::from_ec_components(key["x"].as_str().unwrap(), key["y"].as_str().unwrap());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let algorithm = jsonwebtoken::Algorithm::ES256;
    assert!(
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &decoding.unwrap(), algorithm).unwrap()
    );

    let bundle = identity.certificate_bundle();
    assert_eq!(bundle.matches("-----BEGIN CERTIFICATE-----").count(), 2);
    assert!(!bundle.contains("PRIVATE"));
    let rows = sqlx::query!("select kid, public_der, private_sealed, certificate from identity.signing_keys")
        .fetch_all(database.pool())
        .await
        .unwrap();
    for row in rows {
        assert_eq!(row.kid, fingerprint(&row.public_der));
        assert_eq!((row.kid.len(), row.kid.split(':').count()), (59, 12));
        // The certificate carries the very key that the fingerprint names.
        let base64: String = row.certificate.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(base64).unwrap();
        assert!(der.windows(row.public_der.len()).any(|window| window == row.public_der));
        // Sealed: version, key id, nonce and tag around it, and no trace of PKCS#8.
        assert!(
            row.private_sealed.len() > 33
                && !row.private_sealed.windows(4).any(|w| w == [0x30, 0x81, 0x87, 2])
        );
    }
}
