//! Home: what the viewer works with. Visitors see what is public.

use actix_web::HttpResponse;
use askama::Template;
use tenancy::list::Query;
use tenancy::{Project, Statistics};

use crate::failure::Failure;
use crate::shell::Shell;
use crate::view::View;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    s: Shell,
    projects: Vec<Project>,
    total: i64,
    statistics: Option<Statistics>,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let query = Query { sort: vec![("update_time".to_owned(), true)], page_size: 10, ..Query::default() };
    let page = view.state.tenancy.project_list(&view.caller, &query).await?;
    let statistics = match &view.signed_in {
        Some(_) => Some(view.state.tenancy.statistics(&view.caller).await?),
        None => None,
    };
    let s = view.shell("home", view.t("home-title"));
    view.page(&HomePage { s, projects: page.rows, total: page.total, statistics })
}
