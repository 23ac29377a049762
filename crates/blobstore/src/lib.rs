//! Keeps bytes under keys it chooses, and takes them in resumable uploads.
//!
//! It knows nothing of repositories or people, never finds content by digest (the database maps digest to
//! key), and never hands out a key before the bytes below it are durable.
//!
//! Invariant: a key is used once. What it named is read, or is gone; it never becomes something else.
//! Invariant: one transfer buffers at most 1 MiB, and a slow one holds no thread. Parts on their way to an S3
//! service come on top, 64 MiB for all uploads together.

mod buffers;
mod driver;
mod error;
mod intake;
mod key;
mod read;
mod root;
mod s3;
mod state;
mod writer;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oci::Digest;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

use driver::{Driver, Memory, Roots, Version};
use s3::S3;

pub use driver::Free;
pub use error::{AppendError, Error, ReadError};
pub use key::Key;
pub use read::ByteStream;
pub use root::{Record, RootId, RootRecord};
pub use s3::{Credential, Encryption, S3Config};
pub use state::{StateError, UploadState};
pub use writer::{Appended, Writer};

/// How long [`BlobStore::writer`] waits for the one who writes now. Longer than the rest of a chunk usually
/// takes, shorter than a client waits for an answer.
const CLAIM_WAIT: Duration = Duration::from_secs(10);

/// Contents that one process remembers as checked; about 100 bytes each.
const VERIFIED_MAX: u64 = 100_000;

/// Damage reports kept for a listener that lags. The metric counts all of them.
const DAMAGE_REPORTS_MAX: usize = 1024;

/// Start-up configuration of the filesystem driver, section `storage.filesystem`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The directories everything is kept in, each on one file system. A single one is made when it is missing.
    pub roots: Vec<PathBuf>,
    /// A directory with no more free MiB than this gets no new uploads.
    pub reserve_mib: u64,
    /// Whether bytes are made durable before a key is returned. Off only where all content may be lost.
    pub fsync: bool,
    /// Whether the first whole reading of a blob by this process checks its digest.
    pub verify_reads: bool,
}

impl Default for Config {
    /// No roots: who configures the store names them.
    fn default() -> Self {
        Self { roots: Vec::new(), reserve_mib: 0, fsync: true, verify_reads: true }
    }
}

/// The store. Clone freely; every clone talks to the same bytes.
#[derive(Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
    roots: Arc<[RootRecord]>,
}

pub(crate) struct Inner {
    backend: Backend,
    verify_reads: bool,
    verified: moka::sync::Cache<(Key, Version), ()>,
    damaged: broadcast::Sender<Key>,
}

/// Where the bytes are.
pub(crate) enum Backend {
    /// Behind calls that block for a short time.
    Local(Arc<dyn Driver>),
    S3(S3),
}

impl BlobStore {
    /// Opens the store in `config.roots`, whose order does not matter, and takes new ones into use. `record` is
    /// what the installation remembers of it; what is to be remembered from now on is in [`BlobStore::roots`].
    /// Blocks on file IO: call it at start-up.
    ///
    /// Fails when content must be there and none of it is, so that a volume that is not mounted is not taken for an
    /// empty store. When only a part is missing, that part is a fault ([`Error::Io`], never "missing") for
    /// whoever asks for it until it is there.
    pub fn filesystem(config: &Config, record: &Record) -> Result<Self, Error> {
        let driver = Roots::open(config, record)?;
        let roots = driver.records();
        let mut store = Self::with_driver(Arc::new(driver), config.verify_reads);
        store.roots = roots.into();
        Ok(store)
    }

    /// A store that ends with the process. For tests.
    pub fn memory() -> Self {
        Self::with_driver(Arc::new(Memory::default()), true)
    }

    /// The store in a bucket. Asks the service nothing yet: one that is down, or a key that is wrong, shows at
    /// the first use and in [`BlobStore::probe`].
    pub fn s3(config: &S3Config) -> Result<Self, Error> {
        Ok(Self::with_backend(Backend::S3(S3::open(config)?), config.verify_reads))
    }

    fn with_driver(driver: Arc<dyn Driver>, verify_reads: bool) -> Self {
        Self::with_backend(Backend::Local(driver), verify_reads)
    }

