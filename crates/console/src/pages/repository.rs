//! One repository: its tags, its artifacts, what happened to them, what it is.

pub(crate) mod about;
pub(crate) mod artifact;
pub(crate) mod artifacts;
pub(crate) mod commands;
mod contents;
pub(crate) mod history;
pub(crate) mod labels;
pub(crate) mod settings;
pub(crate) mod tags;

use catalog::{Artifact, Repository};
use oci::RepositoryName;
use serde_json::Value;
use tenancy::list::{Query, Value as Term};
use tenancy::roles::{Action, Resource};
use tenancy::{ListRepositories, Permit};

use crate::failure::Failure;
use crate::shell::{Shell, Tab, segment};
use crate::view::View;

/// Where the pages of a repository begin.
pub(crate) fn address(name: &str) -> String {
    let (project, inside) = name.split_once('/').unwrap_or((name, ""));
    format!("/projects/{}/repositories/{}", segment(project), segment(inside))
}

/// The frame of a page inside a repository. `tab` is the key of the open tab; tabs that the viewer may not open are left
/// out.
pub(crate) fn repository_shell<A>(
    view: &View,
    permit: &Permit<A>,
    name: &RepositoryName,
    tab: &'static str,
    title: String,
) -> Shell {
    let base = address(name.as_str());
    let (project, inside) = name.as_str().split_once('/').unwrap_or((name.as_str(), ""));
    let above = format!("/projects/{}", segment(project));
    let tabs = [
        ("repository-tab-tags", "", Resource::Tag, Action::List),
        ("repository-tab-artifacts", "/-/artifacts", Resource::Artifact, Action::List),
        ("repository-tab-history", "/-/history", Resource::Tag, Action::List),
        ("repository-tab-about", "/-/about", Resource::Repository, Action::List),
        ("repository-tab-settings", "/-/settings", Resource::Repository, Action::Delete),
    ]
    .into_iter()
    .filter(|(.., resource, action)| permit.rights().allow(*resource, *action))
    .map(|(key, path, ..)| Tab { key, path: format!("{base}{path}"), current: key == tab })
    .collect();
    view.shell("projects", title)
        .crumb(view.t("projects-title"), "/projects")
        .crumb(project, above.clone())
        .crumb(view.t("repositories-title"), format!("{above}/repositories"))
        .crumb(inside, base)
        .tabs(tabs)
}

/// The title of a page inside a repository, which names both.
fn title(view: &View, key: &str, name: &RepositoryName) -> String {
    format!("{} · {name}", view.t(key))
}

/// The repository as lists show it, which everybody may see who sees its tags.
async fn listed(view: &View, name: &RepositoryName) -> Result<Repository, Failure> {
    let permit = view.permit::<ListRepositories>().await?;
    let terms = vec![("name".to_owned(), Term::Exact(name.to_string()))];
    let query = Query { terms, page_size: 1, ..Query::default() };
    let page = view.state.catalog.repositories.list(&permit, &query).await?;
    page.rows.into_iter().next().ok_or_else(Failure::hidden)
}

/// A platform as people write it: `amd64`, `arm/v7`, `windows amd64 10.0.17763`. Linux goes without saying.
fn platform(value: &Value) -> String {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut name = text("architecture").to_owned();
    if !text("variant").is_empty() {
        name = format!("{name}/{}", text("variant"));
    }
    if !matches!(text("os"), "linux" | "") {
        name = format!("{} {name}", text("os"));
    }
    if !text("os.version").is_empty() {
        // The fourth number tells builds apart, which nobody chooses by.
        let version: Vec<&str> = text("os.version").split('.').take(3).collect();
        name = format!("{name} {}", version.join("."));
    }
    name.chars().take(60).collect()
}

/// The name of a kind of artifact; kinds that have none of ours keep their own.
fn kind_name(view: &View, artifact: &Artifact) -> String {
    match artifact.kind.as_str() {
        "IMAGE" if !artifact.references.is_empty() => view.t("repository-kind-index"),
        "IMAGE" => view.t("repository-kind-image"),
        "CHART" => view.t("repository-kind-chart"),
        "WASM" => view.t("repository-kind-wasm"),
        "CNAB" => view.t("repository-kind-cnab"),
        "CNAI" => view.t("repository-kind-model"),
        "SBOM" => view.t("repository-kind-sbom"),
        "UNKNOWN" | "" => view.t("repository-kind-other"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn platforms_as_people_write_them() {
        for (value, expected) in [
            (json!({"os": "linux", "architecture": "amd64"}), "amd64"),
            (json!({"os": "linux", "architecture": "arm", "variant": "v7"}), "arm/v7"),
            (
                json!({"os": "windows", "architecture": "amd64", "os.version": "10.0.17763.1999"}),
                "windows amd64 10.0.17763",
            ),
            (json!("x"), ""),
        ] {
            assert_eq!(platform(&value), expected);
        }
    }
}
