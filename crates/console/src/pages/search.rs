//! Search over what the viewer may see.

use actix_web::HttpResponse;
use askama::Template;
use catalog::Repository;
use tenancy::Project;

use crate::failure::Failure;
use crate::pages::paste;
use crate::shell::Shell;
use crate::view::View;

/// Longer texts are in no name.
const BYTES_MAX: usize = 255;

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    s: Shell,
    q: String,
    /// Where the image is that was looked for by its whole name.
    image: Option<String>,
    projects: Vec<Project>,
    repositories: Vec<(String, String, Repository)>,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let q = view.query("q").unwrap_or_default();
    let (mut projects, mut repositories) = (Vec::new(), Vec::new());
    let image = paste::place(view, q.trim()).await?;
    if !q.is_empty() && q.len() <= BYTES_MAX {
        projects = view.state.tenancy.project_search(&view.caller, &q).await?;
        let visible = view.state.tenancy.visible(&view.caller.principal).await?;
        repositories = view.state.catalog.repositories.search(visible.ids(), &q).await?;
    }
    let mut s = view.shell("search", view.t("search-title"));
    s.search.clone_from(&q);
    let repositories = repositories
        .into_iter()
        .map(|repository| {
            let (project, name) = repository.path.split_once('/').unwrap_or((repository.path.as_str(), ""));
            (project.to_owned(), name.to_owned(), repository)
        })
        .collect();
    view.page(&SearchPage { s, q, image, projects, repositories })
}
