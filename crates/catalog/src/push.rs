//! Pushing a manifest: one transaction that checks and locks what it names, stores its bytes, moves its tags,
//! keeps the accounts and writes the trail.
//!
//! Invariant: when this returns, every blob the manifest names is live and linked in the repository, and the
//! collector that comes later will see the reference: the blobs were locked before the manifest was inserted
//! (registry collectors take the opposite lock first and judge second).

use std::collections::BTreeMap;

use bytes::Bytes;
use database::Tx;
use oci::manifest::{self, Descriptor, Manifest};
use oci::{Algorithm, Digest, Tag};
use serde_json::Value;
use tenancy::ProjectId;

use crate::manifests::Manifests;
use crate::uploads::charge_failed;
use crate::{Error, Place, Push, facts, retrying, tags};

/// Annotations kept in the row, for lists.
const ANNOTATION_BYTES_MAX: usize = 64 * 1024;

/// What a push is to be reachable by.
#[derive(Clone, Debug, Default)]
pub struct PushTarget {
    /// The digest in the path, which the bytes must have.
    pub digest: Option<Digest>,
    /// The tag in the path, or the tags of the query.
    pub tags: Vec<Tag>,
}

/// What was stored.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub digest: Digest,
    /// The digest of the manifest's subject, whether it exists or not.
    pub subject: Option<Digest>,
    /// Naming rules that the push breaks and that only warn.
    pub warnings: Vec<String>,
}

/// A manifest, parsed and measured, before it meets the database.
struct Incoming {
    digest: Digest,
    manifest: Manifest,
    payload: Bytes,
    blobs: BTreeMap<Vec<u8>, BlobRef>,
    facts: Value,
    annotations: Value,
}

#[derive(Clone)]
struct BlobRef {
    digest: Digest,
    size: u64,
    role: &'static str,
    media_type: String,
}

pub(crate) async fn put(
    manifests: &Manifests,
    push: &Push,
    target: PushTarget,
    media_type: Option<&str>,
    payload: Bytes,
) -> Result<Pushed, Error> {
    let manifest = manifest::parse(&payload, media_type, &manifest::Limits::default())
        .map_err(|err| Error::ManifestInvalid(err.to_string()))?;
    let algorithm = target.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = Digest::of(algorithm, &payload);
    if let Some(claimed) = target.digest.as_ref().filter(|claimed| **claimed != digest) {
        return Err(Error::DigestMismatch { claimed: claimed.clone(), actual: digest });
    }
    let blobs = named_blobs(&manifest)?;
    let facts = read_facts(manifests, push, &manifest).await?;
    let mut annotations = Value::Object(manifest.annotations.clone());
    facts::strip_nul(&mut annotations);
    // The bytes keep every annotation; the row keeps what lists can show. Large values go first.
    if let Some(fields) = annotations.as_object_mut() {
        let mut bytes: usize = fields.iter().map(|(key, value)| key.len() + value.to_string().len()).sum();
        if bytes > ANNOTATION_BYTES_MAX {
            fields.retain(|_, value| value.as_str().is_none_or(|text| text.len() <= 4 * 1024));
            bytes = fields.iter().map(|(key, value)| key.len() + value.to_string().len()).sum();
        }
        if bytes > ANNOTATION_BYTES_MAX {
            fields.clear();
        }
    }
    let incoming = Incoming { digest, manifest, payload, blobs, facts, annotations };
    let warnings = retrying(|| store(manifests, push, &target.tags, &incoming)).await?;
    let subject = incoming.manifest.subject.map(|subject| subject.digest);
    Ok(Pushed { subject, digest: incoming.digest, warnings })
}

