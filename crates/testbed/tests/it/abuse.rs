//! Clients that take more than their share (DS-01 to DS-04, DS-07, DS-09): thousands of slow connections,
//! requests that are too large, more logins than there are processors. Nothing here asserts a time that is not a
//! limit of the configuration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hythe_testbed::{Bed, Credentials, Options, Registry, Role, random_bytes};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use oci::manifest::OCI_MANIFEST;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::support::eventually;

/// Connections of each kind.
const CROWD: usize = 2_000;
/// Seconds for a head, and without progress in a body; the defaults are too long for a test.
const PATIENCE: u64 = 4;
/// The bar says that whoever is slow is gone after 30 s, with the defaults.
const GONE: Duration = Duration::from_secs(30);

/// The same for bodies: hundreds of transfers have to fill all buffers before anybody waits in vain.
const SLOW_MAX: Duration = Duration::from_secs(90);

/// This process holds as many connections as the servers that it starts.
fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    assert!(
        hard as usize > 4 * CROWD,
        "the limit of open files, {hard}, is too low for this test: ulimit -Hn 20000"
    );
}

fn options() -> Options {
    raise_descriptors();
    Options::default()
        .set("HYTHE_HTTP__LIMITS__HEAD_TIMEOUT_SECONDS", &PATIENCE.to_string())
        .set("HYTHE_HTTP__LIMITS__BODY_STALL_SECONDS", &PATIENCE.to_string())
        .set("HYTHE_HTTP__LIMITS__CONNECTIONS_PER_ADDRESS_MAX", "0")
}

/// Open descriptors of a process.
fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("our own child").count()
}

/// A line of `/proc/<process>/status` that is given in kB, in MiB.
pub fn memory_mib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("our own child");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    let kilobytes: u64 =
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kilobytes / 1024
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    /// Not a byte.
    Silent,
    /// One byte of the first head after the other.
    FirstHead,
    /// The same of a second head on a connection that was kept.
    LaterHead,
}

/// Connects and is slow until the server has had enough. What came back, and how long it took.
async fn slow_client(address: String, kind: Slow, at_once: Arc<Semaphore>) -> (String, Duration) {
    let permit = at_once.acquire().await.expect("it is never closed");
    let mut stream = TcpStream::connect(&address).await.expect("the server listens");
    drop(permit);
    let mut text = Vec::new();
    let mut buffer = [0; 2048];
    if kind == Slow::LaterHead {
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the connection is open");
        while !text.ends_with(b"}") && !text.ends_with(b"}\n") {
            let count = stream.read(&mut buffer).await.expect("an answer");
            assert!(count > 0, "closed instead of an answer");
            text.extend_from_slice(&buffer[..count]);
        }
        text.clear();
    }
    let started = Instant::now();
    let mut head = b"GET /v2/ HTTP/1.1\r\nX-Long: ".iter().copied().chain(std::iter::repeat(b'x'));
    let mut tick = tokio::time::interval(Duration::from_millis(800));
    while started.elapsed() < GONE {
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(count @ 1..) => text.extend_from_slice(&buffer[..count]),
                Ok(0) | Err(_) => break,
            },
            _ = tick.tick(), if kind != Slow::Silent => {
                let byte = head.next().expect("it has no end");
                // The server may have closed it just now, which the next reading tells.
                let _ = stream.write_all(&[byte]).await;
            }
        }
    }
    (String::from_utf8_lossy(&text).into_owned(), started.elapsed())
}

