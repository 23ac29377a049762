//! Creating, starting and stopping the server process. Runs on the supervisor's thread and may block.
//!
//! Invariant: data directories appear complete or not at all: `initdb` works beside and the result is renamed.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::place::{self, Account, Binaries, io};
use super::{Error, OWNER};
use crate::EmbeddedConfig;

/// Part of the socket's name only; nothing listens on a port.
pub(super) const PORT: u16 = 5432;

/// The log is put aside at a start when it has grown beyond this, in bytes. One old log is kept.
const LOG_BYTES_MAX: u64 = 10 << 20;

/// How much of the log an error shows, in bytes.
const LOG_TAIL_BYTES: u64 = 2000;

/// A server of an earlier process gets this long for its checkpoint.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings that win over `postgresql.conf`, so that an edited file cannot weaken them.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("cluster_name", "hythe"),
    ("max_connections", "200"),
    ("shared_buffers", "128MB"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    // Short statements only: compiling them costs more than it saves.
    ("jit", "off"),
    // Two cores, and the shared memory of containers is too small for parallel plans.
    ("max_parallel_workers_per_gather", "0"),
    ("huge_pages", "off"),
    ("logging_collector", "off"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    ("log_timezone", "UTC"),
    ("timezone", "UTC"),
];

/// Everything needed to start the server any number of times. Holds the lock of the data directory.
pub(super) struct Server {
    binaries: Binaries,
    account: Option<Account>,
    cluster: PathBuf,
    socket_dir: PathBuf,
    log: PathBuf,
    settings: Vec<(&'static str, &'static str)>,
    _lock: Flock<File>,
}

impl Server {
    /// Finds the programs and the account, takes the lock, ends what an earlier process left running and creates
    /// the data at the first start.
    pub(super) fn prepare(
        data_dir: &Path,
        config: &EmbeddedConfig,
        settings: &[(&'static str, &'static str)],
    ) -> Result<Self, Error> {
        fs::create_dir_all(data_dir).map_err(io("cannot create", data_dir))?;
        let data_dir = &fs::canonicalize(data_dir).map_err(io("cannot look at", data_dir))?;
        let lock = lock(data_dir)?;
        let cluster = place::cluster(data_dir);
        let account = place::account(&cluster, config)?;
        place::open_way(data_dir, account.as_ref())?;
        let binaries = place::binaries(&cluster, config)?;
        if let Some(account) = &account {
            // Programs below a closed home directory can be seen by root and not run by the account.
            let dir = fs::canonicalize(&binaries.dir).map_err(io("cannot look at", &binaries.dir))?;
            place::check_way(&dir, account)?;
        }
        let socket_dir = place::socket_dir(data_dir);
        let server = Self {
            socket_dir,
            log: data_dir.join("postgres.log"),
            settings: SETTINGS.iter().chain(settings).copied().collect(),
            binaries,
            account,
            cluster,
            _lock: lock,
        };
        end_leftovers(&server.cluster)?;
        place::private_directory(&server.socket_dir, server.account.as_ref())?;
        if !server.cluster.join("PG_VERSION").exists() {
            server.create()?;
        }
        Ok(server)
    }

    pub(super) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of the log, for an error text.
    pub(super) fn log_tail(&self) -> String {
        let tail = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        tail().unwrap_or_default()
    }

    /// Starts the server process and does not wait for it to answer.
    pub(super) fn spawn(&self) -> Result<Running, Error> {
        let log = self.open_log()?;
        let other = log.try_clone().map_err(io("cannot write", &self.log))?;
        let mut command = self.command("postgres", &self.cluster);
        command.arg("-D").arg(&self.cluster).arg("-p").arg(PORT.to_string());
        let mut socket = std::ffi::OsString::from("unix_socket_directories=\"");
        socket.push(&self.socket_dir);
        socket.push("\"");
        command.arg("-c").arg(socket);
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let child = command
            .stdout(log)
            .stderr(other)
            .spawn()
            .map_err(io("cannot start PostgreSQL in", &self.binaries.dir))?;
        Ok(Running { child })
    }

    /// As [`Server::spawn`], after a crash: sessions of the dead server still use its shared memory for a moment.
    pub(super) fn respawn(&self) -> Result<Running, Error> {
        end_leftovers(&self.cluster)?;
        self.spawn()
    }

    fn create(&self) -> Result<(), Error> {
        if fs::read_dir(&self.cluster).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::NotACluster { path: self.cluster.clone() });
        }
        let draft = self.cluster.with_extension("new");
        match fs::remove_dir_all(&draft) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("cannot remove", &draft)(err));
            }
            _ => {}
        }
        place::private_directory(&draft, self.account.as_ref())?;
        let mut command = self.command("initdb", &draft);
        command.arg("-D").arg(&draft).args(["-U", OWNER, "--auth-local=trust", "--auth-host=reject"]).args([
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--no-instructions",
        ]);
        if self.settings.contains(&("fsync", "off")) {
            command.arg("--no-sync");
        }
        let output = command.output().map_err(io("cannot run initdb in", &self.binaries.dir))?;
        if !output.status.success() {
            fs::remove_dir_all(&draft).ok();
            return Err(Error::Create { output: String::from_utf8_lossy(&output.stderr).trim().to_owned() });
        }
        fs::rename(&draft, &self.cluster).map_err(io("cannot create", &self.cluster))?;
        tracing::info!(path = %self.cluster.display(), major = self.binaries.major, "embedded PostgreSQL created");
        Ok(())
    }

    /// A program of PostgreSQL, as the account of the server, bound to the life of this thread.
    fn command(&self, program: &str, directory: &Path) -> Command {
        let mut command = Command::new(self.binaries.dir.join(program));
        command
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", "/usr/bin:/bin")
            .current_dir(directory)
            .stdin(Stdio::null())
            // A Ctrl-C on the terminal is for Hythe, which stops the server when it is done with it.
            .process_group(0);
        if let Some(account) = &self.account {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        die_with_this_thread(&mut command);
        command
    }

    fn open_log(&self) -> Result<File, Error> {
        if fs::metadata(&self.log).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
            fs::rename(&self.log, self.log.with_extension("log.old"))
                .map_err(io("cannot rename", &self.log))?;
        }
        File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.log)
            .map_err(io("cannot write", &self.log))
    }
}

