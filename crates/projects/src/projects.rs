//! Projects over REST.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use tenancy::list::Value;
use tenancy::{DeleteProject, NewProject, ProjectUpdate, ReadProject, UpdateProject};
use utoipa::ToSchema;

use crate::answer::{Time, created, done, json, zero};
use crate::context::Context;
use crate::error::Failure;
use crate::quotas::Resources;

/// What creating and changing a project take. There is no owner and no id in it: nobody may set them.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ProjectInput {
    #[serde(default)]
    project_name: Option<String>,
    #[serde(default)]
    public: Option<bool>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    storage_limit: Option<i64>,
    #[serde(default)]
    registry_id: Option<i64>,
    #[serde(default)]
    cve_allowlist: Option<AllowlistInput>,
}

/// Of an allow-list only the project it claims to belong to is of interest: there is none to keep yet.
#[derive(Deserialize, ToSchema)]
#[schema(as = CveAllowlistInput)]
pub(crate) struct AllowlistInput {
    #[serde(default)]
    project_id: Option<i64>,
}

impl ProjectInput {
    /// `metadata.public` when it is there, else `public`.
    fn visibility(&self) -> Result<Option<bool>, Failure> {
        match self.metadata.as_ref().and_then(|metadata| metadata.get("public")).and_then(Option::as_deref) {
            Some("") | None => Ok(self.public),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Failure::bad_request("metadata.public takes \"true\" or \"false\"")),
        }
    }

    /// The metadata that says something: `null` and empty count as absent.
    fn metadata(&self) -> BTreeMap<String, String> {
        self.metadata
            .iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.clone().filter(|value| !value.is_empty())?)))
            .collect()
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct ProjectOutput {
    project_id: i64,
    owner_id: i64,
    name: String,
    creation_time: Time,
    update_time: Time,
    #[serde(skip_serializing_if = "String::is_empty")]
    owner_name: String,
    #[serde(skip_serializing_if = "zero")]
    current_user_role_id: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    current_user_role_ids: Vec<i16>,
    repo_count: i64,
    metadata: BTreeMap<String, String>,
}

impl From<tenancy::Project> for ProjectOutput {
    fn from(project: tenancy::Project) -> Self {
        let mut metadata = project.metadata;
        metadata.insert("public".to_owned(), project.public.to_string());
        let roles: Vec<i16> = project.roles.iter().map(|role| role.id()).collect();
        Self {
            project_id: project.id,
            owner_id: project.owner_id,
            name: project.name,
            creation_time: Time(project.created_at),
            update_time: Time(project.updated_at),
            owner_name: project.owner_name,
            current_user_role_id: roles.first().copied().unwrap_or_default().into(),
            current_user_role_ids: roles,
            repo_count: project.repository_count,
            metadata,
        }
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let params = context.params()?;
    let mut query = params.list_query()?;
    // Always shown in full; the parameter is only checked.
    params.flag("with_detail")?;
    if let Some(name) = params.text("name") {
        query.terms.push(("name".to_owned(), Value::Fuzzy(name.to_owned())));
    }
    if let Some(owner) = params.text("owner") {
        query.terms.push(("owner".to_owned(), Value::Exact(owner.to_owned())));
    }
    if let Some(public) = params.flag("public")? {
        query.terms.push(("public".to_owned(), Value::Exact(public.to_string())));
    }
    let page = context.state.tenancy.project_list(&context.caller, &query).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(ProjectOutput::from).collect::<Vec<_>>()))
}

