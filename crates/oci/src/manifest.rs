//! Manifests and indexes, OCI and docker schema 2, read strictly (image-spec, "Manifest" and "Index").
//!
//! Reading decides what a document *is* (image or index) and which content it names; the bytes
//! themselves are stored as they came and never written again from what is read here. It does not
//! ask whether the named content exists. Schema 1 is refused.
//!
//! Invariants: a document is an image or an index, never both; its media type is the same in header
//! and body; sizes are non-negative, fit 63 bits, and so does their sum; the work and the memory are
//! linear in the payload.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::Digest;
use crate::json::{self, Members};
use crate::media_type::{MEDIA_TYPE_BYTES_MAX, MediaType};

/// Docker schema 2 image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker schema 2 manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Largest manifest taken: containerd and oras refuse to read more.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";
const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Bounds of one document. The size in bytes is the reader's to enforce while streaming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Descriptors in the whole document: config, layers, children and subject together.
    pub descriptors_max: usize,
    /// Annotations in the whole document. 4 MiB hold that many only if they are next to empty.
    pub annotations_max: usize,
    /// Nesting of objects and arrays. Must stay below the 127 levels the JSON parser recurses.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { descriptors_max: 10_000, annotations_max: 200_000, depth_max: 100 }
    }
}

/// Why a document is no manifest: the message that goes with MANIFEST_INVALID. Safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("manifest invalid: {0}")]
pub struct Error(String);

/// Names content by digest, with its type and size as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// Free text of at most 255 visible characters; any type is welcome.
    pub media_type: String,
    pub digest: Digest,
    /// Bytes, at most `i64::MAX`.
    pub size: u64,
    pub urls: Vec<String>,
    /// The platform object of an index entry, as written.
    pub platform: Option<Value>,
    pub annotations: Option<Map<String, Value>>,
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Whether the content may live elsewhere: a descriptor with `urls` was possibly never pushed, so
    /// it is neither demanded nor counted.
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty()
    }

    /// Whether the media type says that the content must not be passed on.
    pub fn is_nondistributable(&self) -> bool {
        self.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
            || self.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
    }
}

/// What a document names.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one per request, and a box would be in every pattern")]
pub enum Body {
    /// An image or any other artifact: a config and blobs.
    Image { config: Descriptor, layers: Vec<Descriptor> },
    /// A list of manifests.
    Index { manifests: Vec<Descriptor> },
}

/// A document that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The type to store and serve: of the header, else of the body, else OCI by shape.
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub subject: Option<Descriptor>,
    /// Values are strings.
    pub annotations: Map<String, Value>,
    pub body: Body,
}

impl Manifest {
    /// The artifact type this has in the referrers list of its subject: `artifactType`, else the
    /// config's media type; an index has no config (distribution-spec, "Listing Referrers").
    pub fn referrer_artifact_type(&self) -> Option<&str> {
        match (&self.artifact_type, &self.body) {
            (Some(artifact_type), _) => Some(artifact_type),
            (None, Body::Image { config, .. }) => Some(&config.media_type),
            (None, Body::Index { .. }) => None,
        }
    }

    /// Sum of the sizes of config and layers without foreign ones; of nothing for an index.
    pub fn content_size(&self) -> u64 {
        match &self.body {
            Body::Image { config, layers } => std::iter::once(config)
                .chain(layers)
                .filter(|one| !one.is_foreign())
                .map(|one| one.size)
                .sum(),
            Body::Index { .. } => 0,
        }
    }
}

/// What the REST API shows as `type` of an artifact, by the same rules as Harbor: IMAGE, CHART, CNAB,
/// WASM, CNAI, SBOM, else a word out of the config's media type, else UNKNOWN.
pub fn kind(manifest: &Manifest) -> String {
    let named = match &manifest.body {
        // Harbor lets this annotation speak for an index (CNAB bundles carry it).
        Body::Index { .. } => match manifest.annotations.get("org.opencontainers.artifactType") {
            Some(Value::String(text)) if !text.is_empty() => text.as_str(),
            _ => &manifest.media_type,
        },
        Body::Image { config, .. } if config.media_type == OCI_EMPTY => {
            manifest.artifact_type.as_deref().unwrap_or(OCI_EMPTY)
        }
        Body::Image { config, .. } => &config.media_type,
    };
    let known = match named {
        "application/vnd.oci.image.config.v1+json"
        | "application/vnd.docker.container.image.v1+json"
        | OCI_INDEX
        | DOCKER_LIST => "IMAGE",
        "application/vnd.cncf.helm.config.v1+json" => "CHART",
        "application/vnd.cnab.manifest.v1" => "CNAB",
        "application/vnd.wasm.config.v0+json" | "application/vnd.wasm.config.v1+json" => "WASM",
        "application/vnd.cncf.model.manifest.v1+json" | "application/vnd.cncf.model.config.v1+json" => "CNAI",
        "application/vnd.goharbor.harbor.sbom.v1" => "SBOM",
        other => return derived_kind(other).unwrap_or_else(|| "UNKNOWN".to_owned()),
    };
    known.to_owned()
}

