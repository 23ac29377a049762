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
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};
use tracing::Instrument;

use self::access::{Observation, Seen};
use self::home::BodyAtHome;
use self::request_id::RequestId;
use crate::{Limits, Rates, TooOften, answer, mount};

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
    pub limits: Arc<Limits>,
    pub rates: Arc<Rates>,
    /// The runtime that owns sockets, timers and tasks of the domains.
    pub home: tokio::runtime::Handle,
}

/// The whole passage of one request.
pub(crate) async fn front(
    front: Rc<Front>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let headers = request.headers();
    let request_id = RequestId::choose(headers.get_all(REQUEST_ID_HEADER).map(HeaderValue::as_bytes));
    let peer = peer::resolve(request.peer_addr().map(|address| address.ip()), &front.trusted, |name| {
        headers.get_all(name).map(|value| value.to_str().unwrap_or_default()).collect()
    });
    let header_bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    identify(&mut request, &request_id, &peer);

    let path = request.uri().path();
    let headers = request.headers();
    let content_length: u64 =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    let seen = Seen {
        method: request.method().as_str(),
        path,
        user_agent: headers.get(USER_AGENT).map(HeaderValue::as_bytes),
        peer: &peer,
        request_bytes: header_bytes as u64 + content_length,
        request_id: request_id.clone(),
        mount: mount::owner(&front.prefixes, path),
    };
    let observation = Observation::begin(seen, front.access_log);
    let url_bytes = request.uri().path_and_query().map_or(0, |both| both.as_str().len());
    let packed = head::packs(headers.get_all(CONTENT_ENCODING).map(HeaderValue::as_bytes));
    let head = head::Head { path, url_bytes, header_bytes, packed };
    let refused = match head::refusal(head, &front.limits) {
        Some(refusal) => Some(refused(&refusal)),
        None => front.rates.check(peer.address, path).err().map(|often| too_often(often, path)),
    };
    if let Some(refused) = refused {
        let answer = request.into_response(refused);
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

fn refused(refusal: &head::Refusal) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    answer::error(status, refusal.code, &refusal.message)
}

fn too_often(often: TooOften, path: &str) -> HttpResponse {
    let (code, message) = often.words(path);
    let mut answer = answer::error(StatusCode::TOO_MANY_REQUESTS, code, message);
    answer.headers_mut().insert(RETRY_AFTER, often.retry_after_seconds.into());
    answer
}

/// A value of an `x-` header of ours.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

/// Strips what only a proxy may say and sets what services rely on.
fn identify(request: &mut ServiceRequest, request_id: &RequestId, peer: &peer::Peer) {
    let headers = request.headers_mut();
    let stripped: Vec<HeaderName> =
        headers.keys().filter(|name| peer::is_trust_header(name.as_str())).cloned().collect();
    for name in stripped {
        headers.remove(name);
    }
    headers.insert(REQUEST_ID_HEADER, value(request_id.as_str()));
    headers.insert(PEER_HEADER, value(&peer.address_text()));
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
    answer.headers_mut().insert(REQUEST_ID_HEADER, value(request_id.as_str()));
    let route = match observation.names_route() {
        true => answer.request().match_pattern().unwrap_or_else(|| "none".to_owned()),
        false => String::new(),
    };
    let status = answer.status().as_u16();
    let home = home.clone();
    answer.map_body(|_, body| observation.follow(status, route, BodyAtHome::wrap(body, home)))
}

/// The same for an answer that has lost its request: the connection sends it as the error's own.
fn failed(mut answer: HttpResponse, observation: Observation, request_id: &RequestId) -> Error {
    answer.headers_mut().insert(REQUEST_ID_HEADER, value(request_id.as_str()));
    let status = answer.status().as_u16();
    let answer = answer.map_body(|_, body| observation.follow(status, "none".to_owned(), body));
    InternalError::from_response("answered", answer).into()
}
