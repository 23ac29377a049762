//! Project metadata over REST, one key in a call.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use tenancy::{CreateMetadata, DeleteMetadata, ListMetadata, ReadMetadata, UpdateMetadata};

use crate::answer::{done, json};
use crate::context::Context;
use crate::error::Failure;

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListMetadata>().await?;
    Ok(json(&context.state.tenancy.metadata_list(&permit).await?))
}

pub(crate) async fn add(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<CreateMetadata>().await?;
    let (key, value) = only_pair(context.json().await?)?;
    context.state.tenancy.metadata_add(&permit, &key, &value).await?;
    Ok(done())
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadMetadata>().await?;
    let key = context.text("meta_name");
    let value = context.state.tenancy.metadata_get(&permit, &key).await?;
    Ok(json(&BTreeMap::from([(key, value)])))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<UpdateMetadata>().await?;
    let named = context.text("meta_name");
    let (key, value) = only_pair(context.json().await?)?;
    if key != named {
        return Err(Failure::bad_request(format!("the body has the key {key:?}, the path {named:?}")));
    }
    context.state.tenancy.metadata_update(&permit, &key, &value).await?;
    Ok(done())
}

pub(crate) async fn remove(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteMetadata>().await?;
    context.state.tenancy.metadata_remove(&permit, &context.text("meta_name")).await?;
    Ok(done())
}

fn only_pair(pairs: BTreeMap<String, String>) -> Result<(String, String), Failure> {
    let mut pairs = pairs.into_iter();
    match (pairs.next(), pairs.next()) {
        (Some(pair), None) => Ok(pair),
        _ => Err(Failure::bad_request("only allow one key/value pair")),
    }
}
