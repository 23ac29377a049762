//! A real S3 server (s3s-fs, see tests/tools.toml) in a temporary directory, and a proxy before it that fails
//! as networks and services do.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hythe_blobstore::{BlobStore, Credential, S3Config};

pub const BUCKET: &str = "blobs";

/// Stopped when dropped.
pub struct S3Server {
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl S3Server {
    /// With one empty bucket.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { dir, port, child: None };
        server.resume();
        server
    }

    /// Starts it again, with what it had.
    pub fn resume(&mut self) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/bin/s3s-fs");
        assert!(program.exists(), "{} is missing: run scripts/setup.sh test", program.display());
        // The shell ends it when this process does, however it does: then the pipe closes.
        let watchdog = r#"trap '' INT TERM HUP; "$@" </dev/null & read -r _; kill -KILL $!; wait $!"#;
        let child = Command::new("/bin/sh")
            .args(["-c", watchdog, "s3"])
            .arg(program)
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--access-key", "access", "--secret-key", "s3cret-canary"])
            .arg(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "s3s-fs does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
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
        found.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name != "hythe-store" && (!name.starts_with('.') || name.contains("part"))
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
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules: Arc<Mutex<Vec<Rule>>> = Arc::default();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let (all_rules, all_requests, end) = (rules.clone(), requests.clone(), stopped.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let (rules, requests) = (all_rules.clone(), all_requests.clone());
                std::thread::spawn(move || {
                    // A connection that breaks is what this is for.
                    let _ = client.and_then(|client| pass(client, upstream, &rules, &requests));
                });
            }
        });
        Self { port, rules, requests, stopped }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next `times` requests whose first line (`PUT /bucket/key?query`) matches meet the fault.
    pub fn fail(&self, times: usize, fault: Fault, matches: impl Fn(&str) -> bool + Send + 'static) {
        self.rules.lock().unwrap().push(Rule { matches: Box::new(matches), fault, times });
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
    let mut room = usize::MAX;
    match fault {
        Some(Fault::Slow(delay)) => std::thread::sleep(delay),
        Some(Fault::Answer(status)) => {
            let body = "<Error><Code>SlowDown</Code><Message>slow down</Message></Error>";
            write!(
                client,
                "HTTP/1.1 {status} Fault\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )?;
            return client.shutdown(Shutdown::Write);
        }
        Some(Fault::Cut(bytes)) => room = bytes,
        Some(Fault::Lose) => room = 0,
        None => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    let first_line_end = head.find("\r\n").unwrap_or(0) + 2;
    server.write_all(&request[..first_line_end])?;
    server.write_all(b"Connection: close\r\n")?;
    server.write_all(&request[first_line_end..])?;
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
