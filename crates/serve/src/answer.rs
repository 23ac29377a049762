//! The few answers this crate gives by itself, all in the one error envelope that both the distribution
//! protocol and the REST API use. Nothing from inside the process ever gets into their text.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

/// The media type of error bodies.
pub const ERROR_CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// An error body: `{"errors":[{"code":…,"message":…}]}` and a newline.
pub fn error_body(code: &str, message: &str) -> String {
    let mut body = serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    body.push('\n');
    body
}

/// An answer with such a body.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).content_type(ERROR_CONTENT_TYPE).body(error_body(code, message))
}

/// What a path that belongs to no mount answers.
pub(crate) fn not_found() -> HttpResponse {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "not found")
}

/// What a request answers whose handler panicked. The cause is in the log under the request id.
pub(crate) fn internal(request_id: &str) -> HttpResponse {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "UNKNOWN",
        &format!("internal server error, request id {request_id}"),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;

    #[test]
    fn error_bodies_have_one_element_and_a_newline() {
        let answer = error(StatusCode::NOT_FOUND, "NOT_FOUND", "say \"no\"");
        assert_eq!(answer.headers().get("content-type").unwrap(), "application/json; charset=utf-8");
        let body = answer.into_body().try_into_bytes().unwrap();
        assert_eq!(&body[..], b"{\"errors\":[{\"code\":\"NOT_FOUND\",\"message\":\"say \\\"no\\\"\"}]}\n");
    }
}
