//! The two servers as processes: started fresh in a directory of their own, and stopped by their ids.
//!
//! Both run as they ship: Hythe with its default configuration and the PostgreSQL that it starts itself, the peer
//! with the configuration of its Debian package, but for directories, addresses and the peer's password file.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// A first start makes a database, on a machine that may be busy.
const START_SECONDS: u64 = 120;
/// Longer than a drain of idle connections.
const STOP_SECONDS: u64 = 30;

/// Of a server's log in the message of a failure.
const LOG_BYTES: usize = 1500;

/// The administrator of a server that lives as long as the benchmark and listens on loopback.
pub const ADMIN: (&str, &str) = ("admin", "Harbour-Wall-7391");

/// A running server.
pub struct Server {
    child: Child,
    pub id: u32,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// `hythe serve` on a fresh data directory. Returns when it says where it listens.
    pub async fn hythe(program: &Path, directory: &Path) -> Result<Server> {
        let mut command = command(program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir(directory))
            .env("HYTHE_ADMIN_PASSWORD", ADMIN.1);
        let mut server = Server::spawn(command, &directory.join("hythe.log"))?;
        server.address = server
            .wait(async |log| {
                let rest = &log[log.find("listening on http://")? + "listening on http://".len()..];
                rest[..rest.find(char::is_whitespace)?].parse().ok()
            })
            .await?;
        Ok(server)
    }

    /// `docker-registry serve` on an empty directory, as Debian configures it, without authentication.
    pub async fn peer(program: &Path, directory: &Path) -> Result<Server> {
        // The peer cannot take port 0 and say which one it got.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = directory.join("peer.yml");
        let text = format!(
            "version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {}
  delete:
    enabled: true
http:
  addr: {address}
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
",
            directory.join("peer").display()
        );
        std::fs::write(&config, text)?;
        let mut command = command(program);
        command.arg("serve").arg(&config);
        let mut server = Server::spawn(command, &directory.join("peer.log"))?;
        server.address = server
            .wait(async |_| tokio::net::TcpStream::connect(address).await.ok().map(|_| address))
            .await?;
        Ok(server)
    }

    fn spawn(mut command: Command, log: &Path) -> Result<Server> {
        let output = File::create(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let program = command.as_std().get_program().to_owned();
        let child = command.spawn().with_context(|| program.display().to_string())?;
        let id = child.id().context("it was just started")?;
        Ok(Server { child, id, address: SocketAddr::from(([127, 0, 0, 1], 0)), log: log.to_owned() })
    }

    /// Polls until `found`, which gets the log so far, gives something.
    async fn wait<T>(&mut self, found: impl AsyncFn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS);
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(value) = found(&log).await {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("a server ended with {status}:\n{}", self.last_lines());
            }
            ensure!(Instant::now() < deadline, "no start within {START_SECONDS} s:\n{}", self.last_lines());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end of its log, for a failure's message.
    pub fn last_lines(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES)..]).into_owned();
        format!("{}:\n{text}", self.log.display())
    }

    /// Asks it to end, and insists after a while.
    pub async fn stop(mut self) {
        // An error means that it has ended already.
        let _ = kill(Pid::from_raw(self.id.cast_signed()), Signal::SIGTERM);
        if tokio::time::timeout(Duration::from_secs(STOP_SECONDS), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// An account made on the command line, beside the running server.
pub async fn create_user(program: &Path, directory: &Path, name: &str, password: &str) -> Result<()> {
    let mut command = command(program);
    command.args(["admin", "create-user", name, "--data-dir"]).arg(data_dir(directory));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("piped above")?;
    stdin.write_all(format!("{password}\n").as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "admin create-user {name}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

pub fn data_dir(directory: &Path) -> PathBuf {
    directory.join("hythe")
}

/// A program without what would configure it from the surrounding environment.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("HYTHE_") || text.starts_with("REGISTRY_") || text == "DATABASE_URL" {
            command.env_remove(&name);
        }
    }
    command
}
