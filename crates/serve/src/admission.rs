//! How many connections one address may have open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::middleware::peer::Network;

/// Counts open connections by address. Clones count together.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

struct Shared {
    per_address_max: usize,
    /// Everybody's requests come from these.
    trusted: Vec<Network>,
    /// Bounded by the number of open connections: an address leaves with its last one.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// The right to one connection, given back when dropped.
pub struct Place {
    counted: Option<(Arc<Shared>, IpAddr)>,
}

impl Admission {
    /// At most `per_address_max` connections for each address that is not in `trusted`; 0 is no limit.
    pub fn new(per_address_max: usize, trusted: Vec<Network>) -> Self {
        Self { shared: Arc::new(Shared { per_address_max, trusted, open: Mutex::default() }) }
    }

    /// A place for a connection from `peer`, unless that address has too many.
    pub fn admit(&self, peer: IpAddr) -> Option<Place> {
        let exact = peer.to_canonical();
        let unlimited = self.shared.per_address_max == 0
            || self.shared.trusted.iter().any(|network| network.contains(exact));
        if unlimited {
            return Some(Place { counted: None });
        }
        let peer = neighbourhood(exact);
        let mut open = self.shared.open();
        let count = open.entry(peer).or_insert(0);
        if *count >= self.shared.per_address_max {
            metrics::counter!("hythe_http_connections_refused_total", "reason" => "address_limit")
                .increment(1);
            return None;
        }
        *count += 1;
        Some(Place { counted: Some((self.shared.clone(), peer)) })
    }
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Counting cannot panic half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((shared, peer)) = self.counted.take() else { return };
        let mut open = shared.open();
        if let Some(count) = open.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&peer);
            }
        }
    }
}

/// Who is counted as one: an address of IPv4, a /64 of IPv6, which is the least that one customer gets.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        v4 => v4,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_gives_them_back() {
        let admission = Admission::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let peer: IpAddr = "203.0.113.9".parse().unwrap();
        let first = admission.admit(peer).unwrap();
        let _second = admission.admit("::ffff:203.0.113.9".parse().unwrap()).unwrap();
        assert!(admission.admit(peer).is_none());
        assert!(admission.admit("203.0.113.10".parse().unwrap()).is_some());
        drop(first);
        assert!(admission.admit(peer).is_some());
        let proxies: Vec<_> = (0..9).map(|_| admission.admit("10.1.1.1".parse().unwrap())).collect();
        assert!(proxies.iter().all(Option::is_some));
        assert_eq!(admission.shared.open().len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let admission = Admission::new(1, Vec::new());
        let _held = admission.admit("2001:db8:1:2::1".parse().unwrap()).unwrap();
        assert!(admission.admit("2001:db8:1:2:ffff::2".parse().unwrap()).is_none());
        assert!(admission.admit("2001:db8:1:3::1".parse().unwrap()).is_some());
        let trusting = Admission::new(1, vec!["2001:db8:1:2::9".parse().unwrap()]);
        let proxies: Vec<_> = (0..9).map(|_| trusting.admit("2001:db8:1:2::9".parse().unwrap())).collect();
        assert!(proxies.iter().all(Option::is_some));
        assert!(Admission::new(0, Vec::new()).admit("::1".parse().unwrap()).is_some());
    }
}
