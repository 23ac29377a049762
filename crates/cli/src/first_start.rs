//! What a new installation gets: an administrator and the public project `library`.
//!
//! There is no well-known password. One comes from the environment, or is made here, kept in a private file in
//! the data directory, and forgotten when it is changed. None of this happens twice.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use identity::{Identity, Origin, Presented, Secret, passwords};
use tokio_util::sync::CancellationToken;

use crate::assemble::Domains;
use crate::data_dir::{admin_password_file, write_private};
use crate::exit::{Exit, Failure};
use crate::settings;

/// The name `identity` gives the first administrator.
const ADMIN: &str = "admin";
/// How often a kept password is compared with the account, which costs one small query.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Where the first administrator's password came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PasswordFrom {
    Environment,
    Generated,
}

/// Sees to the administrator and the first project. Returns what the operator has to be told.
pub async fn prepare(domains: &Domains, data_dir: &Path) -> Result<Option<String>, Failure> {
    let file = admin_password_file(data_dir);
    let mut from = None;
    let mut shown = None;
    let made = domains
        .identity
        .ensure_first_admin(|| -> anyhow::Result<Secret> {
            if let Some(password) = settings::admin_password().map_err(anyhow::Error::msg)? {
                from = Some(PasswordFrom::Environment);
                return Ok(password);
            }
            let password = passwords::generate();
            let mut line = password.expose().to_vec();
            line.push(b'\n');
            write_private(&file, &line).with_context(|| format!("{} cannot be written", file.display()))?;
            from = Some(PasswordFrom::Generated);
            // A terminal forgets; a log does not.
            if io::stdout().is_terminal() {
                shown = password.expose_str().map(str::to_owned);
            }
            Ok(password)
        })
        .await;
    let made = made.map_err(|error| {
        let exit = match &error {
            identity::Error::Invalid(_) => Exit::Configuration,
            _ => Exit::Failed,
        };
        let error = anyhow::Error::new(error).context("the first administrator cannot be made");
        Failure::new(exit, error)
    })?;
    domains.tenancy.ensure_library().await.context("the project library cannot be made")?;
    Ok(match (made, from) {
        (true, Some(PasswordFrom::Environment)) => {
            Some(format!("administrator: {ADMIN}, with the password from the environment"))
        }
        (true, Some(PasswordFrom::Generated)) => Some(match shown {
            Some(password) => format!(
                "administrator: {ADMIN}, password: {password} (also in {} until it is changed)",
                file.display()
            ),
            None => format!("administrator: {ADMIN}, password in {}", file.display()),
        }),
        _ => None,
    })
}

/// Removes the kept password when it is no longer the administrator's; ends when there is nothing to watch.
pub async fn watch_admin_password(identity: Identity, data_dir: PathBuf, shutdown: CancellationToken) {
    let file = admin_password_file(&data_dir);
    while file.exists() {
        if let Err(error) = look(&identity, &file).await {
            tracing::debug!("the kept password cannot be compared now: {error:#}");
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
    }
    // A task that ends early looks like one that died.
    shutdown.cancelled().await;
}

/// Compares only after the account was changed, because a comparison costs a password check.
async fn look(identity: &Identity, file: &Path) -> anyhow::Result<()> {
    let written = file.metadata()?.modified()?;
    let account = identity.user_by_name(ADMIN).await?;
    let changed =
        account.as_ref().is_none_or(|account| std::time::SystemTime::from(account.updated_at) > written);
    if !changed {
        return Ok(());
    }
    let text = std::fs::read_to_string(file)?;
    let presented = Presented::password(ADMIN, text.trim_end().to_owned());
    let origin = Origin {
        address: "local".to_owned(),
        client: "hythe serve".to_owned(),
        method: "password",
        ..Origin::default()
    };
    match identity.authenticate(&presented, &origin).await {
        // Something else about the account was changed: look again after the next change.
        Ok(_) => {
            let touched = std::fs::File::options().write(true).open(file)?;
            touched.set_modified(std::time::SystemTime::now())?;
        }
        Err(identity::Error::BadCredentials | identity::Error::Disabled) => {
            std::fs::remove_file(file)?;
            tracing::info!("the generated administrator's password is no longer in use; its file is removed");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::assemble;
    use crate::settings::{Environment, Flags, load_from};
    use blobstore::BlobStore;
    use database::Clock;

    async fn exists_for(file: &Path, wanted: bool) -> bool {
        for _ in 0..200 {
            if file.exists() == wanted {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_generated_password_is_kept_until_it_is_changed() {
        let database = database::testing::database().await;
        let directory = tempfile::tempdir().unwrap();
        let flags = Flags { data_dir: Some(directory.path().to_owned()), ..Flags::default() };
        let Ok(loaded) = load_from(&flags, &Environment::default()) else {
            panic!("the defaults are complete");
        };
        let domains = assemble::domains_on(
            &loaded.settings,
            (*database).clone(),
            BlobStore::memory(),
            Secret::new(vec![7; 32]),
            Clock::system(),
        )
        .await
        .unwrap();
        let file = admin_password_file(directory.path());

        let notice = prepare(&domains, directory.path()).await.unwrap().unwrap();
        let password = std::fs::read_to_string(&file).unwrap();
        let password = password.trim_end();
        assert!(password.len() >= 20);
        assert!(notice.contains(&file.display().to_string()) && !notice.contains(password), "{notice}");
        let presented = Presented::password(ADMIN, password.to_owned());
        let login = domains.identity.authenticate(&presented, &Origin::default()).await;
        assert!(login.is_ok());
        let admin = domains.identity.active_user(1).await.unwrap().unwrap();
        let caller =
            identity::Caller { principal: identity::Principal::User(admin), origin: Origin::default() };
        let library = domains.tenancy.project_visible(&caller, "library").await;
        assert!(library.unwrap());

        // A second start makes nothing anew and says nothing.
        assert_eq!(prepare(&domains, directory.path()).await.unwrap(), None);
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), password);

        let shutdown = CancellationToken::new();
        let watch =
            watch_admin_password(domains.identity.clone(), directory.path().to_owned(), shutdown.clone());
        let watching = tokio::spawn(watch);
        tokio::time::sleep(WATCH_INTERVAL + Duration::from_millis(500)).await;
        assert!(file.exists(), "removed although nothing was changed");
        let new = Secret::new(b"Another-pass-1".to_vec());
        domains.identity.admin_reset_password(ADMIN, new).await.unwrap();
        assert!(exists_for(&file, false).await, "kept although it was changed");
        assert!(!watching.is_finished());
        shutdown.cancel();
        watching.await.unwrap();
    }
}
