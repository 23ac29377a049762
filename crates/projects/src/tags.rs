//! Tags of an artifact over REST.

use actix_web::HttpResponse;
use catalog::Tag;
use serde::Serialize;
use tenancy::{DeleteTag, ListTags};

use crate::answer::{Time, done, or_never};
use crate::context::Context;
use crate::error::Failure;

/// A tag, alone or inside its artifact.
#[derive(Serialize)]
pub(crate) struct TagOutput {
    id: i64,
    repository_id: i64,
    artifact_id: i64,
    name: String,
    push_time: Time,
    #[serde(serialize_with = "or_never")]
    pull_time: Option<Time>,
    immutable: bool,
}

impl From<Tag> for TagOutput {
    fn from(tag: Tag) -> Self {
        Self {
            id: tag.id,
            repository_id: tag.repository_id,
            artifact_id: tag.artifact_id,
            name: tag.name,
            push_time: Time(tag.pushed_at),
            pull_time: tag.pulled_at.map(Time),
            immutable: tag.immutable,
        }
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListTags>().await?;
    let params = context.params()?;
    let query = params.list_query()?;
    let with_immutable = params.flag("with_immutable_status")?.unwrap_or(false);
    let (repository, reference) = (context.repository(&permit)?, context.reference()?);
    let catalog = &context.state.catalog;
    let digest = catalog.artifacts.digest_of(permit.project.0, &repository, &reference).await?;
    let page = catalog.tags.list(&permit, &repository, &digest, &query, with_immutable).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(TagOutput::from).collect::<Vec<_>>()))
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteTag>().await?;
    context.state.tenancy.require_writable().await?;
    let (repository, reference, tag) = (context.repository(&permit)?, context.reference()?, context.tag()?);
    let catalog = &context.state.catalog;
    let digest = catalog.artifacts.digest_of(permit.project.0, &repository, &reference).await?;
    catalog.tags.delete(&permit, &repository, &digest, &tag).await?;
    Ok(done())
}
