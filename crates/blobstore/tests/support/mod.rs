//! A real S3 server (see tests/tools.toml) in a temporary directory, and a proxy before it that fails as networks and
//! services do. The server is s3s-fs, or MinIO where HYTHE_S3_SERVER=minio says so, which takes longer to start.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hythe_blobstore::{BlobStore, Credential, S3Config};

pub const BUCKET: &str = "blobs";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    S3sFs,
    Minio,
}

impl Kind {
    #[expect(clippy::disallowed_methods, reason = "tests have no settings")]
    pub fn of_environment() -> Self {
        match std::env::var("HYTHE_S3_SERVER").as_deref() {
            Ok("minio") => Self::Minio,
            Ok("s3s-fs") | Err(_) => Self::S3sFs,
            Ok(other) => panic!("HYTHE_S3_SERVER: {other:?} is neither s3s-fs nor minio"),
        }
    }

    /// The program, what brings it, and its arguments before the directory.
    fn command(self, port: u16) -> (&'static str, &'static str, Vec<String>) {
        let words = |text: String| text.split(' ').map(str::to_owned).collect();
        match self {
            Self::S3sFs => (
                "s3s-fs",
                "test",
                words(format!(
                    "--host 127.0.0.1 --port {port} --access-key access --secret-key s3cret-canary"
                )),
            ),
            Self::Minio => ("minio", "soak", words(format!("server --quiet --address 127.0.0.1:{port}"))),
        }
    }
}

