//! What is stored and served (CT-02 to CT-15): strict in, byte-exact out, nothing invented.

use std::time::{Duration, Instant};

use hythe_testbed::{Bed, Image, Options, Registry, User, image_manifest, random_bytes};
use oci::manifest::{DOCKER_MANIFEST, MANIFEST_BYTES_MAX, OCI_INDEX, OCI_MANIFEST};
use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::json;

use crate::support::random_digest;

/// A maintainer-like owner with a repository of one image.
struct Owner {
    bed: Bed,
    user: User,
    registry: Registry,
    image: Image,
}

impl Owner {
    async fn new() -> Owner {
        Owner::on(Bed::shared().await).await
    }

    async fn on(bed: Bed) -> Owner {
        let user = bed.user("owner").await;
        let project = bed.project("content").member(&user, hythe_testbed::Role::ProjectAdmin).create().await;
        let registry = user.registry();
        let image = registry.push_image(&project.repository("app"), "1").await;
        Owner { bed, user, registry, image }
    }

    fn repository(&self) -> &str {
        &self.image.repository
    }

    fn project(&self) -> &str {
        self.image.repository.split('/').next().unwrap_or_default()
    }

    /// Sizes of config and layer of the image, out of its manifest.
    fn parts(&self) -> (usize, usize) {
        let manifest: serde_json::Value =
            serde_json::from_slice(&self.image.manifest).expect("our own manifest");
        let size = |value: &serde_json::Value| {
            usize::try_from(value["size"].as_u64().expect("a size")).expect("a small size")
        };
        (size(&manifest["config"]), size(&manifest["layers"][0]))
    }

    async fn put(&self, reference: &str, media_type: &str, manifest: &[u8]) -> hythe_testbed::Answer {
        self.registry.put_manifest(self.repository(), reference, media_type, manifest).await
    }
}

#[tokio::test]
async fn ct_02_digests_have_one_spelling() {
    let owner = Owner::new().await;
    let hex = "a".repeat(64);
    for digest in [
        "sha256:../../etc".to_owned(),
        "sha256:".to_owned(),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}a"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("md5:{}", &hex[32..]),
        format!("sha512:{hex}"),
        format!("sha256+b64:{hex}"),
        format!("sha256:{}g", &hex[1..]),
    ] {
        let upload = owner.registry.start_upload(owner.repository()).await;
        owner.registry.finish(&upload, &digest, b"bytes").await.expect_error(400, "DIGEST_INVALID");
        let encoded = digest.replace('/', "%2f");
        for kind in ["blobs", "manifests", "referrers"] {
            let answer = owner.registry.get(format!("/v2/{}/{kind}/{encoded}", owner.repository())).await;
            answer.expect_any(if digest.contains('/') { &[400, 404] } else { &[400] });
        }
        let answer = owner
            .registry
            .request(Method::POST, format!("/v2/{}/blobs/uploads/", owner.repository()))
            .query("digest", &digest)
            .body(&b"bytes"[..])
            .send()
            .await;
        answer.expect_error(400, "DIGEST_INVALID");
    }
    let (one, two) = (Digest::of(Algorithm::Sha256, b"one"), Digest::of(Algorithm::Sha256, b"two"));
    let upload = owner.registry.start_upload(owner.repository()).await;
    let request =
        owner.registry.request(Method::PUT, &upload.location).query("digest", &one).query("digest", &two);
    request.body(&b"one"[..]).send().await.expect_error(400, "DIGEST_INVALID");

    let bytes = random_bytes(3000);
    let long = Digest::of(Algorithm::Sha512, &bytes);
    let upload = owner.registry.start_upload(owner.repository()).await;
    let answer = owner.registry.finish(&upload, &long, &bytes).await.expect(201);
    assert_eq!(answer.header("docker-content-digest"), long.to_string());
    assert_eq!(owner.registry.get_blob(owner.repository(), &long).await.expect(200).body, bytes);
}

