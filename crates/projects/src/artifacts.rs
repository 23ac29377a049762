//! Artifacts over REST.
//!
//! Flags of features that do not exist yet are accepted and show nothing.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use catalog::{Accessory, Artifact, ArtifactFlags, ChildReference};
use oci::{Reference, RepositoryName};
use serde::Serialize;
use serde_json::Value;
use tenancy::list::Page;
use tenancy::roles::{Action, Resource};
use tenancy::{CreateArtifact, DeleteArtifact, ListAccessories, ListArtifacts, ProjectRef, ReadArtifact};
use utoipa::ToSchema;

use crate::additions;
use crate::answer::{Time, created, done, json, nothing, or_never, warned};
use crate::context::Context;
use crate::error::Failure;
use crate::icons;
use crate::labels;
use crate::params::Params;
use crate::tags::TagOutput;

#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
pub(crate) struct ArtifactOutput {
    id: i64,
    #[serde(rename = "type")]
    kind: String,
    media_type: String,
    manifest_media_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    artifact_type: String,
    project_id: i64,
    repository_id: i64,
    repository_name: String,
    digest: String,
    size: i64,
    icon: &'static str,
    push_time: Time,
    #[serde(serialize_with = "or_never")]
    #[schema(value_type = Time)]
    pull_time: Option<Time>,
    #[serde(skip_serializing_if = "nothing")]
    #[schema(value_type = Object)]
    extra_attrs: Value,
    #[serde(skip_serializing_if = "nothing")]
    #[schema(value_type = Object)]
    annotations: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<ReferenceOutput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<labels::Output>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    addition_links: BTreeMap<&'static str, additions::Link>,
    /// `null` for none, as clients know it.
    #[schema(required = true)]
    tags: Option<Vec<TagOutput>>,
    #[schema(required = true)]
    accessories: Option<Vec<AccessoryOutput>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inherited_accessories: Vec<AccessoryOutput>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ArtifactReference)]
pub(crate) struct ReferenceOutput {
    parent_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    child_id: Option<i64>,
    child_digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    platform: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    annotations: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    urls: Option<Value>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Accessory)]
pub(crate) struct AccessoryOutput {
    id: i64,
    artifact_id: i64,
    subject_artifact_id: i64,
    subject_artifact_digest: String,
    subject_artifact_repo: String,
    size: i64,
    digest: String,
    #[serde(rename = "type")]
    kind: String,
    icon: &'static str,
    creation_time: Time,
}

fn some(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !nothing(value) && value.as_array().is_none_or(|items| !items.is_empty()))
}

impl From<ChildReference> for ReferenceOutput {
    fn from(reference: ChildReference) -> Self {
        Self {
            parent_id: reference.parent_id,
            child_id: reference.child_id,
            child_digest: reference.child_digest.to_string(),
            platform: some(reference.platform),
            annotations: some(reference.annotations),
            urls: some(reference.urls),
        }
    }
}

fn accessory(accessory: Accessory, repository: &str) -> AccessoryOutput {
    AccessoryOutput {
        id: accessory.id,
        artifact_id: accessory.artifact_id,
        subject_artifact_id: accessory.subject_artifact_id,
        subject_artifact_digest: accessory.subject_artifact_digest.to_string(),
        subject_artifact_repo: repository.to_owned(),
        size: accessory.size,
        digest: accessory.digest.to_string(),
        kind: accessory.kind,
        icon: "",
        creation_time: Time(accessory.created_at),
    }
}

impl From<Artifact> for ArtifactOutput {
    fn from(artifact: Artifact) -> Self {
        let addition_links = additions::links(&artifact);
        let tags = artifact.tags.filter(|tags| !tags.is_empty());
        let accessories = artifact.accessories.filter(|accessories| !accessories.is_empty());
        Self {
            id: artifact.id,
            icon: icons::icon_of(&artifact.kind),
            kind: artifact.kind,
            media_type: artifact.media_type,
            manifest_media_type: artifact.manifest_media_type,
            artifact_type: artifact.artifact_type,
            project_id: artifact.project_id,
            repository_id: artifact.repository_id,
            digest: artifact.digest.to_string(),
            size: artifact.size,
            push_time: Time(artifact.pushed_at),
            pull_time: artifact.pulled_at.map(Time),
            extra_attrs: artifact.facts,
            annotations: artifact.annotations,
            references: artifact.references.into_iter().map(ReferenceOutput::from).collect(),
            labels: artifact.labels.into_iter().map(labels::Output::from).collect(),
            addition_links,
            tags: tags.map(|tags| tags.into_iter().map(TagOutput::from).collect()),
            accessories: accessories
                .map(|all| all.into_iter().map(|one| accessory(one, &artifact.path)).collect()),
            inherited_accessories: artifact
                .inherited
                .into_iter()
                .map(|one| accessory(one, &artifact.path))
                .collect(),
            repository_name: artifact.path,
        }
    }
}

