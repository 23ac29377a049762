//! Writing to an upload: whole parts go to the service as they fill up, and what is left at the end of a request
//! is kept as an object of its own, so that any process can go on.
//!
//! ```text
//! b/<2 hex>/<32 hex>          what was published, or an upload that is still smaller than a part: then the
//!                             object becomes the content without being written again
//! uploads/<uuid>/<32 hex>     the bytes after the last whole part
//! ```
//!
//! Invariant: a state that was handed out describes bytes the service has acknowledged. Nothing it names is
//! removed before a later state has been handed back, which proves that the later one was recorded.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use oci::{Algorithm, Digest};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::{Client, absent, is_absent};
use super::read;
use super::spool::Spool;
use crate::intake::{Intake, Received};
use crate::state::{Hasher, Kept, Tail};
use crate::{AppendError, Appended, Error, Key, UploadState, blocking, observe};

/// Parts of one upload on their way at once. All uploads share the memory for parts.
const PARTS_AT_ONCE: usize = 4;

/// Parts grow twofold after so many, because an upload has at most 10 000.
const PARTS_PER_SIZE: usize = 2500;
const PARTS_MAX: usize = 10_000;
const PART_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Uploads that somebody in this process writes to. Other processes are kept away by the caller.
static CLAIMED: LazyLock<Mutex<HashSet<Uuid>>> = LazyLock::new(Mutex::default);

/// The right to one upload, within this process.
struct Claim(Uuid);

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// The exclusive right to write to one upload.
pub(crate) struct Upload {
    client: Arc<Client>,
    claim: Arc<Claim>,
    part_bytes: u64,
    /// The bytes after the last whole part of `settled`, or of the state an append has come to.
    spool: Spool,
    /// The tail of the state at hand is in the spool.
    loaded: bool,
    /// What is certainly there.
    settled: Option<UploadState>,
    /// An append was dropped half-way.
    torn: bool,
    /// What the state at hand calls stale has been removed.
    stale_gone: bool,
    /// What this writer has made. The caller may not have recorded the state that names it.
    made: Made,
    /// Parts on their way, by position.
    parts: JoinSet<io::Result<(usize, String)>>,
}

#[derive(Clone, Default)]
struct Made {
    tails: Vec<String>,
    uploads: Vec<(Key, String)>,
}

impl Made {
    async fn remove(self, client: &Client) {
        remove(client, &self.tails).await;
        for (key, upload) in self.uploads {
            if let Err(err) = client.abort(&key, &upload).await {
                tracing::warn!(key = key.as_str(), error = %err, "parts of an upload that nobody knows are left");
            }
        }
    }
}

