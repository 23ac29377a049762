//! The run-time configuration over REST.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::answer::{done, json};
use crate::context::Context;
use crate::error::Failure;

#[derive(Serialize, ToSchema)]
#[schema(as = ConfigurationValue)]
pub(crate) struct Output {
    value: Value,
    editable: bool,
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let configured = context.state.tenancy.configuration(&context.caller).await?;
    let output: BTreeMap<_, _> = configured
        .into_iter()
        .map(|(key, held)| (key, Output { value: held.value, editable: held.editable }))
        .collect();
    Ok(json(&output))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let changes: Map<String, Value> = context.json().await?;
    context.state.tenancy.configuration_update(&context.caller, &changes).await?;
    Ok(done())
}
