//! Bodies on their way through. Nothing is collected: a frame is asked for only when the other side has room.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use serve::Observation;
use tokio::time::{Instant, Sleep};

use crate::pool::Connection;
use crate::upstream::Visit;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// When something last moved between gateway and upstream, for one request.
pub(crate) struct Progress {
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), last: AtomicU64::new(0) })
    }

    pub(crate) fn moved(&self) {
        self.last.store(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// The moment at which nothing has moved for `patience`, as it looks now.
    pub(crate) fn ends(&self, patience: Duration) -> Instant {
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed)) + patience
    }
}

/// The body of a request to an upstream.
pub(crate) enum Outgoing {
    Nothing,
    Client { body: Incoming, progress: Arc<Progress> },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self::Client { body, progress } = &mut *self else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if polled.is_ready() {
            progress.moved();
        }
        without_trailers(polled)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Client { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Client { body, .. } => body.size_hint(),
        }
    }
}

/// Trailers belong to one hop, and nobody behind reads them: they end the body.
fn without_trailers<E>(
    polled: Poll<Option<Result<Frame<Bytes>, E>>>,
) -> Poll<Option<Result<Frame<Bytes>, E>>> {
    match polled {
        Poll::Ready(Some(Ok(frame))) if !frame.is_data() => Poll::Ready(None),
        other => other,
    }
}

/// The body of an answer to a client; writes the record of its request when it ends, however it ends.
pub(crate) struct Answer {
    from: From,
    record: Option<Record>,
    bytes: u64,
    complete: bool,
}

enum From {
    Gateway(Option<Bytes>),
    Upstream(Box<Passing>),
}

/// What is written about the request in the end.
pub(crate) struct Record {
    pub observation: Observation,
    pub status: u16,
    pub is_head: bool,
}

/// An answer on its way from an upstream.
pub(crate) struct Passing {
    pub body: Incoming,
    pub visit: Visit,
    /// Goes back to the pool when the answer is over.
    pub connection: Option<Connection>,
    pub progress: Arc<Progress>,
    pub patience: Duration,
    /// Nothing came when it was asked for last.
    pub waits: bool,
    pub timer: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    pub(crate) fn of_gateway(text: Bytes, record: Record) -> Self {
        let complete = record.is_head || text.is_empty();
        let from = From::Gateway((!text.is_empty()).then_some(text));
        Self { from, record: Some(record), bytes: 0, complete }
    }

    pub(crate) fn of_upstream(passing: Passing, record: Record) -> Self {
        Self { from: From::Upstream(Box::new(passing)), record: Some(record), bytes: 0, complete: false }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = match &mut self.from {
            From::Gateway(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            From::Upstream(passing) => passing.poll(context),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                if self.is_end_stream() {
                    self.complete = true;
                }
            }
            Poll::Ready(None) => {
                self.complete = true;
                if let From::Upstream(passing) = &mut self.from {
                    passing.give_back();
                }
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(%error, "the answer of an upstream broke off: {error}");
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Gateway(text) => text.is_none(),
            From::Upstream(passing) => passing.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Gateway(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            From::Upstream(passing) => passing.body.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let From::Upstream(passing) = &mut self.from
            && passing.body.is_end_stream()
        {
            self.complete = true;
            passing.give_back();
        }
        if let Some(Record { observation, status, .. }) = self.record.take() {
            observation.record(status, "forwarded".to_owned(), self.bytes, self.complete);
        }
    }
}

impl Passing {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.waits = false;
            return without_trailers(polled).map_err(Into::into);
        }
        if !self.waits {
            // A new wait begins; time in which the client kept us waiting is not the upstream's.
            self.waits = true;
            self.progress.moved();
        }
        let (progress, patience) = (&self.progress, self.patience);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        while timer.as_mut().poll(context).is_ready() {
            // An upload that goes on while its answer has begun counts as well.
            let end = progress.ends(patience);
            if Instant::now() >= end {
                return Poll::Ready(Some(Err("the upstream fell silent".into())));
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// Back to the pool, as soon as the connection has noticed that its request is over. A request body that the
    /// upstream did not want is not over: that connection ends with it.
    fn give_back(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let upstream = self.visit.upstream.clone();
        if connection.is_ready() {
            upstream.pool.put(connection);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if connection.ready().await.is_ok() {
                    upstream.pool.put(connection);
                }
            });
        }
    }
}
