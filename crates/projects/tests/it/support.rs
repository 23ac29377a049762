//! What tests of content need beside the world: any blob, any manifest, and what comes of pushing it.

use bytes::Bytes;
use catalog::{Body, Delete, Error, Patience, Pull, PushTarget};
use futures_util::stream;
use identity::tokens::Access;
use oci::manifest::OCI_MANIFEST;
use oci::{Action, Algorithm, Digest, RepositoryName};
use serde_json::{Value, json};

use crate::world::World;

pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

pub fn descriptor(bytes: &[u8], media_type: &str) -> Value {
    let digest = Digest::of(Algorithm::Sha256, bytes).to_string();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// A manifest as it goes over the wire.
pub fn manifest(config: (&[u8], &str), layers: &[(&[u8], &str)], more: Value) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config.0, config.1),
        "layers": layers.iter().map(|(bytes, kind)| descriptor(bytes, kind)).collect::<Vec<_>>(),
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        manifest[key] = value.clone();
    }
    manifest
}

impl World {
    pub async fn blob(&self, project: i64, name: &str, bytes: &[u8]) {
        let push = self.push(project, name);
        let session = self.catalog.uploads.start(&push, Algorithm::Sha256).await.unwrap();
        let bytes = Bytes::copy_from_slice(bytes);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let body = Body {
            length: Some(bytes.len() as u64),
            range: None,
            patience: Patience::default(),
            bytes: stream::iter([Ok::<_, std::io::Error>(bytes)]),
        };
        self.catalog.uploads.finish(&push, session.id, &digest, body).await.unwrap();
    }

    /// Pushes a manifest with its blobs under these tags.
    pub async fn artifact(
        &self,
        project: i64,
        name: &str,
        tags: &[&str],
        config: (&[u8], &str),
        layers: &[(&[u8], &str)],
        more: Value,
    ) -> Result<Digest, Error> {
        self.blob(project, name, config.0).await;
        for (bytes, _) in layers {
            self.blob(project, name, bytes).await;
        }
        self.put(project, name, tags, &manifest(config, layers, more)).await
    }

    pub async fn put(
        &self,
        project: i64,
        name: &str,
        tags: &[&str],
        manifest: &Value,
    ) -> Result<Digest, Error> {
        let payload = Bytes::from(manifest.to_string());
        let digest = Digest::of(Algorithm::Sha256, &payload);
        let target = PushTarget {
            digest: tags.is_empty().then(|| digest.clone()),
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        };
        let push = self.push(project, name);
        self.catalog.manifests.put(&push, target, manifest["mediaType"].as_str(), payload).await?;
        Ok(digest)
    }

    pub fn deletion(&self, project: i64, name: &str) -> Delete {
        let name: RepositoryName = name.parse().unwrap();
        let access = vec![Access::repository(&name, &[Action::Delete], Some((project, 0)))];
        Delete::from_access(&self.admin, &access, &name).unwrap()
    }

    pub fn pulling(&self, project: i64, name: &str) -> Pull {
        let name: RepositoryName = name.parse().unwrap();
        let access = vec![Access::repository(&name, &[Action::Pull], Some((project, 0)))];
        Pull::from_access(&self.admin, &access, &name).unwrap()
    }

    /// Rows of the trail with this action.
    pub async fn acts(&self, action: &str) -> i64 {
        sqlx::query_scalar("select count(*) from audit.entries where action = $1 and outcome = 'done'")
            .bind(action)
            .fetch_one(self.database.owner())
            .await
            .unwrap()
    }

    /// The one number that the statement asks for.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.database.owner()).await.unwrap()
    }
}
