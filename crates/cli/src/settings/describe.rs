//! What the comments of the embedded defaults say about a key, for `config explain` and the documentation.

use std::fmt::Write as _;

use super::{DEFAULTS, SECRET_KEYS};

/// A key or section and its comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub key: String,
    /// As written in the defaults; `None` for a section.
    pub default: Option<String>,
    pub comment: String,
}

impl Description {
    /// The variable that sets this key.
    pub fn variable(&self) -> String {
        format!("HYTHE_{}", self.key.to_ascii_uppercase().replace('.', "__"))
    }

    /// Whether the value is never shown and may be given as a file.
    pub fn is_secret(&self) -> bool {
        SECRET_KEYS.contains(&self.key.as_str())
    }
}

/// Every key and section in the order of the file.
pub fn describe() -> Vec<Description> {
    let mut found = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut comment = String::new();
    for line in DEFAULTS.lines() {
        let text = line.trim_start();
        if text.is_empty() {
            // What stands alone belongs to the file, not to a key.
            comment.clear();
        } else if let Some(more) = text.strip_prefix('#') {
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(more.trim());
        } else if let Some((key, value)) = text.split_once(':') {
            path.truncate((line.len() - text.len()) / 2);
            path.push(key);
            let value = value.trim();
            found.push(Description {
                key: path.join("."),
                default: (!value.is_empty()).then(|| value.to_owned()),
                comment: std::mem::take(&mut comment),
            });
        }
    }
    found
}

/// `docs/CONFIGURATION.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         Made by `hythe config docs` from the comments of `deploy/config/hythe.default.yaml`; do not edit.\n\n\
         Later sources win: the defaults below, one YAML file (`--config`, else `HYTHE_CONFIG`, else\n\
         `/etc/hythe/hythe.yaml`), the environment, flags. A variable is `HYTHE_`, the section, `__` and the key;\n\
         a list is separated by commas, and an empty value unsets a key that may be unset. Secrets can also be\n\
         read from a file: add `_FILE` to the variable.\n\n\
         `HYTHE_ADMIN_PASSWORD` or `HYTHE_ADMIN_PASSWORD_FILE` sets the password of the first administrator and\n\
         is read only while there is none. `hythe config check` tells every problem with its line,\n\
         `hythe config show --sources` prints what is in force and why, `hythe config explain KEY` one key.\n",
    );
    let mut table_open = false;
    for description in describe() {
        let Some(default) = &description.default else {
            let _ = write!(text, "\n## `{}`\n\n{}\n", description.key, description.comment);
            table_open = false;
            continue;
        };
        if !table_open {
            if !description.key.contains('.') {
                text.push_str("\n## Without a section\n");
            }
            text.push_str("\n| key | default | meaning |\n|---|---|---|\n");
            table_open = true;
        }
        let default = match default.as_str() {
            "null" => "unset".to_owned(),
            other => format!("`{}`", other.trim_matches('"')),
        };
        let secret = if description.is_secret() { " Secret." } else { "" };
        let comment = description.comment.replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {default} | {comment}{secret} |", description.key);
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::settings::Merged;

    #[test]
    fn every_key_has_a_comment_of_at_least_a_sentence() {
        let described = describe();
        for description in &described {
            let comment = &description.comment;
            assert!(comment.len() > 10 && comment.ends_with('.'), "{}: {comment:?}", description.key);
        }
        let leaves: Vec<_> = described
            .iter()
            .filter(|description| description.default.is_some())
            .map(|description| description.key.as_str())
            .collect();
        assert_eq!(leaves, Merged::defaults().keys().collect::<Vec<_>>());
        for secret in SECRET_KEYS {
            assert!(leaves.contains(secret), "{secret}");
        }
    }

    #[test]
    fn the_documentation_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFIGURATION.md");
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(stored == markdown(), "run: hythe config docs > docs/CONFIGURATION.md");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PERMISSIONS.md");
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(
            stored == tenancy::permissions_document(),
            "run: hythe config permissions > docs/PERMISSIONS.md"
        );
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(stored == projects::openapi_document(), "run: hythe config openapi > docs/openapi.json");
    }

    #[test]
    fn variables_are_named_after_keys() {
        let described = describe();
        let url = described.iter().find(|found| found.key == "database.url").unwrap();
        assert_eq!(url.variable(), "HYTHE_DATABASE__URL");
        assert!(url.is_secret());
        assert_eq!(url.default.as_deref(), Some("null"));
    }
}
