//! Referrers of a digest, as an image index (distribution-spec, "Listing Referrers").

use actix_web::HttpResponse;
use actix_web::http::header;
use catalog::Referrer;
use oci::manifest::OCI_INDEX;
use oci::{Action, RepositoryName};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::access::{Asker, Need};
use crate::dispatch::Call;
use crate::error::Error;
use crate::tags::paged;

/// Descriptors of one page, unless they are large: clients read at most 4 MiB of an index.
const ENTRIES: i64 = 500;
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;

pub async fn list(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let subject = crate::blobs::digest(&call.last)?;
    let artifact_type = call.query.all("artifactType").into_iter().find(|text| !text.is_empty());
    let last = call.query.all("last").first().and_then(|text| text.parse().ok()).unwrap_or(0);
    let asker = Asker::identify(call.state, call.request, Need::Repository(name, Action::Pull)).await?;
    let pull = asker.pull(name).await?;
    let filter = artifact_type.filter(|text| !text.contains('\0'));
    let (referrers, more) = call.state.catalog.referrers.list(&pull, &subject, filter, last, ENTRIES).await?;
    let mut manifests: Vec<Value> = Vec::with_capacity(referrers.len());
    let mut page_bytes = 0;
    let mut page_last = last;
    let found = referrers.len();
    for entry in referrers {
        let id = entry.id;
        let descriptor = descriptor(entry);
        page_bytes += descriptor.to_string().len();
        if page_bytes > PAGE_BYTES_MAX && !manifests.is_empty() {
            break;
        }
        page_last = id;
        manifests.push(descriptor);
    }
    let next = (more || manifests.len() < found).then(|| {
        let filter = artifact_type
            .map(|text| format!("&artifactType={}", utf8_percent_encode(text, NON_ALPHANUMERIC)))
            .unwrap_or_default();
        format!("</v2/{name}/referrers/{subject}?last={page_last}{filter}>; rel=\"next\"")
    });
    let mut response = paged(next);
    if artifact_type.is_some() {
        response.insert_header(("oci-filters-applied", "artifactType"));
    }
    // Exactly this type: clients compare the whole header.
    response.insert_header((header::CONTENT_TYPE, OCI_INDEX));
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    Ok(response.body(index.to_string()))
}

fn descriptor(entry: Referrer) -> Value {
    let mut descriptor = Map::new();
    descriptor.insert("mediaType".to_owned(), entry.media_type.into());
    descriptor.insert("digest".to_owned(), entry.digest.to_string().into());
    descriptor.insert("size".to_owned(), entry.size.into());
    if let Some(artifact_type) = entry.artifact_type {
        descriptor.insert("artifactType".to_owned(), artifact_type.into());
    }
    if entry.annotations.as_object().is_some_and(|annotations| !annotations.is_empty()) {
        descriptor.insert("annotations".to_owned(), entry.annotations);
    }
    Value::Object(descriptor)
}
