//! A YAML document as keys with positions, before anything is known about what they mean.
//!
//! It refuses what a configuration never needs (keys that are not texts, several documents); it knows no key.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub line: u64,
    pub column: u64,
}

/// One node. Only mappings keep structure; a list is a value like a number.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Section(Vec<Entry>),
    Value(Value),
}

/// One key of a section.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub at: Position,
    pub node: Node,
}

/// The document could not be read at all.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub at: Option<Position>,
    pub message: String,
}

/// Reads a document; an empty one is a section without keys.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let parsed = serde_saphyr::from_str::<Option<Node>>(text).map_err(|error| {
        let at =
            error.location().map(|location| Position { line: location.line(), column: location.column() });
        SyntaxError { at, message: error.without_snippet().to_string() }
    })?;
    match parsed {
        None | Some(Node::Value(Value::Null)) => Ok(Vec::new()),
        Some(Node::Section(entries)) => Ok(entries),
        Some(Node::Value(_)) => {
            Err(SyntaxError { at: None, message: "the file is not a mapping of sections".to_owned() })
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section or a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Value(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Value(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(node) = access.next_element::<Node>()? {
            match node {
                Node::Value(value) => items.push(value),
                Node::Section(_) => return Err(de::Error::custom("a list may hold only values")),
            }
        }
        Ok(Node::Value(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let node = access.next_value::<Node>()?;
            entries.push(Entry {
                at: Position { line: key.referenced.line(), column: key.referenced.column() },
                key: key.value,
                node,
            });
        }
        Ok(Node::Section(entries))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keys_have_positions() {
        let entries = parse("# note\nhttp:\n  addr: \"x:1\"\n  list: [1, a]\nnothing:\n").unwrap();
        let Node::Section(http) = &entries[0].node else {
            panic!("{entries:?}");
        };
        assert_eq!(entries[0].at, Position { line: 2, column: 1 });
        assert_eq!(http[0].at, Position { line: 3, column: 3 });
        assert!(matches!(&http[0].node, Node::Value(Value::String(text)) if text == "x:1"));
        assert!(matches!(&http[1].node, Node::Value(Value::Array(items)) if items.len() == 2));
        assert!(matches!(&entries[1].node, Node::Value(Value::Null)));
    }

    #[test]
    fn faults_have_positions() {
        assert!(parse("").unwrap().is_empty());
        assert!(parse("# only a comment\n").unwrap().is_empty());
        for text in ["a: 1\na: 2\n", "a: [1\n", "a:\n  - b: c\n", "- a\n", "text\n"] {
            let error = parse(text).unwrap_err();
            assert!(!error.message.is_empty(), "{text}");
        }
        assert_eq!(parse("a: 1\nb: ]\n").unwrap_err().at.unwrap().line, 2);
    }
}
