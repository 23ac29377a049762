//! The `http` section of the configuration. No defaults live here: they are in
//! `deploy/config/hythe.default.yaml`, and a missing key is an error.

use serde::Deserialize;

use crate::Limits;
use crate::middleware::peer::{Network, NetworkError};

/// How the public and the operations listener behave.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the public listener, `host:port`; port 0 lets the system choose.
    pub addr: String,
    /// Address of the operations listener (health, metrics), or `off`.
    pub ops_addr: String,
    /// The address clients use, such as `https://registry.example.org`; unset: the request's `Host` is believed.
    pub external_url: Option<String>,
    /// Addresses or CIDR ranges of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<String>,
    /// HTTP worker threads; 0 means one per CPU.
    pub workers: usize,
    /// Threads per HTTP worker for blocking work; services run theirs on the main runtime instead.
    pub worker_blocking_threads_max: usize,
    /// How long an idle connection stays open.
    pub keep_alive_seconds: u64,
    /// How long a closing connection may go on sending what nobody reads, so that the answer is not lost.
    pub linger_timeout_seconds: u64,
    /// Time between "not ready" and closing the listener, for load balancers to notice.
    pub drain_delay_ms: u64,
    /// How long requests in flight may take to finish at shutdown.
    pub drain_timeout_seconds: u64,
    /// One log line per request.
    pub access_log: bool,
    /// What one client may take.
    pub limits: Limits,
}

impl Config {
    /// The parsed `trusted_proxies`; the error names the entry that is neither an address nor a range.
    pub fn trusted_networks(&self) -> Result<Vec<Network>, NetworkError> {
        self.trusted_proxies.iter().map(|text| text.parse()).collect()
    }

    /// `workers`, with 0 resolved to the number of CPUs.
    pub(crate) fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            count => count,
        }
        .clamp(1, 512)
    }
}
