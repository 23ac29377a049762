//! Everything that was pushed to a repository, with a tag or without.

use actix_web::HttpResponse;
use askama::Template;
use catalog::{Artifact, ArtifactFlags};
use tenancy::ListArtifacts;
use tenancy::list::Value as Term;

use super::{address, kind_name, repository_shell, title};
use crate::failure::Failure;
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

#[derive(Template)]
#[template(path = "repository/artifacts.html")]
struct ArtifactsPage {
    s: Shell,
    l: List,
    base: String,
    name: String,
    rows: Vec<Row>,
    show: [(&'static str, &'static str); 4],
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
    let mut l = List::of(view, &["-push_time", "-size", "type", "-pull_time"], &["show"]);
    let mut query = l.query("digest");
    match l.filter("show") {
        "tagged" => query.terms.push(("tags".to_owned(), Term::Exact("*".to_owned()))),
        "untagged" => query.terms.push(("tags".to_owned(), Term::Exact("nil".to_owned()))),
        "all" => query.terms.push(("base".to_owned(), Term::Exact("*".to_owned()))),
        _ => {}
    }
    let page = view.state.catalog.artifacts.list(&permit, &name, &query, FLAGS).await?;
    l.total = page.total;
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
    view.page(&ArtifactsPage {
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
    })
}
