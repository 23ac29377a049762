//! From bytes to a blob of a repository: the end of an upload, and the mount, which needs no bytes.
//!
//! Invariant: a row names bytes only after they are durable.
//! Invariant: a blob is charged to a project once, in the transaction that links it.

use blobstore::Key;
use database::Tx;
use oci::Digest;
use tenancy::ProjectId;
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

    /// Makes the bytes of a session a blob of the repository, and ends the session, in one statement: with the round
    /// trips of a transaction the end of a small upload took twice as long.
    pub(super) async fn link_upload(
        &self,
        push: &Push,
        id: Uuid,
        writer: Option<Uuid>,
        digest: &Digest,
        size: u64,
        key: &Key,
    ) -> Result<(), Error> {
        let project = push.place.project;
        let linked = sqlx::query_scalar!(
            "select tenancy.charge($1, catalog.finish_upload($1, $2, $3, $4, $5, $6, $7))",
            project.0,
            push.place.repository.as_str(),
            digest.to_bytes(),
            size as i64,
            key.as_str(),
            id,
            writer
        )
        .fetch_one(self.database.pool())
        .await;
        match linked {
            Ok(_) => Ok(()),
            Err(err) if has_code(&err, "HT001") => Err(not_ours(id, writer)),
            Err(err) => Err(charge_failed(project, err)),
        }
    }

    async fn link_mount(&self, push: &Push, digest: &Digest) -> Result<Option<Blob>, Error> {
        let mut tx = self.database.begin().await?;
        let repository = sqlx::query_scalar!(
            r#"select catalog.keep_repository($1, $2) as "id!""#,
            push.place.project.0,
            push.place.repository.as_str()
        )
        .fetch_one(&mut *tx)
        .await?;
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

fn has_code(err: &sqlx::Error, code: &str) -> bool {
    err.as_database_error().and_then(|answer| answer.code()).is_some_and(|found| found == code)
}

/// What the failure of a statement that charges the project means.
pub(crate) fn charge_failed(project: ProjectId, err: sqlx::Error) -> Error {
    match tenancy::charge_refusal(project, &err) {
        Some(refusal) => refusal.into(),
        None => err.into(),
    }
}
