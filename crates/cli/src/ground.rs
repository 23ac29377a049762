//! Where a process finds its database and master key: a database that is configured, the embedded server of a
//! running `hythe serve`, or the embedded server started here.
//!
//! Every path ends with the schema at this binary's version: brought there by this process when its account may,
//! by another one otherwise. Nothing here creates an installation unless it is asked to: a mistyped data directory
//! must not look like an empty registry.

use std::time::Duration;

use database::embedded::{self, Embedded};
use database::{Clock, Database, Migrate, Planned};
use sealed::{Keyring, Secret};

use crate::data_dir::{self, DataDir, read_master_key};
use crate::exit::{Exit, Failure, chain};
use crate::settings::Settings;

/// How long a database of one's own may take to appear at start-up, as in a compose file without an order.
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(120);
const DATABASE_POLL: Duration = Duration::from_secs(1);
/// How often a process that waits says so.
const WAITING_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A database with the current schema, and what has to be held while it is used.
pub struct Found {
    pub url: String,
    pub master_key: Secret,
    held: Held,
}

/// What ends with the command.
#[derive(Default)]
struct Held {
    embedded: Option<Embedded>,
    _data_dir: Option<DataDir>,
}

impl Found {
    /// Stops what was started. The pool must be closed before.
    pub async fn release(self) {
        stop(self.held).await;
    }
}

async fn stop(held: Held) {
    if let Some(embedded) = held.embedded {
        embedded.stop().await;
    }
}

/// For `hythe serve`: takes the data directory, makes what is missing, and waits for a database of one's own.
pub async fn take(settings: &Settings) -> Result<Found, Failure> {
    let data_dir = DataDir::open(&settings.data_dir).map_err(data_dir_failure)?;
    let (url, owner_url, embedded) = match &settings.database.url {
        Some(url) => (url.clone(), owner_url(settings, url), None),
        None => {
            let embedded = start_embedded(settings).await?;
            (embedded.url(), embedded.owner_url(), Some(embedded))
        }
    };
    let prepared = prepare(settings, &data_dir, &url, &owner_url).await;
    let held = Held { embedded, _data_dir: Some(data_dir) };
    match prepared {
        Ok(master_key) => Ok(Found { url, master_key, held }),
        Err(failure) => {
            stop(held).await;
            Err(failure)
        }
    }
}

/// For a process with single roles: the database is somebody else's, the data directory is shared.
pub async fn join(settings: &Settings) -> Result<Found, Failure> {
    let Some(url) = settings.database.url.clone() else {
        return Err(Failure::text(Exit::Configuration, "database.url is not set").remedy(
            "set database.url, or HYTHE_DATABASE__URL, to the PostgreSQL that all processes share; only `hythe serve` brings its own",
        ));
    };
    let data_dir = DataDir::share(&settings.data_dir).map_err(data_dir_failure)?;
    let master_key = prepare(settings, &data_dir, &url, &owner_url(settings, &url)).await?;
    Ok(Found { url, master_key, held: Held { embedded: None, _data_dir: Some(data_dir) } })
}

/// Sees to the schema and reads the master key, which a new installation gets here.
async fn prepare(
    settings: &Settings,
    data_dir: &DataDir,
    url: &str,
    owner_url: &str,
) -> Result<Secret, Failure> {
    let wait = Duration::from_secs(settings.database.schema_wait_seconds);
    patiently(wait, async || bring(settings, url, owner_url).await).await?;
    let file = settings.master_key_file();
    let fresh = !file.exists() && is_fresh(settings, url).await?;
    data_dir.master_key(&file, fresh).map_err(data_dir_failure)
}

async fn is_fresh(settings: &Settings, url: &str) -> Result<bool, Failure> {
    let asked = async {
        let config = database::Config { pool_max: 1, ..settings.database.clone() };
        let database = Database::connect(url, &config, Clock::system()).await?;
        let first = Keyring::is_first(&database).await;
        database.close().await;
        Ok::<_, anyhow::Error>(first?)
    };
    asked.await.map_err(|error| {
        Failure::new(Exit::Unreachable, error.context("the database cannot be asked for its master key"))
    })
}

