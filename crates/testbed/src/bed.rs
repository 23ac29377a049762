//! A running platform, and the people on it.
//!
//! Tests that leave each other alone share one server per test process: every name a test asks for
//! gets a random tail. Tests that kill or reconfigure the server start their own.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::process::{self, Addresses, Server};
use crate::rest::ProjectBuilder;
use crate::{Client, Credentials, Registry};

/// Lines of the server's log shown when a test fails.
const LOG_LINES: usize = 25;

/// How a server differs from the default one.
#[derive(Clone)]
pub struct Options {
    environment: Vec<(String, String)>,
    role: &'static str,
    data_directory: Option<PathBuf>,
    operations: Option<String>,
    secrets_directory: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            environment: Vec::new(),
            role: "serve",
            data_directory: None,
            operations: None,
            secrets_directory: None,
        }
    }
}

impl Options {
    /// Sets an environment variable of the server, such as `HYTHE_REGISTRY__DELETE_ENABLED`.
    pub fn set(mut self, name: &str, value: &str) -> Options {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs one role, such as `registry`, on a data directory that other roles share.
    pub fn role(mut self, role: &'static str, data_directory: &Path) -> Options {
        self.role = role;
        self.data_directory = Some(data_directory.to_owned());
        self
    }

    /// Answers for its health at this address, so that it can be asked before it says where it listens.
    pub fn operations(mut self, address: &str) -> Options {
        self.operations = Some(address.to_owned());
        self
    }

    /// Hands secrets over in private files of this directory: what stands in the environment of a process can be
    /// read in /proc.
    pub fn secrets_in_files(mut self, directory: &Path) -> Options {
        self.secrets_directory = Some(directory.to_owned());
        self
    }
}

/// Variables that hold a secret; each has a twin that names a file.
const SECRETS: &[&str] = &[
    "HYTHE_ADMIN_PASSWORD",
    "HYTHE_DATABASE__URL",
    "HYTHE_DATABASE__OWNER_URL",
    "HYTHE_STORAGE__S3__SECRET_KEY",
];

/// The variable, or its twin and the file.
fn in_file(directory: &Path, (name, value): (String, String)) -> (String, String) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if !SECRETS.contains(&name.as_str()) {
        return (name, value);
    }
    let path = directory.join(format!("{name}-{:08x}", rand::random::<u32>()));
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(value.as_bytes())).expect("the directory of a test");
    (format!("{name}_FILE"), path.display().to_string())
}

/// A handle on a running platform. Clones talk to the same server.
#[derive(Clone)]
pub struct Bed {
    shared: Arc<Shared>,
    http: reqwest::Client,
}

struct Shared {
    server: Mutex<Server>,
    admin_password: String,
}

impl Bed {
    /// The server of this test process, started by whoever comes first.
    pub async fn shared() -> Bed {
        static SHARED: OnceCell<Result<Arc<Shared>, String>> = OnceCell::const_new();
        match SHARED.get_or_init(|| Shared::start(Options::default())).await {
            Ok(shared) => Bed::new(shared.clone()),
            Err(err) => panic!("the shared server did not start: {err}"),
        }
    }

    /// A server of its own, stopped when the last handle goes.
    pub async fn own(options: Options) -> Bed {
        match Shared::start(options).await {
            Ok(shared) => Bed::new(shared),
            Err(err) => panic!("the server did not start: {err}"),
        }
    }

    /// A server that may have to wait for something before it serves; see [`Bed::wait_started`]. Its health is
    /// at the address of [`Options::operations`], which has to be given.
    pub fn begun(options: Options) -> Bed {
        let address = options.operations.clone().expect("an address for health");
        let (mut server, admin_password) = Shared::server_of(options);
        server.begin(Some(&address)).unwrap_or_else(|err| panic!("{err}"));
        server.expect_operations(address);
        Bed::new(Arc::new(Shared { server: Mutex::new(server), admin_password }))
    }

