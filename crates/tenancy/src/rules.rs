//! What a project may be called, and which metadata it may carry. Pure functions.
//!
//! Metadata that would switch on a feature nobody enforces yet is refused instead of stored: a policy that is
//! shown and not enforced is worse than none.

use std::collections::BTreeMap;

use oci::ProjectName;
use serde_json::Value;

use crate::Error;

/// First path segments with another meaning, now or in the console. A project of that name could not be
/// reached, or could be mistaken for a page of the product.
const RESERVED: &[&str] = &[
    "_catalog",
    "account",
    "accounts",
    "admin",
    "api",
    "assets",
    "audit",
    "auth",
    "c",
    "docs",
    "events",
    "favicon.ico",
    "health",
    "healthz",
    "help",
    "jobs",
    "livez",
    "login",
    "logout",
    "metrics",
    "new",
    "ops",
    "projects",
    "readyz",
    "robots.txt",
    "search",
    "service",
    "settings",
    "setup",
    "static",
    "system",
    "token",
    "users",
    "v1",
    "v2",
    "version",
];

/// The rule for names of new projects, stricter than what the protocol could carry: single separators only.
pub(crate) fn checked_name(name: &str) -> Result<ProjectName, Error> {
    let component = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let separated = bytes
        .windows(2)
        .all(|pair| component(pair[0]) || (matches!(pair[0], b'.' | b'_' | b'-') && component(pair[1])));
    let ends = bytes.first().is_some_and(|b| component(*b)) && bytes.last().is_some_and(|b| component(*b));
    let refused = || {
        Error::Invalid(
            "a project name has 1 to 255 lower-case letters and digits, with single '.', '_' or '-' between them"
                .to_owned(),
        )
    };
    if bytes.len() > 255 || !ends || !separated {
        return Err(refused());
    }
    if RESERVED.contains(&name) {
        return Err(Error::Invalid(format!("the project name {name} is reserved")));
    }
    name.parse().map_err(|_| refused())
}

/// Metadata as it is stored: known keys with checked, normalised values. `public` is a column of its own and
/// `retention_id` is not for callers to set; keys of proxy projects have no meaning yet and are dropped.
pub(crate) fn checked_metadata(metadata: &BTreeMap<String, String>) -> Result<Value, Error> {
    let mut checked = serde_json::Map::new();
    for (key, value) in metadata {
        let value = match key.as_str() {
            "prevent_vul"
            | "enable_content_trust"
            | "enable_content_trust_cosign"
            | "auto_scan"
            | "auto_sbom_generation" => {
                if boolean(key, value)? {
                    return Err(Error::NotAvailable(format!("{key} is not available yet")));
                }
                "false".to_owned()
            }
            "reuse_sys_cve_allowlist" => boolean(key, value)?.to_string(),
            "severity" => severity(value)?,
            "untagged_days" => untagged_days(value)?,
            _ => continue,
        };
        checked.insert(key.clone(), value.into());
    }
    Ok(Value::Object(checked))
}

pub(crate) fn boolean(key: &str, value: &str) -> Result<bool, Error> {
    match value {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" => Ok(false),
        _ => Err(Error::Invalid(format!("{key} takes \"true\" or \"false\""))),
    }
}

/// How long artifacts without a tag stay: `keep`, or days since the push or the last tag.
fn untagged_days(value: &str) -> Result<String, Error> {
    match value.parse::<u16>() {
        _ if value == "keep" => Ok(value.to_owned()),
        Ok(days) if days <= 3650 => Ok(days.to_string()),
        _ => Err(Error::Invalid("untagged_days takes keep, or days from 0 to 3650".to_owned())),
    }
}

fn severity(value: &str) -> Result<String, Error> {
    let lower = value.to_ascii_lowercase();
    if ["none", "low", "medium", "high", "critical"].contains(&lower.as_str()) {
        return Ok(lower);
    }
    Err(Error::Invalid("severity takes none, low, medium, high or critical".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_new_projects() {
        let long = "a".repeat(255);
        let too_long = "a".repeat(256);
        for (name, good) in [
            ("a", true),
            ("library", true),
            ("a.b_c-d", true),
            ("0", true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("A", false),
            ("a b", false),
            ("a/b", false),
            ("-a", false),
            ("a-", false),
            ("a--b", false),
            ("a__b", false),
            ("a._b", false),
            (".", false),
            ("ü", false),
            ("api", false),
            ("v2", false),
            ("c", false),
            ("service", false),
            ("apis", true),
        ] {
            assert_eq!(checked_name(name).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn metadata_values() {
        let check = |key: &str, value: &str| {
            let metadata = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            match checked_metadata(&metadata) {
                Ok(stored) => stored.to_string(),
                Err(err) => err.to_string(),
            }
        };
        for (key, value, expected) in [
            ("severity", "HIGH", r#"{"severity":"high"}"#),
            ("severity", "worst", "severity takes none, low, medium, high or critical"),
            ("prevent_vul", "false", r#"{"prevent_vul":"false"}"#),
            ("prevent_vul", "true", "prevent_vul is not available yet"),
            ("enable_content_trust", "1", "enable_content_trust is not available yet"),
            ("enable_content_trust_cosign", "true", "enable_content_trust_cosign is not available yet"),
            ("auto_scan", "true", "auto_scan is not available yet"),
            ("auto_sbom_generation", "true", "auto_sbom_generation is not available yet"),
            ("auto_scan", "maybe", "auto_scan takes \"true\" or \"false\""),
            ("reuse_sys_cve_allowlist", "True", r#"{"reuse_sys_cve_allowlist":"true"}"#),
            ("retention_id", "5", "{}"),
            ("proxy_speed_kb", "5", "{}"),
            ("public", "true", "{}"),
            ("owner_id", "1", "{}"),
        ] {
            assert_eq!(check(key, value), expected, "{key}={value}");
        }
    }

    #[test]
    fn reserved_names_are_sorted() {
        assert!(RESERVED.is_sorted());
    }
}
