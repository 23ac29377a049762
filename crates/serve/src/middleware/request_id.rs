//! The id under which one request can be followed through logs, answers, audit rows and jobs.

use std::fmt;
use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderValue};
use uuid::Uuid;

use super::REQUEST_ID_HEADER;

const LENGTH_MAX: usize = 64;

/// An id of 1 to 64 letters, digits and dashes. In the extensions of every request that reaches a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The client's id when it sent exactly one and it is well formed, else a new one. What is refused here
    /// is not an error: a strange id must not stop a pull, it just must not get into logs.
    pub(crate) fn choose(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(REQUEST_ID_HEADER);
        match (sent.next().and_then(|value| value.to_str().ok()), sent.next()) {
            (Some(text), None) if is_valid(text) => Self(text.into()),
            _ => Self(Uuid::new_v4().to_string().into()),
        }
    }

    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_valid(text: &str) -> bool {
    (1..=LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_single_ids_are_kept() {
        let long = "a".repeat(65);
        let cases: &[(&[&str], bool)] = &[
            (&["a"], true),
            (&["0198-ABC-xyz"], true),
            (&[&long[..64]], true),
            (&[&long], false),
            (&[""], false),
            (&["a b"], false),
            (&["a_b"], false),
            (&["<x>"], false),
            (&["a", "b"], false),
            (&[], false),
        ];
        for (sent, kept) in cases {
            let mut headers = HeaderMap::new();
            for value in *sent {
                headers.append(
                    REQUEST_ID_HEADER,
                    HeaderValue::from_bytes(value.as_bytes()).expect("test value"),
                );
            }
            let chosen = RequestId::choose(&headers);
            assert_eq!(sent.first() == Some(&chosen.as_str()), *kept, "{sent:?}");
            assert!(is_valid(chosen.as_str()));
        }
    }
}
