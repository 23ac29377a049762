//! The shape of the workspace, held by tests: which crate may use which, where SQL, files, the
//! environment and HTTP may appear, and that the documents tell the truth (rules R1 to R12).
//!
//! It reads `cargo metadata` and the sources; it starts nothing and needs no database. Sources are
//! read without their unit tests (`#[cfg(test)]` at the bottom of a file), which may do more.
//!
//! R12 (disjoint prefixes, a permission for every route) needs the built services: see `roles.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::source::{self, SourceFile};

/// R1: what each crate may depend on. Adding a word here is a design decision, so it is reviewed here.
const ARROWS: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("database", &[]),
    ("egress", &[]),
    ("serve", &[]),
    ("gateway", &["serve"]),
    ("blobstore", &["oci"]),
    ("queue", &["database"]),
    ("sealed", &["database"]),
    ("audit", &["queue", "egress", "database"]),
    ("identity", &["audit", "queue", "sealed", "egress", "database", "oci"]),
    ("tenancy", &["identity", "audit", "queue", "database", "oci"]),
    ("catalog", &["tenancy", "identity", "blobstore", "audit", "queue", "database", "oci"]),
    (
        "replication",
        &["catalog", "tenancy", "identity", "audit", "queue", "sealed", "egress", "database", "oci"],
    ),
    (
        "notify",
        &[
            "replication",
            "catalog",
            "tenancy",
            "identity",
            "audit",
            "queue",
            "sealed",
            "egress",
            "database",
            "oci",
        ],
    ),
    ("registry", &["replication", "catalog", "tenancy", "identity", "oci"]),
    ("auth", &["tenancy", "identity", "oci"]),
    ("projects", &["notify", "replication", "catalog", "tenancy", "identity", "audit", "queue", "oci"]),
    ("worker", &["notify", "replication", "catalog", "tenancy", "identity", "audit", "queue"]),
    // It measures programs from outside, another's as well as ours, so it knows none of our crates.
    ("bench", &[]),
    // It knows servers from outside, over HTTP. Of the inside it takes the word for a secret.
    ("client", &["sealed"]),
    ("console", &["notify", "replication", "catalog", "tenancy", "identity", "audit", "queue", "oci"]),
];

const LAYERS: &[&str] = &["vocabulary", "mechanism", "domain", "service", "product", "dev"];

/// Lines after which a file is worth splitting (R9).
const FILE_LINES: usize = 500;

/// A crate of the workspace.
struct Package {
    /// Directory name, which is also the short name.
    name: String,
    layer: String,
    root: PathBuf,
    /// Names of normal and build dependencies, workspace crates by their short name.
    dependencies: BTreeSet<String>,
}

struct Workspace {
    root: PathBuf,
    packages: Vec<Package>,
}

impl Workspace {
    fn in_layers(&self, layers: &[&str]) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(move |package| layers.contains(&package.layer.as_str()))
    }

    /// Product sources of all crates but `testbed`, which is all test.
    fn sources(&self) -> impl Iterator<Item = (&Package, &SourceFile)> {
        static FILES: OnceLock<BTreeMap<String, Vec<SourceFile>>> = OnceLock::new();
        let files = FILES.get_or_init(|| {
            self.packages
                .iter()
                .map(|package| {
                    (package.name.clone(), source::read_all(&package.root.join("src"), &self.root))
                })
                .collect()
        });
        self.packages
            .iter()
            .filter(|package| package.layer != "dev")
            .flat_map(|package| files[&package.name].iter().map(move |file| (package, file)))
    }
}

fn workspace() -> &'static Workspace {
    static WORKSPACE: OnceLock<Workspace> = OnceLock::new();
    WORKSPACE.get_or_init(|| {
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .current_dir(source::workspace_root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
        let root = PathBuf::from(metadata["workspace_root"].as_str().expect("a workspace root"));
        let packages = metadata["packages"].as_array().expect("packages").iter().map(read_package).collect();
        Workspace { root, packages }
    })
}

