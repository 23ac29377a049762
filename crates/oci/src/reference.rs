//! Tags, and references: what follows `/manifests/` in a path, a tag or a digest.
//!
//! A colon decides which of the two is meant: no tag holds one and every digest does.

use std::fmt;
use std::str::FromStr;

use crate::text::string_type;
use crate::{Digest, DigestError};

/// Longest tag of the grammar (distribution-spec, "Pulling manifests").
const TAG_BYTES_MAX: usize = 128;

/// The text is no tag. Answered as TAG_INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid tag: at most 128 letters, digits, '_', '.' or '-', not starting with '.' or '-'")]
pub struct TagError;

/// A tag name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

string_type!(Tag, TagError);

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        let first = bytes.next().ok_or(TagError)?;
        let valid = text.len() <= TAG_BYTES_MAX
            && is_word(first)
            && bytes.all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
        if valid { Ok(Tag(text.to_owned())) } else { Err(TagError) }
    }
}

/// Names a manifest in a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

/// Why a text is no reference: as a tag it answers TAG_INVALID, as a digest DIGEST_INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error(transparent)]
    Tag(TagError),
    #[error(transparent)]
    Digest(DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') {
            text.parse().map(Reference::Digest).map_err(ReferenceError::Digest)
        } else {
            text.parse().map(Reference::Tag).map_err(ReferenceError::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        for tag in ["latest", "v1.0", "_x", "A", "1", "sha256-abc.sig", &"t".repeat(128)] {
            let reference: Reference = tag.parse().unwrap();
            assert!(matches!(reference, Reference::Tag(_)));
            assert_eq!(reference.to_string(), tag);
        }
        assert_eq!(
            "sha256:baddigeststring".parse::<Reference>(),
            Err(ReferenceError::Digest(DigestError::Length))
        );
    }

    #[test]
    fn ct_08_refuses_hostile_tags() {
        for text in [
            "",
            ".",
            "..",
            "-a",
            ".a",
            "a/b",
            "a b",
            "a\0",
            "a\n",
            "\na",
            "a\u{202e}b",
            "é",
            "%2e",
            "a+b",
            "a,b",
            "a;b",
            &"t".repeat(129),
        ] {
            assert_eq!(text.parse::<Tag>(), Err(TagError), "{text:?}");
            assert_eq!(text.parse::<Reference>(), Err(ReferenceError::Tag(TagError)), "{text:?}");
        }
    }
}
