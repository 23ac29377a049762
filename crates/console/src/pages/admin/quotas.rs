//! Limits of projects, the fullest first.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use tenancy::ProjectQuota;
use tenancy::list::{Query, Value};

use crate::failure::Failure;
use crate::list::List;
use crate::pages::admin::{admin_shell, gib, typed_limit};
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

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
#[template(path = "admin/quotas.html")]
struct QuotasPage {
    s: Shell,
    l: List,
    rows: Vec<Row>,
    default: i64,
    problem: Problem,
}

async fn page(view: &View, refused: Option<(String, String, Problem)>) -> Result<QuotasPage, Failure> {
    let mut l = List::of(view, &["-fullness", "-used.storage", "-hard.storage", "name"], &[]);
    let page = view.state.tenancy.quota_list(&view.caller, None, &l.query("name")).await?;
    l.total = page.total;
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
    view.page(&page(view, None).await?)
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
