//! Icons of artifacts, by digest: one of ours for each type.
//!
//! Anybody may ask for an icon, so none comes out of an artifact: an answer would tell whether somebody's content
//! exists, and what an artifact calls an image could be a page with a script. Ours are PNG and a part of the program.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci::{Algorithm, Digest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::json;
use crate::context::Context;
use crate::error::Failure;

struct Icon {
    /// Type of the artifacts it is for; empty for all others.
    kind: &'static str,
    bytes: &'static [u8],
    digest: String,
}

static ICONS: LazyLock<[Icon; 6]> = LazyLock::new(|| {
    let icon = |kind, bytes: &'static [u8]| Icon {
        kind,
        bytes,
        digest: Digest::of(Algorithm::Sha256, bytes).to_string(),
    };
    [
        icon("IMAGE", include_bytes!("icons/image.png")),
        icon("CHART", include_bytes!("icons/chart.png")),
        icon("CNAB", include_bytes!("icons/bundle.png")),
        icon("WASM", include_bytes!("icons/module.png")),
        icon("CNAI", include_bytes!("icons/model.png")),
        icon("", include_bytes!("icons/default.png")),
    ]
});

/// The digest of the icon for artifacts of a type.
pub(crate) fn icon_of(kind: &str) -> &'static str {
    let found = ICONS.iter().find(|icon| icon.kind == kind || icon.kind.is_empty());
    found.map_or("", |icon| &icon.digest)
}

#[derive(Serialize, ToSchema)]
#[schema(as = Icon)]
pub(crate) struct Output {
    #[serde(rename = "content-type")]
    content_type: &'static str,
    /// Base64.
    content: String,
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let text = context.text("digest");
    let digest: Digest = text.parse().map_err(|_| Failure::bad_request(format!("{text:?} is no digest")))?;
    let digest = digest.to_string();
    let icon = ICONS.iter().find(|icon| icon.digest == digest);
    let icon = icon.ok_or_else(|| Failure::not_found(format!("icon {digest} not found")))?;
    Ok(json(&Output { content_type: "image/png", content: STANDARD.encode(icon.bytes) }))
}
