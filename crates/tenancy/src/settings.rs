//! Run-time settings of this crate: typed, each with its default, changeable without a restart.
//!
//! A key that has no row has its default; a row whose value does not fit is reported in the log and counts as
//! absent, so that a bad value can never keep the server from answering.
//!
//! Invariant: a setting is at most one second old, in every process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Tenancy};

/// The kind of acts that can be left out of the audit trail.
pub(crate) const PULLS: &str = "pull_artifact";

/// How long a read of the settings serves other requests.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// Who may create projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CreationRestriction {
    /// Every account that can sign in.
    Everyone,
    /// System administrators.
    AdminOnly,
}

impl CreationRestriction {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::AdminOnly => "adminonly",
        }
    }
}

/// The settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub project_creation_restriction: CreationRestriction,
    /// Storage limit of new projects in bytes; -1 is no limit.
    pub storage_per_project: i64,
    /// Nothing is accepted that changes anything but the configuration.
    pub read_only: bool,
    /// A text for the top of every page, as the clients agreed on its form; opaque here.
    pub banner_message: String,
    /// Events of projects are sent to their webhooks.
    pub notification_enable: bool,
    /// People may ask for projects.
    pub project_requests: bool,
    /// Minutes without a request after which somebody is signed out of the console.
    pub session_minutes: u32,
    /// Pulls are acts of the audit trail.
    pub audit_pulls: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            project_creation_restriction: CreationRestriction::Everyone,
            storage_per_project: -1,
            read_only: false,
            banner_message: String::new(),
            notification_enable: true,
            project_requests: false,
            session_minutes: 60,
            audit_pulls: true,
        }
    }
}

/// The last read of the settings, if there was one. Shared by all clones of the handle.
#[derive(Clone, Default)]
pub(crate) struct Remembered(Arc<Mutex<Option<Read>>>);

struct Read {
    at: Instant,
    settings: Arc<Settings>,
}

impl Remembered {
    fn fresh(&self) -> Option<Arc<Settings>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().filter(|read| read.at.elapsed() < REMEMBERED_FOR).map(|read| read.settings.clone())
    }

    fn set(&self, value: Option<Arc<Settings>>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *held = value.map(|settings| Read { at: Instant::now(), settings });
    }
}

impl Tenancy {
    /// The settings, at most one second old.
    pub async fn settings(&self) -> Result<Arc<Settings>, Error> {
        if let Some(settings) = self.settings.fresh() {
            return Ok(settings);
        }
        let rows =
            sqlx::query!("select key, value from tenancy.settings").fetch_all(self.database.pool()).await?;
        let mut settings = Settings::default();
        for row in rows {
            settings.set(&row.key, row.value);
        }
        settings.read_only |= self.config.read_only;
        let settings = Arc::new(settings);
        self.settings.set(Some(settings.clone()));
        Ok(settings)
    }

    /// Refuses with `ReadOnly` while nothing may be changed. `/v2` and jobs ask before every act on content, the REST
    /// API before everything that changes something but the configuration.
    pub async fn require_writable(&self) -> Result<(), Error> {
        if self.settings().await?.read_only { Err(Error::ReadOnly) } else { Ok(()) }
    }

    /// Makes the next reader of this process ask again: the settings were changed.
    pub(crate) fn settings_forget(&self) {
        self.settings.set(None);
    }
}

impl Settings {
    fn set(&mut self, key: &str, value: Value) {
        match key {
            "project_creation_restriction" => fit(key, value, &mut self.project_creation_restriction),
            "storage_per_project" => fit(key, value, &mut self.storage_per_project),
            "read_only" => fit(key, value, &mut self.read_only),
            "project_request_enabled" => fit(key, value, &mut self.project_requests),
            "notification_enable" => fit(key, value, &mut self.notification_enable),
            "session_timeout" => fit(key, value, &mut self.session_minutes),
            "banner_message" => fit(key, value, &mut self.banner_message),
            "disabled_audit_log_event_types" => {
                let mut disabled = String::new();
                fit(key, value, &mut disabled);
                self.audit_pulls = disabled != PULLS;
            }
            // A newer release knows more keys.
            _ => {}
        }
    }
}

fn fit<T: DeserializeOwned>(key: &str, value: Value, target: &mut T) {
    match serde_json::from_value(value) {
        Ok(value) => *target = value,
        Err(err) => tracing::error!(key, error = %err, "a stored setting has a value that does not fit"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stored_values_over_defaults() {
        let mut settings = Settings::default();
        for (key, value) in [
            ("project_creation_restriction", json!("adminonly")),
            ("storage_per_project", json!(5)),
            ("read_only", json!("yes")),
            ("banner_message", json!("hello")),
            ("of_the_future", json!(1)),
        ] {
            settings.set(key, value);
        }
        let expected = Settings {
            project_creation_restriction: CreationRestriction::AdminOnly,
            storage_per_project: 5,
            read_only: false,
            banner_message: "hello".to_owned(),
            notification_enable: true,
            project_requests: false,
            session_minutes: 60,
            audit_pulls: true,
        };
        assert_eq!(settings, expected);
    }
}
