//! Quotas over REST. A project has exactly one, whose id is its own.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use tenancy::ProjectQuota;
use utoipa::ToSchema;

use crate::answer::{Time, done, json};
use crate::context::Context;
use crate::error::Failure;

/// Bytes of what can be limited; storage is all there is.
#[derive(Serialize, ToSchema)]
#[schema(as = QuotaResources)]
pub(crate) struct Resources {
    pub storage: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Quota)]
pub(crate) struct Output {
    id: i64,
    r#ref: Reference,
    hard: Resources,
    used: Resources,
    creation_time: Time,
    update_time: Time,
}

#[derive(Serialize, ToSchema)]
#[schema(as = QuotaReference)]
pub(crate) struct Reference {
    id: i64,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    owner_name: String,
}

impl From<ProjectQuota> for Output {
    fn from(quota: ProjectQuota) -> Self {
        Self {
            id: quota.project_id,
            r#ref: Reference { id: quota.project_id, name: quota.name, owner_name: quota.owner_name },
            hard: Resources { storage: quota.hard },
            used: Resources { storage: quota.used },
            creation_time: Time(quota.created_at),
            update_time: Time(quota.updated_at),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = QuotaInput)]
pub(crate) struct Input {
    #[serde(default)]
    hard: HardInput,
}

/// Zero is no limit that could be set, and what is absent.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = QuotaHardInput)]
pub(crate) struct HardInput {
    #[serde(default)]
    storage: i64,
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let params = context.params()?;
    let mut query = params.list_query()?;
    // This list has plain parameters in place of `q`.
    query.terms.clear();
    let project = match (params.text("reference"), params.text("reference_id")) {
        (None | Some("project"), None) => None,
        (None | Some("project"), Some(text)) => Some(text.parse().map_err(|_| {
            Failure::bad_request(format!("reference_id {text:?} is not the id of a project"))
        })?),
        (Some(other), _) => {
            return Err(Failure::bad_request(format!("reference {other:?} has no quotas: it is project")));
        }
    };
    let page = context.state.tenancy.quota_list(&context.caller, project, &query).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(Output::from).collect::<Vec<_>>()))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let quota = context.state.tenancy.quota_read(&context.caller, context.id("id")?).await?;
    Ok(json(&Output::from(quota)))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let id = context.id("id")?;
    let input: Input = context.json().await?;
    context.state.tenancy.quota_set(&context.caller, id, input.hard.storage).await?;
    Ok(done())
}
