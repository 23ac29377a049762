//! Limits of projects, the fullest first.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use serde_json::json;
use tenancy::ProjectQuota;
use tenancy::list::{Query, Value};

use crate::failure::Failure;
use crate::file::{self, Format};
use crate::list::List;
use crate::pages::admin::{admin_shell, gib, typed_limit};
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

/// Orders of the list.
const SORTS: [&str; 4] = ["-fullness", "-used.storage", "-hard.storage", "name"];

/// A limit as the row shows it: what was typed, when that was refused.
struct Row {
    quota: ProjectQuota,
    typed: String,
    problem: Problem,
}

impl Row {
    /// Percent of the limit that is used; nothing without one.
    fn percent(&self) -> Option<i64> {
        let ProjectQuota { used, hard, .. } = self.quota;
        (hard > 0).then(|| i64::try_from(i128::from(used) * 100 / i128::from(hard)).unwrap_or(100))
    }

    /// Key of how full it is, where that has to be said, with the class of the badge.
    fn level(&self) -> Option<(&'static str, &'static str)> {
        match self.percent()? {
            100.. => Some(("quota-full", "bad")),
            95.. => Some(("quota-nearly-full", "bad")),
            80.. => Some(("quota-filling", "warn")),
            _ => None,
        }
    }
}

#[derive(Template)]
#[template(path = "admin/quotas.html", blocks = ["rows"])]
struct QuotasPage {
    s: Shell,
    l: List,
    rows: Vec<Row>,
    default: i64,
    problem: Problem,
}

async fn page(view: &View, refused: Option<(String, String, Problem)>) -> Result<QuotasPage, Failure> {
    let mut l = List::of(view, &SORTS, &[]);
    let page = view.state.tenancy.quota_list(&view.caller, None, &l.query("name")).await?;
    (l.total, l.files) = (page.total, true);
    let row = |quota: ProjectQuota| match &refused {
        Some((name, typed, problem)) if *name == quota.name => {
            Row { quota, typed: typed.clone(), problem: problem.clone() }
        }
        _ => Row { typed: gib(quota.hard), quota, problem: Problem::default() },
    };
    let rows: Vec<Row> = page.rows.into_iter().map(row).collect();
    let s = admin_shell(view, "admin-storage", view.t("quotas-title"))
        .crumb(view.t("storage-title"), "/admin/storage");
    let default = view.state.tenancy.settings().await?.storage_per_project;
    let problem = refused.map(|(_, _, problem)| problem).unwrap_or_default();
    Ok(QuotasPage { s, l, rows, default, problem })
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    view.sysadmin().await?;
    if let Some(format) = Format::asked(view) {
        let held = Arc::new((view.state.tenancy.clone(), view.caller.clone()));
        let read = move |query| {
            let held = held.clone();
            async move {
                let rows = held.0.quota_list(&held.1, None, &query).await?.rows.into_iter();
                Ok(rows
                    .map(|quota| {
                        vec![json!(quota.name), json!(quota.owner_name), json!(quota.used), json!(quota.hard)]
                    })
                    .collect())
            }
        };
        let query = List::of(view, &SORTS, &[]).query("name");
        return file::of(view, format, "quotas", &["project", "owner", "used", "limit"], query, read).await;
    }
    let page = page(view, None).await?;
    view.list(&page.l, &page, &page.as_rows())
}

pub(crate) async fn set(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    view.sysadmin().await?;
    let name = form.text("project").to_owned();
    let query = Query { terms: vec![("name".to_owned(), Value::Exact(name.clone()))], ..Query::default() };
    let found = view.state.tenancy.quota_list(&view.caller, None, &query).await?;
    let quota = found.rows.into_iter().next().ok_or_else(Failure::hidden)?;
    let Some(bytes) = typed_limit(form.text("limit"), form.ticked("unlimited")) else {
        let problem = Problem::new("refused", view.t("quota-bad"));
        let refused = (name, form.text("limit").to_owned(), problem);
        return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page(view, Some(refused)).await?);
    };
    view.state.tenancy.quota_set(&view.caller, quota.project_id, bytes).await?;
    Ok(view.done("/admin/storage/quotas", Told::new("told-quota-set", name)))
}
