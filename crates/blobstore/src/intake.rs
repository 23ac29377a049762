//! Takes a body in: pieces as the network brings them, gathered to buffers, up to a limit.

use std::fmt::Display;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

/// Bytes gathered before they are handed on. Network chunks are far smaller, and a wake-up for each of them
/// costs more than copying them together.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;

/// A body that is being received.
pub(crate) struct Intake<'a, S> {
    body: &'a mut S,
    /// Bytes that may still come.
    room: u64,
    /// What has come and is not gathered yet.
    piece: Bytes,
    gathered: BytesMut,
    over: bool,
    received: Received,
}

/// How a body ended.
#[derive(Default)]
pub(crate) struct Received {
    /// Why it broke off, if it did.
    pub interrupted: Option<String>,
    /// It was longer than the limit. The rest was not taken.
    pub over_limit: bool,
}

impl<'a, S, E> Intake<'a, S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Display,
{
    pub(crate) fn new(body: &'a mut S, length_max: Option<u64>) -> Self {
        Self {
            body,
            room: length_max.unwrap_or(u64::MAX),
            piece: Bytes::new(),
            gathered: BytesMut::new(),
            over: false,
            received: Received::default(),
        }
    }

    /// A full buffer, and at the end what is left; `None` when that was all. Given up half-way it loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            while !self.piece.is_empty() {
                if self.gathered.capacity() == 0 {
                    self.gathered.reserve(BUFFER_BYTES);
                }
                let fits = (BUFFER_BYTES - self.gathered.len()).min(self.piece.len());
                self.gathered.extend_from_slice(&self.piece.split_to(fits));
                if self.gathered.len() == BUFFER_BYTES {
                    return Some(std::mem::take(&mut self.gathered).freeze());
                }
            }
            if self.over {
                let rest = std::mem::take(&mut self.gathered);
                return (!rest.is_empty()).then(|| rest.freeze());
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.admit(piece),
                Some(Err(err)) => {
                    self.received.interrupted = Some(err.to_string());
                    self.over = true;
                }
                None => self.over = true,
            }
        }
    }

    fn admit(&mut self, mut piece: Bytes) {
        if piece.len() as u64 > self.room {
            self.received.over_limit = true;
            self.over = true;
            piece.truncate(self.room as usize);
        }
        self.room -= piece.len() as u64;
        self.piece = piece;
    }

    /// After the last buffer.
    pub(crate) fn ended(self) -> Received {
        self.received
    }
}
