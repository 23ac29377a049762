//! Manifests of a repository: reading and deleting. Writing is in `push.rs`.
//!
//! Bytes are served as they were pushed, from the row. The gate of later features (signatures, scan results)
//! is part of the query that finds the manifest, so that no path can hand one out past it.

use bytes::Bytes;
use database::{Database, Tx};
use oci::{Digest, Reference, Tag};
use tenancy::Tenancy;

use blobstore::BlobStore;

use crate::{
    Delete, Error, Naming, Place, Pull, PullCounter, PullTrail, Push, PushTarget, Pushed, retrying, tags,
};

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct Found {
    pub digest: Digest,
    pub media_type: String,
    pub payload: Bytes,
}

/// Manifests. Clone freely.
#[derive(Clone)]
pub struct Manifests {
    pub(crate) database: Database,
    pub(crate) store: BlobStore,
    pub(crate) tenancy: Tenancy,
    pub(crate) naming: Naming,
    pulls: PullCounter,
    pull_trail: PullTrail,
}

impl Manifests {
    pub(crate) fn new(
        database: Database,
        store: BlobStore,
        tenancy: Tenancy,
        naming: Naming,
        pulls: PullCounter,
        pull_trail: PullTrail,
    ) -> Self {
        Self { database, store, tenancy, naming, pulls, pull_trail }
    }

    /// The manifest by tag or digest, in one statement. Does not count as a pull: see [`Manifests::pulled`].
    pub async fn get(&self, pull: &Pull, reference: &Reference) -> Result<Found, Error> {
        let found = match reference {
            Reference::Digest(digest) => self.by_digest(&pull.place, digest).await?,
            Reference::Tag(tag) => self.by_tag(&pull.place, tag).await?,
        };
        let row = found.ok_or_else(|| Error::ManifestUnknown(reference.to_string()))?;
        if row.refused {
            return Err(Error::Refused(format!(
                "project policy does not allow {}@{} to be pulled",
                pull.place.repository, row.digest
            )));
        }
        Ok(Found { digest: row.digest, media_type: row.media_type, payload: row.payload })
    }

    /// Counts what [`Manifests::get`] found as a pull, and puts it into the audit trail. Buffered: a crash may lose a
    /// few seconds of both, and never anything else.
    pub fn pulled(&self, pull: &Pull, found: &Found, reference: &Reference) {
        self.pulls.count(&pull.place, &found.digest, reference);
        self.pull_trail.record(pull, &found.digest, reference);
    }

    /// Stores a manifest and moves the tags to it. See `push.rs`.
    pub async fn put(
        &self,
        push: &Push,
        target: PushTarget,
        media_type: Option<&str>,
        payload: Bytes,
    ) -> Result<Pushed, Error> {
        crate::push::put(self, push, target, media_type, payload).await
    }

    /// Deletes by tag (removes that tag only) or by digest (removes the manifest with all its tags and takes it
    /// out of its subject's referrers). Visible at once; restorable until the collector comes.
    pub async fn delete(&self, delete: &Delete, reference: &Reference) -> Result<(), Error> {
        match reference {
            Reference::Tag(tag) => retrying(|| self.delete_tag(delete, tag)).await,
            Reference::Digest(digest) => retrying(|| self.delete_manifest(delete, digest)).await,
        }
    }

    /// Whether the manifest is deleted is asked of the row here, not of the join: with it in the join, a PostgreSQL that
    /// has no statistics yet walks the index of all living manifests to find one.
    async fn by_digest(&self, place: &Place, digest: &Digest) -> Result<Option<Row>, Error> {
        let row = sqlx::query!(
            r#"select m.media_type, m.payload, m.deleted_at is null as "alive!",
                    (m.signature_verdict = 2 or m.scan_verdict = 2) as "refused!"
             from catalog.repositories r
             join catalog.manifests m on m.repository_id = r.id and m.digest = $3
             where r.project_id = $1 and r.path = $2 and r.deleted_at is null"#,
            place.project.0,
            place.repository.as_str(),
            digest.to_bytes()
        )
        .fetch_optional(self.database.pool())
        .await?;
        Ok(row.filter(|row| row.alive).map(|row| Row {
            digest: digest.clone(),
            media_type: row.media_type,
            payload: row.payload.into(),
            refused: row.refused,
        }))
    }

