//! What can go wrong with people, passwords and keys, as outcomes a caller can act on.
//!
//! Infrastructure is opaque here: `Unavailable` means "try again" (503), `Infrastructure` means "look into the
//! log". The text of an error never repeats its source and never holds a secret.

/// Anything the cause of an opaque error may be.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Outcome of an identity operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown name, wrong password, malformed header, dead refresh token: the caller cannot tell which. 401.
    #[error("the user name or password is incorrect")]
    BadCredentials,
    /// The secret was right, the account is disabled. 401; the reason may be told because the secret was right.
    #[error("the account is disabled")]
    Disabled,
    /// Too many failures. 429 with `Retry-After`.
    #[error("too many failed logins")]
    Throttled { retry_after_seconds: u64 },
    /// The queue for password hashing is full. 429.
    #[error("too many logins are being checked")]
    Busy,
    /// The act needs somebody who signed in. 401.
    #[error("sign in first")]
    Unauthenticated,
    /// The caller may not do this. 403.
    #[error("only a system administrator may do this")]
    Forbidden,
    /// No such user, told only to callers entitled to know. 404.
    #[error("user {0} not found")]
    UserUnknown(String),
    /// No such robot, told only to callers entitled to know. 404.
    #[error("robot {0} not found")]
    RobotUnknown(i64),
    /// The account has no such access token. 404.
    #[error("access token {0} not found")]
    TokenUnknown(i64),
    /// No such group, told only to callers entitled to know. 404.
    #[error("user group {0} not found")]
    GroupUnknown(i64),
    /// A field of the request is not acceptable. 400. The text names the rule.
    #[error("{0}")]
    Invalid(&'static str),
    /// The current password given with a change is wrong. 403.
    #[error("the current password is wrong")]
    OldPasswordWrong,
    /// User name or e-mail address is taken. 409.
    #[error("the {0} is already taken")]
    Taken(&'static str),
    /// The last active system administrator stays what they are. 409.
    #[error("the last active system administrator cannot be demoted, disabled or deleted")]
    LastAdministrator,
    /// Nobody deletes themselves. 409.
    #[error("nobody can delete their own account")]
    OwnAccount,
    /// The first administrator (id 1) cannot be deleted. 403.
    #[error("the first administrator cannot be deleted")]
    FirstAdministrator,
    /// A filter of a list that does not exist, or does not fit. 400.
    #[error("the query cannot be used")]
    BadQuery(#[source] database::list::Error),
    /// No signing key with this id.
    #[error("signing key {0} not found")]
    KeyUnknown(String),
    /// No signing key can be used. 503: the log names the reason.
    #[error("no signing key can be used")]
    NoSigningKey,
    /// The database cannot be asked right now. 503 with `Retry-After`.
    #[error("the database is not available")]
    Unavailable(#[source] Source),
    /// Anything else that is not the caller's doing. 500.
    #[error("identity failed")]
    Infrastructure(#[source] Source),
}

impl Error {
    /// Whether the answer is 503: nothing is wrong with the request.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::NoSigningKey)
    }

    pub(crate) fn other(source: impl Into<Source>) -> Self {
        Self::Infrastructure(source.into())
    }
}

impl From<database::Error> for Error {
    fn from(source: database::Error) -> Self {
        if source.is_unavailable() {
            Self::Unavailable(Box::new(source))
        } else {
            Self::Infrastructure(Box::new(source))
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        database::Error::from(source).into()
    }
}
