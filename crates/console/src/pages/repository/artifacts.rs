//! Everything that was pushed to a repository, with a tag or without.

use std::sync::Arc;

use actix_web::HttpResponse;
use askama::Template;
use catalog::{Artifact, ArtifactFlags};
use serde_json::json;
use tenancy::list::Value as Term;
use tenancy::{ListArtifacts, ListTags};

use super::{address, kind_name, repository_shell, title};
use crate::failure::Failure;
use crate::file::{self, Format};
use crate::list::List;
use crate::shell::Shell;
use crate::view::View;

/// What each row and each artifact page shows besides.
pub(super) const FLAGS: ArtifactFlags =
    ArtifactFlags { tags: true, accessories: true, inherited: false, labels: true, immutable: true };

/// Tags shown in a row; how many there are besides is told.
const TAGS_MAX: usize = 5;

/// What the list can be narrowed to, with the names of these choices.
const SHOW: [(&str, &str); 4] = [
    ("", "repository-show-usual"),
    ("tagged", "repository-show-tagged"),
    ("untagged", "repository-show-untagged"),
    ("all", "repository-show-all"),
];

/// Kinds to choose from, with their names.
const KINDS: [(&str, &str); 6] = [
    ("IMAGE", "repository-kind-image"),
    ("CHART", "repository-kind-chart"),
    ("WASM", "repository-kind-wasm"),
    ("CNAI", "repository-kind-model"),
    ("SBOM", "repository-kind-sbom"),
    ("UNKNOWN", "repository-kind-other"),
];

/// Columns of the list as a file.
const FILE: [&str; 8] = ["digest", "type", "media_type", "size", "tags", "labels", "push_time", "pull_time"];

#[derive(Template)]
#[template(path = "repository/artifacts.html", blocks = ["rows"])]
struct ArtifactsPage {
    s: Shell,
    l: List,
    base: String,
    name: String,
    rows: Vec<Row>,
    show: [(&'static str, &'static str); 4],
    kinds: [(&'static str, &'static str); 6],
    labels: Vec<String>,
}

struct Row {
    artifact: Artifact,
    kind: String,
    tags: Vec<String>,
    more_tags: usize,
    attached: i64,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListArtifacts>().await?;
    let name = view.repository(&permit)?;
    let mut l = List::of(view, &["-push_time", "-size", "type", "-pull_time"], &["show", "type", "label"]);
    let mut query = l.query("digest");
    match l.filter("show") {
        "tagged" => query.terms.push(("tags".to_owned(), Term::Exact("*".to_owned()))),
        "untagged" => query.terms.push(("tags".to_owned(), Term::Exact("nil".to_owned()))),
        "all" => query.terms.push(("base".to_owned(), Term::Exact("*".to_owned()))),
        _ => {}
    }
    for (filter, key) in [("type", "type"), ("label", "label")] {
        if !l.filter(filter).is_empty() {
            query.terms.push((key.to_owned(), Term::Exact(l.filter(filter).to_owned())));
        }
    }
    if let Some(format) = Format::asked(view) {
        let held = Arc::new((view.state.catalog.artifacts.clone(), permit, name));
        let read = move |query| {
            let held = held.clone();
            async move {
                let flags = ArtifactFlags { accessories: false, immutable: false, ..FLAGS };
                let rows = held.0.list(&held.1, &held.2, &query, flags).await?.rows.into_iter();
                Ok(rows
                    .map(|row| {
                        let tags: Vec<String> =
                            row.tags.unwrap_or_default().into_iter().map(|tag| tag.name).collect();
                        let labels: Vec<String> = row.labels.into_iter().map(|label| label.name).collect();
                        vec![
                            json!(row.digest.to_string()),
                            json!(row.kind),
                            json!(row.media_type),
                            json!(row.size),
                            json!(tags),
                            json!(labels),
                            json!(row.pushed_at),
                            json!(row.pulled_at),
                        ]
                    })
                    .collect())
            }
        };
        return file::of(view, format, "artifacts", &FILE, query, read).await;
    }
    let labels = view.state.catalog.labels.names(&view.permit::<ListTags>().await?).await?;
    let page = view.state.catalog.artifacts.list(&permit, &name, &query, FLAGS).await?;
    (l.total, l.files) = (page.total, true);
    let rows = page
        .rows
        .into_iter()
        .map(|artifact| {
            let all = artifact.tags.as_deref().unwrap_or_default();
            Row {
                kind: kind_name(view, &artifact),
                tags: all.iter().take(TAGS_MAX).map(|tag| tag.name.clone()).collect(),
                more_tags: all.len().saturating_sub(TAGS_MAX),
                attached: artifact.accessories.as_ref().map_or(0, Vec::len) as i64,
                artifact,
            }
        })
        .collect();
    let page = ArtifactsPage {
        s: repository_shell(
            view,
            &permit,
            &name,
            "repository-tab-artifacts",
            title(view, "repository-tab-artifacts", &name),
        ),
        l,
        base: address(name.as_str()),
        name: name.to_string(),
        rows,
        show: SHOW,
        kinds: KINDS,
        labels,
    };
    view.list(&page.l, &page, &page.as_rows())
}
