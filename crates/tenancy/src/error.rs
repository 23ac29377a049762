//! Outcomes a caller of this crate can act on.
//!
//! `Hidden` covers "no such project" and "not for you" alike, so no service can leak what it never learns.

use crate::Role;
use crate::quotas::used_of;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An anonymous caller may not do this, whether or not the project exists.
    #[error("authentication required")]
    Unauthenticated,
    /// A signed-in caller may not do this, whether or not the project exists.
    #[error("access denied")]
    Hidden,
    /// Told only to callers who are entitled to know every project.
    #[error("project {0} not found")]
    ProjectUnknown(String),
    /// The project was deleted between the decision and the act.
    #[error("the project was deleted meanwhile")]
    ProjectGone,
    #[error("the project named {0} already exists")]
    NameTaken(String),
    /// A value this crate refuses; the text says which and why.
    #[error("{0}")]
    Invalid(String),
    /// A switch of a feature that is not there yet: accepting it would promise what nothing enforces.
    #[error("{0}")]
    NotAvailable(String),
    #[error("only system administrators may create projects")]
    CreationRestricted,
    #[error("{0}")]
    LimitReached(String),
    #[error("too many attempts to create projects, try again in {retry_after_seconds} seconds")]
    TooManyCreations { retry_after_seconds: u64 },
    #[error("the project contains repositories, can not be deleted")]
    NotEmpty,
    #[error("the project has no metadata {0:?}")]
    MetadataUnknown(String),
    #[error("the project has the metadata {0:?} already")]
    MetadataExists(String),
    #[error("project member {0} not found")]
    MemberUnknown(i64),
    #[error("user {0} not found")]
    UserUnknown(String),
    #[error("robot {0} not found")]
    RobotUnknown(i64),
    #[error("{0}")]
    RobotExists(String),
    /// A robot may not give what it does not hold.
    #[error("a robot cannot grant a right that it does not hold")]
    Escalation,
    #[error("{0} is already a member of the project")]
    MemberExists(String),
    #[error(
        "storage quota of project \"{name}\" is used up ({}); delete artifacts that are no longer needed, or ask a \
         system administrator for a larger quota",
        used_of(*used, *hard)
    )]
    QuotaExceeded { name: String, added: i64, used: i64, hard: i64 },
    /// The start-up configuration says otherwise.
    #[error("{0} is set in the configuration file or the environment and cannot be changed here")]
    SettingFixed(&'static str),
    #[error("project request {0} not found")]
    RequestUnknown(i64),
    #[error("project request {0} is decided already")]
    RequestDecided(i64),
    #[error("a request of yours for the project {0} is not decided yet")]
    RequestPending(String),
    #[error("quota {0} not found")]
    QuotaUnknown(i64),
    #[error("the system is in read-only mode")]
    ReadOnly,
    /// A filter or sort key that does not exist, or a value of the wrong type.
    #[error("{0}")]
    BadQuery(String),
    /// Accounts could not be asked about.
    #[error("identity failed")]
    Identity(#[source] identity::Error),
    #[error("tenancy storage failed")]
    Storage(#[source] database::Error),
}

impl Error {
    pub(crate) fn role(role: i64) -> Self {
        Self::Invalid(format!("role {role} is unknown: it is one of {}", Role::IDS))
    }
}

impl From<database::Error> for Error {
    fn from(err: database::Error) -> Self {
        Self::Storage(err)
    }
}

impl From<identity::Error> for Error {
    fn from(err: identity::Error) -> Self {
        Self::Identity(err)
    }
}

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        Self::Storage(err.into())
    }
}

impl From<database::list::Error> for Error {
    fn from(err: database::list::Error) -> Self {
        match err {
            database::list::Error::Database(err) => Self::Storage(err),
            other => Self::BadQuery(other.to_string()),
        }
    }
}
