//! The id under which one request can be followed through logs, answers, audit rows and jobs.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

const LENGTH_MAX: usize = 64;

/// An id of 1 to 64 letters, digits and dashes. In the extensions of every request that reaches a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id nobody has used before.
    #[expect(clippy::new_without_default, reason = "a default that differs each time would surprise")]
    pub fn new() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// The client's id when it sent exactly one and it is well formed, else a new one. What is refused here
    /// is not an error: a strange id must not stop a pull, it just must not get into logs.
    pub fn choose<'a>(mut sent: impl Iterator<Item = &'a [u8]>) -> Self {
        match (sent.next().and_then(|value| std::str::from_utf8(value).ok()), sent.next()) {
            (Some(text), None) if is_valid(text) => Self(text.into()),
            _ => Self::new(),
        }
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
            let chosen = RequestId::choose(sent.iter().map(|value| value.as_bytes()));
            assert_eq!(sent.first() == Some(&chosen.as_str()), *kept, "{sent:?}");
            assert!(is_valid(chosen.as_str()));
        }
    }
}
