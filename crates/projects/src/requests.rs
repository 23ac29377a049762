//! Requests for projects over REST.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use tenancy::{NewProjectRequest, ProjectRequest};
use utoipa::ToSchema;

use crate::answer::{Time, created, done, json};
use crate::context::Context;
use crate::error::Failure;

#[derive(Deserialize, ToSchema)]
#[schema(as = ProjectRequestInput)]
pub(crate) struct Input {
    #[serde(default)]
    project_name: String,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    storage_limit: Option<i64>,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ProjectRequestDecision)]
pub(crate) struct DecisionInput {
    #[serde(default)]
    decision: String,
    #[serde(default)]
    reason: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ProjectRequest)]
pub(crate) struct Output {
    id: i64,
    project_name: String,
    public: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_limit: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    requester_id: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    requester: String,
    creation_time: Time,
    status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    decided_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    decision_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<i64>,
}

impl From<ProjectRequest> for Output {
    fn from(request: ProjectRequest) -> Self {
        Self {
            id: request.id,
            project_name: request.name,
            public: request.public,
            storage_limit: request.storage_limit,
            reason: request.reason,
            requester_id: request.requester_id,
            requester: request.requester,
            creation_time: Time(request.created_at),
            status: request.status,
            decided_by: request.decided_by,
            decision_reason: request.decided_reason,
            decision_time: request.decided_at.map(Time),
            project_id: request.project_id,
        }
    }
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let input: Input = context.json().await?;
    let new = NewProjectRequest {
        name: input.project_name,
        public: input.public,
        storage_limit: input.storage_limit,
        reason: input.reason,
    };
    let id = context.state.tenancy.project_request(&context.caller, &new).await?;
    Ok(created(format!("{}/{id}", context.path())))
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let params = context.params()?;
    let page = context.state.tenancy.project_request_list(&context.caller, &params.list_query()?).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(Output::from).collect::<Vec<_>>()))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let request = context.state.tenancy.project_request_read(&context.caller, context.id("id")?).await?;
    Ok(json(&Output::from(request)))
}

pub(crate) async fn decide(mut context: Context) -> Result<HttpResponse, Failure> {
    let id = context.id("id")?;
    let input: DecisionInput = context.json().await?;
    let tenancy = &context.state.tenancy;
    tenancy.project_request_decide(&context.caller, id, &input.decision, &input.reason).await?;
    Ok(done())
}
