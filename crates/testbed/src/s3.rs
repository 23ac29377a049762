//! An S3 server (s3s-fs, see tests/tools.toml) for a platform that keeps its blobs in a bucket.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Options;

const BUCKET: &str = "blobs";
const ACCESS_KEY: &str = "hythe-test";
const START: Duration = Duration::from_secs(30);

/// Ends the server when the test process does, however it does: then the pipe closes.
const WATCHDOG: &str = r#"trap '' INT TERM HUP; "$@" </dev/null & read -r _; kill -KILL $!; wait $!"#;

/// A server with one bucket, in a directory that goes with it.
pub struct S3 {
    directory: tempfile::TempDir,
    port: u16,
    watchdog: Option<Child>,
}

impl S3 {
    /// The secret key, to look for it where it must not be.
    pub const SECRET_KEY: &str = "s3-canary-0c7d1f";

    pub fn start() -> S3 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join(BUCKET)).expect("the bucket");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let mut server = S3 { directory, port: free.expect("a free port").port(), watchdog: None };
        server.resume();
        server
    }

    /// Starts it again with what it had.
    pub fn resume(&mut self) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/bin/s3s-fs");
        assert!(program.exists(), "{} is missing: run scripts/setup.sh test", program.display());
        let child = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "s3"])
            .arg(program)
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--access-key", ACCESS_KEY, "--secret-key", Self::SECRET_KEY])
            .arg(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("s3s-fs starts");
        self.watchdog = Some(child);
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "s3s-fs does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Nobody answers any more.
    pub fn pause(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            watchdog.wait().expect("the watchdog ends");
        }
    }

    /// Objects, but the store's marker, and parts of uploads that nobody joined or gave up.
    pub fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        visit(self.directory.path(), &mut found);
        found.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name != "hythe-store" && (!name.starts_with('.') || name.contains("part"))
        });
        found
    }

    /// Where it keeps everything.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.pause();
    }
}

impl Options {
    /// Keeps blobs in the server's bucket.
    pub fn s3(self, server: &S3) -> Options {
        self.set("HYTHE_STORAGE__DRIVER", "s3")
            .set("HYTHE_STORAGE__S3__BUCKET", BUCKET)
            .set("HYTHE_STORAGE__S3__ENDPOINT", &server.endpoint())
            .set("HYTHE_STORAGE__S3__ACCESS_KEY", ACCESS_KEY)
            .set("HYTHE_STORAGE__S3__SECRET_KEY", S3::SECRET_KEY)
            .set("HYTHE_STORAGE__S3__PATH_STYLE", "true")
            .set("HYTHE_STORAGE__S3__PART_MIB", "5")
    }
}

fn visit(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { visit(&path, found) } else { found.push(path) }
    }
}
