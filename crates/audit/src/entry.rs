//! What an act is made of, and how it is encoded for its hash.
//!
//! Text is cleaned here, before it is hashed or stored: PostgreSQL cannot hold U+0000, and a failed login may
//! name an account of any length.
//!
//! Invariant: the encoding is injective. Every part has its length before it, and absent is not the same as empty.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// First byte of the encoding. Rows written under another layout get another number.
const ENCODING_VERSION: u8 = 1;
/// The same with the number of acts behind it, for rows that stand for more than one.
const ENCODING_VERSION_REPEATED: u8 = 2;

const NAME_CHARS_MAX: usize = 1024;
const CLIENT_CHARS_MAX: usize = 255;
const SHORT_CHARS_MAX: usize = 64;
const CHANGED_MAX: usize = 100;

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Id of the request, as echoed to the client.
    pub request_id: String,
    /// Address of the client, behind trusted proxies only.
    pub address: String,
    /// User agent; kept to 255 characters.
    pub client: String,
    /// How the caller proved to be themselves: `password`, `token`, `anonymous`, ...
    pub method: &'static str,
}

/// Who acted. The id is immutable; the name is the one at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor<'a> {
    /// `user`, `anonymous` or `system`.
    pub kind: &'a str,
    /// Id within the kind.
    pub id: Option<i64>,
    /// Name at the time of the act.
    pub name: &'a str,
}

/// What was acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    /// `project`, `user`, `tag`, ...
    pub kind: &'a str,
    /// Id as text; empty when the object has none (yet, or any more).
    pub id: String,
    /// Name at the time of the act.
    pub name: &'a str,
}

/// How the act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused for lack of rights or for wrong credentials.
    Denied,
    /// It was allowed and did not work.
    Failed,
}

impl Outcome {
    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// One act.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub actor: Actor<'a>,
    /// Name of the operation: `project_member_add`.
    pub action: &'static str,
    pub object: Object<'a>,
    /// The project the act belongs to, by its immutable id.
    pub project: Option<i64>,
    pub outcome: Outcome,
    pub origin: &'a Origin,
    /// Names of the fields that were changed; never their values.
    pub changed: &'a [&'static str],
}

/// One act that outlives its request, for the buffer. Made from an [`Entry`].
#[derive(Clone, Debug)]
pub struct OwnedEntry {
    pub actor_kind: String,
    pub actor_id: Option<i64>,
    pub actor_name: String,
    pub action: &'static str,
    pub object_kind: String,
    pub object_id: String,
    pub object_name: String,
    pub project: Option<i64>,
    pub outcome: Outcome,
    pub origin: Origin,
    pub changed: Vec<&'static str>,
}

impl From<&Entry<'_>> for OwnedEntry {
    fn from(entry: &Entry<'_>) -> Self {
        Self {
            actor_kind: entry.actor.kind.to_owned(),
            actor_id: entry.actor.id,
            actor_name: entry.actor.name.to_owned(),
            action: entry.action,
            object_kind: entry.object.kind.to_owned(),
            object_id: entry.object.id.clone(),
            object_name: entry.object.name.to_owned(),
            project: entry.project,
            outcome: entry.outcome,
            origin: entry.origin.clone(),
            changed: entry.changed.to_vec(),
        }
    }
}

impl From<Entry<'_>> for OwnedEntry {
    fn from(entry: Entry<'_>) -> Self {
        Self::from(&entry)
    }
}