/// DS-01 and DS-02 with 2 000 connections of each kind, all at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_01_02_thousands_of_slow_connections_are_closed() {
    let _alone = crate::support::heavy().await;
    let bed = Bed::own(options()).await;
    let user = bed.user("busy").await;
    let project = bed.project("busy").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let registry = user.registry_with_token(&[&format!("repository:{repository}:pull,push")]).await;
    let image = registry.push_image(&repository, "1").await;
    let process = bed.process_id();
    let before = descriptors(process);

    let at_once = Arc::new(Semaphore::new(100));
    let mut crowd = Vec::new();
    for kind in [Slow::Silent, Slow::FirstHead, Slow::LaterHead] {
        for _ in 0..CROWD {
            let client = slow_client(bed.addresses().public, kind, at_once.clone());
            crowd.push((kind, tokio::spawn(client)));
        }
    }
    // Everybody else is served meanwhile.
    let (mut served, mut most) = (0, 0);
    while crowd.iter().any(|(_, client)| !client.is_finished()) {
        registry.get_manifest(&repository, "1").await.expect(200);
        assert_eq!(registry.get_blob(&repository, &image.layer).await.expect(200).body, image.layer_bytes);
        (served, most) = (served + 2, most.max(descriptors(process)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut longest = Duration::ZERO;
    for (kind, client) in crowd {
        let (text, took) = client.await.unwrap_or_else(|err| panic!("{kind:?}: {err}"));
        assert!(took < GONE, "{kind:?} was still connected after {took:?}");
        // The answer may be lost when a byte is sent after it; another answer there is none.
        let refused = text.is_empty() || (kind != Slow::Silent && text.starts_with("HTTP/1.1 408 "));
        assert!(refused, "{kind:?}: {text}");
        longest = longest.max(took);
    }
    println!(
        "DS-01, DS-02: {} slow connections, the longest {longest:?}; {most} descriptors at most; {served} pulls meanwhile",
        3 * CROWD
    );
    assert!(
        served > 0 && most > before + CROWD,
        "they were never there at the same time: {most} descriptors"
    );
    eventually(Duration::from_secs(10), "the descriptors are given back", async || {
        descriptors(process) < before + 50
    })
    .await;
}

/// Reads an answer one byte a second until the server has had enough. The number of bytes it got.
async fn slow_reader(address: String, request: String, at_once: Arc<Semaphore>) -> usize {
    // A crowd, not a rush: everybody gets a beginning.
    let permit = at_once.acquire().await.expect("it is never closed");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(address.parse().expect("an address")).await.expect("the server listens");
    stream.write_all(request.as_bytes()).await.expect("the connection is open");
    let (mut got, mut byte) = (0, [0]);
    got += stream.read(&mut byte).await.unwrap_or(0);
    drop(permit);
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < SLOW_MAX, "the server goes on writing to a reader of one byte a second");
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A reset is told here at once; reading would first hand out what has arrived before it.
        if stream.take_error().expect("our own socket").is_some() {
            return got;
        }
        match stream.read(&mut byte).await {
            Ok(1) => got += 1,
            _ => return got,
        }
    }
}

/// DS-03: 500 clients that take an answer at a byte a second, 100 that send a body so, and one that sends 50 KiB a
/// second and is let through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_03_bodies_that_drip_are_cut_off_by_the_hundred() {
    let _alone = crate::support::heavy().await;
    const READERS: usize = 500;
    const SENDERS: usize = 100;
    const BLOB: usize = 8 << 20;
    let bed = Bed::own(options()).await;
    let user = bed.user("slow").await;
    let project = bed.project("slow").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let registry = user.registry_with_token(&[&format!("repository:{repository}:pull,push")]).await;
    let Credentials::Bearer(token) = registry.client().credentials().clone() else { panic!("a token") };
    let head = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    };
    let digest = registry.push_blob(&repository, &random_bytes(BLOB)).await;
    // Opened before anybody is slow: what is looked at is how they end.
    let mut uploads = Vec::new();
    for _ in 0..=SENDERS {
        uploads.push(registry.start_upload(&repository).await);
    }
    let own = uploads.pop().expect("one more than there are senders");
    let process = bed.process_id();
    let (before, resident) = (descriptors(process), memory_mib(process, "VmRSS"));

    let get = head("GET", &format!("/v2/{repository}/blobs/{digest}"), "");
    let address = bed.addresses().public;
    let at_once = Arc::new(Semaphore::new(10));
    let readers: Vec<_> = (0..READERS)
        .map(|_| tokio::spawn(slow_reader(address.clone(), get.clone(), at_once.clone())))
        .collect();
    let mut senders = Vec::new();
    for upload in uploads {
        let patch = head("PATCH", &upload.location, "Content-Length: 100000\r\n");
        let (address, at_once) = (address.clone(), at_once.clone());
        senders.push(tokio::spawn(async move {
            let permit = at_once.acquire().await.expect("it is never closed");
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            stream.write_all(patch.as_bytes()).await.expect("the connection is open");
            drop(permit);
            let (started, mut answer, mut buffer) = (Instant::now(), Vec::new(), [0; 1024]);
            loop {
                assert!(started.elapsed() < SLOW_MAX, "a body of one byte a second goes on");
                let pause = Duration::from_secs(1);
                match tokio::time::timeout(pause, stream.read(&mut buffer)).await {
                    Ok(Ok(count @ 1..)) => answer.extend_from_slice(&buffer[..count]),
                    Ok(_) => break String::from_utf8_lossy(&answer).into_owned(),
                    Err(_) => drop(stream.write_all(b"x").await),
                }
            }
        }));
    }
    // 50 KiB a second for longer than anybody may stall.
    let slices = 4 * usize::try_from(2 * PATIENCE).expect("small");
    let honest = random_bytes(slices * 12_800);
    let chunks: Vec<_> = honest.chunks(12_800).map(bytes::Bytes::copy_from_slice).collect();
    let body = futures_util::stream::unfold(chunks.into_iter(), |mut chunks| async move {
        let chunk = chunks.next()?;
        tokio::time::sleep(Duration::from_millis(250)).await;
        Some((Ok::<_, std::io::Error>(chunk), chunks))
    });
    let sent = registry.request(Method::PATCH, &own.location).body(reqwest::Body::wrap_stream(body)).send();
    sent.await.expect(202);
    let honest_digest = oci::Digest::of(oci::Algorithm::Sha256, &honest);
    registry.finish(&own, &honest_digest, b"").await.expect(201);
    let peak = memory_mib(process, "VmHWM");

    for sender in senders {
        let answer = sender.await.unwrap_or_else(|err| panic!("{err}"));
        assert!(!answer.contains(" 202 "), "{answer}");
    }
    for reader in readers {
        let got = reader.await.unwrap_or_else(|err| panic!("{err}"));
        assert!(got > 0, "a reader got no answer at all");
    }
    println!(
        "DS-03: {READERS} slow readers, {SENDERS} slow senders; {resident} MiB before, {peak} MiB at most"
    );
    eventually(Duration::from_secs(20), "the descriptors are given back", async || {
        descriptors(process) < before + 50
    })
    .await;
}

