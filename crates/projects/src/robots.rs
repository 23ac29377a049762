//! Robots over REST: accounts of programs, their rights and their secrets.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use chrono::{DateTime, Utc};
use identity::Secret;
use serde::{Deserialize, Serialize};
use tenancy::list::Value;
use tenancy::{
    DeleteRobot, ProjectAction, ProjectId, ReadRobot, Robot, RobotInput, RobotLevel, RobotPermission,
    RobotPermit, UpdateRobot,
};
use utoipa::ToSchema;

use crate::answer::{Time, done, json};
use crate::context::Context;
use crate::error::Failure;
use crate::params::Params;

#[derive(Deserialize, ToSchema)]
#[schema(as = RobotInput)]
pub(crate) struct Input {
    #[serde(default)]
    name: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    duration: Option<i64>,
    #[serde(default)]
    disable: Option<bool>,
    #[serde(default)]
    permissions: Vec<Permission>,
}

#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = RobotPermission)]
pub(crate) struct Permission {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    access: Vec<Access>,
}

#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = RobotAccess)]
pub(crate) struct Access {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    action: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    effect: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = RobotSecretInput)]
pub(crate) struct SecretInput {
    #[serde(default)]
    secret: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RobotCreated)]
pub(crate) struct CreatedOutput {
    id: i64,
    name: String,
    secret: String,
    creation_time: Time,
    expires_at: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RobotSecret)]
pub(crate) struct SecretOutput {
    secret: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Robot)]
pub(crate) struct Output {
    id: i64,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    level: &'static str,
    duration: i64,
    editable: bool,
    disable: bool,
    expires_at: i64,
    permissions: Vec<Permission>,
    creator_type: String,
    creator_ref: i64,
    creation_time: Time,
    update_time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Time>,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_used_address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_used_client: String,
}

impl From<Robot> for Output {
    fn from(robot: Robot) -> Self {
        let level = robot.level().as_str();
        let Robot { account, permissions } = robot;
        Self {
            id: account.id,
            name: account.login_name,
            description: account.description,
            level,
            duration: account.duration_days,
            editable: true,
            disable: account.disabled,
            expires_at: seconds(account.expires_at),
            permissions: permissions.into_iter().map(Permission::from).collect(),
            // Existing clients know people by the name of their first product.
            creator_type: if account.creator_kind == "user" {
                "local".to_owned()
            } else {
                account.creator_kind
            },
            creator_ref: account.creator_id,
            creation_time: Time(account.created_at),
            update_time: Time(account.updated_at),
            last_used_at: account.last_used_at.map(Time),
            last_used_address: account.last_used_address,
            last_used_client: account.last_used_client,
        }
    }
}

impl From<RobotPermission> for Permission {
    fn from(permission: RobotPermission) -> Self {
        let access = permission
            .access
            .into_iter()
            .map(|(resource, action)| Access { resource, action, effect: "allow".to_owned() })
            .collect();
        Self { kind: permission.kind, namespace: permission.namespace, access }
    }
}

/// Unix seconds, or -1 for never.
fn seconds(end: Option<DateTime<Utc>>) -> i64 {
    end.map_or(-1, |end| end.timestamp())
}

