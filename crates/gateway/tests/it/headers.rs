//! Paths byte for byte, headers cleaned, ids, and requests that could be read twice.

use crate::support::*;

/// AZ-14: gateway and service read the same path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_and_queries_arrive_byte_for_byte() {
    let upstream = Upstream::named("up");
    let gateway = in_front_of(&[upstream.address]);
    blocking(move || {
        for target in [
            "/v2",
            "/v2/",
            "/v2/%5fcatalog?n=1&last=a%2Fb//../c;d",
            "/v2/lib/app/manifests/sha256:00?",
            "/v2/./_catalog",
            "/api/v2.0/projects/p/repositories/a%2Fb/artifacts",
            "/api/v2.0/projects/p/repositories/a%252Fb/artifacts?q=name%3D~x&&=",
            "/api/v2.0/search?q=a+b%20c",
            "/service/token?service=r&scope=repository%3Aa%2Fb%3Apull&scope=x",
        ] {
            let answer = get(gateway.address, target, "");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{target} {answer}");
            assert_eq!(upstream.last().line(), format!("GET {target} HTTP/1.1"));
        }
        let passed = upstream.count();
        for (target, status) in [
            ("/v2/a/../b", "400"),
            ("/v2/a/%2e%2e/b", "400"),
            ("/v2/a%2fb/tags/list", "400"),
            ("/v2/a%5cb", "400"),
            ("/v2/a%00", "400"),
            ("//v2/_catalog", "400"),
            ("/v2/a;b", "400"),
            ("http://evil.example/v2/", "400"),
            ("*", "400"),
            ("/v2x", "404"),
            ("/%762/", "404"),
            ("/", "404"),
            ("/livez", "404"),
            ("/metrics", "404"),
        ] {
            let answer = get(gateway.address, target, "");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {answer}");
            assert!(answer.contains("{\"errors\":[{\"code\":"), "{target} {answer}");
            assert!(header(&answer, "x-request-id").is_some(), "{target} {answer}");
        }
        assert_eq!(upstream.count(), passed, "nothing that was refused may arrive");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gw_04_only_the_gateway_says_who_the_client_is() {
    let upstream = Upstream::start(|_| {
        Some(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
              X-Kept: 1\r\nX-Request-Id: other\r\n\r\nok"
                .to_vec(),
        )
    });
    let gateway = in_front_of(&[upstream.address]);
    let proxied = start(
        config(&[upstream.address]),
        serve::Config { trusted_proxies: vec!["127.0.0.1".to_owned()], ..http(limits()) },
    );
    blocking(move || {
        let said = "X-Forwarded-For: 6.6.6.6, 7.7.7.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n\
            X-Forwarded-User: admin\r\nX_Forwarded_User: admin\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
            X-Hythe-Peer: 6.6.6.6\r\nX-Remote-User: admin\r\nX-WEBAUTH-USER: admin\r\nProxy-Connection: x\r\n\
            X-HTTP-Method-Override: DELETE\r\nX-Request-Id: mine-1\r\nUpgrade: websocket\r\nTE: trailers\r\n\
            Authorization: Bearer t\r\n";
        let answer = get(gateway.address, "/v2/", said);
        assert_eq!(header(&answer, "x-request-id"), Some("mine-1"));
        assert_eq!(header(&answer, "x-kept"), Some("1"));
        assert_eq!((header(&answer, "x-hop"), header(&answer, "keep-alive")), (None, None), "{answer}");
        let seen = upstream.last();
        assert_eq!(seen.header("host"), ["r.example"]);
        assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.header("x-forwarded-proto"), ["http"]);
        assert_eq!(seen.header("x-forwarded-host"), ["r.example"]);
        assert_eq!(seen.header("x-request-id"), ["mine-1"]);
        assert_eq!(seen.header("authorization"), ["Bearer t"]);
        let head = seen.head.to_lowercase();
        for gone in ["6.6.6.6", "evil", "admin", "override", "upgrade", "connection", "\r\nte:"] {
            assert!(!head.contains(gone), "{gone} in {head}");
        }
        // From a proxy that is trusted the same headers count.
        get(proxied.address, "/v2/", said);
        let seen = upstream.last();
        assert_eq!(seen.header("x-forwarded-for"), ["7.7.7.7"]);
        assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.header("x-forwarded-host"), ["evil.example"]);
        // An id that is not one is replaced, and the same on both sides.
        let answer = get(gateway.address, "/v2/", "X-Request-Id: <script>\r\n");
        assert_eq!(upstream.last().header("x-request-id"), [header(&answer, "x-request-id").unwrap()]);
        assert!(!answer.contains("script"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ct_16_nobody_behind_sees_a_second_request() {
    let upstream = Upstream::named("up");
    let gateway = in_front_of(&[upstream.address]);
    blocking(move || {
        let smuggled = "GET /v2/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
        for head in [
            "POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 43\r\n\r\n",
            "POST /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "POST /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "POST /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "POST /v2/ HTTP/1.1\nHost: x\n\n",
            "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: 1\n\r\n",
            "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
            "GET /v2/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let answer = exchange(gateway.address, format!("{head}{smuggled}").as_bytes());
            assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?} {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?} {answer}");
        }
        let broken = "POST /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n";
        let answer = exchange(gateway.address, format!("{broken}{smuggled}").as_bytes());
        assert!(!answer.contains(" 200 "), "{answer}");
        assert_eq!(upstream.count(), 0, "{:?}", upstream.received);
    })
    .await;
}
