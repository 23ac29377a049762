//! Layers of values over the embedded defaults, each value with its origin.
//!
//! A key that the defaults do not have is unknown, whatever layer it comes from. Values are checked against
//! the typed sections one key at a time, so that a problem names its own key and place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::compat::{self, Meaning};
use super::tree::{self, Entry, Node, Position};
use super::{DEFAULTS, Environment, Flags, Problem, SECRET_KEYS, secret_file};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    /// `file:line:column`
    File(String),
    /// The name of a variable.
    Environment(String),
    /// The name of a flag.
    Flag(&'static str),
}

impl Source {
    fn place(&self) -> String {
        match self {
            Self::Default => String::new(),
            Self::File(place) => place.clone(),
            Self::Environment(name) => name.clone(),
            Self::Flag(name) => (*name).to_owned(),
        }
    }
}

/// All values by dotted key, in the order of the defaults.
pub struct Merged {
    defaults: Vec<(String, Value)>,
    /// Names of sections, nested ones dotted.
    sections: Vec<String>,
    overrides: BTreeMap<String, (Value, Source)>,
}

impl Merged {
    /// The embedded defaults alone.
    pub(super) fn defaults() -> Self {
        let entries = tree::parse(DEFAULTS)
            .unwrap_or_else(|error| panic!("the embedded defaults are not YAML: {}", error.message));
        let mut merged = Self { defaults: Vec::new(), sections: Vec::new(), overrides: BTreeMap::new() };
        merged.learn("", entries);
        merged
    }

    fn learn(&mut self, prefix: &str, entries: Vec<Entry>) {
        for entry in entries {
            let key = dotted(prefix, &entry.key);
            match entry.node {
                Node::Section(inner) => {
                    self.sections.push(key.clone());
                    self.learn(&key, inner);
                }
                Node::Value(value) => self.defaults.push((key, value)),
            }
        }
    }

    pub(super) fn add_file(&mut self, path: &Path, text: &str, problems: &mut Vec<Problem>) {
        let place = |at: Position| format!("{}:{}:{}", path.display(), at.line, at.column);
        match tree::parse(text) {
            Ok(entries) => self.add_entries("", entries, &place, problems),
            Err(error) => problems.push(Problem {
                place: error.at.map_or_else(|| path.display().to_string(), place),
                message: error.message,
            }),
        }
    }

    fn add_entries(
        &mut self,
        prefix: &str,
        entries: Vec<Entry>,
        place: &dyn Fn(Position) -> String,
        problems: &mut Vec<Problem>,
    ) {
        for entry in entries {
            let key = dotted(prefix, &entry.key);
            let at = place(entry.at);
            let is_section = self.sections.contains(&key);
            match entry.node {
                Node::Section(inner) if is_section => {
                    self.add_entries(&key, inner, place, problems);
                }
                // A section whose keys are all commented out.
                Node::Value(Value::Null) if is_section => {}
                Node::Value(_) if is_section => problems.push(Problem {
                    place: at,
                    message: format!("{key} is a section and takes keys, not a value"),
                }),
                _ if self.default(&key).is_none() => problems.push(self.unknown(at, &key)),
                Node::Section(_) => problems
                    .push(Problem { place: at, message: format!("{key} takes a value and has no keys") }),
                Node::Value(value) => self.put(key, value, Source::File(at)),
            }
        }
    }

    pub(super) fn add_environment(&mut self, environment: &Environment, problems: &mut Vec<Problem>) {
        for (short, value) in environment.settings() {
            let name = format!("HYTHE_{short}");
            let mut problem = |message: String| {
                problems.push(Problem { place: name.clone(), message });
            };
            let key = short.to_ascii_lowercase().replace("__", ".");
            let Some(text) = value.to_str() else {
                problem("not UTF-8".to_owned());
                continue;
            };
            let from_file = key
                .strip_suffix("_file")
                .filter(|secret| SECRET_KEYS.contains(secret) && self.default(&key).is_none());
            if let Some(secret) = from_file {
                if text.is_empty() {
                    continue;
                }
                if environment.settings().any(|(other, value)| {
                    other.to_ascii_lowercase().replace("__", ".") == secret && !value.is_empty()
                }) {
                    problem(format!("{secret} is set directly as well; set one of them"));
                    continue;
                }
                match secret_file(Path::new(text)) {
                    Ok(text) => {
                        self.put(secret.to_owned(), text.into(), Source::Environment(name.clone()));
                    }
                    Err(error) => problem(error),
                }
                continue;
            }
            match self.default(&key).map(|default| read_text(default, text)) {
                None => problems.push(self.unknown(name, &key)),
                // Of a secret that is also given as a file, an empty direct form says nothing.
                Some(Ok(Value::Null)) if self.overridden_by_secret_file(&key) => {}
                Some(Ok(value)) => self.put(key, value, Source::Environment(name)),
                Some(Err(expected)) => problem(format!("{key}: {text:?} is not {expected}")),
            }
        }
    }

