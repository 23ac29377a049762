//! What was done in a project, by whom: its part of the audit trail.

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use askama::Template;
use chrono::NaiveDate;
use futures_util::stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tenancy::list::{Query, Value};
use tenancy::{Act, ActSelection, ListLogs};

use crate::failure::Failure;
use crate::list::List;
use crate::pages::projects::project_shell;
use crate::shell::{Shell, segment};
use crate::view::View;

/// What acts do, as the trail calls it.
const OPERATIONS: [&str; 5] = ["create", "update", "delete", "pull", "push"];

const FILTERS: [&str; 5] = ["actor", "operation", "result", "from", "to"];

#[derive(Template)]
#[template(path = "activity/show.html")]
struct ShowPage {
    s: Shell,
    l: List,
    acts: Vec<Act>,
    operations: Vec<(&'static str, &'static str)>,
    /// The same acts as a file.
    csv: String,
}

impl ShowPage {
    /// Key and class of the badge.
    fn outcome(&self, act: &Act) -> (&'static str, &'static str) {
        match act.outcome.as_str() {
            "done" => ("activity-done", "ok"),
            "denied" => ("activity-denied", "bad"),
            _ => ("activity-failed", "warn"),
        }
    }

    fn address(&self, act: &Act) -> String {
        [act.address.as_str(), act.client.as_str()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(" · ")
    }
}

/// Key of the name of an operation.
fn operation_key(operation: &str) -> &'static str {
    match operation {
        "create" => "action-create",
        "update" => "action-update",
        "delete" => "action-delete",
        "pull" => "action-pull",
        "push" => "action-push",
        _ => "action-other",
    }
}

/// The filters of the address. What is no date is passed over, as every other filter that says nothing.
fn query(l: &List) -> Query {
    let mut query = l.query("resource");
    let mut term = |key: &str, value| query.terms.push((key.to_owned(), value));
    if !l.filter("actor").is_empty() {
        term("username", Value::Fuzzy(l.filter("actor").to_owned()));
    }
    if OPERATIONS.contains(&l.filter("operation")) {
        term("operation", Value::Exact(l.filter("operation").to_owned()));
    }
    match l.filter("result") {
        "done" => term("operation_result", Value::Exact("true".to_owned())),
        "refused" => term("operation_result", Value::Exact("false".to_owned())),
        _ => {}
    }
    let day = |name: &str| l.filter(name).parse::<NaiveDate>().ok();
    let (from, to) = (day("from"), day("to"));
    if from.is_some() || to.is_some() {
        // Both days belong to the range.
        let min = from.map(|day| format!("{day}T00:00:00Z"));
        let max = to.map(|day| format!("{day}T23:59:59.999999Z"));
        term("op_time", Value::Range { min, max });
    }
    query
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListLogs>().await?;
    let mut l = List::of(view, &["-op_time", "username", "resource", "operation"], &FILTERS);
    let page = view.state.tenancy.trail_of(&permit).page(ActSelection::Everything, &query(&l)).await?;
    l.total = page.total;
    let kept: Vec<String> = FILTERS
        .into_iter()
        .chain(["q"])
        .filter_map(|name| {
            Some(format!("{name}={}", utf8_percent_encode(&view.query(name)?, NON_ALPHANUMERIC)))
        })
        .collect();
    let csv = format!("/projects/{}/activity/audit.csv?{}", segment(permit.name.as_str()), kept.join("&"));
    let s = project_shell(view, &permit, "project-tab-activity", view.t("activity-title"));
    let operations = OPERATIONS.map(|name| (name, operation_key(name))).to_vec();
    view.page(&ShowPage { s, l, acts: page.rows, operations, csv })
}

/// Everything that the filters of the page let through, newest first, as fast as it is read.
pub(crate) async fn export(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListLogs>().await?;
    let readable = view.state.tenancy.trail_of(&permit);
    let query = query(&List::of(view, &["-op_time"], &FILTERS));
    // The first lines before the status, so that what fails at once is a page.
    let (first, before) = readable.csv(&query, None).await?;
    let start = (readable, query, Some(first), before);
    let body = stream::try_unfold(start, |(readable, query, ready, before)| async move {
        if let Some(lines) = ready {
            return Ok::<_, actix_web::Error>(Some((Bytes::from(lines), (readable, query, None, before))));
        }
        let Some(before) = before else { return Ok(None) };
        let (lines, before) =
            readable.csv(&query, Some(before)).await.map_err(actix_web::error::ErrorInternalServerError)?;
        Ok((!lines.is_empty()).then(|| (Bytes::from(lines), (readable, query, None, before))))
    });
    Ok(view.stream("text/csv; charset=utf-8", "audit.csv", body))
}
