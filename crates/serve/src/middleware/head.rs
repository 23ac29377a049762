//! Heads no service should see: too large, of a packed body, or with a path that two parsers could read differently.
//!
//! It never repairs a path. What is refused here is refused for every service; what a service's own grammar
//! refuses (repository names, references) stays its business.

use crate::Limits;
use crate::mount::covers;

/// Sizes of a request as the client sent it, and its raw path.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub path: &'a str,
    /// Path and query.
    pub url_bytes: usize,
    /// Header names and values, with four bytes per line for separators.
    pub header_bytes: usize,
    /// The body is packed: `Content-Encoding` says something but `identity`. Nobody here unpacks anything.
    pub packed: bool,
}

/// Why a head goes no further, as the parts of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

/// The answer to a head that goes no further.
pub fn refusal(head: Head<'_>, limits: &Limits) -> Option<Refusal> {
    let registry = covers("/v2", head.path);
    let code = if registry { "UNSUPPORTED" } else { "BAD_REQUEST" };
    if head.url_bytes > limits.url_bytes_max {
        let message = format!("the URL is longer than {} bytes", limits.url_bytes_max);
        return Some(Refusal { status: 414, code, message });
    }
    if head.header_bytes > limits.head_bytes_max {
        let message = format!("the headers are larger than {} bytes", limits.head_bytes_max);
        return Some(Refusal { status: 431, code, message });
    }
    if head.packed {
        let message = "the body is taken as it is sent: send it without Content-Encoding".to_owned();
        return Some(Refusal { status: 415, code, message });
    }
    let fault = path_fault(head.path)?;
    let code = if registry { "NAME_INVALID" } else { "BAD_REQUEST" };
    Some(Refusal { status: 400, code, message: fault.to_owned() })
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

/// Whether these values of `Content-Encoding` name an encoding of the body.
pub fn packs<'a>(mut encodings: impl Iterator<Item = &'a [u8]>) -> bool {
    encodings.any(|value| {
        value
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ds_07_packed_bodies_are_known_by_their_header() {
        for packed in [&["gzip"][..], &["identity, gzip"], &["identity", "br"], &["GZIP"], &["x"]] {
            assert!(packs(packed.iter().map(|value| value.as_bytes())), "{packed:?}");
        }
        for plain in [&[][..], &[""], &["identity"], &["Identity , identity"]] {
            assert!(!packs(plain.iter().map(|value| value.as_bytes())), "{plain:?}");
        }
    }

    /// AZ-14.
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
