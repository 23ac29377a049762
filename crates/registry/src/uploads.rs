//! Upload sessions: start, status, append, finish, cancel, and mounting instead of uploading.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use catalog::{Blob, Body, ChunkRange, Patience, Push, Session};
use futures_util::{Stream, StreamExt};
use oci::error::Code;
use oci::{Action, Algorithm, Digest, RepositoryName};
use uuid::Uuid;

use crate::access::{Asker, Need};
use crate::blobs::digest;
use crate::dispatch::Call;
use crate::error::Error;

pub async fn start(
    call: &Call<'_>,
    name: &RepositoryName,
    body: web::Payload,
) -> Result<HttpResponse, Error> {
    let mount = one(call, "mount")?.map(digest).transpose()?;
    let from = one(call, "from")?
        .map(|from| from.parse::<RepositoryName>().map_err(|_| Error::name_invalid(from)))
        .transpose()?;
    let claimed = one(call, "digest")?.map(digest).transpose()?;
    let algorithm = match (one(call, "digest-algorithm")?, &claimed) {
        (None, Some(claimed)) => claimed.algorithm(),
        (None, None) | (Some("sha256"), _) => Algorithm::Sha256,
        (Some("sha512"), _) => Algorithm::Sha512,
        (Some(other), _) => {
            return Err(Error::digest_invalid(format!(
                "digest-algorithm {:?} is not supported: use sha256 or sha512",
                other.chars().take(40).collect::<String>()
            )));
        }
    };
    let need = match (&mount, &from) {
        (Some(_), Some(from)) => Need::Mount(name, from),
        _ => Need::Repository(name, Action::Push),
    };
    let uploads = &call.state.catalog.uploads;
    let mut patience = Patience::default();
    let started = patience.spend(async {
        let asker = Asker::identify(call.state, call.request, need).await?;
        let push = asker.push_for(name, need).await?;
        if let Some(mount) = &mount {
            let mounted = match &from {
                // Without the right on the source, or without the blob in it, this is an ordinary upload start.
                Some(from) => match asker.mount_source(name, from).await? {
                    Some(pull) => uploads.mount(&push, mount, Some(&pull)).await?,
                    None => None,
                },
                None => uploads.mount(&push, mount, None).await?,
            };
            if let Some(blob) = mounted {
                return Ok(Started::Mounted(blob));
            }
        }
        let session = uploads.start(&push, algorithm).await?;
        Ok::<_, Error>(Started::Open(push, session))
    });
    let (push, session) = match started.await?? {
        Started::Mounted(blob) => return Ok(created(name, &blob.digest)),
        Started::Open(push, session) => (push, session),
    };
    if mount.is_none()
        && let Some(claimed) = claimed
    {
        let blob = uploads.finish(&push, session.id, &claimed, received(call, body, patience)?).await?;
        return Ok(created(name, &blob.digest));
    }
    Ok(standing(HttpResponse::Accepted(), name, &session)
        // No minimum: a chunk of any size is taken.
        .insert_header(("oci-chunk-min-length", "1"))
        .finish())
}

pub async fn status(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let (id, push) = pushing(call, name).await?;
    let session = call.state.catalog.uploads.status(&push, id).await?;
    Ok(standing(HttpResponse::NoContent(), name, &session).finish())
}

pub async fn append(
    call: &Call<'_>,
    name: &RepositoryName,
    body: web::Payload,
) -> Result<HttpResponse, Error> {
    let mut patience = Patience::default();
    let (id, push) = patience.spend(pushing(call, name)).await??;
    let session = call
        .state
        .catalog
        .uploads
        .append(&push, id, received(call, body, patience)?)
        .await
        .map_err(|err| at(name, id, err))?;
    Ok(standing(HttpResponse::Accepted(), name, &session).finish())
}

