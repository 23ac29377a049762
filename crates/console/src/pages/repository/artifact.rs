//! One artifact, by tag or by digest: how to use it, what is in it, what is attached to it.

use std::collections::HashMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use catalog::{Accessory, Addition, Artifact, ChildReference, Found, Pull, Tag};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use oci::{Digest, Reference, RepositoryName};
use serde_json::Value;
use tenancy::list::{Query, Value as Term};
use tenancy::roles::{Action, Resource};
use tenancy::{
    CreateTag, DeleteArtifact, ListArtifacts, Permit, PullRepository, ReadArtifact, ReadArtifactAddition,
};

use super::artifacts::FLAGS;
use super::commands::{Card, Choice, Target};
use super::contents::{self, Contents};
use super::{address, kind_name, labels, platform, repository_shell, title};
use crate::failure::Failure;
use crate::format::short_digest;
use crate::markdown;
use crate::pages::repository::tags::undoable;
use crate::shell::{Shell, Told, segment};
use crate::view::View;

/// Larger configs are stored like any blob and not shown.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Parts of an index, and attached artifacts, that are looked up.
const RELATED_MAX: usize = 100;

/// Annotations shown.
const ANNOTATIONS_MAX: usize = 100;

/// Annotations that lead somewhere or say where it comes from, with the keys of their names.
const ORIGIN: [(&str, &str); 8] = [
    ("org.opencontainers.image.source", "repository-origin-source"),
    ("org.opencontainers.image.url", "repository-origin-url"),
    ("org.opencontainers.image.documentation", "repository-origin-documentation"),
    ("org.opencontainers.image.revision", "repository-origin-revision"),
    ("org.opencontainers.image.version", "repository-origin-version"),
    ("org.opencontainers.image.licenses", "repository-origin-licenses"),
    ("org.opencontainers.image.vendor", "repository-origin-vendor"),
    ("org.opencontainers.image.base.name", "repository-origin-base"),
];

/// A part of an index.
struct Child {
    platform: String,
    digest: String,
    /// What it takes, when it is stored here.
    size: Option<i64>,
    attestation: bool,
}

/// Something attached, with what is attached to that.
struct Attached {
    kind: &'static str,
    artifact_type: String,
    digest: String,
    size: i64,
    created_at: DateTime<Utc>,
    inner: Vec<Attached>,
}

/// What an annotation says, and whether it is a link.
struct Origin {
    key: &'static str,
    value: String,
    link: bool,
}

#[derive(Template)]
#[template(path = "repository/artifact.html")]
pub(super) struct ArtifactPage {
    s: Shell,
    base: String,
    heading: String,
    artifact: Artifact,
    kind: String,
    digest: String,
    /// Bytes with those of its parts.
    whole_size: i64,
    card: Card,
    /// Pinned to the digest.
    pinned: String,
    tags: Vec<Tag>,
    origins: Vec<Origin>,
    annotations: Vec<(String, String)>,
    platform: String,
    created: String,
    author: String,
    children: Vec<Child>,
    attestations: Vec<Child>,
    more_children: usize,
    contents: Option<Contents>,
    attached: Vec<Attached>,
    indexes: Vec<String>,
    files: bool,
    may_tag: bool,
    may_untag: bool,
    may_delete: bool,
    pub(super) labels: labels::Choice,
    /// What was typed for a new tag, and what is wrong with it.
    typed: String,
    problem: Option<String>,
}

impl ArtifactPage {
    fn is_index(&self) -> bool {
        !self.children.is_empty() || !self.attestations.is_empty()
    }

    fn is_image(&self) -> bool {
        self.artifact.kind == "IMAGE"
    }
}

pub(crate) async fn by_tag(view: &mut View) -> Result<HttpResponse, Failure> {
    let tag: oci::Tag = view.segment("tag").parse().map_err(|_| Failure::hidden())?;
    let permit = view.permit::<ReadArtifact>().await?;
    let page = page(view, &permit, Reference::Tag(tag), String::new(), None).await?;
    view.page(&page)
}

pub(crate) async fn by_digest(view: &mut View) -> Result<HttpResponse, Failure> {
    let digest = digest(view)?;
    let permit = view.permit::<ReadArtifact>().await?;
    let page = page(view, &permit, Reference::Digest(digest), String::new(), None).await?;
    view.page(&page)
}

