//! The processes of one service: which of them are fit to be asked, and which is asked next.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::pool::Pool;

/// How long an upstream that failed a request is left alone, unless a look at it succeeds earlier.
const EJECTION: Duration = Duration::from_secs(10);
/// Requests in a row that must fail half-way before that happens. A refused connection is enough by itself.
const FAILURES_MAX: u32 = 3;
/// Looks in a row that must fail before an upstream counts as unhealthy.
const LOOKS_FAILED_MAX: u32 = 2;

/// `http://host:port` taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    /// Only a scheme, a host and perhaps a port: paths are passed on as they come.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let authority = url.strip_prefix("http://")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let v6 = authority.starts_with('[');
        let host_fine = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte) || v6);
        let port = port.map_or(Some(80), |port| port.parse().ok().filter(|port| *port != 0))?;
        host_fine.then(|| Self { host: host.to_owned(), port })
    }

    /// As in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// One process.
pub(crate) struct Upstream {
    pub address: Address,
    pub pool: Pool,
    in_flight: AtomicUsize,
    healthy: AtomicBool,
    looks_failed: AtomicU32,
    failures: AtomicU32,
    /// Milliseconds after `begun`.
    ejected_until: AtomicU64,
    begun: Instant,
}

impl Upstream {
    pub(crate) fn new(address: Address, pool: Pool) -> Self {
        Self {
            address,
            pool,
            in_flight: AtomicUsize::new(0),
            // Until somebody has looked, everybody is given a chance.
            healthy: AtomicBool::new(true),
            looks_failed: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }

    pub(crate) fn is_available(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
            && self.begun.elapsed().as_millis() as u64 >= self.ejected_until.load(Ordering::Relaxed)
    }

    /// A request was answered.
    pub(crate) fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// A request was not answered; `at_once` when no further proof is needed.
    pub(crate) fn failed(&self, at_once: bool) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if at_once || failures >= FAILURES_MAX {
            let until = (self.begun.elapsed() + EJECTION).as_millis() as u64;
            self.ejected_until.store(until, Ordering::Relaxed);
        }
    }

    /// The outcome of a look. Tells whether that changed anything.
    pub(crate) fn looked_at(&self, good: bool) -> bool {
        if good {
            self.looks_failed.store(0, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
            return !self.healthy.swap(true, Ordering::Relaxed);
        }
        let failed = self.looks_failed.fetch_add(1, Ordering::Relaxed) + 1;
        failed >= LOOKS_FAILED_MAX && self.healthy.swap(false, Ordering::Relaxed)
    }
}

/// A request at an upstream; counts until dropped.
pub(crate) struct Visit {
    pub upstream: Arc<Upstream>,
}

impl Visit {
    fn new(upstream: Arc<Upstream>) -> Self {
        upstream.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { upstream }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.upstream.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the connections to each upstream are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    pub connections_max: usize,
    pub idle_max: Duration,
}

/// All processes of one service.
///
/// A configured name may stand for several processes, as that of a scaled container service does: each of its
/// addresses is an upstream of its own then, with its own health and its own connections.
pub(crate) struct Group {
    pub name: &'static str,
    configured: Vec<Address>,
    limits: PoolLimits,
    upstreams: RwLock<Arc<[Arc<Upstream>]>>,
    next: AtomicUsize,
}

impl Group {
    pub(crate) fn new(name: &'static str, configured: Vec<Address>, limits: PoolLimits) -> Self {
        let upstreams = configured.iter().map(|address| upstream(address.clone(), limits)).collect();
        Self { name, configured, limits, upstreams: RwLock::new(upstreams), next: AtomicUsize::new(0) }
    }

