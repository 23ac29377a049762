//! Reads Rust sources as far as the architecture tests need: code without comments, string literals
//! apart, unit tests cut off. It is a lexer, not a parser.

use std::path::{Path, PathBuf};

/// One source file of a product crate.
pub struct SourceFile {
    /// Relative to the workspace, with slashes.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// Product code: without comments, string contents and the tests at the bottom.
    pub code: String,
    /// The contents of the string literals of the product code.
    pub strings: Vec<String>,
}

impl SourceFile {
    /// Whether the product code holds `word`.
    pub fn mentions(&self, word: &str) -> bool {
        self.code.contains(word)
    }
}

/// The directory of the workspace's `Cargo.toml`.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("testbed lies two levels below the root").to_owned()
}

/// All Rust files below `directory`, except files that are all test.
pub fn read_all(directory: &Path, root: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries =
            std::fs::read_dir(&directory).unwrap_or_else(|err| panic!("{}: {err}", directory.display()));
        for entry in entries {
            let path = entry.expect("a directory entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                directories.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                files.push(read_file(&path, root));
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

fn read_file(path: &Path, root: &Path) -> SourceFile {
    let text = std::fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    let product = match text.find("\n#[cfg(test)]\n") {
        Some(end) => &text[..end],
        None => &text,
    };
    let (code, strings) = split(product);
    let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    SourceFile { path, code, strings, text }
}

/// Separates code from the contents of string literals and drops comments.
fn split(text: &str) -> (String, Vec<String>) {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let mut position = 0;
    while position < bytes.len() {
        let rest = &text[position..];
        if rest.starts_with("//") {
            position += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            position += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if let Some((content, length)) = raw_string(rest, code.chars().last()) {
            strings.push(content.to_owned());
            code.push_str("\"\"");
            position += length;
        } else if rest.starts_with('"') {
            let length = quoted_length(rest);
            strings.push(rest[1..length.saturating_sub(1).max(1)].replace("\\\n", " ").replace("\\\"", "\""));
            code.push_str("\"\"");
            position += length;
        } else if rest.starts_with("'\"'") {
            position += 3;
        } else if rest.starts_with("'\\\"'") {
            position += 4;
        } else {
            let character = rest.chars().next().expect("not at the end");
            code.push(character);
            position += character.len_utf8();
        }
    }
    (code, strings)
}

/// A raw string at the start of `rest`: its content and its whole length.
fn raw_string(rest: &str, before: Option<char>) -> Option<(&str, usize)> {
    if before.is_some_and(|character| character.is_alphanumeric() && character != 'b') {
        return None; // the end of a word such as `for"`
    }
    let hashes = rest.strip_prefix('r')?.bytes().take_while(|byte| *byte == b'#').count();
    let content = rest[1 + hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = content.find(&closing)?;
    Some((&content[..end], 1 + hashes + 1 + end + closing.len()))
}

/// Length of the quoted string `rest` starts with, quotes included.
fn quoted_length(rest: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The tables a string writes to when it is SQL: after INSERT INTO, UPDATE, DELETE FROM, MERGE INTO and
/// TRUNCATE. Locking clauses and ON CONFLICT DO UPDATE write nothing else.
pub fn written_tables(text: &str) -> Vec<String> {
    let uncommented: String =
        text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let lower = uncommented.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| c.is_whitespace() || "(),;".contains(c)).filter(|w| !w.is_empty()).collect();
    let statement = ["select", "insert", "update", "delete", "with", "merge", "truncate", "lock"];
    if !words.first().is_some_and(|first| statement.contains(first)) {
        return Vec::new();
    }
    let mut tables = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| words[before]);
        let after = |distance: usize| words.get(index + distance).copied().unwrap_or_default();
        let target = match *word {
            "insert" | "merge" if after(1) == "into" => after(2),
            "delete" if after(1) == "from" => after(2),
            // `set` after the table or its alias: a sentence that starts with "update" has none.
            "update"
                if (2..5).any(|distance| after(distance) == "set")
                    && !matches!(before, Some("for" | "key" | "do")) =>
            {
                after(1)
            }
            "truncate" if !after(1).is_empty() => after(1),
            _ => continue,
        };
        tables.push(target.trim_matches('"').to_owned());
    }
    tables
}

/// Paths of the repository that a document names in backticks.
pub fn named_paths(document: &str) -> Vec<String> {
    const ROOTS: &[&str] =
        &["crates/", "docs/", "migrations/", "deploy/", "web/", "tests/", ".ci/", ".github/", ".sqlx/"];
    document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|named| ROOTS.iter().any(|root| named.starts_with(root)))
        .filter(|named| !named.contains(['*', '{', '<', ' ', '…', '$', '\n']))
        .map(str::to_owned)
        .collect()
}

#[test]
fn writing_statements_are_seen() {
    for (text, tables) in [
        ("select 1", &[][..]),
        ("insert into a.b (c) values ($1) on conflict (c) do update set c = 1", &["a.b"]),
        ("UPDATE a.b SET c = 1", &["a.b"]),
        ("select c from a.b for update", &[]),
        ("select c from a.b for no key update skip locked", &[]),
        ("with x as (delete from a.b returning c) insert into d.e select c from x", &["a.b", "d.e"]),
        ("with x as (\n  update a.b -- update z.z\n set c = 1) select 1", &["a.b"]),
        ("update a.b as x set c = 1", &["a.b"]),
        ("with x as (select c from a.b for update) update d.e f set c = 1", &["d.e"]),
        ("update failed", &[]),
        ("delete", &[]),
        ("could not update the row", &[]),
        ("truncate a.b", &["a.b"]),
    ] {
        assert_eq!(written_tables(text), tables, "{text}");
    }
}

#[test]
fn strings_and_comments_are_taken_apart() {
    let text = "let a = \"x \\\" y\"; // env::var\n/* std::fs */ let b = r#\"in \"side\"#; let c = '\"'; for_each(\"z\");";
    let (code, strings) = split(text);
    assert_eq!(strings, ["x \" y", "in \"side", "z"]);
    assert!(!code.contains("env::var") && !code.contains("std::fs") && code.contains("let c"));
}

#[test]
fn documents_name_paths_in_backticks() {
    let document =
        "See `crates/oci/src/lib.rs` and `docs/X.md`, not `crates/*/src`, `cargo test` or crates/plain.";
    assert_eq!(named_paths(document), ["crates/oci/src/lib.rs", "docs/X.md"]);
}