#[tokio::test]
async fn ct_03_manifests_come_back_byte_for_byte() {
    let owner = Owner::new().await;
    let (config, layer) = owner.parts();
    // Odd white space, member order and unknown members: nothing may be written anew.
    let text = format!(
        "{{ \"unknown\" : {{\"b\":1,\"a\":[ ]}},\n\t\"layers\":[{{\"size\":{layer},\"digest\":\"{}\",\"mediaType\":\"a/b\",\"x\":1}}],\r\n \
         \"config\":{{\"digest\":\"{}\",\"mediaType\":\"c/d\",\"size\":{config}}},\"schemaVersion\":2 }}\n",
        owner.image.layer, owner.image.config
    );
    let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
    owner
        .put(&random_digest().to_string(), OCI_MANIFEST, text.as_bytes())
        .await
        .expect_error(400, "DIGEST_INVALID");
    owner.registry.get_manifest(owner.repository(), &digest).await.expect_error(404, "MANIFEST_UNKNOWN");
    owner.put(&digest.to_string(), OCI_MANIFEST, text.as_bytes()).await.expect(201);
    owner.put("odd", OCI_MANIFEST, text.as_bytes()).await.expect(201);
    for reference in [digest.to_string(), "odd".to_owned()] {
        for accept in [
            None,
            Some("*/*"),
            Some(OCI_MANIFEST),
            Some(DOCKER_MANIFEST),
            Some(OCI_INDEX),
            Some("text/html"),
            Some("application/json"),
        ] {
            let mut request = owner
                .registry
                .request(Method::GET, format!("/v2/{}/manifests/{reference}", owner.repository()));
            if let Some(accept) = accept {
                request = request.header("accept", accept);
            }
            let answer = request.send().await.expect(200);
            assert_eq!(answer.body, text.as_bytes(), "{accept:?}");
            assert_eq!(answer.header("content-type"), OCI_MANIFEST, "{accept:?}");
            assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        }
    }
    let answer = owner.registry.head(format!("/v2/{}/manifests/odd", owner.repository())).await.expect(200);
    assert_eq!(answer.header("content-length"), text.len().to_string());
    assert_eq!(answer.header("etag"), format!("\"{digest}\""));
    let request = owner.registry.request(Method::GET, format!("/v2/{}/manifests/odd", owner.repository()));
    request.header("if-none-match", format!("\"{digest}\"")).send().await.expect(304);
}

#[tokio::test]
async fn ct_04_a_document_is_one_thing() {
    let owner = Owner::new().await;
    let (config, layer) = owner.parts();
    let parts = ((&owner.image.config, config), (&owner.image.layer, layer));
    let mut both: serde_json::Value =
        serde_json::from_slice(&image_manifest(parts.0, &[parts.1])).expect("JSON");
    both["manifests"] = json!([]);
    for media_type in [OCI_MANIFEST, OCI_INDEX, "application/x.mine+json"] {
        let mut document = both.clone();
        document["mediaType"] = json!(media_type);
        owner
            .put("both", media_type, document.to_string().as_bytes())
            .await
            .expect_error(400, "MANIFEST_INVALID");
    }
    let typed = image_manifest(parts.0, &[parts.1]);
    for media_type in [DOCKER_MANIFEST, OCI_INDEX, "application/json"] {
        owner.put("typed", media_type, &typed).await.expect_error(400, "MANIFEST_INVALID");
    }
    // Without a mediaType of its own it is what it was first pushed as, for ever.
    let mut untyped: serde_json::Value = serde_json::from_slice(&typed).expect("JSON");
    untyped.as_object_mut().expect("an object").remove("mediaType");
    let untyped = untyped.to_string().into_bytes();
    let digest = Digest::of(Algorithm::Sha256, &untyped);
    owner.put("untyped", OCI_MANIFEST, &untyped).await.expect(201);
    for reference in ["untyped".to_owned(), digest.to_string(), "second".to_owned()] {
        owner.put(&reference, DOCKER_MANIFEST, &untyped).await.expect_error(400, "MANIFEST_INVALID");
    }
    for reference in ["untyped".to_owned(), digest.to_string()] {
        let answer = owner.registry.get_manifest(owner.repository(), reference).await.expect(200);
        assert_eq!(answer.header("content-type"), OCI_MANIFEST);
    }
    owner.registry.get_manifest(owner.repository(), "second").await.expect(404);
}

