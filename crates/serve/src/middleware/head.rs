//! Heads no service should see: too large, or with a path that two parsers could read differently.
//!
//! It never repairs a path. What is refused here is refused for every service; what a service's own grammar
//! refuses (repository names, references) stays its business.

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::http::{StatusCode, Uri};

use crate::answer;
use crate::mount::covers;

/// All header names and values together, with four bytes per line for separators.
const HEADERS_BYTES_MAX: u64 = 16 * 1024;
/// Path and query as sent.
const URL_BYTES_MAX: usize = 8 * 1024;

/// Sizes of a request as the client sent it.
pub(crate) struct Head {
    /// Headers alone.
    pub bytes: u64,
    /// 0 when it is unknown.
    pub content_length: u64,
}

pub(crate) fn measure(request: &ServiceRequest) -> Head {
    let bytes =
        request.headers().iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum();
    let content_length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    Head { bytes, content_length }
}

/// The answer to a head that goes no further.
pub(crate) fn refusal(head: &Head, uri: &Uri) -> Option<HttpResponse> {
    let path = uri.path();
    let registry = covers("/v2", path);
    let url_bytes = uri.path_and_query().map_or(0, |both| both.as_str().len());
    let general = if registry { "UNSUPPORTED" } else { "BAD_REQUEST" };
    if url_bytes > URL_BYTES_MAX {
        let text = format!("the URL is longer than {URL_BYTES_MAX} bytes");
        return Some(answer::error(StatusCode::URI_TOO_LONG, general, &text));
    }
    if head.bytes > HEADERS_BYTES_MAX {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let text = format!("the headers are larger than {HEADERS_BYTES_MAX} bytes");
        return Some(answer::error(status, general, &text));
    }
    let fault = path_fault(path)?;
    let code = if registry { "NAME_INVALID" } else { "BAD_REQUEST" };
    Some(answer::error(StatusCode::BAD_REQUEST, code, fault))
}

/// What makes a raw path ambiguous. Encoded slashes are fine below `/api`, where one segment holds a whole
/// repository name; everywhere else they would let a router and a service see different segments.
fn path_fault(path: &str) -> Option<&'static str> {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let byte = bytes[position];
        if byte != b'%' {
            decoded.push(byte);
            position += 1;
            continue;
        }
        let digits = path.get(position + 1..position + 3);
        let Some(value) = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        else {
            return Some("the path has a broken percent encoding");
        };
        if value == b'/' && !covers("/api", path) {
            return Some("the path has an encoded slash");
        }
        // Below /api the decoded slash counts: a name inside one segment must not climb out of it.
        decoded.push(value);
        position += 3;
    }
    if decoded.iter().any(u8::is_ascii_control) {
        return Some("the path has a control character");
    }
    if decoded.contains(&b'\\') {
        return Some("the path has a backslash");
    }
    if decoded.contains(&b';') {
        return Some("the path has a semicolon");
    }
    if decoded.split(|byte| *byte == b'/').any(|segment| segment == b"..") {
        return Some("the path has a segment of two dots");
    }
    path.contains("//").then_some("the path has an empty segment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_paths_are_refused() {
        let refused = [
            "/v2/a/../b/manifests/1",
            "/v2/a/%2e%2e/b/manifests/1",
            "/v2/a/.%2E/b/manifests/1",
            "/v2/a%2fb/manifests/1",
            "/v2/a%2Fb/manifests/1",
            "/v2/a%5cb/manifests/1",
            "/v2/a\\b",
            "/v2/a;x/manifests/1",
            "/v2/a%3bx/manifests/1",
            "//v2/_catalog",
            "/v2//_catalog",
            "/v2/a%00",
            "/v2/a%0d%0ab",
            "/v2/a%7f",
            "/v2/a%",
            "/v2/a%2",
            "/v2/a%zz",
            "/v2/a%+1",
            "/v2/..",
            "/api/v2.0/projects/a%2f..%2fb",
            "/%61pi/a%2fb",
        ];
        for path in refused {
            assert!(path_fault(path).is_some(), "{path}");
        }
    }

    #[test]
    fn ordinary_paths_pass() {
        let passed = [
            "/",
            "/v2/",
            "/v2/a/b/manifests/sha256:00",
            "/v2/a..b/tags/list",
            "/v2/%5fcatalog",
            "/v2/./_catalog",
            "/api/v2.0/projects/p/repositories/a%2Fb/artifacts",
            "/api/v2.0/projects/p/repositories/a%252Fb/artifacts",
            "/api/v2.0/projects/caf%C3%A9",
        ];
        for path in passed {
            assert_eq!(path_fault(path), None, "{path}");
        }
    }
}
