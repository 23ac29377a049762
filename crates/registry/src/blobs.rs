//! GET, HEAD and DELETE of blobs.

use std::ops::Range;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header;
use bytes::Bytes;
use catalog::Blob;
use futures_util::{StreamExt, TryStreamExt, stream};
use oci::error::Code;
use oci::{Action, Digest, RepositoryName};

use crate::access::{Asker, Need};
use crate::dispatch::Call;
use crate::error::Error;
use crate::ranges::{self, Wanted};

pub async fn head(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let digest = digest(&call.last)?;
    let asker = Asker::identify(call.state, call.request, Need::Repository(name, Action::Pull)).await?;
    let pull = asker.pull(name).await?;
    let blob = call.state.catalog.blobs.head(&pull, &digest).await?;
    if matches_etag(call, &digest) {
        return Ok(not_modified(&digest));
    }
    let nothing = stream::empty::<Result<Bytes, std::io::Error>>();
    Ok(described(StatusCode::OK, &blob.digest).body(SizedStream::new(blob.size, nothing)))
}

pub async fn get(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let digest = digest(&call.last)?;
    let asker = Asker::identify(call.state, call.request, Need::Repository(name, Action::Pull)).await?;
    let pull = asker.pull(name).await?;
    let blob = call.state.catalog.blobs.get(&pull, &digest).await?;
    if matches_etag(call, &digest) {
        return Ok(not_modified(&digest));
    }
    let text =
        |name: header::HeaderName| call.request.headers().get(name).and_then(|value| value.to_str().ok());
    // A range of something else than what the client has would be useless to it.
    let range =
        text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|etag| etag == quoted(&digest)));
    let wanted = ranges::wanted(range, blob.size);
    // Other servers may not know several ranges at once, and would send everything.
    if matches!(wanted, Wanted::Whole | Wanted::Part(_)) {
        let agent = text(header::USER_AGENT).unwrap_or_default();
        if let Some(address) = call.state.catalog.blobs.redirect(&blob, agent).await? {
            return Ok(elsewhere(&digest, address));
        }
    }
    match wanted {
        Wanted::Whole => {
            let bytes = call.state.catalog.blobs.read(&blob, 0..blob.size).await?;
            Ok(described(StatusCode::OK, &digest).body(SizedStream::new(blob.size, bytes)))
        }
        Wanted::Part(part) => {
            let bytes = call.state.catalog.blobs.read(&blob, part.clone()).await?;
            let content_range = format!("bytes {}-{}/{}", part.start, part.end - 1, blob.size);
            Ok(described(StatusCode::PARTIAL_CONTENT, &digest)
                .insert_header((header::CONTENT_RANGE, content_range))
                .body(SizedStream::new(part.end - part.start, bytes)))
        }
        Wanted::Parts(parts) => Ok(multipart(call, blob, parts)),
        Wanted::Unsatisfiable => Err(unsatisfiable(&blob)),
        Wanted::Abusive => Err(Error::new(
            StatusCode::BAD_REQUEST,
            Code::RangeInvalid,
            "too many ranges, or ranges that overlap: ask for less at once",
        )),
    }
}

pub async fn delete(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let digest = digest(&call.last)?;
    let asker = Asker::identify(call.state, call.request, Need::Repository(name, Action::Delete)).await?;
    let delete = asker.delete(name).await?;
    if !call.state.config.delete_enabled {
        return Err(Error::deletes_disabled());
    }
    call.state.catalog.blobs.delete(&delete, &digest).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// The digest in a path.
pub fn digest(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|_| {
        Error::digest_invalid(format!(
            "{:?} is not a digest: it must be sha256:<64 hex digits> or sha512:<128 hex digits>",
            text.chars().take(160).collect::<String>()
        ))
    })
}

pub fn quoted(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client has exactly this content already (RFC 9110 section 13.1.2).
pub fn matches_etag(call: &Call<'_>, digest: &Digest) -> bool {
    let etag = quoted(digest);
    call.request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().trim_start_matches("W/") == etag)
}

pub fn not_modified(digest: &Digest) -> HttpResponse {
    HttpResponse::NotModified()
        .insert_header((header::ETAG, quoted(digest)))
        .insert_header(("docker-content-digest", digest.to_string()))
        .finish()
}

/// The client fetches the bytes itself. Nobody may keep the answer: the address lets in whoever has it, for a time.
fn elsewhere(digest: &Digest, address: String) -> HttpResponse {
    HttpResponse::TemporaryRedirect()
        .insert_header((header::LOCATION, address))
        .insert_header(("docker-content-digest", digest.to_string()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

fn described(status: StatusCode, digest: &Digest) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header(("docker-content-digest", digest.to_string()))
        .insert_header((header::ETAG, quoted(digest)))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::CACHE_CONTROL, "max-age=31536000"))
        // Content is somebody's bytes: a browser must neither guess a type for it nor run it.
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox"));
    response
}

/// Several parts of a blob in one answer (RFC 9110 section 14.6), each opened when the one before it is sent.
fn multipart(call: &Call<'_>, blob: Blob, parts: Vec<Range<u64>>) -> HttpResponse {
    // Random, so that no content can hold it.
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let size = blob.size;
    let head = |part: &Range<u64>| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
            part.start,
            part.end - 1
        )
    };
    let tail = format!("\r\n--{boundary}--\r\n");
    let length = parts.iter().map(|part| head(part).len() as u64 + part.end - part.start).sum::<u64>()
        + tail.len() as u64;
    let sections: Vec<(String, Range<u64>)> = parts.into_iter().map(|part| (head(&part), part)).collect();
    let digest = blob.digest.clone();
    let blobs = call.state.catalog.blobs.clone();
    let body = stream::iter(sections)
        .then(move |(head, part)| {
            let (blobs, blob) = (blobs.clone(), blob.clone());
            async move {
                let bytes = blobs.read(&blob, part).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(stream::once(async move { Ok(Bytes::from(head)) }).chain(bytes))
            }
        })
        .try_flatten()
        .chain(stream::once(async move { Ok(Bytes::from(tail)) }));
    described(StatusCode::PARTIAL_CONTENT, &digest)
        .insert_header((header::CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}")))
        .body(SizedStream::new(length, body.boxed_local()))
}

fn unsatisfiable(blob: &Blob) -> Error {
    Error::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        Code::RangeInvalid,
        format!("the range is outside of the blob, which has {} bytes", blob.size),
    )
    .with(header::CONTENT_RANGE, format!("bytes */{}", blob.size))
}
