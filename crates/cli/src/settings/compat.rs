//! `REGISTRY_…` variables of the distribution registry, as far as Hythe has the same thing, so that an existing
//! deployment can change its image and keep its environment.
//!
//! They lie under `HYTHE_…` and over the file. What has no counterpart is named in a warning, never refused: a
//! variable that was harmless yesterday must not keep a registry from starting today.

use serde_json::Value;

use super::Problem;

pub(super) const PREFIX: &str = "REGISTRY_";

/// Names that Hythe judges begin with one of these. Others (`REGISTRY_PORT`, which Kubernetes makes from a service
/// called `registry`) are not the distribution registry's.
const SECTIONS: &[&str] = &[
    "AUTH_",
    "CATALOG_",
    "HEALTH_",
    "HTTP_",
    "LOG_",
    "MIDDLEWARE_",
    "NOTIFICATIONS_",
    "POLICY_",
    "PROXY_",
    "REDIS_",
    "STORAGE_",
    "TAGS_",
    "VALIDATION_",
];

/// What a variable becomes.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// A key of ours with a value.
    Key(&'static str, Value),
    /// It has no counterpart, and nothing is lost without it.
    Nothing,
    /// It would change what the registry does, and Hythe does not do it: the reason, for a warning.
    Ignored(&'static str),
    /// Not of the distribution registry.
    Foreign,
}

/// Reads one variable, its name without `REGISTRY_`.
pub(super) fn meaning(name: &str, text: &str) -> Result<Meaning, Problem> {
    use Meaning::{Foreign, Ignored, Key, Nothing};
    let flag_of = |key, text: &str, negated: bool| match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(Key(key, Value::from(!negated))),
        "false" | "0" | "no" | "off" => Ok(Key(key, Value::from(negated))),
        _ => Err(problem(name, format!("{text:?} is not true or false"))),
    };
    let flag = |key, negated| flag_of(key, text, negated);
    let seconds = || {
        go_duration(text)
            .ok_or_else(|| problem(name, format!("{text:?} is not a duration such as 168h or 90s")))
    };
    let key = |key, value: &str| Ok(Key(key, value.into()));
    match name {
        "HTTP_ADDR" => key("http.addr", &address(text)),
        "HTTP_HOST" => key("http.external_url", text),
        // Hythe's upload sessions are rows; nothing needs a shared secret.
        "HTTP_SECRET" | "HTTP_NET" | "HTTP_RELATIVEURLS" | "HTTP_HTTP2_DISABLED" => Ok(Nothing),
        "HTTP_DEBUG_ADDR" => key("http.ops_addr", &address(text)),
        "HTTP_DEBUG_PROMETHEUS_ENABLED" | "HTTP_DEBUG_PROMETHEUS_PATH" => Ok(Nothing),
        "HTTP_DRAINTIMEOUT" => Ok(Key("http.drain_timeout_seconds", seconds()?.into())),
        "LOG_LEVEL" => key("log.level", text),
        "LOG_FORMATTER" => match text {
            "json" | "logstash" => key("log.format", "json"),
            _ => key("log.format", "text"),
        },
        "LOG_ACCESSLOG_DISABLED" => flag("http.access_log", true),
        "STORAGE_FILESYSTEM_ROOTDIRECTORY" => key("storage.filesystem.root", text),
        "STORAGE" if text == "s3" => key("storage.driver", "s3"),
        "STORAGE" => Ok(Nothing),
        "STORAGE_S3_BUCKET" => key("storage.s3.bucket", text),
        "STORAGE_S3_REGION" => key("storage.s3.region", text),
        "STORAGE_S3_REGIONENDPOINT" => key("storage.s3.endpoint", &endpoint(text)),
        "STORAGE_S3_ACCESSKEY" => key("storage.s3.access_key", text),
        "STORAGE_S3_SECRETKEY" => key("storage.s3.secret_key", text),
        "STORAGE_S3_ROOTDIRECTORY" => key("storage.s3.prefix", text.trim_matches('/')),
        "STORAGE_S3_FORCEPATHSTYLE" => flag("storage.s3.path_style", false),
        "STORAGE_S3_ENCRYPT" => match flag("storage.s3.encryption", false)? {
            Key(own, on) => Ok(Key(own, if on == Value::Bool(true) { "AES256" } else { "none" }.into())),
            other => Ok(other),
        },
        "STORAGE_S3_KEYID" => key("storage.s3.kms_key_id", text),
        "STORAGE_S3_SECURE" | "STORAGE_S3_V4AUTH" | "STORAGE_S3_CHUNKSIZE" => Ok(Nothing),
        "STORAGE_REDIRECT_DISABLE" => flag("storage.s3.redirect", true),
        "STORAGE_DELETE_ENABLED" => flag("registry.delete_enabled", false),
        "STORAGE_MAINTENANCE_READONLY_ENABLED" => flag("tenancy.read_only", false),
        "STORAGE_MAINTENANCE_READONLY" => {
            // A section in one variable: {"enabled": true}.
            let compact: String =
                text.chars().filter(|c| !c.is_whitespace() && !"\"{},".contains(*c)).collect();
            flag_of("tenancy.read_only", compact.strip_prefix("enabled:").unwrap_or(&compact), false)
        }
        "STORAGE_MAINTENANCE_UPLOADPURGING_AGE" => {
            Ok(Key("catalog.upload_hours_max", seconds()?.div_ceil(3600).max(1).into()))
        }
        "STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED" if text.eq_ignore_ascii_case("false") => {
            Ok(Ignored("unfinished uploads always end; catalog.upload_hours_max says when"))
        }
        "STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED" => Ok(Nothing),
        "STORAGE_MAINTENANCE_UPLOADPURGING_INTERVAL" | "STORAGE_CACHE_BLOBDESCRIPTOR" => Ok(Nothing),
        "CATALOG_MAXENTRIES" | "TAGS_MAXTAGS" => match text.parse::<i64>() {
            Ok(entries) => Ok(Key("registry.page_entries_max", entries.into())),
            Err(_) => Err(problem(name, format!("{text:?} is not a whole number"))),
        },
        name if name.starts_with("AUTH_") => {
            Ok(Ignored("Hythe has accounts and issues tokens itself; see `hythe admin`"))
        }
        name if name.starts_with("HTTP_TLS_") => {
            Ok(Ignored("Hythe speaks plain HTTP: put a proxy with the certificate in front"))
        }
        name if SECTIONS.iter().any(|section| name.starts_with(section)) => {
            Ok(Ignored("Hythe has no such setting"))
        }
        _ => Ok(Foreign),
    }
}