    /// Waits until a begun server serves.
    pub async fn wait_started(&self) {
        let shared = self.shared.clone();
        let runtime = tokio::runtime::Handle::current();
        let listening =
            tokio::task::spawn_blocking(move || runtime.block_on(shared.server().listening())).await;
        listening.expect("it was waited for").unwrap_or_else(|err| panic!("{err}"));
        self.wait_ready().await.unwrap_or_else(|err| panic!("{err}"));
    }

    /// Status of one of the operations endpoints, such as `/readyz`; None when nobody answers.
    pub async fn health(&self, path: &str) -> Option<u16> {
        let answer = self.http.get(format!("{}{path}", self.operations_url())).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    /// Asks the server to end, without waiting.
    pub fn terminate(&self) {
        self.shared.server().terminate();
    }

    /// The exit code of a server that ends by itself within `limit`.
    pub async fn ended(&self, limit: Duration) -> Option<i32> {
        let shared = self.shared.clone();
        let ended = tokio::task::spawn_blocking(move || shared.server().ended(limit));
        ended.await.expect("it was waited for")
    }

    /// The HTTP client is made per handle: its connections belong to the test's runtime.
    fn new(shared: Arc<Shared>) -> Bed {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a plain HTTP client");
        Bed { shared, http }
    }

    /// `http://host:port` of the public listener, as of now: a restart moves it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addresses().public)
    }

    /// `http://host:port` of the operations listener.
    pub fn operations_url(&self) -> String {
        format!("http://{}", self.addresses().operations)
    }

    pub fn addresses(&self) -> Addresses {
        self.shared.server().addresses().clone()
    }

    pub fn data_directory(&self) -> PathBuf {
        self.shared.server().data_directory()
    }

    /// Process id of the server.
    pub fn process_id(&self) -> u32 {
        self.shared.server().id().expect("the server runs")
    }

    /// What the server has logged since it was last started.
    pub fn log(&self) -> String {
        self.shared.server().log()
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A client of the public listener.
    pub fn client(&self, credentials: Credentials) -> Client {
        Client::new(self.clone(), credentials)
    }

    /// A client without credentials.
    pub fn nobody(&self) -> Client {
        self.client(Credentials::Nobody)
    }

    /// `/v2` without credentials.
    pub fn registry(&self) -> Registry {
        Registry::new(self.nobody())
    }

    /// The first administrator.
    pub fn admin(&self) -> User {
        User { bed: self.clone(), name: "admin".to_owned(), password: self.shared.admin_password.clone() }
    }

    /// Makes a user whose name starts with `name`.
    pub async fn user(&self, name: &str) -> User {
        let user = User { bed: self.clone(), name: self.unique(name), password: random_password() };
        let arguments = ["admin", "create-user", &user.name, "--password-stdin"];
        let output = self.run(&arguments, &format!("{}\n", user.password)).await;
        assert!(
            output.status.success(),
            "create-user {}: {}",
            user.name,
            String::from_utf8_lossy(&output.stderr)
        );
        user
    }

    /// Makes a robot that never ends, with the given level and permissions, as the administrator.
    pub async fn robot(&self, level: &str, permissions: serde_json::Value) -> User {
        let name = self.unique("robot");
        let body =
            serde_json::json!({"name": name, "level": level, "duration": -1, "permissions": permissions});
        let made = self.admin().client().post("/api/v2.0/robots", body).await.expect(201).json();
        let text = |key: &str| made[key].as_str().unwrap_or_else(|| panic!("{key} in {made}")).to_owned();
        User { bed: self.clone(), name: text("name"), password: text("secret") }
    }

    /// A project whose name starts with `name`; made by `create()`.
    pub fn project(&self, name: &str) -> ProjectBuilder {
        ProjectBuilder::new(self.clone(), self.unique(name))
    }

    /// `name` with a random tail, so that tests on one server do not meet.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{:08x}", rand::random::<u32>())
    }

