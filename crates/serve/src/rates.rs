//! How often one address may ask: a general rate, and a separate one for token requests and logins.
//!
//! Per process and in memory: it keeps a busy client from crowding out others. Guessing passwords is stopped
//! elsewhere, by rows that every process sees.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::Limits;
use crate::admission::neighbourhood;
use crate::mount::covers;

/// Addresses remembered at the same time. Beyond that, those not seen lately are forgotten; if all are recent,
/// newcomers share one allowance until there is room.
const ADDRESSES_MAX: usize = 65_536;
/// Paths where names and passwords are presented.
const LOGIN_PATHS: &[&str] = &["/service/token", "/c/login", "/login", "/api/v2.0/users/current/password"];

/// The two rates. Addresses are clients' own, as seen through trusted proxies.
pub struct Rates {
    general: Option<Limiter>,
    logins: Option<Limiter>,
}

/// Too often; a whole number of seconds after which it is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften {
    pub retry_after_seconds: u64,
}

impl TooOften {
    /// Code and message of the answer, in the words of the surface that `path` belongs to.
    pub fn words(self, path: &str) -> (&'static str, &'static str) {
        let code = if covers("/v2", path) { "TOOMANYREQUESTS" } else { "TOO_MANY_REQUESTS" };
        (code, "too many requests from your address")
    }
}

impl Rates {
    /// The rates of the `http.limits` section; those that are 0 are off.
    pub fn new(limits: &Limits) -> Self {
        let second = Duration::from_secs(1);
        Self {
            general: Limiter::new(limits.requests_per_second, second, limits.requests_burst),
            logins: Limiter::new(limits.logins_per_minute, 60 * second, limits.logins_burst),
        }
    }

    /// Counts one request of `peer` for the raw `path`.
    pub fn check(&self, peer: Option<IpAddr>, path: &str) -> Result<(), TooOften> {
        let Some(peer) = peer else { return Ok(()) };
        if let Some(logins) = &self.logins
            && LOGIN_PATHS.iter().any(|login| covers(login, path))
        {
            logins.check(peer, "logins")?;
        }
        match &self.general {
            Some(general) => general.check(peer, "requests"),
            None => Ok(()),
        }
    }
}

struct Limiter {
    by_address: RateLimiter<Option<IpAddr>, HashMapStateStore<Option<IpAddr>>, DefaultClock>,
    clock: DefaultClock,
    addresses_max: usize,
    /// A look through all addresses costs more than a request may.
    swept: Mutex<Option<Instant>>,
}

impl Limiter {
    /// `count` per `period`, and `burst` at once; none when `count` is 0.
    fn new(count: u32, period: Duration, burst: u32) -> Option<Self> {
        let quota = Quota::with_period(period.checked_div(count)?)?
            .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        Some(Self {
            by_address: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
            addresses_max: ADDRESSES_MAX,
            swept: Mutex::default(),
        })
    }

    fn check(&self, peer: IpAddr, what: &'static str) -> Result<(), TooOften> {
        let mut key = Some(neighbourhood(peer));
        if self.by_address.len() >= self.addresses_max {
            self.forget_old();
            if self.by_address.len() >= self.addresses_max {
                key = None;
            }
        }
        self.by_address.check_key(&key).map_err(|until| {
            metrics::counter!("hythe_http_rate_limited_total", "limit" => what).increment(1);
            let wait = until.wait_time_from(self.clock.now());
            TooOften { retry_after_seconds: wait.as_secs() + 1 }
        })
    }

    /// Forgets addresses whose allowance is whole again, at most once a second.
    fn forget_old(&self) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            self.by_address.retain_recent();
            *swept = Some(Instant::now());
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn limits(requests_per_second: u32, logins_per_minute: u32) -> Limits {
        Limits { requests_per_second, logins_per_minute, ..crate::limits::tests::generous() }
    }

    #[test]
    fn each_address_has_its_own_allowance_and_logins_count_apart() {
        let rates = Rates::new(&Limits { logins_burst: 2, ..limits(0, 1) });
        let ana = Some("203.0.113.1".parse().unwrap());
        for _ in 0..2 {
            assert_eq!(rates.check(ana, "/service/token"), Ok(()));
        }
        let refused = rates.check(ana, "/service/token").unwrap_err();
        assert!((55..=61).contains(&refused.retry_after_seconds), "{refused:?}");
        assert_eq!(rates.check(ana, "/v2/"), Ok(()));
        assert_eq!(rates.check(Some("203.0.113.2".parse().unwrap()), "/service/token"), Ok(()));

        let rates = Rates::new(&Limits { requests_burst: 1, ..limits(1, 0) });
        assert_eq!(rates.check(ana, "/v2/"), Ok(()));
        assert_eq!(rates.check(ana, "/v2/"), Err(TooOften { retry_after_seconds: 1 }));
        let off = Rates::new(&limits(0, 0));
        assert!((0..1000).all(|_| off.check(ana, "/service/token").is_ok()));
    }

    #[test]
    fn many_addresses_take_bounded_memory() {
        let mut limiter = Limiter::new(1, Duration::from_secs(60), 1).unwrap();
        limiter.addresses_max = 100;
        for n in 0..10_000_u32 {
            let _ = limiter.check(IpAddr::V4((n + 1).into()), "requests");
        }
        assert!(limiter.by_address.len() <= 101, "{}", limiter.by_address.len());
        // A known address keeps its own state.
        assert!(limiter.check("0.0.0.1".parse().unwrap(), "requests").is_err());
    }
}
