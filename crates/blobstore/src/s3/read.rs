//! Reading an object: pieces are fetched ahead by a task of their own, which waits when the reader is slow.
//!
//! Invariant: a reader gets every byte of the range once, in order, or an error. A connection that breaks is
//! replaced by a request for the rest.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::client::{Client, absent, fault};
use crate::ByteStream;

/// Bytes handed on at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces waiting for the reader. With the one being filled and the one being sent a stream holds 1 MiB.
const PIECES_AHEAD: usize = 2;

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(15);

/// How often a stream is taken up again without having got on by [`PROGRESS_BYTES`] in between.
const RESUMES_MAX: u32 = 4;
const PROGRESS_BYTES: u64 = 1024 * 1024;
const RESUME_PAUSE: Duration = Duration::from_millis(100);

/// Streams `range` of the object `name`, which is not empty.
pub(super) fn stream(client: Arc<Client>, name: String, range: Range<u64>) -> ByteStream {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let mut fetch = Fetch { client, name, at: range.start, end: range.end, sender };
        if let Err(End::Fault(err)) = fetch.run().await {
            // Nobody may be listening any more.
            let _ = fetch.sender.send(Err(err)).await;
        }
    });
    stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) },
    )
    .boxed()
}

struct Fetch {
    client: Arc<Client>,
    name: String,
    at: u64,
    end: u64,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

/// Why fetching ended early.
enum End {
    /// The reader is gone.
    Reader,
    /// The connection broke; another may do better.
    Broken(io::Error),
    /// Asking again was tried already, or is of no use.
    Fault(io::Error),
}

impl Fetch {
    async fn run(&mut self) -> Result<(), End> {
        let (mut resumes, mut mark) = (0, self.at);
        while self.at < self.end {
            let broken = match self.once().await {
                Ok(()) if self.at == self.end => return Ok(()),
                Ok(()) => {
                    io::Error::new(io::ErrorKind::ConnectionReset, "the S3 service sent less than asked")
                }
                Err(End::Broken(err)) => err,
                Err(other) => return Err(other),
            };
            if self.at - mark >= PROGRESS_BYTES {
                (resumes, mark) = (0, self.at);
            }
            resumes += 1;
            if resumes > RESUMES_MAX {
                return Err(End::Fault(broken));
            }
            metrics::counter!("hythe_storage_resumed_reads_total").increment(1);
            tracing::debug!(error = %broken, at = self.at, "a read from the S3 service is taken up again");
            tokio::time::sleep(RESUME_PAUSE * resumes).await;
        }
        Ok(())
    }

    /// One request, until it ends or breaks. What arrived is handed on in any case.
    async fn once(&mut self) -> Result<(), End> {
        let found = self.client.get(&self.name, self.at..self.end).await.map_err(End::Fault)?;
        let found = found.ok_or_else(|| End::Fault(absent()))?;
        let mut body = found.into_stream();
        let mut gathered = BytesMut::new();
        let ended = loop {
            match next(&mut body).await {
                Ok(Some(chunk)) => gathered.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(err) => break Err(err),
            }
            while gathered.len() >= PIECE_BYTES {
                let piece = gathered.split_to(PIECE_BYTES);
                self.hand_on(piece.freeze()).await?;
            }
        };
        if !gathered.is_empty() {
            self.hand_on(gathered.freeze()).await?;
        }
        ended.map_err(End::Broken)
    }

    async fn hand_on(&mut self, mut piece: Bytes) -> Result<(), End> {
        // A service that sends more than was asked for must not shift what comes after.
        piece.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        self.at += piece.len() as u64;
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.send(Ok(piece)).await.map_err(|_| End::Reader)
    }
}

async fn next(body: &mut BoxStream<'static, object_store::Result<Bytes>>) -> io::Result<Option<Bytes>> {
    match tokio::time::timeout(SILENCE, body.next()).await {
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(err))) => Err(fault(err)),
        Ok(None) => Ok(None),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the S3 service stopped sending")),
    }
}
