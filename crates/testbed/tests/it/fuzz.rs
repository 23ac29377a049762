//! Random requests at every surface (DS-12): nothing panics, nothing fails, and the server goes on.
//!
//! `HYTHE_FUZZ_REQUESTS` sets how many; `make soak` sends a hundred times as many as a test run.

use hythe_testbed::{Bed, Options};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "TRACE", "M-SEARCH"];

const PIECES: &[&str] = &[
    "v2",
    "library",
    "app",
    "blobs",
    "uploads",
    "manifests",
    "tags",
    "list",
    "referrers",
    "_catalog",
    "latest",
    "service",
    "token",
    "jwks",
    "api",
    "v2.0",
    "projects",
    "1",
    "repositories",
    "artifacts",
    "robots",
    "users",
    "current",
    "members",
    "_deletable",
    "%2F",
    "%252F",
    "..",
    ".",
    "",
    "%00",
    "%c0%af",
    "sha256:",
    "sha512:xyz",
    "-1",
    "9223372036854775808",
    "ä",
    "%E4%BD%A0",
    "a%20b",
    "library%2Fapp",
    "x--x",
    "\\",
    ";",
    "*",
    "sha256:0000000000000000000000000000000000000000000000000000000000000000",
];

const QUERIES: &[&str] = &[
    "n=0",
    "n=-1",
    "n=99999999999999999999",
    "last=%00",
    "last=~",
    "digest=sha256:0",
    "digest=",
    "mount=sha256:0&from=a/b",
    "from=..",
    "scope=repository:library/app:pull,push",
    "scope=::",
    "service=harbor-registry",
    "page=0",
    "page_size=101",
    "page_size=x",
    "q=name=~(",
    "q=name%3D%7Ea",
    "q=creation_time%3D%5Bx~y%5D",
    "sort=-name,name",
    "sort=%27",
    "&&&",
    "a=b=c",
    "artifactType=%0d%0aX:y",
    "tag=a&tag=b&tag=",
    "ns=docker.io",
    "%zz",
    "with_tag=maybe",
];

const HEADERS: &[&str] = &[
    "Authorization: Basic YWRtaW46d3Jvbmc=",
    "Authorization: Basic !!!",
    "Authorization: Bearer a.b.c",
    "Authorization: Bearer",
    "Authorization: Negotiate abc",
    "Range: bytes=0-",
    "Range: bytes=-5",
    "Range: bytes=5-1,1-5,,",
    "Range: lines=1-2",
    "Content-Range: 0-4",
    "Content-Range: 4-0",
    "Content-Range: bytes 0-4/5",
    "Content-Range: 99999999999999999999-1",
    "Content-Type: application/json",
    "Content-Type: application/vnd.oci.image.manifest.v1+json",
    "Content-Type: text/;",
    "Accept: */*",
    "Accept: application/vnd.oci.image.index.v1+json;q=0",
    "Accept: */*;q=2, text/*;q=-1,,;",
    "Accept: application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json;q=\"",
    "Accept: \u{fe}/\u{ff}",
    "Accept-Encoding: gzip;q=0, *;q=x",
    "Content-Encoding: identity",
    "Content-Range: -5",
    "Range: bytes=18446744073709551615-18446744073709551616",
    "Upgrade: h2c",
    "If-None-Match: \"x\"",
    "If-None-Match: *",
    "X-Request-Id: \x01",
    "X-Request-Id: aaaa",
    "X-Is-Resource-Name: perhaps",
    "X-Forwarded-For: 1.2.3.4, ::1",
    "X-Forwarded-Proto: gopher",
    "Cookie: a=b",
    "Expect: 100-continue",
    "Expect: tea",
    "Connection: close, x",
    "User-Agent: \u{7f}",
    "Origin: null",
    "TE: trailers",
    "Content-Encoding: gzip",
];

const BODIES: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    "{\"project_name\":1}",
    "{\"name\":\"\\u0000\"}",
    "grant_type=password&username=%",
    "\u{0}\u{1}",
    "x",
];

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "make soak asks for more requests than make test")]
async fn ds_12_random_requests_break_nothing() {
    let bed = Bed::own(Options::default()).await;
    let requests =
        std::env::var("HYTHE_FUZZ_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let seed: u64 = rand::random();
    let mut dice = StdRng::seed_from_u64(seed);
    let process = bed.process_id();
    for number in 0..requests {
        let request = request(&mut dice, &bed.addresses().public);
        let answer = bed.raw(request.clone()).await;
        // 501 is the right answer to a method that nobody knows, 503 none: nothing is away.
        let status = answer.status.unwrap_or_default();
        assert!(
            (100..500).contains(&status) || status == 501 || status == 505,
            "seed {seed}, request {number}: {status}\n{}",
            String::from_utf8_lossy(&request)
        );
    }
    assert_eq!(bed.process_id(), process);
    bed.nobody().get("/api/v2.0/ping").await.expect(200);
    let log = bed.log();
    assert!(!log.contains("panicked"), "seed {seed}: {log}");
}

fn request(dice: &mut StdRng, host: &str) -> Vec<u8> {
    let pick = |dice: &mut StdRng, list: &[&'static str]| *list.choose(dice).expect("a list");
    let mut target = String::new();
    // Half of them begin where a service does, and so get further in.
    if dice.random_bool(0.5) {
        target.push_str(pick(
            dice,
            &["/v2/library/app", "/api/v2.0/projects", "/api/v2.0/robots", "/service/token"],
        ));
    }
    for _ in 0..dice.random_range(1..7) {
        target.push('/');
        target.push_str(pick(dice, PIECES));
    }
    for position in 0..dice.random_range(0..4) {
        target.push(if position == 0 { '?' } else { '&' });
        target.push_str(pick(dice, QUERIES));
    }
    let target: String = target.chars().filter(|c| c.is_ascii_graphic()).collect();
    let mut head = format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n", pick(dice, METHODS));
    for _ in 0..dice.random_range(0..5) {
        head.push_str(pick(dice, HEADERS));
        head.push_str("\r\n");
    }
    let body = pick(dice, BODIES);
    head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()));
    head.into_bytes()
}