/// For commands beside or without a running `hythe serve`. Fails when there is no installation.
pub async fn visit(settings: &Settings) -> Result<Found, Failure> {
    let master_key = read_master_key(&settings.master_key_file());
    let reached = reach(settings).await?;
    let prepared = async {
        let master_key = master_key.map_err(data_dir_failure)?;
        if !reached.is_running {
            bring(settings, &reached.url, &reached.owner_url).await.map_err(schema_failure)?;
        }
        Ok(master_key)
    };
    match prepared.await {
        Ok(master_key) => Ok(Found { url: reached.url, master_key, held: reached.held }),
        Err(failure) => {
            stop(reached.held).await;
            Err(failure)
        }
    }
}

/// For `hythe migrate`: brings the schema up to date, whatever `database.migrate` says, and tells how many
/// migrations that took. Needs neither master key nor blobs. Waits for a database of one's own as a start does.
pub async fn migrate(settings: &Settings) -> Result<usize, Failure> {
    with_database(settings, async |url, owner_url| {
        let role = app_role(settings, url);
        let report = database::migrate(owner_url, role.as_deref()).await?;
        Ok(report.applied.len())
    })
    .await
}

/// What [`migrate`] would apply.
pub async fn plan(settings: &Settings) -> Result<Vec<Planned>, Failure> {
    with_database(settings, async |_, owner_url| database::plan(owner_url).await).await
}

async fn with_database<T>(
    settings: &Settings,
    mut work: impl AsyncFnMut(&str, &str) -> Result<T, database::Error>,
) -> Result<T, Failure> {
    let reached = reach(settings).await?;
    // Nobody else will do it: what is missing now stays missing.
    let done = patiently(Duration::ZERO, async || work(&reached.url, &reached.owner_url).await).await;
    stop(reached.held).await;
    done
}

/// The database of an installation that is there.
struct Reached {
    url: String,
    owner_url: String,
    /// A running process has it in hand, its schema included.
    is_running: bool,
    held: Held,
}

async fn reach(settings: &Settings) -> Result<Reached, Failure> {
    if let Some(url) = &settings.database.url {
        let (url, owner_url) = (url.clone(), owner_url(settings, url));
        return Ok(Reached { url, owner_url, is_running: false, held: Held::default() });
    }
    if !settings.data_dir.join("postgres").exists() {
        let text = format!("there is no installation in {}", settings.data_dir.display());
        return Err(Failure::text(Exit::NotFound, text)
            .remedy("name its directory with --data-dir, or set database.url"));
    }
    match DataDir::open(&settings.data_dir) {
        Ok(data_dir) => {
            let embedded = start_embedded(settings).await?;
            let (url, owner_url) = (embedded.url(), embedded.owner_url());
            let held = Held { embedded: Some(embedded), _data_dir: Some(data_dir) };
            Ok(Reached { url, owner_url, is_running: false, held })
        }
        Err(data_dir::Error::InUse { .. }) => {
            let Some(urls) = Embedded::connect_existing(&settings.data_dir).await else {
                return Err(Failure::text(
                    Exit::Unreachable,
                    "hythe is running on this data directory, and its database does not answer",
                )
                .remedy("wait until it has started, and run this as the same account"));
            };
            let (url, owner_url) = (urls.url, urls.owner_url);
            Ok(Reached { url, owner_url, is_running: true, held: Held::default() })
        }
        Err(error) => Err(data_dir_failure(error)),
    }
}

async fn start_embedded(settings: &Settings) -> Result<Embedded, Failure> {
    Embedded::start(&settings.data_dir, &settings.database.embedded).await.map_err(|error| {
        let exit = match &error {
            embedded::Error::InUse { .. } | embedded::Error::Leftover { .. } => Exit::Conflict,
            embedded::Error::NoBinaries
            | embedded::Error::BadBinDir { .. }
            | embedded::Error::TooOld { .. }
            | embedded::Error::OtherMajor { .. }
            | embedded::Error::NoAccount { .. }
            | embedded::Error::NotTraversable { .. } => Exit::Configuration,
            embedded::Error::Io { .. } => Exit::Storage,
            _ => Exit::Failed,
        };
        Failure::new(exit, error)
    })
}

fn owner_url(settings: &Settings, url: &str) -> String {
    let own = settings.database.owner_url.clone();
    own.unwrap_or_else(|| url.to_owned())
}

/// The account that serves requests.
fn app_role(settings: &Settings, url: &str) -> Option<String> {
    settings.database.app_role.clone().or_else(|| role_of(url))
}