/// What to show, with the defaults of the API. The other flags are only checked.
fn flags(params: &Params) -> Result<ArtifactFlags, Failure> {
    for later in ["with_scan_overview", "with_sbom_overview", "with_signature"] {
        params.flag(later)?;
    }
    Ok(ArtifactFlags {
        tags: params.flag("with_tag")?.unwrap_or(true),
        accessories: params.flag("with_accessory")?.unwrap_or(true),
        inherited: params.flag("with_inherited_accessory")?.unwrap_or(false),
        labels: params.flag("with_label")?.unwrap_or(false),
        immutable: params.flag("with_immutable_status")?.unwrap_or(false),
    })
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListArtifacts>().await?;
    let params = context.params()?;
    let (query, flags) = (params.list_query()?, flags(&params)?);
    let repository = context.repository(&permit)?;
    let page = context.state.catalog.artifacts.list(&permit, &repository, &query, flags).await?;
    listed(&params, &context, page)
}

pub(crate) async fn list_in_project(context: Context) -> Result<HttpResponse, Failure> {
    // Nobody in particular gets no view of a whole project, not even of a public one.
    context.require_signed_in()?;
    let permit = context.permit::<ListArtifacts>().await?;
    let params = context.params()?;
    let query = params.list_query()?;
    let latest = params.flag("latest_in_repository")?.unwrap_or(false);
    // Unlike the list of one repository, this one shows accessories only when asked to.
    let accessories = params.flag("with_accessory")?.unwrap_or(false);
    let flags = ArtifactFlags { accessories, ..flags(&params)? };
    let page = context.state.catalog.artifacts.list_in_project(&permit, &query, latest, flags).await?;
    listed(&params, &context, page)
}

fn listed(params: &Params, context: &Context, page: Page<Artifact>) -> Result<HttpResponse, Failure> {
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), params, page.total);
    Ok(response.json(page.rows.into_iter().map(ArtifactOutput::from).collect::<Vec<_>>()))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadArtifact>().await?;
    let params = context.params()?;
    // Clients send the parameters of a page with this as well; they are only checked.
    params.paging()?;
    let flags = flags(&params)?;
    let (repository, reference) = (context.repository(&permit)?, context.reference()?);
    let artifact = context.state.catalog.artifacts.get(&permit, &repository, &reference, flags).await?;
    Ok(json(&ArtifactOutput::from(artifact)))
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteArtifact>().await?;
    let (repository, reference) = (context.repository(&permit)?, context.reference()?);
    context.state.catalog.artifacts.delete(&permit, &repository, &reference).await?;
    Ok(done())
}

pub(crate) async fn accessories(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListAccessories>().await?;
    let params = context.params()?;
    let query = params.list_query()?;
    let (repository, reference) = (context.repository(&permit)?, context.reference()?);
    let artifacts = &context.state.catalog.artifacts;
    let digest = artifacts.digest_of(permit.project.0, &repository, &reference).await?;
    let page = artifacts.accessories_of(&permit, &repository, &digest, &query).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    let rows = page.rows.into_iter().map(|one| accessory(one, repository.as_str()));
    Ok(response.json(rows.collect::<Vec<_>>()))
}

/// `project/repository:tag` or `project/repository@digest`.
fn source(from: &str) -> Option<(RepositoryName, Reference)> {
    let (name, reference) = match from.split_once('@') {
        Some((name, digest)) => (name, Reference::Digest(digest.parse().ok()?)),
        None => {
            let (name, tag) = from.rsplit_once(':')?;
            (name, Reference::Tag(tag.parse().ok()?))
        }
    };
    Some((name.parse().ok()?, reference))
}

pub(crate) async fn copy(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<CreateArtifact>().await?;
    // A copy is a pull and a push in one: nobody gets with it what these would not give.
    if !permit.rights().allow(Resource::Repository, Action::Push) {
        return Err(tenancy::Error::Hidden.into());
    }
    let params = context.params()?;
    let from = params.required("from")?;
    let repository = context.repository(&permit)?;
    let (name, reference) = source(from).ok_or_else(|| {
        Failure::bad_request(format!(
            "from is written project/repository:tag or project/repository@digest, not {from:?}"
        ))
    })?;
    let project = ProjectRef::parse(name.project().as_str(), true);
    let source = context.state.tenancy.permit::<ReadArtifact>(&context.caller, &project).await?;
    if !source.rights().allow(Resource::Repository, Action::Pull) {
        return Err(tenancy::Error::Hidden.into());
    }
    let warnings =
        context.state.catalog.copies.copy(&permit, &repository, &source, &name, &reference).await?;
    Ok(warned(created(format!("{}/{reference}", context.path())), &warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_copies() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (from, expected) in [
            ("a/b:v1".to_owned(), Some("a/b v1".to_owned())),
            ("a/b/c:v1".to_owned(), Some("a/b/c v1".to_owned())),
            (format!("a/b@{digest}"), Some(format!("a/b {digest}"))),
            (format!("a/b:v1@{digest}"), None),
            ("a/b".to_owned(), None),
            ("a:v1".to_owned(), None),
            ("a/b@v1".to_owned(), None),
            ("A/b:v1".to_owned(), None),
        ] {
            let got = source(&from).map(|(name, reference)| format!("{name} {reference}"));
            assert_eq!(got, expected, "{from}");
        }
    }
}
