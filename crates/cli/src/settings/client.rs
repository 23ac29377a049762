//! What the environment tells the client verbs (`hythe login`, `hythe project` and their like): where the server is, who
//! asks, and where credentials are kept. They read no configuration file.

use std::path::{Path, PathBuf};

use sealed::Secret;

use super::secret_file;

const SERVER: &str = "HYTHE_SERVER";
const USERNAME: &str = "HYTHE_USERNAME";
pub(super) const PASSWORD: &str = "HYTHE_PASSWORD";
const PASSWORD_FILE: &str = "HYTHE_PASSWORD_FILE";
const CA_FILE: &str = "HYTHE_CA_FILE";

/// The environment of a client verb.
#[derive(Default)]
pub struct Client {
    pub server: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    /// Unset when neither XDG_CONFIG_HOME nor HOME says where this user's files are.
    pub credentials_file: Option<PathBuf>,
}

impl Client {
    /// The real one.
    pub fn of_process() -> Self {
        let value = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| value(name).and_then(|value| value.into_string().ok());
        let path = |name: &str| value(name).map(PathBuf::from);
        let base = path("XDG_CONFIG_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| path("HOME").map(|home| home.join(".config")));
        Self {
            server: text(SERVER),
            username: text(USERNAME),
            password: text(PASSWORD).map(|text| Secret::new(text.into_bytes())),
            password_file: path(PASSWORD_FILE),
            ca_file: path(CA_FILE),
            credentials_file: base.map(|base| base.join("hythe/credentials.json")),
        }
    }
}

/// The secret in a file of one line.
///
/// # Errors
/// What is wrong with the file.
pub fn secret_from(path: &Path) -> Result<Secret, String> {
    secret_file(path).map(|text| Secret::new(text.into_bytes()))
}
