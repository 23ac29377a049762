//! What is left of uploads that nobody finished: sessions expire, and bytes that no row names are removed.
//!
//! Rows go first and leave a note for the bytes, so that no crash in between forgets them.
//!
//! Invariant: a key that a blob names is never removed, whatever the list of dead objects says.

use blobstore::Key;
use queue::{JobContext, JobError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Uploads};

/// What one run of the expiry removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub sessions: u64,
    pub objects: u64,
}

/// Marks a key in `dead_objects` as the bytes of an upload session.
pub(crate) const UPLOAD_PREFIX: &str = "upload:";

/// The job that removes forgotten upload sessions and dead objects. Idempotent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Expire {}

impl queue::Job for Expire {
    const KIND: &'static str = "catalog.expire_uploads";
    const UNIQUE: bool = true;
}

impl Uploads {
    /// The job: removes forgotten sessions and the bytes nobody refers to.
    pub async fn expire(&self, _job: Expire, ctx: JobContext) -> Result<(), JobError> {
        let removed = self.remove_forgotten(|| ctx.cancelled()).await.map_err(JobError::retry)?;
        if removed.sessions + removed.objects > 0 {
            tracing::info!(
                sessions = removed.sessions,
                objects = removed.objects,
                "removed forgotten uploads and unreferenced bytes"
            );
        }
        Ok(())
    }

    /// Removes forgotten sessions and the bytes nobody refers to, in batches, until `cancelled` says so.
    pub async fn remove_forgotten(&self, cancelled: impl Fn() -> bool) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        while !cancelled() {
            match self.expire_sessions().await? {
                0 => break,
                batch => removed.sessions += batch,
            }
        }
        while !cancelled() {
            match self.remove_dead_objects().await? {
                0 => break,
                batch => removed.objects += batch,
            }
        }
        Ok(removed)
    }

    async fn expire_sessions(&self) -> Result<u64, Error> {
        // Rows go first and leave a note for the bytes, so that no crash in between forgets them.
        let expired = sqlx::query!(
            "with due as (
                 select id from catalog.upload_sessions
                 where last_write_at < now() - make_interval(hours => $1)
                    or (offset_bytes = 0 and last_write_at < now() - make_interval(mins => $2))
                 limit 500 for update skip locked
             ), gone as (
                 delete from catalog.upload_sessions s using due where s.id = due.id
                 returning s.id, s.store_state
             )
             insert into catalog.dead_objects (key, store_state)
             select $3 || id::text, store_state from gone on conflict do nothing",
            self.config.upload_hours_max as i32,
            self.config.upload_empty_minutes_max as i32,
            UPLOAD_PREFIX
        )
        .execute(self.database.pool())
        .await?;
        Ok(expired.rows_affected())
    }

    async fn remove_dead_objects(&self) -> Result<u64, Error> {
        // The delay is far longer than any transaction may take: by now it is decided whether a blob names the
        // key. One that does is alive and only leaves the list.
        sqlx::query!("delete from catalog.dead_objects d using catalog.blobs b where b.location = d.key")
            .execute(self.database.pool())
            .await?;
        let dead = sqlx::query!(
            "select key, store_state from catalog.dead_objects d
             where queued_at < now() - interval '1 minute'
               and not exists (select 1 from catalog.blobs b where b.location = d.key)
             order by queued_at limit 500"
        )
        .fetch_all(self.database.pool())
        .await?;
        if dead.is_empty() {
            return Ok(0);
        }
        let (mut removed, mut objects, mut kept) = (Vec::with_capacity(dead.len()), Vec::new(), Vec::new());
        let mut failed = None;
        for one in dead {
            match one.key.strip_prefix(UPLOAD_PREFIX).map(Uuid::parse_str) {
                Some(Ok(id)) => match self.discard(id, one.store_state).await {
                    Ok(()) => removed.push(one.key),
                    Err(err) => {
                        kept.push(one.key);
                        failed = Some(err);
                    }
                },
                _ => objects.push(one.key),
            }
        }
        let keys: Vec<Key> = objects.iter().cloned().map(Key::from_stored).collect();
        match self.store.delete(&keys).await {
            Ok(()) => removed.append(&mut objects),
            Err(err) => {
                kept.append(&mut objects);
                failed = Some(err.into());
            }
        }
        sqlx::query!("delete from catalog.dead_objects where key = any($1)", &removed)
            .execute(self.database.pool())
            .await?;
        // To the end of the list: where a part of the store is away, the rest must not wait for it.
        sqlx::query!("update catalog.dead_objects set queued_at = now() where key = any($1)", &kept)
            .execute(self.database.pool())
            .await?;
        if removed.is_empty()
            && let Some(err) = failed
        {
            return Err(err);
        }
        if let Some(err) = failed {
            tracing::warn!(objects = kept.len(), error = ?err, "some unreferenced bytes could not be removed yet");
        }
        Ok(removed.len() as u64)
    }
}
