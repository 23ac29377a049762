//! A registry as a client sees it: names, tokens, and the requests that the cases are made of.
//!
//! The same requests go to both servers. What differs is the `Authorization` header: Hythe is asked for a token once
//! per repository, as registry clients do, and the peer runs without authentication.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;

use crate::http::{Body, Connection, Head, Sink};
use crate::noise::{Blob, Noise, digest_of};
use crate::server::ADMIN;

/// A project that everybody may pull from.
pub const PUBLIC: &str = "bench";
/// A project that only its members may pull from.
pub const PRIVATE: &str = "closed";
/// The quota of that project, more than anybody pushes.
const QUOTA_BYTES: i64 = 1 << 40;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCTETS: &str = "application/octet-stream";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Ours,
    Peer,
}

impl std::fmt::Display for Side {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Side::Ours => "Hythe",
            Side::Peer => "peer",
        })
    }
}

/// How a client presents itself to Hythe. The peer is told nothing.
#[derive(Clone, Copy)]
pub enum Login {
    /// Without credentials, which still takes a token.
    Anonymous,
    Admin,
}

/// A running registry to send requests to.
#[derive(Clone, Copy)]
pub struct Registry {
    pub side: Side,
    pub address: SocketAddr,
    /// Process id of the server.
    pub id: u32,
}

/// In how many requests a blob goes up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `POST`, then `PUT` with the bytes.
    TwoRequests,
    /// As the docker engine does it: `HEAD`, `POST`, `PATCH` with the bytes, `PUT`.
    Docker,
}

/// A small image: two blobs and a manifest that names them.
pub struct Image {
    pub config: (String, Vec<u8>),
    pub layer: (String, Vec<u8>),
    pub manifest: Vec<u8>,
    pub digest: String,
}

impl Image {
    /// Bytes of the layer; with its config it is about what a scratch image around a script has.
    const LAYER_BYTES: usize = 10 * 1024;

    /// Images of different seeds share nothing.
    pub fn new(seed: u64) -> Image {
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","author":"hythe-bench {seed}","config":{{}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        )
        .into_bytes();
        let layer = Noise::new(seed).bytes(Self::LAYER_BYTES);
        let (config, layer) = ((digest_of(&config), config), (digest_of(&layer), layer));
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":{}}}]}}"#,
            config.0,
            config.1.len(),
            layer.0,
            layer.1.len()
        )
        .into_bytes();
        let digest = digest_of(&manifest);
        Image { config, layer, manifest, digest }
    }
}

impl Registry {
    pub fn connect(&self) -> Connection {
        Connection::new(self.address)
    }

    /// The head of a request for a token. Only Hythe has a token service.
    pub fn token_request(scope: &str, basic: Option<(&str, &str)>) -> Head {
        let basic = basic.map(|(name, password)| {
            format!(
                "Basic {}",
                base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"))
            )
        });
        let path = format!("/service/token?service=harbor-registry&scope={scope}");
        Head::new("GET", &path, basic.as_deref(), &[], None)
    }

    /// The value of `Authorization` for a scope; none for the peer.
    pub async fn authorize(
        &self,
        connection: &mut Connection,
        scope: &str,
        login: Login,
    ) -> Result<Option<String>> {
        if self.side == Side::Peer {
            return Ok(None);
        }
        let basic = match login {
            Login::Anonymous => None,
            Login::Admin => Some(ADMIN),
        };
        let mut text = Vec::new();
        let head = Self::token_request(scope, basic);
        let answer = connection.exchange(&head, Body::None, &mut Sink::Collect(&mut text)).await?;
        ensure!(answer.status == 200, "no token: {} {}", answer.status, String::from_utf8_lossy(&text));
        let answer: serde_json::Value = serde_json::from_slice(&text)?;
        let token = answer["token"].as_str().context("a token in the answer")?;
        Ok(Some(format!("Bearer {token}")))
    }

    /// The right to push to a repository and pull from it.
    pub async fn pusher(&self, connection: &mut Connection, repository: &str) -> Result<Option<String>> {
        self.authorize(connection, &format!("repository:{repository}:pull,push"), Login::Admin).await
    }

    /// The right to pull, as somebody who has no account.
    pub async fn puller(&self, connection: &mut Connection, repository: &str) -> Result<Option<String>> {
        self.authorize(connection, &format!("repository:{repository}:pull"), Login::Anonymous).await
    }

