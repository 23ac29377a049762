//! One repository: its tags.

use actix_web::HttpResponse;
use askama::Template;
use catalog::{Repository, TagEntry};
use tenancy::{ListTags, ReadRepository};

use crate::failure::Failure;
use crate::list::List;
use crate::shell::{Shell, Tab, segment};
use crate::view::View;

#[derive(Template)]
#[template(path = "repository/tags.html")]
struct TagsPage {
    s: Shell,
    l: List,
    repository: Repository,
    tags: Vec<TagEntry>,
}

/// The frame of a page inside a repository. `tab` is the key of the open tab.
pub(crate) fn repository_shell(view: &View, path: &str, tab: &'static str) -> Shell {
    let (project, name) = path.split_once('/').unwrap_or((path, ""));
    let above = format!("/projects/{}", segment(project));
    let base = format!("{above}/repositories/{}", segment(name));
    let tabs = [("repository-tab-tags", "")]
        .into_iter()
        .map(|(key, path)| Tab { key, path: format!("{base}{path}"), current: key == tab })
        .collect();
    view.shell("projects", path)
        .crumb(view.t("projects-title"), "/projects")
        .crumb(project, above)
        .crumb(name, base)
        .tabs(tabs)
}

pub(crate) async fn tags(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListTags>().await?;
    let name = view.repository(&permit)?;
    let mut l = List::of(view, &["-push_time", "natural", "-semver", "-size", "-pull_count"], &[]);
    let page = view.state.catalog.history.repository_tags(&permit, &name, &l.query("name")).await?;
    l.total = page.total;
    let read = view.permit::<ReadRepository>().await?;
    let repository = view.state.catalog.repositories.get(&read, &name).await?;
    let s = repository_shell(view, name.as_str(), "repository-tab-tags");
    view.page(&TagsPage { s, l, repository, tags: page.rows })
}
