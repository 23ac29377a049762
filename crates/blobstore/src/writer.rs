//! Writing to an upload: receiving, hashing and storing run side by side, with bounded memory.
//!
//! Incoming chunks are gathered to buffers, which pass through a short queue to a task that hashes and writes
//! them on a blocking thread. The task ends when the queue is empty and is started again by the next buffer,
//! so a client that sends slowly holds no thread while nothing arrives.
//!
//! Invariant: the state that comes out of `append` counts exactly the bytes that were handed to the driver
//! without an error. An append that fails, or is dropped half-way, has not changed anything that counts: the
//! next use of the upload cuts off what lies beyond the offset of its state.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use oci::{Algorithm, Digest};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};

use crate::driver::{Driver, Staging};
use crate::intake::{BUFFER_BYTES, Intake, Received};
use crate::s3::Upload;
use crate::state::Hasher;
use crate::{AppendError, Error, Key, UploadState, blocking, observe};

/// Buffers waiting to be written. With the one being filled and the one being written a transfer holds 1 MiB,
/// which keeps fifty of them well within 128 MiB.
const QUEUE_BUFFERS: usize = 2;

/// Bytes after which the disk is asked to begin with them, so that it is busy while the rest arrives and has little
/// left to do at the end. Also what a large push keeps of the disk's time from others at once.
const FLUSH_BYTES: u64 = 16 * 1024 * 1024;

/// The exclusive right to write to one upload. Dropping it gives the claim back and keeps the bytes.
pub struct Writer(Kind);

enum Kind {
    Local(Local),
    S3(Box<Upload>),
}

/// A writer to bytes behind calls that block for a short time.
struct Local {
    driver: Arc<dyn Driver>,
    staging: Arc<dyn Staging>,
    /// How many bytes there are, while that is certain.
    settled: Option<u64>,
    /// An append was dropped half-way, and its task may still be writing.
    torn: bool,
}

/// What an [`Writer::append`] took.
#[derive(Debug)]
pub struct Appended {
    /// The state to keep.
    pub state: UploadState,
    /// Bytes that were added.
    pub received: u64,
    /// Why the body ended early, if it did. What had arrived is kept.
    pub interrupted: Option<String>,
    /// The body was longer than allowed. The allowed part is kept; the rest was not read.
    pub over_limit: bool,
}

impl Writer {
    pub(crate) fn local(driver: Arc<dyn Driver>, staging: Arc<dyn Staging>) -> Self {
        Self(Kind::Local(Local { driver, staging, settled: None, torn: false }))
    }

    pub(crate) fn s3(upload: Upload) -> Self {
        Self(Kind::S3(Box::new(upload)))
    }

    /// Adds the body at `state.offset`, at most `length_max` bytes of it. Bytes beyond the offset, which an
    /// earlier request wrote without living to record them, are cut off first.
    ///
    /// A body that breaks off is not an error of this call: see [`Appended::interrupted`]. After an error the
    /// upload is as it was before, and `state` as the caller keeps it is still right.
    pub async fn append<S, E>(
        &mut self,
        state: UploadState,
        body: S,
        length_max: Option<u64>,
    ) -> Result<Appended, AppendError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        match &mut self.0 {
            Kind::Local(local) => local.append(state, body, length_max).await,
            Kind::S3(upload) => upload.append(state, body, length_max).await,
        }
    }

    /// The digest of the upload's bytes. Comes from the running hash, and from reading the bytes again when
    /// that hash is of another algorithm or may count bytes that a power cut took.
    pub async fn digest(&mut self, state: &UploadState, algorithm: Algorithm) -> Result<Digest, AppendError> {
        match &mut self.0 {
            Kind::Local(local) => local.digest(state, algorithm).await,
            Kind::S3(upload) => upload.digest(state, algorithm).await,
        }
    }

    /// Takes the upload back to an earlier state, whose bytes are all still there. Also for a state that could
    /// not be recorded: what was stored for it is removed.
    pub async fn rewind(&mut self, to: &UploadState) -> Result<(), AppendError> {
        match &mut self.0 {
            Kind::Local(local) => local.settle(to.offset).await,
            Kind::S3(upload) => upload.rewind(to).await,
        }
    }

    /// Makes the bytes durable under a key that was never used before, and ends the upload. To be preceded by
    /// [`Writer::digest`] (or an append or rewind): what is published is what those left.
    ///
    /// After an error nothing is published. The upload goes on if space was missing; after a failed fsync its
    /// bytes are gone. If the caller gives up waiting, the bytes are removed again.
    ///
    /// Keep the writer until whatever names the key is recorded: others wait for it, and would find an upload
    /// without bytes.
    pub async fn publish(&mut self) -> Result<Key, Error> {
        match &mut self.0 {
            Kind::Local(local) => local.publish().await,
            Kind::S3(upload) => upload.publish().await,
        }
    }
}

