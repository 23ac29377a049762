//! Accounts of people over REST, and the caller's own account and permissions.

use actix_web::HttpResponse;
use identity::{Account, NewUser, Profile, Secret, UserFilter, UserId};
use serde::{Deserialize, Serialize};
use tenancy::{CreateUser, DeleteUser, ListUsers, ProjectRef, ReadUser, UpdateUser, roles};
use utoipa::ToSchema;

use crate::answer::{Time, created, done, json};
use crate::context::Context;
use crate::error::Failure;

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserOutput {
    user_id: i64,
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    email: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    realname: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    sysadmin_flag: bool,
    admin_role_in_auth: bool,
    creation_time: Time,
    update_time: Time,
}

impl From<Account> for UserOutput {
    fn from(account: Account) -> Self {
        Self {
            user_id: account.id.0,
            username: account.name,
            email: account.email,
            realname: account.realname,
            comment: account.comment,
            sysadmin_flag: account.sysadmin,
            // Only a login through a directory can grant this.
            admin_role_in_auth: false,
            creation_time: Time(account.created_at),
            update_time: Time(account.updated_at),
        }
    }
}

/// What a search tells: never an address.
#[derive(Serialize, ToSchema)]
#[schema(as = UserFound)]
pub(crate) struct FoundOutput {
    user_id: i64,
    username: String,
}

/// A new account. That it administers the system cannot be said here.
#[derive(Deserialize, ToSchema)]
pub(crate) struct UserInput {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(flatten)]
    profile: ProfileInput,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = UserProfileInput)]
pub(crate) struct ProfileInput {
    #[serde(default)]
    email: String,
    #[serde(default)]
    realname: String,
    #[serde(default)]
    comment: String,
}

impl ProfileInput {
    /// Over REST an account has an address and a real name; one made on the command line may go without.
    fn checked(self) -> Result<Profile, Failure> {
        if self.email.is_empty() {
            return Err(Failure::bad_request("the e-mail address is required"));
        }
        if self.realname.is_empty() {
            return Err(Failure::bad_request("the real name is required"));
        }
        Ok(Profile { email: self.email, realname: self.realname, comment: self.comment })
    }
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct SysAdminInput {
    sysadmin_flag: bool,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct PasswordInput {
    #[serde(default)]
    old_password: String,
    #[serde(default)]
    new_password: String,
}

fn secret(text: String) -> Secret {
    Secret::new(text.into_bytes())
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<ListUsers>(&context.caller, None).await?;
    let params = context.params()?;
    let filter =
        UserFilter { name: params.text("username"), email: params.text("email"), ..UserFilter::default() };
    let page = context.state.tenancy.user_list(&permit, &filter, &params.list_query()?).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(UserOutput::from).collect::<Vec<_>>()))
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<CreateUser>(&context.caller, None).await?;
    let input: UserInput = context.json().await?;
    let profile = input.profile.checked()?;
    let new = NewUser {
        name: input.username,
        email: profile.email,
        realname: profile.realname,
        comment: profile.comment,
        password: secret(input.password),
    };
    let id = context.state.tenancy.user_create(&permit, new).await?;
    Ok(created(format!("{}/{id}", context.path())))
}

pub(crate) async fn search(context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let params = context.params()?;
    let part = params.required("username")?;
    let paging = params.paging()?;
    let page = context.state.tenancy.user_search(&context.caller, part, paging.page, paging.size).await?;
    let mut response = HttpResponse::Ok();
    paging.headers(&mut response, context.path(), &params, page.total);
    let found = |account: Account| FoundOutput { user_id: account.id.0, username: account.name };
    Ok(response.json(page.rows.into_iter().map(found).collect::<Vec<_>>()))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let id = UserId(context.id("user_id")?);
    let permit = context.state.tenancy.user_permit::<ReadUser>(&context.caller, id).await?;
    Ok(json(&UserOutput::from(context.state.tenancy.user_get(&permit).await?)))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let id = UserId(context.id("user_id")?);
    let permit = context.state.tenancy.user_permit::<UpdateUser>(&context.caller, id).await?;
    let profile = context.json::<ProfileInput>().await?.checked()?;
    context.state.tenancy.user_update(&permit, profile).await?;
    Ok(done())
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let id = context.id("user_id")?;
    let permit = context.state.tenancy.system_permit::<DeleteUser>(&context.caller, Some(id)).await?;
    context.state.tenancy.user_delete(&permit, UserId(id)).await?;
    Ok(done())
}

pub(crate) async fn set_sysadmin(mut context: Context) -> Result<HttpResponse, Failure> {
    let id = UserId(context.id("user_id")?);
    context.state.tenancy.require_sysadmin::<UpdateUser>(&context.caller, id).await?;
    let input: SysAdminInput = context.json().await?;
    context.state.tenancy.user_sysadmin_set(&context.caller, id, input.sysadmin_flag).await?;
    Ok(done())
}