impl Input {
    fn checked(self) -> Result<RobotInput, Failure> {
        let permissions = self
            .permissions
            .into_iter()
            .map(|entry| {
                let access = entry
                    .access
                    .into_iter()
                    .map(|access| match access.effect.as_str() {
                        "" | "allow" => Ok((access.resource, access.action)),
                        other => Err(Failure::bad_request(format!(
                            "effect {other:?} is not available: rights can only be allowed"
                        ))),
                    })
                    .collect::<Result<_, _>>()?;
                Ok(RobotPermission { kind: entry.kind, namespace: entry.namespace, access })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(RobotInput {
            name: self.name,
            level: RobotLevel::parse(&self.level)?,
            description: self.description,
            duration_days: self.duration,
            disabled: self.disable,
            permissions,
        })
    }
}

/// Whose robots a list is about: `Level=project,ProjectID=7` in `q`, else those of the installation.
fn project_of(terms: &mut Vec<(String, Value)>) -> Result<Option<ProjectId>, Failure> {
    let mut take = |key: &str| {
        let at = terms.iter().position(|(name, _)| name.eq_ignore_ascii_case(key))?;
        match terms.remove(at).1 {
            Value::Exact(text) => Some(text),
            _ => Some(String::new()),
        }
    };
    let (level, project) = (take("Level"), take("ProjectID"));
    let project = project.map(|text| text.parse::<i64>().ok().filter(|id| *id > 0));
    match (level.as_deref(), project) {
        (None | Some("system"), None) => Ok(None),
        (None | Some("project"), Some(Some(id))) => Ok(Some(ProjectId(id))),
        (Some("system"), Some(_)) => Err(Failure::bad_request("robots of level system have no ProjectID")),
        (Some("project") | None, _) => {
            Err(Failure::bad_request("robots of level project need ProjectID, a positive number, in q"))
        }
        (Some(other), _) => Err(RobotLevel::parse(other)
            .map_or_else(Failure::from, |_| Failure::bad_request("Level is system or project"))),
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let params: Params = context.params()?;
    let mut query = params.list_query()?;
    let project = project_of(&mut query.terms)?;
    let page = context.state.tenancy.robot_list(&context.caller, project, &query).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(Output::from).collect::<Vec<_>>()))
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    context.require_signed_in()?;
    let input = context.json::<Input>().await?.checked()?;
    let created = context.state.tenancy.robot_create(&context.caller, &input).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, format!("{}/{}", context.path(), created.id)));
    Ok(response.json(CreatedOutput {
        id: created.id.0,
        name: created.name,
        secret: text_of(&created.secret),
        creation_time: Time(created.created_at),
        expires_at: seconds(created.expires_at),
    }))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = permit::<ReadRobot>(&context).await?;
    Ok(json(&Output::from(context.state.tenancy.robot_get(permit).await?)))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = permit::<UpdateRobot>(&context).await?;
    let input = context.json::<Input>().await?.checked()?;
    context.state.tenancy.robot_update(&permit, &input).await?;
    Ok(done())
}

pub(crate) async fn rekey(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = permit::<UpdateRobot>(&context).await?;
    let input: SecretInput = context.json().await?;
    let chosen = (!input.secret.is_empty()).then(|| Secret::new(input.secret.into_bytes()));
    let made = context.state.tenancy.robot_rekey(&permit, chosen).await?;
    // What the caller chose, the caller knows.
    Ok(json(&SecretOutput { secret: made.as_ref().map(text_of).unwrap_or_default() }))
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let permit = permit::<DeleteRobot>(&context).await?;
    context.state.tenancy.robot_delete(&permit).await?;
    Ok(done())
}

async fn permit<A: ProjectAction>(context: &Context) -> Result<RobotPermit<A>, Failure> {
    Ok(context.state.tenancy.robot_permit(&context.caller, context.id("robot_id")?).await?)
}

/// A secret on its only way out.
fn text_of(secret: &Secret) -> String {
    secret.expose_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_robots_are_listed() {
        let exact = |key: &str, value: &str| (key.to_owned(), Value::Exact(value.to_owned()));
        for (terms, expected) in [
            (vec![], Ok(None)),
            (vec![exact("Level", "system")], Ok(None)),
            (vec![exact("Level", "project"), exact("ProjectID", "7")], Ok(Some(7))),
            (vec![exact("ProjectID", "7")], Ok(Some(7))),
            (vec![exact("Level", "project")], Err(())),
            (vec![exact("Level", "project"), exact("ProjectID", "0")], Err(())),
            (vec![exact("Level", "project"), exact("ProjectID", "x")], Err(())),
            (vec![exact("Level", "system"), exact("ProjectID", "7")], Err(())),
            (vec![exact("Level", "galaxy")], Err(())),
        ] {
            let mut rest = terms.clone();
            rest.push(exact("name", "ci"));
            let got = project_of(&mut rest).map(|id| id.map(|id| id.0)).map_err(|_| ());
            assert_eq!(got, expected, "{terms:?}");
            if got.is_ok() {
                assert_eq!(rest, [exact("name", "ci")]);
            }
        }
    }
}
