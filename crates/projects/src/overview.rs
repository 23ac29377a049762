//! What a caller sees of the whole installation: counts, search, and the catalogue of permissions.

use std::collections::HashSet;

use actix_web::HttpResponse;
use serde::Serialize;
use tenancy::roles;
use utoipa::ToSchema;

use crate::answer::{json, zero};
use crate::context::Context;
use crate::error::Failure;
use crate::projects::ProjectOutput;

/// Longer texts are in no name.
const SEARCH_BYTES_MAX: usize = 255;

#[derive(Serialize, ToSchema)]
#[schema(as = Statistics)]
pub(crate) struct StatisticsOutput {
    private_project_count: i64,
    private_repo_count: i64,
    public_project_count: i64,
    public_repo_count: i64,
    total_project_count: i64,
    total_repo_count: i64,
    total_storage_consumption: i64,
}

pub(crate) async fn statistics(context: Context) -> Result<HttpResponse, Failure> {
    let counted = context.state.tenancy.statistics(&context.caller).await?;
    Ok(json(&StatisticsOutput {
        private_project_count: counted.private_projects,
        private_repo_count: counted.private_repositories,
        public_project_count: counted.public_projects,
        public_repo_count: counted.public_repositories,
        total_project_count: counted.total_projects,
        total_repo_count: counted.total_repositories,
        total_storage_consumption: counted.total_storage,
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Search)]
pub(crate) struct SearchOutput {
    project: Vec<ProjectOutput>,
    repository: Vec<RepositoryOutput>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SearchedRepository)]
pub(crate) struct RepositoryOutput {
    project_id: i64,
    project_name: String,
    project_public: bool,
    repository_name: String,
    #[serde(skip_serializing_if = "zero")]
    pull_count: i64,
    #[serde(skip_serializing_if = "zero")]
    artifact_count: i64,
}

pub(crate) async fn search(context: Context) -> Result<HttpResponse, Failure> {
    let params = context.params()?;
    let text = params.required("q")?;
    if text.len() > SEARCH_BYTES_MAX {
        return Ok(json(&SearchOutput { project: Vec::new(), repository: Vec::new() }));
    }
    let tenancy = &context.state.tenancy;
    let projects = tenancy.project_search(&context.caller, text).await?;
    let visible = tenancy.visible(&context.caller.principal).await?;
    let found = context.state.catalog.repositories.search(visible.ids(), text).await?;
    let ids: Vec<i64> = found.iter().map(|repository| repository.project_id).collect();
    let public: HashSet<i64> = tenancy.public_among(&ids).await?.into_iter().collect();
    let repository = found
        .into_iter()
        .map(|repository| RepositoryOutput {
            project_id: repository.project_id,
            project_name: repository.path.split('/').next().unwrap_or_default().to_owned(),
            project_public: public.contains(&repository.project_id),
            repository_name: repository.path,
            pull_count: repository.pull_count,
            artifact_count: repository.artifact_count,
        })
        .collect();
    Ok(json(&SearchOutput { project: projects.into_iter().map(ProjectOutput::from).collect(), repository }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = PermissionCatalogue)]
pub(crate) struct CatalogueOutput {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<PermissionOutput>,
    project: Vec<PermissionOutput>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Permission)]
pub(crate) struct PermissionOutput {
    resource: &'static str,
    action: &'static str,
}

pub(crate) async fn permissions(context: Context) -> Result<HttpResponse, Failure> {
    let everything = context.state.tenancy.administers(&context.caller).await?;
    let of_system = |(resource, actions): &(&'static str, &'static [roles::Action])| {
        let resource = *resource;
        actions.iter().map(move |action| PermissionOutput { resource, action: action.as_str() })
    };
    let system =
        if everything { roles::ROBOT_SYSTEM.iter().flat_map(of_system).collect() } else { Vec::new() };
    let project = roles::robot_catalogue()
        .map(|(resource, action)| PermissionOutput { resource: resource.as_str(), action: action.as_str() })
        .collect();
    Ok(json(&CatalogueOutput { system, project }))
}
