//! `/v2` as a docker-like client speaks it.

use std::fmt::Display;

use oci::manifest::OCI_MANIFEST;
use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::json;

use crate::http::Request;
use crate::{Answer, Client};

/// A registry client with some credentials.
#[derive(Clone)]
pub struct Registry {
    client: Client,
}

/// An image that was pushed.
#[derive(Clone, Debug)]
pub struct Image {
    pub repository: String,
    pub tag: String,
    pub digest: Digest,
    pub manifest: Vec<u8>,
    pub config: Digest,
    pub layer: Digest,
    pub layer_bytes: Vec<u8>,
}

/// An open upload session.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Path of the session, as the server gave it.
    pub location: String,
}

impl Upload {
    /// The session's id: the last segment of its path.
    pub fn id(&self) -> &str {
        self.location.rsplit('/').next().unwrap_or_default()
    }
}

impl Registry {
    pub fn new(client: Client) -> Registry {
        Registry { client }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn request(&self, method: Method, path: impl Display) -> Request {
        self.client.request(method, path)
    }

    pub async fn get(&self, path: impl Display) -> Answer {
        self.client.get(path).await
    }

    pub async fn head(&self, path: impl Display) -> Answer {
        self.client.head(path).await
    }

    pub async fn delete(&self, path: impl Display) -> Answer {
        self.client.delete(path).await
    }

    pub async fn get_manifest(&self, repository: &str, reference: impl Display) -> Answer {
        self.get(format!("/v2/{repository}/manifests/{reference}")).await
    }

    pub async fn get_blob(&self, repository: &str, digest: &Digest) -> Answer {
        self.get(format!("/v2/{repository}/blobs/{digest}")).await
    }

    pub async fn head_blob(&self, repository: &str, digest: &Digest) -> Answer {
        self.head(format!("/v2/{repository}/blobs/{digest}")).await
    }

    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: impl Display,
        media_type: &str,
        manifest: &[u8],
    ) -> Answer {
        self.request(Method::PUT, format!("/v2/{repository}/manifests/{reference}"))
            .header("content-type", media_type)
            .body(manifest.to_vec())
            .send()
            .await
    }

    /// Opens an upload session.
    pub async fn start_upload(&self, repository: &str) -> Upload {
        let answer =
            self.request(Method::POST, format!("/v2/{repository}/blobs/uploads/")).send().await.expect(202);
        let location = answer.header("location").to_owned();
        assert!(location.starts_with(&format!("/v2/{repository}/blobs/uploads/")), "Location {location:?}");
        Upload { location }
    }

    /// Sends bytes to a session; `range` is the `Content-Range`, if any.
    pub async fn patch(&self, upload: &Upload, range: Option<&str>, bytes: &[u8]) -> Answer {
        let mut request = self
            .request(Method::PATCH, &upload.location)
            .header("content-type", "application/octet-stream")
            .body(bytes.to_vec());
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        request.send().await
    }

    /// Finishes a session with `bytes` as its last part.
    pub async fn finish(&self, upload: &Upload, digest: impl Display, bytes: &[u8]) -> Answer {
        self.request(Method::PUT, &upload.location)
            .query("digest", digest)
            .header("content-type", "application/octet-stream")
            .body(bytes.to_vec())
            .send()
            .await
    }

    /// Uploads a blob: POST, then one PUT.
    pub async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let upload = self.start_upload(repository).await;
        let answer = self.finish(&upload, &digest, bytes).await.expect(201);
        assert_eq!(answer.header("location"), format!("/v2/{repository}/blobs/{digest}"));
        digest
    }

    /// Pushes an image of one random layer under a tag.
    pub async fn push_image(&self, repository: &str, tag: &str) -> Image {
        let layer_bytes = random_bytes(2048);
        // A config of its own, so that no two images share a manifest.
        let config_bytes =
            json!({"architecture": "amd64", "os": "linux", "author": format!("{:x}", rand::random::<u64>())});
        let config_bytes = config_bytes.to_string().into_bytes();
        let layer = self.push_blob(repository, &layer_bytes).await;
        let config = self.push_blob(repository, &config_bytes).await;
        let manifest = image_manifest((&config, config_bytes.len()), &[(&layer, layer_bytes.len())]);
        let answer = self.put_manifest(repository, tag, OCI_MANIFEST, &manifest).await.expect(201);
        let digest = Digest::of(Algorithm::Sha256, &manifest);
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        Image {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            digest,
            manifest,
            config,
            layer,
            layer_bytes,
        }
    }
}

/// An OCI image manifest of these blobs and sizes.
pub fn image_manifest(config: (&Digest, usize), layers: &[(&Digest, usize)]) -> Vec<u8> {
    let descriptor = |media_type: &str, (digest, size): (&Digest, usize)| json!({"mediaType": media_type, "digest": digest, "size": size});
    let layers: Vec<_> =
        layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", *layer)).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    })
    .to_string()
    .into_bytes()
}

/// A body of unknown length, sent in chunks of `size` bytes.
pub fn streaming(bytes: &[u8], size: usize) -> reqwest::Body {
    let chunks: Vec<_> = bytes
        .chunks(size)
        .map(|chunk| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(chunk)))
        .collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
}

/// Bytes that neither compress nor repeat, so that no test meets another's blobs.
pub fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes[..]);
    bytes
}
