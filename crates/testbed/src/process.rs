//! The server's process: found or built, started, watched, killed by its id.
//!
//! A watchdog shell holds the other end of a pipe: when the test process ends, however it ends, it
//! stops the server, then the private PostgreSQL, and removes the directory. Only processes whose
//! command line names that directory are touched.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A start includes `initdb` and all migrations, on a machine that compiles at the same time.
const START_SECONDS: u64 = 120;
/// Longer than a drain of idle connections, shorter than anybody's patience.
const STOP_SECONDS: u64 = 30;

const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _
ours() { [ -n "$1" ] && grep -qsF -- "$DIRECTORY" "/proc/$1/cmdline"; }
server=$(cat "$DIRECTORY/server.pid" 2>/dev/null)
if ours "$server"; then
    kill -TERM "$server"
    for _ in $(seq 150); do ours "$server" || break; sleep 0.1; done
    ours "$server" && kill -KILL "$server"
fi
for file in $(find "$DIRECTORY" -name postmaster.pid 2>/dev/null); do
    postgres=$(head -n 1 "$file")
    ours "$postgres" && kill -QUIT "$postgres" && sleep 1
done
rm -rf -- "$DIRECTORY"
"#;

/// The binary under test: `HYTHE_BIN`, else the workspace's own, brought up to date once per process.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("HYTHE_BIN") {
            return PathBuf::from(path);
        }
        // target/debug/deps/it-0123 -> target/debug
        let test = std::env::current_exe().expect("the test executable has a path");
        let profile = test.ancestors().nth(2).expect("test executables lie in target/<profile>/deps");
        let release = profile.file_name().is_some_and(|name| name == "release");
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            // The whole workspace, so that dependencies keep the features that they were built with.
            .args(["build", "--quiet", "--workspace", "--bins"])
            .args(release.then_some("--release"))
            .arg("--target-dir")
            .arg(profile.parent().expect("a profile directory has a parent"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the hythe binary does not build; set HYTHE_BIN to use another");
        profile.join("hythe")
    })
}

/// A server on a data directory; may be killed and started again.
pub struct Server {
    /// Owns everything of this server; the data directory lies inside, unless it is shared.
    directory: tempfile::TempDir,
    role: &'static str,
    data_directory: PathBuf,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    watchdog: Child,
    starts: usize,
    addresses: Addresses,
}

/// Where a running server listens, as `host:port`.
#[derive(Clone, Default)]
pub struct Addresses {
    /// Empty when nobody is served.
    pub public: String,
    pub operations: String,
}