pub async fn finish(
    call: &Call<'_>,
    name: &RepositoryName,
    body: web::Payload,
) -> Result<HttpResponse, Error> {
    let claimed = one(call, "digest")?
        .ok_or_else(|| Error::digest_invalid("a finished upload needs the parameter digest"))
        .and_then(digest)?;
    let mut patience = Patience::default();
    let (id, push) = patience.spend(pushing(call, name)).await??;
    let blob = call
        .state
        .catalog
        .uploads
        .finish(&push, id, &claimed, received(call, body, patience)?)
        .await
        .map_err(|err| at(name, id, err))?;
    Ok(created(name, &blob.digest))
}

pub async fn cancel(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let (id, push) = pushing(call, name).await?;
    call.state.catalog.uploads.cancel(&push, id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What a start came to.
enum Started {
    Mounted(Blob),
    Open(Push, Session),
}

/// The id in an upload URL, and the caller's right to push. An id that is no UUID is answered like one that is
/// unknown, after the right.
async fn pushing(call: &Call<'_>, name: &RepositoryName) -> Result<(Uuid, Push), Error> {
    let id = Uuid::parse_str(&call.last).ok();
    let asker = match id {
        Some(id) => Asker::identify_for_upload(call.state, call.request, name, id).await?,
        None => Asker::identify(call.state, call.request, Need::Repository(name, Action::Push)).await?,
    };
    let push = asker.push(name).await?;
    match id {
        Some(id) => Ok((id, push)),
        None => Err(Error::new(
            StatusCode::NOT_FOUND,
            Code::BlobUploadUnknown,
            "no such upload in this repository",
        )),
    }
}

/// A parameter that may occur once.
fn one<'a>(call: &'a Call<'_>, key: &str) -> Result<Option<&'a str>, Error> {
    call.query.one(key).map_err(|()| {
        let text = format!("the parameter {key} occurs more than once");
        match key {
            "from" => Error::new(StatusCode::BAD_REQUEST, Code::NameInvalid, text),
            _ => Error::digest_invalid(text),
        }
    })
}

type Received = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, actix_web::error::PayloadError>>>>;

fn received(call: &Call<'_>, body: web::Payload, patience: Patience) -> Result<Body<Received>, Error> {
    let text =
        |name: header::HeaderName| call.request.headers().get(name).map(|value| value.to_str().unwrap_or(""));
    let length = text(header::CONTENT_LENGTH).and_then(|value| value.parse().ok());
    let range: Option<ChunkRange> = text(header::CONTENT_RANGE)
        .map(|value| {
            crate::ranges::chunk(value).map_err(|()| {
                Error::new(
                    StatusCode::BAD_REQUEST,
                    Code::BlobUploadInvalid,
                    "Content-Range must be <first byte>-<last byte>",
                )
            })
        })
        .transpose()?;
    Ok(Body { bytes: body.boxed_local(), length, range, patience })
}

/// `0-N`, N the last stored byte; `0-0` before the first, because clients refuse anything else.
pub fn stored_range(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn location(name: &RepositoryName, id: Uuid) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

fn standing(
    mut response: HttpResponseBuilder,
    name: &RepositoryName,
    session: &Session,
) -> HttpResponseBuilder {
    response
        .insert_header((header::LOCATION, location(name, session.id)))
        .insert_header((header::RANGE, stored_range(session.offset)))
        .insert_header(("docker-upload-uuid", session.id.to_string()));
    response
}

fn created(name: &RepositoryName, digest: &Digest) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/v2/{name}/blobs/{digest}")))
        .insert_header(("docker-content-digest", digest.to_string()))
        .finish()
}

/// A failed append tells where the session is, so that the client can go on.
fn at(name: &RepositoryName, id: Uuid, err: catalog::Error) -> Error {
    let resumable = matches!(err, catalog::Error::RangeInvalid { .. });
    let err = Error::from(err);
    if resumable {
        err.with(header::LOCATION, location(name, id))
            .with(header::HeaderName::from_static("docker-upload-uuid"), id.to_string())
    } else {
        err
    }
}