#[tokio::test]
async fn ct_05_strict_json() {
    let owner = Owner::new().await;
    let (config, layer) = owner.parts();
    let good =
        String::from_utf8(image_manifest((&owner.image.config, config), &[(&owner.image.layer, layer)]))
            .expect("our own manifest");
    let member = |text: &str| format!("{{{text},{}", &good[1..]);
    let deep = |levels: usize| member(&format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels)));
    let descriptor =
        format!("{{\"mediaType\":\"a/b\",\"digest\":\"{}\",\"size\":{layer}}}", owner.image.layer);
    let layers = |list: String| {
        format!(
            "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"a/b\",\"digest\":\"{}\",\"size\":{config}}},\"layers\":[{list}]}}",
            owner.image.config
        )
    };
    let size =
        |size: &str| layers(descriptor.replace(&format!("\"size\":{layer}"), &format!("\"size\":{size}")));
    owner.put("good", OCI_MANIFEST, layers(descriptor.clone()).as_bytes()).await.expect(201);
    for (what, text) in [
        ("duplicate layers", member("\"layers\":[]")),
        ("case variant", member("\"MediaType\":\"a/b\"")),
        ("escaped duplicate", member("\"conf\\u0069g\":{}")),
        ("byte order mark", format!("\u{feff}{good}")),
        ("trailing bytes", format!("{good}x")),
        ("two documents", format!("{good}{good}")),
        ("depth 101", deep(101)),
        ("depth 100 000", deep(100_000)),
        ("100 000 descriptors", layers(vec!["{}"; 100_000].join(","))),
        ("10 001 descriptors", layers(vec![descriptor.as_str(); 10_001].join(","))),
        ("NaN", size("NaN")),
        ("negative", size("-1")),
        ("2^63", size("9223372036854775808")),
        ("fraction", size("1.5")),
        ("declared too large", size(&(layer + 1).to_string())),
        ("declared too small", size(&(layer - 1).to_string())),
        ("declared empty", size("0")),
        ("NUL", member("\"annotations\":{\"a\":\"\\u0000\"}")),
        ("not JSON", "hello".to_owned()),
        ("empty", String::new()),
    ] {
        let started = Instant::now();
        let answer = owner.put("bad", OCI_MANIFEST, text.as_bytes()).await;
        assert_eq!(answer.status, 400, "{what}: {answer}");
        assert!(["MANIFEST_INVALID", "SIZE_INVALID"].contains(&answer.code().as_str()), "{what}: {answer}");
        assert!(started.elapsed() < Duration::from_secs(10), "{what} took {:?}", started.elapsed());
    }
    owner.registry.get_manifest(owner.repository(), "bad").await.expect(404);
}

#[tokio::test]
async fn ct_06_manifests_name_only_what_is_here() {
    let owner = Owner::new().await;
    let (_, layer) = owner.parts();
    let elsewhere = format!("{}/elsewhere", owner.project());
    let config = owner.registry.push_blob(&elsewhere, b"{\"elsewhere\":true}").await;
    // The config is here, the layer exists only in the repository next door, and the other way round.
    for (config, layer) in
        [((&config, 18), (&owner.image.layer, layer)), ((&random_digest(), 18), (&owner.image.layer, layer))]
    {
        let manifest = image_manifest(config, &[layer]);
        let answer = owner.registry.put_manifest(&elsewhere, "x", OCI_MANIFEST, &manifest).await;
        assert!([400, 404].contains(&answer.status) && answer.code() == "MANIFEST_BLOB_UNKNOWN", "{answer}");
    }
    owner.registry.get_manifest(&elsewhere, "x").await.expect(404);

    // Sparse indexes, nested ones and subjects that do not exist are fine.
    let child = json!({"mediaType": OCI_MANIFEST, "digest": random_digest(), "size": 7});
    let present =
        json!({"mediaType": OCI_MANIFEST, "digest": owner.image.digest, "size": owner.image.manifest.len()});
    let index =
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child, present]}).to_string();
    owner.put("index", OCI_INDEX, index.as_bytes()).await.expect(201);
    let nested = json!({"mediaType": OCI_INDEX, "digest": Digest::of(Algorithm::Sha256, index.as_bytes()), "size": index.len()});
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": random_digest(), "size": 7});
    let outer =
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [nested], "subject": subject})
            .to_string();
    let answer = owner.put("outer", OCI_INDEX, outer.as_bytes()).await.expect(201);
    assert_eq!(answer.header("oci-subject"), subject["digest"].as_str().unwrap_or_default());
    owner.registry.get_manifest(owner.repository(), "outer").await.expect(200);
}

