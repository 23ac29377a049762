//! The public and the operations listener over real sockets: heads, ids, peers, panics, early answers, drain.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use hythe_serve as serve;
use serve::{Check, Config, Health, Limits, Metrics, Mount, Operations, Shutdown};

fn config() -> Config {
    Config {
        addr: "127.0.0.1:0".to_owned(),
        ops_addr: "127.0.0.1:0".to_owned(),
        external_url: None,
        trusted_proxies: vec!["127.0.0.2".to_owned()],
        workers: 2,
        worker_blocking_threads_max: 2,
        keep_alive_seconds: 5,
        linger_timeout_seconds: 2,
        drain_delay_ms: 0,
        drain_timeout_seconds: 10,
        access_log: true,
        limits: Limits {
            connections_max: 100,
            connections_per_address_max: 0,
            head_bytes_max: 16 * 1024,
            url_bytes_max: 8 * 1024,
            head_timeout_seconds: 20,
            body_bytes_per_second_min: 1024,
            body_stall_seconds: 60,
            requests_per_second: 0,
            requests_burst: 0,
            logins_per_minute: 0,
            logins_burst: 0,
        },
    }
}

async fn echo(request: HttpRequest) -> HttpResponse {
    let header = |name: &str| -> String {
        request.headers().get_all(name).map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|")
    };
    let in_extensions =
        actix_web::HttpMessage::extensions(&request).get::<serve::RequestId>().unwrap().to_string();
    assert_eq!(in_extensions, header("x-request-id"));
    HttpResponse::Ok().body(format!(
        "id={} peer={} scheme={} forwarded={} secret={} path={}",
        header("x-request-id"),
        header("x-hythe-peer"),
        header("x-hythe-scheme"),
        header("x-forwarded-for") + &header("forwarded"),
        header("x-hythe-admin"),
        request.uri().path(),
    ))
}

async fn panics() -> HttpResponse {
    panic!("a secret detail")
}

async fn refuses() -> HttpResponse {
    HttpResponse::Unauthorized().body("no")
}

async fn drains(mut payload: web::Payload) -> HttpResponse {
    let mut bytes = 0;
    while let Some(chunk) = payload.next().await {
        bytes += chunk.unwrap().len();
    }
    HttpResponse::Ok().body(bytes.to_string())
}

/// A socket and a task made inside a handler must outlive the worker: they belong to the main runtime.
async fn at_home() -> HttpResponse {
    let task = tokio::spawn(async { std::thread::current().name().map(str::to_owned) });
    let thread = task.await.unwrap().unwrap_or_default();
    HttpResponse::Ok().body(thread)
}

async fn slow() -> HttpResponse {
    tokio::time::sleep(Duration::from_millis(600)).await;
    HttpResponse::Ok().body("slow but whole")
}

fn mount() -> Mount {
    Mount {
        name: "test",
        prefixes: &["/v2", "/api"],
        configure: Arc::new(|config| {
            config.service(
                web::scope("/v2")
                    .route("/panic", web::get().to(panics))
                    .route("/refuse", web::post().to(refuses))
                    .route("/drain", web::put().to(drains))
                    .route("/home", web::get().to(at_home))
                    .route("/slow", web::get().to(slow))
                    .route("/{tail:.*}", web::get().to(echo)),
            );
            config.service(web::scope("/api").route("/{tail:.*}", web::get().to(echo)));
        }),
    }
}

/// A server on a free port; ends with the runtime.
struct Server {
    public: SocketAddr,
    operations: SocketAddr,
    shutdown: Shutdown,
    health: Health,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn server() -> Server {
    let shutdown = Shutdown::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let public = listener.local_addr().unwrap();
    let operations_listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let operations = operations_listener.local_addr().unwrap();
    let health = Health::new(shutdown.clone());
    let shown = Operations { health: health.clone(), metrics: Metrics::install().unwrap(), version: "1.2.3" };
    tokio::spawn(serve::run_operations(operations_listener, shown, shutdown.clone()));
    let ends = shutdown.clone();
    let running = tokio::spawn(async move { serve::run(listener, vec![mount()], &config(), ends).await });
    Server { public, operations, shutdown, health, running }
}

/// Sends raw bytes and reads until the server closes.
async fn exchange(address: SocketAddr, request: impl Into<Vec<u8>>) -> String {
    let request = request.into();
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    })
    .await
    .unwrap()
}

