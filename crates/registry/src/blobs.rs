//! GET, HEAD and DELETE of blobs.

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header;
use catalog::Blob;
use oci::error::Code;
use oci::{Action, Digest, RepositoryName};

use crate::access::{Asker, Need};
use crate::dispatch::Call;
use crate::error::Error;
use crate::ranges::{self, Wanted};

pub async fn head(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let digest = digest(&call.last)?;
    let asker = Asker::identify(
        call.state,
        call.request,
        Need::Repository(name, Action::Pull),
    )
    .await?;
    let pull = asker.pull(name).await?;
    let blob = call.state.catalog.blobs.head(&pull, &digest).await?;
    if matches_etag(call, &digest) {
        return Ok(not_modified(&digest));
    }
    let nothing = futures_util::stream::empty::<Result<bytes::Bytes, std::io::Error>>();
    Ok(described(StatusCode::OK, &blob.digest).body(SizedStream::new(blob.size, nothing)))
}

pub async fn get(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let digest = digest(&call.last)?;
    let asker = Asker::identify(
        call.state,
        call.request,
        Need::Repository(name, Action::Pull),
    )
    .await?;
    let pull = asker.pull(name).await?;
    let blob = call.state.catalog.blobs.get(&pull, &digest).await?;
    if matches_etag(call, &digest) {
        return Ok(not_modified(&digest));
    }
    let text = |name: header::HeaderName| {
        call.request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    // A range of something else than what the client has would be useless to it.
    let range = text(header::RANGE)
        .filter(|_| text(header::IF_RANGE).is_none_or(|etag| etag == quoted(&digest)));
    match ranges::wanted(range, blob.size) {
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
        Wanted::Unsatisfiable => Err(unsatisfiable(&blob)),
    }
}

pub async fn delete(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let digest = digest(&call.last)?;
    let asker = Asker::identify(
        call.state,
        call.request,
        Need::Repository(name, Action::Delete),
    )
    .await?;
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

fn unsatisfiable(blob: &Blob) -> Error {
    Error::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        Code::RangeInvalid,
        format!(
            "the range is outside of the blob, which has {} bytes",
            blob.size
        ),
    )
    .with(header::CONTENT_RANGE, format!("bytes */{}", blob.size))
}
