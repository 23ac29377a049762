//! The record of one request: a log line and metrics, written when its answer has been sent or given up.
//!
//! It never sees `Authorization`, and of the URL it keeps only the path: queries may carry secrets.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

use super::peer::Peer;
use super::request_id::RequestId;
use crate::metrics::{self, Family, Finished, InFlight};

const PATH_LENGTH_MAX: usize = 512;
const USER_AGENT_LENGTH_MAX: usize = 255;

/// A request whose head was read.
pub struct Seen<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub user_agent: Option<&'a [u8]>,
    pub peer: &'a Peer,
    pub request_bytes: u64,
    pub request_id: RequestId,
    /// Who answers it.
    pub mount: &'static str,
}

/// What is known when the service begins.
pub struct Observation {
    access_log: bool,
    begun: Instant,
    in_flight: InFlight,
    family: Family,
    method: String,
    path: String,
    user_agent: String,
    remote_ip: String,
    request_bytes: u64,
    request_id: RequestId,
}

impl Observation {
    /// Begins the record of a request; it counts as in flight until the record is written or dropped.
    pub fn begin(seen: Seen<'_>, access_log: bool) -> Self {
        let family = Family::of(seen.path, seen.mount);
        Self {
            access_log,
            begun: Instant::now(),
            in_flight: InFlight::enter(family),
            family,
            method: seen.method.to_owned(),
            path: shortened(seen.path),
            user_agent: user_agent(seen.user_agent),
            remote_ip: seen.peer.address_text(),
            request_bytes: seen.request_bytes,
            request_id: seen.request_id,
        }
    }

    /// Whether metrics of this request name its route.
    pub(crate) fn names_route(&self) -> bool {
        matches!(self.family, Family::Platform(_))
    }

    /// The answer's body, wrapped so that the record is written when it ends, however it ends.
    pub(crate) fn follow(self, status: u16, route: String, body: BoxBody) -> BoxBody {
        let size = body.size();
        BoxBody::new(Observed {
            body,
            // A body that is never asked for (`HEAD`, 204, 304) is complete with nothing sent.
            complete: size.is_eof() || self.method == "HEAD",
            observation: Some(self),
            status,
            route,
            bytes: 0,
        })
    }

    /// Writes the record: `bytes` of the answer's body were sent, and whether that was all of it.
    pub fn record(self, status: u16, route: String, bytes: u64, complete: bool) {
        let duration = self.begun.elapsed();
        drop(self.in_flight);
        if self.access_log {
            tracing::info!(
                target: "hythe_serve::access",
                request_id = self.request_id.as_str(),
                method = self.method,
                route = self.path,
                status,
                duration_ms = duration.as_millis() as u64,
                bytes,
                remote_ip = self.remote_ip,
                user_agent = self.user_agent,
                complete,
                "request"
            );
        }
        metrics::record(Finished {
            family: self.family,
            method: metrics::method_label(&self.method),
            status,
            duration,
            request_bytes: self.request_bytes,
            response_bytes: bytes,
            route,
        });
    }
}

/// A body that counts what passes and reports when it is dropped.
struct Observed {
    body: BoxBody,
    observation: Option<Observation>,
    status: u16,
    route: String,
    bytes: u64,
    complete: bool,
}

impl MessageBody for Observed {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) => {
                self.bytes += chunk.len() as u64;
                if self.size() == BodySize::Sized(self.bytes) {
                    self.complete = true;
                }
            }
            Poll::Ready(None) => self.complete = true,
            Poll::Ready(Some(Err(error))) => {
                let id = self.observation.as_ref().map(|seen| seen.request_id.as_str());
                tracing::warn!(request_id = id, %error, "the answer broke off: {error}");
            }
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(observation) = self.observation.take() {
            let route = std::mem::take(&mut self.route);
            observation.record(self.status, route, self.bytes, self.complete);
        }
    }
}

/// A path for the log, cut to a bound: a URL may be long, a log line should not be.
fn shortened(path: &str) -> String {
    cut(path, PATH_LENGTH_MAX).to_owned()
}

fn user_agent(value: Option<&[u8]>) -> String {
    let text = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("-");
    cut(text, USER_AGENT_LENGTH_MAX).to_owned()
}

fn cut(text: &str, length_max: usize) -> &str {
    let mut end = text.len().min(length_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("abc", 9), "abc");
    }
}