/// Config and layers that the repository must hold, each digest once. Foreign layers are never pushed.
fn named_blobs(manifest: &Manifest) -> Result<BTreeMap<Vec<u8>, BlobRef>, Error> {
    let manifest::Body::Image { config, layers } = &manifest.body else {
        return Ok(BTreeMap::new());
    };
    let mut blobs = BTreeMap::new();
    let named = std::iter::once((config, "config")).chain(layers.iter().map(|layer| (layer, "layer")));
    for (descriptor, role) in named.filter(|(descriptor, _)| !descriptor.is_foreign()) {
        let blob = blob_ref(descriptor, role);
        let known: &mut BlobRef = blobs.entry(descriptor.digest.to_bytes()).or_insert_with(|| blob.clone());
        if known.size != blob.size {
            return Err(Error::ManifestInvalid(format!(
                "blob {} is named with sizes {} and {}",
                blob.digest, known.size, blob.size
            )));
        }
    }
    Ok(blobs)
}

fn blob_ref(descriptor: &Descriptor, role: &'static str) -> BlobRef {
    BlobRef {
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        role,
        media_type: descriptor.media_type.chars().take(255).collect(),
    }
}

/// Reads the config blob, before the transaction: no storage call runs inside one. Only a config that this
/// repository already holds is read, so a manifest cannot be used to look into another repository.
async fn read_facts(manifests: &Manifests, push: &Push, manifest: &Manifest) -> Result<Value, Error> {
    let nothing = Value::Object(serde_json::Map::new());
    let manifest::Body::Image { config, .. } = &manifest.body else {
        return Ok(nothing);
    };
    if !facts::readable(&config.media_type) || config.size > facts::CONFIG_BYTES_MAX {
        return Ok(nothing);
    }
    let location = sqlx::query_scalar!(
        "select b.location from catalog.repositories r
         join catalog.repository_blobs l on l.repository_id = r.id and l.digest = $3
         join catalog.blobs b on b.digest = l.digest and b.state = 'live'
         where r.project_id = $1 and r.path = $2 and r.deleted_at is null",
        push.place.project.0,
        push.place.repository.as_str(),
        config.digest.to_bytes()
    )
    .fetch_optional(manifests.database.pool())
    .await?;
    let Some(location) = location else {
        return Ok(nothing);
    };
    let key = blobstore::Key::from_stored(location);
    match manifests.store.read_all(&key, facts::CONFIG_BYTES_MAX as usize).await {
        Ok(bytes) if Digest::of(config.digest.algorithm(), &bytes) == config.digest => {
            Ok(facts::parse(&config.media_type, &bytes))
        }
        Ok(_) | Err(_) => {
            tracing::warn!(digest = %config.digest, "a config blob could not be read for its facts");
            Ok(nothing)
        }
    }
}

/// Returns what the naming rules warn of.
async fn store(
    manifests: &Manifests,
    push: &Push,
    tags: &[Tag],
    incoming: &Incoming,
) -> Result<Vec<String>, Error> {
    let place = &push.place;
    let mut tx = manifests.database.begin().await?;
    let Locked { repository, first, linked, naming } = lock(&mut tx, place, tags, incoming).await?;
    let warnings = manifests.naming.judge(&place.repository, naming)?;
    let children = loose_children(&mut tx, repository, incoming, &linked).await?;
    let stored = insert_manifest(&mut tx, push, repository, incoming, &children).await?;
    let names: Vec<String> = tags.iter().map(Tag::to_string).collect();
    tags::point(&mut tx, &push.caller, repository, stored.id, &names, &incoming.digest, "move").await?;
    let name = match tags.first() {
        Some(tag) => format!("{}:{tag}", place.repository),
        None => format!("{}@{}", place.repository, incoming.digest),
    };
    let object = audit::Object { kind: "artifact", id: incoming.digest.to_string(), name: &name };
    tags::trail(&mut tx, &push.caller, place, "artifact_push", object).await?;
    if first {
        // The project's row is locked between `project_blobs` and the quota.
        let charge = publish(&mut tx, place.project, repository, &stored).await?;
        manifests.tenancy.repository_count_change(&mut tx, place.project, 1).await?;
        manifests.tenancy.quota_charge(&mut tx, place.project, charge).await?;
    } else {
        publish_and_charge(&mut tx, place.project, repository, &stored).await?;
    }
    tx.commit().await?;
    Ok(warnings)
}

