//! Reading: chunks are read ahead beside the event loop while the present one is sent.
//!
//! Invariant: of a whole reading that is being checked, the last chunk is handed out only after the digest of
//! everything was found right. A receiver that counts bytes therefore never completes damaged content.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use oci::Digest;
use tokio::task::JoinHandle;

use crate::driver::Source;
use crate::state::Hasher;
use crate::{Inner, Key, ReadError, blocking};

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
    if whole && inner.verify_reads && !inner.verified.contains_key(&(key.clone(), source.version())) {
        let check = Check { inner: inner.clone(), source, key: key.clone(), digest: digest.clone(), size };
        return Ok(check.stream());
    }
    let (inner, key) = (inner.clone(), key.clone());
    let chunks = stream::iter(chunks(range)).map(move |chunk| join(read_ahead(source.clone(), chunk)));
    // Mapping starts the reading, and two are mapped before the first is awaited.
    Ok(chunks.buffered(2).inspect_err(move |err| report_cut(&inner, &key, err)).boxed())
}

pub(crate) async fn whole(inner: &Arc<Inner>, key: &Key, limit: usize) -> Result<Bytes, ReadError> {
    let source = open(inner, key).await?;
    let size = source.size();
    match usize::try_from(size) {
        Ok(length) if length <= limit => Ok(blocking(move || read(&*source, 0..size)).await??),
        _ => Err(ReadError::SizeMismatch { found: size }),
    }
}

async fn open(inner: &Arc<Inner>, key: &Key) -> Result<Arc<dyn Source>, ReadError> {
    let started = Instant::now();
    let opened = blocking({
        let (driver, key) = (inner.driver.clone(), key.clone());
        move || driver.open(&key)
    });
    let source = opened.await??.ok_or(ReadError::Missing)?;
    inner.observe("open", started);
    Ok(source)
}

/// A whole reading with its check.
struct Check {
    inner: Arc<Inner>,
    source: Arc<dyn Source>,
    key: Key,
    digest: Digest,
    size: u64,
}

/// A chunk that is being read, and the hash of everything up to its end.
type Hashing = JoinHandle<io::Result<(Bytes, Hasher)>>;

impl Check {
    /// One chunk is read and hashed ahead. So when the last one arrives here, the digest is known.
    fn stream(self) -> ByteStream {
        let mut rest = chunks(0..self.size);
        let first = self.hash_next(Hasher::new(self.digest.algorithm()), rest.next().unwrap_or(0..0));
        stream::try_unfold((self, rest, Some(first)), |(check, mut rest, ahead)| async move {
            let Some(ahead) = ahead else { return Ok(None) };
            let (bytes, hasher) =
                join(ahead).await.inspect_err(|err| report_cut(&check.inner, &check.key, err))?;
            let ahead = match rest.next() {
                Some(chunk) => Some(check.hash_next(hasher, chunk)),
                None => {
                    check.conclude(&hasher.finish())?;
                    None
                }
            };
            Ok(Some((bytes, (check, rest, ahead))))
        })
        .boxed()
    }

    fn hash_next(&self, mut hasher: Hasher, chunk: Range<u64>) -> Hashing {
        let source = self.source.clone();
        tokio::task::spawn_blocking(move || {
            let bytes = read(&*source, chunk)?;
            hasher.update(&bytes);
            Ok((bytes, hasher))
        })
    }

    fn conclude(&self, actual: &Digest) -> io::Result<()> {
        if *actual == self.digest {
            self.inner.verified.insert((self.key.clone(), self.source.version()), ());
            return Ok(());
        }
        self.inner.report_damage(&self.key, "its digest is not the recorded one");
        Err(io::Error::new(io::ErrorKind::InvalidData, "the stored content is damaged"))
    }
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
