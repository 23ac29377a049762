//! From a request to the operation of the table, and from its path to typed values.
//!
//! Grammar is judged before permission (it says nothing about what exists), permission before existence.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use catalog::Patience;
use oci::RepositoryName;
use oci::error::Code;
use serde_json::json;

use crate::State;
use crate::access::{Asker, Need};
use crate::error::Error;
use crate::query::Query;
use crate::routes::{self, Matched, Mismatch, Operation};
use crate::{blobs, manifests, referrers, tags, uploads};

/// One request with what every handler needs of it.
pub struct Call<'a> {
    pub state: &'a State,
    pub request: &'a HttpRequest,
    pub query: Query,
    /// The last placeholder of the path.
    pub last: String,
}

/// Bounds a request, or the one part of it, that waits for our own services and not for the client.
pub async fn within<T>(part: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    Patience::default().spend(Box::pin(part)).await?
}

/// Answers one request. Errors become answers here, so every answer carries the protocol's version header.
pub async fn dispatch(request: HttpRequest, body: web::Payload) -> HttpResponse {
    let mut response = match answer(&request, body).await {
        Ok(response) => response,
        Err(err) => err.error_response(),
    };
    response.headers_mut().insert(
        HeaderName::from_static("docker-distribution-api-version"),
        HeaderValue::from_static("registry/2.0"),
    );
    response
}

async fn answer(request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Error> {
    let Some(state) = request.app_data::<web::Data<State>>() else {
        return Err(Error::unavailable("the registry is not set up"));
    };
    let matched = match routes::find(request.method(), request.uri().path()) {
        Ok(matched) => matched,
        Err(mismatch) => return Err(refuse_path(&mismatch)),
    };
    let Matched { operation, name, last } = matched;
    let call = Call { state, request, query: Query::parse(request.query_string()), last };
    match operation {
        Operation::Base => within(base(&call)).await,
        Operation::Extensions => within(extensions(&call)).await,
        Operation::Catalog => within(tags::catalog(&call)).await,
        _ => {
            let name: RepositoryName = name.parse().map_err(|_| Error::name_invalid(&name))?;
            in_repository(&call, operation, &name, body).await
        }
    }
}

/// The operations are boxed: together they are large, and each level above would hold its own copy on the stack.
async fn in_repository(
    call: &Call<'_>,
    operation: Operation,
    name: &RepositoryName,
    body: web::Payload,
) -> Result<HttpResponse, Error> {
    match operation {
        Operation::TagsList => within(tags::list(call, name)).await,
        Operation::ManifestGet | Operation::ManifestHead => within(manifests::get(call, name)).await,
        Operation::ManifestPut => Box::pin(manifests::put(call, name, body)).await,
        Operation::ManifestDelete => within(manifests::delete(call, name)).await,
        Operation::BlobGet => within(blobs::get(call, name)).await,
        Operation::BlobHead => within(blobs::head(call, name)).await,
        Operation::BlobDelete => within(blobs::delete(call, name)).await,
        Operation::UploadStart => Box::pin(uploads::start(call, name, body)).await,
        Operation::UploadStatus => within(uploads::status(call, name)).await,
        Operation::UploadAppend => Box::pin(uploads::append(call, name, body)).await,
        Operation::UploadFinish => Box::pin(uploads::finish(call, name, body)).await,
        Operation::UploadCancel => within(uploads::cancel(call, name)).await,
        Operation::ReferrersList => within(referrers::list(call, name)).await,
        Operation::Base | Operation::Extensions | Operation::Catalog => Err(Error::not_found()),
    }
}

async fn base(call: &Call<'_>) -> Result<HttpResponse, Error> {
    Asker::identify(call.state, call.request, Need::Identity).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

async fn extensions(call: &Call<'_>) -> Result<HttpResponse, Error> {
    Asker::identify(call.state, call.request, Need::Identity).await?;
    Ok(HttpResponse::Ok().json(json!({ "extensions": [] })))
}

fn refuse_path(mismatch: &Mismatch) -> Error {
    match mismatch {
        Mismatch::Unknown => Error::not_found(),
        Mismatch::Method(methods) => Error::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::Unsupported,
            format!("this path takes {}", methods.join(", ")),
        )
        .with(header::ALLOW, methods.join(", ")),
    }
}
