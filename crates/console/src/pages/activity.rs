//! What was done in a project, by whom: its part of the audit trail.

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use askama::Template;
use chrono::NaiveDate;
use futures_util::stream;
use serde_json::json;
use tenancy::list::{Query, Value};
use tenancy::{Act, ActSelection, ListLogs, Readable};

use crate::failure::Failure;
use crate::file::Format;
use crate::list::List;
use crate::pages::projects::project_shell;
use crate::shell::Shell;
use crate::view::View;

/// What acts do, as the trail calls it.
const OPERATIONS: [&str; 5] = ["create", "update", "delete", "pull", "push"];

/// Fields of an act in a file, by the names of the table for spreadsheets.
const FILE: [&str; 17] = [
    "id",
    "time",
    "actor_type",
    "username",
    "client_address",
    "client",
    "auth_method",
    "action",
    "operation",
    "resource_type",
    "resource",
    "resource_id",
    "project_id",
    "outcome",
    "changed",
    "request_id",
    "repeated",
];

const FILTERS: [&str; 5] = ["actor", "operation", "result", "from", "to"];

#[derive(Template)]
#[template(path = "activity/show.html", blocks = ["rows"])]
struct ShowPage {
    s: Shell,
    l: List,
    acts: Vec<Act>,
    operations: Vec<(&'static str, &'static str)>,
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
    let readable = view.state.tenancy.trail_of(&permit);
    if let Some(format) = Format::asked(view) {
        return as_file(view, format, readable, query(&l)).await;
    }
    let page = readable.page(ActSelection::Everything, &query(&l)).await?;
    (l.total, l.files) = (page.total, true);
    let s = project_shell(view, &permit, "project-tab-activity", view.t("activity-title"));
    let operations = OPERATIONS.map(|name| (name, operation_key(name))).to_vec();
    let page = ShowPage { s, l, acts: page.rows, operations };
    view.list(&page.l, &page, &page.as_rows())
}

/// Everything that the query lets through, newest first, as fast as it is read.
pub(crate) async fn as_file(
    view: &View,
    format: Format,
    readable: Readable,
    query: Query,
) -> Result<HttpResponse, Failure> {
    // The first lines before the status, so that what fails at once is a page.
    let (first, before) = lines(format, &readable, &query, None).await?;
    let start = (readable, query, Some(first), before);
    let body = stream::try_unfold(start, move |(readable, query, ready, before)| async move {
        if let Some(lines) = ready {
            return Ok::<_, actix_web::Error>(Some((Bytes::from(lines), (readable, query, None, before))));
        }
        let Some(before) = before else { return Ok(None) };
        let broken = |_| actix_web::error::ErrorInternalServerError("the trail could not be read to its end");
        let (text, before) = lines(format, &readable, &query, Some(before)).await.map_err(broken)?;
        Ok((!text.is_empty()).then(|| (Bytes::from(text), (readable, query, None, before))))
    });
    Ok(view.stream(format.media_type(), &format!("audit.{}", format.extension()), body))
}

/// The next lines, from `before` on, and where those after them begin.
async fn lines(
    format: Format,
    readable: &Readable,
    query: &Query,
    before: Option<i64>,
) -> Result<(String, Option<i64>), Failure> {
    if format == Format::Csv {
        return Ok(readable.csv(query, before).await?);
    }
    let acts = readable.older(query, before).await?;
    let next = acts.last().map(|act| act.id);
    let rows = acts
        .into_iter()
        .map(|act| {
            vec![
                json!(act.id),
                json!(act.at),
                json!(act.actor_kind),
                json!(act.actor_name),
                json!(act.address),
                json!(act.client),
                json!(act.auth_method),
                json!(act.action),
                json!(act.operation),
                json!(act.object_kind),
                json!(act.object_name),
                json!(act.object_id),
                json!(act.project_id),
                json!(act.outcome),
                json!(act.changed),
                json!(act.request_id),
                json!(act.repeated),
            ]
        })
        .collect();
    Ok((format.write(&FILE, rows, before.is_none(), next.is_none()), next))
}
