//! The `http.limits` section: what one client may take from a listener.

use serde::Deserialize;

use nix::sys::resource::{Resource, getrlimit};

/// What a connection, an address and the whole process may use. No defaults live here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open connections of the process; more wait in the backlog.
    pub connections_max: usize,
    /// Open connections from one address (one /64 of IPv6); trusted proxies are not counted. 0 is no limit.
    pub connections_per_address_max: usize,
    /// Header names and values together.
    pub head_bytes_max: usize,
    /// Path and query as sent.
    pub url_bytes_max: usize,
    /// Seconds for a whole head: of the first request since the connection was opened, of later ones since
    /// their first byte.
    pub head_timeout_seconds: u64,
    /// What a client has to send or take while a body is on its way.
    pub body_bytes_per_second_min: u64,
    /// Seconds a client may stay below that.
    pub body_stall_seconds: u64,
    /// Requests per second from one address; 0 is no limit.
    pub requests_per_second: u32,
    /// Requests an address may make at once before `requests_per_second` counts.
    pub requests_burst: u32,
    /// Token requests and logins per minute from one address; 0 is no limit.
    pub logins_per_minute: u32,
    /// Token requests and logins an address may make at once before `logins_per_minute` counts.
    pub logins_burst: u32,
}

/// File descriptors kept for everything that is not a client's connection: database, blobs, logs.
const DESCRIPTORS_KEPT: (usize, usize) = (64, 1024);

impl Limits {
    /// `connections_max`, lowered to what the process may open, when a connection needs `descriptors` of them.
    /// Without that a crowd of idle clients takes the descriptors away from the database and the blob store.
    pub fn connections(&self, descriptors: usize) -> usize {
        let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(usize::MAX, |(soft, _)| {
            let soft = usize::try_from(soft).unwrap_or(usize::MAX);
            connections_within(soft, descriptors)
        });
        self.connections_max.min(allowed).max(1)
    }
}

fn connections_within(open_files_max: usize, descriptors: usize) -> usize {
    let kept = (open_files_max / 4).clamp(DESCRIPTORS_KEPT.0, DESCRIPTORS_KEPT.1);
    open_files_max.saturating_sub(kept) / descriptors.max(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Limits that no ordinary test reaches.
    pub(crate) fn generous() -> Limits {
        Limits {
            connections_max: 1000,
            connections_per_address_max: 0,
            head_bytes_max: 16 * 1024,
            url_bytes_max: 8 * 1024,
            head_timeout_seconds: 20,
            body_bytes_per_second_min: 1024,
            body_stall_seconds: 60,
            requests_per_second: 0,
            requests_burst: 0,
            logins_per_minute: 0,
            logins_burst: 0,
        }
    }

    #[test]
    fn some_descriptors_are_left_for_the_rest_of_the_process() {
        assert_eq!(connections_within(256, 1), 192);
        assert_eq!(connections_within(256, 2), 96);
        assert_eq!(connections_within(65536, 1), 64512);
        assert_eq!(connections_within(32, 1), 0);
    }
}
