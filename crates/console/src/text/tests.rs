//! The languages say the same things, and every page finds its words.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::*;

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web")
}

/// Every key of a language with the placeholders in its text.
fn keys(tag: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut paths = Vec::new();
    files(&web().join("locales").join(tag), &mut paths);
    assert_eq!(paths.len(), sources!("en").len(), "every file is embedded");
    let source: String = paths.iter().map(|path| std::fs::read_to_string(path).unwrap() + "\n").collect();
    let resource = FluentResource::try_new(source.clone());
    assert!(resource.is_ok(), "{tag}: {:?}", resource.err().map(|(_, errors)| errors));
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in source.lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, _)) =
            line.split_once('=').filter(|_| line.starts_with(|c: char| c.is_ascii_lowercase()))
        {
            current = key.trim().to_owned();
            assert!(keys.insert(current.clone(), BTreeSet::new()).is_none(), "{tag} has {current} twice");
        }
        for part in line.split('$').skip(1) {
            let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            keys.get_mut(&current).expect("a key comes first").insert(name);
        }
    }
    keys
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn languages_have_the_same_keys_and_placeholders() {
    let english = keys("en");
    assert_eq!(english, keys("zh-CN"));
    for language in Language::ALL {
        for key in english.keys() {
            assert_ne!(language.text(key, &[]), *key, "{key} has no text in {}", language.tag());
        }
    }
}

#[test]
fn every_word_that_is_used_is_there_and_every_one_there_is_used() {
    let mut paths = Vec::new();
    files(&web().join("templates"), &mut paths);
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    let mut quoted = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for path in paths.iter().filter(|path| !path.ends_with("text/tests.rs")) {
        let source = std::fs::read_to_string(path).unwrap();
        for text in source.split('"').skip(1) {
            quoted.insert(text.to_owned());
        }
        for call in ["s.t(\"", "view.t(\"", "s.n(\"", "s.about(\"", "s.both(\"", ".text(\"", "Told::new(\""] {
            for rest in source.split(call).skip(1) {
                asked.insert((rest.split('"').next().unwrap().to_owned(), path.display().to_string()));
            }
        }
    }
    let known = keys("en");
    let form_fields = |key: &str| !key.contains('-');
    for (key, path) in asked {
        assert!(known.contains_key(&key) || form_fields(&key), "{key} of {path} has no text");
    }
    for key in known.keys() {
        // Those of errors are put together from the kind of error.
        assert!(quoted.contains(key) || key.starts_with("error-"), "{key} is used nowhere");
    }
}

#[test]
fn languages_are_chosen_as_browsers_ask() {
    for (header, expected) in [
        ("zh-CN,zh;q=0.9,en;q=0.8", Some(Language::Chinese)),
        ("de-DE, en-GB;q=0.7", Some(Language::English)),
        ("zh-TW", Some(Language::Chinese)),
        ("fr", None),
        ("", None),
    ] {
        assert_eq!(Language::accepted(header), expected, "{header}");
    }
}

/// Pairs of a section of the glossary.
fn glossary(section: &str) -> Vec<(String, String)> {
    let source = std::fs::read_to_string(web().join("locales/glossary.toml")).unwrap();
    let heading = format!("[{section}]\n");
    let (_, rest) = source.split_once(&heading).expect("the section is there");
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| line.starts_with('"'))
        .map(|line| {
            let (word, other) = line.split_once(" = ").expect("a pair");
            (word.trim_matches('"').to_owned(), other.trim_matches('"').to_owned())
        })
        .collect()
}

/// The texts of a language as they stand in its files, by key.
fn sources_of(tag: &str) -> BTreeMap<String, String> {
    let mut paths = Vec::new();
    files(&web().join("locales").join(tag), &mut paths);
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut current = String::new();
    for path in paths {
        for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let starts = line.starts_with(|c: char| c.is_ascii_lowercase());
            let text = match line.split_once('=').filter(|_| starts) {
                Some((key, text)) => {
                    current = key.trim().to_owned();
                    text
                }
                None => line,
            };
            let whole = texts.entry(current.clone()).or_default();
            whole.push(' ');
            whole.push_str(text.trim());
        }
    }
    texts
}

/// Whether the text has the word, or its plural, by itself.
fn has(text: &str, word: &str) -> bool {
    let plural = word.strip_suffix('y').map_or_else(|| format!("{word}s"), |stem| format!("{stem}ies"));
    let text = text.to_lowercase();
    let alone = |word: &str| {
        text.match_indices(word).any(|(at, found)| {
            let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '$' && c != '_');
            edge(text[..at].chars().next_back()) && edge(text[at + found.len()..].chars().next())
        })
    };
    alone(word) || alone(&plural)
}

#[test]
fn texts_keep_to_the_glossary() {
    let (english, chinese) = (sources_of("en"), sources_of("zh-CN"));
    let without = glossary("without");
    let mut wrong = Vec::new();
    for (word, other) in glossary("zh-CN") {
        for (key, text) in &english {
            let free = without.iter().any(|(known, which)| known == key && *which == word);
            if !free && has(text, &word) && !chinese[key].contains(&other) {
                wrong.push(format!("{key}: “{word}” is not “{other}”"));
            }
        }
    }
    for (word, instead) in glossary("never") {
        for (key, text) in english.iter().chain(&chinese) {
            if text.to_lowercase().contains(&word.to_lowercase()) {
                wrong.push(format!("{key}: “{word}”; say {instead}"));
            }
        }
    }
    for (key, _) in &without {
        if !english.contains_key(key) {
            wrong.push(format!("{key} is no text any more"));
        }
    }
    assert!(wrong.is_empty(), "web/locales/glossary.toml says otherwise:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_in_english() {
    let (english, chinese) = (sources_of("en"), sources_of("zh-CN"));
    let same = glossary("same");
    let kept: Vec<&String> = same.iter().map(|(key, _)| key).collect();
    // Names and what stands for something else are the same everywhere; so are words of the glossary that stay.
    const NAMES: [&str; 8] = ["WASM", "SBOM", "CI", "Tag", "HTTP", "LDAP", "OIDC", "Hythe"];
    for (key, text) in &english {
        let plain: String =
            text.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)).collect();
        let words = plain.chars().filter(char::is_ascii_alphabetic).count();
        let free = words == 0 || NAMES.contains(&plain.trim()) || kept.contains(&key);
        assert!(free || chinese[key] != *text, "{key} is not translated: {text}");
    }
}

#[test]
fn chinese_has_its_own_punctuation_and_room_around_latin() {
    let chinese_character = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    for (key, text) in sources_of("zh-CN") {
        let characters: Vec<char> = text.chars().collect();
        for pair in characters.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            let half = chinese_character(first) && ",;:?!()".contains(second);
            let touching = (chinese_character(first) && second.is_ascii_alphanumeric())
                || (first.is_ascii_alphanumeric() && chinese_character(second));
            assert!(!half && !touching, "{key}: {first}{second} in {text}");
        }
    }
}