    /// The variables of the distribution registry; what of them has no effect is told in `warnings`.
    pub(super) fn add_registry_environment(
        &mut self,
        environment: &Environment,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<String>,
    ) {
        for (short, value) in environment.registry_settings() {
            let name = format!("{}{short}", compat::PREFIX);
            let Some(text) = value.to_str() else {
                problems.push(Problem { place: name, message: "not UTF-8".to_owned() });
                continue;
            };
            match compat::meaning(short, text) {
                Ok(Meaning::Key(key, value)) => self.put(key.to_owned(), value, Source::Environment(name)),
                Ok(Meaning::Ignored(reason)) => warnings.push(format!("{name} has no effect: {reason}")),
                Ok(Meaning::Nothing | Meaning::Foreign) => {}
                Err(problem) => problems.push(problem),
            }
        }
    }

    fn overridden_by_secret_file(&self, key: &str) -> bool {
        matches!(
            self.overrides.get(key),
            Some((_, Source::Environment(name))) if name.ends_with("_FILE")
        )
    }

    pub(super) fn add_flags(&mut self, flags: &Flags) {
        let data_dir = flags.data_dir.as_ref().map(|path| path.display().to_string());
        for (key, flag, value) in [
            ("data_dir", "--data-dir", data_dir),
            ("http.addr", "--listen", flags.listen.clone()),
            ("http.ops_addr", "--ops-listen", flags.ops_listen.clone()),
        ] {
            if let Some(value) = value {
                self.put(key.to_owned(), value.into(), Source::Flag(flag));
            }
        }
    }

    fn put(&mut self, key: String, value: Value, source: Source) {
        self.overrides.insert(key, (value, source));
    }

    fn default(&self, key: &str) -> Option<&Value> {
        self.defaults.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// `file:line:column` or the like of a key's value; empty for a default.
    pub(super) fn place(&self, key: &str) -> String {
        self.overrides.get(key).map_or_else(String::new, |(_, source)| source.place())
    }

    /// All keys that take values, in the order of the defaults.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.defaults.iter().map(|(key, _)| key.as_str())
    }

    fn unknown(&self, place: String, key: &str) -> Problem {
        let nearest = self.nearest(key);
        let hint = nearest.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        Problem { place, message: format!("unknown key {key}{hint}") }
    }

    /// The known key or section that `key` is most likely a slip of.
    pub(super) fn nearest(&self, key: &str) -> Option<&str> {
        let known = self.keys().chain(self.sections.iter().map(String::as_str));
        known
            .map(|known| (distance(key, known), known))
            .filter(|(distance, known)| *distance <= (known.len() / 4).clamp(1, 4))
            .min()
            .map(|(_, known)| known)
    }

    /// The typed form of a section (or of a key without one). When it cannot be made, every value that is to
    /// blame is a problem of its own.
    pub(super) fn section<T: DeserializeOwned>(&self, name: &str, problems: &mut Vec<Problem>) -> Option<T> {
        let whole = self.assemble(name, |key| self.overrides.get(key).map(|(value, _)| value.clone()));
        let error = match serde_json::from_value::<T>(whole) {
            Ok(typed) => return Some(typed),
            Err(error) => error,
        };
        let before = problems.len();
        let prefix = format!("{name}.");
        for (key, (value, source)) in &self.overrides {
            if key != name && !key.starts_with(&prefix) {
                continue;
            }
            let alone = self.assemble(name, |other| (other == key).then(|| value.clone()));
            if let Err(error) = serde_json::from_value::<T>(alone) {
                problems.push(Problem { place: source.place(), message: format!("{key}: {error}") });
            }
        }
        if problems.len() == before {
            problems.push(Problem { place: String::new(), message: format!("{name}: {error}") });
        }
        None
    }