/// The digest of the path.
pub(super) fn digest(view: &View) -> Result<Digest, Failure> {
    view.segment("digest").parse().map_err(|_| Failure::hidden())
}

/// Where the page of an artifact is.
pub(super) fn place(base: &str, digest: &Digest) -> String {
    format!("{base}/-/artifacts/{digest}")
}

pub(super) async fn page(
    view: &View,
    permit: &Permit<ReadArtifact>,
    reference: Reference,
    typed: String,
    problem: Option<String>,
) -> Result<ArtifactPage, Failure> {
    let name = view.repository(permit)?;
    let catalog = &view.state.catalog;
    let mut artifact = catalog.artifacts.get(permit, &name, &reference, FLAGS).await?;
    let base = address(name.as_str());
    let tags = artifact.tags.take().unwrap_or_default();
    let tag = match &reference {
        Reference::Tag(tag) => Some(tag.to_string()),
        Reference::Digest(_) => tags.first().map(|tag| tag.name.clone()),
    };
    let related = related(view, &name, &artifact).await?;
    let contents = contents(view, &name, &artifact).await?;
    let indexes = catalog.artifacts.indexes_of(permit, &name, &artifact.digest).await?;
    let labels = labels::Choice::of(view, permit, &artifact).await?;
    let digest = artifact.digest.to_string();
    let host = view.host();
    let target = Target {
        host: &host,
        path: name.as_str(),
        tag: tag.as_deref(),
        digest: &digest,
        kind: &artifact.kind,
    };
    let mut card = Card::new(Choice::of(view), &target);
    if matches!(reference, Reference::Digest(_)) && tags.is_empty() {
        card.by_digest = None;
    }
    let pinned = target.reference(true);
    let (attestations, children): (Vec<_>, Vec<_>) = artifact
        .references
        .iter()
        .take(RELATED_MAX)
        .map(|reference| child(reference, &related))
        .partition(|child| child.attestation);
    let parts_size: i64 = children.iter().chain(&attestations).filter_map(|child| child.size).sum();
    let inside = name.as_str().rsplit('/').next().unwrap_or_default();
    let (heading, crumb) = match &reference {
        Reference::Tag(tag) => (format!("{inside}:{tag}"), tag.to_string()),
        Reference::Digest(_) => (format!("{inside}@{}", short_digest(&digest)), short_digest(&digest)),
    };
    let tab = match &reference {
        Reference::Tag(_) => "repository-tab-tags",
        Reference::Digest(_) => "repository-tab-artifacts",
    };
    let place = match &reference {
        Reference::Tag(tag) => format!("{base}/-/tags/{}", segment(tag.as_str())),
        Reference::Digest(digest) => place(&base, digest),
    };
    let s = repository_shell(view, permit, &name, tab, format!("{heading} · {name}")).crumb(crumb, place);
    let fact = |key: &str| artifact.facts.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let may = |resource, action| permit.rights().allow(resource, action);
    let attached = artifact.accessories.iter().flatten().map(|one| attached(one, &related, true)).collect();
    Ok(ArtifactPage {
        s,
        heading,
        kind: kind_name(view, &artifact),
        whole_size: artifact.size + parts_size,
        card,
        pinned,
        tags,
        origins: origins(&artifact.annotations),
        annotations: annotations(&artifact.annotations),
        platform: platform(&artifact.facts),
        created: fact("created").chars().take(19).collect::<String>().replace('T', " "),
        author: fact("author").chars().take(200).collect(),
        more_children: artifact.references.len().saturating_sub(RELATED_MAX),
        children,
        attestations,
        contents,
        attached,
        files: artifact.kind == "CHART",
        may_tag: may(Resource::Tag, Action::Create),
        may_untag: may(Resource::Tag, Action::Delete),
        may_delete: may(Resource::Artifact, Action::Delete) && indexes.is_empty(),
        indexes: indexes.iter().map(ToString::to_string).collect(),
        base,
        digest,
        artifact,
        labels,
        typed,
        problem,
    })
}