impl Local {
    async fn append<S, E>(
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
        let offset = state.offset;
        self.settle(offset).await?;
        self.settled = None;
        self.torn = true;
        let mut pump = Pump::new(Sink::new(self.staging.clone(), state));
        let received = pump.receive(&mut body, length_max).await;
        let finished = match received {
            Ok(received) => pump.finish().await.map(|state| (received, state)),
            Err(err) => Err(err),
        };
        // Every task of the pump has ended: an error is only ever reported by the last one.
        self.torn = false;
        let (received, state) = match finished {
            Ok(done) => done,
            Err(err) => {
                // Gives the space back at once. If that fails too, the next use cuts it off.
                if let Err(err) = self.settle(offset).await {
                    tracing::warn!(error = %err, "could not cut off bytes that were not accepted");
                }
                return Err(err.into());
            }
        };
        self.settled = Some(state.offset);
        observe(self.driver.name(), "append", started);
        Ok(Appended {
            received: state.offset - offset,
            state,
            interrupted: received.interrupted,
            over_limit: received.over_limit,
        })
    }

    async fn digest(&mut self, state: &UploadState, algorithm: Algorithm) -> Result<Digest, AppendError> {
        let started = Instant::now();
        self.settle(state.offset).await?;
        let digest = match state.digest(algorithm) {
            Some(digest) => digest,
            None => {
                let (staging, size) = (self.staging.clone(), state.offset);
                blocking(move || reread(&*staging, size, algorithm)).await??
            }
        };
        observe(self.driver.name(), "digest", started);
        Ok(digest)
    }

    async fn publish(&mut self) -> Result<Key, Error> {
        let started = Instant::now();
        let name = self.driver.name();
        let unsettled =
            || io::Error::new(io::ErrorKind::InvalidInput, "the size of the upload is not settled");
        let size = self.settled.ok_or_else(unsettled)?;
        self.settled = None;
        let (sender, receiver) = oneshot::channel();
        let mut outcome = Outcome { receiver, driver: self.driver.clone() };
        let (staging, driver) = (self.staging.clone(), self.driver.clone());
        tokio::task::spawn_blocking(move || {
            let published = publish(&*staging, size);
            // The claim is the writer's alone again before anybody hears of the outcome.
            drop(staging);
            if let Err(Ok(key)) = sender.send(published) {
                remove_untold(&*driver, &key);
            }
        });
        let key = (&mut outcome.receiver).await.map_err(io::Error::other)??;
        observe(name, "publish", started);
        Ok(key)
    }

    /// Brings the stored bytes to exactly `size`.
    async fn settle(&mut self, size: u64) -> Result<(), AppendError> {
        if self.torn {
            return Err(AppendError::Io(io::Error::other(
                "an append through this writer was dropped half-way",
            )));
        }
        if self.settled == Some(size) {
            return Ok(());
        }
        self.settled = None;
        let staging = self.staging.clone();
        let found = blocking(move || {
            let found = staging.size()?;
            if found > size {
                staging.truncate(size)?;
            }
            Ok::<_, io::Error>(found)
        });
        if found.await?? < size {
            return Err(AppendError::Lost);
        }
        self.settled = Some(size);
        Ok(())
    }
}

/// The outcome of a publication, for as long as somebody waits for it. Given up on after the bytes were
/// published and before the key was taken, it removes them.
struct Outcome {
    receiver: oneshot::Receiver<io::Result<Key>>,
    driver: Arc<dyn Driver>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ok(key)) = self.receiver.try_recv() {
            remove_untold(&*self.driver, &key);
        }
    }
}

fn remove_untold(driver: &dyn Driver, key: &Key) {
    if let Err(err) = driver.delete(key) {
        tracing::warn!(key = key.as_str(), error = %err, "bytes that nobody was told of are left");
    }
}

fn publish(staging: &dyn Staging, size: u64) -> io::Result<Key> {
    if staging.size()? != size {
        return Err(io::Error::other("the upload changed under its writer"));
    }
    let key = staging.key();
    staging.publish(&key)?;
    Ok(key)
}

fn reread(staging: &dyn Staging, size: u64, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut offset = 0;
    while offset < size {
        let length = (size - offset).min(BUFFER_BYTES as u64) as usize;
        staging.read_at(&mut buffer[..length], offset)?;
        hasher.update(&buffer[..length]);
        offset += length as u64;
    }
    Ok(hasher.finish())
}

/// Takes bytes in on one side and has them written on the other.
struct Pump {
    sender: mpsc::Sender<Bytes>,
    task: Task,
}

