//! A client's connection, held to its limits below the HTTP library: no slow or ambiguous head, no body that
//! drips, no answer that is not taken.
//!
//! It stands between the socket and whichever library parses the request, knows only how messages are framed
//! and hands over whole heads that it has judged; bodies pass without a copy. What it refuses is answered here,
//! after the answers that are still due, and the connection is closed. It never looks at answers: how long an
//! idle connection is kept between two requests is the library's business, which knows when it has answered.
//!
//! Time counts against a client only while somebody reads or writes in vain: a slow service costs it nothing.

mod chunks;
mod head;
mod pace;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use self::chunks::Chunks;
use self::head::{Body, Fault};
use self::pace::{Pace, Rate};
use crate::admission::Place;
use crate::{Limits, RequestId, answer, mount};

/// Bytes asked of the socket while a head is awaited. Most heads fit.
const READ_BYTES: usize = 4 * 1024;
/// Bytes thrown away at a time, and altogether, of what a refused client goes on sending.
const DISCARD_BYTES: usize = 16 * 1024;
const DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A socket, or something encrypted on one.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Gives the connection up with whatever is still to be sent, when it is dropped next.
    fn abort(&self);
}

impl Transport for TcpStream {
    fn abort(&self) {
        // A socket that cannot be told is closed in the ordinary way.
        let _ = self.set_zero_linger();
    }
}

/// The numbers of [`Limits`] that concern one connection.
#[derive(Debug)]
pub struct Rules {
    head_bytes_max: usize,
    url_bytes_max: usize,
    head_timeout: Duration,
    rate: Rate,
    linger: Duration,
    linger_unread: bool,
}

impl Rules {
    /// `linger`: how long a client may go on sending what nobody reads, so that it gets to read the answer.
    /// `linger_unread`: do that as well for an ordinary answer to a body that was not read to its end, for
    /// libraries that do not see to it themselves.
    pub fn new(limits: &Limits, linger: Duration, linger_unread: bool) -> Arc<Self> {
        let rate = Rate {
            bytes_per_second_min: limits.body_bytes_per_second_min,
            patience: Duration::from_secs(limits.body_stall_seconds),
        };
        Arc::new(Self {
            head_bytes_max: limits.head_bytes_max,
            url_bytes_max: limits.url_bytes_max,
            head_timeout: Duration::from_secs(limits.head_timeout_seconds),
            rate,
            linger,
            linger_unread,
        })
    }
}

/// What the client is sending.
#[derive(Debug)]
enum Inbound {
    Head,
    Sized(u64),
    Chunked(Chunks),
    /// Nothing more is believed.
    Refused,
}

/// How far the end has come.
enum Closing {
    Open,
    Answering(Bytes),
    Shutting,
    Lingering { until: Instant, left: usize },
    Closed,
}

/// A guarded connection; reads and writes like the one inside.
pub struct Guarded<T: Transport> {
    io: T,
    rules: Arc<Rules>,
    inbound: Inbound,
    /// Bytes read and not handed over yet; the first `cleared` of them have been judged.
    held: BytesMut,
    cleared: usize,
    /// How much of an unfinished head has been searched for its end.
    searched: usize,
    /// When the head that is being waited for has to be whole.
    head_deadline: Option<Instant>,
    reading: Pace,
    writing: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    end_of_input: bool,
    refusal: Option<Bytes>,
    closing: Closing,
    /// Counts the connection among those of its address for as long as it is open.
    _place: Place,
}

impl<T: Transport> Guarded<T> {
    /// Guards a connection that was just accepted. Must be called inside the runtime that will drive it.
    pub fn new(io: T, rules: Arc<Rules>, place: Place) -> Self {
        let rate = rules.rate;
        Self {
            io,
            inbound: Inbound::Head,
            held: BytesMut::new(),
            cleared: 0,
            searched: 0,
            head_deadline: Some(Instant::now() + rules.head_timeout),
            reading: Pace::new(rate),
            writing: Pace::new(rate),
            timer: None,
            end_of_input: false,
            refusal: None,
            closing: Closing::Open,
            rules,
            _place: place,
        }
    }

