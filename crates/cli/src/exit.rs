//! How a command ends: its exit code and what it says when it failed.
//!
//! The codes are part of the command line's contract; scripts tell a wrong configuration from a busy data
//! directory by them.

use std::fmt;
use std::process::ExitCode;

/// Exit codes, documented in `hythe --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Configuration = 3,
    NotFound = 4,
    /// Not allowed, or not logged in.
    Denied = 5,
    Conflict = 6,
    Unreachable = 8,
    Storage = 9,
    /// The audit trail is not as it was written.
    Tampered = 10,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// A command that failed: what happened, why, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
    /// One sentence that helps, when there is one.
    pub remedy: Option<String>,
}

impl Failure {
    /// A failure with the code `exit`.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), remedy: None }
    }

    /// The same with a text only.
    pub fn text(exit: Exit, text: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::new(exit, anyhow::Error::msg(text))
    }

    /// Adds what to do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        for cause in self.error.chain().skip(1) {
            write!(f, "\ncause: {cause}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\ntry: {remedy}")?;
        }
        Ok(())
    }
}

/// An error and its causes in one line, for a log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn failures_tell_every_cause_once() {
        let io = std::io::Error::other("disk on fire");
        let error = Err::<(), _>(io).context("the blob directory cannot be opened");
        let failure = error
            .map_err(|error| Failure::new(Exit::Storage, error).remedy("pour water"))
            .expect_err("an error");
        assert_eq!(
            failure.to_string(),
            "error: the blob directory cannot be opened\ncause: disk on fire\ntry: pour water"
        );
    }
}
