//! The benchmark runs through: all cases against a real Hythe and the real peer, with tiny amounts.
//!
//! No figure is looked at. It fails when a request fails, when a case is left out, and when something is left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PEER: &str = "/usr/bin/docker-registry";

/// `HYTHE_BIN`, else the workspace's debug build.
fn hythe() -> PathBuf {
    std::env::var_os("HYTHE_BIN")
        .map_or_else(|| Path::new(env!("CARGO_BIN_EXE_hythe-bench")).with_file_name("hythe"), PathBuf::from)
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("it is built");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn every_case_runs_against_both() {
    assert!(hythe().exists(), "{} is not built; run: cargo build", hythe().display());
    assert!(Path::new(PEER).exists(), "{PEER} is missing; run: scripts/setup.sh bench");
    // Short, because PostgreSQL's socket is inside; below a directory that its account can pass.
    let directory = tempfile::Builder::new().prefix("hb-").tempdir_in("/tmp").expect("/tmp is writable");
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("our own directory");
    let results = tempfile::NamedTempFile::new().expect("a temporary file");

    let bench = || Command::new(env!("CARGO_BIN_EXE_hythe-bench"));
    succeeds(
        bench()
            .args(["run", "--size", "smoke", "--peer", PEER, "--hythe"])
            .arg(hythe())
            .arg("--dir")
            .arg(directory.path())
            .arg("--json")
            .arg(results.path()),
    );
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("it exists").flatten().collect();
    assert!(left.is_empty(), "left behind: {left:?}");

    let text = std::fs::read(results.path()).expect("written");
    let report: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let cases = report["cases"].as_array().expect("cases");
    let names: Vec<&str> = cases.iter().filter_map(|case| case["name"].as_str()).collect();
    for expected in [
        "idle",
        "push",
        "first pull",
        "pull",
        "peak while 8 clients push",
        "peak while 8 clients pull",
        "manifest GET by tag",
        "manifest GET by digest",
        "manifest HEAD by tag",
        "manifest HEAD by digest",
        "blob HEAD",
        "small image push, 5 requests",
        "small image push, docker's 9 requests",
        "token, warm login",
        "token, first login",
        "first 100 of 25 tags",
        "last 100 of 25 tags",
        "100 of 25 repositories",
        "all of 25 repositories",
        "REST: 100 of 20 projects",
        "REST: 100 of 40 artifacts, every flag",
        "console: console_home",
        "console: the last page of 25 tags",
    ] {
        assert!(names.iter().any(|name| name.starts_with(expected)), "no case {expected:?} in {names:?}");
    }
    for case in cases {
        let runs = |side: &str| case[side].as_array().map_or(0, Vec::len);
        let ours_only = case["name"].as_str().is_some_and(|name| {
            ["token", "private", "quota", "REST:", "console:"].iter().any(|word| name.contains(word))
        });
        assert_eq!((runs("ours"), runs("peer")), (1, usize::from(!ours_only)), "{case}");
    }

    let again = succeeds(bench().arg("report").arg(results.path()));
    let table = String::from_utf8(again.stdout).expect("text");
    assert!(names.iter().all(|name| table.contains(&format!("| {name} |"))), "{table}");
}
