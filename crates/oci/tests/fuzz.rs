//! Random text against every parser of this crate: nothing panics, and what is accepted is printed as it came.
//!
//! The number of cases is bounded, so this is part of every run; `PROPTEST_CASES=1000000 cargo test -p hythe-oci
//! --release --test fuzz` (or `make soak`) looks longer.

extern crate hythe_oci as oci;

use std::fmt::Display;
use std::str::FromStr;

use oci::manifest::{self, Limits};
use oci::{Digest, ProjectName, Reference, RepositoryName, Tag, scope};
use proptest::prelude::*;

/// Text near the grammars: their characters, their separators, and what attackers put between.
fn near_grammar() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9]{1,8}",
        2 => "[/._:@-]{1,3}",
        1 => "(sha256|sha512|blake3|SHA256):[0-9a-fA-F]{0,130}",
        1 => Just("sha256:".to_owned() + &"a".repeat(64)),
        1 => "[A-Z%+ ]{1,3}",
        1 => "\\PC{1,4}",
        1 => prop_oneof![Just("..".to_owned()), Just("%2f".to_owned()), Just("\0".to_owned()), Just("//".to_owned())],
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// An accepted text is the only spelling of its value.
fn one_spelling<T: FromStr + Display>(text: &str) -> Result<(), TestCaseError> {
    if let Ok(value) = text.parse::<T>() {
        prop_assert_eq!(value.to_string(), text);
        prop_assert!(!text.contains(['%', '\0', ' ', '\\']), "{}", text);
        prop_assert!(!text.split('/').any(|part| part == ".." || part == "." || part.is_empty()), "{}", text);
    }
    Ok(())
}

/// Sixteen times the library's number of cases, which `PROPTEST_CASES` sets.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.saturating_mul(16), failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn names_tags_digests_and_references(text in near_grammar()) {
        one_spelling::<ProjectName>(&text)?;
        one_spelling::<RepositoryName>(&text)?;
        one_spelling::<Tag>(&text)?;
        one_spelling::<Digest>(&text)?;
        one_spelling::<Reference>(&text)?;
    }

    #[test]
    fn a_repository_name_is_its_project_and_the_rest(text in "[a-z0-9]{1,4}(/[a-z0-9]{1,4}([._-][a-z0-9]{1,3})?){1,4}") {
        let name: RepositoryName = text.parse().expect("the grammar of names");
        prop_assert_eq!(format!("{}/{}", name.project(), name.rest()), text);
    }

    #[test]
    fn digests_survive_their_stored_form(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(digest) = Digest::from_bytes(&bytes) {
            prop_assert_eq!(digest.to_bytes(), bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().ok(), Some(digest));
        }
    }

    #[test]
    fn scopes(values in prop::collection::vec(near_grammar(), 0..6)) {
        if let Ok(scopes) = scope::parse_all(values.iter().map(String::as_str)) {
            prop_assert!(scopes.len() <= 100);
            for scope in scopes {
                prop_assert!(scope.requested().len() <= 3);
                if let Some(name) = scope.repository() {
                    prop_assert_eq!(name.to_string(), scope.name);
                }
            }
        }
    }

    #[test]
    fn media_types(text in "\\PC{0,40}|[a-z]{1,9}/[a-z.+-]{1,30}(; ?[a-z]{1,5}=[a-z0-9\"]{1,9})?") {
        if let Ok(media_type) = oci::MediaType::from_header(&text) {
            prop_assert!(!media_type.to_string().contains(['\r', '\n', ';', '\0']));
        }
    }

    #[test]
    fn manifests_of_noise(payload in prop::collection::vec(any::<u8>(), 0..400), declared in prop::option::of(near_grammar())) {
        let _ = manifest::parse(&payload, declared.as_deref(), &Limits::default());
    }

    #[test]
    fn manifests_of_json(value in json(), declared in prop::option::of(prop_oneof![
        Just("application/vnd.oci.image.manifest.v1+json".to_owned()),
        Just("application/vnd.oci.image.index.v1+json".to_owned()),
        Just("application/vnd.docker.distribution.manifest.list.v2+json".to_owned()),
    ])) {
        let payload = value.to_string();
        if let Ok(manifest) = manifest::parse(payload.as_bytes(), declared.as_deref(), &Limits::default()) {
            // Whatever was accepted can be asked everything without a panic.
            let _ = (manifest::kind(&manifest), manifest.referrer_artifact_type(), manifest.content_size());
        }
    }
}

/// JSON with the members of manifests in the right and in wrong places.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let digest = prop_oneof![Just(format!("sha256:{}", "0".repeat(64))), near_grammar(),];
    let number = prop_oneof![
        Just(Value::from(0)),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from)
    ];
    let descriptor = (digest, number.clone(), near_grammar()).prop_map(
        |(digest, size, media_type)| json!({"digest": digest, "size": size, "mediaType": media_type}),
    );
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        near_grammar().prop_map(Value::from),
        descriptor
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "schemaVersion",
            "mediaType",
            "config",
            "layers",
            "manifests",
            "subject",
            "annotations",
            "artifactType",
            "digest",
            "size",
            "platform",
            "urls",
            "data",
            "Config",
            "layers\u{0}",
        ])
        .prop_map(str::to_owned),
        near_grammar(),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner.clone(), 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            inner.prop_map(|inner| json!({
                "schemaVersion": 2, "config": inner.clone(), "layers": [inner.clone()], "manifests": [inner]
            })),
        ]
    })
}
