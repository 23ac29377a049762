//! Upload sessions: the only way bytes enter the registry.
//!
//! A session is (project, repository path, account, offset, store state) in one row. It survives a restart,
//! and nothing lives in memory between two requests. Requests on one session are made exclusive by the blob
//! store's writer, which dies with its process, and by a lease in the row where the store is shared by several
//! machines; the row is read once both are held.
//!
//! A session takes no more than the project's quota leaves beside what other sessions hold when the request begins.
//! What is used already is not taken off: the bytes may be those of a blob that the project has, which cost nothing.
//!
//! Invariant: `offset_bytes` never exceeds the bytes the blob store has acknowledged.

mod link;

use std::time::{Duration, Instant};

use blobstore::{AppendError, Appended, BlobStore, UploadState, Writer};
use bytes::Bytes;
use database::Database;
use futures_util::Stream;
use oci::{Algorithm, Digest};
use tenancy::Tenancy;
use uuid::Uuid;

pub(crate) use self::link::charge_failed;
use crate::allowance::{Allowance, Metered};
use crate::lease::Lease;
use crate::{Blob, Config, Error, Push, retrying};

/// How often a request that is still receiving bytes tells the row that it lives, so that a long transfer is
/// not taken for a forgotten session.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// What the client is told about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: Uuid,
    /// Bytes stored so far.
    pub offset: u64,
}

/// First and last byte of a chunk, from `Content-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    pub first: u64,
    pub last: u64,
}

/// A request body with what the request said about it.
pub struct Body<S> {
    pub bytes: S,
    /// `Content-Length`, when there is one.
    pub length: Option<u64>,
    pub range: Option<ChunkRange>,
    /// What is left of the request's time for the database.
    pub patience: Patience,
}

/// The time one request may wait for the database, in all its parts together. The body is not counted: a
/// client may send as slowly as it does.
#[derive(Clone, Debug)]
pub struct Patience {
    left: Duration,
}

impl Default for Patience {
    /// No request hangs longer than five seconds when the database is away.
    fn default() -> Self {
        Self { left: Duration::from_millis(4800) }
    }
}

impl Patience {
    /// Waits for one part, at most as long as is left.
    pub async fn spend<T>(&mut self, part: impl Future<Output = T>) -> Result<T, Error> {
        let started = Instant::now();
        let done = tokio::time::timeout(self.left, part).await;
        self.left = self.left.saturating_sub(started.elapsed());
        done.map_err(|_| Error::Timeout)
    }

    /// Counts time that went into something that must not be broken off, such as a flush to the disk. A second
    /// is always left: a slow disk alone is no reason to give up.
    fn count(&mut self, elapsed: Duration) {
        let floor = self.left.min(Duration::from_secs(1));
        self.left = self.left.saturating_sub(elapsed).max(floor);
    }
}

impl<S> Body<S> {
    /// The number of bytes this body must have, if the request says so.
    fn announced(&self) -> Option<u64> {
        match self.range {
            // A range whose length disagrees with Content-Length fails when the bytes are counted.
            Some(range) => Some((range.last - range.first).saturating_add(1)),
            None => self.length,
        }
    }
}

/// Upload sessions. Clone freely.
#[derive(Clone)]
pub struct Uploads {
    pub(crate) database: Database,
    pub(crate) store: BlobStore,
    tenancy: Tenancy,
    pub(crate) config: Config,
}

/// A session's row, as far as requests need it.
struct Row {
    offset: u64,
    state: UploadState,
    allowance: Allowance,
}

impl Uploads {
    pub(crate) fn new(database: Database, store: BlobStore, tenancy: Tenancy, config: Config) -> Self {
        Self { database, store, tenancy, config }
    }

    /// Opens a session. `algorithm` is what the running hash computes; the finish may name another one, which
    /// costs a second reading of the bytes.
    pub async fn start(&self, push: &Push, algorithm: Algorithm) -> Result<Session, Error> {
        let id = self.store.upload_id().await?;
        let state = UploadState::new(algorithm).to_bytes();
        let (actor_kind, actor_id) = actor(push);
        let opened = sqlx::query!(
            "insert into catalog.upload_sessions (id, project_id, path, actor_kind, actor_id, store_state)
             select $1, $2, $3, $4, $5, $6
             where (select count(*) from catalog.upload_sessions where actor_kind = $4 and actor_id = $5) < $7
               and (select count(*) from catalog.upload_sessions where project_id = $2) < $8",
            id,
            push.place.project.0,
            push.place.repository.as_str(),
            actor_kind,
            actor_id,
            state,
            self.config.uploads_per_account_max,
            self.config.uploads_per_project_max,
        )
        .execute(self.database.pool())
        .await?;
        if opened.rows_affected() == 0 {
            return Err(Error::TooManyUploads);
        }
        Ok(Session { id, offset: 0 })
    }

