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
use crate::tags::{self, HistoryAction};
use crate::uploads::repository_id;
use crate::{Error, Push, facts, retrying, sort_key};

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
    retrying(|| store(manifests, push, &target.tags, &incoming)).await?;
    Ok(Pushed { subject: incoming.manifest.subject.map(|subject| subject.digest), digest: incoming.digest })
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

async fn store(manifests: &Manifests, push: &Push, tags: &[Tag], incoming: &Incoming) -> Result<(), Error> {
    let place = &push.place;
    let mut tx = manifests.database.begin().await?;
    let repository = repository_id(&mut tx, place).await?;
    lock_blobs(&mut tx, incoming).await?;
    let first = lock_for_push(&mut tx, repository).await?;
    let children = check_links(&mut tx, repository, incoming).await?;
    let stored = insert_manifest(&mut tx, push, repository, incoming, &children).await?;
    publish(&mut tx, repository, !stored.alive_before).await?;
    move_tags(&mut tx, push, repository, stored.id, tags, &incoming.digest).await?;
    let charge = reference(&mut tx, place.project, &stored).await?;
    let name = match tags.first() {
        Some(tag) => format!("{}:{tag}", place.repository),
        None => format!("{}@{}", place.repository, incoming.digest),
    };
    let object = audit::Object { kind: "artifact", id: incoming.digest.to_string(), name: &name };
    tags::trail(&mut tx, &push.caller, place, "artifact_push", object).await?;
    if first {
        manifests.tenancy.repository_count_change(&mut tx, place.project, 1).await?;
    }
    if charge != 0 {
        manifests.tenancy.quota_charge(&mut tx, place.project, charge).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn children_of(incoming: &Incoming) -> &[Descriptor] {
    match &incoming.manifest.body {
        manifest::Body::Index { manifests } => manifests,
        manifest::Body::Image { .. } => &[],
    }
}

/// Locks every blob that the manifest names, in order of digest, so that none can be collected from here on, and
/// checks that the ones it needs are live and as large as it says.
async fn lock_blobs(tx: &mut Tx, incoming: &Incoming) -> Result<(), Error> {
    let mut digests: Vec<Vec<u8>> = incoming.blobs.keys().cloned().collect();
    digests.extend(children_of(incoming).iter().map(|child| child.digest.to_bytes()));
    if digests.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query!(
        "select digest, size, state from catalog.blobs where digest = any($1) order by digest for key share",
        &digests
    )
    .fetch_all(&mut **tx)
    .await?;
    let live: BTreeMap<Vec<u8>, u64> =
        rows.into_iter().filter(|row| row.state == "live").map(|row| (row.digest, row.size as u64)).collect();
    missing(incoming, |digest| live.contains_key(digest))?;
    for (digest, blob) in &incoming.blobs {
        if let Some(size) = live.get(digest).filter(|size| **size != blob.size) {
            return Err(Error::ManifestInvalid(format!(
                "blob {} has {size} bytes, the manifest says {}",
                blob.digest, blob.size
            )));
        }
    }
    Ok(())
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

/// Takes the repository's lock, which orders all changes of its manifests, tags and links. True when it never
/// had a manifest.
async fn lock_for_push(tx: &mut Tx, repository: i64) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"select last_published_at is null as "first!" from catalog.repositories
         where id = $1 for no key update"#,
        repository
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Checks that every blob the manifest needs is linked here. In a statement of its own, under the repository's
/// lock: a link seen before the lock was won may be gone by then. Returns the children of an index that are
/// blobs here and not manifests: older BuildKit cache exports are indexes of layers, and the collector must keep
/// those.
async fn check_links(tx: &mut Tx, repository: i64, incoming: &Incoming) -> Result<Vec<BlobRef>, Error> {
    let children = children_of(incoming);
    let child_digests: Vec<Vec<u8>> = children.iter().map(|child| child.digest.to_bytes()).collect();
    let mut digests: Vec<Vec<u8>> = incoming.blobs.keys().cloned().collect();
    digests.extend(child_digests.iter().cloned());
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "select l.digest, l.size from catalog.repository_blobs l
         join catalog.blobs b on b.digest = l.digest and b.state = 'live'
         where l.repository_id = $1 and l.digest = any($2)",
        repository,
        &digests
    )
    .fetch_all(&mut **tx)
    .await?;
    let linked: BTreeMap<Vec<u8>, u64> = rows.into_iter().map(|row| (row.digest, row.size as u64)).collect();
    missing(incoming, |digest| linked.contains_key(digest))?;
    if children.is_empty() {
        return Ok(Vec::new());
    }
    let manifests = sqlx::query_scalar!(
        "select digest from catalog.manifests
         where repository_id = $1 and digest = any($2) order by digest for key share",
        repository,
        &child_digests
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
    /// Blobs that this push recorded first: all of them for a new row.
    recorded: Vec<Vec<u8>>,
}

/// Counts what the manifest names, unless it was counted before. Returns the bytes to charge to the project.
async fn reference(tx: &mut Tx, project: ProjectId, stored: &Stored) -> Result<i64, Error> {
    if !stored.alive_before {
        let charge = sqlx::query_scalar!(
            r#"select catalog.reference_manifest($1, $2) as "charge!""#,
            project.0,
            stored.id
        );
        return Ok(charge.fetch_one(&mut **tx).await?);
    }
    if stored.recorded.is_empty() {
        return Ok(0);
    }
    let charge = sqlx::query_scalar!(
        r#"select catalog.reference_blobs($1, $2) as "charge!""#,
        project.0,
        &stored.recorded
    );
    Ok(charge.fetch_one(&mut **tx).await?)
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
    let inserted = sqlx::query_scalar!(
        "insert into catalog.manifests
             (repository_id, digest, media_type, artifact_type, config_media_type, config_digest, subject_digest,
              payload, total_size, non_distributable, annotations, kind, facts, pushed_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         on conflict (repository_id, digest) do nothing returning id",
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
        push.caller.actor().name
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(id) = inserted {
        let blobs: Vec<&BlobRef> = incoming.blobs.values().chain(children).collect();
        let recorded = record_blobs(tx, id, &blobs).await?;
        insert_children(tx, repository, id, incoming).await?;
        return Ok(Stored { id, alive_before: false, recorded });
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
    // A cache index may come before the layers it names; those that have arrived since are kept from now on.
    let recorded = record_blobs(tx, known.id, &children.iter().collect::<Vec<_>>()).await?;
    Ok(Stored { id: known.id, alive_before: known.alive, recorded })
}

fn has_foreign(manifest: &Manifest) -> bool {
    match &manifest.body {
        manifest::Body::Image { layers, .. } => layers.iter().any(Descriptor::is_foreign),
        manifest::Body::Index { .. } => false,
    }
}

/// Records the blobs that a manifest keeps alive. Returns those it did not keep before.
async fn record_blobs(tx: &mut Tx, manifest: i64, blobs: &[&BlobRef]) -> Result<Vec<Vec<u8>>, Error> {
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let recorded = sqlx::query_scalar!(
        "insert into catalog.manifest_blobs (manifest_id, digest, role, size, media_type)
         select $1, * from unnest($2::bytea[], $3::text[], $4::bigint[], $5::text[])
         on conflict do nothing returning digest",
        manifest,
        &blobs.iter().map(|blob| blob.digest.to_bytes()).collect::<Vec<_>>(),
        &blobs.iter().map(|blob| blob.role.to_owned()).collect::<Vec<_>>(),
        &blobs.iter().map(|blob| blob.size as i64).collect::<Vec<_>>(),
        &blobs.iter().map(|blob| blob.media_type.clone()).collect::<Vec<_>>()
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

/// Counts the publication.
async fn publish(tx: &mut Tx, repository: i64, new: bool) -> Result<(), Error> {
    sqlx::query!(
        "update catalog.repositories
         set manifest_count = manifest_count + $2, updated_at = now(), last_published_at = now() where id = $1",
        repository,
        i64::from(new)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Points the tags at the manifest, with their history, in three statements however many there are.
async fn move_tags(
    tx: &mut Tx,
    push: &Push,
    repository: i64,
    manifest: i64,
    tags: &[Tag],
    digest: &Digest,
) -> Result<(), Error> {
    if tags.is_empty() {
        return Ok(());
    }
    let mut names: Vec<String> = tags.iter().map(Tag::to_string).collect();
    names.sort();
    names.dedup();
    let before = sqlx::query!(
        "select t.name, m.digest from catalog.tags t join catalog.manifests m on m.id = t.manifest_id
         where t.repository_id = $1 and t.name = any($2)",
        repository,
        &names
    )
    .fetch_all(&mut **tx)
    .await?;
    sqlx::query!(
        "insert into catalog.tags as t (repository_id, name, manifest_id, natural_key, semver_key, pushed_by)
         select $1, n.name, $2, n.natural_key, n.semver_key, $6
         from unnest($3::text[], $4::text[], $5::text[]) as n(name, natural_key, semver_key) order by n.name
         on conflict (repository_id, name) do update set
             manifest_id = excluded.manifest_id, pushed_at = now(), pushed_by = excluded.pushed_by",
        repository,
        manifest,
        &names,
        &names.iter().map(|name| sort_key::natural(name)).collect::<Vec<_>>(),
        &names.iter().map(|name| sort_key::semver(name)).collect::<Vec<_>>() as &[Option<String>],
        push.caller.actor().name
    )
    .execute(&mut **tx)
    .await?;
    let created: Vec<String> =
        names.iter().filter(|name| !before.iter().any(|old| old.name == **name)).cloned().collect();
    tags::history(tx, &push.caller, repository, &created, HistoryAction::Create, None, Some(digest)).await?;
    let target = digest.to_bytes();
    let (names, from): (Vec<String>, Vec<Vec<u8>>) =
        before.into_iter().filter(|old| old.digest != target).map(|old| (old.name, old.digest)).unzip();
    tags::moves(tx, &push.caller, repository, &names, &from, digest).await?;
    Ok(())
}
