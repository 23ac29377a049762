//! Bytes in a bucket of an S3 service.
//!
//! Published content lies under the same keys as in files; [`upload`] says how it comes there. Nothing is ever
//! copied inside the bucket, and nothing is replaced.
//!
//! Exclusivity of writers is the caller's business between processes: see [`crate::BlobStore::shares_uploads`].

mod client;
mod config;
mod read;
mod spool;
mod upload;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectMeta;
use uuid::Uuid;

use crate::driver::Version;
use crate::{ByteStream, Key, UploadState};

use client::Client;
pub use config::{Credential, Encryption, S3Config};
pub(crate) use upload::Upload;

pub(crate) struct S3 {
    client: Arc<Client>,
    part_bytes: u64,
    redirect: Option<Redirect>,
}

/// When and for how long clients are sent to the bucket.
struct Redirect {
    lifetime: Duration,
    never: Vec<String>,
}

impl S3 {
    /// Talks to nobody yet, so that a service that is down does not keep the process from starting.
    pub(crate) fn open(config: &S3Config) -> io::Result<Self> {
        let redirect = config.redirect.then(|| Redirect {
            lifetime: Duration::from_secs(config.redirect_minutes * 60),
            never: config.redirect_never.clone(),
        });
        let part_bytes = config.part_mib * 1024 * 1024;
        Ok(Self { client: Arc::new(Client::new(config)?), part_bytes, redirect })
    }

    pub(crate) fn claim(&self, id: Uuid) -> Option<Upload> {
        Upload::claim(self.client.clone(), self.part_bytes, id)
    }

    /// Forgets what the state of an upload names.
    pub(crate) async fn discard(&self, state: &UploadState) -> io::Result<()> {
        let Some(kept) = &state.kept else { return Ok(()) };
        let mut names = kept.clone().names();
        if let Some((key, upload)) = kept.upload() {
            self.client.abort(&key, &upload).await?;
            // The parts may have been joined by a process that did not live to record it.
            names.push(key.as_str().to_owned());
        }
        self.client.delete(&names).await
    }

    pub(crate) async fn stat(&self, key: &Key) -> io::Result<Option<u64>> {
        Ok(self.client.head_key(key).await?.map(|found| found.size))
    }

    pub(crate) async fn open_object(&self, key: &Key) -> io::Result<Option<Object>> {
        let found = self.client.head_key(key).await?;
        Ok(found.map(|found| Object {
            client: self.client.clone(),
            name: key.as_str().to_owned(),
            size: found.size,
            version: version(&found),
        }))
    }

    pub(crate) async fn delete(&self, keys: &[Key]) -> io::Result<()> {
        let names: Vec<String> =
            keys.iter().filter(|key| key.parts().is_some()).map(|key| key.as_str().to_owned()).collect();
        self.client.delete(&names).await
    }

    pub(crate) async fn probe(&self) -> io::Result<()> {
        self.client.probe().await
    }

    /// Where this client may fetch the content itself, if it may.
    pub(crate) async fn redirect(&self, key: &Key, user_agent: &str) -> io::Result<Option<String>> {
        match &self.redirect {
            Some(redirect)
                if !redirect.never.iter().any(|prefix| user_agent.starts_with(prefix.as_str())) =>
            {
                self.client.sign(key, redirect.lifetime).await.map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Published content that was found.
pub(crate) struct Object {
    client: Arc<Client>,
    name: String,
    pub(crate) size: u64,
    pub(crate) version: Version,
}

impl Object {
    pub(crate) fn stream(&self, range: Range<u64>) -> ByteStream {
        read::stream(self.client.clone(), self.name.clone(), range)
    }
}

/// Whatever the service says about an object that is not always the same.
fn version(found: &ObjectMeta) -> Version {
    let tag = found.e_tag.as_deref().unwrap_or_default();
    let half = |half: &[u8]| {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in half {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash as i64
    };
    let (first, second) = tag.as_bytes().split_at(tag.len() / 2);
    [found.size as i64, found.last_modified.timestamp(), half(first), half(second), tag.len() as i64]
}
