//! Blobs of a repository: finding, reading, unlinking.
//!
//! Membership is read from PostgreSQL on every request and never cached. `live` is the only state that counts
//! as present; bytes that turn out damaged make the row `damaged`, so that the next push brings them again.

use std::ops::Range;

use blobstore::{BlobStore, ByteStream, Key, ReadError};
use database::Database;
use oci::Digest;
use tenancy::Tenancy;

use crate::{Delete, Error, Place, Pull, retrying};

/// A blob that the repository may serve.
#[derive(Clone, Debug)]
pub struct Blob {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    pub(crate) key: Key,
}

/// Blobs. Clone freely.
#[derive(Clone)]
pub struct Blobs {
    database: Database,
    store: BlobStore,
    tenancy: Tenancy,
    /// Seconds after which a promise is renewed.
    touch_seconds: f64,
}

impl Blobs {
    pub(crate) fn new(database: Database, store: BlobStore, tenancy: Tenancy, touch_seconds: f64) -> Self {
        Self { database, store, tenancy, touch_seconds }
    }

    /// Whether the repository holds the blob, and how large it is. Answering "yes" is a promise that a client
    /// relies on (it will skip the upload), so a promise older than the touch interval is renewed first.
    pub async fn head(&self, pull: &Pull, digest: &Digest) -> Result<Blob, Error> {
        let (blob, promise_old) = self.find(&pull.place, digest).await?;
        if promise_old {
            let renewed = sqlx::query!(
                "update catalog.blobs set last_touch = clock_timestamp() where digest = $1 and state = 'live'",
                digest.to_bytes()
            )
            .execute(self.database.pool())
            .await?;
            if renewed.rows_affected() == 0 {
                return Err(Error::BlobUnknown(digest.clone()));
            }
            // Whom the renewal had to wait for may have been the collector, with the link of this repository.
            self.find(&pull.place, digest).await?;
        }
        if self.store.stat(&blob.key).await? != Some(blob.size) {
            self.mark_damaged(&blob.key).await?;
            return Err(Error::BlobUnknown(digest.clone()));
        }
        Ok(blob)
    }

    /// The blob to be read with [`Blobs::read`]. One statement.
    pub async fn get(&self, pull: &Pull, digest: &Digest) -> Result<Blob, Error> {
        Ok(self.find(&pull.place, digest).await?.0)
    }

    /// The bytes of `range`, streamed with bounded memory. The stream fails before its last bytes when the
    /// content turns out not to be what was pushed.
    pub async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream, Error> {
        match self.store.read(&blob.key, &blob.digest, blob.size, range).await {
            Ok(stream) => Ok(stream),
            Err(ReadError::Missing | ReadError::SizeMismatch { .. }) => {
                self.mark_damaged(&blob.key).await?;
                Err(Error::BlobUnknown(blob.digest.clone()))
            }
            Err(ReadError::Io(source)) => Err(Error::Store(source)),
        }
    }

    /// An address at which this client may fetch the blob itself for some minutes, where the operator wants that.
    /// The bytes are known to be there. Whoever has the address can read them: it must not be logged.
    pub async fn redirect(&self, blob: &Blob, user_agent: &str) -> Result<Option<String>, Error> {
        let Some(address) = self.store.redirect(&blob.key, user_agent).await? else {
            return Ok(None);
        };
        if self.store.stat(&blob.key).await? != Some(blob.size) {
            self.mark_damaged(&blob.key).await?;
            return Err(Error::BlobUnknown(blob.digest.clone()));
        }
        Ok(Some(address))
    }

    /// Unlinks the blob from this repository, visible at once everywhere. The bytes go when nothing refers to
    /// them. Refused while a manifest of this repository uses it.
    pub async fn delete(&self, delete: &Delete, digest: &Digest) -> Result<(), Error> {
        retrying(|| self.unlink(delete, digest)).await
    }

