//! Reading: what is in memory is taken on the event loop, since copying it is cheaper than handing it from one thread
//! to another; what has to come from a disk is read ahead beside the loop while the present chunk is sent.
//!
//! Invariant: of a whole reading that is being checked, the last chunk is handed out only after the digest of
//! everything was found right. A receiver that counts bytes therefore never completes damaged content.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use oci::Digest;
use tokio::task::JoinHandle;

use crate::buffers::{BUFFER_BYTES, Buffer};
use crate::driver::{Source, Version};
use crate::s3::Object;
use crate::state::Hasher;
use crate::{Backend, Inner, Key, ReadError, blocking};

/// Bytes read at once. With one chunk being sent and two read ahead, a stream holds 768 KiB at most.
const CHUNK_BYTES: u64 = BUFFER_BYTES as u64;

/// Chunks that are read ahead before the memory is tried again. While a disk is read it wants the next request early.
const READ_AHEAD_CHUNKS: usize = 8;

/// Chunks that are read ahead at the same time.
const READ_AHEAD_AT_ONCE: usize = 2;

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
    let reading = Reading { source, rest: range, ahead: VecDeque::new(), credit: 0 };
    let chunks = stream::try_unfold(reading, async |mut reading| {
        Ok(reading.next().await?.map(|chunk| (chunk, reading)))
    });
    Ok(chunks.inspect_err(move |err| report_cut(&inner, &key, err)).boxed())
}

/// A reading that is not checked.
struct Reading {
    source: Arc<dyn Source>,
    /// What has not been asked for yet.
    rest: Range<u64>,
    /// Chunks on their way, in order.
    ahead: VecDeque<JoinHandle<io::Result<Bytes>>>,
    /// How many more chunks are read ahead.
    credit: usize,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.rest.is_empty() && self.ahead.is_empty() {
            return Ok(None);
        }
        if self.ahead.is_empty() {
            let mut buffer = Buffer::take(self.rest.end - self.rest.start);
            let found = self.source.read_cached(buffer.space(), self.rest.start);
            if found > 0 {
                self.rest.start += found as u64;
                return Ok(Some(buffer.filled(found)));
            }
            self.credit = READ_AHEAD_CHUNKS;
        }
        while self.ahead.len() < READ_AHEAD_AT_ONCE && self.credit > 0 && !self.rest.is_empty() {
            let chunk = self.rest.start..self.rest.end.min(self.rest.start + CHUNK_BYTES);
            self.rest.start = chunk.end;
            self.credit -= 1;
            let source = self.source.clone();
            self.ahead.push_back(tokio::task::spawn_blocking(move || read(&*source, chunk)));
        }
        match self.ahead.pop_front() {
            Some(task) => join(task).await.map(Some),
            None => Ok(None),
        }
    }
}

pub(crate) async fn whole(inner: &Arc<Inner>, key: &Key, limit: usize) -> Result<Bytes, ReadError> {
    let source = open(inner, key).await?;
    let size = source.size();
    match usize::try_from(size) {
        Ok(length) if length <= limit => match source {
            Opened::Local(source) => {
                let read = move || {
                    let mut all = vec![0; length];
                    source.read_at(&mut all, 0)?;
                    Ok::<_, io::Error>(all.into())
                };
                Ok(blocking(read).await??)
            }
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

/// A chunk of [`CHUNK_BYTES`] at most.
fn read(source: &dyn Source, chunk: Range<u64>) -> io::Result<Bytes> {
    let mut buffer = Buffer::take(chunk.end - chunk.start);
    let space = buffer.space();
    let length = space.len();
    source.read_at(space, chunk.start)?;
    Ok(buffer.filled(length))
}

async fn join<T>(task: JoinHandle<io::Result<T>>) -> io::Result<T> {
    task.await.map_err(io::Error::other)?
}
