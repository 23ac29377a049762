//! What one client may take from a listener, over real sockets and with limits made short: heads, bodies, answers,
//! connections, rates; and requests that two programs could read differently.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use futures_util::StreamExt;
use hythe_serve as serve;
use serve::{Config, Limits, Mount, Shutdown};

/// Slack for a machine that compiles at the same time: nothing here asserts speed, only an order of magnitude.
const SLACK: Duration = Duration::from_secs(10);
/// More than the kernel keeps of an answer that nobody reads.
const LARGE: usize = 64 * 1024 * 1024;

fn limits() -> Limits {
    Limits {
        connections_max: 1000,
        connections_per_address_max: 0,
        head_bytes_max: 16 * 1024,
        url_bytes_max: 8 * 1024,
        head_timeout_seconds: 1,
        body_bytes_per_second_min: 1024,
        body_stall_seconds: 2,
        requests_per_second: 0,
        requests_burst: 0,
        logins_per_minute: 0,
        logins_burst: 0,
    }
}

async fn count(mut payload: web::Payload) -> HttpResponse {
    let mut bytes = 0;
    while let Some(chunk) = payload.next().await {
        match chunk {
            Ok(chunk) => bytes += chunk.len(),
            Err(_) => return HttpResponse::BadRequest().finish(),
        }
    }
    HttpResponse::Ok().body(bytes.to_string())
}

/// Longer than any patience with clients.
async fn slow(payload: web::Payload) -> HttpResponse {
    tokio::time::sleep(Duration::from_secs(3)).await;
    count(payload).await
}

async fn large() -> HttpResponse {
    let chunk = web::Bytes::from(vec![b'x'; 64 * 1024]);
    let chunks = (0..LARGE / chunk.len()).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    HttpResponse::Ok().streaming(futures_util::stream::iter(chunks))
}

fn mount() -> Mount {
    Mount {
        name: "test",
        prefixes: &["/v2", "/service/token"],
        configure: Arc::new(|config| {
            config
                .route("/v2/count", web::route().to(count))
                .route("/v2/slow", web::put().to(slow))
                .route("/v2/large", web::get().to(large))
                .route("/v2/", web::get().to(|| async { HttpResponse::Ok().body("hello") }))
                .route("/service/token", web::get().to(|| async { HttpResponse::Ok().body("token") }));
        }),
    }
}

