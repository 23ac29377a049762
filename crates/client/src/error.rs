//! Why a request brought no result: what the server said, or why nobody said anything.

/// A request that failed. The texts hold no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused, in its own words.
    #[error("{message}")]
    Refused {
        status: u16,
        /// The API's word for it, such as `NOT_FOUND`; empty when the answer had none.
        code: String,
        message: String,
        /// By which the server's log tells more; empty when the answer had none.
        request_id: String,
        /// How long the server asks to wait, in seconds.
        retry_after_seconds: Option<u64>,
    },
    /// Nobody answered, or not to the end.
    #[error("{server} cannot be reached")]
    Unreachable { server: String, source: reqwest::Error },
    /// Something answered that is no Hythe.
    #[error("{server} does not answer as a Hythe server does: {what}")]
    Strange { server: String, what: String },
    /// What was asked for cannot be written as a request.
    #[error("{0}")]
    Invalid(String),
    /// The given certificates cannot be used.
    #[error("the certificate authority cannot be used")]
    Certificates(#[source] reqwest::Error),
}
