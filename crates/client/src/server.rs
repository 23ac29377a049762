//! The address of a server as people write it.

use std::fmt;
use std::net::IpAddr;

/// `scheme://host[:port]`, in one spelling: it is also the name under which credentials are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(String);

impl Server {
    /// Reads an address. Without a scheme it is https, on this very machine http, as Docker does it.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            Err(format!("{text:?} is no address of a server: {why}; for example https://hub.example.org"))
        };
        let whole = if text.contains("://") {
            text.to_owned()
        } else if is_here(host_of(text)) {
            format!("http://{text}")
        } else {
            format!("https://{text}")
        };
        let Ok(url) = reqwest::Url::parse(&whole) else { return refused("it cannot be read") };
        if !["http", "https"].contains(&url.scheme()) {
            return refused("the scheme is http or https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            // Not repeated in the message: it may be a real password.
            return Err("an address holds no name and no password: give them to hythe login".to_owned());
        }
        if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
            return refused("nothing follows the host and the port");
        }
        match url.host_str() {
            Some(host) if !host.is_empty() => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                Ok(Self(format!("{}://{host}{port}", url.scheme())))
            }
            _ => refused("the host is missing"),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is sent can be read on the way: no TLS, and not on this machine.
    pub fn is_exposed(&self) -> bool {
        self.0.strip_prefix("http://").is_some_and(|rest| !is_here(host_of(rest)))
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host in `host[:port]`, without the brackets of IPv6.
fn host_of(text: &str) -> &str {
    let text = text.split('/').next().unwrap_or_default();
    match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => text.split(':').next().unwrap_or_default(),
    }
}

fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_spelling() {
        for (text, expected) in [
            ("https://hub.example.org", "https://hub.example.org"),
            ("https://HUB.example.org:443/", "https://hub.example.org"),
            ("hub.example.org:8443", "https://hub.example.org:8443"),
            ("http://hub.example.org", "http://hub.example.org"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("localhost", "http://localhost"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ] {
            assert_eq!(Server::parse(text).as_ref().map(Server::as_str), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_without_its_password() {
        for text in ["", "ftp://a", "https://", "a/b", "https://a/?x=1", "https://a/#x", "a b", "a:99999"] {
            assert!(Server::parse(text).is_err(), "{text}");
        }
        let refused = Server::parse("https://admin:geheim@hub").expect_err("a password");
        assert!(!refused.contains("geheim"), "{refused}");
    }

    #[test]
    fn only_plain_http_to_elsewhere_is_exposed() {
        for (text, exposed) in [
            ("http://hub.example.org", true),
            ("http://10.0.0.1:8080", true),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:1", false),
            ("http://localhost", false),
            ("https://hub.example.org", false),
        ] {
            assert_eq!(Server::parse(text).map(|server| server.is_exposed()), Ok(exposed), "{text}");
        }
    }
}
