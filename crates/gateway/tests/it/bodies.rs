//! Bodies of any size and kind, both ways, without being collected anywhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::*;

const CHUNK: usize = 256 * 1024;
/// Larger than all buffers between a client and an upstream together.
const LARGE: u64 = 256 * 1024 * 1024;
/// What kernels and libraries may hold of it.
const HELD_MAX: u64 = 48 * 1024 * 1024;

/// An upstream for one request, which a function handles after its head has been read.
fn one_request(handle: impl FnOnce(&mut TcpStream, &str) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream).unwrap();
        handle(&mut stream, &head);
    });
    address
}

fn read_bytes(stream: &mut TcpStream, count: u64) {
    let mut left = count;
    let mut space = vec![0; CHUNK];
    while left > 0 {
        let part = space.len().min(usize::try_from(left).unwrap());
        let got = stream.read(&mut space[..part]).unwrap();
        assert!(got > 0, "{left} bytes are missing");
        left -= got as u64;
    }
}

/// Waits until a counter stands still, and returns it.
fn settled(counter: &AtomicU64) -> u64 {
    let mut before = counter.load(Ordering::SeqCst);
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = counter.load(Ordering::SeqCst);
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gw_05_an_upload_waits_for_the_upstream_and_arrives_whole() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let upstream = one_request(move |stream, _| {
        gone.recv().unwrap();
        read_bytes(stream, LARGE);
        stream.write_all(&ok("all there")).unwrap();
    });
    let gateway = in_front_of(&[upstream]);
    blocking(move || {
        let mut stream = connect(gateway.address);
        let mut writer = stream.try_clone().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        let writing = std::thread::spawn(move || {
            let head = format!(
                "PUT /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {LARGE}\r\n\r\n"
            );
            writer.write_all(head.as_bytes()).unwrap();
            let chunk = vec![b'x'; CHUNK];
            while counter.fetch_add(CHUNK as u64, Ordering::SeqCst) < LARGE {
                writer.write_all(&chunk).unwrap();
            }
        });
        let held = settled(&sent);
        assert!(held < HELD_MAX, "{held} bytes were taken that nobody reads");
        go.send(()).unwrap();
        assert!(rest(&mut stream).ends_with("all there"));
        writing.join().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gw_05_a_download_waits_for_the_client_and_arrives_whole() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let upstream = one_request(move |stream, _| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = vec![b'x'; CHUNK];
        while counter.fetch_add(CHUNK as u64, Ordering::SeqCst) < LARGE {
            stream.write_all(&chunk).unwrap();
        }
    });
    let gateway = in_front_of(&[upstream]);
    blocking(move || {
        let mut stream = connect(gateway.address);
        stream.write_all(b"GET /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let held = settled(&sent);
        assert!(held < HELD_MAX, "{held} bytes were taken that nobody reads");
        let head = read_head(&mut stream).unwrap();
        assert_eq!(header(&head, "content-length"), Some(LARGE.to_string().as_str()));
        read_bytes(&mut stream, LARGE);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continue_http_1_0_chunks_and_trailers_pass() {
    let upstream = Upstream::start(|received| {
        Some(match received.line().contains("/chunked") {
            true => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n"
                .to_vec(),
            false => ok(std::str::from_utf8(&received.body).unwrap()),
        })
    });
    let gateway = in_front_of(&[upstream.address]);
    blocking(move || {
        // The client waits until somebody wants its body.
        let mut stream = connect(gateway.address);
        stream
            .write_all(
                b"PUT /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            )
            .unwrap();
        assert!(read_head(&mut stream).unwrap().starts_with("HTTP/1.1 100 "));
        stream.write_all(b"hello").unwrap();
        let answer = rest(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
        assert!(upstream.last().header("expect").is_empty());

        // HTTP/1.0, without a host even; an answer without a length ends with the connection.
        let answer = exchange(gateway.address, b"GET /v2/chunked HTTP/1.0\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\nabcdef"), "{answer}");
        assert_eq!(header(&answer, "transfer-encoding"), None, "{answer}");
        assert_eq!(upstream.last().header("host"), [gateway.address.to_string()]);
        let answer =
            exchange(gateway.address, b"POST /v2/x HTTP/1.0\r\nHost: x\r\nContent-Length: 3\r\n\r\nold");
        assert!(answer.ends_with("old"), "{answer}");

        // Chunks both ways; trailers end here.
        let answer = exchange(
            gateway.address,
            b"PUT /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
              3;ext=1\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n",
        );
        assert!(answer.ends_with("abcdef"), "{answer}");
        assert_eq!(upstream.last().body, b"abcdef");
        let answer = get(gateway.address, "/v2/chunked", "TE: trailers\r\n");
        assert!(answer.contains("abc") && answer.ends_with("0\r\n\r\n"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_body_keep_their_headers() {
    let upstream = Upstream::start(|received| {
        Some(if received.line().starts_with("HEAD") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nDocker-Content-Digest: sha256:00\r\n\r\n".to_vec()
        } else if received.line().contains("/cached") {
            b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_vec()
        } else {
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
        })
    });
    let gateway = in_front_of(&[upstream.address]);
    blocking(move || {
        let mut stream = connect(gateway.address);
        for _ in 0..5 {
            stream
                .write_all(
                    b"HEAD /v2/x HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/cached HTTP/1.1\r\nHost: x\r\n\r\n\
                      DELETE /v2/x HTTP/1.1\r\nHost: x\r\n\r\n",
                )
                .unwrap();
            let head = read_head(&mut stream).unwrap();
            assert_eq!(header(&head, "content-length"), Some("12345"), "{head}");
            assert!(head.contains("docker-content-digest: sha256:00"), "{head}");
            assert!(read_head(&mut stream).unwrap().starts_with("HTTP/1.1 304 "));
            assert!(read_head(&mut stream).unwrap().starts_with("HTTP/1.1 204 "));
        }
        // All over one connection to the upstream, or two while one is still on its way back.
        assert!(upstream.connections.load(Ordering::SeqCst) <= 2, "{:?}", upstream.connections);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_to_a_large_body_reaches_the_client() {
    let upstream = one_request(|stream, _| {
        stream
            .write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            .unwrap();
        // As a careful server does: what still comes is read, so that the answer is not lost.
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut space = vec![0; CHUNK];
        while let Ok(1..) = stream.read(&mut space) {}
    });
    let gateway = in_front_of(&[upstream]);
    blocking(move || {
        let mut request = b"PUT /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 33554432\r\n\r\n".to_vec();
        request.resize(request.len() + 8 * 1024 * 1024, b'x');
        let mut stream = connect(gateway.address);
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            let _ = writer.write_all(&request);
        });
        let head = read_head(&mut stream).unwrap();
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        writing.join().unwrap();
    })
    .await;
}