fn read_package(package: &serde_json::Value) -> Package {
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a manifest path"));
    let root = manifest.parent().expect("a manifest lies in a directory").to_owned();
    let name = root.file_name().expect("a directory name").to_string_lossy().into_owned();
    let dependencies = package["dependencies"]
        .as_array()
        .expect("dependencies")
        .iter()
        .filter(|dependency| dependency["kind"] != "dev")
        .filter_map(|dependency| dependency["name"].as_str())
        .map(|name| name.strip_prefix("hythe-").unwrap_or(name).to_owned())
        .collect();
    let layer = package["metadata"]["hythe"]["layer"].as_str().unwrap_or_default().to_owned();
    Package { name, layer, root, dependencies }
}

/// Fails with all violations at once, one per line.
#[track_caller]
fn assert_none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

#[test]
fn r1_only_the_allowed_arrows() {
    let workspace = workspace();
    let ours: BTreeSet<&str> = workspace.packages.iter().map(|package| package.name.as_str()).collect();
    let mut violations = Vec::new();
    for package in
        workspace.packages.iter().filter(|package| !["cli", "testbed"].contains(&package.name.as_str()))
    {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            violations.push(format!("{} has no row in the table of arrows", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().map(String::as_str).filter(|name| ours.contains(name)) {
            if !allowed.contains(&dependency) {
                violations.push(format!("{} -> {dependency}", package.name));
            }
        }
    }
    for package in &workspace.packages {
        if package.name != "testbed" && package.dependencies.contains("testbed") {
            violations.push(format!("{} -> testbed", package.name));
        }
        if package.name != "testbed" && package.dependencies.contains("cli") {
            violations.push(format!("{} -> cli", package.name));
        }
        if !LAYERS.contains(&package.layer.as_str()) {
            violations.push(format!("{} states no layer in [package.metadata.hythe]", package.name));
        }
    }
    assert_none("R1, arrows between crates", violations);
}

#[test]
fn r2_services_do_not_know_each_other() {
    let services: BTreeSet<&str> =
        workspace().in_layers(&["service"]).map(|package| package.name.as_str()).collect();
    assert!(services.contains("registry"), "the layers are read wrongly");
    let violations = workspace()
        .in_layers(&["service"])
        .flat_map(|package| package.dependencies.iter().map(move |dependency| (package, dependency)))
        .filter(|(_, dependency)| services.contains(dependency.as_str()))
        .map(|(package, dependency)| format!("{} -> {dependency}", package.name))
        .collect();
    assert_none("R2, services on services", violations);
}

/// R3, R4, R5, R10 and R11 as far as manifests show them: who may use which external crate.
#[test]
fn r3_external_crates_stay_in_their_places() {
    let mut violations = Vec::new();
    for package in workspace().packages.iter().filter(|package| package.layer != "dev") {
        let (name, layer) = (package.name.as_str(), package.layer.as_str());
        for dependency in &package.dependencies {
            let allowed = match dependency.as_str() {
                "actix-web" | "actix-http" | "actix-server" | "actix-rt" | "actix-files" => {
                    ["service", "product"].contains(&layer) || name == "serve"
                }
                "sqlx" => layer == "domain" || ["database", "queue", "audit", "sealed"].contains(&name),
                "object_store" | "aws-sdk-s3" | "rusoto_s3" | "s3" => name == "blobstore",
                "reqwest" | "hyper" | "hyper-util" | "ldap3" | "ureq" => {
                    name == "egress"
                        || (name == "gateway" && dependency != "ldap3")
                        // It runs as a person on their own machine, never inside a server.
                        || (name == "client" && dependency == "reqwest")
                }
                "oauth2" | "openidconnect" => name == "identity",
                "aes-gcm" => name == "sealed",
                "argon2" | "jsonwebtoken" => name == "identity",
                // Only who answers requests describes them.
                "utoipa" => layer == "service",
                "askama" => name == "console",
                _ => true,
            };
            if !allowed {
                violations.push(format!("{name} uses {dependency}"));
            }
        }
    }
    assert_none("R3, R4, R5, R10, R11, external crates", violations);
}

#[test]
fn r4_unchecked_and_dynamic_sql_only_in_database() {
    let mut violations = Vec::new();
    for (package, file) in workspace().sources() {
        if file.mentions("QueryBuilder") && file.path != "crates/database/src/list.rs" {
            violations.push(format!("{}: QueryBuilder", file.path));
        }
        if package.name == "database" {
            continue;
        }
        for line in file.code.lines() {
            let unchecked = [
                "query(",
                "query_as(",
                "query_scalar(",
                "query_with(",
                "query_as_with(",
                "raw_sql(",
                "query::<",
                "query_as::<",
                "query_scalar::<",
            ]
            .iter()
            .any(|call| line.contains(&format!("sqlx::{call}")));
            if unchecked || line.contains("AssertSqlSafe") {
                violations.push(format!("{}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none("R4, SQL that nobody checked", violations);
}

#[test]
fn r5_files_only_where_bytes_live() {
    let mut violations = Vec::new();
    for (package, file) in workspace().sources() {
        let allowed = ["blobstore", "cli"].contains(&package.name.as_str())
            || file.path.starts_with("crates/database/src/embedded")
            || file.path == "crates/database/src/testing.rs";
        for word in ["std::fs", "tokio::fs", "nix::fcntl", "File::open", "File::create", "OpenOptions"] {
            if !allowed && file.mentions(word) {
                violations.push(format!("{}: {word}", file.path));
            }
        }
    }
    assert_none("R5, file access", violations);
}

#[test]
fn r6_the_environment_is_read_in_one_place() {
    let mut violations = Vec::new();
    for (_, file) in workspace().sources() {
        // The testing module is compiled into products but only ever called by tests.
        let allowed = file.path == "crates/cli/src/settings.rs"
            || file.path.starts_with("crates/cli/src/settings/")
            || file.path == "crates/database/src/testing.rs";
        for word in ["env::var", "env::vars", "env::set_var", "env::remove_var", "dotenv"] {
            if !allowed && file.mentions(word) {
                violations.push(format!("{}: {word}", file.path));
            }
        }
    }
    assert_none("R6, the environment", violations);
}

#[test]
fn r7_crates_write_only_their_own_schema() {
    let mut violations = Vec::new();
    let mut writes = 0;
    for (package, file) in workspace().sources() {
        for text in &file.strings {
            for table in source::written_tables(text) {
                writes += 1;
                let schema = table.split_once('.').map(|(schema, _)| schema);
                if schema != Some(package.name.as_str()) {
                    violations.push(format!("{}: writes {table}", file.path));
                }
            }
        }
    }
    assert!(writes > 20, "only {writes} writing statements found: the scanner no longer sees them");
    assert_none("R7, writes to another schema", violations);
}

#[test]
fn r8_documents_tell_the_truth() {
    let workspace = workspace();
    let mut violations = Vec::new();
    for (_, file) in workspace.sources() {
        if !file.text.starts_with("//!") {
            violations.push(format!("{} does not open with a //! header", file.path));
        }
    }
    let path = workspace.root.join("docs/ARCHITECTURE.md");
    let document = std::fs::read_to_string(&path).unwrap_or_default();
    if document.is_empty() {
        violations.push("docs/ARCHITECTURE.md is missing".to_owned());
    }
    for package in &workspace.packages {
        if !document.contains(&format!("crates/{}", package.name)) {
            violations.push(format!("docs/ARCHITECTURE.md does not name crates/{}", package.name));
        }
    }
    for named in source::named_paths(&document) {
        if !workspace.root.join(&named).exists() {
            violations.push(format!("docs/ARCHITECTURE.md names {named}, which does not exist"));
        }
    }
    assert_none("R8, documents", violations);
}

/// A prompt for review and never a failure: `cargo test -- --nocapture r9` shows the list.
#[test]
fn r9_long_files_are_listed() {
    let mut long: Vec<_> = workspace()
        .sources()
        .map(|(_, file)| (file.text.lines().count(), &file.path))
        .filter(|(lines, _)| *lines > FILE_LINES)
        .collect();
    long.sort_by(|left, right| right.cmp(left));
    for (lines, path) in &long {
        println!("R9: {path} has {lines} lines");
    }
}

/// Every crate takes the workspace's lints; none switches them off for itself.
#[test]
fn lints_hold_everywhere() {
    let mut violations = Vec::new();
    for package in &workspace().packages {
        let manifest = read(&package.root.join("Cargo.toml"));
        if !manifest.contains("[lints]\nworkspace = true") {
            violations.push(format!("{} does not take the workspace's lints", package.name));
        }
    }
    for (_, file) in workspace().sources() {
        for line in file.code.lines().map(str::trim) {
            if line.contains("#[allow(") || line.contains("#![allow(") || line.contains("deny(warnings)") {
                violations.push(format!("{}: {line}", file.path));
            }
        }
    }
    assert_none("lints", violations);
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}
