//! Which headers go on. What belongs to one connection stays there, and what only a proxy may say is said by
//! this one alone.

use std::net::{IpAddr, SocketAddr};

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use serve::{Peer, RequestId};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Makes a client's headers fit for an upstream. `local` is where the client connected, for the rare client that
/// names no host.
pub(crate) fn clean_request(headers: &mut HeaderMap, peer: &Peer, local: SocketAddr, id: &RequestId) {
    // A host that a proxy in front replaced, as told by a proxy that is believed.
    let proxied_host = match peer.through_proxy {
        true => headers.get(FORWARDED_HOST).cloned(),
        false => None,
    };
    drop_hop_by_hop(headers);
    // The gateway itself says "go on", when the upstream wants the body.
    headers.remove(EXPECT);
    let untrusted: Vec<HeaderName> =
        headers.keys().filter(|name| may_only_a_proxy_say(name.as_str())).cloned().collect();
    for name in untrusted {
        headers.remove(name);
    }
    let host = headers.entry(HOST).or_insert_with(|| text(&local.to_string())).clone();
    // The client alone, as far as it is known: an upstream then needs to trust nobody but the gateway.
    let client = peer.address.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    headers.insert(FORWARDED_FOR, text(&client.to_string()));
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(peer.scheme));
    headers.insert(FORWARDED_HOST, proxied_host.unwrap_or(host));
    headers.insert(REQUEST_ID, text(id.as_str()));
}

/// Makes an upstream's headers fit for the client.
pub(crate) fn clean_answer(headers: &mut HeaderMap, id: &RequestId) {
    drop_hop_by_hop(headers);
    headers.insert(REQUEST_ID, text(id.as_str()));
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // What frames and routes the message is not for one connection, whatever somebody says.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Headers that carry trust in some system or other. Spelled with underscores as well: what an upstream's library
/// takes for the same must not come through.
fn may_only_a_proxy_say(name: &str) -> bool {
    let dashed;
    let name = if name.contains('_') {
        dashed = name.replace('_', "-");
        &dashed
    } else {
        name
    };
    serve::is_trust_header(name)
        || ["x-remote-", "x-webauth-", "x-auth-request-", "x-original-", "x-rewrite-", "x-http-method"]
            .iter()
            .any(|start| name.starts_with(start))
        || name == "x-method-override"
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn cleaned(lines: &[(&'static str, &'static str)], through_proxy: bool) -> Vec<String> {
        let peer = Peer {
            address: Some("203.0.113.9".parse().unwrap()),
            scheme: if through_proxy { "https" } else { "http" },
            through_proxy,
        };
        let mut headers = headers(lines);
        let id = RequestId::choose(std::iter::once(b"id-1".as_slice()));
        clean_request(&mut headers, &peer, "192.0.2.1:8080".parse().unwrap(), &id);
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let kept = cleaned(
            &[
                ("host", "r.example"),
                ("connection", "keep-alive, X-Secret-Hop, host, content-length"),
                ("connection", "close"),
                ("keep-alive", "timeout=5"),
                ("proxy-authorization", "Basic x"),
                ("te", "trailers"),
                ("trailer", "x-sum"),
                ("upgrade", "websocket"),
                ("expect", "100-continue"),
                ("x-secret-hop", "1"),
                ("content-length", "5"),
                ("authorization", "Bearer t"),
            ],
            false,
        );
        assert_eq!(
            kept,
            [
                "authorization: Bearer t",
                "content-length: 5",
                "host: r.example",
                "x-forwarded-for: 203.0.113.9",
                "x-forwarded-host: r.example",
                "x-forwarded-proto: http",
                "x-request-id: id-1",
            ]
        );
        let mut answer =
            headers(&[("connection", "x-hop"), ("x-hop", "1"), ("transfer-encoding", "chunked")]);
        clean_answer(&mut answer, &RequestId::choose(std::iter::once(b"id-1".as_slice())));
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[REQUEST_ID], "id-1");
    }

    #[test]
    fn az_15_what_a_client_says_about_itself_goes_no_further() {
        let said = [
            ("host", "r.example"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-user", "admin"),
            ("x-forwarded-port", "1"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x_forwarded-user", "admin"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("x-hythe-peer", "6.6.6.6"),
            ("x_hythe_peer", "6.6.6.6"),
            ("x-remote-user", "admin"),
            ("x-webauth-user", "admin"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("x-request-id", "their-own"),
        ];
        let common = ["host: r.example", "x-forwarded-for: 203.0.113.9"];
        let rest = ["x-forwarded-host: r.example", "x-forwarded-proto: http", "x-request-id: id-1"];
        assert_eq!(cleaned(&said, false), [&common[..], &rest].concat());
        // A trusted proxy is believed: it has resolved the address and the scheme, and may name the host.
        let rest = ["x-forwarded-host: evil.example", "x-forwarded-proto: https", "x-request-id: id-1"];
        assert_eq!(cleaned(&said, true), [&common[..], &rest].concat());
    }

    #[test]
    fn a_client_without_a_host_gets_the_address_it_connected_to() {
        let kept = cleaned(&[], false);
        assert!(kept.contains(&"host: 192.0.2.1:8080".to_owned()), "{kept:?}");
    }
}
