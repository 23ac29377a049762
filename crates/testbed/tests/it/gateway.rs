//! The gateway in front of a running platform, and the guards that stand in front of both.

use std::time::{Duration, Instant};

use hythe_testbed::{Bed, Credentials, Options, Registry, Role, random_bytes, streaming};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::eventually;

/// A platform that trusts its gateway, and the gateway.
struct Entrance {
    platform: Bed,
    gateway: Bed,
    _directory: tempfile::TempDir,
}

impl Entrance {
    async fn start() -> Entrance {
        let directory = tempfile::Builder::new().prefix("hythe-gateway-").tempdir_in("/tmp").expect("/tmp");
        let platform = Bed::own(Options::default().set("HYTHE_HTTP__TRUSTED_PROXIES", "127.0.0.1")).await;
        let url = platform.url();
        let operations = platform.addresses().operations;
        let (_, port) = operations.rsplit_once(':').expect("an address with a port");
        let options = Options::default()
            .role("gateway", directory.path())
            .set("HYTHE_GATEWAY__UPSTREAMS__REGISTRY", &url)
            .set("HYTHE_GATEWAY__UPSTREAMS__AUTH", &url)
            .set("HYTHE_GATEWAY__UPSTREAMS__PROJECTS", &url)
            .set("HYTHE_GATEWAY__HEALTH_PORT", port);
        let gateway = Bed::own(options).await;
        Entrance { platform, gateway, _directory: directory }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_through_the_gateway_and_back() {
    let Entrance { platform, gateway, .. } = Entrance::start().await;
    let user = platform.user("ana").await;
    let project = platform.project("p").member(&user, Role::Maintainer).create().await;
    let repository = project.repository("app");

    // Clients are sent to the token service at the address they used.
    let challenge = gateway.nobody().get("/v2/").await.expect(401);
    let realm = format!("realm=\"{}/service/token\"", gateway.url());
    assert!(challenge.header("www-authenticate").contains(&realm), "{challenge}");
    let nested = project.repository("a/b");
    let scopes = [&repository, &nested].map(|name| format!("repository:{name}:pull,push"));
    let token = gateway.client(user.credentials()).token(&[&scopes[0], &scopes[1]]).await;
    let registry = Registry::new(gateway.client(Credentials::Bearer(token)));

    let image = registry.push_image(&repository, "1").await;
    let manifest = registry.get_manifest(&repository, "1").await.expect(200);
    assert_eq!(manifest.body, image.manifest);
    assert_eq!(registry.get_blob(&repository, &image.layer).await.expect(200).body, image.layer_bytes);
    registry.head_blob(&repository, &image.layer).await.expect(200);
    // Of unknown length, and asked for in part.
    let bytes = random_bytes(3_000_000);
    let upload = registry.start_upload(&repository).await;
    let sent = registry
        .request(Method::PATCH, &upload.location)
        .header("content-type", "application/octet-stream")
        .body(streaming(&bytes, 100_000))
        .send()
        .await;
    sent.expect(202);
    let digest = oci::Digest::of(oci::Algorithm::Sha256, &bytes);
    registry.finish(&upload, &digest, b"").await.expect(201);
    let part = registry
        .request(Method::GET, format!("/v2/{repository}/blobs/{digest}"))
        .header("range", "bytes=1000000-1999999")
        .send()
        .await
        .expect(206);
    assert_eq!(part.body, &bytes[1_000_000..2_000_000]);

    // A whole repository name in one segment, encoded twice, as the REST API has it.
    let nested = registry.push_image(&nested, "1").await;
    let path = format!("/api/v2.0/projects/{}/repositories/a%252Fb/artifacts/1", project.name);
    let artifact = gateway.client(user.credentials()).get(&path).await.expect(200).json();
    assert_eq!(artifact["digest"], nested.digest.to_string());

    // The platform knows the client by what the gateway says, and by nothing the client says itself.
    let spoofed = gateway
        .nobody()
        .request(Method::GET, "/v2/")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-request-id", "spoof-1")
        .send()
        .await;
    spoofed.expect(401);
    let logged = async || platform.log().lines().any(|line| line.contains("\"spoof-1\""));
    eventually(Duration::from_secs(5), "the request is in the platform's log", logged).await;
    let log = platform.log();
    let line = log.lines().find(|line| line.contains("\"spoof-1\"")).expect("it was there");
    assert!(line.contains("\"remote_ip\":\"127.0.0.1\""), "{line}");
    assert!(gateway.log().contains("\"spoof-1\""), "the same id on both sides");

    // Without anybody behind it the gateway says so, and is not ready.
    platform.kill_9();
    let outage = gateway.nobody().get("/v2/").await.expect(503);
    assert!(!outage.header("retry-after").is_empty(), "{outage}");
    let unready = async || {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = http.get(format!("{}/readyz", gateway.operations_url())).send().await;
        answer.is_ok_and(|answer| answer.status().as_u16() == 503)
    };
    eventually(Duration::from_secs(30), "the gateway is not ready", unready).await;
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn ds_the_single_process_has_the_same_guards() {
    let options = Options::default()
        .set("HYTHE_HTTP__LIMITS__HEAD_TIMEOUT_SECONDS", "1")
        .set("HYTHE_HTTP__LIMITS__BODY_STALL_SECONDS", "2")
        .set("HYTHE_HTTP__LIMITS__LOGINS_PER_MINUTE", "1")
        .set("HYTHE_HTTP__LIMITS__LOGINS_BURST", "50");
    let bed = Bed::own(options).await;

    // DS-01, DS-02: half a head, and not a byte. Reading ends when the server closes.
    assert_eq!(bed.raw("GET /v2/ HTTP/1.1\r\nX: ").await.status, Some(408));
    assert_eq!(bed.raw("").await.text, "");
    // A second request on a connection that is kept.
    let kept = bed.raw("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/ HT").await;
    assert_eq!(kept.status, Some(401));
    assert!(kept.text.contains("HTTP/1.1 408 "), "{}", kept.text);
    // DS-03: a body that does not come.
    let user = bed.user("ana").await;
    let project = bed.project("p").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let registry = user.registry_with_token(&[&format!("repository:{repository}:pull,push")]).await;
    let upload = registry.start_upload(&repository).await;
    let Credentials::Bearer(token) = registry.client().credentials() else { panic!("a token") };
    let half = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n12345",
        upload.location
    );
    assert!(bed.raw(half).await.status.is_none_or(|status| status >= 400));
    // DS-07 and CT-16.
    let long = "a".repeat(9000);
    assert_eq!(bed.raw_get(&format!("/v2/{long}"), "").await.status, Some(414));
    let fields: String = (0..20).map(|n| format!("X-{n}: {}\r\n", "b".repeat(1000))).collect();
    assert_eq!(bed.raw_get("/v2/", &fields).await.status, Some(431));
    for head in [
        "GET /v2/ HTTP/1.1\nHost: x\n\n",
        "POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n",
        "GET http://evil.example/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let answer = bed.raw(format!("{head}GET /api/v2.0/ping HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status, Some(400), "{head:?} {}", answer.text);
        assert_eq!(answer.text.matches("HTTP/1.1 ").count(), 1, "{head:?} {}", answer.text);
    }
    // Logins have a rate of their own.
    let mut last = bed.nobody().token_answer(&[]).await;
    for _ in 0..60 {
        last = bed.nobody().token_answer(&[]).await;
    }
    assert_eq!(last.status, 429, "{last}");
    assert!(!last.header("retry-after").is_empty(), "{last}");
    assert_eq!(bed.nobody().get("/v2/").await.status, 401);
}

/// Seconds of processor time a process has used.
fn processor_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process lives");
    // After the name, which may contain anything, the 12th and 13th fields are user and system time.
    let after_name = stat.rsplit_once(") ").expect("a name in parentheses").1;
    let fields: Vec<f64> =
        after_name.split(' ').skip(11).take(2).map(|field| field.parse().expect("a number")).collect();
    (fields[0] + fields[1]) / 100.0
}

