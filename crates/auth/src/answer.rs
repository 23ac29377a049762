//! What the token service answers: tokens, and refusals in the envelope that registry clients print.
//!
//! Nothing of what a client sent is repeated, and no cause of a failure leaves the process.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// Seconds after which a client may come again when nothing more precise is known.
const RETRY_SECONDS: u64 = 2;

/// Why no token was given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(crate) fn bad_request(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// docker prints this text after the word "unauthorized".
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the method is not supported here")
    }

    pub(crate) fn unavailable() -> Self {
        Self {
            retry_after: Some(RETRY_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "UNAVAILABLE",
                "credentials cannot be checked right now",
            )
        }
    }

    fn too_many(message: &'static str, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
        }
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "internal server error")
    }

    pub(crate) fn response(&self) -> HttpResponse {
        let mut builder = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            builder.insert_header((WWW_AUTHENTICATE, "Basic realm=\"hythe\", charset=\"UTF-8\""));
        }
        if let Some(seconds) = self.retry_after {
            builder.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        let body = Envelope { errors: [Problem { code: self.code, message: &self.message }] };
        json(builder, &body)
    }
}

impl From<identity::Error> for Refusal {
    fn from(error: identity::Error) -> Self {
        use identity::Error;
        match error {
            Error::BadCredentials | Error::Unauthenticated => Self::unauthorized(),
            Error::Disabled => Self {
                message: "authentication required: the account is disabled".to_owned(),
                ..Self::unauthorized()
            },
            Error::Throttled { retry_after_seconds } => {
                Self::too_many("too many failed logins, try again later", retry_after_seconds)
            }
            Error::Invalid(message) => Self::bad_request(message),
            Error::Busy => Self::too_many("too many logins at the same time, try again", 1),
            error if error.is_unavailable() => {
                tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "no token was issued");
                Self::unavailable()
            }
            error => {
                tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "no token was issued");
                Self::internal()
            }
        }
    }
}

impl From<tenancy::Error> for Refusal {
    fn from(error: tenancy::Error) -> Self {
        let away = matches!(&error, tenancy::Error::Storage(cause) if cause.is_unavailable());
        if away {
            tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "no token was issued");
            Self::unavailable()
        } else {
            tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "no token was issued");
            Self::internal()
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    errors: [Problem<'a>; 1],
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'a str,
    message: &'a str,
}

/// The answer to a token request. Both token members hold the same token: clients read one or the other.
#[derive(Serialize)]
pub(crate) struct TokenAnswer {
    pub(crate) token: String,
    pub(crate) access_token: String,
    /// Seconds; never below 60, because docker takes less for 60 and would use a dead token.
    pub(crate) expires_in: i64,
    #[serde(serialize_with = "seconds")]
    pub(crate) issued_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

fn seconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

impl TokenAnswer {
    pub(crate) fn response(&self) -> HttpResponse {
        json(HttpResponse::Ok(), self)
    }
}

/// For a path below `/service` that is not in the table.
pub(crate) fn not_found() -> HttpResponse {
    Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing here").response()
}

/// Never cached: tokens are secrets, and refusals pass.
fn json(mut builder: HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    let mut text = match serde_json::to_string(body) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(error = %error, "an answer cannot be written as JSON");
            return HttpResponse::InternalServerError().finish();
        }
    };
    text.push('\n');
    builder
        .insert_header((CONTENT_TYPE, "application/json; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(text)
}