fn children_of(incoming: &Incoming) -> &[Descriptor] {
    match &incoming.manifest.body {
        manifest::Body::Index { manifests } => manifests,
        manifest::Body::Image { .. } => &[],
    }
}

/// A repository that is locked for a push.
struct Locked {
    repository: i64,
    /// It never had a manifest.
    first: bool,
    /// Sizes of the blobs that the manifest names and that are live and linked here, by digest.
    linked: BTreeMap<Vec<u8>, u64>,
    /// What the naming rules have to judge.
    naming: Option<Value>,
}

/// Locks every blob that the manifest names, so that none can be collected from here on, and the repository, which
/// orders all changes of its manifests, tags and links. Refuses tags that are immutable. Checks that the blobs the manifest needs are live, linked here
/// and as large as it says.
async fn lock(tx: &mut Tx, place: &Place, tags: &[Tag], incoming: &Incoming) -> Result<Locked, Error> {
    let mut digests: Vec<Vec<u8>> = incoming.blobs.keys().cloned().collect();
    digests.extend(children_of(incoming).iter().map(|child| child.digest.to_bytes()));
    let mut rows = sqlx::query!(
        r#"select repository as "repository!", first as "first!", digest, size, live, linked, naming
           from catalog.begin_push($1, $2, $3, $4)"#,
        place.project.0,
        place.repository.as_str(),
        &digests,
        &tags.iter().map(Tag::to_string).collect::<Vec<_>>()
    )
    .fetch_all(&mut **tx)
    .await?;
    let head = rows.first_mut().ok_or(sqlx::Error::RowNotFound)?;
    let (repository, first, naming) = (head.repository, head.first, head.naming.take());
    let linked: BTreeMap<Vec<u8>, u64> = rows
        .into_iter()
        .filter(|row| row.live == Some(true) && row.linked == Some(true))
        .filter_map(|row| Some((row.digest?, row.size? as u64)))
        .collect();
    missing(incoming, |digest| linked.contains_key(digest))?;
    for (digest, blob) in &incoming.blobs {
        if let Some(size) = linked.get(digest).filter(|size| **size != blob.size) {
            return Err(Error::ManifestInvalid(format!(
                "blob {} has {size} bytes, the manifest says {}",
                blob.digest, blob.size
            )));
        }
    }
    Ok(Locked { repository, first, linked, naming })
}

/// Every blob that the manifest needs must be `present`; the error names those that are not.
fn missing(incoming: &Incoming, present: impl Fn(&Vec<u8>) -> bool) -> Result<(), Error> {
    let missing: Vec<Digest> = incoming
        .blobs
        .iter()
        .filter(|(digest, _)| !present(digest))
        .map(|(_, blob)| blob.digest.clone())
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::ManifestBlobUnknown(missing)) }
}

