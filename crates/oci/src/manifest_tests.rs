//! Cases for the manifest parser: every shape clients push, and every document that two readers
//! could understand differently (CT-04, CT-05).
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn descriptor(media_type: &str, size: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":{size}}}"#)
}

fn config() -> String {
    descriptor("application/vnd.oci.image.config.v1+json", "2")
}

fn image(members: &str) -> String {
    format!(r#"{{"schemaVersion":2,"config":{},"layers":[]{members}}}"#, config())
}

fn read(text: &str, content_type: Option<&str>) -> Result<Manifest, Error> {
    parse(text.as_bytes(), content_type, &Limits::default())
}

fn refused(text: &str, content_type: Option<&str>) -> String {
    match read(text, content_type) {
        Ok(manifest) => panic!("accepted {text:.300}: {manifest:?}"),
        Err(err) => err.to_string(),
    }
}

#[test]
fn accepts_what_clients_push() {
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "10");
    let cases = [
        (image(""), Some(OCI_MANIFEST)),
        (
            image(&format!(r#","mediaType":"{OCI_MANIFEST}""#)),
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
        ),
        (image(&format!(r#","mediaType":"{DOCKER_MANIFEST}""#)), Some(DOCKER_MANIFEST)),
        (image(r#","annotations":null,"subject":null,"artifactType":"""#), Some(OCI_MANIFEST)),
        (image(r#","unknown":{"digest":1,"DIGEST":2},"unknown":[]"#), Some("application/x.mine+json")),
        (format!(r#"{{"schemaVersion":2,"config":{}}}"#, config()), Some(OCI_MANIFEST)),
        (format!(r#"{{"schemaVersion":2,"config":{},"layers":null}}"#, config()), Some(OCI_MANIFEST)),
        (format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layer},{layer}]}}"#, config()), None),
        (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), Some(OCI_INDEX)),
        (r#"{"schemaVersion":2,"manifests":null}"#.to_owned(), Some(DOCKER_LIST)),
        (format!(r#"{{"schemaVersion":2,"manifests":[{layer}]}}"#), Some(OCI_INDEX)),
        (format!(" \n{}\r\n\t", image("")), Some(OCI_MANIFEST)),
    ];
    for (text, content_type) in cases {
        read(&text, content_type).unwrap_or_else(|err| panic!("{text}: {err}"));
    }
}

#[test]
fn reads_every_member() {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","artifactType":"a/t",
            "manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{DIGEST}","size":7,"urls":["https://example.com/x"],
                "platform":{{"os":"linux","architecture":"amd64"}},"annotations":{{"k":"v","K":"w"}},"artifactType":"c/t","data":"e30="}}],
            "subject":{},"annotations":{{"size":"x","digest":"y"}}}}"#,
        descriptor(OCI_MANIFEST, "9223372036854775807"),
    );
    let manifest = read(&text, None).unwrap();
    assert_eq!(manifest.media_type, OCI_INDEX);
    assert_eq!(manifest.referrer_artifact_type(), Some("a/t"));
    assert_eq!(manifest.annotations["size"], "x");
    assert_eq!(manifest.subject.as_ref().unwrap().size, i64::MAX as u64);
    assert_eq!(manifest.content_size(), 0);
    let Body::Index { manifests } = &manifest.body else { panic!("not an index") };
    let child = &manifests[0];
    assert_eq!(child.platform.as_ref().unwrap()["os"], "linux");
    assert_eq!(child.annotations.as_ref().unwrap().len(), 2);
    assert_eq!(child.artifact_type.as_deref(), Some("c/t"));
    assert_eq!(child.size, 7);
    assert!(child.is_foreign());
}

#[test]
fn foreign_layers_are_neither_demanded_nor_counted() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[
            {{"mediaType":"{foreign}","digest":"{DIGEST}","size":1000,"urls":["https://example.com/l"]}},
            {{"mediaType":"{foreign}","digest":"{DIGEST}","size":10,"urls":[]}},
            {{"mediaType":"x/y","digest":"{DIGEST}","size":5,"urls":null}}]}}"#,
        config()
    );
    let manifest = read(&text, Some(DOCKER_MANIFEST)).unwrap();
    let Body::Image { layers, .. } = &manifest.body else { panic!("not an image") };
    assert_eq!(layers.iter().map(Descriptor::is_foreign).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(layers.iter().map(Descriptor::is_nondistributable).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(manifest.content_size(), 2 + 10 + 5);
}

#[test]
fn the_type_comes_from_the_header_then_the_body_then_the_shape() {
    let typed = image(r#","mediaType":"a/b""#);
    for (text, header, expected) in [
        (image(""), Some("c/d"), "c/d"),
        (image(""), Some("c/d;v=1"), "c/d"),
        (typed.clone(), Some("a/b"), "a/b"),
        (typed.clone(), None, "a/b"),
        (typed.clone(), Some("  "), "a/b"),
        (image(r#","mediaType":"""#), Some("c/d"), "c/d"),
        (image(""), None, OCI_MANIFEST),
        (r#"{"manifests":[]}"#.to_owned(), None, OCI_INDEX),
    ] {
        assert_eq!(read(&text, header).unwrap().media_type, expected, "{text}");
    }
}

#[test]
fn ct_04_refuses_ambiguous_documents() {
    let both = [
        format!(r#"{{"schemaVersion":2,"config":{},"manifests":[]}}"#, config()),
        r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.to_owned(),
        r#"{"schemaVersion":2,"layers":null,"manifests":[]}"#.to_owned(),
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[],"manifests":null}}"#, config()),
    ];
    for text in both {
        for content_type in [None, Some(OCI_MANIFEST), Some(OCI_INDEX), Some("x/y")] {
            assert!(refused(&text, content_type).contains("both"), "{text}");
        }
    }
    let typed = image(&format!(r#","mediaType":"{OCI_MANIFEST}""#));
    for content_type in
        [DOCKER_MANIFEST, OCI_INDEX, "x/y", "application/json", "application/vnd.oci.image.Manifest.v1+json"]
    {
        assert!(refused(&typed, Some(content_type)).contains("mediaType differs"), "{content_type}");
    }
    for content_type in [OCI_INDEX, DOCKER_LIST] {
        assert!(refused(&image(""), Some(content_type)).contains("under the type"));
    }
    for content_type in [OCI_MANIFEST, DOCKER_MANIFEST] {
        assert!(refused(r#"{"manifests":[]}"#, Some(content_type)).contains("under the type"));
    }
    for content_type in ["nonsense", "a/b, c/d", "a/b\r\nx: y", "/"] {
        assert!(refused(&image(""), Some(content_type)).contains("Content-Type"), "{content_type:?}");
    }
}

#[test]
fn ct_05_refuses_repeated_members_in_any_spelling() {
    for members in [
        r#","layers":[]"#,
        r#","Layers":[]"#,
        r#","LAYERS":null"#,
        r#","layer\u0073":[]"#,
        r#","layer\u017f":[]"#,
        r#","schemaVersion":2"#,
        r#","schemaversion":2"#,
        r#","MediaType":"a/b""#,
        r#","mediaType":"a/b","mediaType":"a/b""#,
        r#","Manifests":[]"#,
        r#","Config":{}"#,
        r#","Subject":null"#,
        r#","ArtifactType":"x/y""#,
        r#","Annotations":{}"#,
        r#","annotations":{"a":"1","a":"2"}"#,
        r#","annotations":{"a":"1","\u0061":"2"}"#,
        r#","fslayers":[]"#,
    ] {
        refused(&image(members), None);
    }
    for member in [
        r#""Digest":"x""#,
        r#""size":2"#,
        r#""SIZE":2"#,
        r#""\u017fize":2"#,
        r#""mediatype":"a/b""#,
        r#""URLs":[]"#,
        r#""urls":[],"urls":[]"#,
        r#""data":"","Data":"""#,
        r#""platform":{"os":"a","OS":"b"}"#,
        r#""platform":{},"Platform":{}"#,
        r#""annotations":{"a":"1","a":"2"}"#,
    ] {
        let descriptor = format!(r#"{{"mediaType":"a/b","digest":"{DIGEST}","size":2,{member}}}"#);
        for text in [
            format!(r#"{{"config":{descriptor}}}"#),
            format!(r#"{{"config":{},"layers":[{descriptor}]}}"#, config()),
            format!(r#"{{"manifests":[{descriptor}]}}"#),
            format!(r#"{{"manifests":[],"subject":{descriptor}}}"#),
        ] {
            refused(&text, None);
        }
    }
}

#[test]
fn ct_05_refuses_what_is_not_strict_json() {
    let good = image("");
    let cases = [
        format!("\u{feff}{good}"),
        format!("{good}x"),
        format!("{good}{good}"),
        format!("{good}\0"),
        good.replace("\"size\":2", "\"size\":NaN"),
        image(r#","x":NaN"#),
        image(r#","x":Infinity"#),
        image(r#","x":01"#),
        image(r#","x":"\u0000""#),
        image(r#","x":'a'"#),
        image(r#","x":[1,]"#),
        image(","),
        image(r#","x":/* c */1"#),
        good[..good.len() - 1].to_owned(),
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "2".to_owned(),
        format!("\"{}\"", "a".repeat(10)),
        "{}".to_owned(),
        r#"{"schemaVersion":2}"#.to_owned(),
        r#"{"schemaVersion":2,"layers":[]}"#.to_owned(),
        r#"{"config":null,"layers":[]}"#.to_owned(),
        r#"{"manifests":[null]}"#.to_owned(),
        r#"{"manifests":{}}"#.to_owned(),
        r#"{"manifests":[],"annotations":{"a":1}}"#.to_owned(),
        r#"{"manifests":[],"annotations":[]}"#.to_owned(),
        r#"{"manifests":[],"mediaType":"nonsense"}"#.to_owned(),
        r#"{"manifests":[],"artifactType":7}"#.to_owned(),
        format!(r#"{{"manifests":[],"artifactType":"a/{}"}}"#, "b".repeat(254)),
        r#"{"manifests":[],"artifactType":"a/b\r\nc"}"#.to_owned(),
        r#"{"schemaVersion":3,"manifests":[]}"#.to_owned(),
        r#"{"schemaVersion":"2","manifests":[]}"#.to_owned(),
    ];
    for text in cases {
        refused(&text, None);
    }
    assert!(parse(b"{\"manifests\":[],\"x\":\"\xff\"}", None, &Limits::default()).is_err());
}

#[test]
fn ct_05_refuses_impossible_descriptors() {
    for size in [
        "-1",
        "-0",
        "9223372036854775808",
        "18446744073709551616",
        "1e3",
        "1.0",
        "\"1\"",
        "null",
        "1e400",
        "true",
    ] {
        refused(&format!(r#"{{"manifests":[{}]}}"#, descriptor("a/b", size)), None);
    }
    for text in [
        format!(r#"{{"digest":"{DIGEST}","size":1}}"#),
        format!(r#"{{"mediaType":"","digest":"{DIGEST}","size":1}}"#),
        r#"{"mediaType":"a/b","size":1}"#.to_owned(),
        format!(r#"{{"mediaType":"a/b","digest":"{DIGEST}"}}"#),
        r#"{"mediaType":"a/b","digest":"sha256:../../etc","size":1}"#.to_owned(),
        format!(r#"{{"mediaType":"a/b","digest":"{}","size":1}}"#, DIGEST.to_uppercase()),
        r#"{"mediaType":"a/b","digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1}"#.to_owned(),
        format!(r#"{{"mediaType":"a/b","digest":"{DIGEST}","size":1,"platform":"linux"}}"#),
        format!(r#"{{"mediaType":"a/b","digest":"{DIGEST}","size":1,"urls":"x"}}"#),
        "[]".to_owned(),
        "\"x\"".to_owned(),
    ] {
        refused(&format!(r#"{{"manifests":[{text}]}}"#), None);
        refused(&format!(r#"{{"config":{text}}}"#), None);
    }
    // Each size is possible, their sum is not.
    let half = descriptor("a/b", "5000000000000000000");
    refused(&format!(r#"{{"config":{half},"layers":[{half}]}}"#), None);
    refused(&format!(r#"{{"manifests":[{half},{half}]}}"#), None);
}

#[test]
fn ct_05_limits_hold() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep =
            |levels: usize| image(&format!(r#","x":{}1{}"#, open.repeat(levels), close.repeat(levels)));
        assert!(read(&deep(99), None).is_ok());
        for levels in [100, 127, 128, 100_000] {
            assert!(refused(&deep(levels), None).contains("nested"), "{levels}");
        }
    }
    let platform = |levels: usize| {
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        format!(
            r#"{{"manifests":[{{"mediaType":"a/b","digest":"{DIGEST}","size":1,"platform":{{"x":{nested}}}}}]}}"#
        )
    };
    assert!(read(&platform(96), None).is_ok());
    assert!(refused(&platform(97), None).contains("nested"));

    let many =
        |count: usize| format!(r#"{{"manifests":[{}]}}"#, vec![descriptor("a/b", "1"); count].join(","));
    assert!(read(&many(10_000), None).is_ok());
    assert!(refused(&many(10_001), None).contains("too many descriptors"));
    assert!(refused(&many(30_000), None).contains("too many descriptors"));

    let annotated = |count: usize| {
        let entries: Vec<String> = (0..count).map(|number| format!(r#""{number}":"""#)).collect();
        format!(r#"{{"manifests":[],"annotations":{{{}}}}}"#, entries.join(","))
    };
    assert!(read(&annotated(200_000), None).is_ok());
    assert!(refused(&annotated(200_001), None).contains("too many annotations"));
    // One annotation may fill the document: the conformance suite pushes that.
    let giant = format!(r#"{{"manifests":[],"annotations":{{"a":"{}"}}}}"#, "x".repeat(MANIFEST_BYTES_MAX));
    assert!(read(&giant, None).is_ok());
}

#[test]
fn schema_1_is_refused_by_name() {
    let typed = image(r#","mediaType":"application/vnd.docker.distribution.manifest.v1+json""#);
    for (text, content_type) in [
        (image(""), Some("application/vnd.docker.distribution.manifest.v1+prettyjws")),
        (image(""), Some("application/vnd.docker.distribution.manifest.v1+json")),
        (typed, None),
        (r#"{"schemaVersion":1,"name":"a/b","fsLayers":[]}"#.to_owned(), Some("application/json")),
        (r#"{"fsLayers":[]}"#.to_owned(), None),
        (image(r#","fsLayers":[]"#), None),
    ] {
        assert!(refused(&text, content_type).contains("schema 1"), "{text}");
    }
}

#[test]
fn kinds_follow_harbor() {
    let of_config = |media_type: &str, members: &str| {
        let text = format!(r#"{{"config":{}{members}}}"#, descriptor(media_type, "2"));
        kind(&read(&text, None).unwrap())
    };
    for (media_type, members, kind) in [
        ("application/vnd.oci.image.config.v1+json", "", "IMAGE"),
        ("application/vnd.docker.container.image.v1+json", "", "IMAGE"),
        ("application/vnd.cncf.helm.config.v1+json", "", "CHART"),
        ("application/vnd.wasm.config.v0+json", "", "WASM"),
        ("application/vnd.wasm.config.v1+json", "", "WASM"),
        ("application/vnd.acme.rocket.config.v1+json", "", "ROCKET"),
        ("application/vnd.acme.big.rocket.config.v1+json", "", "BIG.ROCKET"),
        ("application/vnd.acme.rocket.config.v1.2+json", "", "UNKNOWN"),
        ("application/vnd.acme.rocket.config.v1", "", "UNKNOWN"),
        ("application/vnd.acme.config.v1+json", "", "UNKNOWN"),
        ("text/plain", r#","artifactType":"application/vnd.acme.rocket.config.v1+json""#, "UNKNOWN"),
        (OCI_EMPTY, r#","artifactType":"application/vnd.acme.rocket.config.v1+json""#, "ROCKET"),
        (OCI_EMPTY, r#","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json""#, "UNKNOWN"),
        (OCI_EMPTY, "", "UNKNOWN"),
    ] {
        assert_eq!(of_config(media_type, members), kind, "{media_type} {members}");
    }
    let of_index = |members: &str, content_type| {
        let text = format!(r#"{{"manifests":[]{members}}}"#);
        kind(&read(&text, Some(content_type)).unwrap())
    };
    assert_eq!(of_index("", OCI_INDEX), "IMAGE");
    assert_eq!(of_index("", DOCKER_LIST), "IMAGE");
    assert_eq!(of_index("", "application/x.mine+json"), "UNKNOWN");
    let cnab = r#","annotations":{"org.opencontainers.artifactType":"application/vnd.cnab.manifest.v1"}"#;
    assert_eq!(of_index(cnab, OCI_INDEX), "CNAB");
}

#[test]
fn referrer_types_fall_back_to_the_config() {
    let plain = read(&image(""), None).unwrap();
    assert_eq!(plain.referrer_artifact_type(), Some("application/vnd.oci.image.config.v1+json"));
    let typed = read(&image(r#","artifactType":"a/b""#), None).unwrap();
    assert_eq!(typed.referrer_artifact_type(), Some("a/b"));
    let index = read(r#"{"manifests":[]}"#, None).unwrap();
    assert_eq!(index.referrer_artifact_type(), None);
}