#[tokio::test]
async fn ct_07_four_mebibytes_and_not_one_more() {
    let owner = Owner::new().await;
    let (config, layer) = owner.parts();
    let padded = |length: usize| {
        let mut manifest = image_manifest((&owner.image.config, config), &[(&owner.image.layer, layer)]);
        manifest.pop();
        manifest.extend(b",\"annotations\":{\"a\":\"");
        manifest.resize(length - 3, b'x');
        manifest.extend(b"\"}}");
        manifest
    };
    let largest = padded(MANIFEST_BYTES_MAX);
    assert_eq!(largest.len(), 4 * 1024 * 1024);
    owner.put("large", OCI_MANIFEST, &largest).await.expect(201);
    assert_eq!(owner.registry.get_manifest(owner.repository(), "large").await.expect(200).body, largest);
    owner.put("larger", OCI_MANIFEST, &padded(MANIFEST_BYTES_MAX + 1)).await.expect(413);
    owner.registry.get_manifest(owner.repository(), "larger").await.expect(404);
}

#[tokio::test]
async fn ct_08_names_and_tags_follow_the_grammar() {
    let owner = Owner::new().await;
    let project = owner.project();
    let authorization = {
        use base64::Engine;
        let pair = format!("{}:{}", owner.user.name, owner.user.password);
        format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    for name in [
        "..",
        "%2e%2e%2f",
        "A",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a%00",
        "a%0a",
        "%e2%80%ae",
        "a%20b",
        "a%25",
        "_catalog",
        "a/",
        "a//b",
        ".",
        "a/..",
        "a/%2e%2e",
    ] {
        let answer = owner.bed.raw_get(&format!("/v2/{project}/{name}/tags/list"), &authorization).await;
        let status = answer.status.unwrap_or_default();
        assert!([400, 404].contains(&status), "{name}: {}", answer.text);
        assert!(status == 400 || !answer.text.contains("\"tags\""), "{name}: {}", answer.text);
    }
    for name in ["A", "-a", "a-", "a..b", "a___b", "a%20b", "_catalog"] {
        let answer = owner.registry.get(format!("/v2/{project}/{name}/tags/list")).await;
        let answer = answer.expect_error(400, "NAME_INVALID");
        assert!(answer.text().contains("invalid repository name"), "{answer}");
    }
    // One component is no repository.
    owner.registry.get(format!("/v2/{project}/tags/list")).await.expect_error(400, "NAME_INVALID");
    for tag in ["-a", ".a", "..", "a%2Bb", "a%20b", "%e2%80%ae", "a%2cb", &"t".repeat(129)] {
        let path = format!("/v2/{}/manifests/{tag}", owner.repository());
        let put = owner.registry.request(Method::PUT, &path).header("content-type", OCI_MANIFEST);
        let answer = put.body(owner.image.manifest.clone()).send().await;
        assert!(answer.status == 400 || (tag == ".." && answer.status == 404), "{tag}: {answer}");
        if tag != ".." {
            assert_eq!(answer.code(), "TAG_INVALID", "{tag}: {answer}");
        }
    }
    owner.put(&"t".repeat(128), OCI_MANIFEST, &owner.image.manifest).await.expect(201);
    // Words of the path are names like any other.
    for name in ["blobs", "manifests", "tags", "blobs/uploads", "tags/list", "referrers"] {
        let repository = format!("{project}/{name}");
        let image = owner.registry.push_image(&repository, "latest").await;
        owner.registry.get_manifest(&repository, "latest").await.expect(200);
        owner.registry.get_blob(&repository, &image.layer).await.expect(200);
        let tags = owner.registry.get(format!("/v2/{repository}/tags/list")).await.expect(200).json();
        assert_eq!(tags, json!({"name": repository, "tags": ["latest"]}));
    }
}

#[tokio::test]
async fn ct_09_pages_are_clamped() {
    let owner = Owner::new().await;
    for tag in ["a", "b", "c"] {
        owner.put(tag, OCI_MANIFEST, &owner.image.manifest).await.expect(201);
    }
    let path = format!("/v2/{}/tags/list", owner.repository());
    for n in ["-1", "abc", "1e3", "0x10", "1.5", "%2B1"] {
        owner.registry.get(format!("{path}?n={n}")).await.expect_error(400, "PAGINATION_NUMBER_INVALID");
    }
    for n in ["1000000000", "18446744073709551616", "99999999999999999999999999"] {
        let answer = owner.registry.get(format!("{path}?n={n}")).await.expect(200);
        assert_eq!(answer.json()["tags"], json!(["1", "a", "b", "c"]), "{n}");
        assert_eq!(answer.header("link"), "");
    }
    let empty = owner.registry.get(format!("{path}?n=0")).await.expect(200);
    assert_eq!((empty.json()["tags"].clone(), empty.header("link")), (json!([]), ""));
    for (last, tags) in [
        ("%25", json!(["1", "a", "b", "c"])),
        ("%27", json!(["1", "a", "b", "c"])),
        ("a", json!(["b", "c"])),
        ("aa", json!(["b", "c"])),
        ("c", json!([])),
        ("%27%20or%201=1--", json!(["1", "a", "b", "c"])),
    ] {
        let answer = owner.registry.get(format!("{path}?last={last}")).await.expect(200);
        assert_eq!(answer.json()["tags"], tags, "{last}");
    }
    owner.registry.get(format!("{path}?last=%00")).await.expect(400);
    // Walking by Link visits everything once, and the last page has no Link.
    let mut next = format!("{path}?n=3");
    let mut seen = Vec::new();
    while !next.is_empty() {
        let answer = owner.registry.get(&next).await.expect(200);
        seen.extend(answer.json()["tags"].as_array().cloned().unwrap_or_default());
        let link = answer.header("link");
        next = link
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .map(|(to, _)| to.to_owned())
            .unwrap_or_default();
        assert!(next.is_empty() || next.starts_with("/v2/"), "{link}");
    }
    assert_eq!(seen, ["1", "a", "b", "c"]);
}

#[tokio::test]
async fn ct_10_names_that_are_prefixes_are_all_listed() {
    let owner = Owner::new().await;
    let mut names = ["a", "a-b", "a0", "a.b", "a_b", "aa", "A", "a-", "b"].map(str::to_owned).to_vec();
    for tag in &names {
        owner.put(tag, OCI_MANIFEST, &owner.image.manifest).await.expect(201);
    }
    names.push("1".to_owned());
    names.sort();
    let path = format!("/v2/{}/tags/list", owner.repository());
    assert_eq!(walk(&owner.registry, &format!("{path}?n=1"), "tags", |_| true).await, names);

    let mut repositories = vec![owner.repository().to_owned()];
    for name in ["a", "a-b", "a0", "a/b", "a.b", "aa"] {
        let repository = format!("{}/{name}", owner.project());
        owner.registry.push_image(&repository, "1").await;
        repositories.push(repository);
    }
    repositories.sort();
    // `0` comes right after `/`: the first page starts at the project's first repository.
    let prefix = format!("{}/", owner.project());
    let start = format!("/v2/_catalog?n=1&last={}", owner.project());
    let listed =
        walk(&owner.bed.admin().registry(), &start, "repositories", |name| name.starts_with(&prefix)).await;
    assert_eq!(listed, repositories);
}

/// Follows `Link` from `start` while entries are wanted.
async fn walk(registry: &Registry, start: &str, member: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut next = start.to_owned();
    let mut seen = Vec::new();
    while !next.is_empty() {
        let answer = registry.get(&next).await.expect(200);
        for name in answer.json()[member].as_array().cloned().unwrap_or_default() {
            let name = name.as_str().unwrap_or_default().to_owned();
            if !wanted(&name) && !seen.is_empty() {
                return seen;
            }
            if wanted(&name) {
                seen.push(name);
            }
        }
        let link = answer.header("link");
        next = link
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .map(|(to, _)| to.to_owned())
            .unwrap_or_default();
    }
    seen
}

#[tokio::test]
async fn ct_13_ranges_of_blobs() {
    let owner = Owner::new().await;
    let bytes = random_bytes(1000);
    let digest = owner.registry.push_blob(owner.repository(), &bytes).await;
    let ask = async |range: &str| {
        let request =
            owner.registry.request(Method::GET, format!("/v2/{}/blobs/{digest}", owner.repository()));
        request.header("range", range).send().await
    };
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=990-", 990, 999),
        ("bytes=-10", 990, 999),
        ("bytes=0-5000", 0, 999),
        ("bytes=-5000", 0, 999),
    ] {
        let answer = ask(range).await.expect(206);
        assert_eq!(answer.body, bytes[first..=last], "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/1000"), "{range}");
    }
    for range in ["bytes=1000-", "bytes=5000-6000", "bytes=500-0", "bytes=-0"] {
        let answer = ask(range).await.expect(416);
        assert_eq!(answer.header("content-range"), "bytes */1000", "{range}");
    }
    // Never 416 for a well-formed list; whatever comes is not a wrong whole.
    let thousand: Vec<String> = (0..1000).map(|at| format!("{at}-{at}")).collect();
    for range in ["bytes=0-1,5-6".to_owned(), format!("bytes={}", thousand.join(","))] {
        let answer = ask(&range).await.expect_any(&[200, 206]);
        assert!(
            answer.status == 206 || answer.body == bytes,
            "a list of ranges was answered with other bytes"
        );
        assert!(answer.body.len() < 200_000, "a list of ranges was amplified");
        // Clients take the parts in the order in which they asked, one for each range, also where ranges touch.
        let parts = String::from_utf8_lossy(&answer.body).matches("Content-Range: bytes ").count();
        assert!(answer.status == 200 || parts == range.split(',').count(), "{parts} parts for {range}");
    }
    for range in ["lines=1-2", "bytes=a-b", "bytes", "bytes=1-2-3"] {
        assert_eq!(ask(range).await.expect(200).body, bytes, "{range}");
    }
}

