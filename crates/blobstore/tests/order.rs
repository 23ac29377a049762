//! R-04 and R-08 for the filesystem driver, seen from the kernel: the order of the system calls that make a
//! blob durable, and what comes out when one of them fails or the process dies at it. Needs strace.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CALLS: &str = "trace=fsync,fdatasync,rename,renameat,renameat2,openat,write,pwrite64";

/// Says whose the store is.
const NAME_FILE: &str = "hythe-root";
const NAME: &str = r#"{"store":"00000000-0000-0000-0000-000000000000","root":"first"}"#;

/// Length of what the example stores.
const LENGTH: u64 = 1_000_000;

struct Run {
    output: Output,
    /// The calls in the order in which they ended.
    calls: Vec<String>,
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl Run {
    fn key(&self) -> Option<String> {
        let printed = String::from_utf8(self.output.stdout.clone()).unwrap();
        printed.lines().next().map(str::to_owned)
    }

    /// Position of the only call that has all of the parts.
    fn position(&self, parts: &[&str]) -> usize {
        let found: Vec<usize> = (0..self.calls.len())
            .filter(|&position| parts.iter().all(|part| self.calls[position].contains(part)))
            .collect();
        assert_eq!(found.len(), 1, "{parts:?} in\n{}", self.calls.join("\n"));
        found[0]
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Files below the store or a part of it, with their lengths, but for the one that names it.
    fn files(&self, below: &str) -> Vec<(PathBuf, u64)> {
        fn visit(dir: &Path, files: &mut Vec<(PathBuf, u64)>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, files);
                } else {
                    files.push((path.clone(), path.metadata().unwrap().len()));
                }
            }
        }
        let mut files = Vec::new();
        visit(&self.root.join(below), &mut files);
        files.retain(|(path, _)| !path.ends_with(NAME_FILE));
        files
    }
}

/// The example is built by `cargo test` beside the tests.
fn example() -> PathBuf {
    let path = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("publish");
    assert!(path.is_file(), "{} is missing: run `cargo build -p hythe-blobstore --examples`", path.display());
    path
}

/// Into a store that is there already.
fn run(inject: Option<&str>) -> Run {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("blobs")).unwrap();
    std::fs::write(dir.path().join("blobs").join(NAME_FILE), NAME).unwrap();
    run_in(dir, inject)
}

fn run_in(dir: tempfile::TempDir, inject: Option<&str>) -> Run {
    let root = dir.path().join("blobs");
    let trace = dir.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-s", "200", "-e", "signal=none", "-e", CALLS]);
    if let Some(inject) = inject {
        strace.args(["-e", &format!("inject={inject}")]);
    }
    let output = strace.arg("-o").arg(&trace).arg(example()).arg(&root).output().expect(
        "strace cannot be run; it shows the order of system calls to this test: install it (apt-get install strace)",
    );
    let text = std::fs::read_to_string(&trace).unwrap_or_default();
    assert!(text.contains("openat"), "strace saw nothing; may this account trace processes? {output:?}");
    Run { output, calls: calls(&text), root, _dir: dir }
}

/// Lines of a trace, with calls that were interrupted by another thread put together again.
fn calls(text: &str) -> Vec<String> {
    let mut begun = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread.to_owned(), start.to_owned());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            calls.push(begun.remove(thread).unwrap_or_default() + rest);
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}

#[test]
fn data_then_name_then_directory_and_only_then_the_key() {
    let run = run(None);
    assert!(run.output.status.success(), "{}", run.errors());
    let key = run.key().unwrap();
    let path = run.root.join(&key);
    assert_eq!(run.files(""), [(path.clone(), LENGTH)]);

    let root = run.root.to_str().unwrap();
    let uploads = format!("{root}/uploads/");
    let fan_out = format!("<{root}/{}>", &key[..4]);
    let last_write =
        run.calls.iter().rposition(|call| call.starts_with("pwrite64(") && call.contains(&uploads));
    let data = run.position(&["sync(", &uploads]);
    let parent = run.position(&["fsync(", &format!("<{root}/b>")]);
    let rename = run.position(&["rename", &uploads, path.to_str().unwrap(), "RENAME_NOREPLACE"]);
    let directory = run.position(&["fsync(", &fan_out]);
    let told = run.position(&["write(1<", &key]);
    let order = [last_write.unwrap(), data, rename, directory, told];
    assert!(order.is_sorted() && parent < directory, "{order:?} {parent}\n{}", run.calls.join("\n"));
    for position in [data, parent, rename, directory] {
        assert!(run.calls[position].ends_with("= 0"), "{}", run.calls[position]);
    }
}