fn problem(name: &str, message: String) -> Problem {
    Problem { place: format!("{PREFIX}{name}"), message }
}

/// distribution takes an endpoint without a scheme; https is meant then.
fn endpoint(text: &str) -> String {
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// `:5000` means every address.
fn address(text: &str) -> String {
    if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() }
}

/// Seconds of a duration as Go writes it: `168h`, `1h30m`, `500ms`. Parts of a second count as one.
fn go_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut milliseconds: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let factor = match &unit[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        milliseconds = milliseconds.checked_add(number.checked_mul(factor)?)?;
        rest = &unit[end..];
    }
    Some(milliseconds.div_ceil(1_000))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_operators_of_the_distribution_registry_set() {
        for (name, text, key, value) in [
            ("HTTP_ADDR", ":5000", "http.addr", Value::from("0.0.0.0:5000")),
            ("HTTP_ADDR", "127.0.0.1:5000", "http.addr", "127.0.0.1:5000".into()),
            ("HTTP_DRAINTIMEOUT", "1m30s", "http.drain_timeout_seconds", 90.into()),
            ("LOG_ACCESSLOG_DISABLED", "true", "http.access_log", false.into()),
            ("LOG_FORMATTER", "json", "log.format", "json".into()),
            ("STORAGE_DELETE_ENABLED", "false", "registry.delete_enabled", false.into()),
            ("STORAGE_MAINTENANCE_READONLY", "{\"enabled\": true}", "tenancy.read_only", true.into()),
            ("STORAGE_MAINTENANCE_READONLY_ENABLED", "true", "tenancy.read_only", true.into()),
            ("STORAGE", "s3", "storage.driver", "s3".into()),
            ("STORAGE_S3_REGIONENDPOINT", "minio:9000", "storage.s3.endpoint", "https://minio:9000".into()),
            ("STORAGE_S3_ROOTDIRECTORY", "/registry/", "storage.s3.prefix", "registry".into()),
            ("STORAGE_REDIRECT_DISABLE", "true", "storage.s3.redirect", false.into()),
            ("STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "90m", "catalog.upload_hours_max", 2.into()),
        ] {
            assert_eq!(meaning(name, text).unwrap(), Meaning::Key(key, value), "{name}={text}");
        }
        assert_eq!(meaning("HTTP_SECRET", "s3cret").unwrap(), Meaning::Nothing);
        assert_eq!(meaning("PORT", "tcp://10.0.0.1:5000").unwrap(), Meaning::Foreign);
        assert_eq!(meaning("SERVICE_HOST", "10.0.0.1").unwrap(), Meaning::Foreign);
        for ignored in ["AUTH_HTPASSWD_PATH", "HTTP_TLS_CERTIFICATE", "REDIS_ADDR"] {
            assert!(matches!(meaning(ignored, "x"), Ok(Meaning::Ignored(_))), "{ignored}");
        }
        for (name, text) in [
            ("STORAGE_DELETE_ENABLED", "maybe"),
            ("HTTP_DRAINTIMEOUT", "soon"),
            ("STORAGE_MAINTENANCE_READONLY", "{\"enabled\": perhaps}"),
            ("STORAGE_S3_ENCRYPT", "a little"),
        ] {
            let problem = meaning(name, text).unwrap_err();
            assert_eq!(problem.place, format!("REGISTRY_{name}"));
        }
    }

    #[test]
    fn durations_as_go_writes_them() {
        for (text, seconds) in
            [("168h", Some(604_800)), ("1h30m", Some(5_400)), ("500ms", Some(1)), ("0s", Some(0))]
        {
            assert_eq!(go_duration(text), seconds, "{text}");
        }
        for bad in ["", "h", "5", "5d", "-1s", "99999999999999999999h"] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }
}