/// The middle of `application/vnd.<owner>.<middle>.config.<version>+json`, in upper case.
fn derived_kind(media_type: &str) -> Option<String> {
    let (_owner, rest) =
        media_type.strip_prefix("application/vnd.")?.strip_suffix("+json")?.split_once('.')?;
    let (middle, version) = rest.rsplit_once(".config.")?;
    if version.contains('.') { None } else { Some(middle.to_uppercase()) }
}

/// Reads a manifest or an index. `content_type` is the request's header, parameters allowed; an empty
/// one counts as none. Types that are unknown to us are read by their shape.
pub fn parse(payload: &[u8], content_type: Option<&str>, limits: &Limits) -> Result<Manifest, Error> {
    let header = match content_type.map(str::trim) {
        None | Some("") => None,
        Some(value) => {
            Some(MediaType::from_header(value).map_err(|err| Error(format!("Content-Type: {err}")))?)
        }
    };
    if header.as_ref().is_some_and(|header| header.as_str().starts_with(DOCKER_SCHEMA_1)) {
        return Err(schema_1());
    }
    let text = json::check(payload, limits.depth_max).map_err(Error)?;
    let budget = Budget {
        descriptors: Cell::new(limits.descriptors_max),
        annotations: Cell::new(limits.annotations_max),
    };
    let mut parser = serde_json::Deserializer::from_str(text);
    let document = DocumentReader(&budget)
        .deserialize(&mut parser)
        .and_then(|document| parser.end().map(|()| document))
        .map_err(|err| Error(err.to_string()))?;
    document.judge(header)
}

fn schema_1() -> Error {
    Error("docker image manifest schema 1 is not supported, push schema 2 or OCI".to_owned())
}

/// The members of a document that we interpret, before anything is judged.
#[derive(Default)]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    annotations: Option<Map<String, Value>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    /// Presence counts, even of null: another reader may see content there.
    has_config_or_layers: bool,
    has_manifests: bool,
    has_schema_1_layers: bool,
}

impl Document {
    fn judge(self, header: Option<MediaType>) -> Result<Manifest, Error> {
        let refuse = |message: &str| Err(Error(message.to_owned()));
        let body_type = self.media_type.filter(|text| !text.is_empty());
        if self.has_schema_1_layers
            || self.schema_version == Some(1)
            || body_type.as_ref().is_some_and(|text| text.starts_with(DOCKER_SCHEMA_1))
        {
            return Err(schema_1());
        }
        if self.schema_version.is_some_and(|version| version != 2) {
            return refuse("schemaVersion is not 2");
        }
        if self.has_config_or_layers && self.has_manifests {
            return refuse("both an image and an index: it has manifests beside config or layers");
        }
        let body = if self.has_manifests {
            Body::Index { manifests: self.manifests.unwrap_or_default() }
        } else if let Some(config) = self.config {
            Body::Image { config, layers: self.layers.unwrap_or_default() }
        } else if self.has_config_or_layers {
            return refuse("config is missing");
        } else {
            return refuse("neither an image (config, layers) nor an index (manifests)");
        };
        let media_type = match (header, body_type) {
            (Some(header), Some(body)) if header.as_str() != body => {
                return refuse("mediaType differs from Content-Type");
            }
            (Some(header), _) => header.into(),
            (None, Some(body)) => match body.parse::<MediaType>() {
                Ok(body) => body.into(),
                Err(err) => return refuse(&format!("mediaType: {err}")),
            },
            (None, None) => match body {
                Body::Image { .. } => OCI_MANIFEST.to_owned(),
                Body::Index { .. } => OCI_INDEX.to_owned(),
            },
        };
        match (media_type.as_str(), &body) {
            (OCI_MANIFEST | DOCKER_MANIFEST, Body::Index { .. }) => {
                return refuse("an index under the type of an image");
            }
            (OCI_INDEX | DOCKER_LIST, Body::Image { .. }) => {
                return refuse("an image under the type of an index");
            }
            _ => {}
        }
        let manifest = Manifest {
            media_type,
            artifact_type: self.artifact_type.filter(|text| !text.is_empty()),
            subject: self.subject,
            annotations: self.annotations.unwrap_or_default(),
            body,
        };
        manifest.check_sum()?;
        Ok(manifest)
    }
}

impl Manifest {
    /// Whoever adds sizes up later, in SQL or for a quota, must not overflow.
    fn check_sum(&self) -> Result<(), Error> {
        let mut sum = 0_u64;
        let descriptors: Box<dyn Iterator<Item = &Descriptor>> = match &self.body {
            Body::Image { config, layers } => Box::new(std::iter::once(config).chain(layers)),
            Body::Index { manifests } => Box::new(manifests.iter()),
        };
        for descriptor in descriptors {
            sum = sum.saturating_add(descriptor.size);
        }
        // Room for the payload itself, which is counted on top.
        if sum > i64::MAX as u64 - MANIFEST_BYTES_MAX as u64 {
            return Err(Error("sizes add up to more than 63 bits".to_owned()));
        }
        Ok(())
    }
}

