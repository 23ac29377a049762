//! Errors of `/v2`: one match per domain turns outcomes into status, code and a text that says what to do.
//!
//! The body is always the OCI envelope. What is not the client's business (SQL, paths, addresses) stays in the
//! log under the request id.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use catalog::StorageError;
use oci::error::Code;
use serde_json::{Value, json};

/// An answer that is not a success.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Option<Value>,
    headers: Vec<(HeaderName, String)>,
}

impl Error {
    pub fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code: code.as_str(), message: message.into(), detail: None, headers: Vec::new() }
    }

    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    pub fn name_invalid(name: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Code::NameInvalid,
            format!("invalid repository name {name:?}: it must be <project>/<repository> in lower case"),
        )
    }

    pub fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::DigestInvalid, message)
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NameUnknown, "no such path")
    }

    pub fn deletes_disabled() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::Unsupported,
            "deleting is switched off on this registry",
        )
    }

    /// The service cannot answer now; clients try again.
    pub fn unavailable(what: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Unavailable,
            format!("{what}; try again in a moment"),
        )
        .with(header::RETRY_AFTER, "2")
    }

    pub fn throttled(seconds: u64) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Code::TooManyRequests,
            format!("too many failed logins; try again in {seconds} s"),
        )
        .with(header::RETRY_AFTER, seconds.max(1).to_string())
    }

    fn internal(what: &str, err: &dyn std::error::Error) -> Self {
        let mut chain = err.to_string();
        let mut source = err.source();
        while let Some(cause) = source {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            source = cause.source();
        }
        tracing::error!(error = chain, "{what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, "internal server error")
    }

    fn storage(err: &StorageError) -> Self {
        if err.is_unavailable() || matches!(err, StorageError::Retry(_)) {
            tracing::warn!(error = ?err, "the database cannot answer");
            return Self::unavailable("the database cannot be reached");
        }
        Self::internal("a database statement failed", err)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.message)
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(detail) = &self.detail {
            error["detail"] = detail.clone();
        }
        let mut response = HttpResponseBuilder::new(self.status);
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.append_header((name.clone(), value));
            }
        }
        response
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .body(json!({ "errors": [error] }).to_string())
    }
}

impl From<catalog::Error> for Error {
    fn from(err: catalog::Error) -> Self {
        use catalog::Error as E;
        let text = err.to_string();
        match err {
            E::BlobUnknown(_) => Self::new(StatusCode::NOT_FOUND, Code::BlobUnknown, text),
            E::BlobInUse(_) | E::ManifestInIndex { .. } => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, text)
            }
            E::UploadUnknown(_) => Self::new(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, text),
            E::RangeInvalid { offset, .. } => {
                Self::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::RangeInvalid, text)
                    .with(header::RANGE, crate::uploads::stored_range(offset))
            }
            E::SizeInvalid { .. } => Self::new(StatusCode::BAD_REQUEST, Code::SizeInvalid, text),
            E::DigestMismatch { .. } => Self::digest_invalid(text),
            E::UploadBusy(_) => Self::unavailable("another request is writing to this upload"),
            E::TooManyUploads => Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, text)
                .with(header::RETRY_AFTER, "60"),
            E::UploadsOverQuota { quota } => Self::new(
                StatusCode::FORBIDDEN,
                Code::Denied,
                format!("{text} of {}; ask an administrator for a larger quota", bytes_text(quota)),
            ),
            E::ManifestUnknown(_) | E::TagUnknown(_) => {
                Self::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, text)
            }
            E::ManifestInvalid(_) => Self::new(StatusCode::BAD_REQUEST, Code::ManifestInvalid, text),
            E::ManifestBlobUnknown(missing) => Self::new(
                StatusCode::NOT_FOUND,
                Code::ManifestBlobUnknown,
                format!("{text}; push them first"),
            )
            .detail(Value::from(missing.iter().take(20).map(ToString::to_string).collect::<Vec<_>>())),
            E::TagImmutable { .. } => Self::new(StatusCode::PRECONDITION_FAILED, Code::Precondition, text),
            // Final for clients, with the text that a person needs.
            E::NameRefused(_) => Self::new(StatusCode::FORBIDDEN, Code::Denied, text),
            E::Invalid(_) | E::Conflict(_) | E::Limit(_) => {
                Self::new(StatusCode::BAD_REQUEST, Code::Unsupported, text)
            }
            E::Gone(_) => Self::new(StatusCode::GONE, Code::ManifestUnknown, text),
            E::Unknown(_) => Self::new(StatusCode::NOT_FOUND, Code::NameUnknown, text),
            E::Refused(_) => Self::new(StatusCode::PRECONDITION_FAILED, Code::Denied, text),
            E::RepositoryUnknown(_) => Self::new(StatusCode::NOT_FOUND, Code::NameUnknown, text),
            E::BadQuery(_) => Self::new(StatusCode::BAD_REQUEST, Code::Unsupported, text),
            E::Tenancy(err) => err.into(),
            E::StoreFull => Self::unavailable("the store is full; an administrator has to free space"),
            E::Store(source) => {
                tracing::error!(error = %source, "the blob store failed");
                Self::unavailable("the blob store cannot be reached")
            }
            E::Timeout => Self::unavailable("the database does not answer"),
            E::Storage(err) => Self::storage(&err),
        }
    }
}