fn server(limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config {
        addr: String::new(),
        ops_addr: String::new(),
        external_url: None,
        trusted_proxies: Vec::new(),
        workers: 2,
        worker_blocking_threads_max: 1,
        keep_alive_seconds: 30,
        linger_timeout_seconds: 1,
        drain_delay_ms: 0,
        drain_timeout_seconds: 1,
        access_log: false,
        limits,
    };
    tokio::spawn(async move { serve::run(listener, vec![mount()], &config, Shutdown::new()).await });
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything until the server closes; a reset counts as closing.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut space = [0; 4096];
    loop {
        match stream.read(&mut space) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&space[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server did not close: {error}"),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    rest(&mut stream)
}

/// One answer of a connection that stays open, which ends with `end`.
fn read_until(stream: &mut TcpStream, end: &str) {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
}

/// Sends a byte now and then until the server has closed.
fn drip(stream: &mut TcpStream, text: &str) -> String {
    let begun = Instant::now();
    let mut bytes = text.bytes().cycle();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = Vec::new();
    loop {
        assert!(begun.elapsed() < SLACK, "the server goes on listening to a drip");
        let _ = stream.write_all(&[bytes.next().unwrap()]);
        let mut space = [0; 4096];
        match stream.read(&mut space) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&space[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Raw clients block; the server runs on other threads.
async fn blocking<T: Send + 'static>(client: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(client).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_01_a_head_that_drips_is_cut_off_on_first_and_later_requests() {
    let address = server(limits());
    blocking(move || {
        let answer = drip(&mut connect(address), "GET /v2/ HTTP/1.1 and so on ");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\"code\":"), "{answer}");

        let mut stream = connect(address);
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_until(&mut stream, "hello");
        let answer = drip(&mut stream, "X-Slow: 1 ");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_02_silent_connections_are_closed_and_idle_ones_between_requests_are_not() {
    let address = server(limits());
    blocking(move || {
        let mut kept = connect(address);
        kept.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_until(&mut kept, "hello");
        let mut silent: Vec<_> = (0..50).map(|_| connect(address)).collect();
        for stream in &mut silent {
            assert_eq!(rest(stream), "");
        }
        // Older than a silent one may get, and still good.
        kept.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        assert!(rest(&mut kept).ends_with("hello"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_03_bodies_that_drip_are_cut_off_in_both_directions() {
    let address = server(limits());
    let upload = blocking(move || {
        let mut stream = connect(address);
        stream.write_all(b"PUT /v2/count HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").unwrap();
        drip(&mut stream, "x")
    });
    let chunked = blocking(move || {
        let mut stream = connect(address);
        stream.write_all(b"PUT /v2/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        drip(&mut stream, "1\r\nx\r\n")
    });
    let download = blocking(move || {
        let mut stream = connect(address);
        stream.write_all(b"GET /v2/large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        // Nothing is read for longer than the server's patience.
        std::thread::sleep(Duration::from_secs(5));
        let mut taken = 0;
        let mut space = [0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut space) {
            taken += count;
        }
        taken
    });
    let (upload, chunked, download) = tokio::join!(upload, chunked, download);
    assert!(!upload.contains("HTTP/1.1 200"), "{upload}");
    assert!(!chunked.contains("HTTP/1.1 200"), "{chunked}");
    assert!(download < LARGE, "the whole answer was kept for a client that did not read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_03_slow_but_honest_clients_and_slow_services_survive() {
    let address = server(limits());
    // 50 KiB/s for twice the patience.
    let upload = blocking(move || {
        let mut stream = connect(address);
        stream
            .write_all(
                b"PUT /v2/count HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 204800\r\n\r\n",
            )
            .unwrap();
        for _ in 0..40 {
            stream.write_all(&[b'x'; 5120]).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        rest(&mut stream)
    });
    // A client that reads slowly and steadily.
    let download = blocking(move || {
        let mut stream = connect(address);
        stream.write_all(b"GET /v2/large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut taken = 0;
        let mut space = vec![0; 2 * 1024 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut space) {
            taken += count;
            if taken < 16 * 1024 * 1024 {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        taken
    });
    // The service does not look at the body for longer than a client may be silent.
    let service = blocking(move || {
        let mut stream = connect(address);
        stream
            .write_all(
                b"PUT /v2/slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1048576\r\n\r\n",
            )
            .unwrap();
        stream.write_all(&vec![b'x'; 1024 * 1024]).unwrap();
        rest(&mut stream)
    });
    let (upload, download, service) = tokio::join!(upload, download, service);
    assert!(upload.ends_with("204800"), "{upload}");
    assert!(download > LARGE, "{download}");
    assert!(service.ends_with("1048576"), "{service}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_07_heads_and_urls_are_bounded_before_they_are_whole() {
    let address = server(limits());
    blocking(move || {
        let long = "a".repeat(9 * 1024);
        let answer =
            exchange(address, &format!("GET /v2/{long} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
        let fields: String = (0..17).map(|n| format!("X-{n}: {}\r\n", "b".repeat(1024))).collect();
        let answer =
            exchange(address, &format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        // Without an end: nobody waits for one.
        let answer = exchange(address, &format!("GET /v2/{}", "a".repeat(30 * 1024)));
        assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
        let answer = exchange(address, &format!("GET /v2/ HTTP/1.1\r\nX: {}", "b".repeat(30 * 1024)));
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        let many = "X: 1\r\n".repeat(200);
        let answer = exchange(address, &format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(answer.contains("{\"errors\":[{\"code\":\"UNSUPPORTED\""), "{answer}");
        assert!(answer.contains("X-Request-Id: "), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ct_16_ambiguous_requests_get_one_answer_and_the_end() {
    let address = server(limits());
    let smuggled = "GET /v2/large HTTP/1.1\r\nHost: x\r\n\r\n";
    let heads = [
        "POST /v2/count HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v2/count HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "POST /v2/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /v2/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /v2/count HTTP/1.1\nHost: x\n\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: 1\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "GET http://x/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    blocking(move || {
        for head in heads {
            let answer = exchange(address, &format!("{head}{smuggled}"));
            assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?} {answer:.200}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?} {answer:.200}");
        }
        // What came before is answered first.
        let answer =
            exchange(address, &format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n{}{smuggled}", heads[0]));
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer:.300}");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 400 "), "{answer:.300}");
        // Chunks that nobody can follow end the connection; what follows them is never a request.
        let broken =
            "POST /v2/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n";
        let answer = exchange(address, &format!("{broken}{smuggled}"));
        assert!(answer.matches("HTTP/1.1 ").count() <= 1 && !answer.contains(" 200 "), "{answer:.200}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_with_bodies_of_both_kinds_pass_whole() {
    let address = server(limits());
    let answer = blocking(move || {
        exchange(
            address,
            "PUT /v2/count HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
             PUT /v2/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
             3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n\r\n\
             GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
    })
    .await;
    let bodies: Vec<_> =
        answer.split("HTTP/1.1 200 OK").skip(1).map(|one| one.split("\r\n\r\n").nth(1).unwrap()).collect();
    assert_eq!(bodies, ["5", "7", "hello"], "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_a_number_of_connections_and_gets_it_back() {
    let address = server(Limits { connections_per_address_max: 5, ..limits() });
    let request = "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    blocking(move || {
        let mut held: Vec<_> = (0..5).map(|_| connect(address)).collect();
        for stream in &mut held {
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            read_until(stream, "hello");
        }
        let mut sixth = connect(address);
        let _ = sixth.write_all(request.as_bytes());
        assert_eq!(rest(&mut sixth), "");
        drop(held);
        let begun = Instant::now();
        loop {
            let mut stream = connect(address);
            let _ = stream.write_all(request.as_bytes());
            if rest(&mut stream).ends_with("hello") {
                break;
            }
            assert!(begun.elapsed() < SLACK, "places are not given back");
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_are_answered_with_429_in_the_words_of_the_surface() {
    let address = server(Limits { logins_per_minute: 1, logins_burst: 2, ..limits() });
    blocking(move || {
        let token = "GET /service/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        for _ in 0..2 {
            assert!(exchange(address, token).ends_with("token"));
        }
        let answer = exchange(address, token);
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.to_lowercase().contains("\r\nretry-after: "), "{answer}");
        assert!(answer.contains("TOO_MANY_REQUESTS"), "{answer}");
        let other = "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(exchange(address, other).ends_with("hello"));
    })
    .await;
}
