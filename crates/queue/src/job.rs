//! What a crate implements to have something done later.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A request: "do this". The value is the payload; it is stored as JSON and shown to administrators, so it
/// holds no secrets. Add `#[serde(deny_unknown_fields)]` and change a payload only so that rows written by the
/// previous release still decode.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Name of the kind, `crate.verb_object`. Never changes.
    const KIND: &'static str;
    /// Attempts before the job counts as failed, the first one included.
    const ATTEMPTS_MAX: i32 = 5;
    /// Whether at most one job of the kind may be pending or running at a time.
    const UNIQUE: bool = false;
}

/// A fact: "this happened". Whoever publishes it does not know who listens.
pub trait Event: Serialize + DeserializeOwned + Send + 'static {
    /// Name of the kind, `crate.thing_happened`. Never changes.
    const KIND: &'static str;
    /// Attempts of each subscriber, the first one included.
    const ATTEMPTS_MAX: i32 = 5;
}

/// How an attempt ended when it did not succeed. The author of a job has to choose.
///
/// The text of the outermost error is shown to administrators; its sources go to the log only.
#[derive(Debug)]
pub enum JobError {
    /// Trying again may help: a dependency was away.
    Retry(Box<dyn std::error::Error + Send + Sync>),
    /// Trying again will not help.
    Fail(Box<dyn std::error::Error + Send + Sync>),
}

impl JobError {
    /// The attempt failed; another one follows after a pause, until `ATTEMPTS_MAX`.
    pub fn retry(err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Retry(err.into())
    }

    /// The job failed for good.
    pub fn fail(err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Fail(err.into())
    }
}

impl From<database::Error> for JobError {
    fn from(err: database::Error) -> Self {
        Self::retry(err)
    }
}

/// An error and everything behind it, in one line for the log.
pub(crate) fn chain(err: &(dyn std::error::Error + 'static)) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text.push_str(": ");
        text.push_str(&err.to_string());
        cause = err.source();
    }
    text
}