    /// Where the session stands.
    pub async fn status(&self, push: &Push, id: Uuid) -> Result<Session, Error> {
        let row = self.row(push, id).await?;
        Ok(Session { id, offset: row.offset })
    }

    /// When the session was opened, for those who may use it: an upload may be finished with a token that
    /// ended after that moment.
    pub async fn opened_at(
        &self,
        actor: &identity::Principal,
        repository: &oci::RepositoryName,
        id: Uuid,
    ) -> Result<Option<chrono::DateTime<chrono::Utc>>, Error> {
        let Some((kind, number)) = actor.account() else { return Ok(None) };
        Ok(sqlx::query_scalar!(
            "select created_at from catalog.upload_sessions
             where id = $1 and path = $2 and actor_kind = $3 and actor_id = $4",
            id,
            repository.as_str(),
            kind,
            number
        )
        .fetch_optional(self.database.pool())
        .await?)
    }

    /// Appends a chunk (with a range) or a stream (without).
    ///
    /// A chunk is taken whole or not at all: a torn one leaves the offset where it was. Of a stream that breaks
    /// off, what arrived is kept, and `status` says where to go on.
    pub async fn append<S, E>(&self, push: &Push, id: Uuid, mut body: Body<S>) -> Result<Session, Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let (mut writer, lease, row) = self.claim(push, id, &mut body.patience).await?;
        let state = self.receive(&mut writer, &lease, id, row, &mut body, false).await?;
        drop(writer);
        lease.release().await;
        Ok(Session { id, offset: state.offset })
    }

    /// Takes the last bytes, if any, and turns the session into a blob of the repository.
    ///
    /// The bytes are durable, under a key never used before, before any row says so. So a crash at any line
    /// leaves at worst bytes nobody refers to; and a collector that is deleting the same digest can only hit
    /// the old key. On a digest mismatch the session is discarded.
    pub async fn finish<S, E>(
        &self,
        push: &Push,
        id: Uuid,
        claimed: &Digest,
        mut body: Body<S>,
    ) -> Result<Blob, Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let (mut writer, lease, row) = self.claim(push, id, &mut body.patience).await?;
        // A row that is about to go needs no change first, unless it is what finds the bytes again.
        let goes = !self.store.shares_uploads();
        let state = self.receive(&mut writer, &lease, id, row, &mut body, goes).await?;
        let actual = match writer.digest(&state, claimed.algorithm()).await {
            Ok(actual) => actual,
            Err(err) => return Err(self.append_failed(id, lease.writer(), err).await),
        };
        if actual != *claimed {
            drop(writer);
            self.drop_written(id, lease.writer()).await?;
            return Err(Error::DigestMismatch { claimed: claimed.clone(), actual });
        }
        let flushing = Instant::now();
        let published = writer.publish().await;
        body.patience.count(flushing.elapsed());
        let key = match published {
            Ok(key) => key,
            Err(blobstore::Error::Io(err)) if err.kind() == std::io::ErrorKind::NotFound => {
                return Err(self.append_failed(id, lease.writer(), AppendError::Lost).await);
            }
            Err(err) => return Err(err.into()),
        };
        let holder = lease.writer();
        let linked = body
            .patience
            .spend(retrying(|| self.link_upload(push, id, holder, claimed, state.offset, &key)))
            .await
            .flatten();
        // Until here, so that a second request on the session finds either all of it or none.
        drop(writer);
        if linked.is_err() {
            // The bytes have no row, and the session has no bytes. Beside the answer: the database that just failed
            // may take its time.
            let (uploads, key) = (self.clone(), key.clone());
            tokio::spawn(async move {
                let _lease = lease;
                uploads.bury(&key).await;
                if let Err(err) = uploads.drop_written(id, holder).await {
                    tracing::warn!(upload = %id, error = ?err, "an upload without bytes stays until it expires");
                }
            });
        }
        linked?;
        Ok(Blob { digest: claimed.clone(), size: state.offset, key })
    }

    /// Ends the session and removes its bytes.
    pub async fn cancel(&self, push: &Push, id: Uuid) -> Result<(), Error> {
        self.row(push, id).await?;
        self.drop_session(id).await
    }

    /// The writer and the row as it is once the writer is held.
    async fn claim(
        &self,
        push: &Push,
        id: Uuid,
        patience: &mut Patience,
    ) -> Result<(Writer, Lease, Row), Error> {
        let started = Instant::now();
        let shared = self.store.shares_uploads();
        if shared {
            // Look first: nobody may take the lease of a session that is not theirs.
            patience.spend(self.row(push, id)).await??;
        }
        let writer = match self.store.writer(id).await {
            Ok(writer) => writer,
            Err(blobstore::Error::Busy) => {
                // Who may not know of the session does not learn that somebody writes to it.
                patience.spend(self.row(push, id)).await??;
                return Err(Error::UploadBusy(id));
            }
            Err(other) => return Err(other.into()),
        };
        let lease = if shared {
            Lease::take(&self.database, id, started, patience).await?
        } else {
            Lease::unneeded()
        };
        let row = match patience.spend(self.row(push, id)).await.flatten() {
            Ok(row) => row,
            Err(err @ Error::UploadUnknown(_)) => {
                // Never opened, cancelled or finished while we waited: the writer may have made an empty file. Or
                // somebody else's, whose bytes stay.
                if !patience.spend(self.exists(id)).await?? {
                    drop(writer);
                    self.store.discard(id, None).await?;
                }
                return Err(err);
            }
            Err(err) => return Err(err),
        };
        Ok((writer, lease, row))
    }

    /// Takes the body. With `goes`, a body that arrived whole is not recorded in the row.
    async fn receive<S, E>(
        &self,
        writer: &mut Writer,
        lease: &Lease,
        id: Uuid,
        row: Row,
        body: &mut Body<S>,
        goes: bool,
    ) -> Result<UploadState, Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        if let Some(range) = body.range
            && range.first != row.offset
        {
            return Err(Error::RangeInvalid { id, offset: row.offset });
        }
        let announced = body.announced();
        if announced == Some(0) {
            return Ok(row.state);
        }
        let allowed = row.allowance.left(row.offset);
        if announced.is_some_and(|announced| allowed.is_some_and(|allowed| announced > allowed)) {
            return Err(self.over_quota(writer, lease, id, row).await);
        }
        let mut bytes = Metered::new(&mut body.bytes, allowed);
        let appended = {
            let append = writer.append(row.state.clone(), &mut bytes, announced);
            let mut append = std::pin::pin!(append);
            loop {
                tokio::select! {
                    done = &mut append => break done,
                    () = lease.lost() => {
                        tracing::warn!(upload = %id, "another process may have taken the upload over");
                        return Err(Error::UploadBusy(id));
                    }
                    () = tokio::time::sleep(HEARTBEAT) => self.touch(id).await,
                }
            }
        };
        let Appended { state, received, interrupted, over_limit } = match appended {
            Ok(appended) => appended,
            Err(err) => return Err(self.append_failed(id, lease.writer(), err).await),
        };
        if bytes.is_used_up() {
            return Err(self.over_quota(writer, lease, id, row).await);
        }
        let torn = over_limit || announced.is_some_and(|announced| received != announced);
        if torn && (body.range.is_some() || over_limit) {
            writer.rewind(&row.state).await.map_err(|err| store_error(id, err))?;
            return Err(Error::SizeInvalid { announced: announced.unwrap_or(0), received });
        }
        if goes && !torn && interrupted.is_none() {
            return Ok(state);
        }
        let advanced = body.patience.spend(self.advance(id, lease.writer(), row.offset, &state)).await?;
        if let Err(Error::UploadUnknown(_) | Error::UploadBusy(_)) = &advanced
            && let Err(err) = writer.rewind(&row.state).await
        {
            tracing::debug!(upload = %id, error = %err, "an upload that ended meanwhile was not taken back");
        }
        advanced?;
        if torn || interrupted.is_some() {
            return Err(Error::SizeInvalid { announced: announced.unwrap_or(0), received });
        }
        Ok(state)
    }

    async fn row(&self, push: &Push, id: Uuid) -> Result<Row, Error> {
        let (actor_kind, actor_id) = actor(push);
        let found = sqlx::query!(
            "select s.offset_bytes, s.store_state, q.hard_bytes as \"quota?\",
                    case when q.hard_bytes >= 0 then
                        (select sum(o.offset_bytes)::bigint from catalog.upload_sessions o
                         where o.project_id = s.project_id and o.id <> s.id)
                    end as others
             from catalog.upload_sessions s
             left join tenancy.quotas q on q.project_id = s.project_id and tenancy.quotas_enforced()
             where s.id = $1 and s.project_id = $2 and s.path = $3 and s.actor_kind = $4 and s.actor_id = $5",
            id,
            push.place.project.0,
            push.place.repository.as_str(),
            actor_kind,
            actor_id
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or(Error::UploadUnknown(id))?;
        let Ok(state) = UploadState::from_bytes(&found.store_state) else {
            tracing::error!(upload = %id, "the session's store state cannot be read; the session is dropped");
            self.drop_session(id).await?;
            return Err(Error::UploadUnknown(id));
        };
        let allowance = Allowance::new(found.quota.unwrap_or(-1), found.others.unwrap_or(0));
        Ok(Row { offset: found.offset_bytes as u64, state, allowance })
    }

    async fn exists(&self, id: Uuid) -> Result<bool, Error> {
        Ok(sqlx::query_scalar!(
            r#"select exists (select 1 from catalog.upload_sessions where id = $1) as "exists!""#,
            id
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    /// Ends a session that would hold more than the project may, and gives its bytes back at once.
    async fn over_quota(&self, writer: &mut Writer, lease: &Lease, id: Uuid, row: Row) -> Error {
        // Whatever of this request was written is not in the row that is dropped.
        if let Err(err) = writer.rewind(&row.state).await {
            tracing::debug!(upload = %id, error = %err, "an upload beyond the quota was not taken back");
        }
        match self.drop_written(id, lease.writer()).await {
            Ok(()) => Error::UploadsOverQuota { quota: row.allowance.quota() },
            Err(err) => err,
        }
    }

    /// The row follows the bytes. Rows affected are checked: the session may have been cancelled meanwhile, or its
    /// lease taken by another.
    async fn advance(
        &self,
        id: Uuid,
        writer: Option<Uuid>,
        from: u64,
        state: &UploadState,
    ) -> Result<(), Error> {
        let advanced = sqlx::query!(
            "update catalog.upload_sessions
             set offset_bytes = $3, store_state = $4, last_write_at = now()
             where id = $1 and offset_bytes = $2 and writer is not distinct from $5",
            id,
            from as i64,
            state.offset as i64,
            state.to_bytes(),
            writer
        )
        .execute(self.database.pool())
        .await?;
        if advanced.rows_affected() == 0 { Err(not_ours(id, writer)) } else { Ok(()) }
    }

    async fn touch(&self, id: Uuid) {
        let touched =
            sqlx::query!("update catalog.upload_sessions set last_write_at = now() where id = $1", id)
                .execute(self.database.pool())
                .await;
        if let Err(err) = touched {
            // The transfer goes on; the database may be back long before the session is due.
            tracing::warn!(upload = %id, error = %err, "could not renew the upload session");
        }
    }

    async fn append_failed(&self, id: Uuid, writer: Option<Uuid>, err: AppendError) -> Error {
        if matches!(err, AppendError::Lost) {
            tracing::warn!(upload = %id, "the store has fewer bytes than were acknowledged; the session is dropped");
            if let Err(err) = self.drop_written(id, writer).await {
                return err;
            }
        }
        store_error(id, err)
    }

    /// Ends the session, whoever writes to it.
    async fn drop_session(&self, id: Uuid) -> Result<(), Error> {
        // With a note for the bytes, so that a crash in between does not forget them.
        let state = sqlx::query_scalar!(
            "with gone as (
                 delete from catalog.upload_sessions where id = $1 returning id, store_state
             ), noted as (
                 insert into catalog.dead_objects (key, store_state)
                 select $2 || id::text, store_state from gone on conflict do nothing
             )
             select store_state from gone",
            id,
            crate::expiry::UPLOAD_PREFIX
        )
        .fetch_optional(self.database.pool())
        .await?;
        self.discard(id, state).await
    }

    /// Ends the session for the one who writes to it; one that another has taken over goes on.
    async fn drop_written(&self, id: Uuid, writer: Option<Uuid>) -> Result<(), Error> {
        let state = sqlx::query_scalar!(
            "with gone as (
                 delete from catalog.upload_sessions
                 where id = $1 and writer is not distinct from $3 returning id, store_state
             ), noted as (
                 insert into catalog.dead_objects (key, store_state)
                 select $2 || id::text, store_state from gone on conflict do nothing
             )
             select store_state from gone",
            id,
            crate::expiry::UPLOAD_PREFIX,
            writer
        )
        .fetch_optional(self.database.pool())
        .await?;
        self.discard(id, state).await
    }

    /// Removes the bytes of a session whose row is gone. `state` is what that row said; without it the row was
    /// gone before, and what it said may be part of a blob by now.
    pub(crate) async fn discard(&self, id: Uuid, state: Option<Vec<u8>>) -> Result<(), Error> {
        let state = state.and_then(|state| UploadState::from_bytes(&state).ok());
        Ok(self.store.discard(id, state.as_ref()).await?)
    }
}

/// The account a session belongs to. Id 0 is nobody: an anonymous caller never gets a push proof, and if one
/// ever did, it would share sessions with nobody who has a name.
fn actor(push: &Push) -> (&'static str, i64) {
    push.caller.principal.account().unwrap_or(("anonymous", 0))
}

/// The session ended meanwhile, or another writer has it: with a lease that cannot be told apart here, and the
/// client's next request will.
fn not_ours(id: Uuid, writer: Option<Uuid>) -> Error {
    match writer {
        Some(_) => Error::UploadBusy(id),
        None => Error::UploadUnknown(id),
    }
}

fn store_error(id: Uuid, err: AppendError) -> Error {
    match err {
        AppendError::Lost => Error::UploadUnknown(id),
        AppendError::Full => Error::StoreFull,
        AppendError::Io(source) => Error::Store(source),
    }
}
