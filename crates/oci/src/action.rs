//! What a caller may do with a repository. There are three rights and no more: `*` is a way of
//! asking (see `scope`), never a right that is held.

use std::fmt;
use std::str::FromStr;

/// A right on a repository, ordered as tokens list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Read blobs, manifests, tags and referrers.
    Pull,
    /// Upload and tag. Never includes deleting.
    Push,
    /// Delete manifests, tags and blobs.
    Delete,
}

impl Action {
    /// All rights, in order: what `*` asks for.
    pub const ALL: [Action; 3] = [Action::Pull, Action::Push, Action::Delete];

    /// The word used in scopes, tokens and challenges.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
        }
    }
}

/// The text names no right of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown action")]
pub struct UnknownAction;

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Action::ALL.into_iter().find(|action| action.as_str() == text).ok_or(UnknownAction)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Action {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_exact() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        for word in ["", "*", "Pull", "pull ", "scanner-pull"] {
            assert_eq!(word.parse::<Action>(), Err(UnknownAction), "{word:?}");
        }
        assert!(Action::Pull < Action::Push && Action::Push < Action::Delete);
    }
}
