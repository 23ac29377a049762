//! Groups of people over REST.

use actix_web::HttpResponse;
use identity::{Group, GroupFilter, NewGroup};
use serde::{Deserialize, Serialize};
use tenancy::{CreateGroup, DeleteGroup, ListGroups, ReadGroup, UpdateGroup};
use utoipa::ToSchema;

use crate::answer::{created, done, json};
use crate::context::Context;
use crate::error::Failure;

#[derive(Deserialize, ToSchema)]
#[schema(as = UserGroupInput)]
pub(crate) struct Input {
    #[serde(default)]
    group_name: String,
    #[serde(default)]
    group_type: i64,
    #[serde(default)]
    ldap_group_dn: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UserGroup)]
pub(crate) struct Output {
    id: i64,
    group_name: String,
    group_type: i16,
    #[serde(skip_serializing_if = "String::is_empty")]
    ldap_group_dn: String,
}

/// What a search tells.
#[derive(Serialize, ToSchema)]
#[schema(as = UserGroupFound)]
pub(crate) struct FoundOutput {
    id: i64,
    group_name: String,
    group_type: i16,
}

impl From<Group> for Output {
    fn from(group: Group) -> Self {
        Self { id: group.id, group_name: group.name, group_type: group.kind, ldap_group_dn: group.dn }
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<ListGroups>(&context.caller, None).await?;
    let params = context.params()?;
    let paging = params.paging()?;
    let filter = GroupFilter { name: params.text("group_name"), dn: params.text("ldap_group_dn") };
    let page = context.state.tenancy.group_list(&permit, &filter, paging.page, paging.size).await?;
    let mut response = HttpResponse::Ok();
    paging.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(Output::from).collect::<Vec<_>>()))
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<CreateGroup>(&context.caller, None).await?;
    let input: Input = context.json().await?;
    let new = NewGroup { kind: input.group_type, name: input.group_name, dn: input.ldap_group_dn };
    let id = context.state.tenancy.group_create(&permit, &new).await?;
    Ok(created(format!("{}/{id}", context.path())))
}

pub(crate) async fn search(context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let params = context.params()?;
    let part = params.required("groupname")?;
    let paging = params.paging()?;
    let page = context.state.tenancy.group_search(&context.caller, part, paging.page, paging.size).await?;
    let mut response = HttpResponse::Ok();
    paging.headers(&mut response, context.path(), &params, page.total);
    let found = |group: Group| FoundOutput { id: group.id, group_name: group.name, group_type: group.kind };
    Ok(response.json(page.rows.into_iter().map(found).collect::<Vec<_>>()))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let id = context.id("group_id")?;
    let permit = context.state.tenancy.system_permit::<ReadGroup>(&context.caller, Some(id)).await?;
    Ok(json(&Output::from(context.state.tenancy.group_get(&permit, id).await?)))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let id = context.id("group_id")?;
    let permit = context.state.tenancy.system_permit::<UpdateGroup>(&context.caller, Some(id)).await?;
    // Clients send the whole group back; only its name can change.
    let input: Input = context.json().await?;
    context.state.tenancy.group_rename(&permit, id, &input.group_name).await?;
    Ok(done())
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let id = context.id("group_id")?;
    let permit = context.state.tenancy.system_permit::<DeleteGroup>(&context.caller, Some(id)).await?;
    context.state.tenancy.group_delete(&permit, id).await?;
    Ok(done())
}
