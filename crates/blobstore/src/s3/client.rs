//! Requests to the S3 service: each with a limit of its own, repeated for a while when the service is at fault.
//!
//! Invariant: "missing" is only said while the bucket is known to be the one this store has written to. A
//! bucket that is gone, empty or out of reach is a fault, else every blob would look damaged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Certificate, ClientOptions, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutPayload, RetryConfig,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::{Encryption, S3Config};
use crate::Key;

/// Bytes of part buffers that all uploads of the process may hold together.
const BUFFERS_BYTES: u64 = 64 * 1024 * 1024;

/// Permits are counted in this unit.
const BUFFER_UNIT: u64 = 64 * 1024;

/// The name of the object that says that this store has written here.
const MARKER: &str = "hythe-store";

const CONNECT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Requests of one bulk removal under way at once.
const DELETES_AT_ONCE: usize = 16;

/// How long one request may take, and how long it is repeated: at least once, unless there is no time at all.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    each: Duration,
    total: Duration,
}

/// Questions, which a client waits for.
pub(super) const ASK: Limits = Limits { each: Duration::from_secs(3), total: Duration::from_secs(5) };

/// Joining parts. The service may take minutes over a large object.
const JOIN: Limits = Limits { each: Duration::from_secs(180), total: Duration::from_secs(15) };

/// Sending `length` bytes: slow lines get their time, a dead one is noticed. 256 KiB a second is slower than any
/// line that is of use for a registry.
fn sending(length: usize) -> Limits {
    let transfer = Duration::from_secs(length as u64 / (256 * 1024));
    Limits { each: Duration::from_secs(10) + transfer, total: Duration::from_secs(15) }
}

pub(crate) struct Client {
    s3: AmazonS3,
    prefix: String,
    /// The marker is known to be there.
    marked: AtomicBool,
    buffers: Arc<Semaphore>,
}

/// Something that the service does not have.
#[derive(Debug, thiserror::Error)]
#[error("the bucket does not have it")]
struct Absent;