    /// Ready when `at` has come; otherwise the task is woken then at the latest.
    fn wait_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // A timer that is early is left alone: it costs one look, moving it at every read would cost more.
        if timer.deadline() > at || timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }

    /// Judges what is held, as far as it goes, and clears it for the library.
    fn judge(&mut self) -> io::Result<()> {
        match &mut self.inbound {
            Inbound::Head => self.judge_head(),
            Inbound::Sized(left) => {
                let here = self.held.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= here as u64;
                self.cleared = here;
                if *left == 0 {
                    self.inbound = Inbound::Head;
                }
            }
            Inbound::Chunked(chunks) => {
                self.cleared = chunks.follow(&self.held).map_err(|_| broken_chunk())?;
                if chunks.is_over() {
                    self.inbound = Inbound::Head;
                }
            }
            Inbound::Refused => {}
        }
        Ok(())
    }

    fn judge_head(&mut self) {
        // Some clients end a body with a line of its own, which belongs to nothing.
        while self.searched == 0 && self.held.starts_with(b"\r\n") {
            self.held.advance(2);
        }
        if self.held.is_empty() {
            return;
        }
        let deadline = Instant::now() + self.rules.head_timeout;
        self.head_deadline.get_or_insert(deadline);
        let length = match head::end(&self.held, self.searched) {
            Ok(Some(length)) => length,
            Ok(None) => {
                self.searched = self.held.len();
                // Which of the two was exceeded is told exactly for heads that arrive whole, by those who
                // answer requests; here it is only about what is kept in memory.
                if self.held.len() >= self.rules.head_bytes_max + self.rules.url_bytes_max {
                    let in_first_line = !self.held.contains(&b'\n');
                    self.refuse(if in_first_line { Fault::UrlTooLong } else { Fault::HeadTooLarge });
                }
                return;
            }
            Err(fault) => return self.refuse(fault),
        };
        match head::framing(&self.held[..length]) {
            Ok(body) => {
                self.cleared = length;
                self.searched = 0;
                self.head_deadline = None;
                self.reading = Pace::new(self.rules.rate);
                self.inbound = match body {
                    Body::Sized(0) => Inbound::Head,
                    Body::Sized(length) => Inbound::Sized(length),
                    Body::Chunked => Inbound::Chunked(Chunks::new()),
                };
            }
            Err(fault) => self.refuse(fault),
        }
    }

    /// Believes nothing from here on. The answer goes out when the library has closed its side.
    fn refuse(&mut self, fault: Fault) {
        let code = if self.begins_with_registry_path() { "UNSUPPORTED" } else { "BAD_REQUEST" };
        let (status, reason, text) = match fault {
            Fault::Malformed(text) => ("400 Bad Request", "malformed", text),
            Fault::HeadTooLarge => {
                ("431 Request Header Fields Too Large", "head_too_large", "the headers are too large")
            }
            Fault::UrlTooLong => ("414 URI Too Long", "url_too_long", "the URL is too long"),
            Fault::Slow => ("408 Request Timeout", "slow_head", "the request's head took too long"),
        };
        tracing::debug!(reason, "a connection is refused: {text}");
        metrics::counter!("hythe_http_connections_refused_total", "reason" => reason).increment(1);
        self.inbound = Inbound::Refused;
        let body = answer::error_body(code, text);
        let length = body.len();
        let request_id = RequestId::new();
        self.refusal = Some(Bytes::from(format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\nX-Request-Id: {request_id}\r\n\r\n{body}"
        )));
        self.held = BytesMut::new();
    }

    fn begins_with_registry_path(&self) -> bool {
        let target = self.held[..].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        std::str::from_utf8(target).is_ok_and(|target| mount::covers("/v2", target))
    }

    /// Nothing could be read. Ready when the client has been waited for long enough.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = match self.inbound {
            Inbound::Head => match self.head_deadline {
                Some(deadline) => deadline,
                None => return Poll::Pending,
            },
            Inbound::Sized(_) | Inbound::Chunked(_) => self.reading.waits(Instant::now()),
            Inbound::Refused => return Poll::Ready(Ok(())),
        };
        ready!(self.wait_until(cx, deadline));
        if !matches!(self.inbound, Inbound::Head) {
            count_stall("read");
            return Poll::Ready(Err(stalled("the body came too slowly")));
        }
        if self.held.is_empty() {
            metrics::counter!("hythe_http_connections_refused_total", "reason" => "silent").increment(1);
            self.inbound = Inbound::Refused;
            // Nothing was said, so there is nothing to answer and nothing to wait for.
            self.end_of_input = true;
        } else {
            self.refuse(Fault::Slow);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into `held`: of heads, whose end is not known before.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; READ_BYTES];
        let mut space = ReadBuf::new(&mut space);
        match Pin::new(&mut self.io).poll_read(cx, &mut space)? {
            Poll::Ready(()) => {
                if space.filled().is_empty() {
                    self.end_of_input = true;
                }
                self.held.extend_from_slice(space.filled());
                Poll::Ready(Ok(()))
            }
            Poll::Pending => self.poll_patience(cx),
        }
    }

    /// Reads a body straight into the library's buffer. What lies behind the body is taken back and held.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if Pin::new(&mut self.io).poll_read(cx, buf)?.is_pending() {
            return self.poll_patience(cx);
        }
        let fresh = &buf.filled()[before..];
        if fresh.is_empty() {
            self.end_of_input = true;
            return Poll::Ready(Ok(()));
        }
        self.reading.moved(fresh.len(), Instant::now(), self.rules.rate);
        let (taken, over) = match &mut self.inbound {
            Inbound::Sized(left) => {
                let taken = fresh.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                (taken, *left == 0)
            }
            Inbound::Chunked(chunks) => {
                let taken = chunks.follow(fresh).map_err(|_| broken_chunk())?;
                (taken, chunks.is_over())
            }
            Inbound::Head | Inbound::Refused => (0, false),
        };
        self.held.extend_from_slice(&fresh[taken..]);
        buf.set_filled(before + taken);
        if over {
            self.inbound = Inbound::Head;
        }
        Poll::Ready(Ok(()))
    }

    /// The outcome of an attempt to write, with its time accounted for.
    fn written(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(bytes)) => {
                self.writing.moved(bytes, Instant::now(), self.rules.rate);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let deadline = self.writing.waits(Instant::now());
                ready!(self.wait_until(cx, deadline));
                count_stall("write");
                // What the client does not take would otherwise stay in the kernel for minutes more.
                self.io.abort();
                Poll::Ready(Err(stalled("the answer is taken too slowly")))
            }
        }
    }

    fn must_linger(&self) -> bool {
        let unread = match self.inbound {
            Inbound::Refused => true,
            Inbound::Sized(_) | Inbound::Chunked(_) => self.rules.linger_unread,
            Inbound::Head => self.rules.linger_unread && !self.held.is_empty(),
        };
        unread && !self.end_of_input
    }

    /// Throws away what the client still sends: closing a socket with unread bytes resets it, and the client
    /// would lose the answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>, until: Instant, mut left: usize) -> Poll<usize> {
        let mut space = [0; DISCARD_BYTES];
        while left > 0 {
            let mut space = ReadBuf::new(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut space) {
                Poll::Ready(Ok(())) if !space.filled().is_empty() => {
                    left = left.saturating_sub(space.filled().len());
                    if Instant::now() >= until {
                        return Poll::Ready(0);
                    }
                }
                Poll::Ready(_) => return Poll::Ready(0),
                Poll::Pending => {
                    return match self.wait_until(cx, until) {
                        Poll::Ready(()) => Poll::Ready(0),
                        Poll::Pending => {
                            self.closing = Closing::Lingering { until, left };
                            Poll::Pending
                        }
                    };
                }
            }
        }
        Poll::Ready(0)
    }
}