/// Asks the kernel to stop the program fast when the thread that starts it ends, whatever ends it.
#[expect(
    unsafe_code,
    reason = "what runs between fork and exec is unsafe by nature; two system calls are allowed there"
)]
fn die_with_this_thread(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // SAFETY: the closure allocates nothing, takes no lock and makes only async-signal-safe system calls. The
    // standard library runs it after the change of account, which would clear the setting.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGINT)?;
            // The parent may have died before the line above.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
        });
    }
}

/// A server process. Only this value reaps it, so its number cannot belong to somebody else.
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Fast shutdown; after `timeout` an immediate one, and at last the hard way.
    pub(super) fn stop(&mut self, timeout: Duration) {
        for (signal, patience) in [
            (Signal::SIGINT, timeout),
            (Signal::SIGQUIT, Duration::from_secs(5)),
            (Signal::SIGKILL, Duration::from_secs(5)),
        ] {
            if self.ended().is_some() {
                return;
            }
            if let Ok(pid) = i32::try_from(self.child.id()) {
                kill(Pid::from_raw(pid), signal).ok();
            }
            let started = Instant::now();
            while started.elapsed() < patience {
                if self.ended().is_some() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            tracing::warn!(%signal, "the embedded PostgreSQL did not stop in time");
        }
    }
}

/// One process per data directory. The kernel releases the lock with the process.
fn lock(data_dir: &Path) -> Result<Flock<File>, Error> {
    let path = data_dir.join("postgres.lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io("cannot write", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => Error::InUse { data_dir: data_dir.to_owned() },
        errno => io("cannot lock", &path)(errno.into()),
    })
}

/// Waits until nobody works on the data any more. The lock is ours, so whoever does has lost its parent; the
/// kernel has told it to stop, and this tells it again.
fn end_leftovers(cluster: &Path) -> Result<(), Error> {
    let started = Instant::now();
    let mut told = None;
    loop {
        let Some(first) = place::processes_in(cluster).into_iter().min() else {
            place::forget_dead_server(cluster)?;
            return Ok(());
        };
        let server = place::recorded_pid(cluster).filter(|pid| place::processes_in(cluster).contains(pid));
        if server.is_some() && told != server {
            told = server;
            server.map(|pid| kill(pid, Signal::SIGINT));
            tracing::info!("waiting for the PostgreSQL of an earlier process to stop");
        }
        if started.elapsed() > LEFTOVER_TIMEOUT {
            return Err(Error::Leftover {
                pid: server.unwrap_or(first).as_raw(),
                cluster: cluster.to_owned(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
