//! The access log: one line per request, with the path but never a query, a credential or a body.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use hythe_serve as serve;
use serve::{Config, Limits, Mount, Shutdown};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// SE-03.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_per_request_without_secrets() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let config = Config {
        addr: String::new(),
        ops_addr: String::new(),
        external_url: None,
        trusted_proxies: Vec::new(),
        workers: 1,
        worker_blocking_threads_max: 1,
        keep_alive_seconds: 1,
        linger_timeout_seconds: 1,
        drain_delay_ms: 0,
        drain_timeout_seconds: 1,
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
    };
    let mount = Mount {
        name: "test",
        prefixes: &["/v2"],
        configure: Arc::new(|config| {
            config.route("/v2/x", web::get().to(|| async { HttpResponse::Ok().body("four") }));
        }),
    };
    let shutdown = Shutdown::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ends = shutdown.clone();
    let running = tokio::spawn(async move { serve::run(listener, vec![mount], &config, ends).await });
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = "GET /v2/x?token=hunter2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
            Authorization: Basic c2VjcmV0\r\nX-Request-Id: r-1\r\nUser-Agent: tester/1\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    })
    .await
    .unwrap();
    shutdown.begin(Duration::ZERO);
    running.await.unwrap().unwrap();

    let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("hythe_serve::access")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    for part in [
        "request_id=\"r-1\"",
        "method=\"GET\"",
        "route=\"/v2/x\"",
        "status=200",
        "bytes=4",
        "duration_ms=",
        "remote_ip=\"127.0.0.1\"",
        "user_agent=\"tester/1\"",
        "complete=true",
    ] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    for secret in ["hunter2", "c2VjcmV0", "token="] {
        assert!(!text.contains(secret), "{text}");
    }
}
