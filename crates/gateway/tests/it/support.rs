//! Upstreams that note what they are asked and answer raw bytes; clients that send raw bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hythe_gateway::{Config, Gateway, Service, Upstreams};
use serve::{Limits, Shutdown};

pub const SERVICES: [Service; 3] = [
    Service { name: "registry", prefixes: &["/v2"] },
    Service { name: "auth", prefixes: &["/service/token"] },
    Service { name: "projects", prefixes: &["/api"] },
];

/// What must have happened by then on any machine.
pub const SOON: Duration = Duration::from_secs(15);

pub fn limits() -> Limits {
    Limits {
        connections_max: 1000,
        connections_per_address_max: 0,
        head_bytes_max: 16 * 1024,
        url_bytes_max: 8 * 1024,
        head_timeout_seconds: 20,
        body_bytes_per_second_min: 1024,
        body_stall_seconds: 60,
        requests_per_second: 0,
        requests_burst: 1,
        logins_per_minute: 0,
        logins_burst: 1,
    }
}

pub fn http(limits: Limits) -> serve::Config {
    serve::Config {
        addr: String::new(),
        ops_addr: String::new(),
        external_url: None,
        trusted_proxies: Vec::new(),
        workers: 1,
        worker_blocking_threads_max: 1,
        keep_alive_seconds: 30,
        linger_timeout_seconds: 2,
        drain_delay_ms: 0,
        drain_timeout_seconds: 10,
        access_log: false,
        limits,
    }
}

pub fn config(registry: &[SocketAddr]) -> Config {
    let urls: Vec<String> = registry.iter().map(|address| format!("http://{address}")).collect();
    Config {
        upstreams: Upstreams {
            auth: urls.clone(),
            projects: urls.clone(),
            registry: urls,
            console: Vec::new(),
        },
        connect_timeout_ms: 2000,
        idle_timeout_seconds: 60,
        pool_idle_seconds: 10,
        pool_connections_max: 16,
        health_interval_seconds: 0,
        health_path: "/health".to_owned(),
        health_port: 0,
    }
}

/// A running gateway.
pub struct Running {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub server: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub fn start(config: Config, http: serve::Config) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let gateway = Gateway::new(&SERVICES, config, http).unwrap();
    tokio::spawn(gateway.clone().watch(shutdown.stopping()));
    let server = tokio::spawn(gateway.run(listener, shutdown.clone()));
    Running { address, shutdown, server }
}

/// A gateway with default limits in front of these.
pub fn in_front_of(upstreams: &[SocketAddr]) -> Running {
    start(config(upstreams), http(limits()))
}

/// A request as an upstream received it.
#[derive(Clone, Debug)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
}

impl Received {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        values(&self.head, name)
    }
}

fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// An upstream: every request is noted and answered by a function; `None` closes the connection instead.
pub struct Upstream {
    pub address: SocketAddr,
    pub received: Arc<Mutex<Vec<Received>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Upstream {
    pub fn start(answer: impl Fn(&Received) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self { address, received: Arc::default(), connections: Arc::default() };
        let (received, connections) = (upstream.received.clone(), upstream.connections.clone());
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, received, answer) = (stream.unwrap(), received.clone(), answer.clone());
                connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        received.lock().unwrap().push(request.clone());
                        let Some(bytes) = answer(&request) else { return };
                        if stream.write_all(&bytes).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        upstream
    }

    /// Answers everything with its name.
    pub fn named(name: &'static str) -> Self {
        Self::start(move |_| Some(ok(name)))
    }

    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    pub fn last(&self) -> Received {
        self.received.lock().unwrap().last().unwrap().clone()
    }
}

pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Reads a head byte by byte; `None` when the connection ends before it is whole.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

/// A request with its body, taken out of its chunks; lines of trailers are put behind it.
fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let head = read_head(stream)?;
    let mut body = Vec::new();
    if let Some(length) = values(&head, "content-length").first() {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).ok()?;
    } else if !values(&head, "transfer-encoding").is_empty() {
        loop {
            let size = usize::from_str_radix(read_line(stream)?.trim(), 16).unwrap();
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..]).ok()?;
            if size == 0 {
                loop {
                    let line = read_line(stream)?;
                    if line == "\r\n" {
                        break;
                    }
                    body.extend_from_slice(line.as_bytes());
                }
                break;
            }
            read_line(stream)?;
        }
    }
    Some(Received { head, body })
}

fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    Some(String::from_utf8(line).unwrap())
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything until the other side closes; a reset counts as closing.
pub fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut space = [0; 16 * 1024];
    loop {
        match stream.read(&mut space) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&space[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection is not closed: {error}"),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends raw bytes and reads until the end.
pub fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    rest(&mut stream)
}

/// One request over a connection of its own.
pub fn get(address: SocketAddr, target: &str, headers: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: r.example\r\nConnection: close\r\n{headers}\r\n");
    exchange(address, request.as_bytes())
}

/// The value of a header of an answer.
pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    values(answer.split("\r\n\r\n").next()?, name).first().copied()
}

/// Raw clients block; the gateway runs on other threads.
pub async fn blocking<T: Send + 'static>(client: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(client).await.unwrap()
}

/// Tries until `attempt` says yes.
pub fn eventually(what: &str, mut attempt: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !attempt() {
        assert!(begun.elapsed() < SOON, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