/// Parts and attached artifacts as artifacts of their own, in a fixed number of statements.
async fn related(
    view: &View,
    name: &RepositoryName,
    artifact: &Artifact,
) -> Result<HashMap<i64, Artifact>, Failure> {
    let parts = artifact.references.iter().filter_map(|reference| reference.child_id);
    let attached = artifact.accessories.iter().flatten().map(|accessory| accessory.artifact_id);
    let ids: Vec<String> =
        attached.take(RELATED_MAX / 2).chain(parts).take(RELATED_MAX).map(|id| id.to_string()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let permit = view.permit::<ListArtifacts>().await?;
    let query = Query {
        terms: vec![("base".to_owned(), Term::Exact("*".to_owned())), ("id".to_owned(), Term::Any(ids))],
        page_size: RELATED_MAX as i64,
        ..Query::default()
    };
    let page = view.state.catalog.artifacts.list(&permit, name, &query, FLAGS).await?;
    Ok(page.rows.into_iter().map(|row| (row.id, row)).collect())
}

fn child(reference: &ChildReference, related: &HashMap<i64, Artifact>) -> Child {
    let annotation = |key: &str| reference.annotations.as_ref().and_then(|all| all.get(key)?.as_str());
    Child {
        platform: reference.platform.as_ref().map(platform).unwrap_or_default(),
        digest: reference.child_digest.to_string(),
        size: reference.child_id.and_then(|id| related.get(&id)).map(|stored| stored.size),
        attestation: annotation("vnd.docker.reference.type") == Some("attestation-manifest"),
    }
}

fn attached(accessory: &Accessory, related: &HashMap<i64, Artifact>, deeper: bool) -> Attached {
    let own = related.get(&accessory.artifact_id);
    let inner = own.and_then(|own| own.accessories.as_ref()).filter(|_| deeper);
    // What `oras attach` and the like bring: of the kind that its type names.
    let bill =
        own.is_some_and(|own| ["spdx", "cyclonedx"].iter().any(|name| own.artifact_type.contains(name)));
    Attached {
        kind: match accessory.kind.as_str() {
            "signature.cosign" => "repository-attached-cosign",
            "signature.notation" => "repository-attached-notation",
            "sbom.harbor" => "repository-attached-sbom",
            _ if bill => "repository-attached-sbom",
            _ => "repository-attached-other",
        },
        artifact_type: own.map(|own| own.artifact_type.clone()).unwrap_or_default(),
        digest: accessory.digest.to_string(),
        size: accessory.size,
        created_at: accessory.created_at,
        inner: inner.into_iter().flatten().map(|one| attached(one, related, false)).collect(),
    }
}

fn origins(annotations: &Value) -> Vec<Origin> {
    ORIGIN
        .into_iter()
        .filter_map(|(annotation, key)| {
            let value = annotations.get(annotation)?.as_str().filter(|value| !value.is_empty())?;
            let link = value.starts_with("https://") || value.starts_with("http://");
            Some(Origin { key, value: value.chars().take(2000).collect(), link })
        })
        .collect()
}

/// The other ones.
fn annotations(annotations: &Value) -> Vec<(String, String)> {
    let all = annotations.as_object().into_iter().flatten();
    all.filter(|(name, _)| !ORIGIN.iter().any(|(known, _)| known == name))
        .take(ANNOTATIONS_MAX)
        .filter_map(|(name, value)| {
            Some((name.chars().take(300).collect(), value.as_str()?.chars().take(2000).collect()))
        })
        .collect()
}

/// The manifest as it was pushed, for those who may pull it; nothing for others, and when a policy holds it back.
async fn manifest_of(
    view: &View,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Option<(Pull, Found)>, Failure> {
    let permit = view.permit::<PullRepository>().await?;
    let pull = Pull::from_permit(&permit, name);
    match view.state.catalog.manifests.get(&pull, &Reference::Digest(digest.clone())).await {
        Ok(found) => Ok(Some((pull, found))),
        Err(catalog::Error::Refused(_)) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

async fn contents(
    view: &View,
    name: &RepositoryName,
    artifact: &Artifact,
) -> Result<Option<Contents>, Failure> {
    let Some((pull, found)) = manifest_of(view, name, &artifact.digest).await? else { return Ok(None) };
    let config = match config_of(&found.payload) {
        Some(digest) if artifact.kind == "IMAGE" => config(view, &pull, &digest).await?,
        _ => None,
    };
    Ok(Some(contents::read(&found.payload, config.as_deref())))
}

fn config_of(manifest: &[u8]) -> Option<Digest> {
    let document: Value = serde_json::from_slice(manifest).ok()?;
    document.pointer("/config/digest")?.as_str()?.parse().ok()
}

/// The config of an image, when it is there and of a sensible size.
async fn config(view: &View, pull: &Pull, digest: &Digest) -> Result<Option<Vec<u8>>, Failure> {
    let blobs = &view.state.catalog.blobs;
    let blob = match blobs.get(pull, digest).await {
        Ok(blob) if blob.size <= CONFIG_BYTES_MAX => blob,
        Ok(_) | Err(catalog::Error::BlobUnknown(_)) => return Ok(None),
        Err(err) => return Err(err.into()),
    };
    let mut stream = match blobs.read(&blob, 0..blob.size).await {
        Ok(stream) => stream,
        Err(catalog::Error::BlobUnknown(_)) => return Ok(None),
        Err(err) => return Err(err.into()),
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        // Damaged content is told about elsewhere; the page shows what it can.
        let Ok(chunk) = chunk else { return Ok(None) };
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// The exact bytes, to keep.
pub(crate) async fn manifest(view: &mut View) -> Result<HttpResponse, Failure> {
    let digest = digest(view)?;
    let permit = view.permit::<ReadArtifact>().await?;
    let name = view.repository(&permit)?;
    let (_, found) = manifest_of(view, &name, &digest).await?.ok_or_else(Failure::forbidden)?;
    let file = format!("{}.json", digest.to_string().replace(':', "-"));
    Ok(view.download("application/json", &file, found.payload))
}

#[derive(Template)]
#[template(path = "repository/files.html")]
struct FilesPage {
    s: Shell,
    heading: String,
    /// Safe to show as it is.
    readme: Option<String>,
    values: Option<String>,
}

/// The texts of a chart.
pub(crate) async fn files(view: &mut View) -> Result<HttpResponse, Failure> {
    let digest = digest(view)?;
    let permit = view.permit::<ReadArtifactAddition>().await?;
    let name = view.repository(&permit)?;
    let reference = Reference::Digest(digest.clone());
    let mut texts = Vec::new();
    for addition in ["readme.md", "values.yaml"] {
        let text = match view.state.catalog.additions.get(&permit, &name, &reference, addition).await {
            Ok(Addition::Markdown(text) | Addition::Text(text)) => {
                Some(String::from_utf8_lossy(&text).into_owned())
            }
            Ok(Addition::Json(_)) | Err(catalog::Error::Unknown(_)) => None,
            // Artifacts of other kinds have no files to show: no such page.
            Err(catalog::Error::Invalid(_)) => return Err(Failure::hidden()),
            Err(err) => return Err(err.into()),
        };
        texts.push(text);
    }
    let values = texts.pop().flatten();
    let readme = texts.pop().flatten().map(|text| markdown::render(&text));
    let base = address(name.as_str());
    let short = short_digest(&digest.to_string());
    let heading = view.t("repository-files-title");
    let s = repository_shell(
        view,
        &permit,
        &name,
        "repository-tab-artifacts",
        title(view, "repository-files-title", &name),
    )
    .crumb(short, place(&base, &digest));
    view.page(&FilesPage { s, heading, readme, values })
}

pub(crate) async fn add_tag(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let digest = digest(view)?;
    let permit = view.permit::<CreateTag>().await?;
    let name = view.repository(&permit)?;
    let typed = form.text("tag").to_owned();
    let problem = match typed.parse::<oci::Tag>() {
        Err(_) => view.t("repository-tag-invalid"),
        Ok(tag) => {
            let made = async {
                view.state.tenancy.require_writable().await?;
                view.state.catalog.tags.create(&permit, &name, &digest, &tag).await
            };
            match made.await {
                Ok(warnings) => {
                    let path = format!("{}/-/tags/{}", address(name.as_str()), segment(tag.as_str()));
                    let told = if warnings.is_empty() {
                        Told::new("told-tag-added", tag.to_string())
                    } else {
                        Told::new("told-tag-warned", warnings.join(" "))
                    };
                    return Ok(view.done(&path, told));
                }
                Err(catalog::Error::Conflict(_)) => {
                    view.language.text("repository-tag-taken", &[("name", tag.as_str().into())])
                }
                Err(catalog::Error::TagImmutable { tag, .. }) => {
                    view.language.text("repository-tags-immutable", &[("name", tag.into())])
                }
                Err(err) => {
                    let failure = Failure::from(err);
                    if !failure.is_about_input() {
                        return Err(failure);
                    }
                    failure.detail
                }
            }
        }
    };
    let read = view.permit::<ReadArtifact>().await?;
    let page = page(view, &read, Reference::Digest(digest), typed, Some(problem)).await?;
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

#[derive(Template)]
#[template(path = "repository/delete_artifact.html")]
struct DeletePage {
    s: Shell,
    place: String,
    artifact: Artifact,
    digest: String,
    tags: Vec<Tag>,
    attached: i64,
    until: DateTime<Utc>,
    /// Why it cannot be deleted.
    blocked: Option<String>,
    problem: Option<String>,
}

async fn delete_page(
    view: &View,
    permit: &Permit<DeleteArtifact>,
    digest: &Digest,
    problem: Option<String>,
) -> Result<DeletePage, Failure> {
    let name = view.repository(permit)?;
    let read = view.permit::<ReadArtifact>().await?;
    let artifacts = &view.state.catalog.artifacts;
    let mut artifact = artifacts.get(&read, &name, &Reference::Digest(digest.clone()), FLAGS).await?;
    let indexes = artifacts.indexes_of(&read, &name, digest).await?;
    let tags = artifact.tags.take().unwrap_or_default();
    let immutable: Vec<&str> = tags.iter().filter(|tag| tag.immutable).map(|tag| tag.name.as_str()).collect();
    let blocked = if let Some(index) = indexes.first() {
        let index = short_digest(&index.to_string());
        Some(view.language.text("repository-delete-in-index", &[("name", index.into())]))
    } else if !immutable.is_empty() {
        Some(view.language.text("repository-tags-immutable", &[("name", immutable.join(", ").into())]))
    } else {
        None
    };
    let base = address(name.as_str());
    let place = place(&base, digest);
    let s = repository_shell(
        view,
        permit,
        &name,
        "repository-tab-artifacts",
        title(view, "repository-delete-artifact-title", &name),
    )
    .crumb(short_digest(&digest.to_string()), place.clone());
    Ok(DeletePage {
        s,
        place,
        attached: artifact.accessories.as_ref().map_or(0, Vec::len) as i64,
        digest: digest.to_string(),
        until: view.state.catalog.history.restorable_until().await?,
        artifact,
        tags,
        blocked,
        problem,
    })
}

pub(crate) async fn confirm(view: &mut View) -> Result<HttpResponse, Failure> {
    let digest = digest(view)?;
    let permit = view.permit::<DeleteArtifact>().await?;
    view.page(&delete_page(view, &permit, &digest, None).await?)
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let digest = digest(view)?;
    let permit = view.permit::<DeleteArtifact>().await?;
    let shown = delete_page(view, &permit, &digest, None).await?;
    if shown.blocked.is_some() {
        return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown);
    }
    let name = view.repository(&permit)?;
    let deleted = async {
        view.state.tenancy.require_writable().await?;
        view.state.catalog.artifacts.delete(&permit, &name, &Reference::Digest(digest.clone())).await
    };
    if let Err(err) = deleted.await {
        let failure = Failure::from(err);
        if !failure.is_about_input() {
            return Err(failure);
        }
        let page = DeletePage { problem: Some(failure.detail), ..shown };
        return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    let base = address(name.as_str());
    let fields = shown.tags.iter().map(|tag| ("item".to_owned(), format!("{}@{digest}", tag.name))).collect();
    let told = Told::new("told-artifact-deleted", short_digest(&shown.digest));
    Ok(view.done(&format!("{base}/-/artifacts"), undoable(told, &permit, &base, fields)))
}
