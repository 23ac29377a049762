//! The audit trail over REST: lists in both forms, everything as CSV, and whether the chain is whole.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::Bytes;
use futures_util::stream;
use serde::Serialize;
use tenancy::list::Query;
use tenancy::{Act, ActSelection, ListLogs, Readable};
use utoipa::ToSchema;

use crate::answer::{Time, json};
use crate::context::Context;
use crate::error::Failure;

const CSV: &str = "text/csv";

/// The kinds of acts that clients know by name.
const EVENT_TYPES: [&str; 18] = [
    "create_artifact",
    "create_member",
    "create_project",
    "create_robot",
    "create_user",
    "delete_artifact",
    "delete_member",
    "delete_project",
    "delete_repository",
    "delete_robot",
    "delete_user",
    "login_user",
    "logout_user",
    "pull_artifact",
    "update_configuration",
    "update_member",
    "update_project",
    "update_user",
];

/// An act in the older form.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditLog)]
pub(crate) struct ContentOutput {
    id: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    operation: String,
    op_time: Time,
}

/// An act in the newer form, with fields of our own behind it.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditLogExt)]
pub(crate) struct Output {
    #[serde(flatten)]
    act: ContentOutput,
    operation_description: String,
    operation_result: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<i64>,
    action: String,
    outcome: String,
    actor_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    auth_method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    request_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    /// How many equal acts this stands for.
    #[serde(skip_serializing_if = "once")]
    repeated: i32,
}

fn once(repeated: &i32) -> bool {
    *repeated == 1
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditLogEventType)]
pub(crate) struct EventTypeOutput {
    event_type: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditVerification)]
pub(crate) struct VerifyOutput {
    verified_until: i64,
    #[schema(required = true)]
    first_bad_position: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    pending: i64,
    complete: bool,
}

impl From<Act> for ContentOutput {
    fn from(act: Act) -> Self {
        Self {
            id: act.id,
            username: act.actor_name,
            resource: act.object_name,
            resource_type: act.object_kind,
            operation: act.operation,
            op_time: Time(act.at),
        }
    }
}

impl From<Act> for Output {
    fn from(mut act: Act) -> Self {
        Self {
            operation_description: std::mem::take(&mut act.description),
            operation_result: act.outcome == "done",
            project_id: act.project_id,
            action: std::mem::take(&mut act.action),
            outcome: std::mem::take(&mut act.outcome),
            actor_type: std::mem::take(&mut act.actor_kind),
            resource_id: std::mem::take(&mut act.object_id),
            client_address: std::mem::take(&mut act.address),
            client: std::mem::take(&mut act.client),
            auth_method: std::mem::take(&mut act.auth_method),
            request_id: std::mem::take(&mut act.request_id),
            changed: std::mem::take(&mut act.changed),
            repeated: act.repeated,
            act: act.into(),
        }
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let readable = context.state.tenancy.trail_for(&context.caller).await?;
    everything(&context, readable).await
}

pub(crate) async fn list_of_project(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListLogs>().await?;
    let readable = context.state.tenancy.trail_of(&permit);
    everything(&context, readable).await
}

pub(crate) async fn list_content(context: Context) -> Result<HttpResponse, Failure> {
    let readable = context.state.tenancy.trail_for(&context.caller).await?;
    page::<ContentOutput>(&context, &readable, ActSelection::Content).await
}

pub(crate) async fn list_content_of_project(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListLogs>().await?;
    let readable = context.state.tenancy.trail_of(&permit);
    page::<ContentOutput>(&context, &readable, ActSelection::Content).await
}

pub(crate) async fn events(context: Context) -> Result<HttpResponse, Failure> {
    context.state.tenancy.require_trail(&context.caller).await?;
    Ok(json(&EVENT_TYPES.map(|event_type| EventTypeOutput { event_type })))
}

pub(crate) async fn verify(context: Context) -> Result<HttpResponse, Failure> {
    // Who may ask is decided before the query is looked at, here as everywhere.
    let after = context.params().and_then(|params| params.integer("after"));
    let position = after.as_ref().ok().copied().flatten().unwrap_or(0);
    let found = context.state.tenancy.trail_verify(&context.caller, position).await?;
    after?;
    Ok(json(&VerifyOutput {
        verified_until: found.until,
        first_bad_position: found.bad.as_ref().map(|bad| bad.position),
        reason: found.bad.map(|bad| bad.why),
        pending: found.pending,
        complete: found.complete,
    }))
}

async fn everything(context: &Context, readable: Readable) -> Result<HttpResponse, Failure> {
    if context.accepts(CSV) {
        return export(context, readable).await;
    }
    page::<Output>(context, &readable, ActSelection::Everything).await
}

async fn page<T: From<Act> + Serialize>(
    context: &Context,
    readable: &Readable,
    selection: ActSelection,
) -> Result<HttpResponse, Failure> {
    let params = context.params()?;
    let page = readable.page(selection, &params.list_query()?).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(T::from).collect::<Vec<_>>()))
}

/// Where an export has come to.
struct Export {
    readable: Readable,
    query: Query,
    ready: Option<Bytes>,
    /// The id below which to go on; none when everything was read.
    before: Option<i64>,
}

/// Everything that matches `q`, newest first, a hundred acts at a time: as fast as the client reads. An export that
/// cannot be finished ends without the end of its body, so that nobody takes it for whole.
async fn export(context: &Context, readable: Readable) -> Result<HttpResponse, Failure> {
    let query = context.params()?.list_query()?;
    // The first batch before the status, so that a refused filter is an answer and no broken body.
    let (first, before) = readable.csv(&query, None).await?;
    let export = Export { readable, query, ready: Some(Bytes::from(first)), before };
    let body = stream::try_unfold(export, |mut export| async move {
        if let Some(bytes) = export.ready.take() {
            return Ok::<_, actix_web::Error>(Some((bytes, export)));
        }
        let Some(before) = export.before else { return Ok(None) };
        let (lines, before) =
            export.readable.csv(&export.query, Some(before)).await.map_err(Failure::from)?;
        export.before = before;
        Ok((!lines.is_empty()).then(|| (Bytes::from(lines), export)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""))
        .streaming(Box::pin(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_are_sorted() {
        assert!(EVENT_TYPES.is_sorted());
    }
}
