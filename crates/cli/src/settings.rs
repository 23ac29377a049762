//! The start-up configuration: embedded defaults, then one file, then `REGISTRY_…` variables, then `HYTHE_…`
//! variables, then flags.
//!
//! The only place that reads the environment and the only place that knows the order. Every problem is
//! reported, with its file and line or the name of the variable, before anything starts. Defaults exist only
//! in `deploy/config/hythe.default.yaml`: a key missing there is a bug that a test finds.
//!
//! Values of secret keys leave this module only inside the typed sections; what is shown is masked.

mod check;
mod client;
mod compat;
mod describe;
mod merge;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use sealed::Secret;
use serde::Deserialize;

pub use client::{Client, secret_from};
pub use describe::{Description, describe, markdown};
pub use merge::{Merged, Source};

/// The known key or section that `key` is most likely a slip of.
pub fn nearest(key: &str) -> Option<String> {
    Merged::defaults().nearest(key).map(str::to_owned)
}

/// The file with every key, its default and its comment.
pub const DEFAULTS: &str = include_str!("../../../deploy/config/hythe.default.yaml");

/// Read when there is one and `--config` names no other.
const DEFAULT_FILE: &str = "/etc/hythe/hythe.yaml";
const PREFIX: &str = "HYTHE_";
const ADMIN_PASSWORD: &str = "HYTHE_ADMIN_PASSWORD";
const ADMIN_PASSWORD_FILE: &str = "HYTHE_ADMIN_PASSWORD_FILE";
/// A password file is one line; more than this is a mistake.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Keys whose values are never shown and that may also be given as a file.
pub(crate) const SECRET_KEYS: &[&str] =
    &["database.url", "database.owner_url", "storage.s3.access_key", "storage.s3.secret_key"];

/// Everything a process needs before it can reach the database.
#[derive(Clone)]
pub struct Settings {
    /// Absolute.
    pub data_dir: PathBuf,
    pub http: serve::Config,
    pub database: database::Config,
    pub storage: Storage,
    pub worker: queue::Config,
    pub secrets: Secrets,
    pub log: serve::telemetry::Config,
    pub identity: identity::Config,
    pub tenancy: tenancy::Config,
    pub catalog: catalog::Config,
    pub registry: registry::Config,
    pub gateway: gateway::Config,
}

/// The `storage` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    pub driver: Driver,
    pub filesystem: Filesystem,
    pub s3: blobstore::S3Config,
}

/// The kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    Filesystem,
    S3,
}

/// A store in local directories.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filesystem {
    /// Unset: below the data directory.
    pub root: Option<PathBuf>,
    /// Instead of `root`, when there are several.
    pub roots: Vec<PathBuf>,
    /// A directory with less free space gets no new uploads.
    pub reserve_mib: u64,
    pub fsync: bool,
    pub verify_reads: bool,
}

/// The `secrets` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Unset: in the data directory.
    pub master_key_file: Option<PathBuf>,
}

impl Settings {
    /// Where blobs are kept: one directory at least.
    pub fn blob_roots(&self) -> Vec<PathBuf> {
        let Filesystem { root, roots, .. } = &self.storage.filesystem;
        match (roots.as_slice(), root) {
            ([], Some(root)) => vec![root.clone()],
            ([], None) => vec![self.data_dir.join("blobs")],
            (several, _) => several.to_vec(),
        }
    }