#[tokio::test]
async fn ct_14_what_was_deleted_can_be_pushed_again() {
    let owner = Owner::new().await;
    let image = &owner.image;
    let repository = owner.repository();
    owner.registry.delete(format!("/v2/{repository}/manifests/{}", image.digest)).await.expect(202);
    owner.registry.get_manifest(repository, "1").await.expect_error(404, "MANIFEST_UNKNOWN");
    owner.registry.get_manifest(repository, &image.digest).await.expect_error(404, "MANIFEST_UNKNOWN");
    for blob in [&image.layer, &image.config] {
        owner.registry.delete(format!("/v2/{repository}/blobs/{blob}")).await.expect(202);
        owner.registry.head_blob(repository, blob).await.expect(404);
        owner
            .registry
            .delete(format!("/v2/{repository}/blobs/{blob}"))
            .await
            .expect_error(404, "BLOB_UNKNOWN");
    }
    // The manifest alone does not come back: its blobs are gone from here.
    let answer = owner.put("1", OCI_MANIFEST, &image.manifest).await;
    assert_eq!(answer.code(), "MANIFEST_BLOB_UNKNOWN", "{answer}");
    owner.registry.push_blob(repository, &image.layer_bytes).await;
    let again = owner.registry.push_image(repository, "2").await;
    assert_eq!(owner.registry.get_blob(repository, &again.layer).await.expect(200).body, again.layer_bytes);
    assert_eq!(owner.registry.get_blob(repository, &image.layer).await.expect(200).body, image.layer_bytes);
}

