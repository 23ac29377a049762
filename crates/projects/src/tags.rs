//! Tags over REST: of an artifact, of a repository, of a project, and what each one named before.

use actix_web::HttpResponse;
use catalog::{Tag, TagChange, TagEntry};
use oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::{CreateTag, DeleteTag, ListTags};
use utoipa::ToSchema;

use crate::answer::{Time, done, or_never, warned};
use crate::context::Context;
use crate::error::Failure;

/// A tag, alone or inside its artifact.
#[derive(Serialize, ToSchema)]
#[schema(as = Tag)]
pub(crate) struct TagOutput {
    id: i64,
    repository_id: i64,
    artifact_id: i64,
    name: String,
    push_time: Time,
    #[serde(serialize_with = "or_never")]
    #[schema(value_type = Time)]
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
    let (repository, reference, tag) = (context.repository(&permit)?, context.reference()?, context.tag()?);
    let catalog = &context.state.catalog;
    let digest = catalog.artifacts.digest_of(permit.project.0, &repository, &reference).await?;
    catalog.tags.delete(&permit, &repository, &digest, &tag).await?;
    Ok(done())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TagInput)]
pub(crate) struct NewTag {
    #[serde(default)]
    name: String,
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<CreateTag>().await?;
    let (repository, reference) = (context.repository(&permit)?, context.reference()?);
    let name = context.json::<NewTag>().await?.name;
    let tag: oci::Tag = name.parse().map_err(|_| Failure::bad_request(format!("{name:?} is no tag name")))?;
    let catalog = &context.state.catalog;
    let digest = catalog.artifacts.digest_of(permit.project.0, &repository, &reference).await?;
    let warnings = catalog.tags.create(&permit, &repository, &digest, &tag).await?;
    // The contract has no Location here: a tag has no page of its own.
    Ok(warned(HttpResponse::Created().finish(), &warnings))
}

#[derive(Serialize, ToSchema)]
#[schema(as = TagEntry)]
pub(crate) struct EntryOutput {
    name: String,
    repository_name: String,
    digest: String,
    #[serde(rename = "type")]
    kind: String,
    size: i64,
    #[schema(value_type = Vec<Object>)]
    platforms: Value,
    push_time: Time,
    #[serde(serialize_with = "or_never")]
    #[schema(value_type = Time)]
    pull_time: Option<Time>,
    pull_count: i64,
    pushed_by: String,
    immutable: bool,
    aliases: Vec<String>,
}

impl From<TagEntry> for EntryOutput {
    fn from(entry: TagEntry) -> Self {
        Self {
            name: entry.name,
            repository_name: entry.repository,
            digest: entry.digest,
            kind: entry.kind,
            size: entry.size,
            platforms: entry.platforms,
            push_time: Time(entry.pushed_at),
            pull_time: entry.pulled_at.map(Time),
            pull_count: entry.pull_count,
            pushed_by: entry.pushed_by,
            immutable: entry.immutable,
            aliases: entry.aliases,
        }
    }
}

pub(crate) async fn of_project(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListTags>().await?;
    let params = context.params()?;
    let page = context.state.catalog.history.project_tags(&permit, &params.list_query()?).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(EntryOutput::from).collect::<Vec<_>>()))
}

pub(crate) async fn of_repository(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListTags>().await?;
    let params = context.params()?;
    let (query, repository) = (params.list_query()?, context.repository(&permit)?);
    let page = context.state.catalog.history.repository_tags(&permit, &repository, &query).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(EntryOutput::from).collect::<Vec<_>>()))
}

#[derive(Serialize, ToSchema)]
#[schema(as = TagChange)]
pub(crate) struct ChangeOutput {
    id: i64,
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_digest: Option<String>,
    actor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client: String,
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    restorable_until: Option<Time>,
}

impl From<TagChange> for ChangeOutput {
    fn from(change: TagChange) -> Self {
        Self {
            id: change.id,
            action: change.action,
            from_digest: change.from_digest,
            to_digest: change.to_digest,
            actor: change.actor,
            client: change.client,
            time: Time(change.at),
            restorable_until: change.restorable_until.map(Time),
        }
    }
}

pub(crate) async fn history(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListTags>().await?;
    let params = context.params()?;
    let query = params.list_query()?;
    let (repository, tag) = (context.repository(&permit)?, context.tag()?);
    let page = context.state.catalog.history.changes(&permit, &repository, &tag, &query).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(ChangeOutput::from).collect::<Vec<_>>()))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TagRestoration)]
pub(crate) struct Restoration {
    #[serde(default)]
    digest: String,
    #[serde(default)]
    overwrite: bool,
}

pub(crate) async fn restore(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<CreateTag>().await?;
    let (repository, tag) = (context.repository(&permit)?, context.tag()?);
    let Restoration { digest, overwrite } = context.json().await?;
    let digest: Digest =
        digest.parse().map_err(|_| Failure::bad_request(format!("digest {digest:?} is no digest")))?;
    let warnings =
        context.state.catalog.history.restore(&permit, &repository, &tag, &digest, overwrite).await?;
    Ok(warned(HttpResponse::Created().finish(), &warnings))
}