/// DS-10. The number of files is taken away after the start, so that the server's own bound does not help it.
async fn survives_without_descriptors(bed: &Bed, path: &str, status: u16) {
    assert_eq!(bed.nobody().get(path).await.status, status);
    let process = bed.process_id();
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("our own child").count();
    let limited = std::process::Command::new("prlimit")
        .args([format!("--pid={process}"), format!("--nofile={}:{}", open + 40, 4096)])
        .status();
    assert!(limited.expect("prlimit is part of util-linux").success());
    let mut held = Vec::new();
    for _ in 0..300 {
        let address = bed.addresses().public;
        let connected = tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(address)).await;
        if let Ok(Ok(stream)) = connected {
            held.push(stream);
        }
    }
    assert!(held.len() > 100, "only {} connections", held.len());
    // Whoever waits for descriptors must not turn round and round.
    let (begun, before) = (Instant::now(), processor_seconds(process));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let share = (processor_seconds(process) - before) / begun.elapsed().as_secs_f64();
    assert!(share < 0.5, "{share} of a processor with nothing to do");
    // One of those that came in is still served.
    held[0].write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.expect("open");
    let mut start = [0; 12];
    held[0].read_exact(&mut start).await.expect("an answer");
    assert_eq!(&start, format!("HTTP/1.1 {status}").as_bytes());
    drop(held);
    let works = async || {
        let answer = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build();
        let answer = answer.expect("a client").get(format!("{}{path}", bed.url())).send().await;
        answer.is_ok_and(|answer| answer.status().as_u16() == status)
    };
    eventually(Duration::from_secs(20), "it serves again", works).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ds_10_neither_gateway_nor_platform_spins_without_file_descriptors() {
    let Entrance { platform, gateway, .. } = Entrance::start().await;
    // A path that is answered without anybody behind it.
    survives_without_descriptors(&gateway, "/no-such-path", 404).await;
    survives_without_descriptors(&platform, "/v2/", 401).await;
    platform.stop();
}
