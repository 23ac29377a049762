//! What a type cannot say: ranges, addresses, and combinations that must not start.

use super::{Driver, Merged, Problem, Settings};

/// Adds a problem for every value that has the right type and is still wrong.
pub(super) fn check(settings: &Settings, merged: &Merged, problems: &mut Vec<Problem>) {
    let mut wrong = |key: &str, message: String| {
        problems.push(Problem { place: merged.place(key), message: format!("{key}: {message}") });
    };
    let http = &settings.http;
    if let Err(message) = address(&http.addr) {
        wrong("http.addr", message);
    }
    if http.ops_addr != "off"
        && let Err(message) = address(&http.ops_addr)
    {
        wrong("http.ops_addr", message);
    }
    if let Err(error) = http.trusted_networks() {
        wrong("http.trusted_proxies", error.to_string());
    } else if let Some(url) = &http.external_url {
        match external_url(url) {
            Err(message) => wrong("http.external_url", message),
            Ok(()) if url.starts_with("https:") && http.trusted_proxies.is_empty() => wrong(
                "http.external_url",
                "https, but this listener speaks plain HTTP and no proxy is trusted to have done TLS: \
                 name it in http.trusted_proxies"
                    .to_owned(),
            ),
            Ok(()) => {}
        }
    }
    if let Err(error) = serve::telemetry::check_level(&settings.log.level) {
        wrong("log.level", error.to_string());
    }
    if settings.storage.driver == Driver::S3 {
        for (key, message) in settings.storage.s3.problems() {
            wrong(&format!("storage.s3.{key}"), message);
        }
    }
    let filesystem = &settings.storage.filesystem;
    if filesystem.root.is_some() && !filesystem.roots.is_empty() {
        wrong(
            "storage.filesystem.roots",
            "storage.filesystem.root is set too: name its directory in roots, and remove root".to_owned(),
        );
    }
    for (position, root) in filesystem.roots.iter().enumerate() {
        if !root.is_absolute() {
            wrong("storage.filesystem.roots", format!("{:?} is not an absolute path", root.display()));
        } else if filesystem.roots[..position].contains(root) {
            wrong("storage.filesystem.roots", format!("{} is named twice", root.display()));
        }
    }
    if settings.database.owner_url.is_some() && settings.database.url.is_none() {
        wrong("database.owner_url", "set database.url too".to_owned());
    }
    let limits = &http.limits;
    let gc = &settings.catalog.gc;
    if !(-1..=3650).contains(&gc.untagged_days) {
        wrong("catalog.gc.untagged_days", format!("{} is not between -1 and 3650", gc.untagged_days));
    }
    let ranges: [(&str, u64, u64, u64); 23] = [
        ("http.workers", http.workers as u64, 0, 512),
        ("http.worker_blocking_threads_max", http.worker_blocking_threads_max as u64, 1, 512),
        ("http.keep_alive_seconds", http.keep_alive_seconds, 1, 3600),
        ("http.linger_timeout_seconds", http.linger_timeout_seconds, 1, 60),
        ("http.drain_delay_ms", http.drain_delay_ms, 0, 600_000),
        ("http.drain_timeout_seconds", http.drain_timeout_seconds, 1, 3600),
        ("http.limits.connections_max", limits.connections_max as u64, 1, 1_000_000),
        ("http.limits.head_bytes_max", limits.head_bytes_max as u64, 1024, 65_536),
        ("http.limits.url_bytes_max", limits.url_bytes_max as u64, 1024, 65_536),
        ("http.limits.head_timeout_seconds", limits.head_timeout_seconds, 1, 300),
        ("http.limits.body_bytes_per_second_min", limits.body_bytes_per_second_min, 1, 1_048_576),
        ("http.limits.body_stall_seconds", limits.body_stall_seconds, 1, 3600),
        ("http.limits.requests_burst", limits.requests_burst.into(), 1, 1_000_000),
        ("http.limits.logins_burst", limits.logins_burst.into(), 1, 1_000_000),
        ("storage.filesystem.reserve_mib", filesystem.reserve_mib, 0, 1 << 30),
        ("database.schema_wait_seconds", settings.database.schema_wait_seconds, 1, 86_400),
        ("database.pool_max", settings.database.pool_max.into(), 4, 1000),
        ("catalog.upload_hours_max", settings.catalog.upload_hours_max.into(), 1, 8760),
        ("catalog.upload_empty_minutes_max", settings.catalog.upload_empty_minutes_max.into(), 1, 10_080),
        ("catalog.pull_flush_seconds", settings.catalog.pull_flush_seconds, 1, 3600),
        ("catalog.gc.grace_seconds", gc.grace_seconds.into(), 60, 31_536_000),
        ("catalog.gc.interval_seconds", gc.interval_seconds.into(), 1, 3600),
        ("catalog.gc.pulled_days", gc.pulled_days.into(), 0, 3650),
    ];
    for (key, value, low, high) in ranges {
        if !(low..=high).contains(&value) {
            wrong(key, format!("{value} is not between {low} and {high}"));
        }
    }
    let problems_of_sections = settings.identity.problems().into_iter();
    for problem in problems_of_sections.chain(settings.worker.problems()).chain(settings.gateway.problems()) {
        match problem.split_once(": ") {
            Some((key, message)) => wrong(key, message.to_owned()),
            None => wrong("", problem),
        }
    }
}

/// `host:port`. Whether the host resolves shows when it is bound.
fn address(text: &str) -> Result<(), String> {
    let fault = || format!("{text:?} is not an address such as 0.0.0.0:8080");
    let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || bare_v6 || port.parse::<u16>().is_err() {
        return Err(fault());
    }
    Ok(())
}

/// `http(s)://host[:port]` and nothing else: paths, users and queries have no place in a registry's address.
fn external_url(url: &str) -> Result<(), String> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or("must begin with http:// or https://")?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or("has a broken address")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "has a broken address")?;
            ("v6", after.strip_prefix(':').or((after.is_empty()).then_some("0")))
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, Some("0")),
        },
    };
    let host_fine = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    if !host_fine || port.is_none_or(|port| port.parse::<u16>().is_err()) {
        return Err(format!(
            "{url:?} is not an address such as https://registry.example.org, without path and user"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_urls_are_hosts_only() {
        for url in
            ["http://r", "https://r.example:5000", "http://[::1]:80", "http://[::1]", "http://10.0.0.1"]
        {
            assert_eq!(external_url(url), Ok(()), "{url}");
        }
        for url in [
            "r.example",
            "http://",
            "http://r/",
            "http://r/x",
            "http://r?x",
            "http://u@r",
            "http://r:",
            "http://r:x",
            "http://[::1",
            "http://[::1]x",
            "http://r r",
            "HTTP://r",
        ] {
            assert!(external_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for text in ["0.0.0.0:0", "localhost:8080", "[::]:80"] {
            assert_eq!(address(text), Ok(()), "{text}");
        }
        for text in ["8080", ":8080", "::1:80", "x:", "x:99999", "off"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