#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest_and_its_other_tags() {
    let owner = Owner::new().await;
    let repository = owner.repository();
    owner.put("2", OCI_MANIFEST, &owner.image.manifest).await.expect(201);
    owner.registry.delete(format!("/v2/{repository}/manifests/1")).await.expect(202);
    owner.registry.get_manifest(repository, "1").await.expect_error(404, "MANIFEST_UNKNOWN");
    owner.registry.get_manifest(repository, "2").await.expect(200);
    owner.registry.get_manifest(repository, &owner.image.digest).await.expect(200);
    // A blob in use is not taken from under an image.
    let answer = owner.registry.delete(format!("/v2/{repository}/blobs/{}", owner.image.layer)).await;
    answer.expect_any(&[405]);
    owner.registry.get_blob(repository, &owner.image.layer).await.expect(200);
}

#[tokio::test]
async fn ct_15_damaged_bytes_are_never_served_as_whole() {
    // Reads are compared with the digest the first time; a server of its own keeps others' blobs out.
    let owner = Owner::on(Bed::own(Options::default()).await).await;
    for damage in ["emptied", "truncated", "flipped", "removed"] {
        let bytes = random_bytes(200_000);
        let digest = owner.registry.push_blob(owner.repository(), &bytes).await;
        let file = find_blob(&owner.bed.data_directory(), &bytes);
        match damage {
            "emptied" => std::fs::write(&file, b"").expect("our own file"),
            "truncated" => std::fs::write(&file, &bytes[..bytes.len() - 1]).expect("our own file"),
            "flipped" => {
                let mut flipped = bytes.clone();
                flipped[100_000] ^= 1;
                std::fs::write(&file, &flipped).expect("our own file");
            }
            _ => std::fs::remove_file(&file).expect("our own file"),
        }
        if damage != "flipped" {
            let head = owner.registry.head_blob(owner.repository(), &digest).await;
            assert_ne!(head.status, 200, "{damage}: {head}");
        }
        for _ in 0..2 {
            let path = format!("/v2/{}/blobs/{digest}", owner.repository());
            // A broken-off answer is as good as an error: the client sees that it is not whole.
            if let Ok(answer) = owner.registry.request(Method::GET, path).try_send().await {
                assert!(answer.status != 200 || answer.body == bytes, "{damage}: wrong bytes under a 200");
                assert_ne!(answer.status, 200, "{damage}: whole bytes out of a damaged file");
            }
        }
        // An operator sees it as a number that grows.
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let metrics =
            http.get(format!("{}/metrics", owner.bed.operations_url())).send().await.expect("an answer");
        let metrics = metrics.text().await.expect("a text");
        let counted = metrics.lines().any(|line| {
            line.starts_with("hythe_storage_damaged_total") || line.starts_with("hythe_blobs_damaged_total")
        });
        assert!(counted, "{damage}: no metric counts it");
        // Pushing again repairs: a client that was told "absent" uploads.
        owner.registry.push_blob(owner.repository(), &bytes).await;
        owner.registry.head_blob(owner.repository(), &digest).await.expect(200);
        assert_eq!(
            owner.registry.get_blob(owner.repository(), &digest).await.expect(200).body,
            bytes,
            "{damage}"
        );
    }
}

