//! The list of checks in `checks.txt` names tests that exist, and leaves no check of priority P0 out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source;

/// The P0 checks of each table, by number.
const P0: &[(&str, &[u32])] = &[
    ("AZ", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]),
    ("JW", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16]),
    ("CT", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18]),
    ("DS", &[1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13]),
    ("SE", &[1, 2, 3, 4, 5, 6, 8, 9]),
    ("GW", &[1, 2, 3]),
    ("AU", &[1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28]),
    ("AD", &[1, 2, 6]),
];

/// Names of all functions that are marked as tests, in all crates.
fn test_functions(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories = vec![root.join("crates")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("the sources are readable") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                functions_of(&std::fs::read_to_string(&path).expect("sources are text"), &mut found);
            }
        }
    }
    found
}

fn functions_of(text: &str, found: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        marked |= line.starts_with("#[test")
            || line.starts_with("#[tokio::test")
            || line.starts_with("#[actix_web::test");
        let signature = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some(name) = signature.filter(|_| marked).and_then(|rest| rest.split('(').next()) {
            found.insert(name.to_owned());
            marked = false;
        }
    }
}

/// The lines of `checks.txt`: id and what stands behind it.
fn list() -> BTreeMap<&'static str, &'static str> {
    let mut list = BTreeMap::new();
    for line in include_str!("checks.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (id, proofs) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?} is not `id proofs`"));
        assert!(list.insert(id, proofs.trim()).is_none(), "{id} stands twice in checks.txt");
    }
    list
}

#[test]
fn every_check_of_the_bar_names_its_tests() {
    let root = source::workspace_root();
    let functions = test_functions(&root);
    let list = list();
    let wanted: BTreeSet<String> = P0
        .iter()
        .flat_map(|(table, numbers)| numbers.iter().map(move |number| format!("{table}-{number:02}")))
        .collect();
    let missing: Vec<_> = wanted.iter().filter(|id| !list.contains_key(id.as_str())).collect();
    assert!(missing.is_empty(), "checks.txt has no line for {missing:?}");
    let unknown: Vec<_> = list.keys().filter(|id| !wanted.contains(**id)).collect();
    assert!(unknown.is_empty(), "checks.txt has lines for what is no P0 check: {unknown:?}");

    let (mut proved, mut partly, mut later) = (0, 0, 0);
    let mut wrong = Vec::new();
    for (id, proofs) in &list {
        let (tests, rest) = match proofs.split_once("later: ") {
            Some((tests, feature)) => (tests.trim_end_matches([' ', ';']), Some(feature)),
            None => (*proofs, None),
        };
        if rest.is_some_and(|feature| feature.trim().is_empty()) {
            wrong.push(format!("{id}: later, but with which feature?"));
        }
        let tests: Vec<&str> = tests.split(',').map(str::trim).filter(|test| !test.is_empty()).collect();
        match (tests.is_empty(), rest) {
            (true, None) => wrong.push(format!("{id}: neither a test nor a feature")),
            (true, Some(_)) => later += 1,
            (false, None) => proved += 1,
            (false, Some(_)) => partly += 1,
        }
        for test in tests {
            let exists =
                if test.contains('/') { root.join(test).is_file() } else { functions.contains(test) };
            if !exists {
                wrong.push(format!("{id}: there is no test {test}"));
            }
        }
    }
    println!(
        "{} checks: {proved} proved, {partly} as far as their features exist, {later} later",
        list.len()
    );
    assert!(wrong.is_empty(), "checks.txt is wrong:\n{}", wrong.join("\n"));
}