    /// The section as JSON: defaults, with what `replacement` gives in their place.
    fn assemble(&self, name: &str, replacement: impl Fn(&str) -> Option<Value>) -> Value {
        let prefix = format!("{name}.");
        let mut section = Value::Object(Map::new());
        for (key, default) in &self.defaults {
            let value = replacement(key).unwrap_or_else(|| default.clone());
            if key == name {
                return value;
            }
            if let Some(path) = key.strip_prefix(&prefix) {
                let mut node = &mut section;
                for part in path.split('.') {
                    node = &mut node[part];
                }
                *node = value;
            }
        }
        section
    }

    /// The effective configuration as YAML, secrets masked; with `sources`, each value's origin as a comment.
    pub fn render(&self, sources: bool) -> String {
        let mut text = String::new();
        let mut open: Vec<&str> = Vec::new();
        for (key, default) in &self.defaults {
            let mut parts: Vec<&str> = key.split('.').collect();
            let name = parts.pop().unwrap_or_default();
            let shared = open.iter().zip(&parts).take_while(|(left, right)| left == right).count();
            for (depth, part) in parts.iter().enumerate().skip(shared) {
                let _ = writeln!(text, "{}{part}:", "  ".repeat(depth));
            }
            let (value, source) = match self.overrides.get(key) {
                Some((value, source)) => (value, source),
                None => (default, &Source::Default),
            };
            let _ = write!(text, "{}{name}: {}", "  ".repeat(parts.len()), masked(key, value));
            if sources {
                let origin = match source {
                    Source::Default => "default".to_owned(),
                    other => other.place(),
                };
                let _ = write!(text, "  # {origin}");
            }
            text.push('\n');
            open = parts;
        }
        text
    }

    /// What differs from the defaults, `key=value` with secrets masked, for the log of a start.
    pub fn differences(&self) -> String {
        let parts: Vec<String> =
            self.overrides.iter().map(|(key, (value, _))| format!("{key}={}", masked(key, value))).collect();
        parts.join(" ")
    }
}

/// A value as YAML (JSON is YAML), or asterisks for a secret that is set.
fn masked(key: &str, value: &Value) -> String {
    if SECRET_KEYS.contains(&key) && !value.is_null() {
        return "\"***\"".to_owned();
    }
    value.to_string()
}

/// Reads the text of a variable as the kind of value the default is. Empty unsets what may be unset.
fn read_text(default: &Value, text: &str) -> Result<Value, &'static str> {
    match default {
        Value::Null if text.is_empty() => Ok(Value::Null),
        Value::Null | Value::String(_) => Ok(text.into()),
        Value::Bool(_) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true.into()),
            "false" | "0" | "no" | "off" => Ok(false.into()),
            _ => Err("true or false"),
        },
        Value::Number(_) => match text.trim().parse::<i64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err("a whole number"),
        },
        Value::Array(_) => Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
        Value::Object(_) => Err("a value"),
    }
}

fn dotted(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// Edits between two keys: insertions, deletions, replacements and swaps of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
                let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
                if swapped {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_the_key_that_was_meant() {
        let merged = Merged::defaults();
        for (key, nearest) in [
            ("http.adr", Some("http.addr")),
            ("htpp.addr", Some("http.addr")),
            ("wroker", Some("worker")),
            ("storage.filesystem.roto", Some("storage.filesystem.root")),
            ("database.pool_maximum", Some("database.pool_max")),
            ("entirely.different", None),
        ] {
            assert_eq!(merged.nearest(key), nearest, "{key}");
        }
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("", "ab"), 2);
    }

    #[test]
    fn what_is_shown_is_yaml_again() {
        let merged = Merged::defaults();
        for sources in [false, true] {
            let shown = merged.render(sources);
            let mut again = Merged::defaults();
            let mut problems = Vec::new();
            again.add_file(Path::new("shown"), &shown, &mut problems);
            assert_eq!(problems, []);
            assert_eq!(again.overrides.len(), merged.defaults.len());
            for (key, value) in &merged.defaults {
                assert_eq!(&again.overrides[key].0, value, "{key}");
            }
        }
    }
}