/// The file in the data directory that holds these bytes.
fn find_blob(directory: &std::path::Path, bytes: &[u8]) -> std::path::PathBuf {
    let mut directories = vec![directory.join("blobs")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("the blob store is readable") {
            let entry = entry.expect("a directory entry");
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if entry.metadata().is_ok_and(|found| found.len() == bytes.len() as u64)
                && std::fs::read(&path).is_ok_and(|found| found == bytes)
            {
                return path;
            }
        }
    }
    panic!("no file in {} holds the blob", directory.display());
}

#[tokio::test]
async fn referrers_of_a_subject() {
    let owner = Owner::new().await;
    let (config, _) = owner.parts();
    let repository = owner.repository();
    let mut digests = Vec::new();
    for artifact_type in ["application/vnd.test.sbom", "application/vnd.test.signature"] {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": artifact_type,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": owner.image.config, "size": config},
            "layers": [], "annotations": {"kind": artifact_type},
            "subject": {"mediaType": OCI_MANIFEST, "digest": owner.image.digest, "size": owner.image.manifest.len()},
        })
        .to_string();
        let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes());
        let answer = owner.put(&digest.to_string(), OCI_MANIFEST, manifest.as_bytes()).await.expect(201);
        assert_eq!(answer.header("oci-subject"), owner.image.digest.to_string());
        digests.push(digest.to_string());
    }
    let list = async |query: &str| {
        let answer = owner
            .registry
            .get(format!("/v2/{repository}/referrers/{}{query}", owner.image.digest))
            .await
            .expect(200);
        assert_eq!(answer.header("content-type"), OCI_INDEX);
        answer
    };
    let all = list("").await;
    let mut found: Vec<String> = all.json()["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap_or_default().to_owned())
        .collect();
    found.sort();
    digests.sort();
    assert_eq!(found, digests);
    assert_eq!(all.header("oci-filters-applied"), "");
    let filtered = list("?artifactType=application/vnd.test.sbom").await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(filtered.json()["manifests"].as_array().map(Vec::len), Some(1));
    assert_eq!(filtered.json()["manifests"][0]["annotations"]["kind"], "application/vnd.test.sbom");
    owner.registry.delete(format!("/v2/{repository}/manifests/{}", digests[0])).await.expect(202);
    assert_eq!(list("").await.json()["manifests"].as_array().map(Vec::len), Some(1));
    let empty =
        owner.registry.get(format!("/v2/{repository}/referrers/{}", random_digest())).await.expect(200);
    assert_eq!(empty.json()["manifests"], json!([]));
}

