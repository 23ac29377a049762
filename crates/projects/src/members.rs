//! Members of a project over REST: accounts, and groups of them.

use actix_web::HttpResponse;
use identity::{LDAP_GROUP, NewGroup};
use serde::{Deserialize, Serialize};
use tenancy::{
    CreateMember, DeleteMember, ListMembers, Member, MemberRef, NewMember, ReadMember, Role, UpdateMember,
};
use utoipa::ToSchema;

use crate::answer::{created, done, json};
use crate::context::Context;
use crate::error::Failure;

#[derive(Deserialize, ToSchema)]
pub(crate) struct MemberInput {
    #[serde(default)]
    role_id: i64,
    #[serde(default)]
    member_user: Option<UserInput>,
    #[serde(default)]
    member_group: Option<GroupInput>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MemberUserInput)]
pub(crate) struct UserInput {
    #[serde(default)]
    user_id: Option<i64>,
    #[serde(default)]
    username: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MemberGroupInput)]
pub(crate) struct GroupInput {
    #[serde(default)]
    id: Option<i64>,
    #[serde(default)]
    group_name: Option<String>,
    #[serde(default)]
    group_type: Option<i64>,
    #[serde(default)]
    ldap_group_dn: Option<String>,
}

impl MemberInput {
    /// Whom the request names. The order matters to clients that send several: user id, group id, user name,
    /// group by its distinguished name, group by name and type.
    fn member(&self) -> Result<MemberRef, Failure> {
        let user = self.member_user.as_ref();
        let group = self.member_group.as_ref();
        if let Some(id) = user.and_then(|user| user.user_id).filter(|id| *id != 0) {
            return Ok(MemberRef::UserId(id));
        }
        if let Some(id) = group.and_then(|group| group.id).filter(|id| *id != 0) {
            return Ok(MemberRef::GroupId(id));
        }
        if let Some(name) = user.and_then(|user| user.username.as_deref()).filter(|name| !name.is_empty()) {
            return Ok(MemberRef::UserName(name.to_owned()));
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (dn, name) = group
            .map_or_else(Default::default, |group| (text(&group.ldap_group_dn), text(&group.group_name)));
        if !dn.is_empty() {
            return Ok(MemberRef::Group(NewGroup { kind: LDAP_GROUP.into(), name, dn }));
        }
        if !name.is_empty() {
            let kind = group.and_then(|group| group.group_type).unwrap_or_default();
            return Ok(MemberRef::Group(NewGroup { kind, name, dn }));
        }
        Err(Failure::bad_request("neither a user nor a group is given"))
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MemberRoleInput)]
pub(crate) struct RoleInput {
    #[serde(default)]
    role_id: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct MemberOutput {
    id: i64,
    project_id: i64,
    entity_name: String,
    role_name: &'static str,
    role_id: i16,
    entity_id: i64,
    entity_type: String,
}

impl From<Member> for MemberOutput {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            project_id: member.project_id,
            entity_name: member.name,
            role_name: Role::from_id(member.role.into()).map_or("", Role::name),
            role_id: member.role,
            entity_id: member.entity_id,
            entity_type: member.entity_type,
        }
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListMembers>().await?;
    let params = context.params()?;
    let paging = params.paging()?;
    let page = context
        .state
        .tenancy
        .member_list(&permit, params.text("entityname"), paging.page, paging.size)
        .await?;
    let mut response = HttpResponse::Ok();
    paging.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(MemberOutput::from).collect::<Vec<_>>()))
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<CreateMember>().await?;
    let input: MemberInput = context.json().await?;
    let new = NewMember { member: input.member()?, role: input.role_id };
    let id = context.state.tenancy.member_add(&permit, &new).await?;
    Ok(created(format!("{}/{id}", context.path())))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadMember>().await?;
    let member = context.state.tenancy.member_get(&permit, context.id("mid")?).await?;
    Ok(json(&MemberOutput::from(member)))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<UpdateMember>().await?;
    let id = context.id("mid")?;
    let input: RoleInput = context.json().await?;
    context.state.tenancy.member_update(&permit, id, input.role_id).await?;
    Ok(done())
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteMember>().await?;
    context.state.tenancy.member_remove(&permit, context.id("mid")?).await?;
    Ok(done())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn who_is_named() {
        for (body, expected) in [
            (r#"{"role_id":1,"member_user":{"user_id":5,"username":"a"}}"#, "UserId(5)"),
            (r#"{"role_id":1,"member_user":{"user_id":0,"username":"a"}}"#, "UserName(\"a\")"),
            (r#"{"role_id":1,"member_user":{"username":"a"},"member_group":{"id":3}}"#, "GroupId(3)"),
            (
                r#"{"role_id":1,"member_user":{"username":"a"},"member_group":{"group_name":"g"}}"#,
                "UserName(\"a\")",
            ),
            (
                r#"{"role_id":1,"member_group":{"group_name":"g","group_type":3}}"#,
                "Group(NewGroup { kind: 3, name: \"g\", dn: \"\" })",
            ),
            (
                r#"{"role_id":1,"member_group":{"group_name":"g","ldap_group_dn":"cn=g"}}"#,
                "Group(NewGroup { kind: 1, name: \"g\", dn: \"cn=g\" })",
            ),
            (r#"{"role_id":1}"#, "neither a user nor a group is given"),
            (r#"{"role_id":1,"member_user":{},"member_group":{}}"#, "neither a user nor a group is given"),
        ] {
            let input: MemberInput = serde_json::from_str(body).unwrap();
            let got =
                input.member().map_or_else(|failure| failure.to_string(), |member| format!("{member:?}"));
            assert_eq!(got, expected, "{body}");
        }
    }
}
