//! Members of a project over REST. Members are accounts; groups do not exist yet and are refused as such.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use tenancy::{
    CreateMember, DeleteMember, ListMembers, Member, NewMember, ReadMember, Role, UpdateMember, UserRef,
};

use crate::answer::{created, done, json};
use crate::context::Context;
use crate::error::Failure;

#[derive(Deserialize)]
struct MemberInput {
    #[serde(default)]
    role_id: i64,
    #[serde(default)]
    member_user: Option<UserInput>,
    #[serde(default)]
    member_group: Option<GroupInput>,
}

#[derive(Deserialize)]
struct UserInput {
    #[serde(default)]
    user_id: Option<i64>,
    #[serde(default)]
    username: Option<String>,
}

#[derive(Deserialize)]
struct GroupInput {
    #[serde(default)]
    id: Option<i64>,
    #[serde(default)]
    group_name: Option<String>,
    #[serde(default)]
    ldap_group_dn: Option<String>,
}

impl MemberInput {
    /// Whom the request names. The order matters to clients that send several: user id, group id, user name,
    /// group.
    fn user(&self) -> Result<UserRef, Failure> {
        let user = self.member_user.as_ref();
        let group = self.member_group.as_ref();
        if let Some(id) = user.and_then(|user| user.user_id).filter(|id| *id != 0) {
            return Ok(UserRef::Id(id));
        }
        if let Some(id) = group.and_then(|group| group.id).filter(|id| *id != 0) {
            return Err(Failure::bad_request(format!("user group {id} does not exist")));
        }
        if let Some(name) = user.and_then(|user| user.username.as_deref()).filter(|name| !name.is_empty()) {
            return Ok(UserRef::Name(name.to_owned()));
        }
        let named = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if group.is_some_and(|group| named(&group.ldap_group_dn) || named(&group.group_name)) {
            return Err(Failure::bad_request("user groups are not available yet"));
        }
        Err(Failure::bad_request("neither a user nor a group is given"))
    }
}

#[derive(Deserialize)]
struct RoleInput {
    #[serde(default)]
    role_id: i64,
}

#[derive(Serialize)]
struct MemberOutput {
    id: i64,
    project_id: i64,
    entity_name: String,
    role_name: &'static str,
    role_id: i16,
    entity_id: i64,
    entity_type: &'static str,
}

impl From<Member> for MemberOutput {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            project_id: member.project_id,
            entity_name: member.username,
            role_name: Role::from_id(member.role.into()).map_or("", Role::name),
            role_id: member.role,
            entity_id: member.user_id,
            entity_type: "u",
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
    let new = NewMember { user: input.user()?, role: input.role_id };
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
            (r#"{"role_id":1,"member_user":{"user_id":5,"username":"a"}}"#, "Id(5)"),
            (r#"{"role_id":1,"member_user":{"user_id":0,"username":"a"}}"#, "Name(\"a\")"),
            (
                r#"{"role_id":1,"member_user":{"username":"a"},"member_group":{"id":3}}"#,
                "user group 3 does not exist",
            ),
            (
                r#"{"role_id":1,"member_user":{"username":"a"},"member_group":{"group_name":"g"}}"#,
                "Name(\"a\")",
            ),
            (
                r#"{"role_id":1,"member_group":{"group_name":"g","group_type":1}}"#,
                "user groups are not available yet",
            ),
            (r#"{"role_id":1,"member_group":{"ldap_group_dn":"cn=g"}}"#, "user groups are not available yet"),
            (r#"{"role_id":1}"#, "neither a user nor a group is given"),
            (r#"{"role_id":1,"member_user":{},"member_group":{}}"#, "neither a user nor a group is given"),
        ] {
            let input: MemberInput = serde_json::from_str(body).unwrap();
            let got = input.user().map_or_else(|failure| failure.to_string(), |user| format!("{user:?}"));
            assert_eq!(got, expected, "{body}");
        }
    }
}
