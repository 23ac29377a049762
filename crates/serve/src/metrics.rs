//! The Prometheus registry of the process and the request metrics.
//!
//! Names that operators of other registries already chart are kept for `/v2` and the token service
//! (`registry_http_*`); everything else is `hythe_http_*`. No label ever holds a repository, a path or
//! anything else a client can invent: the number of series has a bound that follows from the code.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::mount::covers;

const DURATION_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0];
const SIZE_BUCKETS: &[f64] = &[
    1024.0,
    16_384.0,
    262_144.0,
    1_048_576.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];
/// How often recorded values are folded into their buckets, so that they do not pile up unread.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The metrics of this process, readable as Prometheus text.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// The recorder could not be installed because the program installed another one.
#[derive(Debug, thiserror::Error)]
#[error("the metrics recorder cannot be installed")]
pub struct InstallError(#[source] metrics_exporter_prometheus::BuildError);

impl Metrics {
    /// Installs the recorder of the process, once; further calls return the same one.
    pub fn install() -> Result<Self, InstallError> {
        // Held while the recorder is installed: of two first calls at once, the second waits for the first.
        static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = installed.as_ref() {
            return Ok(metrics.clone());
        }
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATION_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), SIZE_BUCKETS)
            })
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(InstallError)?;
        Ok(installed.insert(Self { handle }).clone())
    }

    /// All metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps the registry small until `shutdown`; needed whether or not anybody scrapes.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(UPKEEP_INTERVAL) => self.handle.run_upkeep(),
                () = shutdown.cancelled() => return,
            }
        }
    }
}

/// Which family a request is counted in, known from its path before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// A distribution endpoint, with the handler label existing dashboards use.
    Registry(&'static str),
    /// Anything else, with the name of the mount.
    Platform(&'static str),
}

impl Family {
    /// Sorts a raw path. Repository names may contain the words of the endpoints, so it is read from the right.
    pub(crate) fn of(path: &str, mount: &'static str) -> Self {
        if covers("/service/token", path) {
            return Self::Registry("token");
        }
        let Some(rest) = path.strip_prefix("/v2").filter(|_| covers("/v2", path)) else {
            return Self::Platform(mount);
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments = rest.rsplit('/');
        let last = segments.next().unwrap_or_default();
        let before = segments.next().unwrap_or_default();
        let third = segments.next().unwrap_or_default();
        Self::Registry(match (third, before, last) {
            (_, "", "_catalog") => "catalog",
            (_, "tags", "list") => "tags",
            (_, "manifests", _) => "manifest",
            (_, "referrers", _) => "referrers",
            (_, "blobs", "uploads") => "blob_upload",
            ("blobs", "uploads", _) => "blob_upload_chunk",
            (_, "blobs", _) => "blob",
            _ => "base",
        })
    }
}

/// What is known about a request when its answer has been sent.
pub(crate) struct Finished {
    pub family: Family,
    pub method: &'static str,
    pub status: u16,
    pub duration: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// The template of the route that answered; `none` when there is none.
    pub route: String,
}

/// Counts a request in flight until it is dropped.
pub(crate) struct InFlight(Family);

impl InFlight {
    pub(crate) fn enter(family: Family) -> Self {
        Self::gauge(family).increment(1.0);
        Self(family)
    }

    fn gauge(family: Family) -> metrics::Gauge {
        match family {
            Family::Registry(handler) => {
                metrics::gauge!("registry_http_in_flight_requests", "handler" => handler)
            }
            Family::Platform(mount) => {
                metrics::gauge!("hythe_http_in_flight_requests", "mount" => mount)
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        Self::gauge(self.0).decrement(1.0);
    }
}

/// Method labels are lower case as in the reference implementation; what nobody defined is one label.
pub(crate) fn method_label(method: &str) -> &'static str {
    match method {
        "GET" => "get",
        "HEAD" => "head",
        "PUT" => "put",
        "POST" => "post",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "unknown",
    }
}

pub(crate) fn record(finished: Finished) {
    let Finished { method, status, duration, route, .. } = finished;
    let code = status.to_string();
    let seconds = duration.as_secs_f64();
    match finished.family {
        Family::Registry(handler) => {
            metrics::counter!("registry_http_requests_total", "handler" => handler, "code" => code, "method" => method)
                .increment(1);
            metrics::histogram!("registry_http_request_duration_seconds", "handler" => handler, "method" => method)
                .record(seconds);
            metrics::histogram!("registry_http_request_size_bytes", "handler" => handler)
                .record(finished.request_bytes as f64);
            metrics::histogram!("registry_http_response_size_bytes", "handler" => handler)
                .record(finished.response_bytes as f64);
        }
        Family::Platform(mount) => {
            metrics::counter!("hythe_http_requests_total", "mount" => mount, "route" => route, "code" => code, "method" => method)
                .increment(1);
            metrics::histogram!("hythe_http_request_duration_seconds", "mount" => mount, "method" => method)
                .record(seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_read_from_the_right() {
        let cases = [
            ("/v2", "base"),
            ("/v2/", "base"),
            ("/v2/_catalog", "catalog"),
            ("/v2/a/_catalog", "base"),
            ("/v2/a/b/tags/list", "tags"),
            ("/v2/a/manifests/manifests/latest", "manifest"),
            ("/v2/a/blobs/uploads/", "blob_upload"),
            ("/v2/a/blobs/uploads", "blob_upload"),
            ("/v2/a/blobs/uploads/0198", "blob_upload_chunk"),
            ("/v2/a/blobs/sha256:00", "blob"),
            ("/v2/a/blobs/blobs/sha256:00", "blob"),
            ("/v2/a/referrers/sha256:00", "referrers"),
            ("/service/token", "token"),
        ];
        for (path, handler) in cases {
            assert_eq!(Family::of(path, "x"), Family::Registry(handler), "{path}");
        }
        for path in ["/v2x/manifests/a", "/api/v2.0/ping", "/service/tokens", "/"] {
            assert_eq!(Family::of(path, "x"), Family::Platform("x"), "{path}");
        }
    }
}