#[test]
fn after_a_failed_sync_there_is_no_key_and_no_file() {
    // The calls of fsync are the root at the opening, the parent of the fan-out directory, that directory.
    for inject in [
        "fdatasync:error=EIO:when=1",
        "fsync:error=EIO:when=1",
        "fsync:error=EIO:when=2",
        "fsync:error=EIO:when=3",
    ] {
        let run = run(Some(inject));
        assert!(run.calls.iter().any(|call| call.contains("EIO") && call.contains("(INJECTED)")), "{inject}");
        assert!(!run.output.status.success(), "{inject}");
        assert_eq!(run.key(), None, "{inject}");
        assert_eq!(run.files("b"), [], "{inject}");
        if inject.starts_with("fdatasync") {
            assert_eq!(run.files("uploads"), [], "what could not be synced is never synced again");
            assert_eq!(run.calls.iter().filter(|call| call.contains("fdatasync")).count(), 1);
        }
    }
}

#[test]
fn a_full_disk_is_reported_as_full_and_leaves_nothing() {
    for errno in ["ENOSPC", "EDQUOT"] {
        for when in 1..=4 {
            let run = run(Some(&format!("pwrite64:error={errno}:when={when}")));
            assert!(run.errors().contains("Full"), "{errno} {when}: {}", run.errors());
            assert_eq!(run.files(""), [], "{errno} {when}");
        }
    }
    let run = run(Some("renameat2:error=ENOSPC"));
    assert!(run.errors().contains("Full"), "{}", run.errors());
    assert_eq!(run.files("b"), []);
    assert_eq!(run.files("uploads").len(), 1, "the upload can go on when there is room again");
}

#[test]
fn a_file_system_without_exclusive_rename_works_too() {
    let run = run(Some("renameat2:error=EINVAL"));
    assert!(run.output.status.success(), "{}", run.errors());
    assert_eq!(run.files(""), [(run.root.join(run.key().unwrap()), LENGTH)]);
}

/// The storage half of R-02: whatever is below a key after a crash at any of these calls is complete.
#[test]
fn death_at_any_call_leaves_a_whole_file_or_none() {
    let mut deaths = 0;
    for (call, count) in [("pwrite64", 4), ("fdatasync", 1), ("fsync", 3), ("renameat2", 1)] {
        for when in 1..=count {
            let run = run(Some(&format!("{call}:signal=KILL:when={when}")));
            assert!(!run.output.status.success(), "{call} {when}");
            assert_eq!(run.key(), None, "{call} {when}");
            let published = run.files("b");
            assert!(published.iter().all(|(_, length)| *length == LENGTH), "{call} {when}: {published:?}");
            deaths += 1;
        }
    }
    assert_eq!(deaths, 9);
}

/// A store that could not be named, or died at that, is a new one the next time.
#[test]
fn a_store_is_named_durably_before_anything_is_in_it() {
    let run = run_in(tempfile::tempdir().unwrap(), None);
    assert!(run.output.status.success(), "{}", run.errors());
    let root = run.root.to_str().unwrap();
    let file = run.position(&["fsync(", "/.hythe-root-"]);
    let rename = run.position(&["rename", "/.hythe-root-", &format!("{root}/{NAME_FILE}")]);
    let after = |call: &&String| call.starts_with("fsync(") && call.contains(&format!("<{root}>"));
    assert!(file < rename && run.calls[rename..].iter().any(|call| after(&call)), "{}", run.calls.join("\n"));
    let first_byte = run.calls.iter().position(|call| call.starts_with("pwrite64(")).unwrap();
    assert!(rename < first_byte);

    for inject in ["fsync:error=EIO:when=3", "fsync:signal=KILL:when=3", "renameat2:signal=KILL:when=1"] {
        let Run { _dir: dir, output, .. } = run_in(tempfile::tempdir().unwrap(), Some(inject));
        assert!(!output.status.success(), "{inject}");
        assert!(!dir.path().join("blobs").join(NAME_FILE).exists(), "{inject}");
        let again = run_in(dir, None);
        assert!(again.output.status.success(), "{inject}: {}", again.errors());
    }
}
