//! The program itself, started as an operator starts it: first start, second start, commands beside it, a crash,
//! and an orderly end. Needs PostgreSQL's programs, as `hythe serve` does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

const HYTHE: &str = env!("CARGO_BIN_EXE_hythe");
/// A first start creates a database; a loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

fn command(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(HYTHE);
    command.args(arguments).arg("--data-dir").arg(data_dir);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HYTHE_")) {
            command.env_remove(name);
        }
    }
    command
}

/// A running `hythe serve`; killed when dropped.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    lines: Vec<String>,
    public: String,
    operations: String,
}

impl Running {
    fn start(data_dir: &Path, environment: &[(&str, &str)]) -> Self {
        let ports = ["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
        let mut child = command(data_dir, &ports)
            .envs(environment.iter().copied())
            .env("HYTHE_HTTP__DRAIN_DELAY_MS", "500")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        let mut address = |what: &str| loop {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "ended: {lines:#?}");
            lines.push(line.trim_end().to_owned());
            if let Some((_, address)) = line.split_once(&format!("{what} on http://")) {
                // In a JSON line a quote follows.
                return address.trim_end().split('"').next().unwrap().to_owned();
            }
        };
        let (public, operations) = (address("listening"), address("operations"));
        Self { child, output, lines, public, operations }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for the end; returns the exit code and everything that was printed.
    fn end(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (status.code(), self.lines.join("\n") + "\n" + &rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn get(address: &str, target: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn piped(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Below `/var/tmp`, because the account of PostgreSQL has to get there.
fn directory() -> tempfile::TempDir {
    let made = tempfile::Builder::new().prefix("hythe-cli-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(made.path(), fs::Permissions::from_mode(0o755)).unwrap();
    made
}

#[test]
fn an_installation_from_its_first_start_to_an_orderly_end() {
    let parent = directory();
    let data = parent.path().join("data");
    let server = Running::start(&data, &[]);
    assert!(get(&server.operations, "/readyz", "").starts_with("HTTP/1.1 200 "));
    assert!(get(&server.public, "/api/v2.0/ping", "").ends_with("Pong"));
    assert!(get(&server.public, "/v2/", "").contains(&format!("http://{}/service/token", server.public)));
    assert!(get(&server.public, "/readyz", "").starts_with("HTTP/1.1 404 "));
    let warnings = server.lines.iter().filter(|line| line.contains("external_url is not set"));
    assert_eq!(warnings.count(), 1, "{:#?}", server.lines);

    // The first administrator's password is in a private file and, as this is no terminal, nowhere else.
    let kept = data.join("admin-password");
    let password = fs::read_to_string(&kept).unwrap();
    let password = password.trim_end().to_owned();
    assert!(!server.lines.iter().any(|line| line.contains(&password)));
    for (path, expected) in [("admin-password", 0o600), ("master-key", 0o600), ("blobs", 0o700), ("", 0o755)]
    {
        assert_eq!(mode(&data.join(path)), expected, "{path}");
    }
    assert_eq!(fs::read(data.join("master-key")).unwrap().len(), 32);

    // A second server on the same directory is refused and disturbs nothing.
    let second =
        command(&data, &["serve", "--listen", "127.0.0.1:0", "--ops-listen", "off"]).output().unwrap();
    assert_eq!(second.status.code(), Some(6));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains(&format!("in use by another hythe (process {})", server.child.id())), "{text}");

    // Commands beside the running server.
    let make = || command(&data, &["admin", "create-user", "bob", "--admin", "--password-stdin"]);
    let made = piped(make(), "Secret-pass-1\n");
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(piped(make(), "Secret-pass-1\n").status.code(), Some(6));
    let basic = "Authorization: Basic Ym9iOlNlY3JldC1wYXNzLTE=\r\n";
    let user = get(&server.public, "/api/v2.0/users/current", basic);
    assert!(user.starts_with("HTTP/1.1 200 ") && user.contains("\"sysadmin_flag\":true"), "{user}");
    let weak = piped(command(&data, &["admin", "reset-password", "admin"]), "x\n");
    assert_eq!(weak.status.code(), Some(2));
    assert!(kept.exists());
    let reset = piped(command(&data, &["admin", "reset-password", "admin"]), "Another-pass-1\n");
    assert_eq!(reset.status.code(), Some(0), "{}", String::from_utf8_lossy(&reset.stderr));
    assert!(!kept.exists());

    // A crash loses nothing, and the next start neither asks nor makes anything again.
    let keys = command(&data, &["keys", "list"]).output().unwrap().stdout;
    server.signal("-KILL");
    assert_eq!(server.end().0, None);
    let server =
        Running::start(&data, &[("HYTHE_LOG__FORMAT", "json"), ("HYTHE_ADMIN_PASSWORD", "ignored-now")]);
    assert!(server.lines.iter().all(|line| line.starts_with('{')), "{:#?}", server.lines);
    let admin = "Authorization: Basic YWRtaW46QW5vdGhlci1wYXNzLTE=\r\n";
    assert!(get(&server.public, "/api/v2.0/users/current", admin).starts_with("HTTP/1.1 200 "));
    assert_eq!(command(&data, &["keys", "list"]).output().unwrap().stdout, keys);

    // The end: not ready at once, closed after the delay, everything stopped, exit code 0.
    server.signal("-TERM");
    let begun = Instant::now();
    while !get(&server.operations, "/readyz", "").contains("draining") {
        assert!(begun.elapsed() < PATIENCE);
    }
    let (code, output) = server.end();
    assert_eq!(code, Some(0), "{output}");
    assert!(!output.contains("Another-pass-1") && !output.contains("ignored-now"), "{output}");
    assert!(!data.join("postgres/postmaster.pid").exists());

    // Without a running server the commands start the database themselves, and stop it again.
    let migrated = command(&data, &["migrate"]).output().unwrap();
    assert_eq!(migrated.status.code(), Some(0), "{}", String::from_utf8_lossy(&migrated.stderr));
    assert_eq!(command(&data, &["keys", "list"]).output().unwrap().stdout, keys);
    assert!(!data.join("postgres/postmaster.pid").exists());
}

#[test]
fn what_cannot_start_says_why_and_creates_nothing() {
    let parent = directory();
    let nowhere = parent.path().join("nowhere");
    let missing = command(&nowhere, &["keys", "list"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(4));
    assert!(!nowhere.exists());

    let file = parent.path().join("hythe.yaml");
    fs::write(&file, "http:\n  adr: x\n  workers: many\n").unwrap();
    let config = file.to_str().unwrap();
    for arguments in [["serve", "--config", config].as_slice(), &["config", "check", "--config", config]] {
        let refused = command(&nowhere, arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(3));
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(text.contains("hythe.yaml:2:3: unknown key http.adr; did you mean http.addr?"), "{text}");
        assert!(text.contains("hythe.yaml:3:3: http.workers"), "{text}");
    }
    assert!(!nowhere.exists());
}
