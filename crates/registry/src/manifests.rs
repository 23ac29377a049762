//! GET, HEAD, PUT and DELETE of manifests.

use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, web};
use bytes::{Bytes, BytesMut};
use catalog::{Patience, PushTarget};
use futures_util::StreamExt;
use oci::error::Code;
use oci::manifest::MANIFEST_BYTES_MAX;
use oci::{Action, Reference, RepositoryName, Tag};

use crate::access::{Asker, Need};
use crate::blobs::{matches_etag, not_modified, quoted};
use crate::dispatch::Call;
use crate::error::Error;

/// Tags one request may set. The next specification asks for at least ten.
const TAGS_MAX: usize = 100;

pub async fn get(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let reference = reference(&call.last);
    let asker = Asker::identify(call.state, call.request, Need::Repository(name, Action::Pull)).await?;
    let pull = asker.pull(name).await?;
    let reference = match reference {
        Ok(reference) => reference,
        Err(err) if call.last.contains(':') => return Err(err),
        // What cannot be a tag is not here: the released conformance suite asks for 404 on a read.
        Err(_) => return Err(catalog::Error::ManifestUnknown(call.last.chars().take(140).collect()).into()),
    };
    let manifests = &call.state.catalog.manifests;
    let found = manifests.get(&pull, &reference).await?;
    if matches_etag(call, &found.digest) {
        return Ok(not_modified(&found.digest));
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, found.media_type.as_str()))
        .insert_header(("docker-content-digest", found.digest.to_string()))
        .insert_header((header::ETAG, quoted(&found.digest)))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if call.request.method() == Method::HEAD {
        let nothing = futures_util::stream::empty::<Result<Bytes, std::io::Error>>();
        return Ok(response.body(SizedStream::new(found.payload.len() as u64, nothing)));
    }
    manifests.pulled(&pull, &found, &reference);
    Ok(response.body(found.payload))
}

pub async fn put(call: &Call<'_>, name: &RepositoryName, body: web::Payload) -> Result<HttpResponse, Error> {
    let reference = reference(&call.last)?;
    let asked: Vec<Tag> = call.query.all("tag").into_iter().map(tag).collect::<Result<_, _>>()?;
    if asked.len() > TAGS_MAX {
        return Err(Error::new(
            StatusCode::URI_TOO_LONG,
            Code::TagInvalid,
            format!("one request sets at most {TAGS_MAX} tags; send the rest in another one"),
        ));
    }
    let media_type = match call.request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str()) {
        None => None,
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => {
            return Err(Error::new(
                StatusCode::BAD_REQUEST,
                Code::ManifestInvalid,
                "Content-Type is not readable",
            ));
        }
    };
    let mut patience = Patience::default();
    let identified = async {
        let need = Need::Repository(name, Action::Push);
        Asker::identify(call.state, call.request, need).await?.push(name).await
    };
    let push = patience.spend(identified).await??;
    let payload = whole(call, body).await?;
    let mut target = PushTarget { digest: None, tags: asked.clone() };
    match &reference {
        Reference::Digest(digest) => target.digest = Some(digest.clone()),
        Reference::Tag(tag) => target.tags.push(tag.clone()),
    }
    let pushed =
        patience.spend(call.state.catalog.manifests.put(&push, target, media_type, payload)).await??;
    let mut response = HttpResponse::Created();
    response
        .insert_header((header::LOCATION, format!("/v2/{name}/manifests/{}", pushed.digest)))
        .insert_header(("docker-content-digest", pushed.digest.to_string()));
    if let Some(subject) = pushed.subject {
        response.insert_header(("oci-subject", subject.to_string()));
    }
    if !asked.is_empty() {
        let names: Vec<&str> = asked.iter().map(Tag::as_str).collect();
        response.insert_header(("oci-tag", names.join(", ")));
    }
    for value in oci::warning::header_values(&pushed.warnings) {
        response.append_header((header::WARNING, value));
    }
    Ok(response.finish())
}

pub async fn delete(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let reference = reference(&call.last)?;
    let asker = Asker::identify(call.state, call.request, Need::Repository(name, Action::Delete)).await?;
    let delete = asker.delete(name).await?;
    if !call.state.config.delete_enabled {
        return Err(Error::deletes_disabled());
    }
    call.state.catalog.manifests.delete(&delete, &reference).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// A tag or digest in a path. What is neither can name nothing, and the answer says which rule it breaks.
fn reference(text: &str) -> Result<Reference, Error> {
    match text.parse() {
        Ok(reference) => Ok(reference),
        Err(_) if text.contains(':') => crate::blobs::digest(text).map(Reference::Digest),
        Err(_) => tag(text).map(Reference::Tag),
    }
}

fn tag(text: &str) -> Result<Tag, Error> {
    text.parse().map_err(|_| {
        Error::new(
            StatusCode::BAD_REQUEST,
            Code::TagInvalid,
            format!(
                "{:?} is not a tag: at most 128 letters, digits, '.', '_' and '-', not starting with '.' or '-'",
                text.chars().take(140).collect::<String>()
            ),
        )
    })
}

/// The body, refused as soon as it is too large.
async fn whole(call: &Call<'_>, mut body: web::Payload) -> Result<Bytes, Error> {
    let too_large = || {
        Error::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::ManifestInvalid,
            format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes"),
        )
    };
    let announced = call
        .request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    if announced > MANIFEST_BYTES_MAX {
        return Err(too_large());
    }
    let mut payload = BytesMut::with_capacity(announced);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| {
            Error::new(StatusCode::BAD_REQUEST, Code::SizeInvalid, "the manifest broke off; send it again")
        })?;
        if payload.len() + chunk.len() > MANIFEST_BYTES_MAX {
            return Err(too_large());
        }
        payload.extend_from_slice(&chunk);
    }
    Ok(payload.freeze())
}
