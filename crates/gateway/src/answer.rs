//! What the gateway answers by itself, in the shape that both surfaces behind it use.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serve::{Observation, Refusal, RequestId, TooOften};

use crate::body::{Answer, Record};
use crate::headers::REQUEST_ID;

/// Seconds after which an upstream may be back.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Why there is no answer of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// Nobody takes a connection.
    Unreachable,
    /// The connection ended before the answer began, or what came was no answer.
    Broken,
    /// Nothing moved for too long.
    Silent,
}

impl Outage {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Silent => "silent",
        }
    }
}

/// An answer as its parts.
pub(crate) struct Own {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_seconds: Option<u64>,
}

impl Own {
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "not found")
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { status, code: refusal.code, message: refusal.message, retry_after_seconds: None }
    }

    pub(crate) fn too_often(often: TooOften, path: &str) -> Self {
        let (code, message) = often.words(path);
        let retry_after_seconds = Some(often.retry_after_seconds);
        Self { retry_after_seconds, ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, message) }
    }

    pub(crate) fn outage(outage: Outage) -> Self {
        let (status, message) = match outage {
            Outage::Unreachable => {
                (StatusCode::SERVICE_UNAVAILABLE, "the service is not available right now")
            }
            Outage::Broken => (StatusCode::BAD_GATEWAY, "the service did not answer"),
            Outage::Silent => (StatusCode::GATEWAY_TIMEOUT, "the service did not answer in time"),
        };
        Self { retry_after_seconds: Some(RETRY_AFTER_SECONDS), ..Self::new(status, "UNAVAILABLE", message) }
    }

    fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self { status, code, message: message.to_owned(), retry_after_seconds: None }
    }

    pub(crate) fn into_response(
        self,
        observation: Observation,
        id: &RequestId,
        is_head: bool,
    ) -> Response<Answer> {
        let text = Bytes::from(serve::error_body(self.code, &self.message));
        let record = Record { observation, status: self.status.as_u16(), is_head };
        let length = text.len();
        let body = Answer::of_gateway(if is_head { Bytes::new() } else { text }, record);
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(serve::ERROR_CONTENT_TYPE));
        headers.insert(http::header::CONTENT_LENGTH, length.into());
        if let Ok(id) = HeaderValue::from_str(id.as_str()) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
