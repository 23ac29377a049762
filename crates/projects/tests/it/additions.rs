//! What can be read out of an artifact.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{CONFIG, LAYER};
use crate::world::World;

const HELM: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// A chart as helm packs it: a gzipped tar archive.
fn chart(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = GzEncoder::new(Vec::new(), Compression::fast());
    for (path, content) in files {
        let mut header = [0; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        archive.write_all(&header).unwrap();
        archive.write_all(content).unwrap();
        archive.write_all(&vec![0; content.len().div_ceil(512) * 512 - content.len()]).unwrap();
    }
    archive.write_all(&[0; 1024]).unwrap();
    archive.finish().unwrap()
}

#[actix_web::test]
async fn build_history_and_texts_of_charts() {
    let world = World::new().await;
    let id = world.project("ana", "alpha", false).await;
    let history =
        json!([{"created_by": "RUN make", "created": "2026-01-01T00:00:00Z"}, {"empty_layer": true}]);
    let config = json!({"architecture": "amd64", "os": "linux", "history": history}).to_string();
    let image = (config.as_bytes(), CONFIG);
    let digest =
        world.artifact(id, "alpha/a/b", &["v1"], image, &[(b"layer", LAYER)], json!({})).await.unwrap();
    let artifacts = "/api/v2.0/projects/alpha/repositories/a%252Fb/artifacts";
    let read = world.get("ana", &format!("{artifacts}/v1")).await.json();
    let href = format!("{artifacts}/{digest}/additions/build_history");
    assert_eq!(read["addition_links"], json!({"build_history": {"href": href, "absolute": false}}));
    let got = world.get("ana", &href).await;
    assert_eq!((got.status, got.json()), (200, history));
    assert_eq!(got.header("content-type"), Some("application/json; charset=utf-8"));
    for addition in ["values.yaml", "vulnerabilities", "x"] {
        let answer = world.get("ana", &format!("{artifacts}/v1/additions/{addition}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{addition}");
    }
    assert_eq!(world.get("ana", &format!("{artifacts}/v9/additions/build_history")).await.status, 404);
    assert_eq!(world.get("ben", &href).await.status, 403);

    let dependencies = json!([{"name": "redis", "version": "1.x", "repository": "oci://example.com"}]);
    let config = json!({"name": "web", "version": "1.0.0", "dependencies": dependencies}).to_string();
    let large = vec![b'x'; 300_000];
    let files: [(&str, &[u8]); 4] = [
        ("web/Chart.yaml", b"name: web"),
        ("web/charts/redis/README.md", b"of redis"),
        ("web/large.bin", &large),
        ("web/README.md", b"# Web <script>"),
    ];
    let without = chart(&files);
    let with = chart(&[&files[..], &[("web/values.yaml", b"replicas: 1\n")]].concat());
    let helm = (config.as_bytes(), HELM);
    for (tag, archive) in [("1.0.0", &with), ("1.0.1", &without)] {
        world.artifact(id, "alpha/web", &[tag], helm, &[(archive, CHART)], json!({})).await.unwrap();
    }
    let artifacts = "/api/v2.0/projects/alpha/repositories/web/artifacts";
    let read = world.get("ana", &format!("{artifacts}/1.0.0")).await.json();
    let names: Vec<_> = read["addition_links"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["dependencies", "readme.md", "values.yaml"]);
    let values = world.get("ana", &format!("{artifacts}/1.0.0/additions/values.yaml")).await;
    assert_eq!((values.status, values.body.as_str()), (200, "replicas: 1\n"), "{}", values.body);
    let readme = world.get("ana", &format!("{artifacts}/1.0.0/additions/readme.md")).await;
    assert_eq!((readme.status, readme.body.as_str()), (200, "# Web <script>"));
    assert_eq!(readme.header("content-type"), Some("text/markdown; charset=utf-8"));
    assert_eq!(readme.header("x-content-type-options"), Some("nosniff"));
    let got = world.get("ana", &format!("{artifacts}/1.0.0/additions/dependencies")).await;
    assert_eq!((got.status, got.json()), (200, dependencies));
    assert_eq!(world.get("ana", &format!("{artifacts}/1.0.1/additions/values.yaml")).await.status, 404);

    // A bomb: small on the wire, larger than anything that is looked into. And what is no archive at all.
    let bomb = chart(&[("web/a", &vec![0; 40 << 20]), ("web/values.yaml", b"late")]);
    assert!(bomb.len() < 1 << 20);
    for (tag, archive) in [("2.0.0", &bomb[..]), ("2.0.1", b"no archive"), ("2.0.2", &with[..with.len() / 2])]
    {
        world
            .artifact(id, "alpha/web", &[tag], helm, &[(archive, CHART)], json!({"annotations": {"t": tag}}))
            .await
            .unwrap();
        let got = world.get("ana", &format!("{artifacts}/{tag}/additions/values.yaml")).await;
        assert_eq!(got.status, 404, "{tag}");
    }
    // An index has no history of its own.
    let child = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(), "size": 1});
    let index = json!({"schemaVersion": 2, "mediaType": oci::manifest::OCI_INDEX, "manifests": [child]});
    world.put(id, "alpha/a/b", &["all"], &index).await.unwrap();
    let read = world.get("ana", "/api/v2.0/projects/alpha/repositories/a%252Fb/artifacts/all").await.json();
    assert_eq!((read["type"].as_str(), read.get("addition_links")), (Some("IMAGE"), None));
    assert_ne!(read["references"], Value::Null);
}