/// The columns of one row but for `id`, `at` and `body_hash`: cleaned, ready to be hashed and stored.
pub(crate) struct Columns<'a> {
    pub actor_kind: Cow<'a, str>,
    pub actor_id: Option<i64>,
    pub actor_name: Cow<'a, str>,
    pub action: Cow<'a, str>,
    pub object_kind: Cow<'a, str>,
    pub object_id: Cow<'a, str>,
    pub object_name: Cow<'a, str>,
    pub project_id: Option<i64>,
    pub outcome: &'a str,
    pub request_id: Cow<'a, str>,
    pub address: Cow<'a, str>,
    pub client: Cow<'a, str>,
    pub auth_method: Cow<'a, str>,
    pub changed: Vec<String>,
    /// How many equal acts the row stands for.
    pub repeated: i32,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(entry: &'a Entry<'_>) -> Self {
        Self {
            actor_kind: clean(entry.actor.kind, SHORT_CHARS_MAX),
            actor_id: entry.actor.id,
            actor_name: clean(entry.actor.name, NAME_CHARS_MAX),
            action: clean(entry.action, SHORT_CHARS_MAX),
            object_kind: clean(entry.object.kind, SHORT_CHARS_MAX),
            object_id: clean(&entry.object.id, NAME_CHARS_MAX),
            object_name: clean(entry.object.name, NAME_CHARS_MAX),
            project_id: entry.project,
            outcome: entry.outcome.as_str(),
            request_id: clean(&entry.origin.request_id, SHORT_CHARS_MAX),
            address: clean(&entry.origin.address, SHORT_CHARS_MAX),
            client: clean(&entry.origin.client, CLIENT_CHARS_MAX),
            auth_method: clean(entry.origin.method, SHORT_CHARS_MAX),
            changed: entry.changed.iter().take(CHANGED_MAX).map(|name| (*name).to_owned()).collect(),
            repeated: 1,
        }
    }

    pub(crate) fn of_owned(entry: &'a OwnedEntry) -> Self {
        Self {
            actor_kind: clean(&entry.actor_kind, SHORT_CHARS_MAX),
            actor_id: entry.actor_id,
            actor_name: clean(&entry.actor_name, NAME_CHARS_MAX),
            action: clean(entry.action, SHORT_CHARS_MAX),
            object_kind: clean(&entry.object_kind, SHORT_CHARS_MAX),
            object_id: clean(&entry.object_id, NAME_CHARS_MAX),
            object_name: clean(&entry.object_name, NAME_CHARS_MAX),
            project_id: entry.project,
            outcome: entry.outcome.as_str(),
            request_id: clean(&entry.origin.request_id, SHORT_CHARS_MAX),
            address: clean(&entry.origin.address, SHORT_CHARS_MAX),
            client: clean(&entry.origin.client, CLIENT_CHARS_MAX),
            auth_method: clean(entry.origin.method, SHORT_CHARS_MAX),
            changed: entry.changed.iter().take(CHANGED_MAX).map(|name| (*name).to_owned()).collect(),
            repeated: 1,
        }
    }

    /// Everything the hash covers except the time, which the database puts at the end: eight bytes, big-endian,
    /// microseconds since 1970, with their length before them like every other part.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let many = self.repeated != 1;
        let mut encoding = Encoding(vec![if many { ENCODING_VERSION_REPEATED } else { ENCODING_VERSION }]);
        encoding.text(&self.actor_kind);
        encoding.number(self.actor_id);
        encoding.text(&self.actor_name);
        encoding.text(&self.action);
        encoding.text(&self.object_kind);
        encoding.text(&self.object_id);
        encoding.text(&self.object_name);
        encoding.number(self.project_id);
        encoding.text(self.outcome);
        encoding.text(&self.request_id);
        encoding.text(&self.address);
        encoding.text(&self.client);
        encoding.text(&self.auth_method);
        encoding.length(self.changed.len());
        for name in &self.changed {
            encoding.text(name);
        }
        if many {
            encoding.number(Some(self.repeated.into()));
        }
        encoding.length(size_of::<i64>());
        encoding.0
    }
}

/// The hash a row must carry.
pub(crate) fn body_hash(columns: &Columns<'_>, at: DateTime<Utc>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(columns.encode());
    hash.update(at.timestamp_micros().to_be_bytes());
    hash.finalize().into()
}

struct Encoding(Vec<u8>);

impl Encoding {
    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u32).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: Option<i64>) {
        match number {
            Some(number) => {
                self.length(size_of::<i64>());
                self.0.extend_from_slice(&number.to_be_bytes());
            }
            None => self.length(0),
        }
    }
}