impl Upload {
    /// `None` while another has the claim.
    pub(super) fn claim(client: Arc<Client>, part_bytes: u64, id: Uuid) -> Option<Self> {
        if !CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            return None;
        }
        Some(Self {
            client,
            claim: Arc::new(Claim(id)),
            part_bytes,
            spool: Spool::default(),
            loaded: false,
            settled: None,
            torn: false,
            stale_gone: false,
            made: Made::default(),
            parts: JoinSet::new(),
        })
    }

    pub(crate) async fn append<S, E>(
        &mut self,
        state: UploadState,
        mut body: S,
        length_max: Option<u64>,
    ) -> Result<Appended, AppendError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let started = Instant::now();
        self.settle(&state).await?;
        // A state that comes back was recorded; from here on, only what is new may be nobody's.
        self.made = Made::default();
        self.settled = None;
        self.torn = true;
        let mut run = Run::new(state.clone(), self.stale_gone);
        let received = self.receive(&mut run, &mut body, length_max).await;
        let kept = match received {
            Ok(received) => self.keep(&mut run).await.map(|()| received),
            Err(err) => Err(err),
        };
        self.parts.shutdown().await;
        self.torn = false;
        let received = match kept {
            Ok(received) => received,
            Err(err) => {
                self.loaded = false;
                self.remove_made(&state).await;
                return Err(lost_or(err));
            }
        };
        self.settled = Some(run.state.clone());
        self.stale_gone = false;
        observe("s3", "append", started);
        Ok(Appended {
            received: run.state.offset - state.offset,
            state: run.state,
            interrupted: received.interrupted,
            over_limit: received.over_limit,
        })
    }

    pub(crate) async fn digest(
        &mut self,
        state: &UploadState,
        algorithm: Algorithm,
    ) -> Result<Digest, AppendError> {
        let started = Instant::now();
        self.settle(state).await?;
        let digest = match state.digest(algorithm) {
            Some(digest) => digest,
            None => self.reread(state, algorithm).await.map_err(lost_or)?,
        };
        observe("s3", "digest", started);
        Ok(digest)
    }

    pub(crate) async fn rewind(&mut self, to: &UploadState) -> Result<(), AppendError> {
        self.settle(to).await
    }

    pub(crate) async fn publish(&mut self) -> Result<Key, Error> {
        let started = Instant::now();
        let unsettled =
            || io::Error::new(io::ErrorKind::InvalidInput, "the size of the upload is not settled");
        let state = self.settled.take().ok_or_else(unsettled)?;
        let (sender, receiver) = oneshot::channel();
        let mut outcome = Outcome { receiver, client: self.client.clone() };
        let (client, claim) = (self.client.clone(), self.claim.clone());
        // The spool goes along: after a failure the tail is fetched again.
        let spool = self.loaded.then(|| std::mem::take(&mut self.spool));
        self.loaded = false;
        let made = std::mem::take(&mut self.made);
        tokio::spawn(async move {
            let published = publish(&client, &state, spool).await;
            drop(claim);
            let leftovers = published.as_ref().ok().map(|key| leftovers(&state, made, key));
            if let Err(Ok(key)) = sender.send(published) {
                remove(&client, &[key.as_str().to_owned()]).await;
            }
            if let Some(names) = leftovers {
                remove(&client, &names).await;
            }
        });
        let key = (&mut outcome.receiver).await.map_err(io::Error::other)??;
        observe("s3", "publish", started);
        Ok(key)
    }

    /// Brings the upload to exactly this state, or finds that its bytes are gone.
    async fn settle(&mut self, state: &UploadState) -> Result<(), AppendError> {
        if self.torn {
            return Err(AppendError::Io(io::Error::other(
                "an append through this writer was dropped half-way",
            )));
        }
        if self.settled.as_ref().is_some_and(|settled| settled.same_bytes(state)) {
            return Ok(());
        }
        self.settled = None;
        self.loaded = false;
        self.spool.clear();
        let kept = match &state.kept {
            Some(kept) => kept,
            None if state.offset == 0 => {
                self.loaded = true;
                self.remove_made(state).await;
                self.settled = Some(state.clone());
                return Ok(());
            }
            None => return Err(AppendError::Lost),
        };
        match &kept.tail {
            Some(tail) => {
                let found = self.client.head(&tail.name).await?;
                if found.is_none_or(|found| found.size != tail.bytes)
                    && !joined(&self.client, kept, state.offset).await?
                {
                    return Err(AppendError::Lost);
                }
            }
            None => self.loaded = true,
        }
        self.remove_made(state).await;
        // The state was recorded, so nobody goes back behind it.
        self.stale_gone = remove(&self.client, &kept.stale).await;
        self.settled = Some(state.clone());
        Ok(())
    }

    /// Brings the tail into the spool.
    async fn load(&mut self, state: &UploadState) -> io::Result<()> {
        if self.loaded {
            return Ok(());
        }
        self.spool.clear();
        if let Some(tail) = state.kept.as_ref().and_then(|kept| kept.tail.as_ref()) {
            let room = self.client.buffer(tail.bytes).await?;
            let bytes = fetch(&self.client, tail).await?;
            self.spool.restore(bytes).await?;
            drop(room);
        }
        self.loaded = true;
        Ok(())
    }

    /// Reads the body to its end, its limit or its failure. Fails only when storing does.
    async fn receive<S, E>(
        &mut self,
        run: &mut Run,
        body: &mut S,
        length_max: Option<u64>,
    ) -> io::Result<Received>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let mut intake = Intake::new(body, length_max);
        loop {
            tokio::select! {
                buffer = intake.next() => match buffer {
                    Some(buffer) => self.take(run, buffer).await?,
                    None => return Ok(intake.ended()),
                },
                // A fault of the service is noticed although the client is silent.
                Some(part) = self.parts.join_next(), if !self.parts.is_empty() => {
                    run.stored(part.map_err(io::Error::other)??);
                }
            }
        }
    }

    /// Writes and hashes bytes, and sends the parts that they fill.
    async fn take(&mut self, run: &mut Run, mut bytes: Bytes) -> io::Result<()> {
        self.load(&run.state).await?;
        while !bytes.is_empty() {
            let part_bytes = self.part_bytes(run.tags.len());
            let room = part_bytes.saturating_sub(self.spool.length()) as usize;
            let piece = bytes.split_to(room.min(bytes.len()));
            let length = piece.len() as u64;
            let hasher = std::mem::replace(&mut run.state.hasher, Hasher::new(Algorithm::Sha256));
            run.state.hasher = self.spool.add(piece, hasher).await?;
            run.state.offset += length;
            if self.spool.length() >= part_bytes {
                self.send_part(run).await?;
            }
        }
        Ok(())
    }

    fn part_bytes(&self, index: usize) -> u64 {
        (self.part_bytes << (index / PARTS_PER_SIZE).min(2)).min(PART_BYTES_MAX)
    }

    async fn send_part(&mut self, run: &mut Run) -> io::Result<()> {
        let index = run.tags.len();
        if index >= PARTS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the blob has more parts than S3 allows; raise storage.s3.part_mib",
            ));
        }
        let (key, upload) = match run.state.kept.as_ref().and_then(Kept::upload) {
            Some(begun) => begun,
            None => {
                let key = Key::random();
                let upload = self.client.begin(&key).await?;
                self.made.uploads.push((key.clone(), upload.clone()));
                let stale = run.state.kept.take().map(Kept::names).unwrap_or_default();
                run.state.kept = Some(Kept::in_parts(&key, &upload, stale));
                (key, upload)
            }
        };
        while self.parts.len() >= PARTS_AT_ONCE {
            if let Some(part) = self.parts.join_next().await {
                run.stored(part.map_err(io::Error::other)??);
            }
        }
        let room = self.client.buffer(self.spool.length()).await?;
        let bytes = self.spool.read().await?;
        self.spool.clear();
        run.tags.push(None);
        let client = self.client.clone();
        self.parts.spawn(async move {
            let tag = client.put_part(&key, &upload, index, bytes).await?;
            drop(room);
            Ok((index, tag))
        });
        Ok(())
    }

    /// Makes everything outlive this process, and the state say where it is.
    async fn keep(&mut self, run: &mut Run) -> io::Result<()> {
        while let Some(part) = self.parts.join_next().await {
            run.stored(part.map_err(io::Error::other)??);
        }
        if run.state.offset == run.began_at {
            return Ok(());
        }
        let tags: Option<Vec<String>> = run.tags.iter().cloned().collect();
        let tags = tags.ok_or_else(|| io::Error::other("a part got lost on its way"))?;
        let mut kept = run.state.kept.take().unwrap_or_default();
        // What the state before named besides its parts is not needed any more, once the new one is recorded.
        kept.stale.extend(kept.tail.take().map(|tail| tail.name));
        kept.tags = tags;
        if self.spool.length() > 0 {
            let name = if kept.upload().is_some() {
                format!("uploads/{}/{:032x}", self.claim.0, rand::random::<u128>())
            } else {
                Key::random().as_str().to_owned()
            };
            let room = self.client.buffer(self.spool.length()).await?;
            self.made.tails.push(name.clone());
            self.client.put(&name, self.spool.read().await?).await?;
            drop(room);
            kept.tail = Some(Tail { name, bytes: self.spool.length() });
        }
        run.state.kept = Some(kept);
        Ok(())
    }

    /// Removes what this writer made and `state` does not name.
    async fn remove_made(&mut self, state: &UploadState) {
        let mut made = std::mem::take(&mut self.made);
        if let Some(kept) = &state.kept {
            made.tails.retain(|name| kept.tail.as_ref().is_none_or(|tail| tail.name != *name));
            let begun = kept.upload().map(|(_, upload)| upload);
            made.uploads.retain(|(_, upload)| begun.as_ref() != Some(upload));
        }
        made.remove(&self.client).await;
    }

    /// Hashes the bytes anew. Those in parts can only be read once they are joined.
    async fn reread(&mut self, state: &UploadState, algorithm: Algorithm) -> io::Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        if state.offset > 0 {
            let spool = self.loaded.then(|| std::mem::take(&mut self.spool));
            self.loaded = false;
            let key = publish(&self.client, state, spool).await?;
            let mut bytes = read::stream(self.client.clone(), key.as_str().to_owned(), 0..state.offset);
            while let Some(piece) = bytes.next().await {
                let piece = piece?;
                hasher = blocking(move || {
                    hasher.update(&piece);
                    hasher
                })
                .await?;
            }
        }
        Ok(hasher.finish())
    }
}

