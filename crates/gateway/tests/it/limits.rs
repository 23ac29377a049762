//! What one client may take from the gateway.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serve::Limits;

use crate::support::*;

/// Sends a byte now and then until the gateway has closed.
fn drip(stream: &mut std::net::TcpStream) -> String {
    let begun = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = Vec::new();
    loop {
        assert!(begun.elapsed() < SOON, "the gateway goes on listening to a drip");
        let _ = stream.write_all(b"x");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_01_02_03_slow_clients_are_cut_off() {
    let upstream = Upstream::named("up");
    let limits = Limits { head_timeout_seconds: 1, body_stall_seconds: 2, ..limits() };
    let gateway = start(config(&[upstream.address]), http(limits));
    let address = gateway.address;
    let head = blocking(move || {
        let mut stream = connect(address);
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nX: ").unwrap();
        let first = drip(&mut stream);
        let mut stream = connect(address);
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_head(&mut stream).unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
        (first, drip(&mut stream))
    });
    let silent = blocking(move || rest(&mut connect(address)));
    let body = blocking(move || {
        let mut stream = connect(address);
        stream.write_all(b"PUT /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").unwrap();
        drip(&mut stream)
    });
    let ((first, later), silent, body) = tokio::join!(head, silent, body);
    assert!(first.starts_with("HTTP/1.1 408 "), "{first}");
    assert!(later.starts_with("HTTP/1.1 408 "), "{later}");
    assert_eq!(silent, "");
    assert!(!body.contains(" 200 "), "{body}");
    // What a client did not finish is not held against the upstream.
    let answer = blocking(move || get(address, "/v2/", "")).await;
    assert!(answer.ends_with("up"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ds_07_heads_urls_and_connections_are_bounded() {
    let upstream = Upstream::named("up");
    let limits = Limits { connections_per_address_max: 3, ..limits() };
    let gateway = start(config(&[upstream.address]), http(limits));
    let address = gateway.address;
    blocking(move || {
        let long = "a".repeat(9 * 1024);
        assert!(get(address, &format!("/v2/{long}"), "").starts_with("HTTP/1.1 414 "));
        let fields: String = (0..17).map(|n| format!("X-{n}: {}\r\n", "b".repeat(1024))).collect();
        assert!(get(address, "/v2/", &fields).starts_with("HTTP/1.1 431 "));
        assert!(exchange(address, "G".repeat(40 * 1024).as_bytes()).starts_with("HTTP/1.1 414 "));
        assert_eq!(upstream.count(), 0);

        eventually("the places of the above are free", || get(address, "/v2/", "").ends_with("up"));
        let mut held: Vec<_> = (0..3).map(|_| connect(address)).collect();
        for stream in &mut held {
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        }
        eventually("a fourth connection is closed", || rest(&mut connect(address)).is_empty());
        drop(held);
        let again = || {
            let mut stream = connect(address);
            let _ = stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            rest(&mut stream).ends_with("up")
        };
        eventually("places come back", again);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_are_answered_with_429() {
    let upstream = Upstream::named("up");
    let limits = Limits { logins_per_minute: 1, logins_burst: 2, ..limits() };
    let logins = start(config(&[upstream.address]), http(limits.clone()));
    let limits = Limits { requests_per_second: 1, requests_burst: 2, logins_per_minute: 0, ..limits };
    let requests = start(config(&[upstream.address]), http(limits));
    blocking(move || {
        for _ in 0..2 {
            assert!(get(logins.address, "/service/token?service=x", "").ends_with("up"));
        }
        let answer = get(logins.address, "/service/token", "");
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(header(&answer, "retry-after").is_some(), "{answer}");
        assert!(get(logins.address, "/v2/", "").ends_with("up"));
        let answers: Vec<_> = (0..10).map(|_| get(requests.address, "/v2/", "")).collect();
        let refused = answers.iter().find(|answer| answer.starts_with("HTTP/1.1 429 ")).unwrap();
        assert!(refused.contains("\"TOOMANYREQUESTS\""), "{refused}");
    })
    .await;
}
