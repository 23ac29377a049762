//! From bytes to a blob of a repository: the end of an upload, and the mount, which needs no bytes.
//!
//! Invariant: a row names bytes only after they are durable.
//! Invariant: a blob is charged to a project once, in the transaction that links it.

use blobstore::Key;
use database::Tx;
use oci::Digest;
use uuid::Uuid;

use super::{Uploads, not_ours};
use crate::{Blob, Error, Place, Pull, Push, retrying};

impl Uploads {
    /// Makes a blob of another repository visible in this one, without moving a byte.
    ///
    /// `from` is the proof for the source. Without it, any repository that the caller may pull will do. `None`
    /// when there is no such blob there: the client then uploads.
    pub async fn mount(
        &self,
        push: &Push,
        digest: &Digest,
        from: Option<&Pull>,
    ) -> Result<Option<Blob>, Error> {
        let found = match from {
            Some(pull) => self.mountable(&pull.place, digest).await?,
            None => self.mountable_anywhere(push, digest).await?,
        };
        if !found {
            return Ok(None);
        }
        retrying(|| self.link_mount(push, digest)).await
    }

    /// Makes the bytes of a session a blob of the repository, and ends the session, in one transaction.
    pub(super) async fn link_upload(
        &self,
        push: &Push,
        id: Uuid,
        writer: Option<Uuid>,
        digest: &Digest,
        size: u64,
        key: &Key,
    ) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let repository = repository_id(&mut tx, &push.place).await?;
        place_blob(&mut tx, digest, size, key).await?;
        let charge = link_blob(&mut tx, &push.place, repository, digest, size).await?;
        let closed = sqlx::query!(
            "delete from catalog.upload_sessions where id = $1 and writer is not distinct from $2",
            id,
            writer
        )
        .execute(&mut *tx)
        .await?;
        if closed.rows_affected() == 0 {
            return Err(not_ours(id, writer));
        }
        self.charge(&mut tx, &push.place, charge).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn link_mount(&self, push: &Push, digest: &Digest) -> Result<Option<Blob>, Error> {
        let mut tx = self.database.begin().await?;
        let repository = repository_id(&mut tx, &push.place).await?;
        // Renews the promise and waits for a collector that holds the row.
        let touched = sqlx::query!(
            "update catalog.blobs set last_touch = clock_timestamp()
             where digest = $1 and state = 'live' returning size, location",
            digest.to_bytes()
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(touched) = touched else {
            return Ok(None);
        };
        let size = touched.size as u64;
        let charge = link_blob(&mut tx, &push.place, repository, digest, size).await?;
        self.charge(&mut tx, &push.place, charge).await?;
        tx.commit().await?;
        Ok(Some(Blob { digest: digest.clone(), size, key: Key::from_stored(touched.location) }))
    }

    async fn mountable(&self, source: &Place, digest: &Digest) -> Result<bool, Error> {
        Ok(sqlx::query_scalar!(
            r#"select exists (
                 select 1 from catalog.repositories r
                 join catalog.repository_blobs l on l.repository_id = r.id and l.digest = $3
                 join catalog.blobs b on b.digest = l.digest and b.state = 'live'
                 where r.project_id = $1 and r.path = $2 and r.deleted_at is null) as "found!""#,
            source.project.0,
            source.repository.as_str(),
            digest.to_bytes()
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    /// Any repository the caller may pull from. The candidates are bounded: a base layer may be in thousands
    /// of projects, and looking at a few of them is enough to be useful.
    async fn mountable_anywhere(&self, push: &Push, digest: &Digest) -> Result<bool, Error> {
        let candidates = sqlx::query_scalar!(
            "select distinct r.project_id from catalog.repository_blobs l
             join catalog.repositories r on r.id = l.repository_id and r.deleted_at is null
             join catalog.blobs b on b.digest = l.digest and b.state = 'live'
             where l.digest = $1 limit 100",
            digest.to_bytes()
        )
        .fetch_all(self.database.pool())
        .await?;
        if candidates.is_empty() {
            return Ok(false);
        }
        let candidates: Vec<_> = candidates.into_iter().map(tenancy::ProjectId).collect();
        Ok(self.tenancy.may_pull_any(&push.caller.principal, &candidates).await?)
    }

    async fn charge(&self, tx: &mut Tx, place: &Place, bytes: i64) -> Result<(), Error> {
        if bytes != 0 {
            self.tenancy.quota_charge(tx, place.project, bytes).await?;
        }
        Ok(())
    }

    /// Hands a key to the removal of dead objects after a failed link. Whether that transaction committed may
    /// be unknown (the connection broke at the commit), so the removal asks again, later, whether a row names it.
    pub(super) async fn bury(&self, key: &Key) {
        let buried = sqlx::query!(
            "insert into catalog.dead_objects (key) values ($1) on conflict do nothing",
            key.as_str()
        )
        .execute(self.database.pool())
        .await;
        if let Err(err) = buried {
            tracing::warn!(key = key.as_str(), error = %err, "bytes without a row stay until the orphan sweep");
        }
    }
}

/// Records durable bytes. A row that is not live takes our key; otherwise another writer was first and ours
/// becomes a dead object. Keys are never reused, so neither can hit the other.
async fn place_blob(tx: &mut Tx, digest: &Digest, size: u64, key: &Key) -> Result<(), Error> {
    let location = sqlx::query_scalar!(
        "with damaged as (
             insert into catalog.dead_objects (key)
             select location from catalog.blobs where digest = $1 and state = 'damaged'
             on conflict do nothing
         )
         insert into catalog.blobs as b (digest, size, location) values ($1, $2, $3)
         on conflict (digest) do update set
             location = case when b.state = 'live' then b.location else excluded.location end,
             size = excluded.size, state = 'live', last_touch = clock_timestamp()
         returning location",
        digest.to_bytes(),
        size as i64,
        key.as_str()
    )
    .fetch_one(&mut **tx)
    .await?;
    if location != key.as_str() {
        sqlx::query!(
            "insert into catalog.dead_objects (key) values ($1) on conflict do nothing",
            key.as_str()
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Links the blob to the repository; returns the bytes to charge to the project.
async fn link_blob(
    tx: &mut Tx,
    place: &Place,
    repository: i64,
    digest: &Digest,
    size: u64,
) -> Result<i64, Error> {
    let charge = sqlx::query_scalar!(
        r#"select catalog.link_blob($1, $2, $3, $4) as "charge!""#,
        place.project.0,
        repository,
        digest.to_bytes(),
        size as i64
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(charge)
}

/// The repository's row, made when it is the first thing to arrive. The row is kept from being deleted until
/// the transaction ends: what is acknowledged must not land in a repository that is gone.
///
/// Everybody takes locks in this order: the repository (to keep it), blobs in order of digest, the repository
/// (to change it), `project_blobs` in order of digest, the quota.
pub(crate) async fn repository_id(tx: &mut Tx, place: &Place) -> Result<i64, Error> {
    loop {
        let found = sqlx::query_scalar!(
            "select id from catalog.repositories
             where project_id = $1 and path = $2 and deleted_at is null for key share",
            place.project.0,
            place.repository.as_str()
        )
        .fetch_optional(&mut **tx)
        .await?;
        if let Some(id) = found {
            return Ok(id);
        }
        let made = sqlx::query_scalar!(
            "insert into catalog.repositories (project_id, path) values ($1, $2) on conflict do nothing returning id",
            place.project.0,
            place.repository.as_str()
        )
        .fetch_optional(&mut **tx)
        .await?;
        if let Some(id) = made {
            return Ok(id);
        }
        // Somebody else made it and has committed by now, else we would still be waiting.
    }
}