impl Drop for Upload {
    /// Nobody has been told of what a dropped append made.
    fn drop(&mut self) {
        let made = std::mem::take(&mut self.made);
        if !self.torn || (made.tails.is_empty() && made.uploads.is_empty()) {
            return;
        }
        let (client, claim) = (self.client.clone(), self.claim.clone());
        let mut parts = std::mem::take(&mut self.parts);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                parts.shutdown().await;
                made.remove(&client).await;
                drop(claim);
            });
        }
    }
}

/// An append under way: the state it has come to, and the tags of its parts as far as they are known.
struct Run {
    state: UploadState,
    tags: Vec<Option<String>>,
    began_at: u64,
}

impl Run {
    fn new(mut state: UploadState, stale_gone: bool) -> Self {
        let mut tags = Vec::new();
        if let Some(kept) = &mut state.kept {
            tags = kept.tags.iter().cloned().map(Some).collect();
            if stale_gone {
                kept.stale.clear();
            }
        }
        Self { began_at: state.offset, state, tags }
    }

    fn stored(&mut self, (index, tag): (usize, String)) {
        if let Some(slot) = self.tags.get_mut(index) {
            *slot = Some(tag);
        }
    }
}

/// The outcome of a publication, for as long as somebody waits for it. Given up on after the bytes were
/// published and before the key was taken, it removes them.
struct Outcome {
    receiver: oneshot::Receiver<io::Result<Key>>,
    client: Arc<Client>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ok(key)) = self.receiver.try_recv()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let client = self.client.clone();
            runtime.spawn(async move { remove(&client, &[key.as_str().to_owned()]).await });
        }
    }
}