    /// The upstreams as they are known now.
    pub(crate) fn upstreams(&self) -> Arc<[Arc<Upstream>]> {
        self.upstreams.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configured addresses that are names, which may come to stand for other processes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Address> {
        self.configured.iter().filter(|address| address.host.parse::<IpAddr>().is_err())
    }

    /// Takes note of what names stand for. A name with one address stays a name: whoever connects asks for it anew,
    /// so a process that comes back under another address is found at once.
    pub(crate) fn settle(&self, found: &[(Address, Vec<IpAddr>)]) {
        let known = self.upstreams();
        let same = |address: &Address| known.iter().find(|upstream| upstream.address == *address).cloned();
        let mut next: Vec<Arc<Upstream>> = Vec::new();
        for address in &self.configured {
            let several = found.iter().find(|(name, ips)| name == address && ips.len() > 1);
            let addresses = match several {
                Some((_, ips)) => {
                    ips.iter().map(|ip| Address { host: ip.to_string(), port: address.port }).collect()
                }
                None => vec![address.clone()],
            };
            for address in addresses {
                if !next.iter().any(|upstream| upstream.address == address) {
                    next.push(same(&address).unwrap_or_else(|| upstream(address, self.limits)));
                }
            }
        }
        let changed =
            next.len() != known.len() || next.iter().zip(known.iter()).any(|(a, b)| !Arc::ptr_eq(a, b));
        if changed {
            *self.upstreams.write().unwrap_or_else(PoisonError::into_inner) = next.into();
        }
    }

    pub(crate) fn is_available(&self) -> bool {
        self.upstreams().iter().any(|upstream| upstream.is_available())
    }

    /// The available upstream with the fewest requests, in turns among equals, and another than `not`. When
    /// none is available one of the others is tried all the same: a wrong verdict must not be an outage.
    pub(crate) fn pick(&self, not: Option<&Arc<Upstream>>) -> Option<Visit> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let upstreams = self.upstreams();
        let count = upstreams.len();
        let in_turn = (0..count).map(|step| &upstreams[turn.wrapping_add(step) % count]);
        let others = in_turn.filter(|upstream| not.is_none_or(|not| !Arc::ptr_eq(not, upstream)));
        let load = |upstream: &&Arc<Upstream>| {
            (!upstream.is_available(), upstream.in_flight.load(Ordering::Relaxed))
        };
        others.min_by_key(load).map(|upstream| Visit::new(upstream.clone()))
    }
}

fn upstream(address: Address, limits: PoolLimits) -> Arc<Upstream> {
    Arc::new(Upstream::new(address, Pool::new(limits.connections_max, limits.idle_max)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LIMITS: PoolLimits = PoolLimits { connections_max: 1, idle_max: Duration::from_secs(1) };

    fn group(count: u16) -> Group {
        let addresses = (1..=count).map(|port| Address { host: "x".to_owned(), port }).collect();
        Group::new("test", addresses, LIMITS)
    }

    #[test]
    fn a_name_with_several_addresses_is_several_upstreams() {
        let name = Address { host: "registry".to_owned(), port: 8080 };
        let fixed = Address { host: "10.0.0.9".to_owned(), port: 80 };
        let group = Group::new("test", vec![name.clone(), fixed.clone()], LIMITS);
        assert_eq!(group.names().collect::<Vec<_>>(), [&name]);
        let shown = || group.upstreams().iter().map(|one| one.address.authority()).collect::<Vec<_>>();
        let ips = |list: &[&str]| vec![(name.clone(), list.iter().map(|ip| ip.parse().unwrap()).collect())];
        group.settle(&ips(&["10.0.0.1"]));
        assert_eq!(shown(), ["registry:8080", "10.0.0.9:80"]);
        group.settle(&ips(&["10.0.0.1", "10.0.0.2"]));
        assert_eq!(shown(), ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.9:80"]);
        let kept = group.upstreams()[1].clone();
        kept.failed(true);
        group.settle(&ips(&["10.0.0.2", "10.0.0.3"]));
        assert_eq!(shown(), ["10.0.0.2:8080", "10.0.0.3:8080", "10.0.0.9:80"]);
        assert!(Arc::ptr_eq(&kept, &group.upstreams()[0]), "what is known of it is kept");
        // A name that cannot be looked up is asked for by whoever connects.
        group.settle(&[]);
        assert_eq!(shown(), ["registry:8080", "10.0.0.9:80"]);
    }

    fn port(visit: &Visit) -> u16 {
        visit.upstream.address.port
    }

    #[test]
    fn addresses_are_parsed_strictly() {
        for (url, authority) in [
            ("http://registry:8080", "registry:8080"),
            ("http://10.0.0.1", "10.0.0.1:80"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(Address::parse(url).unwrap().authority(), authority);
        }
        for url in [
            "registry:8080",
            "https://x",
            "http://",
            "http://x:y",
            "http://x/y",
            "http://u@x",
            "http://[x]",
            "http://x:0",
        ] {
            assert_eq!(Address::parse(url), None, "{url}");
        }
    }

    #[test]
    fn the_least_busy_is_asked_and_equals_take_turns() {
        let group = group(3);
        let visits: Vec<_> = (0..3).map(|_| group.pick(None).unwrap()).collect();
        let mut ports: Vec<_> = visits.iter().map(port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3]);
        let mut visits = visits;
        let free = visits.pop().unwrap();
        let expected = port(&free);
        let first = free.upstream.clone();
        drop(free);
        assert_eq!(port(&group.pick(None).unwrap()), expected);
        assert_ne!(port(&group.pick(Some(&first)).unwrap()), expected);
    }

    #[test]
    fn sick_upstreams_are_passed_over_until_they_are_well() {
        let group = group(2);
        let sick = group.upstreams()[0].clone();
        assert!(!sick.looked_at(false));
        assert!(sick.is_available(), "one failed look is not enough");
        assert!(sick.looked_at(false));
        for _ in 0..4 {
            assert_eq!(port(&group.pick(None).unwrap()), 2);
        }
        assert!(sick.looked_at(true));
        assert!(sick.is_available());
        sick.failed(false);
        sick.failed(false);
        assert!(sick.is_available());
        sick.failed(false);
        assert!(!sick.is_available(), "three failures in a row eject");
        sick.looked_at(true);
        sick.failed(true);
        assert!(!sick.is_available());
        group.upstreams()[1].failed(true);
        assert!(!group.is_available());
        assert!(group.pick(None).is_some(), "somebody is asked all the same");
        assert!(super::tests::group(1).pick(None).is_some());
        let alone = super::tests::group(1);
        assert!(alone.pick(Some(&alone.upstreams()[0])).is_none());
    }
}