/// DS-04 where HTTP/2 is off: its preface is refused and the connection closed, an upgrade to it is not made.
#[tokio::test]
async fn ds_04_http_2_is_refused() {
    let bed = Bed::shared().await;
    let directory = tempfile::Builder::new().prefix("hythe-gateway-").tempdir_in("/tmp").expect("/tmp");
    let gateway = Options::default()
        .role("gateway", directory.path())
        .set("HYTHE_GATEWAY__UPSTREAMS__REGISTRY", &bed.url())
        .set("HYTHE_GATEWAY__UPSTREAMS__AUTH", &bed.url())
        .set("HYTHE_GATEWAY__UPSTREAMS__PROJECTS", &bed.url())
        .set("HYTHE_GATEWAY__HEALTH_PATH", "/v2/");
    let gateway = Bed::own(gateway).await;
    for (what, bed) in [("the platform", &bed), ("the gateway", &gateway)] {
        // With an empty SETTINGS frame, as every client begins.
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
        let answer = bed.raw(preface.to_vec()).await;
        assert!([400, 505].contains(&answer.status.unwrap_or(400)), "{what}: {}", answer.text);
        assert_eq!(answer.text.matches("HTTP/1.1 ").count(), usize::from(answer.status.is_some()), "{what}");
        let upgrade =
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        let request = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n");
        // Nobody closes this one at once: the answer is what counts.
        let mut stream = TcpStream::connect(bed.addresses().public).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("the connection is open");
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.expect("an answer");
        assert!([b"HTTP/1.1 401", b"HTTP/1.1 400"].contains(&&start), "{what}: {start:?}");
    }
}

/// DS-07: each thing that is too large, or packed, has its own refusal on every surface.
#[tokio::test]
async fn ds_07_what_is_too_large_or_packed_is_refused() {
    let bed = Bed::shared().await;
    let admin = bed.admin().client();
    let project = bed.project("large").create().await;
    let repository = project.repository("app");
    let registry = bed.admin().registry();
    let padding = "x".repeat(1 << 20);
    let body = serde_json::json!({"project_name": bed.unique("p"), "padding": padding});
    admin.post("/api/v2.0/projects", body).await.expect(413);
    // Nobody reads what an unknown caller sends.
    bed.nobody()
        .post("/api/v2.0/projects", serde_json::json!({"padding": padding}))
        .await
        .expect_any(&[401, 413]);
    let parameters: Vec<String> = (0..10_000).map(|number| format!("p{number}=1")).collect();
    let parameters = parameters.join("&");
    for path in ["/v2/_catalog", "/api/v2.0/projects", "/service/token"] {
        let answer = bed.raw_get(&format!("{path}?{parameters}"), "").await;
        assert_eq!(answer.status, Some(414), "{path}: {}", answer.text);
    }
    let form = bed.nobody().request(Method::POST, "/service/token").body(parameters);
    let form = form.header("content-type", "application/x-www-form-urlencoded").send().await;
    form.expect_any(&[400, 413]);
    // Not one byte of it is unpacked: the refusal comes whatever is inside.
    let packed = [&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..], &[0; 500]].concat();
    let upload = registry.start_upload(&repository).await;
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, identity"] {
        for (method, path, kind) in [
            (Method::POST, "/api/v2.0/projects".to_owned(), "application/json"),
            (Method::POST, "/service/token".to_owned(), "application/x-www-form-urlencoded"),
            (Method::PUT, format!("/v2/{repository}/manifests/1"), OCI_MANIFEST),
            (Method::PATCH, upload.location.clone(), "application/octet-stream"),
        ] {
            let request = admin.request(method, &path).header("content-type", kind);
            let answer = request.header("content-encoding", encoding).body(packed.clone()).send().await;
            assert_eq!(answer.status, 415, "{encoding}: {answer}");
        }
    }
    registry.get(&upload.location).await.expect(204);
}