/// Cuts to a number of characters and replaces what PostgreSQL cannot store.
fn clean(text: &str, chars_max: usize) -> Cow<'_, str> {
    let cut = match text.char_indices().nth(chars_max) {
        Some((end, _)) => &text[..end],
        None => text,
    };
    if cut.contains('\0') { Cow::Owned(cut.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(cut) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            request_id: "r1".to_owned(),
            address: "192.0.2.1".to_owned(),
            client: "docker/20".to_owned(),
            method: "password",
        }
    }

    fn entry(origin: &Origin) -> Entry<'_> {
        Entry {
            actor: Actor { kind: "user", id: Some(7), name: "ana" },
            action: "project_create",
            object: Object { kind: "project", id: "3".to_owned(), name: "library" },
            project: Some(3),
            outcome: Outcome::Done,
            origin,
            changed: &["public"],
        }
    }

    #[test]
    fn the_hash_covers_every_part_and_no_two_acts_share_an_encoding() {
        let plain = origin();
        let base = entry(&plain);
        let other = |change: fn(&mut Entry<'_>)| {
            let mut entry = base.clone();
            change(&mut entry);
            Columns::of(&entry).encode()
        };
        let elsewhere = |change: fn(&mut Origin)| {
            let mut origin = plain.clone();
            change(&mut origin);
            Columns::of(&Entry { origin: &origin, ..base.clone() }).encode()
        };
        let all = [
            Columns::of(&base).encode(),
            other(|e| e.actor.kind = "robot"),
            other(|e| e.actor.id = None),
            other(|e| e.actor.id = Some(0)),
            other(|e| e.actor.name = "ben"),
            other(|e| e.action = "project_delete"),
            other(|e| e.object.kind = "user"),
            other(|e| e.object.id = "4".to_owned()),
            other(|e| e.object.name = "librar"),
            // The same letters, cut at another place.
            other(|e| (e.object.id, e.object.name) = ("3l".to_owned(), "ibrary")),
            other(|e| e.project = None),
            other(|e| e.outcome = Outcome::Denied),
            other(|e| e.outcome = Outcome::Failed),
            other(|e| e.changed = &[]),
            other(|e| e.changed = &[""]),
            other(|e| e.changed = &["pub", "lic"]),
            elsewhere(|o| o.request_id = "r2".to_owned()),
            elsewhere(|o| o.address = "192.0.2.2".to_owned()),
            elsewhere(|o| o.client = String::new()),
            elsewhere(|o| o.method = "token"),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "case {index} is encoded like an earlier one");
        }
    }

    #[test]
    fn the_encoding_never_changes_for_a_version() {
        // Rows in the field carry this hash: a change of the encoding needs a new version byte.
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap_or_default();
        let hash = body_hash(&Columns::of(&entry(&origin())), at);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "688656dd53f1fb6b4286983cdbdd03363b0d9a1b50267399b8c422a7ee15dd2a");
    }

    #[test]
    fn how_often_an_act_was_repeated_is_covered() {
        let origin = origin();
        let base = entry(&origin);
        let times = |repeated| Columns { repeated, ..Columns::of(&base) }.encode();
        assert_eq!(times(1), Columns::of(&base).encode());
        assert!(times(2) != times(1) && times(3) != times(2));
    }

    #[test]
    fn an_owned_entry_is_the_same_act() {
        let origin = origin();
        let entry = entry(&origin);
        assert_eq!(Columns::of_owned(&OwnedEntry::from(&entry)).encode(), Columns::of(&entry).encode());
    }

    #[test]
    fn text_is_cleaned() {
        let cases = [
            ("abc", 5, "abc"),
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("äöü", 2, "äö"),
            ("a\0b", 9, "a\u{fffd}b"),
            ("", 1, ""),
        ];
        for (text, chars_max, expected) in cases {
            assert_eq!(clean(text, chars_max), expected);
        }
    }
}
