//! Upstreams that are away, break off, fall silent, get sick and well again; and the gateway's own end.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hythe_gateway::Config;

use crate::support::*;

fn assert_outage(answer: &str, status: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(header(answer, "retry-after").is_some(), "{answer}");
    assert!(header(answer, "x-request-id").is_some(), "{answer}");
    assert!(answer.contains("{\"errors\":[{\"code\":\"UNAVAILABLE\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_have_their_own_answers() {
    let breaks = Upstream::start(|_| None);
    let nonsense = Upstream::start(|_| Some(b"hello, this is no HTTP\r\n\r\n".to_vec()));
    let away = in_front_of(&[nobody()]);
    let broken = in_front_of(&[breaks.address]);
    let garbled = in_front_of(&[nonsense.address]);
    let silent = Upstream::start(|_| {
        std::thread::sleep(Duration::from_secs(5));
        None
    });
    let silent = start(Config { idle_timeout_seconds: 1, ..config(&[silent.address]) }, http(limits()));
    blocking(move || {
        assert_outage(&get(away.address, "/v2/", ""), "503");
        assert_outage(&get(away.address, "/api/v2.0/ping", ""), "503");
        assert_outage(&get(broken.address, "/v2/", ""), "502");
        assert_eq!(breaks.count(), 2, "a question is asked twice, and not more often");
        assert_outage(&get(garbled.address, "/v2/", ""), "502");
        assert_outage(&get(silent.address, "/v2/", ""), "504");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_cannot_have_been_done_is_asked_again() {
    let breaks = Upstream::start(|_| None);
    let works = Upstream::named("works");
    let gateway = in_front_of(&[breaks.address, works.address]);
    let half = in_front_of(&[nobody(), works.address]);
    blocking(move || {
        for _ in 0..4 {
            assert!(get(gateway.address, "/v2/", "").ends_with("works"));
        }
        // Never sent, so it may be sent elsewhere: with its body.
        for _ in 0..4 {
            let answer = exchange(
                half.address,
                b"POST /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
            );
            assert!(answer.ends_with("works"), "{answer}");
            assert_eq!(works.last().body, b"hello");
        }
    })
    .await;
    // What an upstream may have done is not done again by another.
    let breaks = Upstream::start(|_| None);
    let works = Upstream::named("works");
    let gateway = in_front_of(&[breaks.address, works.address]);
    blocking(move || {
        let post = b"POST /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
        let delete = b"DELETE /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answers: Vec<_> = [&post[..], delete, post, delete]
            .iter()
            .map(|request| exchange(gateway.address, request))
            .collect();
        let failed = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 502 ")).count();
        assert!(failed > 0, "{answers:?}");
        assert_eq!(breaks.count(), failed);
        assert_eq!(works.count(), answers.len() - failed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_was_closed_is_no_outage() {
    // Closes after every answer without saying so.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if read_head(&mut stream).is_some() {
                stream.write_all(&ok("hello")).unwrap();
            }
        }
    });
    let gateway = in_front_of(&[address]);
    blocking(move || {
        for _ in 0..50 {
            assert!(get(gateway.address, "/v2/", "").ends_with("hello"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sick_upstreams_get_no_requests_until_they_are_well() {
    let sick = Arc::new(AtomicBool::new(false));
    let state = sick.clone();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let moody = Upstream::start(move |received| {
        if received.line().contains("/health") {
            return Some(match state.load(Ordering::SeqCst) {
                true => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(),
                false => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            });
        }
        counter.fetch_add(1, Ordering::SeqCst);
        Some(ok("moody"))
    });
    let steady = Upstream::named("steady");
    let config = Config { health_interval_seconds: 1, ..config(&[moody.address, steady.address]) };
    let gateway = start(config, http(limits()));
    blocking(move || {
        let reaches_moody = || {
            let before = asked.load(Ordering::SeqCst);
            for _ in 0..6 {
                assert!(get(gateway.address, "/v2/", "").starts_with("HTTP/1.1 200 "));
            }
            asked.load(Ordering::SeqCst) > before
        };
        assert!(reaches_moody());
        sick.store(true, Ordering::SeqCst);
        eventually("the sick one is passed over", || !reaches_moody());
        sick.store(false, Ordering::SeqCst);
        eventually("the well one is asked again", reaches_moody);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_no_request() {
    let upstream = Upstream::start(|_| {
        std::thread::sleep(Duration::from_millis(50));
        Some(ok("whole"))
    });
    let gateway = in_front_of(&[upstream.address]);
    let address = gateway.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::task::spawn_blocking(move || {
                let mut answered = 0;
                // Until nobody listens any more.
                while let Ok(mut stream) = std::net::TcpStream::connect(address) {
                    stream.set_read_timeout(Some(SOON)).unwrap();
                    if stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").is_err() {
                        break;
                    }
                    // A connection that was still in the backlog is reset; one that was accepted is answered.
                    let Some(head) = read_head(&mut stream) else { break };
                    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                    let mut body = [0; 5];
                    std::io::Read::read_exact(&mut stream, &mut body).unwrap();
                    assert_eq!(&body, b"whole");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Somebody who connected and never asked does not hold the others up.
    let _silent = connect(address);
    gateway.shutdown.begin(Duration::ZERO);
    tokio::time::timeout(SOON, gateway.server).await.unwrap().unwrap().unwrap();
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
}
