//! Several directories as one store: what each is called, and what an installation remembers of them.

use std::fmt;
use std::path::PathBuf;

use uuid::Uuid;

/// The name of a directory of blobs. It is part of the keys of what lies there, so it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RootId {
    /// The one that the store began with. Its keys name no directory.
    First,
    /// One that came later, by a random number.
    Added(u32),
}

/// A directory of blobs and where it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRecord {
    pub id: RootId,
    pub path: PathBuf,
}

/// What an installation remembers of its store, apart from the store: so that a volume that is not mounted is not
/// taken for an empty store, nor another installation's directory for its own.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Names the store; every directory of it says so too.
    pub store: Uuid,
    pub roots: Vec<RootRecord>,
    /// Whether there is content in the store, as far as the installation knows.
    pub has_content: bool,
}

impl RootId {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "first" {
            return Some(Self::First);
        }
        let digits = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits { u32::from_str_radix(text, 16).ok().map(Self::Added) } else { None }
    }

    /// An id for an upload into this directory.
    pub(crate) fn upload_id(self) -> Uuid {
        let id = Uuid::new_v4();
        match self {
            Self::First => id,
            Self::Added(number) => {
                let mut bytes = id.into_bytes();
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                uuid::Builder::from_custom_bytes(bytes).into_uuid()
            }
        }
    }

    /// The directory that the upload `id` is in.
    pub(crate) fn of_upload(id: Uuid) -> Self {
        match (id.get_version_num(), id.as_bytes()) {
            (8, [a, b, c, d, ..]) => Self::Added(u32::from_be_bytes([*a, *b, *c, *d])),
            _ => Self::First,
        }
    }
}

impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Added(number) => write!(f, "{number:08x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_being_written() {
        for id in [RootId::First, RootId::Added(0), RootId::Added(0x00c0_ffee), RootId::Added(u32::MAX)] {
            assert_eq!(RootId::parse(&id.to_string()), Some(id));
        }
        for text in ["", "First", "c0ffee", "00C0FFEE", "000c0ffee", "+0c0ffee"] {
            assert_eq!(RootId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_upload_says_which_root_it_is_in() {
        for id in [RootId::First, RootId::Added(0), RootId::Added(0x00c0_ffee), RootId::Added(u32::MAX)] {
            let (one, other) = (id.upload_id(), id.upload_id());
            assert_ne!(one, other);
            assert_eq!(RootId::of_upload(one), id);
            assert_eq!(Uuid::parse_str(&one.to_string()).map(RootId::of_upload), Ok(id));
        }
        // Those of earlier versions.
        assert_eq!(RootId::of_upload(Uuid::new_v4()), RootId::First);
    }
}