    /// Where the master key is kept.
    pub fn master_key_file(&self) -> PathBuf {
        let own = self.secrets.master_key_file.clone();
        own.unwrap_or_else(|| self.data_dir.join("master-key"))
    }
}

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    pub listen: Option<String>,
    pub ops_listen: Option<String>,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line:column`, the name of a variable or a flag; empty when it is nowhere in particular.
    pub place: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.place, self.message)
        }
    }
}

/// The configuration is not usable; all reasons at once.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A usable configuration and where each value comes from.
pub struct Loaded {
    pub settings: Settings,
    pub merged: Merged,
    /// What was set and has no effect.
    pub warnings: Vec<String>,
}

/// Reads the configuration of this process.
pub fn load(flags: &Flags) -> Result<Loaded, Problems> {
    load_from(flags, &Environment::of_process())
}

/// The same with a given environment, for tests.
pub fn load_from(flags: &Flags, environment: &Environment) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut merged = Merged::defaults();
    if let Some((path, text)) = read_file(flags, environment, &mut problems) {
        merged.add_file(&path, &text, &mut problems);
    }
    merged.add_registry_environment(environment, &mut problems, &mut warnings);
    merged.add_environment(environment, &mut problems);
    merged.add_flags(flags);
    let settings = typed(&merged, environment, &mut problems);
    if let Some(settings) = &settings {
        check::check(settings, &merged, &mut problems);
    }
    match settings {
        Some(settings) if problems.is_empty() => Ok(Loaded { settings, merged, warnings }),
        _ => Err(Problems(problems)),
    }
}

/// The configuration file's path and text; `None` when there is none or it cannot be read.
fn read_file(
    flags: &Flags,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<(PathBuf, String)> {
    let named = flags.config.clone().or_else(|| environment.config_file());
    let path = match named {
        Some(path) => path,
        None if environment.reads_default_file && Path::new(DEFAULT_FILE).exists() => DEFAULT_FILE.into(),
        None => return None,
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Some((path, text)),
        Err(error) => {
            problems.push(Problem {
                place: path.display().to_string(),
                message: format!("the configuration file cannot be read: {error}"),
            });
            None
        }
    }
}

/// The typed sections; problems are told key by key.
fn typed(merged: &Merged, environment: &Environment, problems: &mut Vec<Problem>) -> Option<Settings> {
    let data_dir: Option<Option<PathBuf>> = merged.section("data_dir", problems);
    let http = merged.section("http", problems);
    let database = merged.section("database", problems);
    let storage = merged.section("storage", problems);
    let worker = merged.section("worker", problems);
    let secrets = merged.section("secrets", problems);
    let log = merged.section("log", problems);
    let identity = merged.section("identity", problems);
    let tenancy = merged.section("tenancy", problems);
    let catalog = merged.section("catalog", problems);
    let registry = merged.section("registry", problems);
    let gateway = merged.section("gateway", problems);
    let data_dir = match data_dir?.or_else(|| environment.default_data_dir()) {
        Some(data_dir) => data_dir,
        None => {
            problems.push(Problem {
                place: String::new(),
                message: "no data directory: set --data-dir, as neither XDG_DATA_HOME nor HOME is set"
                    .to_owned(),
            });
            return None;
        }
    };
    let data_dir = match std::path::absolute(&data_dir) {
        Ok(data_dir) => data_dir,
        Err(error) => {
            problems.push(Problem {
                place: merged.place("data_dir"),
                message: format!("data_dir: {} is not a path: {error}", data_dir.display()),
            });
            return None;
        }
    };
    Some(Settings {
        data_dir,
        http: http?,
        database: database?,
        storage: storage?,
        worker: worker?,
        secrets: secrets?,
        log: log?,
        identity: identity?,
        tenancy: tenancy?,
        catalog: catalog?,
        registry: registry?,
        gateway: gateway?,
    })
}

/// The environment as far as it concerns Hythe, without the administrator's password.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    /// Whether `/etc/hythe/hythe.yaml` is looked at; tests do not want the machine's.
    pub reads_default_file: bool,
    is_root: bool,
}

impl Environment {
    /// The real one.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| {
                [PREFIX, compat::PREFIX].iter().any(|prefix| name.starts_with(prefix))
                    || name == "XDG_DATA_HOME"
                    || name == "HOME"
            })
            .filter(|(name, _)| {
                name != ADMIN_PASSWORD && name != ADMIN_PASSWORD_FILE && name != client::PASSWORD
            })
            .collect();
        Self { variables, reads_default_file: true, is_root: nix::unistd::Uid::effective().is_root() }
    }

    /// A made-up one, for tests.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self {
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
                .collect(),
            reads_default_file: false,
            is_root: false,
        }
    }

    fn config_file(&self) -> Option<PathBuf> {
        self.path("HYTHE_CONFIG")
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    fn default_data_dir(&self) -> Option<PathBuf> {
        if self.is_root {
            return Some("/var/lib/hythe".into());
        }
        let base = match self.path("XDG_DATA_HOME").filter(|path| path.is_absolute()) {
            Some(base) => base,
            None => self.path("HOME")?.join(".local/share"),
        };
        Some(base.join("hythe"))
    }

    /// Variables that may be the distribution registry's, by name without their prefix.
    fn registry_settings(&self) -> impl Iterator<Item = (&str, &OsString)> {
        self.variables.iter().filter_map(|(name, value)| Some((name.strip_prefix(compat::PREFIX)?, value)))
    }

    /// Variables that set keys, by name without the prefix: those with a section (`HTTP__ADDR`) and
    /// `DATA_DIR`. Others (`HYTHE_PORT`, which Kubernetes makes from a service's name) are not ours to judge.
    fn settings(&self) -> impl Iterator<Item = (&str, &OsString)> {
        self.variables.iter().filter_map(|(name, value)| {
            let short = name.strip_prefix(PREFIX)?;
            (short.contains("__") || short == "DATA_DIR").then_some((short, value))
        })
    }
}

/// The first administrator's password from `HYTHE_ADMIN_PASSWORD` or `HYTHE_ADMIN_PASSWORD_FILE`. To be read
/// only while there is no administrator; both at once are refused, because one of them is not what was meant.
pub fn admin_password() -> Result<Option<Secret>, Problem> {
    let direct = std::env::var_os(ADMIN_PASSWORD).filter(|value| !value.is_empty());
    let file = std::env::var_os(ADMIN_PASSWORD_FILE).filter(|value| !value.is_empty());
    let problem = |place: &str, message: String| Problem { place: place.to_owned(), message };
    match (direct, file) {
        (Some(_), Some(_)) => {
            Err(problem(ADMIN_PASSWORD, format!("{ADMIN_PASSWORD_FILE} is set too; set one of them")))
        }
        (Some(value), None) => match value.into_string() {
            Ok(text) => Ok(Some(Secret::new(text.into_bytes()))),
            Err(_) => Err(problem(ADMIN_PASSWORD, "not UTF-8".to_owned())),
        },
        (None, Some(path)) => match secret_file(Path::new(&path)) {
            Ok(text) => Ok(Some(Secret::new(text.into_bytes()))),
            Err(error) => Err(problem(ADMIN_PASSWORD_FILE, error)),
        },
        (None, None) => Ok(None),
    }
}

/// A file that holds one secret; one newline at its end is not part of it.
fn secret_file(path: &Path) -> Result<String, String> {
    let named = |reason: String| format!("{} {reason}", path.display());
    let length = std::fs::metadata(path).map_err(|error| named(format!("cannot be read: {error}")))?.len();
    if length > SECRET_FILE_BYTES_MAX {
        return Err(named("is too large for one secret".to_owned()));
    }
    let mut text =
        std::fs::read_to_string(path).map_err(|error| named(format!("cannot be read: {error}")))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(named("is empty".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn load_text(text: &str, environment: &Environment) -> Result<Loaded, Problems> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hythe.yaml");
        std::fs::write(&path, text).unwrap();
        let flags = Flags { config: Some(path), data_dir: Some("/data".into()), ..Flags::default() };
        load_from(&flags, environment)
    }

    fn problems(text: &str, environment: &Environment) -> Vec<String> {
        let Err(Problems(problems)) = load_text(text, environment) else {
            return Vec::new();
        };
        problems
            .iter()
            .map(|problem| {
                let text = problem.to_string();
                match text.split_once("hythe.yaml:") {
                    Some((_, rest)) => rest.to_owned(),
                    None => text,
                }
            })
            .collect()
    }

    #[test]
    fn the_embedded_file_alone_is_complete() {
        let environment = Environment::of([("HOME", "/home/ana")]);
        let Ok(loaded) = load_from(&Flags::default(), &environment) else {
            panic!("{}", load_from(&Flags::default(), &environment).err().unwrap());
        };
        let settings = loaded.settings;
        assert_eq!(settings.data_dir, Path::new("/home/ana/.local/share/hythe"));
        assert_eq!(settings.http.addr, "0.0.0.0:8080");
        assert_eq!(settings.http.ops_addr, "127.0.0.1:9090");
        assert_eq!(settings.database.url, None);
        assert_eq!(settings.blob_roots(), [settings.data_dir.join("blobs")]);
    }

    /// The keys a typed section knows, as its refusal of an unknown one lists them.
    fn fields<T: serde::de::DeserializeOwned>() -> Vec<String> {
        let refused = serde_json::from_value::<T>(serde_json::json!({ "no such key": 1 }));
        let text = refused.err().unwrap().to_string();
        text.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_key_of_a_typed_section_is_in_the_embedded_file() {
        let merged = Merged::defaults();
        let known: Vec<&str> = merged.keys().collect();
        for (section, fields) in [
            ("http", fields::<serve::Config>()),
            ("http.limits", fields::<serve::Limits>()),
            ("database", fields::<database::Config>()),
            ("database.embedded", fields::<database::EmbeddedConfig>()),
            ("storage", fields::<Storage>()),
            ("storage.filesystem", fields::<blobstore::Config>()),
            ("storage.s3", fields::<blobstore::S3Config>()),
            ("worker", fields::<queue::Config>()),
            ("secrets", fields::<Secrets>()),
            ("log", fields::<serve::telemetry::Config>()),
            ("identity", fields::<identity::Config>()),
            ("tenancy", fields::<tenancy::Config>()),
            ("catalog", fields::<catalog::Config>()),
            ("registry", fields::<registry::Config>()),
            ("gateway", fields::<gateway::Config>()),
            ("gateway.upstreams", fields::<gateway::Upstreams>()),
        ] {
            assert!(!fields.is_empty(), "{section}");
            for field in fields {
                let key = format!("{section}.{field}");
                let inner = format!("{key}.");
                let found = known.iter().any(|known| *known == key || known.starts_with(&inner));
                assert!(found, "{key} is missing");
            }
        }
    }

    #[test]
    fn later_sources_win_and_are_named() {
        let environment = Environment::of([
            ("HYTHE_HTTP__ADDR", "127.0.0.1:2"),
            ("HYTHE_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
            ("HYTHE_HTTP__ACCESS_LOG", "false"),
            ("HYTHE_HTTP__EXTERNAL_URL", ""),
            ("HYTHE_PORT", "tcp://10.0.0.1:80"),
        ]);
        let text = "http:\n  addr: 127.0.0.1:1\n  keep_alive_seconds: 9\n  external_url: http://r.example\n";
        let loaded = load_text(text, &environment).map_err(|problems| problems.to_string()).unwrap();
        let http = &loaded.settings.http;
        assert_eq!(http.addr, "127.0.0.1:2");
        assert_eq!(http.keep_alive_seconds, 9);
        assert_eq!(http.trusted_proxies, ["10.0.0.0/8", "::1"]);
        assert!(!http.access_log);
        assert_eq!(http.external_url, None);
        let shown = loaded.merged.render(true);
        assert!(shown.contains("addr: \"127.0.0.1:2\"  # HYTHE_HTTP__ADDR"), "{shown}");
        assert!(shown.contains("hythe.yaml:3"), "{shown}");
        assert!(shown.contains("data_dir: \"/data\"  # --data-dir"), "{shown}");
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_place() {
        let text = "http:\n  adr: x\n  workers: many\n  drain_delay_ms: -1\nwroker:\n  poll_ms: 1\ncatalog: 5\nlog:\n  format: xml\n";
        let environment = Environment::of([
            ("HYTHE_HTTP__KEEP_ALIVE_SECONDS", "soon"),
            ("HYTHE_STORAGE__FILESYSTEM__ROTO", "/x"),
        ]);
        let problems = problems(text, &environment);
        let expected = [
            "2:3: unknown key http.adr; did you mean http.addr?",
            "3:3: http.workers",
            "4:3: http.drain_delay_ms",
            "5:1: unknown key wroker; did you mean worker?",
            "7:1: catalog is a section",
            "9:3: log.format",
            "HYTHE_HTTP__KEEP_ALIVE_SECONDS: http.keep_alive_seconds",
            "HYTHE_STORAGE__FILESYSTEM__ROTO: unknown key storage.filesystem.roto; did you mean storage.filesystem.root?",
        ];
        for start in expected {
            assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start} in {problems:#?}");
        }
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    }

    #[test]
    fn values_are_checked_beyond_their_type() {
        let cases = [
            ("http:\n  addr: nowhere\n", "2:3: http.addr"),
            ("http:\n  addr: \"1.2.3.4:99999\"\n", "2:3: http.addr"),
            ("http:\n  external_url: ftp://x\n", "2:3: http.external_url"),
            ("http:\n  external_url: http://u:p@x\n", "2:3: http.external_url"),
            ("http:\n  external_url: http://x/sub\n", "2:3: http.external_url"),
            ("http:\n  external_url: https://x\n", "2:3: http.external_url"),
            ("http:\n  trusted_proxies: [10.0.0.0/99]\n", "2:3: http.trusted_proxies"),
            ("log:\n  level: \"hythe=loud\"\n", "2:3: log.level"),
            ("identity:\n  token_minutes: 0\n", "2:3: identity.token_minutes"),
            ("database:\n  owner_url: postgres://x/y\n", "2:3: database.owner_url"),
            ("storage:\n  driver: floppy\n", "2:3: storage.driver"),
            ("http:\n  limits:\n    head_timeout_seconds: 0\n", "3:5: http.limits.head_timeout_seconds"),
            ("gateway:\n  upstreams:\n    registry: [\"https://x\"]\n", "3:5: gateway.upstreams.registry"),
            ("gateway:\n  health_path: readyz\n", "2:3: gateway.health_path"),
            ("storage:\n  s3:\n    encryption: rot13\n", "3:5: storage.s3.encryption"),
            ("storage:\n  filesystem:\n    roots: [a]\n", "3:5: storage.filesystem.roots: \"a\" is not"),
            ("storage:\n  filesystem:\n    roots: [/a, /a]\n", "3:5: storage.filesystem.roots: /a is named"),
            (
                "storage:\n  filesystem:\n    root: /a\n    roots: [/b]\n",
                "4:5: storage.filesystem.roots: storage.filesystem.root is set too",
            ),
        ];
        for (text, start) in cases {
            let problems = problems(text, &Environment::default());
            assert_eq!(problems.len(), 1, "{text} {problems:?}");
            assert!(problems[0].starts_with(start), "{text} {problems:?}");
        }
        let fine = "http:\n  external_url: https://r.example:5000\n  trusted_proxies: [10.0.0.1]\n";
        assert_eq!(problems(fine, &Environment::default()), Vec::<String>::new());
    }

    #[test]
    fn secrets_come_from_files_too_and_are_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("url");
        std::fs::write(&file, "postgres://ana:hunter2@db/hythe\n").unwrap();
        let environment = Environment::of([("HYTHE_DATABASE__URL_FILE", file.to_str().unwrap())]);
        let loaded = load_text("", &environment).map_err(|problems| problems.to_string()).unwrap();
        assert_eq!(loaded.settings.database.url.as_deref(), Some("postgres://ana:hunter2@db/hythe"));
        assert!(!loaded.merged.render(true).contains("hunter2"));
        assert!(!loaded.merged.render(false).contains("hunter2"));
        let twice = Environment::of([
            ("HYTHE_DATABASE__URL_FILE", file.to_str().unwrap()),
            ("HYTHE_DATABASE__URL", "postgres://other/x"),
        ]);
        assert_eq!(problems("", &twice).len(), 1);
        let wrong = problems("", &Environment::of([("HYTHE_DATABASE__URL_FILE", "/nowhere/x")]));
        assert!(wrong[0].starts_with("HYTHE_DATABASE__URL_FILE: "), "{wrong:?}");
    }

    #[test]
    fn variables_of_the_distribution_registry_lie_between_file_and_own_variables() {
        let environment = Environment::of([
            ("REGISTRY_HTTP_ADDR", ":5000"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
            ("HYTHE_REGISTRY__DELETE_ENABLED", "true"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
            ("REGISTRY_HTTP_SECRET", "not shown"),
            ("REGISTRY_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
        ]);
        let loaded = load_text("http:\n  addr: 127.0.0.1:1\n", &environment)
            .map_err(|problems| problems.to_string())
            .unwrap();
        assert_eq!(loaded.settings.http.addr, "0.0.0.0:5000");
        assert!(loaded.settings.registry.delete_enabled);
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        assert!(loaded.warnings[0].starts_with("REGISTRY_AUTH_HTPASSWD_PATH has no effect: "));
        assert!(loaded.merged.render(true).contains("# REGISTRY_HTTP_ADDR"));
        let wrong = problems("", &Environment::of([("REGISTRY_HTTP_ADDR", "nowhere")]));
        assert!(wrong[0].starts_with("REGISTRY_HTTP_ADDR: http.addr"), "{wrong:?}");
    }

    #[test]
    fn a_bucket_is_asked_for_only_where_blobs_go_into_one() {
        let text = "storage:\n  driver: s3\n  s3:\n    part_mib: 4\n";
        let told = problems(text, &Environment::default());
        for key in ["bucket", "access_key", "secret_key", "part_mib"] {
            assert!(told.iter().any(|one| one.contains(&format!("storage.s3.{key}: "))), "{key} {told:?}");
        }
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(problems("storage:\n  s3:\n    part_mib: 4\n", &Environment::default()).len(), 0);
        let environment = Environment::of([
            ("HYTHE_STORAGE__S3__BUCKET", "blobs"),
            ("HYTHE_STORAGE__S3__ACCESS_KEY", "ana"),
            ("HYTHE_STORAGE__S3__SECRET_KEY", "hunter2"),
            ("HYTHE_STORAGE__S3__REDIRECT_NEVER", "Docker-Client/, containerd/1.3"),
        ]);
        let loaded = load_text("storage:\n  driver: s3\n", &environment)
            .map_err(|problems| problems.to_string())
            .unwrap();
        assert_eq!(loaded.settings.storage.s3.redirect_never, ["Docker-Client/", "containerd/1.3"]);
        assert!(!loaded.merged.render(true).contains("hunter2"));
        assert!(!format!("{:?}", loaded.settings.storage).contains("hunter2"));
    }

    #[test]
    fn a_file_that_is_not_yaml_is_one_problem_with_its_line() {
        let problems = problems("http:\n  addr: [\n", &Environment::default());
        assert_eq!(problems.len(), 1, "{problems:?}");
        let missing = Flags { config: Some("/nowhere/hythe.yaml".into()), ..Flags::default() };
        assert!(load_from(&missing, &Environment::of([("HOME", "/")])).is_err());
    }
}