    /// As [`Manifests::by_digest`].
    async fn by_tag(&self, place: &Place, tag: &Tag) -> Result<Option<Row>, Error> {
        let row = sqlx::query!(
            r#"select m.digest, m.media_type, m.payload, m.deleted_at is null as "alive!",
                    (m.signature_verdict = 2 or m.scan_verdict = 2) as "refused!"
             from catalog.repositories r
             join catalog.tags t on t.repository_id = r.id and t.name = $3
             join catalog.manifests m on m.id = t.manifest_id
             where r.project_id = $1 and r.path = $2 and r.deleted_at is null"#,
            place.project.0,
            place.repository.as_str(),
            tag.as_str()
        )
        .fetch_optional(self.database.pool())
        .await?;
        row.filter(|row| row.alive)
            .map(|row| {
                Ok(Row {
                    digest: stored_digest(&row.digest)?,
                    media_type: row.media_type,
                    payload: row.payload.into(),
                    refused: row.refused,
                })
            })
            .transpose()
    }

    async fn delete_tag(&self, delete: &Delete, tag: &Tag) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let unknown = || Error::ManifestUnknown(tag.to_string());
        let repository = lock_repository(&mut tx, &delete.place).await?.ok_or_else(unknown)?;
        tags::remove(&mut tx, &delete.caller, &delete.place, repository, tag).await?.ok_or_else(unknown)?;
        tx.commit().await?;
        Ok(())
    }

    async fn delete_manifest(&self, delete: &Delete, digest: &Digest) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let unknown = || Error::ManifestUnknown(digest.to_string());
        let repository = lock_repository(&mut tx, &delete.place).await?.ok_or_else(unknown)?;
        let delta = remove(&mut tx, &delete.caller, &delete.place, repository, digest).await?;
        self.tenancy.quota_charge(&mut tx, delete.place.project, delta).await?;
        tx.commit().await?;
        Ok(())
    }
}

struct Row {
    digest: Digest,
    media_type: String,
    payload: Bytes,
    refused: bool,
}

/// A digest column back as a digest. A value that is none means that the row was not written by us.
pub(crate) fn stored_digest(bytes: &[u8]) -> Result<Digest, Error> {
    Digest::from_bytes(bytes)
        .map_err(|err| Error::Storage(database::Error::Other(sqlx::Error::Decode(err.to_string().into()))))
}

/// Every change of a repository's tags and manifests holds this lock, so that "what was there before" is exact.
pub(crate) async fn lock_repository(tx: &mut Tx, place: &Place) -> Result<Option<i64>, Error> {
    Ok(sqlx::query_scalar!(
        "select id from catalog.repositories
         where project_id = $1 and path = $2 and deleted_at is null for update",
        place.project.0,
        place.repository.as_str()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Soft-deletes one manifest of a locked repository with its tags. Returns the (negative) change of the
/// project's charged bytes.
pub(crate) async fn remove(
    tx: &mut Tx,
    caller: &identity::Caller,
    place: &Place,
    repository: i64,
    digest: &Digest,
) -> Result<i64, Error> {
    let manifest = sqlx::query_scalar!(
        "select id from catalog.manifests
         where repository_id = $1 and digest = $2 and deleted_at is null for update",
        repository,
        digest.to_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| Error::ManifestUnknown(digest.to_string()))?;
    let index = sqlx::query_scalar!(
        "select p.digest from catalog.manifest_children c
         join catalog.manifests p on p.id = c.parent_id and p.deleted_at is null
         where c.repository_id = $1 and c.child_digest = $2 limit 1",
        repository,
        digest.to_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(index) = index {
        return Err(Error::ManifestInIndex { child: digest.clone(), index: stored_digest(&index)? });
    }
    sqlx::query!(
        "select catalog.refuse_immutable_manifest($1, $2, $3)",
        place.project.0,
        repository,
        manifest
    )
    .execute(&mut **tx)
    .await?;
    let names =
        sqlx::query_scalar!("delete from catalog.tags where manifest_id = $1 returning name", manifest)
            .fetch_all(&mut **tx)
            .await?;
    tags::removed(tx, caller, repository, &names, digest).await?;
    sqlx::query!("update catalog.manifests set deleted_at = now() where id = $1", manifest)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "update catalog.repositories set manifest_count = manifest_count - 1, updated_at = now() where id = $1",
        repository
    )
    .execute(&mut **tx)
    .await?;
    let delta = sqlx::query_scalar!(
        r#"select catalog.unreference_manifest($1, $2) as "delta!""#,
        place.project.0,
        manifest
    )
    .fetch_one(&mut **tx)
    .await?;
    let name = format!("{}@{digest}", place.repository);
    tags::trail(
        tx,
        caller,
        place,
        "artifact_delete",
        audit::Object { kind: "artifact", id: digest.to_string(), name: &name },
    )
    .await?;
    Ok(delta)
}
