//! The audit trail: who did what, and whether anybody changed the record of it.

use actix_web::HttpResponse;
use askama::Template;
use chrono::{DateTime, Duration, NaiveDate, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tenancy::list::{Query, Value};
use tenancy::{Act, ActSelection, Verified};

use crate::failure::Failure;
use crate::file::Format;
use crate::list::List;
use crate::pages::activity::as_file;
use crate::pages::admin::admin_shell;
use crate::shell::Shell;
use crate::view::View;

/// What the list can be narrowed down to.
const FILTERS: [&str; 8] = ["actor", "operation", "kind", "resource", "result", "range", "from", "to"];

/// Spans of time to choose from: hours and key.
const RANGES: [(&str, i64, &str); 4] = [
    ("1h", 1, "audit-range-hour"),
    ("24h", 24, "audit-range-day"),
    ("7d", 168, "audit-range-week"),
    ("30d", 720, "audit-range-month"),
];

#[derive(Template)]
#[template(path = "admin/audit.html", blocks = ["rows"])]
struct AuditPage {
    s: Shell,
    l: List,
    acts: Vec<Act>,
    ranges: [(&'static str, i64, &'static str); 4],
    project: String,
    /// The command that fetches the same as CSV.
    export: String,
    /// A day that is none, as typed.
    bad_day: bool,
}

/// A bound as the domain reads it.
fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The filters as terms; whether a day was not one.
fn terms(l: &List, now: DateTime<Utc>) -> (Vec<(String, Value)>, bool) {
    let mut terms = Vec::new();
    let mut text = |key: &str, filter: &str, exact: bool| {
        let value = l.filter(filter).to_owned();
        if !value.is_empty() {
            terms.push((key.to_owned(), if exact { Value::Exact(value) } else { Value::Fuzzy(value) }));
        }
    };
    text("username", "actor", false);
    text("operation", "operation", true);
    text("resource_type", "kind", true);
    text("resource", "resource", false);
    match l.filter("result") {
        "done" => terms.push(("operation_result".to_owned(), Value::Exact("true".to_owned()))),
        "refused" => terms.push(("operation_result".to_owned(), Value::Exact("false".to_owned()))),
        _ => {}
    }
    let day = |name: &str, end: (u32, u32, u32)| {
        let typed = l.filter(name);
        let day = typed.parse::<NaiveDate>().ok();
        let time =
            day.and_then(|day| day.and_hms_opt(end.0, end.1, end.2)).map(|time| moment(time.and_utc()));
        (time.is_none() && !typed.is_empty(), time)
    };
    let ((bad_from, from), (bad_to, to)) = (day("from", (0, 0, 0)), day("to", (23, 59, 59)));
    let hours = RANGES.iter().find(|(name, ..)| *name == l.filter("range")).map(|(_, hours, _)| *hours);
    let min = from.or_else(|| hours.map(|hours| moment(now - Duration::hours(hours))));
    if min.is_some() || to.is_some() {
        terms.push(("op_time".to_owned(), Value::Range { min, max: to }));
    }
    (terms, bad_from || bad_to)
}

/// The terms in the grammar of the API.
fn written(terms: &[(String, Value)]) -> String {
    let term = |(key, value): &(String, Value)| match value {
        Value::Exact(text) => Some(format!("{key}={text}")),
        Value::Fuzzy(text) => Some(format!("{key}=~{text}")),
        Value::Range { min, max } => {
            let bound = |bound: &Option<String>| bound.clone().unwrap_or_default();
            Some(format!("{key}=[{}~{}]", bound(min), bound(max)))
        }
        Value::Any(_) | Value::All(_) => None,
    };
    terms.iter().filter_map(term).collect::<Vec<_>>().join(",")
}

/// Refused attempts to sign in during the last day.
pub(crate) async fn refused_logins(view: &View) -> Result<i64, Failure> {
    let term = |key: &str, value: &str| (key.to_owned(), Value::Exact(value.to_owned()));
    let since = Value::Range { min: Some(moment(view.now - Duration::days(1))), max: None };
    let query = Query {
        terms: vec![
            term("operation", "login"),
            term("operation_result", "false"),
            ("op_time".to_owned(), since),
        ],
        page_size: 1,
        ..Query::default()
    };
    let readable = view.state.tenancy.trail_for(&view.caller).await?;
    Ok(readable.page(ActSelection::Everything, &query).await?.total)
}

/// How often acts were lost before they got into the trail, in the last thirty days.
pub(crate) async fn lost_acts(view: &View) -> Result<i64, Failure> {
    let since = Value::Range { min: Some(moment(view.now - Duration::days(30))), max: None };
    let term = |key: &str, value: &str| (key.to_owned(), Value::Exact(value.to_owned()));
    let query = Query {
        terms: vec![term("resource_type", "audit"), term("operation", "lost"), ("op_time".to_owned(), since)],
        page_size: 1,
        ..Query::default()
    };
    let readable = view.state.tenancy.trail_for(&view.caller).await?;
    Ok(readable.page(ActSelection::Everything, &query).await?.total)
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    view.state.tenancy.require_trail(&view.caller).await?;
    let mut l = List::of(view, &["-op_time", "username"], &FILTERS);
    let (mut terms, bad_day) = terms(&l, view.now);
    let project = view.query("project").unwrap_or_default();
    if !project.is_empty() {
        let named = Query {
            terms: vec![("name".to_owned(), Value::Exact(project.clone()))],
            page_size: 1,
            ..Query::default()
        };
        let found = view.state.tenancy.project_list(&view.caller, &named).await?.rows;
        let id = found.first().map_or(0, |project| project.id);
        terms.push(("project_id".to_owned(), Value::Exact(id.to_string())));
        l.filters.push(("project", project.clone()));
    }
    let query = Query { terms: terms.clone(), ..l.query("resource") };
    let readable = view.state.tenancy.trail_for(&view.caller).await?;
    if let Some(format) = Format::asked(view) {
        return as_file(view, format, readable, query).await;
    }
    let page = readable.page(ActSelection::Everything, &query).await?;
    (l.total, l.files) = (page.total, true);
    let path = format!("{}/api/v2.0/auditlog-exts", view.external_url());
    let query = utf8_percent_encode(&written(&terms), NON_ALPHANUMERIC).to_string();
    let export = format!(
        "curl -u {} -H 'Accept: text/csv' -o audit.csv '{path}{}{query}'",
        view.user()?.user.name,
        if query.is_empty() { "" } else { "?q=" }
    );
    let s = admin_shell(view, "admin-audit", view.t("audit-title"));
    let page = AuditPage { s, l, acts: page.rows, ranges: RANGES, project, export, bad_day };
    view.list(&page.l, &page, &page.as_rows())
}

#[derive(Template)]
#[template(path = "admin/audit_verify.html")]
struct VerifyPage {
    s: Shell,
    found: Verified,
}

pub(crate) async fn verify(view: &mut View) -> Result<HttpResponse, Failure> {
    let after = view.query("after").and_then(|text| text.parse().ok()).unwrap_or(0);
    let found = view.state.tenancy.trail_verify(&view.caller, after).await?;
    let s = admin_shell(view, "admin-audit", view.t("audit-verify-title"))
        .crumb(view.t("audit-title"), "/admin/audit");
    view.page(&VerifyPage { s, found })
}