/// AZ-11.
#[tokio::test]
async fn read_only_serves_pulls_and_refuses_changes() {
    let bed = Bed::own(Options::default()).await;
    let project = bed.project("frozen").create().await;
    let repository = project.repository("app");
    let admin = bed.admin().registry();
    let image = admin.push_image(&repository, "1").await;
    let upload = admin.start_upload(&repository).await;
    let inside = bed.inside().await;
    let switch = async |on: bool| {
        let set = "insert into tenancy.settings (key, value) values ('read_only', to_jsonb($1))
                   on conflict (key) do update set value = excluded.value";
        sqlx::query(set).bind(on).execute(inside.database.pool()).await.expect("a setting");
        // Settings are at most a second old.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    };
    switch(true).await;
    for (method, path) in [
        (Method::POST, format!("/v2/{repository}/blobs/uploads/")),
        (Method::PATCH, upload.location.clone()),
        (Method::DELETE, upload.location.clone()),
        (Method::PUT, format!("/v2/{repository}/manifests/2")),
        (Method::DELETE, format!("/v2/{repository}/manifests/{}", image.digest)),
        (Method::DELETE, format!("/v2/{repository}/blobs/{}", image.layer)),
    ] {
        let answer = admin.request(method.clone(), &path).send().await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"), "{method} {path}: {answer}");
        assert!(answer.text().contains("read-only"), "{answer}");
        // Who may not push is told that, and nothing else.
        bed.registry().request(method, &path).send().await.expect(401);
    }
    admin.get_manifest(&repository, "1").await.expect(200);
    admin.get_blob(&repository, &image.layer).await.expect(200);
    admin.get(&upload.location).await.expect(204);
    let rest = bed.admin().client();
    rest.delete(project.path("/repositories/app")).await.expect_error(403, "DENIED");
    assert_eq!(rest.get("/api/v2.0/systeminfo").await.expect(200).json()["read_only"], true);
    switch(false).await;
    let bytes = random_bytes(10);
    admin.finish(&upload, Digest::of(Algorithm::Sha256, &bytes), &bytes).await.expect(201);
}

#[tokio::test]
async fn variables_of_the_distribution_registry_count() {
    let options = Options::default()
        .set("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\":true}")
        .set("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd");
    let bed = Bed::own(options).await;
    let admin = bed.admin().registry();
    // The project that is there from the start: none can be made.
    admin.request(Method::POST, "/v2/library/app/blobs/uploads/").send().await.expect_error(403, "DENIED");
    assert!(bed.log().contains("REGISTRY_AUTH_HTPASSWD_PATH has no effect"), "{}", bed.log());
}
