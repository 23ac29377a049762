//! Reading: chunks are read ahead beside the event loop while the present one is sent.
//!
//! Invariant: of a whole reading that is being checked, the last chunk is handed out only after the digest of
//! everything was found right. A receiver that counts bytes therefore never completes damaged content.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use oci::Digest;
use tokio::task::JoinHandle;

use crate::driver::{Source, Version};
use crate::s3::Object;
use crate::state::Hasher;
use crate::{Backend, Inner, Key, ReadError, blocking};

/// Bytes read at once. With one chunk being sent and two read ahead, a stream holds 768 KiB at most; smaller
/// chunks are slower, larger ones hardly faster.
const CHUNK_BYTES: u64 = 256 * 1024;

/// Content that is being read.
pub type ByteStream = BoxStream<'static, Result<Bytes, io::Error>>;

pub(crate) async fn stream(
    inner: &Arc<Inner>,
    key: &Key,
    digest: &Digest,
    size: u64,
    range: Range<u64>,
) -> Result<ByteStream, ReadError> {
    if range.start > range.end || range.end > size {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the range is outside of the content").into());
    }
    let source = open(inner, key).await?;
    if source.size() != size {
        inner.report_damage(key, "its size is not the recorded one");
        return Err(ReadError::SizeMismatch { found: source.size() });
    }
    let whole = range.start == 0 && range.end == size;
    let unchecked = inner.verify_reads && !inner.verified.contains_key(&(key.clone(), source.version()));
    let check = (whole && unchecked).then(|| Check {
        inner: inner.clone(),
        version: source.version(),
        key: key.clone(),
        digest: digest.clone(),
        size,
    });
    let source = match (source, check) {
        (Opened::Local(source), Some(check)) => return Ok(check.read(source)),
        (Opened::Object(object), Some(check)) => return Ok(check.follow(object.stream(range))),
        (Opened::Object(object), None) => return Ok(object.stream(range)),
        (Opened::Local(source), None) => source,
    };
    let (inner, key) = (inner.clone(), key.clone());
    let chunks = stream::iter(chunks(range)).map(move |chunk| join(read_ahead(source.clone(), chunk)));
    // Mapping starts the reading, and two are mapped before the first is awaited.
    Ok(chunks.buffered(2).inspect_err(move |err| report_cut(&inner, &key, err)).boxed())
}

pub(crate) async fn whole(inner: &Arc<Inner>, key: &Key, limit: usize) -> Result<Bytes, ReadError> {
    let source = open(inner, key).await?;
    let size = source.size();
    match usize::try_from(size) {
        Ok(length) if length <= limit => match source {
            Opened::Local(source) => Ok(blocking(move || read(&*source, 0..size)).await??),
            Opened::Object(object) => {
                let mut all = BytesMut::with_capacity(length);
                let mut pieces = object.stream(0..size);
                while let Some(piece) = pieces.try_next().await? {
                    all.extend_from_slice(&piece);
                }
                Ok(all.freeze())
            }
        },
        _ => Err(ReadError::SizeMismatch { found: size }),
    }
}

/// Content that was found.
enum Opened {
    Local(Arc<dyn Source>),
    Object(Object),
}

impl Opened {
    fn size(&self) -> u64 {
        match self {
            Self::Local(source) => source.size(),
            Self::Object(object) => object.size,
        }
    }

    fn version(&self) -> Version {
        match self {
            Self::Local(source) => source.version(),
            Self::Object(object) => object.version,
        }
    }
}

async fn open(inner: &Arc<Inner>, key: &Key) -> Result<Opened, ReadError> {
    let started = Instant::now();
    let opened = match &inner.backend {
        Backend::Local(driver) => {
            let (driver, key) = (driver.clone(), key.clone());
            blocking(move || driver.open(&key)).await??.map(Opened::Local)
        }
        Backend::S3(s3) => s3.open_object(key).await?.map(Opened::Object),
    };
    inner.observe("open", started);
    opened.ok_or(ReadError::Missing)
}

/// A whole reading with its check.
struct Check {
    inner: Arc<Inner>,
    version: Version,
    key: Key,
    digest: Digest,
    size: u64,
}

