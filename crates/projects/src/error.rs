//! One place that turns what went wrong into status, code and text.
//!
//! Texts of outcomes go to the client; causes go to the log, under the request's id, and never further. What
//! is hidden and what is unknown give one answer, down to the byte.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

/// Seconds a client should wait when a store or the database is away.
const RETRY_SECONDS: u64 = 5;

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_seconds: Option<u64>,
    allow: Option<String>,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_seconds: None, allow: None }
    }

    /// The request is malformed, or a value is refused.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// Nobody signed in, or the credentials are wrong.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// The caller may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// Not about permission: a quota, a limit, read-only mode.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// The path exists, for other methods.
    pub fn method_not_allowed(allow: String) -> Self {
        let message = "the method is not allowed for this path";
        let failure = Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message);
        Self { allow: Some(allow), ..failure }
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "CONFLICT", message)
    }

    /// The state of things does not allow it now.
    pub fn precondition(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION", message)
    }

    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_ENTITY_TOO_LARGE", message)
    }

    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    /// A parameter or header is missing or has the wrong type.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "UNPROCESSABLE_ENTITY", message)
    }

    fn throttled(message: &str, retry_after_seconds: u64) -> Self {
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUEST", message);
        Self { retry_after_seconds: Some(retry_after_seconds.max(1)), ..failure }
    }

    /// Something this request needs is away; the cause goes to the log.
    pub fn unavailable(cause: &dyn std::error::Error) -> Self {
        tracing::warn!(error = %Chain(cause), "a request could not be served for now");
        let message = "the service is not available for now, try again";
        let failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", message);
        Self { retry_after_seconds: Some(RETRY_SECONDS), ..failure }
    }

    /// Nobody's doing but ours; the cause goes to the log.
    fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = %Chain(cause), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "internal server error")
    }

    fn storage(cause: &dyn std::error::Error, unavailable: bool) -> Self {
        if unavailable { Self::unavailable(cause) } else { Self::internal(cause) }
    }
}

/// An error with all its causes, for the log.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(err) = cause {
            write!(f, ": {err}")?;
            cause = err.source();
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, "application/json; charset=utf-8"));
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((ALLOW, methods.as_str()));
        }
        let body = json!({ "errors": [{ "code": self.code, "message": self.message }] });
        response.body(format!("{body}\n"))
    }
}

impl From<tenancy::Error> for Failure {
    fn from(err: tenancy::Error) -> Self {
        use tenancy::Error;
        match &err {
            Error::Unauthenticated => Self::unauthorized("unauthorized"),
            Error::Hidden => Self::forbidden("forbidden"),
            Error::CreationRestricted | Error::SettingFixed(_) => Self::forbidden(err.to_string()),
            Error::ProjectUnknown(_)
            | Error::ProjectGone
            | Error::QuotaUnknown(_)
            | Error::RequestUnknown(_)
            | Error::MetadataUnknown(_)
            | Error::MemberUnknown(_)
            | Error::UserUnknown(_)
            | Error::RobotUnknown(_) => Self::not_found(err.to_string()),
            Error::RequestDecided(_)
            | Error::RequestPending(_)
            | Error::NameTaken(_)
            | Error::MetadataExists(_)
            | Error::MemberExists(_)
            | Error::RobotExists(_) => Self::conflict(err.to_string()),
            Error::Invalid(_) | Error::BadQuery(_) => Self::bad_request(err.to_string()),
            Error::NotAvailable(_) | Error::NotEmpty => Self::precondition(err.to_string()),
            Error::LimitReached(_) | Error::QuotaExceeded { .. } | Error::ReadOnly | Error::Escalation => {
                Self::denied(err.to_string())
            }
            Error::TooManyCreations { retry_after_seconds } => {
                Self::throttled(&err.to_string(), *retry_after_seconds)
            }
            Error::Identity(_) => match err {
                // What accounts refuse has its own meaning, whoever asked them.
                Error::Identity(cause) => cause.into(),
                other => Self::internal(&other),
            },
            Error::Storage(cause) => Self::storage(&err, cause.is_unavailable()),
        }
    }
}

impl From<identity::Error> for Failure {
    fn from(err: identity::Error) -> Self {
        use identity::Error;
        match &err {
            Error::BadCredentials => Self::unauthorized("unauthorized"),
            Error::Disabled | Error::Unauthenticated => Self::unauthorized(err.to_string()),
            Error::Throttled { retry_after_seconds } => {
                Self::throttled(&err.to_string(), *retry_after_seconds)
            }
            Error::Busy => Self::throttled(&err.to_string(), 1),
            Error::Forbidden | Error::OldPasswordWrong | Error::FirstAdministrator => {
                Self::forbidden(err.to_string())
            }
            Error::UserUnknown(_)
            | Error::RobotUnknown(_)
            | Error::TokenUnknown(_)
            | Error::GroupUnknown(_)
            | Error::KeyUnknown(_) => Self::not_found(err.to_string()),
            Error::Invalid(_) => Self::bad_request(err.to_string()),
            Error::BadQuery(cause) => Self::bad_request(cause.to_string()),
            Error::Taken(_) | Error::LastAdministrator | Error::OwnAccount => Self::conflict(err.to_string()),
            Error::NoSigningKey | Error::Unavailable(_) => Self::unavailable(&err),
            Error::Infrastructure(_) => Self::internal(&err),
        }
    }
}

