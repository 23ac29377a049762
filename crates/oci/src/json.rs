//! What strict JSON means here, beyond what `serde_json` refuses by itself: bounded nesting, no
//! member that two readers could understand differently, no NUL.
//!
//! Two parsers that disagree about a document are how type confusion starts (CVE-2021-41190): one
//! takes the first of two equal keys, another the last, Go's ignores case. So a member we interpret
//! may occur once, in one spelling. Members we do not interpret are nobody's business.
//!
//! Invariant: the check before parsing is one pass over the bytes, without recursion or allocation.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// Checks encoding, byte order mark, nesting and NUL, and returns the document as text. Syntax is
/// left to the parser: on text that is not JSON this may pass or fail, but always ends.
pub(crate) fn check(payload: &[u8], depth_max: usize) -> Result<&str, String> {
    if payload.starts_with(b"\xef\xbb\xbf") {
        return Err("starts with a byte order mark".to_owned());
    }
    let text = std::str::from_utf8(payload).map_err(|_| "not UTF-8".to_owned())?;
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut position = 0;
    while let Some(byte) = payload.get(position) {
        position += 1;
        match (in_string, byte) {
            (true, b'\\') => {
                // PostgreSQL cannot hold this character, neither in text nor in jsonb.
                if payload[position..].starts_with(b"u0000") {
                    return Err("contains a NUL character".to_owned());
                }
                position += 1;
            }
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > depth_max {
                    return Err(format!("nested deeper than {depth_max} levels"));
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(text)
}

/// Finds the members of one object that its reader interprets, each at most once.
pub(crate) struct Members {
    known: &'static [&'static str],
    seen: u32,
}

impl Members {
    /// `known` holds at most 32 names.
    pub(crate) fn new(known: &'static [&'static str]) -> Members {
        debug_assert!(known.len() <= 32);
        Members { known, seen: 0 }
    }

    /// The known name `key` is, or `None` when it is not ours. Refuses repetitions and names that
    /// differ from a known one only by case.
    pub(crate) fn admit(&mut self, key: &str) -> Result<Option<&'static str>, String> {
        for (index, name) in self.known.iter().enumerate() {
            if *name == key {
                if self.seen & (1 << index) != 0 {
                    return Err(format!("member {name} occurs twice"));
                }
                self.seen |= 1 << index;
                return Ok(Some(name));
            }
        }
        match self.known.iter().find(|name| folds_to(key, name)) {
            Some(name) => Err(format!("a member differs from {name} only by case")),
            None => Ok(None),
        }
    }
}

/// Whether a reader that ignores case, Go's `encoding/json` for one, takes `key` for `name`. Besides
/// ASCII it folds the long s and the Kelvin sign.
fn folds_to(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|character| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(name.chars().map(|character| character.to_ascii_lowercase()))
}

/// Reads an object of strings (annotations) or null. Keys are compared exactly: annotation keys that
/// differ by case are different annotations. Every entry takes one from the budget.
pub(crate) struct Strings<'a> {
    pub(crate) budget: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strings<'_> {
    type Value = Option<Map<String, Value>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = Option<Map<String, Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut strings = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            spend(self.budget, "annotations")?;
            let value = object.next_value::<String>()?;
            if strings.insert(key, Value::String(value)).is_some() {
                return Err(A::Error::custom("an annotation occurs twice"));
            }
        }
        Ok(Some(strings))
    }
}

/// Reads an object of any values (a platform) or null. Keys must differ by more than case.
pub(crate) struct Object;

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key::<String>()? {
            if !seen.insert(key.to_lowercase()) {
                return Err(A::Error::custom("a member of platform occurs twice"));
            }
            let value = object.next_value::<Value>()?;
            members.insert(key, value);
        }
        Ok(Some(Value::Object(members)))
    }
}

/// Takes one from a budget shared by the whole document.
pub(crate) fn spend<E: serde::de::Error>(budget: &Cell<usize>, what: &str) -> Result<(), E> {
    let left = budget.get().checked_sub(1).ok_or_else(|| E::custom(format!("too many {what}")))?;
    budget.set(left);
    Ok(())
}

/// Steps over a value we do not interpret, without building it.
pub(crate) fn skip<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_strings_only() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(check(nested(100).as_bytes(), 100).is_ok());
        assert!(check(nested(101).as_bytes(), 100).is_err());
        assert!(check(format!("{}{}", "[{".repeat(50), "}]".repeat(50)).as_bytes(), 100).is_ok());
        assert!(check(br#"{"a":"[[[[[[","b":"\"[[[[[[\\"}"#, 1).is_ok());
        assert!(check(br#"["\\[",[["x"]]]"#, 2).is_err());
        // Text that is no JSON ends all the same.
        for text in ["]]]]", "\"", "\"\\", "\\", "{", ""] {
            assert!(check(text.as_bytes(), 1).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn refuses_marks_and_nul() {
        assert!(check(b"\xef\xbb\xbf{}", 9).is_err());
        assert!(check(b"\xff\xfe{\0}\0", 9).is_err());
        assert!(check(b"{\"a\":\"\xff\"}", 9).is_err());
        assert!(check(br#"{"a":"\u0000"}"#, 9).is_err());
        assert!(check(br#"{"a":"\\u0000"}"#, 9).is_ok());
        assert!(check(br#"{"a":"\\\u0000"}"#, 9).is_err());
    }

    #[test]
    fn members_once_and_in_one_spelling() {
        let mut members = Members::new(&["size", "mediaType"]);
        assert_eq!(members.admit("size"), Ok(Some("size")));
        assert_eq!(members.admit("other"), Ok(None));
        assert_eq!(members.admit("other"), Ok(None));
        assert_eq!(members.admit("sizes"), Ok(None));
        for key in ["size", "Size", "SIZE", "\u{17f}ize", "mediatype", "MediaType"] {
            assert!(members.admit(key).is_err(), "{key:?}");
        }
        assert_eq!(members.admit("mediaType"), Ok(Some("mediaType")));
    }
}
