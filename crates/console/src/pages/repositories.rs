//! The repositories of a project.

use actix_web::HttpResponse;
use askama::Template;
use catalog::Repository;
use serde_json::json;
use tenancy::ListRepositories;
use tenancy::roles::{Action, Resource};

use crate::chart::{self, Spark};
use crate::failure::Failure;
use crate::file::{self, Format};
use crate::list::List;
use crate::pages::projects::project_shell;
use crate::shell::Shell;
use crate::view::View;

/// Columns of the list as a file.
const FILE: [&str; 7] =
    ["name", "tag_count", "artifact_count", "size", "pull_count", "last_push_time", "creation_time"];

#[derive(Template)]
#[template(path = "repositories/list.html", blocks = ["rows"])]
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
    if let Some(format) = Format::asked(view) {
        let held = std::sync::Arc::new((view.state.catalog.repositories.clone(), permit));
        let read = move |query| {
            let held = held.clone();
            async move {
                let rows = held.0.list(&held.1, &query).await?.rows.into_iter();
                Ok(rows
                    .map(|row| {
                        vec![
                            json!(row.path),
                            json!(row.tag_count),
                            json!(row.artifact_count),
                            json!(row.size),
                            json!(row.pull_count),
                            json!(row.published_at),
                            json!(row.created_at),
                        ]
                    })
                    .collect())
            }
        };
        return file::of(view, format, "repositories", &FILE, l.query("name"), read).await;
    }
    let page = view.state.catalog.repositories.list(&permit, &l.query("name")).await?;
    (l.total, l.files) = (page.total, true);
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
    let page = ListPage { s, l, project, user, may_push, repositories };
    view.list(&page.l, &page, &page.as_rows())
}
