//! An answer, read to its end, with the request it belongs to: what tests look at.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A complete HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `METHOD path` of the request, for messages.
    pub request: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A header as text, `""` when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("header values are text"))
            .unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err} in {self}"))
    }

    /// The first error code of the envelope, `""` when there is none.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Fails unless the status is one of `statuses`.
    #[track_caller]
    pub fn expect_any(self, statuses: &[u16]) -> Answer {
        assert!(statuses.contains(&self.status), "expected one of {statuses:?}: {self}");
        self
    }

    /// Fails unless status and error code are these.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Answer {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self}");
        self
    }

    /// Fails unless this is a 401 of `/v2` with a well-formed challenge carrying `error` (`""` for none).
    #[track_caller]
    pub fn expect_challenge(self, error: &str) -> Answer {
        assert_eq!(self.status, 401, "{self}");
        let challenge = self.header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm=\"http"), "challenge {challenge:?} of {self}");
        assert!(challenge.contains("service=\"harbor-registry\""), "challenge {challenge:?} of {self}");
        assert!(!challenge.to_lowercase().contains("basic"), "challenge {challenge:?} of {self}");
        let found =
            challenge.split("error=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        assert_eq!(found, error, "challenge {challenge:?} of {self}");
        assert_eq!(self.header("docker-distribution-api-version"), "registry/2.0", "{self}");
        if !self.request.starts_with("HEAD") {
            assert_eq!(self.code(), "UNAUTHORIZED", "{self}");
        }
        self
    }

    /// Everything a caller can learn from the answer, as text: status, headers, body. What differs
    /// from one request to the next by nature (ids, times, whether the connection stays) is masked, and so are `masks`, the parts of the
    /// requests that differ by intention.
    pub fn shape(&self, masks: &[&str]) -> String {
        let mut headers: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| !["x-request-id", "date", "connection"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        let request_id = self.header("x-request-id");
        let mut shape = format!("{}\n{}\n\n{}", self.status, headers.join("\n"), self.text());
        for mask in masks.iter().copied().chain([request_id]).filter(|mask| !mask.is_empty()) {
            shape = shape.replace(mask, "<masked>");
        }
        shape
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.text();
        let body: String = text.chars().take(500).collect();
        write!(f, "{} -> {} {:?}", self.request, self.status, body)
    }
}
