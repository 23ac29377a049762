//! Labels over REST, and putting them on artifacts.

use actix_web::HttpResponse;
use catalog::{Label, LabelInput};
use serde::{Deserialize, Serialize};
use tenancy::{
    CreateArtifactLabel, CreateLabel, DeleteArtifactLabel, DeleteLabel, ListLabels, Owner, ProjectAction,
    ProjectId, ProjectRef, Reach, ReadLabel, UpdateLabel,
};
use utoipa::ToSchema;

use crate::answer::{Time, created, done, json, zero};
use crate::context::Context;
use crate::error::Failure;

#[derive(Deserialize, ToSchema)]
#[schema(as = LabelInput)]
pub(crate) struct Input {
    #[serde(default)]
    id: i64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    color: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    project_id: i64,
}

impl Input {
    fn label(self) -> LabelInput {
        LabelInput { name: self.name, description: self.description, color: self.color }
    }
}

/// A label, alone or on its artifact.
#[derive(Serialize, ToSchema)]
#[schema(as = Label)]
pub(crate) struct Output {
    id: i64,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    scope: &'static str,
    #[serde(skip_serializing_if = "zero")]
    project_id: i64,
    creation_time: Time,
    update_time: Time,
}

impl From<Label> for Output {
    fn from(label: Label) -> Self {
        Self {
            id: label.id,
            name: label.name,
            description: label.description,
            color: label.color,
            scope: if label.project_id.is_some() { "p" } else { "g" },
            project_id: label.project_id.unwrap_or_default(),
            creation_time: Time(label.created_at),
            update_time: Time(label.updated_at),
        }
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let params = context.params()?;
    let labels = &context.state.catalog.labels;
    let (scope, name) = (params.required("scope")?, params.text("name"));
    let page = match scope {
        "g" => labels.list_global(name, &params.list_query()?).await?,
        "p" => {
            let project = params.required("project_id")?;
            let id = project.parse().map_err(|_| {
                Failure::unprocessable(format!("project_id in query must be of type int64: {project:?}"))
            })?;
            let permit =
                context.state.tenancy.permit::<ListLabels>(&context.caller, &ProjectRef::Id(id)).await?;
            labels.list(&permit, name, &params.list_query()?).await?
        }
        other => return Err(Failure::bad_request(format!("scope is g or p, not {other:?}"))),
    };
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(Output::from).collect::<Vec<_>>()))
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let input: Input = context.json().await?;
    let owner = match input.scope.as_str() {
        "g" => Owner::Installation,
        "p" if input.project_id > 0 => Owner::Project(ProjectId(input.project_id)),
        "p" => return Err(Failure::bad_request("project_id names no project")),
        other => return Err(Failure::bad_request(format!("scope is g or p, not {other:?}"))),
    };
    let unknown = || Failure::not_found(format!("project {} not found", input.project_id));
    let reach: Reach<CreateLabel> =
        context.state.tenancy.reach(&context.caller, owner, "label", "").await?.ok_or_else(unknown)?;
    let id = context.state.catalog.labels.create(&reach, &input.label()).await?;
    Ok(created(format!("{}/{id}", context.path())))
}

/// The label of the path, and the proof that the caller may do `A` to it. Unknown and forbidden are alike.
async fn reached<A: ProjectAction>(context: &Context) -> Result<(Reach<A>, Label), Failure> {
    let id = context.id("label_id")?;
    let (owner, label) = context.state.catalog.labels.find(id).await?;
    let reach = context.state.tenancy.reach(&context.caller, owner, "label", &id.to_string()).await?;
    reach.zip(label).ok_or_else(|| Failure::not_found(format!("label {id} not found")))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let (_, label) = reached::<ReadLabel>(&context).await?;
    Ok(json(&Output::from(label)))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let (reach, label) = reached::<UpdateLabel>(&context).await?;
    let input: Input = context.json().await?;
    context.state.catalog.labels.update(&reach, label.id, &input.label()).await?;
    Ok(done())
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let (reach, label) = reached::<DeleteLabel>(&context).await?;
    context.state.catalog.labels.delete(&reach, label.id).await?;
    Ok(done())
}

pub(crate) async fn attach(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<CreateArtifactLabel>().await?;
    let (repository, reference) = (context.repository(&permit)?, context.reference()?);
    let input: Input = context.json().await?;
    context.state.catalog.labels.attach(&permit, &repository, &reference, input.id).await?;
    Ok(done())
}

pub(crate) async fn detach(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteArtifactLabel>().await?;
    let (repository, reference) = (context.repository(&permit)?, context.reference()?);
    let id = context.id("label_id")?;
    context.state.catalog.labels.detach(&permit, &repository, &reference, id).await?;
    Ok(done())
}