    fn with_backend(backend: Backend, verify_reads: bool) -> Self {
        let inner = Inner {
            backend,
            verify_reads,
            verified: moka::sync::Cache::new(VERIFIED_MAX),
            damaged: broadcast::Sender::new(DAMAGE_REPORTS_MAX),
        };
        Self { inner: Arc::new(inner), roots: Arc::default() }
    }

    /// The directories that were found or taken into use when the store was opened, to be remembered.
    pub fn roots(&self) -> &[RootRecord] {
        &self.roots
    }

    /// The driver's name, as it appears in the label `driver` of the metrics.
    pub fn name(&self) -> &'static str {
        self.inner.name()
    }

    /// Whether processes on several machines may write to one upload, and the store cannot keep them apart. Then
    /// [`BlobStore::writer`] is exclusive within this process only, and the caller sees to the rest: whoever
    /// is not the only writer must neither go on nor record a state.
    pub fn shares_uploads(&self) -> bool {
        matches!(self.inner.backend, Backend::S3(_))
    }

    /// An id for a new upload, which stays for its whole life in the place that the id names. [`Error::Full`] when no
    /// place has room.
    pub async fn upload_id(&self) -> Result<Uuid, Error> {
        match &self.inner.backend {
            Backend::Local(driver) => match driver.known_upload_id() {
                Some(id) => Ok(id),
                None => self.call("place", |driver| driver.upload_id()).await,
            },
            Backend::S3(_) => Ok(Uuid::new_v4()),
        }
    }

    /// Claims the upload `id` for the caller alone, across processes unless [`BlobStore::shares_uploads`]. The
    /// claim ends when the writer is dropped, or with the process.
    ///
    /// An upload that does not exist is begun (with an id from [`BlobStore::upload_id`]); one that stays empty
    /// leaves nothing behind. Somebody else may have finished or discarded the upload while this call waited, so
    /// callers read their record of it after this call. Fails with [`Error::Busy`] when the claim is held by
    /// another for about ten seconds.
    pub async fn writer(&self, id: Uuid) -> Result<Writer, Error> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            let claimed = match &self.inner.backend {
                Backend::Local(driver) => {
                    let claiming = driver.clone();
                    let staging = blocking(move || claiming.claim(id)).await??;
                    staging.map(|staging| Writer::local(driver.clone(), staging))
                }
                Backend::S3(s3) => s3.claim(id).map(Writer::s3),
            };
            if let Some(writer) = claimed {
                self.inner.observe("claim", started);
                return Ok(writer);
            }
            if started.elapsed() + pause > CLAIM_WAIT {
                return Err(Error::Busy);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Forgets the bytes of an upload. One that is unknown counts as done. Needs no claim: a writer that is at
    /// work loses its file and cannot publish any more.
    ///
    /// `state` is the last one that was recorded. A store that [`BlobStore::shares_uploads`] finds the bytes by
    /// nothing else. To be called only once nobody can record what comes of the upload: content that was
    /// published from it goes as well.
    pub async fn discard(&self, id: Uuid, state: Option<&UploadState>) -> Result<(), Error> {
        let started = Instant::now();
        match (&self.inner.backend, state) {
            (Backend::Local(_), _) => self.call("discard", move |driver| driver.discard(id)).await?,
            (Backend::S3(s3), Some(state)) => {
                s3.discard(state).await?;
                self.inner.observe("discard", started);
            }
            (Backend::S3(_), None) => {}
        }
        Ok(())
    }

    /// The number of bytes under `key`, or nothing when there are none.
    pub async fn stat(&self, key: &Key) -> Result<Option<u64>, Error> {
        let key = key.clone();
        match &self.inner.backend {
            Backend::Local(_) => self.call("stat", move |driver| driver.stat(&key)).await,
            Backend::S3(s3) => self.inner.observed("stat", s3.stat(&key)).await,
        }
    }

    /// Streams `range` of the content that is known to have `size` bytes and the digest `digest`.
    ///
    /// A reading of the whole is checked against the digest, unless this process has checked the same file
    /// before: a stream of damaged content fails with [`io::ErrorKind::InvalidData`] before its last bytes
    /// are handed out. A range outside of `size` is an [`io::ErrorKind::InvalidInput`].
    pub async fn read(
        &self,
        key: &Key,
        digest: &Digest,
        size: u64,
        range: Range<u64>,
    ) -> Result<ByteStream, ReadError> {
        read::stream(&self.inner, key, digest, size, range).await
    }

    /// The whole content, unchecked, of something small. More than `limit` bytes are refused as
    /// [`ReadError::SizeMismatch`].
    pub async fn read_all(&self, key: &Key, limit: usize) -> Result<Bytes, ReadError> {
        read::whole(&self.inner, key, limit).await
    }

    /// Removes keys, as many as it can; one that is missing counts as removed. A power cut may bring bytes back,
    /// never lose others.
    pub async fn delete(&self, keys: &[Key]) -> Result<(), Error> {
        let keys = keys.to_vec();
        match &self.inner.backend {
            Backend::Local(_) => {
                // A directory that fails does not keep bytes alive in the others.
                let delete = move |driver: &dyn Driver| {
                    let failed = keys.iter().filter_map(|key| driver.delete(key).err());
                    failed.reduce(|first, _| first).map_or(Ok(()), Err)
                };
                self.call("delete", delete).await
            }
            Backend::S3(s3) => self.inner.observed("delete", s3.delete(&keys)).await,
        }
    }

    /// An address at which a client with this `User-Agent` may fetch the content itself for some minutes; none
    /// where the operator does not want that. Whoever has the address can read: it must not be logged.
    pub async fn redirect(&self, key: &Key, user_agent: &str) -> Result<Option<String>, Error> {
        match &self.inner.backend {
            Backend::Local(_) => Ok(None),
            Backend::S3(s3) => Ok(s3.redirect(key, user_agent).await?),
        }
    }

    /// Writes, reads and removes a byte in each place: whether uploads can work at all. [`Error::Full`] when only
    /// space is missing, which leaves everything but uploads working; [`Error::Partial`] when some places fail.
    pub async fn probe(&self) -> Result<(), Error> {
        match &self.inner.backend {
            Backend::Local(_) => self.call("probe", |driver| driver.probe()).await,
            Backend::S3(s3) => self.inner.observed("probe", s3.probe()).await,
        }
    }

    /// The room in each place, where that is known. Blocks for a short time.
    pub fn free(&self) -> Vec<Free> {
        match &self.inner.backend {
            Backend::Local(driver) => driver.free(),
            Backend::S3(_) => Vec::new(),
        }
    }

    /// Keys whose content turned out to be damaged by being read, from now on. Each caller gets all of them; one
    /// that falls more than 1024 behind loses the oldest.
    pub fn damaged(&self) -> broadcast::Receiver<Key> {
        self.inner.damaged.subscribe()
    }

    /// Runs an action of a local driver.
    async fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&dyn Driver) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let Backend::Local(driver) = &self.inner.backend else {
            return Err(io::Error::from(io::ErrorKind::Unsupported).into());
        };
        let driver = driver.clone();
        let work = async { blocking(move || work(&*driver)).await? };
        self.inner.observed(action, work).await
    }
}

impl Inner {
    fn name(&self) -> &'static str {
        match &self.backend {
            Backend::Local(driver) => driver.name(),
            Backend::S3(_) => "s3",
        }
    }

    fn observe(&self, action: &'static str, started: Instant) {
        observe(self.name(), action, started);
    }

    async fn observed<T>(
        &self,
        action: &'static str,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let done = work.await?;
        self.observe(action, started);
        Ok(done)
    }

    /// Counts damaged content and tells whoever listens.
    fn report_damage(&self, key: &Key, what: &str) {
        metrics::counter!("hythe_storage_damaged_total").increment(1);
        tracing::error!(key = key.as_str(), what, "stored content is damaged");
        // Nobody listening is fine: the metric and the log have it.
        let _ = self.damaged.send(key.clone());
    }
}

/// Records how long an action of the driver took.
fn observe(driver: &'static str, action: &'static str, started: Instant) {
    metrics::histogram!("registry_storage_action_seconds", "driver" => driver, "action" => action)
        .record(started.elapsed().as_secs_f64());
}

/// Runs blocking work beside the event loop. Fails when the work panicked or the runtime ends.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
