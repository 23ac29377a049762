//! One request on its way: who asks, whether it goes on, to whom, and what to do when that fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, USER_AGENT};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use serve::{Check, Config as Http, Head, Network, Observation, Rates, RequestId, Seen};
use tokio_util::sync::CancellationToken;

use crate::answer::{Outage, Own};
use crate::body::{Answer, Outgoing, Passing, Progress, Record};
use crate::pool::{Connection, connect};
use crate::table::{Service, Table};
use crate::upstream::{Group, PoolLimits, Visit};
use crate::{Config, Error, headers, health};

/// The gateway, ready to serve. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub http: Http,
    pub trusted: Vec<Network>,
    rates: Rates,
    table: Table,
    groups: Vec<Arc<Group>>,
    config: Config,
}

/// `ENFILE` and `EMFILE`.
const NO_DESCRIPTORS: [i32; 2] = [23, 24];

/// An answer as it came, and the connection it is still coming over.
type Begun = (Response<Incoming>, Connection);

/// An attempt that led to no answer.
struct Failed {
    outage: Outage,
    /// The request, when nothing of it was sent.
    unsent: Option<Request<Outgoing>>,
    /// It was the client that broke off, or this process that had no descriptor left.
    not_theirs: bool,
    error: String,
}

impl Failed {
    fn new(outage: Outage, error: String) -> Self {
        Self { outage, unsent: None, not_theirs: false, error }
    }
}

impl Gateway {
    /// A gateway for `services`, of which those without an upstream in `config` answer 404. `http` is the
    /// section of the public listener: limits, proxies in front, access log.
    pub fn new(services: &[Service], config: Config, http: Http) -> Result<Self, Error> {
        let mut groups = Vec::new();
        for service in services {
            let addresses = config.upstreams.addresses(service.name)?;
            if addresses.is_empty() {
                continue;
            }
            let limits = PoolLimits {
                connections_max: config.pool_connections_max,
                idle_max: Duration::from_secs(config.pool_idle_seconds),
            };
            groups.push((*service, Arc::new(Group::new(service.name, addresses, limits))));
        }
        if groups.is_empty() {
            return Err(Error::NoUpstreams);
        }
        let table = Table::new(&groups);
        let groups = groups.into_iter().map(|(_, group)| group).collect();
        let (trusted, rates) = (http.trusted_networks()?, Rates::new(&http.limits));
        Ok(Self { shared: Arc::new(Shared { http, trusted, rates, table, groups, config }) })
    }

    /// What this process cannot serve without: somebody behind it, of any service. One service that is away
    /// must not take the others' entrance with it.
    pub fn check(&self) -> Check {
        let shared = self.shared.clone();
        Check::new("upstreams", move || {
            let available = shared.groups.iter().any(|group| group.is_available());
            async move { available.then_some(()).ok_or_else(|| "no upstream is available".to_owned()) }
        })
    }

    /// Looks after the upstreams until shutdown.
    pub async fn watch(self, shutdown: CancellationToken) {
        let groups = self.shared.groups.iter();
        let all =
            groups.map(|group| health::watch(group.clone(), self.shared.config.clone(), shutdown.clone()));
        futures_util::future::join_all(all).await;
    }

