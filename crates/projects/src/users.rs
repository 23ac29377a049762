//! The caller's own account and permissions.

use actix_web::HttpResponse;
use serde::Serialize;
use tenancy::ProjectRef;
use tenancy::roles;

use crate::answer::{Time, json};
use crate::context::Context;
use crate::error::Failure;

#[derive(Serialize)]
struct UserOutput {
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

pub(crate) async fn current(context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let Some(id) = context.caller.user().map(|user| user.id) else {
        // Login commands tell a robot by this status.
        return Err(Failure::precondition("a robot is not a user"));
    };
    let account = context.state.identity.user_by_id(id).await?;
    let account = account.ok_or_else(|| Failure::from(tenancy::Error::Unauthenticated))?;
    Ok(json(&UserOutput {
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
    }))
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct PermissionOutput {
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
