//! What can be read out of an artifact over REST: build history, and the texts of charts.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use catalog::{Addition, Artifact};
use serde::Serialize;
use tenancy::ReadArtifactAddition;
use utoipa::ToSchema;

use crate::context::Context;
use crate::error::Failure;

/// Where an addition of an artifact is.
#[derive(Serialize, ToSchema)]
#[schema(as = AdditionLink)]
pub(crate) struct Link {
    href: String,
    absolute: bool,
}

/// The additions of an artifact, by name.
pub(crate) fn links(artifact: &Artifact) -> BTreeMap<&'static str, Link> {
    let (project, repository) = artifact.path.split_once('/').unwrap_or((&artifact.path, ""));
    // Encoded twice, as clients of this API write nested names.
    let repository = repository.replace('/', "%252F");
    let base = format!(
        "/api/v2.0/projects/{project}/repositories/{repository}/artifacts/{}/additions",
        artifact.digest
    );
    catalog::additions_of(&artifact.kind, &artifact.media_type)
        .iter()
        .map(|name| (*name, Link { href: format!("{base}/{name}"), absolute: false }))
        .collect()
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadArtifactAddition>().await?;
    let (repository, reference) = (context.repository(&permit)?, context.reference()?);
    let name = context.text("addition");
    let addition = context.state.catalog.additions.get(&permit, &repository, &reference, &name).await?;
    let (kind, body) = match addition {
        Addition::Json(value) => ("application/json; charset=utf-8", value.to_string().into_bytes()),
        Addition::Markdown(text) => ("text/markdown; charset=utf-8", text),
        Addition::Text(text) => ("text/plain; charset=utf-8", text),
    };
    let mut response = HttpResponse::Ok();
    // It is what somebody pushed: no browser is to take it for a page.
    response.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff")).insert_header((CONTENT_TYPE, kind));
    Ok(response.body(body))
}