/// DS-09: logins wait for a processor in a queue that has an end; who finds it full is told so, and pulls go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_09_logins_are_bounded_and_pulls_go_on() {
    const LOGINS: usize = 200;
    /// What 19 MiB for each login at the same time would be far above.
    const GROWTH_MIB_MAX: u64 = 256;
    let options = Options::default()
        .set("HYTHE_IDENTITY__PASSWORD_QUEUE", "10")
        .set("HYTHE_IDENTITY__REMEMBER_SECONDS", "0");
    let bed = Bed::own(options).await;
    let user = bed.user("puller").await;
    let project = bed.project("p").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let registry = user.registry_with_token(&[&format!("repository:{repository}:pull,push")]).await;
    let image = registry.push_image(&repository, "1").await;
    let before = memory_mib(bed.process_id(), "VmHWM");
    let logins: Vec<_> = (0..LOGINS)
        .map(|number| {
            let name = format!("nobody-{number}");
            let client = bed.client(Credentials::Basic { name, password: "Wrong-Passw0rd".to_owned() });
            tokio::spawn(async move { client.get("/api/v2.0/users/current").await })
        })
        .collect();
    let mut pulls = 0;
    while pulls == 0 || logins.iter().any(|login| !login.is_finished()) {
        registry.get_manifest(&repository, "1").await.expect(200);
        assert_eq!(registry.get_blob(&repository, &image.layer).await.expect(200).body, image.layer_bytes);
        pulls += 1;
    }
    let (mut wrong, mut busy) = (0, 0);
    for login in logins {
        let answer = login.await.unwrap_or_else(|err| panic!("{err}")).expect_any(&[401, 429]);
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{answer}");
            busy += 1;
        } else {
            wrong += 1;
        }
    }
    let growth = memory_mib(bed.process_id(), "VmHWM") - before;
    println!(
        "DS-09: {wrong} logins were judged, {busy} told to come back, {pulls} pulls meanwhile, {growth} MiB more"
    );
    assert!(wrong > 0 && busy > 0, "{wrong} judged, {busy} sent away");
    assert!(growth < GROWTH_MIB_MAX, "{growth} MiB for {LOGINS} logins");
    user.client().get("/api/v2.0/users/current").await.expect(200);
}

/// JW-12: a header of 8 MiB costs nothing, also when there are twenty of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jw_12_giant_tokens_take_no_memory() {
    let bed = Bed::own(Options::default()).await;
    for _ in 0..20 {
        bed.raw_get("/v2/", "").await;
    }
    let before = memory_mib(bed.process_id(), "VmHWM");
    let token = Arc::new(format!("Authorization: Bearer {}\r\n", "A.".repeat(4 << 20)));
    let attempts: Vec<_> = (0..20)
        .map(|_| {
            let (bed, token) = (bed.clone(), token.clone());
            tokio::spawn(async move { bed.raw_get("/v2/", &token).await.status })
        })
        .collect();
    for attempt in attempts {
        assert_eq!(attempt.await.unwrap_or_else(|err| panic!("{err}")), Some(431));
    }
    let growth = memory_mib(bed.process_id(), "VmHWM") - before;
    println!("JW-12: twenty headers of 8 MiB at once: {growth} MiB more");
    assert!(growth < 8, "{growth} MiB more, with 160 MiB of headers");
    Registry::new(bed.nobody()).get("/v2/").await.expect(401);
}