/// Settings of MinIO: its keys, a key to encrypt with, and the domain of names such as `blobs.localhost`.
const MINIO: [(&str, &str); 7] = [
    ("MINIO_ROOT_USER", "access"),
    ("MINIO_ROOT_PASSWORD", "s3cret-canary"),
    ("MINIO_KMS_SECRET_KEY", "hythe:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ("MINIO_DOMAIN", "localhost"),
    ("MINIO_BROWSER", "off"),
    ("MINIO_UPDATE", "off"),
    ("MINIO_CI_CD", "1"),
];

/// Stopped when dropped.
pub struct S3Server {
    kind: Kind,
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl S3Server {
    /// With one empty bucket.
    pub fn start() -> Self {
        Self::of_kind(Kind::of_environment())
    }

    pub fn of_kind(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { kind, dir, port, child: None };
        server.resume();
        server
    }

    /// Starts it again, with what it had.
    pub fn resume(&mut self) {
        let (program, set, arguments) = self.kind.command(self.port);
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/bin").join(program);
        assert!(program.exists(), "{} is missing: run scripts/setup.sh {set}", program.display());
        // The shell ends it when this process does, however it does: then the pipe closes.
        let watchdog = r#"trap '' INT TERM HUP; "$@" </dev/null & read -r _; kill -KILL $!; wait $!"#;
        let child = Command::new("/bin/sh")
            .args(["-c", watchdog, "s3"])
            .arg(&program)
            .args(arguments)
            .arg(self.dir.path())
            .envs(MINIO)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.answers() {
            assert!(Instant::now() < deadline, "{} does not answer", program.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it is ready. MinIO listens before it is.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        if self.kind == Kind::S3sFs {
            return true;
        }
        let mut answer = Vec::new();
        let ask = "GET /minio/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).and_then(|()| stream.read_to_end(&mut answer)).is_ok()
            && answer.starts_with(b"HTTP/1.1 200")
    }

    /// Nobody answers any more.
    pub fn pause(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    pub fn bucket(&self) -> PathBuf {
        self.dir.path().join(BUCKET)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn config(&self) -> S3Config {
        config(self.port)
    }

    /// What is stored: objects, but the store's marker, and parts of uploads that were neither joined nor given up.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        visit(self.dir.path(), &mut found);
        let sys = self.dir.path().join(".minio.sys");
        found.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match self.kind {
                Kind::S3sFs => name != "hythe-store" && (!name.starts_with('.') || name.contains("part")),
                // An object is a directory with this file; an upload in parts is one elsewhere.
                Kind::Minio => {
                    name == "xl.meta"
                        && (!path.starts_with(&sys) || path.starts_with(sys.join("multipart")))
                        && !path.parent().is_some_and(|object| object.ends_with("hythe-store"))
                }
            }
        });
        found
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.pause();
    }
}

fn visit(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { visit(&path, found) } else { found.push(path) }
    }
}

pub fn config(port: u16) -> S3Config {
    S3Config {
        bucket: Some(BUCKET.to_owned()),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        access_key: Some(Credential::new("access".to_owned())),
        secret_key: Some(Credential::new("s3cret-canary".to_owned())),
        prefix: "below".to_owned(),
        path_style: true,
        part_mib: 5,
        ..S3Config::default()
    }
}

pub fn open(port: u16) -> BlobStore {
    BlobStore::s3(&config(port)).unwrap()
}

/// Bytes that differ with the seed, without a period that a chunk size could hide behind.
pub fn content(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It waits.
    Slow(Duration),
    /// It is answered like this, and never reaches the server.
    Answer(u16),
    /// The connection breaks after so many bytes of the answer.
    Cut(usize),
    /// The server does it, and the answer is lost.
    Lose,
    /// The server is asked twice, and the second answer counts.
    Twice,
    /// The connection breaks before the server sees anything.
    Break,
    /// As [`Fault::Break`], after so long a silence.
    Stall(Duration),
    /// It is refused because the clocks differ.
    Skewed,
}

impl Fault {
    fn name(self) -> String {
        match self {
            Self::Answer(status) => format!("answer {status}"),
            Self::Slow(_) => "slow".to_owned(),
            Self::Cut(_) => "cut".to_owned(),
            Self::Lose => "lost answer".to_owned(),
            Self::Twice => "twice".to_owned(),
            Self::Break => "broken off".to_owned(),
            Self::Stall(_) => "stalled".to_owned(),
            Self::Skewed => "clock skew".to_owned(),
        }
    }
}

/// Faults that come round and round.
struct Deck {
    /// Words that the first line of a request has.
    words: Option<&'static str>,
    cards: Vec<Option<Fault>>,
    next: usize,
}

#[derive(Default)]
struct Decks {
    decks: Vec<Deck>,
    met: BTreeMap<String, usize>,
}

impl Decks {
    /// Each deck that knows such requests is drawn from; the first fault counts.
    fn draw(&mut self, line: &str) -> Option<Fault> {
        let mut drawn = None;
        for deck in &mut self.decks {
            if deck.words.is_none_or(|words| words.split_whitespace().all(|word| line.contains(word))) {
                let card = deck.cards[deck.next % deck.cards.len()];
                deck.next += 1;
                drawn = drawn.or(card);
            }
        }
        if let Some(fault) = drawn {
            *self.met.entry(fault.name()).or_default() += 1;
        }
        drawn
    }
}

struct Rule {
    matches: Box<dyn Fn(&str) -> bool + Send>,
    fault: Fault,
    times: usize,
}

/// Stands between the store and the server. Each connection takes one request.
pub struct Proxy {
    port: u16,
    rules: Arc<Mutex<Vec<Rule>>>,
    requests: Arc<Mutex<Vec<String>>>,
    decks: Arc<Mutex<Decks>>,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules: Arc<Mutex<Vec<Rule>>> = Arc::default();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let decks: Arc<Mutex<Decks>> = Arc::default();
        let (all_rules, all_requests, end) = (rules.clone(), requests.clone(), stopped.clone());
        let all_decks = decks.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let (rules, requests, decks) = (all_rules.clone(), all_requests.clone(), all_decks.clone());
                std::thread::spawn(move || {
                    // A connection that breaks is what this is for.
                    let _ = client.and_then(|client| pass(client, upstream, &rules, &requests, &decks));
                });
            }
        });
        Self { port, rules, requests, decks, stopped }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next `times` requests whose first line (`PUT /bucket/key?query`) matches meet the fault.
    pub fn fail(&self, times: usize, fault: Fault, matches: impl Fn(&str) -> bool + Send + 'static) {
        self.rules.lock().unwrap().push(Rule { matches: Box::new(matches), fault, times });
    }

    /// Requests whose first line has all of these words meet what comes next in `cards`, round and round.
    pub fn every(&self, words: Option<&'static str>, cards: Vec<Option<Fault>>) {
        self.decks.lock().unwrap().decks.push(Deck { words, cards, next: 0 });
    }

    /// Ends that, and tells how often each kind of fault was met.
    pub fn calm(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.decks.lock().unwrap()).met
    }

    /// First lines of all requests since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass(
    mut client: TcpStream,
    upstream: u16,
    rules: &Mutex<Vec<Rule>>,
    requests: &Mutex<Vec<String>>,
    decks: &Mutex<Decks>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let head_end = loop {
        if let Some(found) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break found + 4;
        }
        let read = client.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..read]);
    };
    let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
    let length: usize = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().to_owned())
        })
        .map_or(0, |length| length.parse().unwrap());
    while request.len() < head_end + length {
        let read = client.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..read]);
    }
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    requests.lock().unwrap().push(line.clone());
    let fault =
        rules.lock().unwrap().iter_mut().find(|rule| rule.times > 0 && (rule.matches)(&line)).map(|rule| {
            rule.times -= 1;
            rule.fault
        });
    let fault = fault.or_else(|| decks.lock().unwrap().draw(&line));
    let mut room = usize::MAX;
    match fault {
        Some(Fault::Slow(delay)) => std::thread::sleep(delay),
        Some(Fault::Answer(status)) => return refuse(client, &line, status, "SlowDown"),
        Some(Fault::Skewed) => return refuse(client, &line, 403, "RequestTimeTooSkewed"),
        Some(Fault::Break) => return client.shutdown(Shutdown::Both),
        Some(Fault::Stall(silence)) => {
            std::thread::sleep(silence);
            return client.shutdown(Shutdown::Both);
        }
        Some(Fault::Twice) => {
            let mut server = send(upstream, &request, &head)?;
            while server.read(&mut buffer)? > 0 {}
        }
        Some(Fault::Cut(bytes)) => room = bytes,
        Some(Fault::Lose) => room = 0,
        None => {}
    }
    let mut server = send(upstream, &request, &head)?;
    loop {
        let read = server.read(&mut buffer)?;
        if read == 0 {
            return client.shutdown(Shutdown::Both);
        }
        let passed = read.min(room);
        client.write_all(&buffer[..passed])?;
        room -= passed;
        if room == 0 && !matches!(fault, Some(Fault::Lose)) {
            return client.shutdown(Shutdown::Both);
        }
    }
}

fn send(upstream: u16, request: &[u8], head: &str) -> std::io::Result<TcpStream> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    let first_line_end = head.find("\r\n").unwrap_or(0) + 2;
    server.write_all(&request[..first_line_end])?;
    server.write_all(b"Connection: close\r\n")?;
    server.write_all(&request[first_line_end..])?;
    Ok(server)
}

/// Answers in the server's place.
fn refuse(mut client: TcpStream, line: &str, status: u16, code: &str) -> std::io::Result<()> {
    // The answer to HEAD has no body, so the code is not told.
    let body = match line.starts_with("HEAD ") {
        true => String::new(),
        false => format!("<Error><Code>{code}</Code><Message>no</Message></Error>"),
    };
    write!(
        client,
        "HTTP/1.1 {status} Fault\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    client.shutdown(Shutdown::Write)
}