enum Task {
    /// Nothing to do, or not told yet.
    Idle(Box<Drain>),
    Running(JoinHandle<(Box<Drain>, io::Result<()>)>),
    /// Panicked, or being moved.
    Lost,
}

/// The far end of the queue.
struct Drain {
    sink: Sink,
    queue: mpsc::Receiver<Bytes>,
}

struct Sink {
    staging: Arc<dyn Staging>,
    state: UploadState,
    /// Where the bytes begin that no flush was begun for.
    unflushed: u64,
    flush: Option<JoinHandle<io::Result<()>>>,
}

impl Pump {
    fn new(sink: Sink) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_BUFFERS);
        Self { sender, task: Task::Idle(Box::new(Drain { sink, queue })) }
    }

    /// Reads the body to its end, its limit or its failure. Fails only when writing does.
    async fn receive<S, E>(&mut self, body: &mut S, length_max: Option<u64>) -> io::Result<Received>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let mut intake = Intake::new(body, length_max);
        loop {
            tokio::select! {
                buffer = intake.next() => match buffer {
                    Some(buffer) => self.send(buffer).await?,
                    None => return Ok(intake.ended()),
                },
                // An error of the disk is noticed although the client is silent.
                ended = self.task.ended(), if self.task.is_running() => self.collect(ended)?,
            }
        }
    }

    async fn send(&mut self, mut buffer: Bytes) -> io::Result<()> {
        loop {
            match self.sender.try_send(buffer) {
                Ok(()) => {
                    self.task.start();
                    return Ok(());
                }
                Err(mpsc::error::TrySendError::Full(back)) => buffer = back,
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    return Err(io::Error::other("the writing task is gone"));
                }
            }
            self.task.start();
            let ended = tokio::select! {
                room = self.sender.reserve() => {
                    drop(room);
                    None
                }
                ended = self.task.ended() => Some(ended),
            };
            if let Some(ended) = ended {
                self.collect(ended)?;
            }
        }
    }

    /// Waits until everything is written.
    async fn finish(mut self) -> io::Result<UploadState> {
        loop {
            match self.task {
                Task::Running(_) => {
                    let ended = self.task.ended().await;
                    self.collect(ended)?;
                }
                Task::Idle(drain) => return drain.sink.finish().await,
                Task::Lost => return Err(io::Error::other("the writing task is gone")),
            }
        }
    }

    /// Takes back what an ended task owned. It may have ended just before another buffer came.
    fn collect(&mut self, ended: Result<(Box<Drain>, io::Result<()>), JoinError>) -> io::Result<()> {
        self.task = Task::Lost;
        let (drain, done) = ended.map_err(io::Error::other)?;
        done?;
        let more = !drain.queue.is_empty();
        self.task = Task::Idle(drain);
        if more {
            self.task.start();
        }
        Ok(())
    }
}

impl Task {
    fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    fn start(&mut self) {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Idle(drain) => Self::Running(tokio::task::spawn_blocking(move || drain.run())),
            other => other,
        };
    }

    /// The end of a running task; never for one that is not running.
    async fn ended(&mut self) -> Result<(Box<Drain>, io::Result<()>), JoinError> {
        match self {
            Self::Running(task) => task.await,
            Self::Idle(_) | Self::Lost => std::future::pending().await,
        }
    }
}

impl Drain {
    fn run(mut self: Box<Self>) -> (Box<Self>, io::Result<()>) {
        while let Ok(buffer) = self.queue.try_recv() {
            if let Err(err) = self.sink.write(&buffer) {
                return (self, Err(err));
            }
        }
        (self, Ok(()))
    }
}

impl Sink {
    fn new(staging: Arc<dyn Staging>, state: UploadState) -> Self {
        Self { staging, unflushed: state.offset, state, flush: None }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.staging.write_at(bytes, self.state.offset)?;
        self.state.absorb(bytes);
        // One at a time: a disk that is behind gets more at once instead of more requests.
        if self.state.offset - self.unflushed >= FLUSH_BYTES
            && self.flush.as_ref().is_none_or(JoinHandle::is_finished)
        {
            let staging = self.staging.clone();
            let next = tokio::task::spawn_blocking(move || staging.flush());
            self.unflushed = self.state.offset;
            if let Some(ended) = self.flush.replace(next) {
                tokio::runtime::Handle::current().block_on(ended).map_err(io::Error::other)??;
            }
        }
        Ok(())
    }

    /// The state when everything is written. A flush must have ended before another can be trusted: each error is
    /// told to one of them only.
    async fn finish(self) -> io::Result<UploadState> {
        if let Some(flush) = self.flush {
            flush.await.map_err(io::Error::other)??;
        }
        Ok(self.state)
    }
}