impl From<tenancy::Error> for Error {
    fn from(err: tenancy::Error) -> Self {
        use tenancy::Error as E;
        let text = err.to_string();
        match err {
            // Refusals of docker clients are final on 403; on 5xx they would try again and again.
            E::QuotaExceeded { .. } | E::ReadOnly => Self::new(StatusCode::FORBIDDEN, Code::Denied, text),
            E::ProjectGone | E::ProjectUnknown(_) => {
                Self::new(StatusCode::NOT_FOUND, Code::NameUnknown, text)
            }
            E::Storage(err) => Self::storage(&err),
            // The data plane asks for grants and charges; none of the following can come of that.
            E::Unauthenticated
            | E::Hidden
            | E::NameTaken(_)
            | E::Invalid(_)
            | E::NotAvailable(_)
            | E::CreationRestricted
            | E::LimitReached(_)
            | E::TooManyCreations { .. }
            | E::NotEmpty
            | E::QuotaUnknown(_)
            | E::SettingFixed(_)
            | E::RequestUnknown(_)
            | E::RequestDecided(_)
            | E::RequestPending(_)
            | E::MetadataUnknown(_)
            | E::MetadataExists(_)
            | E::MemberUnknown(_)
            | E::UserUnknown(_)
            | E::MemberExists(_)
            | E::RobotUnknown(_)
            | E::RobotExists(_)
            | E::Escalation
            | E::BadQuery(_)
            | E::Identity(_) => Self::internal("an answer of tenancy does not belong here", &err),
        }
    }
}

impl From<identity::Error> for Error {
    fn from(err: identity::Error) -> Self {
        use identity::Error as E;
        match err {
            E::Throttled { retry_after_seconds } => Self::throttled(retry_after_seconds),
            E::Busy => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                Code::TooManyRequests,
                "too many logins are being checked; try again in a moment",
            )
            .with(header::RETRY_AFTER, "1"),
            E::Unavailable(_) | E::NoSigningKey => Self::unavailable("accounts cannot be checked right now"),
            other => Self::internal("an answer of identity does not belong here", &other),
        }
    }
}

/// Bytes as people read them.
fn bytes_text(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(bytes_text(0), "0 B");
        assert_eq!(bytes_text(1023), "1023 B");
        assert_eq!(bytes_text(10 * 1024 * 1024 * 1024), "10.0 GiB");
        assert_eq!(bytes_text(i64::MAX), "8388608.0 TiB");
    }
}
