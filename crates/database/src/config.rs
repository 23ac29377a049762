//! The `database` section of the configuration.
//!
//! Refuses unknown keys. URLs carry passwords, so `Debug` shows only whether one is set.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// How to reach PostgreSQL and how long to wait for it.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// URL of the runtime role. Unset: `hythe serve` starts its own server, see [`crate::embedded`].
    pub url: Option<String>,
    /// URL of the role that owns the schemas and runs migrations. Unset: the same as `url`.
    pub owner_url: Option<String>,
    /// Whether a process migrates at its start when its account may.
    pub migrate: Migrate,
    /// The account that gets the rights of running processes after a migration. Unset: that of `url`.
    pub app_role: Option<String>,
    /// How long a process that does not migrate waits for the schema it needs, in seconds.
    pub schema_wait_seconds: u64,
    /// Connections this process may hold. The sum over all processes stays below `max_connections`.
    pub pool_max: u32,
    /// How long a request waits for a free connection, in milliseconds. Above 4000 counts as 4000: a request
    /// has to be answered within five seconds even when the database is away.
    pub acquire_timeout_ms: u64,
    /// Longest run time of one statement, in milliseconds.
    pub statement_timeout_ms: u64,
    /// Longest wait of a statement for one lock, in milliseconds.
    pub lock_timeout_ms: u64,
    /// The private server of `hythe serve`.
    pub embedded: EmbeddedConfig,
}

/// Who brings the schema up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Migrate {
    /// Every process whose account owns the schema, at its start; the others wait.
    #[default]
    Auto,
    /// Only `hythe migrate`.
    Never,
}

/// Settings of the private PostgreSQL server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// Directory with `postgres` and `initdb`. Unset: the newest of `/usr/lib/postgresql`, then the search path.
    pub bin_dir: Option<PathBuf>,
    /// Account that the server drops to when Hythe runs as root. Unset: `postgres`, else `nobody`.
    pub user: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            owner_url: None,
            migrate: Migrate::Auto,
            app_role: None,
            // A migration is short by rule; an operator who runs it by hand needs some minutes.
            schema_wait_seconds: 600,
            // Two cores saturate well below this; the embedded server allows 200 connections.
            pool_max: 20,
            acquire_timeout_ms: 3000,
            statement_timeout_ms: 4500,
            lock_timeout_ms: 3000,
            embedded: EmbeddedConfig::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url_set", &self.url.is_some())
            .field("owner_url_set", &self.owner_url.is_some())
            .field("migrate", &self.migrate)
            .field("app_role", &self.app_role)
            .field("schema_wait_seconds", &self.schema_wait_seconds)
            .field("pool_max", &self.pool_max)
            .field("acquire_timeout_ms", &self.acquire_timeout_ms)
            .field("statement_timeout_ms", &self.statement_timeout_ms)
            .field("lock_timeout_ms", &self.lock_timeout_ms)
            .field("embedded", &self.embedded)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_a_url() {
        let config = Config { url: Some("postgres://ana:secret@db/hythe".to_owned()), ..Config::default() };
        assert!(!format!("{config:?}").contains("secret"));
    }
}