    /// Runs `hythe <arguments> --data-dir …` beside the running server.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let command = self.shared.server().one_shot(&arguments);
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || process::output(command, &input));
        output.await.expect("the command was started")
    }

    /// Ends the server without a chance to clean up.
    pub fn kill_9(&self) {
        self.shared.server().kill_9();
    }

    /// Ends the server in good order. Fails when it had to be killed.
    pub fn stop(&self) {
        assert!(self.shared.server().stop(), "the server did not end when asked to");
    }

    /// Starts the server again on the same data directory and waits until it is ready.
    pub async fn restart(&self) {
        // The lock is held across awaits of this task only; nobody else has a reason to look meanwhile.
        let shared = self.shared.clone();
        let runtime = tokio::runtime::Handle::current();
        let started = tokio::task::spawn_blocking(move || {
            let mut server = shared.server();
            server.stop();
            runtime.block_on(server.start())
        });
        if let Err(err) = started.await.expect("the start was attempted") {
            panic!("the server did not start again: {err}");
        }
        self.wait_ready().await.unwrap_or_else(|err| panic!("{err}"));
    }

    /// Waits until `/readyz` says yes.
    pub async fn wait_ready(&self) -> Result<(), String> {
        wait_ready(&self.http, &self.addresses().operations).await
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        thread_local! {
            /// Handles have many clones; the log of a failed test is shown once.
            static SHOWN: Cell<bool> = const { Cell::new(false) };
        }
        if std::thread::panicking() && !SHOWN.replace(true) {
            let log = self.shared.server().log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("--- the server's last log lines ---\n{}\n---", tail.join("\n"));
        }
    }
}

impl Shared {
    async fn start(options: Options) -> Result<Arc<Shared>, String> {
        let (mut server, admin_password) = Shared::server_of(options);
        server.start().await?;
        let http = reqwest::Client::builder().no_proxy().build().map_err(|err| err.to_string())?;
        if let Err(err) = wait_ready(&http, &server.addresses().operations).await {
            return Err(format!("{err}\n{}", server.log()));
        }
        Ok(Arc::new(Shared { server: Mutex::new(server), admin_password }))
    }

    /// A server that has not been started, and the first administrator's password.
    fn server_of(options: Options) -> (Server, String) {
        let admin_password = random_password();
        let mut environment = vec![
            ("HYTHE_ADMIN_PASSWORD".to_owned(), admin_password.clone()),
            ("HYTHE_LOG__FORMAT".to_owned(), "json".to_owned()),
            // All tests share one address; what one of them gets wrong must not lock out the others.
            ("HYTHE_IDENTITY__LOGIN_FAILURES_PER_ADDRESS".to_owned(), "1000000".to_owned()),
        ];
        environment.extend(options.environment);
        if let Some(directory) = &options.secrets_directory {
            environment = environment.into_iter().map(|variable| in_file(directory, variable)).collect();
        }
        (Server::new(options.role, options.data_directory, environment), admin_password)
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        // A test that panicked while it held the lock left a server that is still good to look at.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait_ready(http: &reqwest::Client, operations: &str) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut last = String::new();
    while Instant::now() < deadline {
        match http.get(format!("http://{operations}/readyz")).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => last = format!("{} {}", answer.status(), answer.text().await.unwrap_or_default()),
            Err(err) => last = err.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("the server did not become ready: {last}"))
}

/// Somebody with a password.
#[derive(Clone)]
pub struct User {
    bed: Bed,
    pub name: String,
    pub password: String,
}

impl User {
    pub fn credentials(&self) -> Credentials {
        Credentials::Basic { name: self.name.clone(), password: self.password.clone() }
    }

    /// The same person with another secret in place of the password.
    pub fn with_password(&self, password: String) -> Self {
        Self { password, ..self.clone() }
    }

    /// The REST API and everything else, with Basic credentials.
    pub fn client(&self) -> Client {
        self.bed.client(self.credentials())
    }

    /// `/v2` with Basic credentials, as `curl -u` would.
    pub fn registry(&self) -> Registry {
        Registry::new(self.client())
    }

    /// `/v2` with a token for `scopes`, as docker would.
    pub async fn registry_with_token(&self, scopes: &[&str]) -> Registry {
        let token = self.client().token(scopes).await;
        Registry::new(self.bed.client(Credentials::Bearer(token)))
    }
}

/// Good enough for any password rule: upper, lower, digit, 128 bits.
fn random_password() -> String {
    format!("Aa1-{:032x}", rand::random::<u128>())
}