async fn get(address: SocketAddr, target: &str, headers: &str) -> String {
    exchange(address, format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer
        .split("\r\n\r\n")
        .next()?
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_see_only_what_the_server_vouches_for() {
    let server = server().await;
    let answer = get(
        server.public,
        "/v2/x?token=abc",
        "X-Request-Id: my-id-1\r\nX-Hythe-Peer: 6.6.6.6\r\nx-HYTHE-admin: yes\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(header(&answer, "x-request-id"), Some("my-id-1"));
    assert!(
        answer.ends_with("id=my-id-1 peer=127.0.0.1 scheme=http forwarded= secret= path=/v2/x"),
        "{answer}"
    );

    let answer = get(server.public, "/v2/x", "X-Request-Id: <script>\r\n").await;
    let id = header(&answer, "x-request-id").unwrap();
    assert_eq!(id.len(), 36, "{answer}");
    assert!(answer.contains(&format!("id={id} ")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_large_or_ambiguous_go_no_further() {
    let server = server().await;
    let long = "a".repeat(9 * 1024);
    let fields: String = (0..20).map(|n| format!("X-Field-{n}: {}\r\n", "b".repeat(1000))).collect();
    let cases = [
        (format!("/v2/{long}"), String::new(), "414", "UNSUPPORTED"),
        (format!("/api/x?q={long}"), String::new(), "414", "BAD_REQUEST"),
        ("/v2/x".to_owned(), fields.clone(), "431", "UNSUPPORTED"),
        ("/api/x".to_owned(), fields, "431", "BAD_REQUEST"),
        ("/v2/a/../b".to_owned(), String::new(), "400", "NAME_INVALID"),
        ("/v2/a%2fb".to_owned(), String::new(), "400", "NAME_INVALID"),
        ("/api/a;b".to_owned(), String::new(), "400", "BAD_REQUEST"),
        ("/v2/a/b".to_owned(), "Content-Encoding: gzip\r\n".to_owned(), "415", "UNSUPPORTED"),
        ("/api/a".to_owned(), "Content-Encoding: identity, br\r\n".to_owned(), "415", "BAD_REQUEST"),
        ("/v2x".to_owned(), String::new(), "404", "NOT_FOUND"),
        ("/livez".to_owned(), String::new(), "404", "NOT_FOUND"),
        ("/metrics".to_owned(), String::new(), "404", "NOT_FOUND"),
    ];
    for (target, headers, status, code) in cases {
        let answer = get(server.public, &target, &headers).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target:.40} {answer}");
        assert!(answer.contains(&format!("{{\"errors\":[{{\"code\":\"{code}\"")), "{answer}");
        assert!(answer.ends_with("}\n"), "{answer}");
        assert!(header(&answer, "x-request-id").is_some(), "{answer}");
    }
    // Double encoding is the REST API's own way to put a whole repository name into one segment.
    let answer = get(server.public, "/api/a%252Fb", "").await;
    assert!(answer.ends_with("path=/api/a%252Fb"), "{answer}");
}

/// SE-08.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_answered_with_the_request_id_and_nothing_else() {
    let server = server().await;
    let answer = get(server.public, "/v2/panic", "X-Request-Id: p-1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert_eq!(header(&answer, "x-request-id"), Some("p-1"));
    assert!(answer.ends_with(
        "{\"errors\":[{\"code\":\"UNKNOWN\",\"message\":\"internal server error, request id p-1\"}]}\n"
    ));
    assert!(!answer.contains("secret"));
    let next = get(server.public, "/v2/x", "").await;
    assert!(next.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_to_a_large_body_arrives_and_does_not_poison_the_connection() {
    let server = server().await;
    // With a length: the answer arrives although nobody read the 4 MiB, and the connection is closed.
    let mut request = b"POST /v2/refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n".to_vec();
    request.resize(request.len() + 4 * 1024 * 1024, b'G');
    request.extend_from_slice(b"GET /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = exchange(server.public, request).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "bytes of a body were read as a request: {answer}");
    assert_eq!(header(&answer, "connection"), Some("close"));

    // A body that was read: the connection goes on.
    let request = "PUT /v2/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
        GET /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = exchange(server.public, request).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_a_handler_run_on_the_main_runtime() {
    let server = server().await;
    let answer = get(server.public, "/v2/home", "").await;
    assert!(answer.ends_with("tokio-rt-worker"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_framing_is_refused_with_one_answer() {
    let server = server().await;
    let cases = [
        "POST /v2/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v2/x HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v2/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST /v2/drain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET /v2/x HTTP/1.1\r\n\r\n",
        "GET /v2/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ];
    for request in cases {
        let answer = exchange(server.public, request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request} {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_turns_readiness_off_finishes_requests_and_ends_operations_last() {
    let server = server().await;
    let ready = get(server.operations, "/readyz", "").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("starting"), "{ready}");
    assert!(get(server.operations, "/startupz", "").await.starts_with("HTTP/1.1 503"));
    server
        .health
        .start(vec![Check::new("database", || async { Ok(()) }), Check::new("storage", || async { Ok(()) })])
        .await;
    let ready = get(server.operations, "/readyz", "").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains(r#"{"name":"database","status":"ok"}"#), "{ready}");
    assert!(get(server.operations, "/startupz", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(server.operations, "/version", "").await.contains("1.2.3"));

    let slow = tokio::spawn(get(server.public, "/v2/slow", ""));
    tokio::time::sleep(Duration::from_millis(150)).await;
    server.shutdown.begin(Duration::from_millis(200));
    let ready = get(server.operations, "/readyz", "").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("draining"), "{ready}");
    // Before the delay is over the listener still accepts.
    assert!(get(server.public, "/v2/x", "").await.starts_with("HTTP/1.1 200"));
    assert!(slow.await.unwrap().ends_with("slow but whole"));
    server.running.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.public).is_err());
    assert!(get(server.operations, "/livez", "").await.starts_with("HTTP/1.1 200"));
    server.shutdown.finish();
    let begun = Instant::now();
    while TcpStream::connect(server.operations).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_under_the_names_operators_know() {
    let server = server().await;
    get(server.public, "/v2/lib/app/manifests/latest", "").await;
    get(server.public, "/api/v2.0/ping", "").await;
    // The record is written when the connection has let go of the body, a moment after the client has it.
    let mut text = String::new();
    for _ in 0..100 {
        text = get(server.operations, "/metrics", "").await;
        if text.contains("hythe_http_requests_total{mount") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for line in [
        r#"registry_http_requests_total{handler="manifest",code="200",method="get"}"#,
        r#"registry_http_request_duration_seconds_bucket{handler="manifest",method="get",le="0.25"}"#,
        r#"registry_http_response_size_bytes_bucket{handler="manifest",le="1024"}"#,
        r#"registry_http_in_flight_requests{handler="manifest"} 0"#,
        r#"hythe_http_requests_total{mount="test",route="/api/{tail:.*}",code="200",method="get"}"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("lib/app"));
}