pub(crate) async fn set_password(mut context: Context) -> Result<HttpResponse, Failure> {
    let id = UserId(context.id("user_id")?);
    let permit = context.state.tenancy.user_permit::<UpdateUser>(&context.caller, id).await?;
    let input: PasswordInput = context.json().await?;
    let old = (!input.old_password.is_empty()).then(|| secret(input.old_password));
    context.state.tenancy.user_password_set(&permit, old, secret(input.new_password)).await?;
    Ok(done())
}

pub(crate) async fn current(context: Context) -> Result<HttpResponse, Failure> {
    // Login commands tell a robot by the status.
    let id = context.account()?;
    let account = context.state.identity.user_by_id(id).await?;
    let account = account.ok_or_else(|| Failure::from(tenancy::Error::Unauthenticated))?;
    Ok(json(&UserOutput::from(account)))
}

#[derive(Debug, Serialize, PartialEq, Eq, ToSchema)]
#[schema(as = HeldPermission)]
pub(crate) struct PermissionOutput {
    resource: String,
    action: &'static str,
}

pub(crate) async fn permissions(context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let params = context.params()?;
    let scope = params.text("scope").unwrap_or("").trim_end_matches('/');
    let relative = params.flag("relative")?.unwrap_or(false);
    let mut held = Vec::new();
    if is_within(scope, "/system") {
        held = match context.caller.principal.robot() {
            Some(robot) => context.state.tenancy.robot_system_rights(robot).await?,
            None if context.caller.is_sysadmin() => system(),
            None => Vec::new(),
        };
    } else if let Some(project) = project_of(scope) {
        let rights = context.state.tenancy.project_rights(&context.caller, &ProjectRef::Id(project)).await?;
        if let Some(rights) = rights {
            held = roles::catalogue()
                .filter(|(resource, action)| rights.allow(*resource, *action))
                .map(|(resource, action)| (project_path(project, resource), action.as_str()))
                .collect();
        }
    }
    let output: Vec<_> = held
        .into_iter()
        .filter_map(|(resource, action)| {
            let resource = if relative { relative_to(&resource, scope)? } else { resource };
            Some(PermissionOutput { resource, action })
        })
        .collect();
    Ok(json(&output))
}

fn system() -> Vec<(String, &'static str)> {
    roles::SYSTEM
        .iter()
        .flat_map(|(resource, actions)| {
            actions.iter().map(move |action| (format!("/system/{resource}"), action.as_str()))
        })
        .collect()
}

/// A project itself has no name of its own below its path.
fn project_path(project: i64, resource: roles::Resource) -> String {
    match resource {
        roles::Resource::Project => format!("/project/{project}"),
        other => format!("/project/{project}/{other}"),
    }
}

/// The id in `/project/<id>` or anything below it.
fn project_of(scope: &str) -> Option<i64> {
    let id = scope.strip_prefix("/project/")?.split('/').next()?;
    if id.bytes().all(|byte| byte.is_ascii_digit()) { id.parse().ok() } else { None }
}

fn is_within(path: &str, scope: &str) -> bool {
    path.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A resource as seen from the scope; nothing when it lies outside. The scope itself is `.`.
fn relative_to(resource: &str, scope: &str) -> Option<String> {
    let rest = resource.strip_prefix(scope)?;
    match rest.strip_prefix('/') {
        Some(below) => Some(below.to_owned()),
        None if rest.is_empty() => Some(".".to_owned()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        for (scope, expected) in [
            ("/project/1", Some(1)),
            ("/project/12/repository", Some(12)),
            ("/project/", None),
            ("/project/x", None),
            ("/project/-1", None),
            ("/project/+1", None),
            ("/projects/1", None),
            ("", None),
        ] {
            assert_eq!(project_of(scope), expected, "{scope}");
        }
        assert!(is_within("/system", "/system") && is_within("/system/user", "/system"));
        assert!(!is_within("/systems", "/system"));
    }

    #[test]
    fn relative_resources() {
        for (resource, scope, expected) in [
            ("/project/1/repository", "/project/1", Some("repository")),
            ("/project/1", "/project/1", Some(".")),
            ("/project/1/tag-retention", "/project/1/tag", None),
            ("/project/1/tag", "/project/1/tag", Some(".")),
            ("/system/user", "/system", Some("user")),
            ("/project/1/member", "/project/1/repository", None),
        ] {
            assert_eq!(relative_to(resource, scope).as_deref(), expected, "{resource} from {scope}");
        }
    }
}
