//! The repositories of a project.

use actix_web::HttpResponse;
use askama::Template;
use catalog::Repository;
use tenancy::ListRepositories;

use crate::failure::Failure;
use crate::list::List;
use crate::pages::projects::project_shell;
use crate::shell::Shell;
use crate::view::View;

#[derive(Template)]
#[template(path = "repositories/list.html")]
struct ListPage {
    s: Shell,
    l: List,
    project: String,
    user: String,
    /// With the name inside the project.
    repositories: Vec<(String, Repository)>,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListRepositories>().await?;
    let mut l = List::of(view, &["name", "-update_time", "-pull_count", "-artifact_count"], &[]);
    let page = view.state.catalog.repositories.list(&permit, &l.query("name")).await?;
    l.total = page.total;
    let s = project_shell(view, &permit, "project-tab-repositories", view.t("repositories-title"));
    let project = permit.name.to_string();
    let inside = |path: &str| path.split_once('/').map_or(path, |(_, name)| name).to_owned();
    let repositories = page.rows.into_iter().map(|row| (inside(&row.path), row)).collect();
    let user = s.user.clone().unwrap_or_default();
    view.page(&ListPage { s, l, project, user, repositories })
}
