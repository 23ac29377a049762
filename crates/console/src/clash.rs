//! Two people who change the same thing at the same time. A form carries a mark of the values it was made from; when
//! those are others by the time it is sent, nothing is stored, and the page shows both.
//!
//! The values are compared and not a version, so that a change that is undone, or one of something that the form does
//! not show, hinders nobody.

use oci::{Algorithm, Digest};

use crate::form::Form;

/// Name of the field with the mark.
const FIELD: &str = "seen";

/// One field of a form: what is stored, and what was typed.
pub(crate) struct Change {
    pub label: String,
    pub stored: String,
    pub typed: String,
}

impl Change {
    pub fn new(label: String, stored: &str, typed: &str) -> Self {
        // Browsers send line ends as two characters.
        let plain = |text: &str| text.replace("\r\n", "\n");
        Self { label, stored: plain(stored), typed: plain(typed) }
    }
}

/// What a form has to show about other people's changes. By default nothing, and it carries no mark.
#[derive(Default)]
pub(crate) struct Clash {
    /// The mark of what is stored now, for the form.
    pub seen: String,
    /// The fields in which what is stored and what was typed differ; none when nobody was in the way.
    pub changes: Vec<Change>,
}

impl Clash {
    /// For a form that is shown for the first time.
    pub fn none(changes: &[Change]) -> Self {
        Self { seen: mark(changes), changes: Vec::new() }
    }

    /// Whether what the form was made from is still stored. A form without a mark was written by hand and meant as it is.
    pub fn of(form: &Form, changes: Vec<Change>) -> Self {
        let seen = mark(&changes);
        let sent = form.text(FIELD);
        let mut differing = Vec::new();
        if !sent.is_empty() && sent != seen {
            differing = changes.into_iter().filter(|change| change.stored != change.typed).collect();
        }
        Self { seen, changes: differing }
    }

    pub fn is(&self) -> bool {
        !self.changes.is_empty()
    }
}

/// Tells other values apart, and says nothing about them.
fn mark(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        text.push_str(&format!("{}:{}", change.stored.len(), change.stored));
    }
    let digest = Digest::of(Algorithm::Sha256, text.as_bytes()).to_string();
    digest.chars().skip("sha256:".len()).take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(seen: &str) -> Form {
        Form::parse(format!("seen={seen}").as_bytes()).unwrap_or_default()
    }

    fn changes(stored: &str, typed: &str) -> Vec<Change> {
        vec![Change::new("Name".to_owned(), "same", "same"), Change::new("Text".to_owned(), stored, typed)]
    }

    #[test]
    fn only_what_somebody_else_changed_clashes() {
        let seen = Clash::none(&changes("old", "old")).seen;
        let clash = |seen: &str, stored: &str, typed: &str| Clash::of(&form(seen), changes(stored, typed));
        assert!(!clash(&seen, "old", "mine").is());
        assert!(!clash("", "theirs", "mine").is());
        assert!(!clash(&seen, "mine", "mine").is(), "both want the same");
        let found = clash(&seen, "theirs", "mine");
        assert_eq!(found.changes.len(), 1);
        assert_eq!((found.changes[0].stored.as_str(), found.changes[0].typed.as_str()), ("theirs", "mine"));
        assert!(!clash(&found.seen, "theirs", "mine").is(), "who has seen both decides");
        assert!(!clash(&seen, "old", "a\r\nb").is() && !clash(&seen, "a\nb", "a\r\nb").is());
    }
}