/// Brings the schema up to date if that is this process's to do; otherwise looks whether it is.
async fn bring(settings: &Settings, url: &str, owner_url: &str) -> Result<(), database::Error> {
    match settings.database.migrate {
        Migrate::Auto => database::migrate(owner_url, app_role(settings, url).as_deref()).await.map(drop),
        Migrate::Never => database::check_schema(url).await,
    }
}

/// Repeats `attempt` while the database is away, and for `schema_wait` while its schema is for others to bring.
/// Says what it waits for.
async fn patiently<T>(
    schema_wait: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, database::Error>,
) -> Result<T, Failure> {
    let (mut away, mut behind) = (None, None);
    let mut told: Option<tokio::time::Instant> = None;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let now = tokio::time::Instant::now();
        let patient = if error.is_unavailable() {
            now - *away.get_or_insert(now) < DATABASE_WAIT_MAX
        } else {
            away = None;
            error.awaits_migration() && now - *behind.get_or_insert(now) < schema_wait
        };
        if !patient {
            return Err(schema_failure(error));
        }
        if told.is_none_or(|told| now - told >= WAITING_LOG_INTERVAL) {
            told = Some(now);
            match error.awaits_migration() {
                true => tracing::warn!(
                    "waiting for the database schema, which this process does not bring up to date: run \
                     `hythe migrate` as the account that owns the tables ({})",
                    chain(&error)
                ),
                false => tracing::warn!("the database does not answer yet; waiting for it"),
            }
        }
        tokio::time::sleep(DATABASE_POLL).await;
    }
}

fn schema_failure(error: database::Error) -> Failure {
    if error.awaits_migration() {
        let error = anyhow::Error::new(error).context("the schema is not the one this program needs");
        return Failure::new(Exit::Failed, error).remedy(
            "hythe migrate, with the account that owns the tables in database.owner_url; database.app_role names the \
             account that it gives its rights to",
        );
    }
    let exit = if error.is_unavailable() { Exit::Unreachable } else { Exit::Failed };
    Failure::new(exit, anyhow::Error::new(error).context("the schema cannot be brought up to date"))
}

/// The role a URL connects as, which gets the rights of the running process. None when the URL names none.
fn role_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let from_authority = authority.rsplit_once('@').and_then(|(user_info, _)| user_info.split(':').next());
    let from_query = url
        .split_once('?')
        .and_then(|(_, query)| query.split('&').find_map(|pair| pair.strip_prefix("user=")));
    let role = from_authority.filter(|role| !role.is_empty()).or(from_query)?;
    let mut decoded = Vec::with_capacity(role.len());
    let mut bytes = role.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok()
}

fn data_dir_failure(error: data_dir::Error) -> Failure {
    use data_dir::Error;
    let (exit, remedy) = match &error {
        Error::InUse { .. } => {
            (Exit::Conflict, Some("stop it, or name another directory with --data-dir".to_owned()))
        }
        Error::Io { .. } => {
            (Exit::Storage, Some("name a directory this account may write to with --data-dir".to_owned()))
        }
        Error::Exposed { path, .. } => (Exit::Configuration, Some(format!("chmod 600 {}", path.display()))),
        Error::NotAKey { .. } => (
            Exit::Configuration,
            Some("put the copy back that was made of it; without it stored secrets are lost".to_owned()),
        ),
        Error::KeyMissing { path } => (
            Exit::Configuration,
            Some(format!(
                "put the copy back, or for a new installation: head -c 32 /dev/urandom > {0} && chmod 600 {0}",
                path.display()
            )),
        ),
    };
    let failure = Failure::new(exit, error);
    match remedy {
        Some(remedy) => failure.remedy(remedy),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_read_from_the_url() {
        for (url, role) in [
            ("postgres://hythe_app:secret@db:5432/hythe", Some("hythe_app")),
            ("postgres://hythe_app@/hythe?host=/run/x", Some("hythe_app")),
            ("postgres://a%40b@db/hythe", Some("a@b")),
            ("postgresql:///hythe?host=/x&user=app", Some("app")),
            ("postgres://db/hythe", None),
            ("nonsense", None),
        ] {
            assert_eq!(role_of(url).as_deref(), role, "{url}");
        }
    }
}
