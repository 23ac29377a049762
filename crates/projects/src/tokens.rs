//! Personal access tokens over REST: one's own, and anybody's for system administrators.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tenancy::{ShownToken, TokenInput};
use utoipa::ToSchema;

use crate::answer::{Time, done};
use crate::context::Context;
use crate::error::Failure;

#[derive(Deserialize, ToSchema)]
#[schema(as = AccessTokenInput)]
pub(crate) struct Input {
    #[serde(default)]
    name: String,
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    projects: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AccessTokenCreated)]
pub(crate) struct CreatedOutput<'a> {
    id: i64,
    name: String,
    /// Shown now and never again.
    secret: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AccessToken)]
pub(crate) struct Output {
    id: i64,
    name: String,
    scopes: Vec<String>,
    /// Those that exist. None of them left is not the same as no limit.
    projects: Vec<String>,
    all_projects: bool,
    creation_time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Time>,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_used_address: String,
}

impl From<ShownToken> for Output {
    fn from(shown: ShownToken) -> Self {
        let ShownToken { token, projects } = shown;
        Self {
            id: token.id,
            name: token.name,
            scopes: token.scopes,
            projects,
            all_projects: token.projects.is_empty(),
            creation_time: Time(token.created_at),
            expires_at: token.expires_at.map(Time),
            last_used_at: token.last_used_at.map(Time),
            last_used_address: token.last_used_address,
        }
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.tokens_permit(&context.caller, context.account()?).await?;
    let params = context.params()?;
    let paging = params.paging()?;
    let page = context.state.tenancy.access_token_list(&permit, paging.page, paging.size).await?;
    let mut response = HttpResponse::Ok();
    paging.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(Output::from).collect::<Vec<_>>()))
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.tokens_permit(&context.caller, context.account()?).await?;
    let input: Input = context.json().await?;
    let name = input.name.clone();
    let wanted = TokenInput {
        name: input.name,
        scopes: input.scopes,
        projects: input.projects,
        expires_at: input.expires_at,
    };
    let (id, secret) = context.state.tenancy.access_token_create(&permit, wanted).await?;
    let output = CreatedOutput { id, name, secret: secret.expose_str().unwrap_or_default() };
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, format!("{}/{id}", context.path())));
    Ok(response.json(output))
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.tokens_permit(&context.caller, context.account()?).await?;
    context.state.tenancy.access_token_delete(&permit, context.id("token_id")?).await?;
    Ok(done())
}
