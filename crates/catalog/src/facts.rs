//! Facts about an artifact that lists show, parsed once on push so that no list ever opens a blob.
//!
//! Read from the config blob: platform, author and creation time of an image, and the config document itself
//! where it is small. What cannot be read is left out; a push never fails for it.

use serde_json::{Map, Value};

/// Configs above this size are stored like any blob, but not parsed.
pub const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Of the config document only this much is kept in the row.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Whether a config of this media type holds facts worth reading.
pub fn readable(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.docker.container.image.v1+json"
            | "application/vnd.oci.image.config.v1+json"
            | "application/vnd.cncf.helm.config.v1+json"
            | "application/vnd.wasm.config.v0+json"
            | "application/vnd.wasm.config.v1+json"
    )
}

/// The facts of one config document; empty when it is not a JSON object.
pub fn parse(media_type: &str, config: &[u8]) -> Value {
    let Ok(Value::Object(mut document)) = serde_json::from_slice::<Value>(config) else {
        return Value::Object(Map::new());
    };
    let mut facts = Map::new();
    if media_type == "application/vnd.cncf.helm.config.v1+json" {
        keep(&mut facts, "config", Value::Object(document));
        return Value::Object(facts);
    }
    for key in ["architecture", "os", "variant", "os.version", "author", "created"] {
        if let Some(Value::String(text)) = document.remove(key) {
            keep(&mut facts, key, Value::String(text));
        }
    }
    if let Some(config @ Value::Object(_)) = document.remove("config") {
        keep(&mut facts, "config", config);
    }
    Value::Object(facts)
}

fn keep(facts: &mut Map<String, Value>, key: &str, mut value: Value) {
    strip_nul(&mut value);
    if value.to_string().len() <= KEPT_BYTES_MAX {
        facts.insert(key.to_owned(), value);
    }
}

/// PostgreSQL's `jsonb` cannot hold U+0000, which JSON can; a push must not fail for a label.
pub fn strip_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(strip_nul),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains('\0')) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(key, value)| (key.replace('\0', "\u{fffd}"), value))
                    .collect();
            }
            fields.values_mut().for_each(strip_nul);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "application/vnd.oci.image.config.v1+json";

    #[test]
    fn an_image_config_gives_platform_and_config() {
        let facts = parse(
            IMAGE,
            br#"{"architecture":"arm64","os":"linux","variant":"v8","created":"2026-01-01T00:00:00Z",
                "config":{"Env":["A=b"]},"rootfs":{"type":"layers"},"history":[{}]}"#,
        );
        assert_eq!(facts["architecture"], "arm64");
        assert_eq!(facts["config"]["Env"][0], "A=b");
        assert!(facts.get("history").is_none() && facts.get("rootfs").is_none());
    }

    #[test]
    fn what_is_not_a_document_has_no_facts() {
        for bytes in [&b"[]"[..], b"", b"{", b"null", b"\xff\xfe"] {
            assert_eq!(parse(IMAGE, bytes), serde_json::json!({}));
        }
    }

    #[test]
    fn nul_and_oversize_values_do_not_reach_the_row() {
        let facts = parse(IMAGE, br#"{"author":"a\u0000b","config":{"k\u0000":"v\u0000"}}"#);
        assert!(!facts.to_string().contains("\\u0000"));
        let large = format!(r#"{{"os":"linux","config":{{"x":"{}"}}}}"#, "y".repeat(KEPT_BYTES_MAX));
        let facts = parse(IMAGE, large.as_bytes());
        assert_eq!(facts, serde_json::json!({"os": "linux"}));
    }
}
