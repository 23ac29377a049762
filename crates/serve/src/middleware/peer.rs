//! Whose request it is: the address at the other end, or what trusted proxies say stands behind them.
//!
//! Forwarded headers from anybody else are noise. After this module nobody can read them any more: they are
//! stripped, so that no service and no library helper believes them by accident.

use std::net::IpAddr;
use std::str::FromStr;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Headers by which a proxy speaks, and the names Hythe itself uses towards its services.
pub fn is_trust_header(name: &str) -> bool {
    name.starts_with("x-hythe-")
        || name.starts_with("x-forwarded-")
        || matches!(name, "forwarded" | "x-real-ip")
}

/// The client as services see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: Option<IpAddr>,
    /// `http` or `https`, as the client used it.
    pub scheme: &'static str,
    /// Whether it was a trusted proxy that spoke, so that what it forwards may be passed on.
    pub through_proxy: bool,
}

impl Peer {
    /// The address, or `unknown`.
    pub fn address_text(&self) -> String {
        self.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
    }
}

/// Walks the forwarded addresses from the nearest to the farthest and stops at the first that is not a
/// trusted proxy: what stands left of it was written by somebody nobody vouches for.
///
/// `lines` gives the values of a header, line by line, in order.
pub fn resolve<'a>(
    socket: Option<IpAddr>,
    trusted: &[Network],
    lines: impl Fn(&'static str) -> Vec<&'a str>,
) -> Peer {
    let socket = socket.map(|address| address.to_canonical());
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(*address));
    if !socket.as_ref().is_some_and(is_trusted) {
        return Peer { address: socket, scheme: "http", through_proxy: false };
    }
    let mut address = socket;
    for forwarded in list(&lines(FORWARDED_FOR)).rev() {
        let Some(next) = parse_forwarded(forwarded) else {
            break;
        };
        address = Some(next);
        if !is_trusted(&next) {
            break;
        }
    }
    let scheme = match list(&lines(FORWARDED_PROTO)).next_back() {
        Some(value) if value.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    Peer { address, scheme, through_proxy: true }
}

/// The elements of a comma-separated header, over all its lines, in order.
fn list<'a>(lines: &[&'a str]) -> impl DoubleEndedIterator<Item = &'a str> {
    lines.iter().flat_map(|line| line.split(',')).map(str::trim)
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse_forwarded(text: &str) -> Option<IpAddr> {
    let address = if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        socket.ip()
    } else {
        text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?
    };
    Some(address.to_canonical())
}

/// A range of addresses, such as `10.0.0.0/8`; a bare address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is neither an address nor a range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is neither an address nor a range such as 10.0.0.0/8")]
pub struct NetworkError(String);

impl Network {
    pub(crate) fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same_prefix(own.to_bits().into(), other.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                same_prefix(own.to_bits(), other.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

fn same_prefix(left: u128, right: u128, width: u32, prefix: u8) -> bool {
    let ignored = width.saturating_sub(prefix.into());
    (left ^ right).checked_shr(ignored).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NetworkError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| refused())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(prefix) => prefix.trim().parse().map_err(|_| refused())?,
        };
        if prefix > width {
            return Err(refused());
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(socket: &str, sent: &[(&'static str, &str)], address: &str, scheme: &str) {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
        let peer = resolve(Some(socket.parse().unwrap()), &trusted, |wanted| {
            sent.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value).collect()
        });
        assert_eq!((peer.address_text().as_str(), peer.scheme), (address, scheme), "{sent:?}");
    }

    #[test]
    fn forwarded_headers_count_only_from_trusted_proxies() {
        let for_ = "x-forwarded-for";
        let proto = "x-forwarded-proto";
        check("203.0.113.9", &[(for_, "1.2.3.4"), (proto, "https")], "203.0.113.9", "http");
        check("10.1.1.1", &[], "10.1.1.1", "http");
        check("10.1.1.1", &[(for_, "1.2.3.4"), (proto, "https")], "1.2.3.4", "https");
        check("::ffff:10.1.1.1", &[(for_, "1.2.3.4")], "1.2.3.4", "http");
        // What the client wrote itself stands left of what the proxies appended.
        check("10.1.1.1", &[(for_, "6.6.6.6, 1.2.3.4, 192.0.2.7")], "1.2.3.4", "http");
        check("10.1.1.1", &[(for_, "6.6.6.6"), (for_, "1.2.3.4")], "1.2.3.4", "http");
        check("10.1.1.1", &[(for_, "1.2.3.4:5555")], "1.2.3.4", "http");
        check("fd00::1", &[(for_, "[2001:db8::1]:443")], "2001:db8::1", "http");
        check("10.1.1.1", &[(for_, "[2001:db8::1]")], "2001:db8::1", "http");
        check("10.1.1.1", &[(for_, "1.2.3.4, nonsense")], "10.1.1.1", "http");
        check("10.1.1.1", &[(for_, "10.2.2.2, 10.3.3.3")], "10.2.2.2", "http");
        check("10.1.1.1", &[(proto, "https, http")], "10.1.1.1", "http");
        check("10.1.1.1", &[(proto, "javascript")], "10.1.1.1", "http");
    }

    #[test]
    fn networks_are_parsed_strictly() {
        for text in ["10.0.0.0/33", "10.0.0/8", "x", "", "::/129", "1.2.3.4/", "1.2.3.4/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let everything: Network = "0.0.0.0/0".parse().unwrap();
        assert!(everything.contains("255.1.2.3".parse().unwrap()));
        assert!(!everything.contains("::1".parse().unwrap()));
        let odd: Network = "192.0.2.128/25".parse().unwrap();
        assert!(odd.contains("192.0.2.200".parse().unwrap()));
        assert!(!odd.contains("192.0.2.127".parse().unwrap()));
    }
}
