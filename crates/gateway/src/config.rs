//! The `gateway` section of the configuration. No defaults live here.

use serde::Deserialize;

use crate::Error;
use crate::upstream::Address;

/// Where requests go and how long they may be on their way.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub upstreams: Upstreams,
    /// How long an upstream may take to accept a connection.
    pub connect_timeout_ms: u64,
    /// How long nothing may move between gateway and upstream while a request is under way. There is no limit
    /// on how long the whole of it takes.
    pub idle_timeout_seconds: u64,
    /// How long an unused connection to an upstream is kept; less than upstreams keep theirs.
    pub pool_idle_seconds: u64,
    /// Unused connections kept per upstream.
    pub pool_connections_max: usize,
    /// Time between two looks at an upstream; 0 looks at none.
    pub health_interval_seconds: u64,
    /// What is asked of an upstream; any answer below 500 is good.
    pub health_path: String,
    /// The port that is asked; 0 is the upstream's own.
    pub health_port: u16,
}

/// Base addresses of the processes of each service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstreams {
    pub registry: Vec<String>,
    pub auth: Vec<String>,
    pub projects: Vec<String>,
    pub console: Vec<String>,
}

impl Upstreams {
    /// The addresses of `service`; none for a service nobody has heard of.
    pub(crate) fn of(&self, service: &str) -> &[String] {
        match service {
            "registry" => &self.registry,
            "auth" => &self.auth,
            "projects" => &self.projects,
            "console" => &self.console,
            _ => &[],
        }
    }

    /// The parsed addresses of `service`.
    pub(crate) fn addresses(&self, service: &'static str) -> Result<Vec<Address>, Error> {
        let parse =
            |url: &String| Address::parse(url).ok_or_else(|| Error::Upstream { service, url: url.clone() });
        self.of(service).iter().map(parse).collect()
    }
}

impl Config {
    /// What is wrong with the values, each with its key: `gateway.health_path: …`.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for service in ["registry", "auth", "projects", "console"] {
            if let Err(error) = self.upstreams.addresses(service) {
                problems.push(error.to_string());
            }
        }
        let ranges: [(&str, u64, u64, u64); 5] = [
            ("connect_timeout_ms", self.connect_timeout_ms, 10, 60_000),
            ("idle_timeout_seconds", self.idle_timeout_seconds, 1, 86_400),
            ("pool_idle_seconds", self.pool_idle_seconds, 1, 3600),
            ("pool_connections_max", self.pool_connections_max as u64, 1, 65_536),
            ("health_interval_seconds", self.health_interval_seconds, 0, 3600),
        ];
        for (key, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                problems.push(format!("gateway.{key}: {value} is not between {low} and {high}"));
            }
        }
        let path_fine = self.health_path.starts_with('/')
            && self.health_path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !path_fine {
            problems
                .push(format!("gateway.health_path: {:?} is not a path such as /readyz", self.health_path));
        }
        problems
    }
}
