//! Storage keys: names of stored content, chosen at random and never used twice.
//!
//! A key read back from the database is checked before it becomes a path, so no text in a row can lead
//! outside of the store.

use std::fmt;

use crate::RootId;

/// The name of stored content, such as `b/3f/3f9c…` (32 hexadecimal digits). One in a directory that was added
/// later names that directory too: `b.1a2b3c4d/3f/3f9c…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Takes a key as it was kept by the caller. Any text is accepted here; one that this store cannot have
    /// made fails when it is used.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The form to keep.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key that was never used: 128 random bits.
    pub(crate) fn random() -> Self {
        let name = format!("{:032x}", rand::random::<u128>());
        Self(format!("b/{}/{name}", &name[..2]))
    }

    /// The same content as a store of several directories names it, which lies in that one.
    pub(crate) fn in_root(&self, root: RootId) -> Self {
        match (root, self.0.strip_prefix("b/")) {
            (RootId::Added(number), Some(rest)) => Self(format!("b.{number:08x}/{rest}")),
            _ => self.clone(),
        }
    }

    /// The directory that the content lies in, and the key it has there; nothing when no store made this key.
    pub(crate) fn root(&self) -> Option<(RootId, Self)> {
        let (root, local) = match self.0.strip_prefix("b.") {
            Some(rest) => {
                let (number, rest) = rest.split_once('/')?;
                (RootId::parse(number).filter(|root| *root != RootId::First)?, Self(format!("b/{rest}")))
            }
            None => (RootId::First, self.clone()),
        };
        local.parts().is_some().then_some((root, local))
    }

    /// The number of the fan-out directory and the file name, or nothing when this is no key of a single directory.
    pub(crate) fn parts(&self) -> Option<(u8, &str)> {
        let (fan_out, name) = self.0.strip_prefix("b/")?.split_once('/')?;
        let hexadecimal = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fan_out.len() != 2 || name.len() != 32 || !hexadecimal(name) || !name.starts_with(fan_out) {
            return None;
        }
        Some((u8::from_str_radix(fan_out, 16).ok()?, name))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn random_keys_differ_and_are_well_formed() {
        let (first, second) = (Key::random(), Key::random());
        assert_ne!(first, second);
        let (fan_out, name) = first.parts().unwrap();
        assert_eq!(first.as_str(), format!("b/{fan_out:02x}/{name}"));
    }

    #[test]
    fn a_key_says_which_root_it_is_in() {
        let key = Key::random();
        assert_eq!(key.root(), Some((RootId::First, key.clone())));
        assert_eq!(key.in_root(RootId::First), key);
        let root = RootId::Added(0x0a2b_3c4d);
        let added = key.in_root(root);
        assert_eq!(added.as_str(), format!("b.0a2b3c4d/{}", &key.as_str()[2..]));
        assert_eq!(added.parts(), None, "no single directory has it");
        assert_eq!(added.root(), Some((root, key.clone())));
        let rest = &key.as_str()[2..];
        for text in
            ["b.", "b./", "b.first/", "b.0A2B3C4D/", "b.0a2b3c4/", "b.+a2b3c4d/", "b.0a2b3c4d//", "c/"]
        {
            assert_eq!(Key::from_stored(format!("{text}{rest}")).root(), None, "{text}");
        }
    }

    #[test]
    fn no_other_text_becomes_a_path() {
        let name = "3f".repeat(16);
        let upper = "3F".repeat(16);
        for text in [
            String::new(),
            "b".to_owned(),
            format!("b/3f/{}", "../".repeat(11)),
            format!("b/../{name}"),
            format!("b/00/{name}"),
            format!("b/3F/{upper}"),
            format!("b/3f/{name}0"),
            format!("b/3f/{}", &name[1..]),
            format!("b/3f/{name}/"),
            format!("/b/3f/{name}"),
            format!("uploads/3f/{name}"),
        ] {
            assert_eq!(Key::from_stored(text.clone()).parts(), None, "{text}");
        }
        assert_eq!(Key::from_stored(format!("b/3f/{name}")).parts(), Some((0x3f, name.as_str())));
    }
}