/// The children of an index that are blobs here and not manifests: older BuildKit cache exports are indexes of layers,
/// and the collector must keep those.
async fn loose_children(
    tx: &mut Tx,
    repository: i64,
    incoming: &Incoming,
    linked: &BTreeMap<Vec<u8>, u64>,
) -> Result<Vec<BlobRef>, Error> {
    let children = children_of(incoming);
    if children.is_empty() {
        return Ok(Vec::new());
    }
    let digests: Vec<Vec<u8>> = children.iter().map(|child| child.digest.to_bytes()).collect();
    let manifests = sqlx::query_scalar!(
        "select digest from catalog.manifests
         where repository_id = $1 and digest = any($2) order by digest for key share",
        repository,
        &digests
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut blobs: BTreeMap<Vec<u8>, BlobRef> = BTreeMap::new();
    for child in children {
        let key = child.digest.to_bytes();
        if let Some(size) = linked.get(&key)
            && !manifests.contains(&key)
        {
            blobs.entry(key).or_insert_with(|| BlobRef { size: *size, ..blob_ref(child, "child") });
        }
    }
    Ok(blobs.into_values().collect())
}

/// The manifest's row after a push.
struct Stored {
    id: i64,
    alive_before: bool,
    /// Blobs that this push added to a row that was there.
    recorded: Vec<Vec<u8>>,
}

/// Counts the publication, and what the manifest names unless it was counted before. Returns the bytes to charge to
/// the project.
async fn publish(tx: &mut Tx, project: ProjectId, repository: i64, stored: &Stored) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"select catalog.publish($1, $2, $3, $4, $5) as "charge!""#,
        project.0,
        repository,
        stored.id,
        stored.alive_before,
        &stored.recorded
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// [`publish`] and the charge in one statement.
async fn publish_and_charge(
    tx: &mut Tx,
    project: ProjectId,
    repository: i64,
    stored: &Stored,
) -> Result<(), Error> {
    sqlx::query_scalar!(
        "select tenancy.charge($1, catalog.publish($1, $2, $3, $4, $5))",
        project.0,
        repository,
        stored.id,
        stored.alive_before,
        &stored.recorded
    )
    .fetch_one(&mut **tx)
    .await
    .map_err(|err| charge_failed(project, err))?;
    Ok(())
}

/// Inserts the manifest, or brings an existing row back to life.
async fn insert_manifest(
    tx: &mut Tx,
    push: &Push,
    repository: i64,
    incoming: &Incoming,
    children: &[BlobRef],
) -> Result<Stored, Error> {
    let manifest = &incoming.manifest;
    let (config_media_type, config_digest) = match &manifest.body {
        manifest::Body::Image { config, .. } => {
            (Some(config.media_type.as_str()), Some(config.digest.to_bytes()))
        }
        manifest::Body::Index { .. } => (None, None),
    };
    let total = incoming
        .blobs
        .values()
        .map(|blob| blob.size)
        .fold(incoming.payload.len() as u64, u64::saturating_add);
    let kept: Vec<&BlobRef> = incoming.blobs.values().chain(children).collect();
    let columns = BlobColumns::of(&kept);
    let inserted = sqlx::query_scalar!(
        "with made as (
             insert into catalog.manifests
                 (repository_id, digest, media_type, artifact_type, config_media_type, config_digest, subject_digest,
                  payload, total_size, non_distributable, annotations, kind, facts, pushed_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             on conflict (repository_id, digest) do nothing returning id
         ), recorded as (
             insert into catalog.manifest_blobs (manifest_id, digest, role, size, media_type)
             select made.id, b.* from made, unnest($15::bytea[], $16::text[], $17::bigint[], $18::text[]) as b
         )
         select id from made",
        repository,
        incoming.digest.to_bytes(),
        manifest.media_type,
        manifest.referrer_artifact_type(),
        config_media_type,
        config_digest,
        manifest.subject.as_ref().map(|subject| subject.digest.to_bytes()),
        &incoming.payload[..],
        i64::try_from(total).map_err(|_| Error::ManifestInvalid("the sizes add up to more than 2^63".to_owned()))?,
        has_foreign(manifest),
        incoming.annotations,
        manifest::kind(manifest),
        incoming.facts,
        push.caller.actor().name,
        &columns.digests,
        &columns.roles,
        &columns.sizes,
        &columns.media_types
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(id) = inserted {
        insert_children(tx, repository, id, incoming).await?;
        return Ok(Stored { id, alive_before: false, recorded: Vec::new() });
    }
    let known = sqlx::query!(
        r#"select id, media_type, deleted_at is null as "alive!" from catalog.manifests
         where repository_id = $1 and digest = $2 for update"#,
        repository,
        incoming.digest.to_bytes()
    )
    .fetch_one(&mut **tx)
    .await?;
    if known.media_type != manifest.media_type {
        return Err(Error::ManifestInvalid(format!(
            "{} is stored as {}; the same bytes cannot be {} as well",
            incoming.digest, known.media_type, manifest.media_type
        )));
    }
    sqlx::query!(
        "update catalog.manifests
         set deleted_at = null, pushed_at = now(), pushed_by = $2, gc_after = catalog.review_at('manifest_created')
         where id = $1",
        known.id,
        push.caller.actor().name
    )
    .execute(&mut **tx)
    .await?;
    if !known.alive {
        // What is pushed anew is a new artifact to people; what is restored keeps its labels.
        sqlx::query!("delete from catalog.manifest_labels where manifest_id = $1", known.id)
            .execute(&mut **tx)
            .await?;
    }
    // A cache index may come before the layers it names; those that have arrived since are kept from now on.
    let recorded = record_children(tx, known.id, children).await?;
    Ok(Stored { id: known.id, alive_before: known.alive, recorded })
}

fn has_foreign(manifest: &Manifest) -> bool {
    match &manifest.body {
        manifest::Body::Image { layers, .. } => layers.iter().any(Descriptor::is_foreign),
        manifest::Body::Index { .. } => false,
    }
}

/// Blobs as the columns of `manifest_blobs`.
struct BlobColumns {
    digests: Vec<Vec<u8>>,
    roles: Vec<String>,
    sizes: Vec<i64>,
    media_types: Vec<String>,
}

impl BlobColumns {
    fn of(blobs: &[&BlobRef]) -> Self {
        Self {
            digests: blobs.iter().map(|blob| blob.digest.to_bytes()).collect(),
            roles: blobs.iter().map(|blob| blob.role.to_owned()).collect(),
            sizes: blobs.iter().map(|blob| blob.size as i64).collect(),
            media_types: blobs.iter().map(|blob| blob.media_type.clone()).collect(),
        }
    }
}

/// Records children that a known manifest keeps alive. Returns those it did not keep before.
async fn record_children(tx: &mut Tx, manifest: i64, children: &[BlobRef]) -> Result<Vec<Vec<u8>>, Error> {
    if children.is_empty() {
        return Ok(Vec::new());
    }
    let columns = BlobColumns::of(&children.iter().collect::<Vec<_>>());
    let recorded = sqlx::query_scalar!(
        "insert into catalog.manifest_blobs (manifest_id, digest, role, size, media_type)
         select $1, * from unnest($2::bytea[], $3::text[], $4::bigint[], $5::text[])
         on conflict do nothing returning digest",
        manifest,
        &columns.digests,
        &columns.roles,
        &columns.sizes,
        &columns.media_types
    );
    Ok(recorded.fetch_all(&mut **tx).await?)
}

async fn insert_children(
    tx: &mut Tx,
    repository: i64,
    manifest: i64,
    incoming: &Incoming,
) -> Result<(), Error> {
    let manifest::Body::Index { manifests } = &incoming.manifest.body else {
        return Ok(());
    };
    if manifests.is_empty() {
        return Ok(());
    }
    let json = |value: Option<Value>| {
        value.map(|mut value| {
            facts::strip_nul(&mut value);
            value
        })
    };
    sqlx::query!(
        "insert into catalog.manifest_children
             (parent_id, position, repository_id, child_digest, media_type, size, platform, annotations, urls)
         select $1, row_number() over () - 1, $2, * from unnest(
             $3::bytea[], $4::text[], $5::bigint[], $6::jsonb[], $7::jsonb[], $8::jsonb[])",
        manifest,
        repository,
        &manifests.iter().map(|child| child.digest.to_bytes()).collect::<Vec<_>>(),
        &manifests.iter().map(|child| child.media_type.chars().take(255).collect()).collect::<Vec<String>>(),
        &manifests.iter().map(|child| child.size as i64).collect::<Vec<_>>(),
        &manifests.iter().map(|child| json(child.platform.clone())).collect::<Vec<_>>() as &[Option<Value>],
        &manifests.iter().map(|child| json(child.annotations.clone().map(Value::Object))).collect::<Vec<_>>()
            as &[Option<Value>],
        &manifests
            .iter()
            .map(|child| json((!child.urls.is_empty()).then(|| Value::from(child.urls.clone()))))
            .collect::<Vec<_>>() as &[Option<Value>]
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
