//! Who may write to an upload, where the store cannot keep processes on several machines apart.
//!
//! A lease is two columns of the session's row, taken and renewed by this module and checked by every statement
//! that records progress. So a writer that was cut off for too long can neither store its progress nor finish,
//! whatever it believes.

use std::time::{Duration, Instant};

use database::Database;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{Error, Patience};

/// How long a lease lasts without being renewed. Shorter than [`WAIT`], so that whoever waits gets the lease of a
/// process that died.
const LEASE: Duration = Duration::from_secs(9);
const RENEWAL: Duration = Duration::from_secs(3);

/// How long a request waits for the one that writes now, as for stores with locks.
const WAIT: Duration = Duration::from_secs(10);

/// The right to write, given back when it is dropped.
pub(crate) struct Lease(Option<Held>);

struct Held {
    database: Database,
    id: Uuid,
    writer: Uuid,
    lost: watch::Receiver<bool>,
    renewal: JoinHandle<()>,
}

impl Lease {
    /// For stores that keep writers apart themselves.
    pub(crate) fn unneeded() -> Self {
        Self(None)
    }

    /// Waits for the lease, about ten seconds from `started` on. A session that does not exist is not waited for.
    pub(crate) async fn take(
        database: &Database,
        id: Uuid,
        started: Instant,
        patience: &mut Patience,
    ) -> Result<Self, Error> {
        let writer = Uuid::new_v4();
        let mut pause = Duration::from_millis(10);
        loop {
            let asked = sqlx::query!(
                r#"with taken as (
                     update catalog.upload_sessions
                     set writer = $2, lease_until = now() + make_interval(secs => $3)
                     where id = $1 and (writer is null or lease_until < now())
                     returning id
                 )
                 select exists (select 1 from taken) as "taken!",
                        exists (select 1 from catalog.upload_sessions where id = $1) as "there!""#,
                id,
                writer,
                LEASE.as_secs_f64()
            )
            .fetch_one(database.pool());
            let found = patience.spend(asked).await??;
            if found.taken {
                return Ok(Self::held(database.clone(), id, writer));
            }
            if !found.there {
                return Err(Error::UploadUnknown(id));
            }
            if started.elapsed() + pause > WAIT {
                return Err(Error::UploadBusy(id));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    fn held(database: Database, id: Uuid, writer: Uuid) -> Self {
        let (sender, lost) = watch::channel(false);
        let renewal = tokio::spawn({
            let database = database.clone();
            async move {
                renew(&database, id, writer).await;
                // Nobody listening is fine.
                let _ = sender.send(true);
            }
        });
        Self(Some(Held { database, id, writer, lost, renewal }))
    }

    /// What the row's `writer` must be for this writer to record anything.
    pub(crate) fn writer(&self) -> Option<Uuid> {
        self.0.as_ref().map(|held| held.writer)
    }

    /// Ends when another may have the lease; never, where none is needed.
    pub(crate) async fn lost(&self) {
        match &self.0 {
            Some(held) => {
                let mut lost = held.lost.clone();
                // A sender that is gone without a word belongs to a runtime that ends.
                let _ = lost.wait_for(|lost| *lost).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Gives the lease back before the client is answered, who may come again at once.
    pub(crate) async fn release(mut self) {
        if let Some(held) = self.0.take() {
            held.release().await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            held.renewal.abort();
            tokio::spawn(held.release());
        }
    }
}

impl Held {
    async fn release(self) {
        self.renewal.abort();
        let released = sqlx::query!(
            "update catalog.upload_sessions set writer = null, lease_until = null where id = $1 and writer = $2",
            self.id,
            self.writer
        )
        .execute(self.database.pool())
        .await;
        if let Err(err) = released {
            tracing::warn!(upload = %self.id, error = %err, "the lease of an upload is left to expire");
        }
    }
}

/// Renews until the lease belongs to another, or may do so.
async fn renew(database: &Database, id: Uuid, writer: Uuid) {
    let mut renewed_at = Instant::now();
    loop {
        tokio::time::sleep(RENEWAL).await;
        let asked_at = Instant::now();
        let renewal = sqlx::query!(
            "update catalog.upload_sessions
             set lease_until = now() + make_interval(secs => $3), last_write_at = now()
             where id = $1 and writer = $2",
            id,
            writer,
            LEASE.as_secs_f64()
        )
        .execute(database.pool());
        match tokio::time::timeout(RENEWAL, renewal).await {
            Ok(Ok(done)) if done.rows_affected() == 0 => return,
            Ok(Ok(_)) => renewed_at = asked_at,
            Ok(Err(_)) | Err(_) if renewed_at.elapsed() > LEASE => return,
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