/// Makes the bytes of a state one object under its final key. May be called again after it has succeeded.
async fn publish(client: &Arc<Client>, state: &UploadState, spool: Option<Spool>) -> io::Result<Key> {
    let Some(kept) = &state.kept else {
        let key = Key::random();
        client.put(key.as_str(), Bytes::new()).await?;
        return Ok(key);
    };
    if let Some((key, upload)) = kept.upload() {
        return match join(client, kept, &key, &upload, state.offset, spool).await {
            Ok(()) => Ok(key),
            // It may have been joined before, by a process that did not live to say so. Services that do not know an
            // upload say either.
            Err(err) if is_absent(&err) || err.kind() == io::ErrorKind::PermissionDenied => {
                if joined(client, kept, state.offset).await? { Ok(key) } else { Err(err) }
            }
            Err(err) => Err(err),
        };
    }
    let tail = kept.tail.as_ref().ok_or_else(absent)?;
    match client.head(&tail.name).await? {
        Some(found) if found.size == state.offset => Ok(Key::from_stored(tail.name.clone())),
        _ => Err(absent()),
    }
}

async fn join(
    client: &Arc<Client>,
    kept: &Kept,
    key: &Key,
    upload: &str,
    size: u64,
    spool: Option<Spool>,
) -> io::Result<()> {
    let mut tags = kept.tags.clone();
    if let Some(tail) = &kept.tail {
        let room = client.buffer(tail.bytes).await?;
        let bytes = match spool {
            Some(spool) => spool.read().await?,
            None => fetch(client, tail).await?,
        };
        tags.push(client.put_part(key, upload, tags.len(), bytes).await?);
        drop(room);
    }
    client.join(key, upload, &tags, size).await
}

/// Whether a process that did not live to say so has joined the parts already.
async fn joined(client: &Client, kept: &Kept, size: u64) -> io::Result<bool> {
    let Some((key, _)) = kept.upload() else { return Ok(false) };
    Ok(client.head_key(&key).await?.is_some_and(|found| found.size == size))
}

/// The bytes of a tail, which is smaller than a part.
async fn fetch(client: &Arc<Client>, tail: &Tail) -> io::Result<Bytes> {
    let mut all = BytesMut::with_capacity(tail.bytes as usize);
    let mut pieces = read::stream(client.clone(), tail.name.clone(), 0..tail.bytes);
    while let Some(piece) = pieces.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.freeze())
}

/// What is of no use once `key` is published.
fn leftovers(state: &UploadState, made: Made, key: &Key) -> Vec<String> {
    let mut names = state.kept.clone().map(Kept::names).unwrap_or_default();
    names.extend(made.tails);
    names.retain(|name| name != key.as_str());
    names
}

/// Removes objects that nobody refers to; whether that worked.
pub(super) async fn remove(client: &Client, names: &[String]) -> bool {
    if names.is_empty() {
        return true;
    }
    let removed = client.delete(names).await;
    if let Err(err) = &removed {
        tracing::warn!(objects = names.len(), error = %err, "bytes that nobody refers to are left");
    }
    removed.is_ok()
}

/// Parts and tails that the bucket does not have any more are lost; everything else may pass.
fn lost_or(err: io::Error) -> AppendError {
    if is_absent(&err) { AppendError::Lost } else { err.into() }
}
