//! What is stored, and by whom.

use actix_web::HttpResponse;
use askama::Template;
use catalog::Repository;
use tenancy::list::Query;
use tenancy::{ProjectQuota, Statistics};

use crate::failure::Failure;
use crate::list::List;
use crate::pages::admin::admin_shell;
use crate::platform::Room;
use crate::shell::Shell;
use crate::view::View;

/// Projects shown; the others are in the list of limits.
const PROJECTS: i64 = 10;

#[derive(Template)]
#[template(path = "admin/storage.html", blocks = ["rows"])]
struct StoragePage {
    s: Shell,
    l: List,
    statistics: Statistics,
    store: String,
    rooms: Vec<Room>,
    projects: Vec<ProjectQuota>,
    /// With the project and the name inside it.
    repositories: Vec<(String, String, Repository)>,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    view.sysadmin().await?;
    view.state.tenancy.require_volumes(&view.caller).await?;
    let statistics = view.state.tenancy.statistics(&view.caller).await?;
    let (store, rooms) = match &view.state.platform {
        Some(platform) => (platform.storage_name.clone(), platform.rooms().await),
        None => (String::new(), Vec::new()),
    };
    let most =
        Query { sort: vec![("used.storage".to_owned(), true)], page_size: PROJECTS, ..Query::default() };
    let projects = view.state.tenancy.quota_list(&view.caller, None, &most).await?.rows;
    let mut l = List::of(view, &["-size", "name", "-artifact_count"], &[]);
    let page = view.state.catalog.repositories.list_in(None, &l.query("name")).await?;
    l.total = page.total;
    let repositories = page.rows.into_iter().map(|row| {
        let (project, name) = row.path.split_once('/').unwrap_or((row.path.as_str(), ""));
        (project.to_owned(), name.to_owned(), row)
    });
    let repositories = repositories.collect();
    let s = admin_shell(view, "admin-storage", view.t("storage-title"));
    let page = StoragePage { s, l, statistics, store, rooms, projects, repositories };
    view.list(&page.l, &page, &page.as_rows())
}