pub(crate) async fn head(context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let params = context.params()?;
    let name = params.required("project_name")?;
    if context.state.tenancy.project_visible(&context.caller, name).await? {
        return Ok(done());
    }
    Err(Failure::not_found(format!("project {name} not found")))
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let sysadmin = context.caller.is_sysadmin();
    let input: ProjectInput = context.json().await?;
    if let Some(registry) = input.registry_id {
        if !sysadmin {
            return Err(Failure::forbidden("only system administrators may create proxy cache projects"));
        }
        if registry <= 0 {
            return Err(Failure::bad_request(format!("registry_id {registry} is not greater than 0")));
        }
        return Err(Failure::precondition("proxy cache projects are not available yet"));
    }
    let new = NewProject {
        public: input.visibility()?.unwrap_or(false),
        metadata: input.metadata(),
        storage_limit: input.storage_limit,
        name: input.project_name.unwrap_or_default(),
    };
    let by_name = context.flag_header("X-Resource-Name-In-Location")?;
    let name = new.name.clone();
    let id = context.state.tenancy.project_create(&context.caller, new).await?;
    let last = if by_name { name } else { id.to_string() };
    Ok(created(format!("{}/{last}", context.path())))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadProject>().await?;
    let project = context.state.tenancy.project_get(&permit).await?;
    Ok(json(&ProjectOutput::from(project)))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<UpdateProject>().await?;
    let input: ProjectInput = context.json().await?;
    let metadata = input.metadata();
    if metadata.contains_key("retention_id") {
        return Err(Failure::bad_request("the retention_id is not that of this project"));
    }
    let foreign = |list: &AllowlistInput| list.project_id.is_some_and(|id| id != 0 && id != permit.project.0);
    if input.cve_allowlist.as_ref().is_some_and(foreign) {
        return Err(Failure::bad_request("the cve_allowlist belongs to another project"));
    }
    let update = ProjectUpdate { public: input.visibility()?, metadata };
    context.state.tenancy.project_update(&permit, &update).await?;
    Ok(done())
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteProject>().await?;
    let force = context.params()?.flag("force")?.unwrap_or(false);
    if force {
        let job = context.state.catalog.removals.start(&permit).await?;
        return Ok(HttpResponse::Accepted().json(JobOutput { job_id: job.to_string() }));
    }
    context.state.tenancy.project_delete(&permit).await?;
    Ok(done())
}

/// A job that does what was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobOutput {
    job_id: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ProjectDeletable)]
pub(crate) struct DeletableOutput {
    deletable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

pub(crate) async fn deletable(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteProject>().await?;
    let deletable = context.state.tenancy.project_deletable(&permit).await?;
    let message = (!deletable).then(|| tenancy::Error::NotEmpty.to_string());
    Ok(json(&DeletableOutput { deletable, message }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = ProjectSummary)]
pub(crate) struct SummaryOutput {
    repo_count: i64,
    #[serde(skip_serializing_if = "zero")]
    project_admin_count: i64,
    #[serde(skip_serializing_if = "zero")]
    maintainer_count: i64,
    #[serde(skip_serializing_if = "zero")]
    developer_count: i64,
    #[serde(skip_serializing_if = "zero")]
    guest_count: i64,
    #[serde(skip_serializing_if = "zero")]
    limited_guest_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaOutput>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = QuotaUsage)]
pub(crate) struct QuotaOutput {
    hard: Resources,
    used: Resources,
}

pub(crate) async fn summary(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadProject>().await?;
    let summary = context.state.tenancy.project_summary(&permit).await?;
    let members = summary.members.unwrap_or_default();
    Ok(json(&SummaryOutput {
        repo_count: summary.repository_count,
        project_admin_count: members.project_admin,
        maintainer_count: members.maintainer,
        developer_count: members.developer,
        guest_count: members.guest,
        limited_guest_count: members.limited_guest,
        quota: summary.quota.map(|quota| QuotaOutput {
            hard: Resources { storage: quota.hard },
            used: Resources { storage: quota.used },
        }),
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn visibility_of_the_input() {
        for (body, expected) in [
            (r#"{}"#, Some(None)),
            (r#"{"public":true}"#, Some(Some(true))),
            (r#"{"public":null,"metadata":null}"#, Some(None)),
            (r#"{"public":true,"metadata":{"public":"false"}}"#, Some(Some(false))),
            (r#"{"public":true,"metadata":{"public":null}}"#, Some(Some(true))),
            (r#"{"metadata":{"public":"yes"}}"#, None),
        ] {
            let input: ProjectInput = serde_json::from_str(body).unwrap();
            assert_eq!(input.visibility().ok(), expected, "{body}");
        }
    }

    #[test]
    fn privileged_and_unknown_fields_have_no_place() {
        let body =
            r#"{"project_name":"a","owner_id":1,"id":7,"project_id":7,"role_id":1,"deleted":true,"x":[]}"#;
        let input: ProjectInput = serde_json::from_str(body).unwrap();
        assert_eq!(input.project_name.as_deref(), Some("a"));
    }
}
