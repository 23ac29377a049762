//! Repositories over REST.

use actix_web::HttpResponse;
use catalog::Repository;
use serde::{Deserialize, Serialize};
use tenancy::list::Page;
use tenancy::{DeleteRepository, ListRepositories, ReadRepository, UpdateRepository};
use utoipa::ToSchema;

use crate::answer::{Time, done, json};
use crate::context::Context;
use crate::error::Failure;
use crate::params::Params;

const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize, ToSchema)]
pub(crate) struct RepositoryInput {
    #[serde(default)]
    description: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Repository)]
pub(crate) struct RepositoryOutput {
    id: i64,
    project_id: i64,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    artifact_count: i64,
    pull_count: i64,
    creation_time: Time,
    update_time: Time,
}

impl From<Repository> for RepositoryOutput {
    fn from(repository: Repository) -> Self {
        Self {
            id: repository.id,
            project_id: repository.project_id,
            name: repository.path,
            description: repository.description,
            artifact_count: repository.artifact_count,
            pull_count: repository.pull_count,
            creation_time: Time(repository.created_at),
            update_time: Time(repository.updated_at),
        }
    }
}

pub(crate) async fn list_all(context: Context) -> Result<HttpResponse, Failure> {
    let params = context.params()?;
    let query = params.list_query()?;
    let visible = context.state.tenancy.visible(&context.caller.principal).await?;
    let page = context.state.catalog.repositories.list_in(visible.ids(), &query).await?;
    rendered(&context, &params, page)
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListRepositories>().await?;
    let params = context.params()?;
    let page = context.state.catalog.repositories.list(&permit, &params.list_query()?).await?;
    rendered(&context, &params, page)
}

fn rendered(context: &Context, params: &Params, page: Page<Repository>) -> Result<HttpResponse, Failure> {
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), params, page.total);
    Ok(response.json(page.rows.into_iter().map(RepositoryOutput::from).collect::<Vec<_>>()))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadRepository>().await?;
    let name = context.repository(&permit)?;
    let repository = context.state.catalog.repositories.get(&permit, &name).await?;
    Ok(json(&RepositoryOutput::from(repository)))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<UpdateRepository>().await?;
    let name = context.repository(&permit)?;
    let input: RepositoryInput = context.json().await?;
    let description = input.description.unwrap_or_default();
    if description.len() > DESCRIPTION_BYTES_MAX || description.contains('\0') {
        return Err(Failure::bad_request(format!(
            "a description has at most {DESCRIPTION_BYTES_MAX} bytes and no NUL character"
        )));
    }
    context.state.catalog.repositories.describe(&permit, &name, &description).await?;
    Ok(done())
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteRepository>().await?;
    let name = context.repository(&permit)?;
    context.state.catalog.repositories.delete(&permit, &name).await?;
    Ok(done())
}