/// A chunk that is being read, and the hash of everything up to its end.
type Hashing = JoinHandle<io::Result<(Bytes, Hasher)>>;

impl Check {
    /// One chunk is read and hashed ahead. So when the last one arrives here, the digest is known.
    fn read(self, source: Arc<dyn Source>) -> ByteStream {
        let mut rest = chunks(0..self.size);
        let hasher = Hasher::new(self.digest.algorithm());
        let first = hash_next(source.clone(), hasher, rest.next().unwrap_or(0..0));
        stream::try_unfold((self, rest, Some(first)), move |(check, mut rest, ahead)| {
            let source = source.clone();
            async move {
                let Some(ahead) = ahead else { return Ok(None) };
                let (bytes, hasher) =
                    join(ahead).await.inspect_err(|err| report_cut(&check.inner, &check.key, err))?;
                let ahead = match rest.next() {
                    Some(chunk) => Some(hash_next(source, hasher, chunk)),
                    None => {
                        check.conclude(&hasher.finish())?;
                        None
                    }
                };
                Ok(Some((bytes, (check, rest, ahead))))
            }
        })
        .boxed()
    }

    /// The same for bytes that come by themselves: one piece is held back until the next is hashed, the last one
    /// until the digest is known.
    fn follow(self, pieces: ByteStream) -> ByteStream {
        let hasher = Some(Hasher::new(self.digest.algorithm()));
        let held = Bytes::new();
        stream::try_unfold(
            (self, pieces, hasher, held),
            |(check, mut pieces, mut hasher, mut held)| async move {
                loop {
                    let Some(hashing) = hasher.take() else { return Ok(None) };
                    let Some(piece) = pieces.try_next().await? else {
                        check.conclude(&hashing.finish())?;
                        let last = (!held.is_empty()).then_some(held);
                        return Ok(last.map(|last| (last, (check, pieces, None, Bytes::new()))));
                    };
                    let hashed = hash(piece.clone(), hashing).await?;
                    let before = std::mem::replace(&mut held, piece);
                    hasher = Some(hashed);
                    if !before.is_empty() {
                        return Ok(Some((before, (check, pieces, hasher, held))));
                    }
                }
            },
        )
        .boxed()
    }

    fn conclude(&self, actual: &Digest) -> io::Result<()> {
        if *actual == self.digest {
            self.inner.verified.insert((self.key.clone(), self.version), ());
            return Ok(());
        }
        self.inner.report_damage(&self.key, "its digest is not the recorded one");
        Err(io::Error::new(io::ErrorKind::InvalidData, "the stored content is damaged"))
    }
}

fn hash_next(source: Arc<dyn Source>, mut hasher: Hasher, chunk: Range<u64>) -> Hashing {
    tokio::task::spawn_blocking(move || {
        let bytes = read(&*source, chunk)?;
        hasher.update(&bytes);
        Ok((bytes, hasher))
    })
}

async fn hash(bytes: Bytes, mut hasher: Hasher) -> io::Result<Hasher> {
    blocking(move || {
        hasher.update(&bytes);
        hasher
    })
    .await
}

/// A file that became shorter while it was read is damaged as well.
fn report_cut(inner: &Inner, key: &Key, err: &io::Error) {
    if err.kind() == io::ErrorKind::UnexpectedEof {
        inner.report_damage(key, "it was cut while being read");
    }
}

/// The range cut into chunks; none for an empty range.
fn chunks(range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send + Sync + use<> {
    let end = range.end;
    range.step_by(CHUNK_BYTES as usize).map(move |start| start..end.min(start + CHUNK_BYTES))
}

fn read_ahead(source: Arc<dyn Source>, chunk: Range<u64>) -> JoinHandle<io::Result<Bytes>> {
    tokio::task::spawn_blocking(move || read(&*source, chunk))
}

fn read(source: &dyn Source, chunk: Range<u64>) -> io::Result<Bytes> {
    // Exactly as large as needed, so that turning it into `Bytes` does not copy.
    let mut buffer = vec![0; (chunk.end - chunk.start) as usize];
    source.read_at(&mut buffer, chunk.start)?;
    Ok(buffer.into())
}

async fn join<T>(task: JoinHandle<io::Result<T>>) -> io::Result<T> {
    task.await.map_err(io::Error::other)?
}
