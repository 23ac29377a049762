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
