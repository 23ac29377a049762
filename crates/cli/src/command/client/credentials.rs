//! The file that remembers logins: `hythe/credentials.json` in the user's configuration directory, one entry per server.
//!
//! Invariants: only its owner can read it, from the moment it is there; it is replaced whole or not at all; its secrets
//! are in no message.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sealed::Secret;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// More than a person has servers.
const BYTES_MAX: u64 = 1024 * 1024;

/// All logins of this user.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Logins {
    /// Where the last login went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(default)]
    pub servers: BTreeMap<String, Entry>,
}

/// One login. Not `Debug`: it holds a secret.
#[derive(Deserialize, Serialize)]
pub(super) struct Entry {
    pub username: String,
    secret: String,
    /// Of the access token that the login made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Entry {
    pub fn new(username: &str, secret: &Secret) -> Result<Self, Failure> {
        let secret =
            secret.expose_str().ok_or_else(|| Failure::text(Exit::Usage, "the password is not UTF-8"))?;
        Ok(Self {
            username: username.to_owned(),
            secret: secret.to_owned(),
            token_id: None,
            expires_at: None,
            ca_file: None,
        })
    }

    pub fn secret(&self) -> Secret {
        Secret::new(self.secret.clone().into_bytes())
    }

    /// Whether it is an access token, which may do less than a password.
    pub fn is_access_token(&self) -> bool {
        self.secret.starts_with("hyt_")
    }
}

/// The file, which may not be there yet.
pub(super) struct Store {
    path: Option<PathBuf>,
}

impl Store {
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// What is remembered; nothing when there is no file.
    ///
    /// # Errors
    /// A file that cannot be read, that others can read, or that is not ours.
    pub fn load(&self) -> Result<Logins, Failure> {
        let Some(path) = &self.path else { return Ok(Logins::default()) };
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Logins::default()),
            Err(error) => return Err(unusable(path, error)),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            let text = format!("{} can be read by others than its owner", path.display());
            return Err(Failure::text(Exit::Configuration, text).remedy(format!(
                "chmod 600 {}; if somebody may have read it, log in again",
                path.display()
            )));
        }
        if metadata.len() > BYTES_MAX {
            return Err(unusable(path, "it is too large"));
        }
        let text = fs::read(path).map_err(|error| unusable(path, error))?;
        serde_json::from_slice(&text)
            // The error's own text could hold a piece of the file.
            .map_err(|error| unusable(path, format!("line {} is not as it was written", error.line())))
    }

    /// Replaces the file. Without logins it goes.
    ///
    /// # Errors
    /// A directory that cannot be written, or a user without one.
    pub fn save(&self, logins: &Logins) -> Result<(), Failure> {
        let Some(path) = &self.path else {
            return Err(Failure::text(Exit::Configuration, "there is no place to keep the login").remedy(
                "set HOME or XDG_CONFIG_HOME, or give --username and --password-stdin to each command",
            ));
        };
        let failed = |error: io::Error| {
            let text = format!("the login cannot be kept in {}", path.display());
            Failure::new(Exit::Storage, anyhow::Error::new(error).context(text))
        };
        if logins.servers.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let text = serde_json::to_vec_pretty(logins).map_err(|error| failed(error.into()))?;
        let temporary = path.with_extension(format!("{:08x}", rand::random::<u32>()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, path));
        written.map_err(|error| {
            // It may not be there; the error that counts is the first one.
            let _ = fs::remove_file(&temporary);
            failed(error)
        })
    }
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::text(Exit::Configuration, format!("{} cannot be used: {why}", path.display()))
        .remedy(format!("remove {} and log in again", path.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn logins_are_kept_for_their_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/hythe/credentials.json");
        let store = Store::new(Some(path.clone()));
        assert!(store.load().unwrap().servers.is_empty());
        let mut logins = Logins { current: Some("https://a".to_owned()), ..Logins::default() };
        logins.servers.insert("https://a".to_owned(), Entry::new("kim", &secret("hyt_1")).unwrap());
        store.save(&logins).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let read = store.load().unwrap();
        assert_eq!(read.current.as_deref(), Some("https://a"));
        let entry = &read.servers["https://a"];
        assert!(entry.username == "kim" && entry.secret().expose() == b"hyt_1" && entry.is_access_token());
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        store.save(&Logins::default()).unwrap();
        assert!(!path.exists());
        store.save(&Logins::default()).unwrap();
    }

    #[test]
    fn files_that_are_not_as_we_left_them_are_refused_without_their_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials.json");
        let store = Store::new(Some(path.clone()));
        for (text, mode) in
            [("{}", 0o644), ("{}", 0o620), ("{\"servers\": \"hyt_geheim\"}", 0o600), ("[", 0o600)]
        {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let Err(failure) = store.load() else { panic!("{text} {mode:o}") };
            assert_eq!(failure.exit, Exit::Configuration);
            assert!(!failure.to_string().contains("geheim"), "{failure}");
        }
    }
}
