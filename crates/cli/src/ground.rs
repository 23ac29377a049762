//! Where a process finds its database and master key: a database that is configured, the embedded server of a
//! running `hythe serve`, or the embedded server started here.
//!
//! Every path ends with the schema at this binary's version. Nothing here creates an installation unless it is
//! asked to: a mistyped data directory must not look like an empty registry.

use std::time::Duration;

use database::embedded::{self, Embedded};
use database::{Clock, Database};
use sealed::{Keyring, Secret};

use crate::data_dir::{self, DataDir, read_master_key};
use crate::exit::{Exit, Failure};
use crate::settings::Settings;

/// How long a database of one's own may take to appear at start-up, as in a compose file without an order.
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(120);
const DATABASE_POLL: Duration = Duration::from_secs(1);

/// A database with the current schema, and what has to be held while it is used.
pub struct Found {
    pub url: String,
    pub master_key: Secret,
    /// Migrations applied just now.
    pub migrated: usize,
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
        Ok((master_key, migrated)) => Ok(Found { url, master_key, migrated, held }),
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
    let (master_key, migrated) = prepare(settings, &data_dir, &url, &owner_url(settings, &url)).await?;
    Ok(Found { url, master_key, migrated, held: Held { embedded: None, _data_dir: Some(data_dir) } })
}

/// Brings the schema up to date and reads the master key, which a new installation gets here.
async fn prepare(
    settings: &Settings,
    data_dir: &DataDir,
    url: &str,
    owner_url: &str,
) -> Result<(Secret, usize), Failure> {
    let migrated = migrate_patiently(url, owner_url).await?;
    let file = settings.master_key_file();
    let fresh = !file.exists() && is_fresh(settings, url).await?;
    let master_key = data_dir.master_key(&file, fresh).map_err(data_dir_failure)?;
    Ok((master_key, migrated))
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
    let key_file = settings.master_key_file();
    if let Some(url) = &settings.database.url {
        let master_key = read_master_key(&key_file).map_err(data_dir_failure)?;
        let migrated = migrate(url, &owner_url(settings, url)).await?;
        return Ok(Found { url: url.clone(), master_key, migrated, held: Held::default() });
    }
    if !settings.data_dir.join("postgres").exists() {
        let text = format!("there is no installation in {}", settings.data_dir.display());
        return Err(Failure::text(Exit::NotFound, text)
            .remedy("name its directory with --data-dir, or set database.url"));
    }
    let data_dir = match DataDir::open(&settings.data_dir) {
        Ok(data_dir) => data_dir,
        Err(data_dir::Error::InUse { .. }) => {
            let Some(urls) = Embedded::connect_existing(&settings.data_dir).await else {
                return Err(Failure::text(
                    Exit::Unreachable,
                    "hythe is running on this data directory, and its database does not answer",
                )
                .remedy("wait until it has started, and run this as the same account"));
            };
            let master_key = read_master_key(&key_file).map_err(data_dir_failure)?;
            return Ok(Found {
                url: urls.url,
                master_key,
                // The running process has seen to it.
                migrated: 0,
                held: Held::default(),
            });
        }
        Err(error) => return Err(data_dir_failure(error)),
    };
    let master_key = read_master_key(&key_file).map_err(data_dir_failure)?;
    let embedded = start_embedded(settings).await?;
    let (url, owner_url) = (embedded.url(), embedded.owner_url());
    let migrated = match migrate(&url, &owner_url).await {
        Ok(migrated) => migrated,
        Err(failure) => {
            embedded.stop().await;
            return Err(failure);
        }
    };
    Ok(Found {
        url,
        master_key,
        migrated,
        held: Held { embedded: Some(embedded), _data_dir: Some(data_dir) },
    })
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

async fn migrate_patiently(url: &str, owner_url: &str) -> Result<usize, Failure> {
    let begun = tokio::time::Instant::now();
    let mut told = false;
    loop {
        match migrate(url, owner_url).await {
            Err(failure) if failure.exit == Exit::Unreachable && begun.elapsed() < DATABASE_WAIT_MAX => {
                if !told {
                    tracing::warn!("the database does not answer yet; waiting for it");
                    told = true;
                }
                tokio::time::sleep(DATABASE_POLL).await;
            }
            outcome => return outcome,
        }
    }
}

/// Brings the schema up to date; tells how many migrations that took.
async fn migrate(url: &str, owner_url: &str) -> Result<usize, Failure> {
    let role = role_of(url);
    match database::migrate(owner_url, role.as_deref()).await {
        Ok(report) => Ok(report.applied.len()),
        Err(error) => {
            let exit = if error.is_unavailable() { Exit::Unreachable } else { Exit::Failed };
            let error = anyhow::Error::new(error).context("the schema cannot be brought up to date");
            Err(Failure::new(exit, error))
        }
    }
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