/// What is left of the limits while a document is read.
struct Budget {
    descriptors: Cell<usize>,
    annotations: Cell<usize>,
}

struct DocumentReader<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for DocumentReader<'_> {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for DocumentReader<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Document, A::Error> {
        let mut members = Members::new(&[
            "schemaVersion",
            "mediaType",
            "artifactType",
            "subject",
            "annotations",
            "config",
            "layers",
            "manifests",
            "fsLayers",
        ]);
        let mut document = Document::default();
        while let Some(key) = object.next_key::<Cow<'de, str>>()? {
            match members.admit(&key).map_err(A::Error::custom)? {
                Some("schemaVersion") => document.schema_version = Some(object.next_value()?),
                Some("mediaType") => document.media_type = short(object.next_value()?, "mediaType")?,
                Some("artifactType") => document.artifact_type = short(object.next_value()?, "artifactType")?,
                Some("subject") => document.subject = object.next_value_seed(DescriptorReader(self.0))?,
                Some("annotations") => {
                    document.annotations =
                        object.next_value_seed(json::Strings { budget: &self.0.annotations })?;
                }
                Some("config") => {
                    document.has_config_or_layers = true;
                    document.config = object.next_value_seed(DescriptorReader(self.0))?;
                }
                Some("layers") => {
                    document.has_config_or_layers = true;
                    document.layers = object.next_value_seed(DescriptorsReader(self.0))?;
                }
                Some("manifests") => {
                    document.has_manifests = true;
                    document.manifests = object.next_value_seed(DescriptorsReader(self.0))?;
                }
                Some(_fs_layers) => {
                    document.has_schema_1_layers = true;
                    json::skip(&mut object)?;
                }
                None => json::skip(&mut object)?,
            }
        }
        Ok(document)
    }
}

struct DescriptorsReader<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for DescriptorsReader<'_> {
    type Value = Option<Vec<Descriptor>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DescriptorsReader<'_> {
    type Value = Option<Vec<Descriptor>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    /// Go writes an empty list as null.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut descriptors = Vec::new();
        while let Some(descriptor) = list.next_element_seed(DescriptorReader(self.0))? {
            descriptors.push(descriptor.ok_or_else(|| A::Error::custom("null in place of a descriptor"))?);
        }
        Ok(Some(descriptors))
    }
}

struct DescriptorReader<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for DescriptorReader<'_> {
    type Value = Option<Descriptor>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DescriptorReader<'_> {
    type Value = Option<Descriptor>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a descriptor object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        json::spend(&self.0.descriptors, "descriptors")?;
        let mut members = Members::new(&[
            "mediaType",
            "digest",
            "size",
            "urls",
            "platform",
            "annotations",
            "artifactType",
            "data",
        ]);
        let (mut media_type, mut digest, mut size, mut urls) =
            (None, None, None, None::<Option<Vec<String>>>);
        let (mut platform, mut annotations, mut artifact_type) = (None, None, None);
        while let Some(key) = object.next_key::<Cow<'de, str>>()? {
            match members.admit(&key).map_err(A::Error::custom)? {
                Some("mediaType") => media_type = short(object.next_value()?, "mediaType")?,
                Some("digest") => digest = Some(object.next_value::<Digest>()?),
                Some("size") => size = Some(object.next_value::<u64>()?),
                Some("urls") => urls = Some(object.next_value()?),
                Some("platform") => platform = object.next_value_seed(json::Object)?,
                Some("annotations") => {
                    annotations = object.next_value_seed(json::Strings { budget: &self.0.annotations })?;
                }
                Some("artifactType") => artifact_type = short(object.next_value()?, "artifactType")?,
                // Inline data is the client's shortcut; what we serve is the blob itself.
                Some(_) | None => json::skip(&mut object)?,
            }
        }
        let missing = |member: &str| A::Error::custom(format!("a descriptor without {member}"));
        let size = size.ok_or_else(|| missing("size"))?;
        if size > i64::MAX as u64 {
            return Err(A::Error::custom("a size of more than 63 bits"));
        }
        Ok(Some(Descriptor {
            media_type: media_type.filter(|text| !text.is_empty()).ok_or_else(|| missing("mediaType"))?,
            digest: digest.ok_or_else(|| missing("digest"))?,
            size,
            urls: urls.flatten().unwrap_or_default(),
            platform,
            annotations,
            artifact_type: artifact_type.filter(|text| !text.is_empty()),
        }))
    }
}

/// Types end up in columns, headers and lists: bounded and printable, whatever they say.
fn short<E: serde::de::Error>(text: Option<String>, member: &str) -> Result<Option<String>, E> {
    match text {
        Some(text) if text.len() > MEDIA_TYPE_BYTES_MAX || text.chars().any(char::is_control) => {
            Err(E::custom(format!("{member} is longer than {MEDIA_TYPE_BYTES_MAX} bytes or not printable")))
        }
        text => Ok(text),
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