    /// The answer to one request that came from `socket` to `local`.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        socket: SocketAddr,
        local: SocketAddr,
    ) -> Response<Answer> {
        let shared = &*self.shared;
        let sent = request.headers();
        let id = RequestId::choose(sent.get_all(headers::REQUEST_ID).iter().map(HeaderValue::as_bytes));
        let peer = serve::resolve(Some(socket.ip()), &shared.trusted, |name| {
            sent.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect()
        });
        let header_bytes = sent.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let content_length: u64 =
            sent.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        let path = request.uri().path();
        let group = shared.table.find(path);
        let seen = Seen {
            method: request.method().as_str(),
            path,
            user_agent: sent.get(USER_AGENT).map(HeaderValue::as_bytes),
            peer: &peer,
            request_bytes: header_bytes as u64 + content_length,
            request_id: id.clone(),
            mount: group.map_or("none", |group| group.name),
        };
        let observation = Observation::begin(seen, shared.http.access_log);
        let is_head = request.method() == Method::HEAD;

        let url_bytes = request.uri().path_and_query().map_or(0, |both| both.as_str().len());
        let packed = serve::packs(sent.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes));
        let head = Head { path, url_bytes, header_bytes, packed };
        let own = match serve::refusal(head, &shared.http.limits) {
            Some(refusal) => Some(Own::refused(refusal)),
            None => shared.rates.check(peer.address, path).err().map(|often| Own::too_often(often, path)),
        };
        if let Some(own) = own {
            return own.into_response(observation, &id, is_head);
        }
        let Some(group) = group else {
            return Own::not_found().into_response(observation, &id, is_head);
        };
        let (mut parts, body) = request.into_parts();
        headers::clean_request(&mut parts.headers, &peer, local, &id);
        match self.forward(group, parts, body).await {
            Ok((answer, passing)) => {
                let (mut parts, ()) = answer.into_parts();
                headers::clean_answer(&mut parts.headers, &id);
                let record = Record { observation, status: parts.status.as_u16(), is_head };
                Response::from_parts(parts, Answer::of_upstream(passing, record))
            }
            Err(outage) => Own::outage(outage).into_response(observation, &id, is_head),
        }
    }

    /// Asks one upstream, and once more, another one if there is one, when the first cannot have acted on the
    /// request: nothing of it was sent, or it only asks and has no body.
    async fn forward(
        &self,
        group: &Group,
        parts: Parts,
        body: Incoming,
    ) -> Result<(Response<()>, Passing), Outage> {
        let progress = Progress::new();
        let is_question = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let again = (is_question && body.is_end_stream()).then(|| parts.clone());
        let outgoing = match body.is_end_stream() {
            true => Outgoing::Nothing,
            false => Outgoing::Client { body, progress: progress.clone() },
        };
        let mut visit = group.pick(None).ok_or(Outage::Unreachable)?;
        let failed = match self.attempt(&visit, assembled(parts, outgoing), false, &progress).await {
            Ok(begun) => return Ok(self.passing(begun, visit, progress)),
            Err(failed) => failed,
        };
        self.note(group, &visit, &failed);
        if failed.not_theirs {
            return Err(failed.outage);
        }
        let again = match failed.unsent {
            Some(request) => request,
            // What an upstream does not answer in time the next one hardly will, and the client has waited.
            None if failed.outage == Outage::Silent => return Err(failed.outage),
            None => assembled(again.ok_or(failed.outage)?, Outgoing::Nothing),
        };
        visit = match group.pick(Some(&visit.upstream)) {
            Some(other) => other,
            // A connection that was kept may have been closed meanwhile; a new one tells more.
            None if failed.outage == Outage::Broken => visit,
            None => return Err(failed.outage),
        };
        metrics::counter!("hythe_gateway_retries_total", "service" => group.name).increment(1);
        match self.attempt(&visit, again, true, &progress).await {
            Ok(begun) => Ok(self.passing(begun, visit, progress)),
            Err(failed) => {
                self.note(group, &visit, &failed);
                Err(failed.outage)
            }
        }
    }

    /// One request at one upstream, up to the head of the answer.
    async fn attempt(
        &self,
        visit: &Visit,
        request: Request<Outgoing>,
        fresh: bool,
        progress: &Arc<Progress>,
    ) -> Result<Begun, Failed> {
        let upstream = &visit.upstream;
        let config = &self.shared.config;
        let kept = if fresh { None } else { upstream.pool.take() };
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let patience = Duration::from_millis(config.connect_timeout_ms);
                match connect(&upstream.address, upstream.address.port, patience).await {
                    Ok(connection) => connection,
                    Err(error) => {
                        let not_theirs =
                            error.raw_os_error().is_some_and(|code| NO_DESCRIPTORS.contains(&code));
                        let failed = Failed::new(Outage::Unreachable, error.to_string());
                        return Err(Failed { unsent: Some(request), not_theirs, ..failed });
                    }
                }
            }
        };
        let patience = Duration::from_secs(config.idle_timeout_seconds);
        progress.moved();
        let answer = {
            let mut answer = std::pin::pin!(connection.try_send_request(request));
            loop {
                let end = progress.ends(patience);
                match tokio::time::timeout_at(end, &mut answer).await {
                    Ok(answer) => break answer,
                    Err(_) if progress.ends(patience) > end => {}
                    Err(_) => {
                        let error = format!("nothing moved for {} s", patience.as_secs());
                        return Err(Failed::new(Outage::Silent, error));
                    }
                }
            }
        };
        match answer {
            Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let error = "it switched protocols, which nobody asked for".to_owned();
                Err(Failed::new(Outage::Broken, error))
            }
            Ok(answer) => {
                progress.moved();
                upstream.succeeded();
                Ok((answer, connection))
            }
            Err(mut failed) => {
                let unsent = failed.take_message();
                let error = failed.into_error();
                // The only thing of ours that can fail in there is the body of the client.
                let not_theirs = error.is_user();
                Err(Failed { unsent, not_theirs, ..Failed::new(Outage::Broken, error.to_string()) })
            }
        }
    }

    fn note(&self, group: &Group, visit: &Visit, failed: &Failed) {
        let upstream = visit.upstream.address.authority();
        let (error, reason) = (&failed.error, failed.outage.reason());
        if failed.not_theirs {
            tracing::debug!(service = group.name, upstream, error, "a request failed on this side: {error}");
            return;
        }
        metrics::counter!("hythe_gateway_upstream_failures_total", "service" => group.name, "reason" => reason)
            .increment(1);
        // A kept connection that was closed in the very moment says nothing about the upstream.
        if failed.outage == Outage::Broken && failed.unsent.is_some() {
            tracing::debug!(service = group.name, upstream, error, "a kept connection was closed");
            return;
        }
        visit.upstream.failed(failed.outage == Outage::Unreachable);
        tracing::warn!(
            service = group.name,
            upstream,
            reason,
            error,
            "an upstream failed a request: {error}"
        );
    }

    fn passing(
        &self,
        (answer, connection): Begun,
        visit: Visit,
        progress: Arc<Progress>,
    ) -> (Response<()>, Passing) {
        let (parts, body) = answer.into_parts();
        let patience = Duration::from_secs(self.shared.config.idle_timeout_seconds);
        let connection = Some(connection);
        let passing = Passing { body, visit, connection, progress, patience, waits: false, timer: None };
        (Response::from_parts(parts, ()), passing)
    }
}

/// The request to an upstream. Only what is named here goes on: nothing a library attached to the client's.
fn assembled(parts: Parts, body: Outgoing) -> Request<Outgoing> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = parts.headers;
    request
}