    /// Follows the store's reports of damaged content until `shutdown`.
    pub async fn watch_damage(&self, shutdown: impl Future<Output = ()>) {
        let mut reports = self.store.damaged();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                report = reports.recv() => match report {
                    Ok(key) => {
                        if let Err(err) = self.mark_damaged(&key).await {
                            tracing::error!(key = key.as_str(), error = ?err, "could not mark a damaged blob");
                        }
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                }
            }
        }
    }

    async fn find(&self, place: &Place, digest: &Digest) -> Result<(Blob, bool), Error> {
        let row = sqlx::query!(
            r#"select b.size, b.location, b.last_touch < now() - make_interval(secs => $4) as "promise_old!"
             from catalog.repositories r
             join catalog.repository_blobs l on l.repository_id = r.id and l.digest = $3
             join catalog.blobs b on b.digest = l.digest and b.state = 'live'
             where r.project_id = $1 and r.path = $2 and r.deleted_at is null"#,
            place.project.0,
            place.repository.as_str(),
            digest.to_bytes(),
            self.touch_seconds
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or_else(|| Error::BlobUnknown(digest.clone()))?;
        let blob =
            Blob { digest: digest.clone(), size: row.size as u64, key: Key::from_stored(row.location) };
        Ok((blob, row.promise_old))
    }

    async fn mark_damaged(&self, key: &Key) -> Result<(), Error> {
        let marked = sqlx::query!(
            "update catalog.blobs set state = 'damaged' where location = $1 and state = 'live'",
            key.as_str()
        )
        .execute(self.database.pool())
        .await?;
        if marked.rows_affected() > 0 {
            metrics::counter!("hythe_blobs_damaged_total").increment(1);
            tracing::error!(
                key = key.as_str(),
                "stored bytes are missing or not what was pushed; push the blob again"
            );
        }
        Ok(())
    }

    async fn unlink(&self, delete: &Delete, digest: &Digest) -> Result<(), Error> {
        let place = &delete.place;
        let mut tx = self.database.begin().await?;
        let repository = sqlx::query_scalar!(
            "select id from catalog.repositories
             where project_id = $1 and path = $2 and deleted_at is null for update",
            place.project.0,
            place.repository.as_str()
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Error::BlobUnknown(digest.clone()))?;
        // The review queue touches this row below; an upload takes it before the project's account.
        sqlx::query!("select size from catalog.blobs where digest = $1 for no key update", digest.to_bytes())
            .fetch_optional(&mut *tx)
            .await?;
        // A second statement: with the repository's lock held no manifest of it can appear any more, because a push
        // judges its links under that lock.
        let used = sqlx::query_scalar!(
            r#"select exists (
                 select 1 from catalog.manifest_blobs mb
                 join catalog.manifests m on m.id = mb.manifest_id
                 where mb.digest = $2 and m.repository_id = $1 and m.deleted_at is null) as "used!""#,
            repository,
            digest.to_bytes()
        )
        .fetch_one(&mut *tx)
        .await?;
        let delta = if used {
            // Only those who could see the blob learn that it is in use.
            let linked = sqlx::query_scalar!(
                r#"select exists (select 1 from catalog.repository_blobs
                   where repository_id = $1 and digest = $2) as "linked!""#,
                repository,
                digest.to_bytes()
            )
            .fetch_one(&mut *tx)
            .await?;
            if linked {
                return Err(Error::BlobInUse(digest.clone()));
            }
            None
        } else {
            sqlx::query_scalar!(
                "select catalog.unlink_blob($1, $2, $3)",
                place.project.0,
                repository,
                digest.to_bytes()
            )
            .fetch_one(&mut *tx)
            .await?
        };
        let delta = delta.ok_or_else(|| Error::BlobUnknown(digest.clone()))?;
        if delta != 0 {
            self.tenancy.quota_charge(&mut tx, place.project, delta).await?;
        }
        let object = audit::Object {
            kind: "blob",
            id: digest.to_string(),
            name: &format!("{}@{digest}", place.repository),
        };
        crate::tags::trail(&mut tx, &delete.caller, place, "blob_delete", object).await?;
        tx.commit().await?;
        Ok(())
    }
}