impl Client {
    pub(super) fn new(config: &S3Config) -> io::Result<Self> {
        if let Some((key, message)) = config.problems().into_iter().next() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("storage.s3.{key}: {message}")));
        }
        // Limits are set around each request here: the client's own would cut a large part on a slow line.
        let mut options = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT)
            .with_allow_http(config.plain_http())
            .with_http1_only();
        if let Some(path) = &config.ca_file {
            let named = |err: String| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {err}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|err| named(err.to_string()))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|err| named(err.to_string()))? {
                options = options.with_root_certificate(certificate);
            }
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(config.bucket.as_deref().unwrap_or_default())
            .with_region(config.region.as_str())
            .with_access_key_id(config.access_key.as_ref().map_or("", |key| key.expose()))
            .with_secret_access_key(config.secret_key.as_ref().map_or("", |key| key.expose()))
            .with_virtual_hosted_style_request(!config.path_style)
            .with_client_options(options)
            // Over TLS nothing changes bytes on the way, so they need not be hashed a second time.
            .with_unsigned_payload(!config.plain_http())
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
        if let Some(endpoint) = &config.endpoint {
            let endpoint = endpoint.trim_end_matches('/');
            let bucket = config.bucket.as_deref().unwrap_or_default();
            builder = builder.with_endpoint(match endpoint.split_once("://") {
                Some((scheme, host)) if !config.path_style => format!("{scheme}://{bucket}.{host}"),
                _ => endpoint.to_owned(),
            });
        }
        builder = match (config.encryption, &config.kms_key_id) {
            (Encryption::Aes256, _) => {
                let key = "aws_server_side_encryption".parse().map_err(io::Error::other)?;
                builder.with_config(key, "AES256")
            }
            (Encryption::Kms, Some(key)) => builder.with_sse_kms_encryption(key),
            _ => builder,
        };
        Ok(Self {
            s3: builder.build().map_err(io::Error::other)?,
            prefix: config.key_prefix(),
            marked: AtomicBool::new(false),
            buffers: Arc::new(Semaphore::new((BUFFERS_BYTES / BUFFER_UNIT) as usize)),
        })
    }

    fn path(&self, name: &str) -> io::Result<Path> {
        Path::parse(format!("{}{name}", self.prefix))
            .map_err(|err| io::Error::new(io::ErrorKind::InvalidInput, err))
    }

    /// The path of published content. Refuses a key that no store made.
    fn key_path(&self, key: &Key) -> io::Result<Path> {
        key.parts().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a key of this store"))?;
        self.path(key.as_str())
    }

    /// Waits for room for a buffer of `bytes`, which is at most a part.
    pub(super) async fn buffer(&self, bytes: u64) -> io::Result<OwnedSemaphorePermit> {
        let units = bytes.min(BUFFERS_BYTES).div_ceil(BUFFER_UNIT) as u32;
        self.buffers.clone().acquire_many_owned(units).await.map_err(io::Error::other)
    }

    /// Size and the like of published content, or of the tail of an upload.
    pub(super) async fn head(&self, name: &str) -> io::Result<Option<ObjectMeta>> {
        let path = self.path(name)?;
        let found = patiently(ASK, || self.s3.head(&path)).await?;
        self.judge(found).await
    }

    pub(super) async fn head_key(&self, key: &Key) -> io::Result<Option<ObjectMeta>> {
        self.key_path(key)?;
        self.head(key.as_str()).await
    }

    /// The bytes of `range` from its start on; how many of them arrive is for the caller to watch.
    pub(super) async fn get(&self, name: &str, range: std::ops::Range<u64>) -> io::Result<Option<GetResult>> {
        let path = self.path(name)?;
        let found = patiently(ASK, || {
            let range = Some(GetRange::Bounded(range.clone()));
            self.s3.get_opts(&path, GetOptions { range, ..GetOptions::default() })
        });
        let found = found.await?;
        self.judge(found).await
    }

    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> io::Result<()> {
        self.mark().await?;
        let path = self.path(name)?;
        let stored =
            patiently(sending(bytes.len()), || self.s3.put(&path, PutPayload::from(bytes.clone()))).await?;
        stored.map(drop).ok_or_else(bucket_gone)
    }

    pub(super) async fn begin(&self, key: &Key) -> io::Result<String> {
        self.mark().await?;
        let path = self.key_path(key)?;
        patiently(ASK, || self.s3.create_multipart(&path)).await?.ok_or_else(bucket_gone)
    }

    /// Sends one part and returns its tag. An upload that is not known any more is [`io::ErrorKind::NotFound`].
    pub(super) async fn put_part(
        &self,
        key: &Key,
        upload: &str,
        index: usize,
        bytes: Bytes,
    ) -> io::Result<String> {
        let (path, upload) = (self.key_path(key)?, upload.to_owned());
        let part = patiently(sending(bytes.len()), || {
            self.s3.put_part(&path, &upload, index, PutPayload::from(bytes.clone()))
        });
        let part = part.await?;
        self.judge(part).await?.map(|part| part.content_id).ok_or_else(absent)
    }

    /// Makes `size` bytes in parts to one object. Also when an earlier answer to the same request got lost.
    pub(super) async fn join(&self, key: &Key, upload: &str, tags: &[String], size: u64) -> io::Result<()> {
        let (path, upload) = (self.key_path(key)?, upload.to_owned());
        let joined = patiently(JOIN, || {
            let parts = tags.iter().map(|tag| PartId { content_id: tag.clone() }).collect();
            self.s3.complete_multipart(&path, &upload, parts)
        });
        let refused = match joined.await {
            Ok(Some(_)) => None,
            Ok(None) => Some(absent()),
            Err(err) => Some(err),
        };
        // Always looked at: whoever trusts a size that is not there would name damaged content in a row.
        match (self.head_key(key).await?, refused) {
            (Some(found), _) if found.size == size => Ok(()),
            (Some(found), _) => Err(io::Error::other(format!(
                "the service joined {} bytes where {size} were sent",
                found.size
            ))),
            (None, Some(refused)) => Err(refused),
            (None, None) => Err(absent()),
        }
    }

    /// Forgets an upload in parts; one that is unknown is fine.
    pub(super) async fn abort(&self, key: &Key, upload: &str) -> io::Result<()> {
        let (path, upload) = (self.key_path(key)?, upload.to_owned());
        match patiently(ASK, || self.s3.abort_multipart(&path, &upload)).await {
            // Some services say so of what they do not know. A bucket's own rule removes parts that are really left.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(key = key.as_str(), error = %err, "the service refuses to give up an upload in parts");
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Removes objects; one that is missing is fine.
    pub(super) async fn delete(&self, names: &[String]) -> io::Result<()> {
        let paths = names.iter().map(|name| self.path(name)).collect::<io::Result<Vec<_>>>()?;
        stream::iter(paths.into_iter().map(Ok))
            .try_for_each_concurrent(DELETES_AT_ONCE, |path| async move {
                patiently(ASK, || self.s3.delete(&path)).await.map(drop)
            })
            .await
    }

    /// A byte is written, read and removed, once each. A bucket that has lost the marker is not the store's any more.
    pub(super) async fn probe(&self) -> io::Result<()> {
        if self.marked.load(Ordering::Acquire) {
            self.judge(None::<()>).await?;
        }
        self.mark().await?;
        let name = format!("probe/{}", uuid::Uuid::new_v4());
        let path = self.path(&name)?;
        let once = Limits { total: Duration::ZERO, ..ASK };
        let gone = || bucket_gone();
        patiently(once, || self.s3.put(&path, PutPayload::from_static(b"?"))).await?.ok_or_else(gone)?;
        patiently(once, || self.s3.head(&path)).await?.ok_or_else(gone)?;
        patiently(once, || self.s3.delete(&path)).await.map(drop)
    }

    /// An address at which anybody may read the content for a while.
    pub(super) async fn sign(&self, key: &Key, lifetime: Duration) -> io::Result<String> {
        let path = self.key_path(key)?;
        let signed = self.s3.signed_url(object_store::signer::Method::GET, &path, lifetime).await;
        Ok(signed.map_err(fault)?.to_string())
    }

    /// Whether what is missing is missing, or the whole store is.
    async fn judge<T>(&self, found: Option<T>) -> io::Result<Option<T>> {
        if found.is_some() {
            return Ok(found);
        }
        let marker = self.path(MARKER)?;
        match patiently(ASK, || self.s3.head(&marker)).await? {
            Some(_) => Ok(None),
            None => Err(bucket_gone()),
        }
    }

    /// Leaves the marker before the first object.
    async fn mark(&self) -> io::Result<()> {
        if self.marked.load(Ordering::Acquire) {
            return Ok(());
        }
        let path = self.path(MARKER)?;
        if patiently(ASK, || self.s3.head(&path)).await?.is_none() {
            let note = || PutPayload::from_static(b"Blobs of a Hythe registry. Do not remove this object.\n");
            patiently(ASK, || self.s3.put(&path, note())).await?.ok_or_else(bucket_gone)?;
        }
        self.marked.store(true, Ordering::Release);
        Ok(())
    }
}

/// Repeats a request while the service, or the way to it, is at fault. `None` when the service says "not found",
/// of whatever it may be.
async fn patiently<T, F>(limits: Limits, mut request: impl FnMut() -> F) -> io::Result<Option<T>>
where
    F: Future<Output = object_store::Result<T>>,
{
    let deadline = Instant::now() + limits.total;
    let mut pause = FIRST_PAUSE;
    let (mut tries, mut refused) = (0, false);
    loop {
        let failed = match tokio::time::timeout(limits.each, request()).await {
            Ok(Ok(done)) => return Ok(Some(done)),
            Ok(Err(object_store::Error::NotFound { .. })) => return Ok(None),
            // A service says so of a clock that is wrong too. Signed anew the request may be fine, as after a machine
            // slept between signing and sending, so it gets one more chance.
            Ok(Err(err @ object_store::Error::PermissionDenied { .. })) if !refused => {
                refused = true;
                fault(err)
            }
            Ok(Err(err)) if !matches!(err, object_store::Error::Generic { .. }) => return Err(fault(err)),
            Ok(Err(err)) => fault(err),
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "the S3 service did not answer in time"),
        };
        // Spread, so that those who failed together do not come back together.
        let wait = pause.mul_f64(0.5 + rand::random::<f64>());
        // A request that was never answered may have used up all the time.
        tries += 1;
        if Instant::now() + wait >= deadline && (tries > 1 || limits.total.is_zero()) {
            return Err(failed);
        }
        metrics::counter!("hythe_storage_retries_total").increment(1);
        tracing::debug!(error = %failed, "a request to the S3 service is repeated");
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

pub(super) fn fault(err: object_store::Error) -> io::Error {
    let kind = match &err {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    if is_skewed(&err) {
        return io::Error::new(
            kind,
            "the S3 service refuses requests because its clock and this machine's differ",
        );
    }
    io::Error::new(kind, err)
}

/// Whether the clocks differ too much for the service.
fn is_skewed(err: &object_store::Error) -> bool {
    matches!(err, object_store::Error::PermissionDenied { source, .. } if source.to_string().contains("RequestTimeTooSkewed"))
}

fn bucket_gone() -> io::Error {
    io::Error::other("the bucket is missing, or is not the one this store was kept in")
}

/// Says that something is missing although the bucket is there.
pub(super) fn absent() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, Absent)
}

pub(super) fn is_absent(err: &io::Error) -> bool {
    err.get_ref().is_some_and(|inner| inner.is::<Absent>())
}