impl From<catalog::Error> for Failure {
    fn from(err: catalog::Error) -> Self {
        use catalog::Error;
        match err {
            Error::Tenancy(inner) => inner.into(),
            Error::ManifestUnknown(reference) => Self::not_found(format!("artifact {reference} not found")),
            Error::TagUnknown(tag) => Self::not_found(format!("tag {tag} not found")),
            Error::RepositoryUnknown(name) => Self::not_found(format!("repository {name} not found")),
            Error::BlobUnknown(_) | Error::UploadUnknown(_) => Self::not_found(err.to_string()),
            Error::TagImmutable { .. } | Error::NameRefused(_) => Self::precondition(err.to_string()),
            Error::Invalid(text) => Self::bad_request(text),
            Error::Unknown(text) => Self::not_found(text),
            Error::Gone(text) => Self::new(StatusCode::GONE, "NOT_FOUND", text),
            Error::Conflict(text) => Self::conflict(text),
            Error::Limit(text) => Self::denied(text),
            Error::ManifestInIndex { .. }
            | Error::BlobInUse(_)
            | Error::Refused(_)
            | Error::UploadsOverQuota { .. } => Self::precondition(err.to_string()),
            Error::BadQuery(text) => Self::bad_request(text),
            Error::RangeInvalid { .. }
            | Error::SizeInvalid { .. }
            | Error::DigestMismatch { .. }
            | Error::ManifestInvalid(_)
            | Error::ManifestBlobUnknown(_) => Self::bad_request(err.to_string()),
            Error::UploadBusy(_) => Self::conflict(err.to_string()),
            Error::TooManyUploads => Self::throttled(&err.to_string(), RETRY_SECONDS),
            Error::StoreFull | Error::Store(_) | Error::Timeout => Self::unavailable(&err),
            Error::Storage(ref cause) => Self::storage(&err, cause.is_unavailable()),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    async fn shown(failure: Failure) -> (u16, String) {
        let response = failure.error_response();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap_or_default();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[actix_web::test]
    async fn the_envelope() {
        let (status, body) = shown(tenancy::Error::ProjectUnknown("foo".to_owned()).into()).await;
        assert_eq!(status, 404);
        assert_eq!(body, "{\"errors\":[{\"code\":\"NOT_FOUND\",\"message\":\"project foo not found\"}]}\n");
    }

    #[actix_web::test]
    async fn outcomes_and_their_answers() {
        let cases: Vec<(Failure, u16, &str, &str)> = vec![
            (tenancy::Error::Unauthenticated.into(), 401, "UNAUTHORIZED", "unauthorized"),
            (tenancy::Error::Hidden.into(), 403, "FORBIDDEN", "forbidden"),
            (tenancy::Error::NameTaken("a".to_owned()).into(), 409, "CONFLICT", "already exists"),
            (
                tenancy::Error::NotEmpty.into(),
                412,
                "PRECONDITION",
                "the project contains repositories, can not be deleted",
            ),
            (tenancy::Error::ReadOnly.into(), 403, "DENIED", "read-only"),
            (
                tenancy::Error::NotAvailable("x is not available yet".to_owned()).into(),
                412,
                "PRECONDITION",
                "not available yet",
            ),
            (identity::Error::BadCredentials.into(), 401, "UNAUTHORIZED", "unauthorized"),
            (
                identity::Error::Throttled { retry_after_seconds: 7 }.into(),
                429,
                "TOO_MANY_REQUEST",
                "too many",
            ),
            (identity::Error::Busy.into(), 429, "TOO_MANY_REQUEST", "too many"),
            (
                identity::Error::Infrastructure("the cause".into()).into(),
                500,
                "UNKNOWN",
                "internal server error",
            ),
            (identity::Error::Unavailable("the cause".into()).into(), 503, "UNKNOWN", "try again"),
            (catalog::Error::Tenancy(tenancy::Error::Hidden).into(), 403, "FORBIDDEN", "forbidden"),
            (catalog::Error::StoreFull.into(), 503, "UNKNOWN", "try again"),
        ];
        for (failure, status, code, text) in cases {
            let retry = failure.error_response().headers().get("retry-after").cloned();
            assert_eq!(retry.is_some(), [429, 503].contains(&status), "{code}");
            let (got, body) = shown(failure).await;
            assert_eq!(got, status, "{body}");
            assert!(body.contains(&format!("\"code\":\"{code}\"")) && body.contains(text), "{body}");
            assert!(!body.contains("the cause"), "{body}");
        }
    }
}
