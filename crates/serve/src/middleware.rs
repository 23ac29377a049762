//! What every request to a public listener passes, in this order: identification (id, peer, trust headers
//! stripped), refusal of heads no service should see, the service itself with panics caught, and the record
//! of the answer (header, log line, metrics).
//!
//! It decides nothing about permission and touches no body: bodies are counted as they stream by.

pub(crate) mod access;
pub(crate) mod head;
pub(crate) mod home;
pub mod peer;
pub mod request_id;

use std::rc::Rc;
use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};
use tracing::Instrument;

use self::access::Observation;
use self::home::BodyAtHome;
use self::request_id::RequestId;
use crate::answer;
use crate::metrics::{Family, InFlight};
use crate::mount;

/// The request's id: accepted from the client when well formed, made here otherwise; on every answer.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The client's address as text, seen through trusted proxies. Set here, whatever the client sent.
pub const PEER_HEADER: HeaderName = HeaderName::from_static("x-hythe-peer");
/// `http` or `https`, as the client used it, seen through trusted proxies. Set here.
pub const SCHEME_HEADER: HeaderName = HeaderName::from_static("x-hythe-scheme");

/// What the checks need to know; one per HTTP worker thread.
pub(crate) struct Front {
    pub trusted: Vec<peer::Network>,
    pub access_log: bool,
    /// (mount name, prefix) of every mount, for metrics.
    pub prefixes: Vec<(&'static str, &'static str)>,
    /// The runtime that owns sockets, timers and tasks of the domains.
    pub home: tokio::runtime::Handle,
}

/// The whole passage of one request.
pub(crate) async fn front(
    front: Rc<Front>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Instant::now();
    let request_id = RequestId::choose(request.headers());
    let peer =
        peer::resolve(request.peer_addr().map(|address| address.ip()), request.headers(), &front.trusted);
    let head = head::measure(&request);
    identify(&mut request, &request_id, &peer);

    let mount = mount::owner(&front.prefixes, request.uri().path());
    let family = Family::of(request.uri().path(), mount);
    let observation = Observation {
        access_log: front.access_log,
        begun,
        in_flight: InFlight::enter(family),
        family,
        method: request.method().clone(),
        path: access::shortened(request.uri().path()),
        user_agent: access::user_agent(request.headers()),
        remote_ip: peer.address_text(),
        request_bytes: head.bytes + head.content_length,
        request_id: request_id.clone(),
    };

    if let Some(refusal) = head::refusal(&head, request.uri()) {
        let answer = request.into_response(refusal);
        return Ok(finish(answer, observation, request_id, &front.home));
    }
    let span = tracing::info_span!("request", request_id = %request_id);
    let outcome = home::run(next.call(request), front.home.clone()).instrument(span).await;
    match outcome {
        Ok(Ok(answer)) => Ok(finish(answer, observation, request_id, &front.home)),
        Ok(Err(error)) => Err(failed(error.error_response(), observation, &request_id)),
        // The panic hook has logged it with its place, inside the request's span.
        Err(home::Panicked) => {
            metrics::counter!("hythe_http_panics_total").increment(1);
            let answer = answer::internal(request_id.as_str());
            Err(failed(answer, observation, &request_id))
        }
    }
}

/// Strips what only a proxy may say and sets what services rely on.
fn identify(request: &mut ServiceRequest, request_id: &RequestId, peer: &peer::Peer) {
    let headers = request.headers_mut();
    let stripped: Vec<HeaderName> =
        headers.keys().filter(|name| peer::is_trust_header(name.as_str())).cloned().collect();
    for name in stripped {
        headers.remove(name);
    }
    headers.insert(REQUEST_ID_HEADER, request_id.header());
    headers.insert(PEER_HEADER, peer.address_header());
    headers.insert(SCHEME_HEADER, HeaderValue::from_static(peer.scheme));
    request.extensions_mut().insert(request_id.clone());
}

/// Marks the answer with the id and follows its body to the end.
fn finish(
    mut answer: ServiceResponse<BoxBody>,
    observation: Observation,
    request_id: RequestId,
    home: &tokio::runtime::Handle,
) -> ServiceResponse<BoxBody> {
    answer.headers_mut().insert(REQUEST_ID_HEADER, request_id.header());
    let route = match observation.family {
        Family::Registry(_) => String::new(),
        Family::Platform(_) => answer.request().match_pattern().unwrap_or_else(|| "none".to_owned()),
    };
    let status = answer.status();
    let home = home.clone();
    answer.map_body(|_, body| observation.follow(status, route, BodyAtHome::wrap(body, home)))
}

/// The same for an answer that has lost its request: the connection sends it as the error's own.
fn failed(mut answer: HttpResponse, observation: Observation, request_id: &RequestId) -> Error {
    answer.headers_mut().insert(REQUEST_ID_HEADER, request_id.header());
    let status = answer.status();
    let answer = answer.map_body(|_, body| observation.follow(status, "none".to_owned(), body));
    InternalError::from_response("answered", answer).into()
}