impl<T: Transport> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.cleared > 0 {
                let count = this.cleared.min(buf.remaining());
                buf.put_slice(&this.held[..count]);
                this.held.advance(count);
                this.cleared -= count;
                return Poll::Ready(Ok(()));
            }
            if !this.held.is_empty() && this.held.len() > this.searched {
                this.judge()?;
                if this.cleared > 0 {
                    continue;
                }
            }
            if matches!(this.inbound, Inbound::Refused) || this.end_of_input || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !matches!(this.inbound, Inbound::Head) {
                return this.poll_body(cx, buf);
            }
            ready!(this.poll_hold(cx))?;
        }
    }
}

impl<T: Transport> AsyncWrite for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match std::mem::replace(&mut self.closing, Closing::Closed) {
                Closing::Open => {
                    self.closing = match self.refusal.take() {
                        Some(answer) => Closing::Answering(answer),
                        None => Closing::Shutting,
                    };
                }
                Closing::Answering(mut answer) => match self.as_mut().poll_write(cx, &answer)? {
                    Poll::Ready(count) => {
                        answer.advance(count);
                        self.closing =
                            if answer.is_empty() { Closing::Shutting } else { Closing::Answering(answer) };
                    }
                    Poll::Pending => {
                        self.closing = Closing::Answering(answer);
                        return Poll::Pending;
                    }
                },
                Closing::Shutting => {
                    if Pin::new(&mut self.io).poll_shutdown(cx)?.is_pending() {
                        self.closing = Closing::Shutting;
                        return Poll::Pending;
                    }
                    if self.must_linger() {
                        let until = Instant::now() + self.rules.linger;
                        self.closing = Closing::Lingering { until, left: DISCARD_BYTES_MAX };
                    }
                }
                Closing::Lingering { until, left } => {
                    ready!(self.poll_linger(cx, until, left));
                }
                Closing::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

fn broken_chunk() -> io::Error {
    metrics::counter!("hythe_http_connections_refused_total", "reason" => "broken_chunk").increment(1);
    io::Error::new(io::ErrorKind::InvalidData, "the chunks of the body are malformed")
}

fn stalled(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn count_stall(direction: &'static str) {
    metrics::counter!("hythe_http_connections_stalled_total", "direction" => direction).increment(1);
}