    /// Makes the two projects; the peer needs none.
    pub async fn create_projects(&self) -> Result<()> {
        if self.side == Side::Peer {
            return Ok(());
        }
        let mut connection = self.connect();
        for (name, public, limit) in [(PUBLIC, true, -1), (PRIVATE, false, QUOTA_BYTES)] {
            let body = format!(
                r#"{{"project_name":"{name}","metadata":{{"public":"{public}"}},"storage_limit":{limit}}}"#
            );
            let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1));
            let head = Head::new(
                "POST",
                "/api/v2.0/projects",
                Some(&format!("Basic {basic}")),
                &[("Content-Type", "application/json")],
                Some(body.len() as u64),
            );
            connection.expect(201, &head, Body::Bytes(body.as_bytes())).await?;
        }
        Ok(())
    }

    /// Sends a blob in docker's form, but for the `HEAD`: whoever pushes gigabytes has asked before.
    pub async fn push_blob(
        &self,
        connection: &mut Connection,
        repository: &str,
        authorization: Option<&str>,
        blob: &Blob,
    ) -> Result<()> {
        let session = open_session(connection, repository, authorization).await?;
        let headers = [("Content-Type", OCTETS)];
        let head = Head::new("PATCH", &session, authorization, &headers, Some(blob.bytes));
        let answer = connection.expect(202, &head, Body::Blob(blob)).await?;
        let session = answer.location.unwrap_or(session);
        finish(connection, &session, authorization, &blob.digest, &[]).await
    }

    /// Sends bytes that are in memory.
    async fn push_bytes(
        &self,
        connection: &mut Connection,
        repository: &str,
        authorization: Option<&str>,
        (digest, bytes): &(String, Vec<u8>),
        form: Form,
    ) -> Result<()> {
        if form == Form::TwoRequests {
            let session = open_session(connection, repository, authorization).await?;
            return finish(connection, &session, authorization, digest, bytes).await;
        }
        let head = Head::new("HEAD", &blob_path(repository, digest), authorization, &[], None);
        connection.expect(404, &head, Body::None).await?;
        let session = open_session(connection, repository, authorization).await?;
        let length = Some(bytes.len() as u64);
        let head = Head::new("PATCH", &session, authorization, &[("Content-Type", OCTETS)], length);
        let answer = connection.expect(202, &head, Body::Bytes(bytes)).await?;
        finish(connection, &answer.location.unwrap_or(session), authorization, digest, &[]).await
    }

    pub async fn push_image(
        &self,
        connection: &mut Connection,
        repository: &str,
        authorization: Option<&str>,
        (tag, image): (&str, &Image),
        form: Form,
    ) -> Result<()> {
        self.push_bytes(connection, repository, authorization, &image.layer, form).await?;
        self.push_bytes(connection, repository, authorization, &image.config, form).await?;
        put_manifest(connection, repository, authorization, (tag, MANIFEST, &image.manifest)).await
    }

    /// Makes a repository that holds an image of another one, without sending its blobs again.
    pub async fn copy_image(
        &self,
        connection: &mut Connection,
        source: &str,
        repository: &str,
        image: &Image,
    ) -> Result<()> {
        let scope = format!("repository:{repository}:pull,push&scope=repository:{source}:pull");
        let authorization = self.authorize(connection, &scope, Login::Admin).await?;
        for (digest, _) in [&image.config, &image.layer] {
            let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={source}");
            let head = Head::new("POST", &path, authorization.as_deref(), &[], Some(0));
            connection.expect(201, &head, Body::None).await?;
        }
        let named = ("latest", MANIFEST, &*image.manifest);
        put_manifest(connection, repository, authorization.as_deref(), named).await
    }
}

async fn open_session(
    connection: &mut Connection,
    repository: &str,
    authorization: Option<&str>,
) -> Result<String> {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let head = Head::new("POST", &path, authorization, &[], Some(0));
    let answer = connection.expect(202, &head, Body::None).await?;
    answer.location.context("an upload has a Location")
}

/// The last request of an upload.
async fn finish(
    connection: &mut Connection,
    session: &str,
    authorization: Option<&str>,
    digest: &str,
    bytes: &[u8],
) -> Result<()> {
    let separator = if session.contains('?') { '&' } else { '?' };
    let path = format!("{session}{separator}digest={digest}");
    let length = Some(bytes.len() as u64);
    let head = Head::new("PUT", &path, authorization, &[("Content-Type", OCTETS)], length);
    connection.expect(201, &head, Body::Bytes(bytes)).await?;
    Ok(())
}

pub async fn put_manifest(
    connection: &mut Connection,
    repository: &str,
    authorization: Option<&str>,
    (tag, media_type, manifest): (&str, &str, &[u8]),
) -> Result<()> {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let length = Some(manifest.len() as u64);
    let head = Head::new("PUT", &path, authorization, &[("Content-Type", media_type)], length);
    connection.expect(201, &head, Body::Bytes(manifest)).await?;
    Ok(())
}

pub fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// A request for a manifest, with what docker says it accepts.
pub fn manifest_request(
    method: &str,
    repository: &str,
    reference: &str,
    authorization: Option<&str>,
) -> Head {
    const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                          application/vnd.docker.distribution.manifest.v2+json, \
                          application/vnd.docker.distribution.manifest.list.v2+json";
    let path = format!("/v2/{repository}/manifests/{reference}");
    Head::new(method, &path, authorization, &[("Accept", ACCEPT)], None)
}
