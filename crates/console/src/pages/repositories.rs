//! The repositories of a project.

use actix_web::HttpResponse;
use askama::Template;
use catalog::Repository;
use tenancy::ListRepositories;
use tenancy::roles::{Action, Resource};

use crate::chart::{self, Spark};
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
    may_push: bool,
    /// With the groups before its name, which end with a slash, the name itself, and its pulls of late.
    repositories: Vec<(String, String, Repository, Spark)>,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListRepositories>().await?;
    let sorts = ["name", "-push_time", "-pull_count", "-tag_count", "-artifact_count", "-size"];
    let mut l = List::of(view, &sorts, &[]);
    let page = view.state.catalog.repositories.list(&permit, &l.query("name")).await?;
    l.total = page.total;
    let s = project_shell(view, &permit, "project-tab-repositories", view.t("repositories-title"));
    let project = permit.name.to_string();
    let inside = |path: &str| {
        let name = path.split_once('/').map_or(path, |(_, name)| name);
        let (groups, name) = name.rsplit_once('/').map_or(("", name), |(groups, name)| (groups, name));
        (if groups.is_empty() { String::new() } else { format!("{groups}/") }, name.to_owned())
    };
    let pulls = view.state.catalog.days.pulls_of(&page.rows, chart::DAYS).await?;
    let repositories = page
        .rows
        .into_iter()
        .map(|row| {
            let (groups, name) = inside(&row.path);
            let spark = Spark::new(pulls.get(&row.id).map(Vec::as_slice).unwrap_or_default());
            (groups, name, row, spark)
        })
        .collect();
    let user = s.user.clone().unwrap_or_default();
    let may_push = permit.rights().allow(Resource::Repository, Action::Push);
    view.page(&ListPage { s, l, project, user, may_push, repositories })
}