impl Server {
    /// Makes the directory and the watchdog. Nothing runs yet. `role` is the subcommand; `data_directory` one that
    /// somebody else owns.
    pub fn new(
        role: &'static str,
        data_directory: Option<PathBuf>,
        environment: Vec<(String, String)>,
    ) -> Server {
        use std::os::unix::fs::PermissionsExt;
        // Not `TMPDIR`: socket paths are limited to 107 bytes. Open to all, because PostgreSQL runs as
        // another user when the tests run as root.
        let directory =
            tempfile::Builder::new().prefix("hythe-bed-").tempdir_in("/tmp").expect("/tmp is writable");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
            .expect("our own directory");
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "hythe-testbed-watchdog"])
            .env("DIRECTORY", directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("/bin/sh runs");
        // The watchdog knows the process by the path in its command line.
        std::fs::write(directory.path().join("hythe.yaml"), "{}").expect("our own directory");
        Server {
            role,
            data_directory: data_directory.unwrap_or_else(|| directory.path().join("data")),
            directory,
            environment,
            child: None,
            watchdog,
            starts: 0,
            addresses: Addresses::default(),
        }
    }

    pub fn data_directory(&self) -> PathBuf {
        self.data_directory.clone()
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Log of the current start: standard output and error together.
    pub fn log_file(&self) -> PathBuf {
        self.directory.path().join(format!("server-{}.log", self.starts))
    }

    /// Starts the server and returns when it says where it listens. Fails with the log.
    pub async fn start(&mut self) -> Result<(), String> {
        self.begin(None)?;
        self.listening().await
    }

    /// Starts the server and waits for nothing. `operations` is an address for health that is known beforehand.
    pub fn begin(&mut self, operations: Option<&str>) -> Result<(), String> {
        self.starts += 1;
        let log = File::create(self.log_file()).map_err(|err| err.to_string())?;
        let errors = log.try_clone().map_err(|err| err.to_string())?;
        let mut command = self.command();
        command
            .args([self.role, "--ops-listen", operations.unwrap_or("127.0.0.1:0")])
            .args(self.has_public_address().then_some(["--listen", "127.0.0.1:0"]).into_iter().flatten())
            .arg("--data-dir")
            .arg(&self.data_directory)
            .arg("--config")
            .arg(self.directory.path().join("hythe.yaml"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let child = command.spawn().map_err(|err| format!("{}: {err}", binary().display()))?;
        std::fs::write(self.directory.path().join("server.pid"), child.id().to_string())
            .map_err(|err| err.to_string())?;
        self.child = Some(child);
        Ok(())
    }

    /// The background jobs serve nobody.
    fn has_public_address(&self) -> bool {
        self.role != "worker"
    }

    /// Where health is asked for before the server says so itself.
    pub fn expect_operations(&mut self, operations: String) {
        self.addresses.operations = operations;
    }

    /// Waits until the server says where it listens. Fails with the log.
    pub async fn listening(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS);
        loop {
            let log = self.log();
            let public =
                after(&log, "listening on http://").or((!self.has_public_address()).then(String::new));
            if let (Some(public), Some(operations)) = (public, after(&log, "operations on http://")) {
                self.addresses = Addresses { public, operations };
                return Ok(());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(format!("hythe {} ended with {status}:\n{}", self.role, self.log()));
            }
            if Instant::now() > deadline {
                return Err(format!("hythe {} did not start within {START_SECONDS} s:\n{log}", self.role));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The exit code of a server that is about to end by itself; None when it does not within `limit`, or was
    /// killed.
    pub fn ended(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                self.child = None;
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// Asks the server to end, without waiting.
    pub fn terminate(&self) {
        if let Some(id) = self.id() {
            // An error means that it has ended already.
            let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM);
        }
    }

    /// Ends the server without a chance to clean up.
    pub fn kill_9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }

    /// Asks the server to end, and insists after a while. Returns whether it ended by itself.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return true };
        let id = Pid::from_raw(child.id().cast_signed());
        // An error means that it has ended already.
        let _ = kill(id, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS);
        while Instant::now() < deadline {
            if let Ok(Some(_)) = child.try_wait() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    /// A one-shot command of the binary on this data directory, not yet run.
    pub fn one_shot(&self, arguments: &[String]) -> Command {
        let mut command = self.command();
        command.args(arguments).arg("--data-dir").arg(&self.data_directory);
        command
    }

    pub fn log(&self) -> String {
        std::fs::read(self.log_file())
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// The binary with our environment and nothing of the surrounding one that would configure it.
    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HYTHE_") || name.starts_with("REGISTRY_") || name == "DATABASE_URL" {
                command.env_remove(name.as_ref());
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        // The watchdog wakes when its input closes and ends what an ungraceful death left behind.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Runs a command to its end with `input` on its standard input.
pub fn output(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped above");
    // A command that does not read its input closes it; that is its right.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("our own child")
}

/// The `host:port` that follows `marker` in the log.
fn after(log: &str, marker: &str) -> Option<String> {
    let rest = &log[log.find(marker)? + marker.len()..];
    let end =
        rest.find(|character: char| !character.is_ascii_alphanumeric() && !".:[]".contains(character))?;
    Some(rest[..end].to_owned())
}
