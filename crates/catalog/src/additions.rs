//! What can be read out of an artifact beside its manifest: how an image was built, and the texts of a chart.
//!
//! Read from the artifact's blobs when somebody asks. Bounded: a config of at most 4 MiB, a file of a chart of at most
//! 1 MiB out of at most 32 MiB of archive, decompressed in small pieces as it streams and never kept.

use std::io::Write;

use blobstore::Key;
use database::Database;
use flate2::write::GzDecoder;
use futures_util::StreamExt;
use oci::{Digest, Reference, RepositoryName};
use serde_json::Value;
use tenancy::{Permit, ReadArtifactAddition};

use crate::manifests::stored_digest;
use crate::tar::FileInTar;
use crate::{Error, facts};

/// Of an archive no more than this is decompressed.
const ARCHIVE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The largest file that is shown.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Compressed bytes that are decompressed at once.
const SLICE_BYTES: usize = 4 * 1024;

/// Something read out of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addition {
    Json(Value),
    Markdown(Vec<u8>),
    Text(Vec<u8>),
}

/// What an artifact of this kind has to offer. `config` is the media type of its config.
pub fn additions_of(kind: &str, config: &str) -> &'static [&'static str] {
    match kind {
        "CHART" => &["dependencies", "readme.md", "values.yaml"],
        // An index has no config, and what is in its place is its own type.
        "IMAGE" if facts::readable(config) => &["build_history"],
        _ => &[],
    }
}

/// Reads additions. Clone freely.
#[derive(Clone)]
pub struct Additions {
    database: Database,
    store: blobstore::BlobStore,
}

/// A blob of the artifact.
struct Blob {
    key: Key,
    digest: Digest,
    size: u64,
}

impl Additions {
    pub(crate) fn new(database: Database, store: blobstore::BlobStore) -> Self {
        Self { database, store }
    }

    /// One addition of the artifact.
    ///
    /// # Errors
    /// `ManifestUnknown`; `Invalid` for what artifacts of the kind do not have, `Unknown` for what this one lacks.
    pub async fn get(
        &self,
        permit: &Permit<ReadArtifactAddition>,
        repository: &RepositoryName,
        reference: &Reference,
        addition: &str,
    ) -> Result<Addition, Error> {
        let (tag, digest) = match reference {
            Reference::Tag(tag) => (Some(tag.to_string()), None),
            Reference::Digest(digest) => (None, Some(digest.to_bytes())),
        };
        let row = sqlx::query!(
            r#"select m.kind, coalesce(m.config_media_type, m.media_type) as "config!", m.facts, b.location as "location?",
                 b.digest as "digest?", b.size as "size?"
               from catalog.repositories r
               join catalog.manifests m on m.repository_id = r.id and m.deleted_at is null
               left join lateral (
                 select l.location, l.digest, l.size from catalog.manifest_blobs mb
                 join catalog.blobs l on l.digest = mb.digest and l.state = 'live'
                 where mb.manifest_id = m.id and case when m.kind = 'CHART'
                     then mb.media_type in ('application/vnd.cncf.helm.chart.content.v1.tar+gzip', 'application/tar+gzip')
                     else mb.role = 'config' end
                 limit 1) b on true
               where r.project_id = $1 and r.path = $2 and r.deleted_at is null
                 and (m.digest = $3
                      or m.id = (select manifest_id from catalog.tags where repository_id = r.id and name = $4))"#,
            permit.project.0,
            repository.as_str(),
            digest,
            tag
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or_else(|| Error::ManifestUnknown(reference.to_string()))?;
        let Some(addition) =
            additions_of(&row.kind, &row.config).iter().find(|known| known.eq_ignore_ascii_case(addition))
        else {
            return Err(Error::Invalid(format!("addition {addition} isn't supported for {}", row.kind)));
        };
        if *addition == "dependencies" {
            let dependencies = row.facts.pointer("/config/dependencies").cloned();
            return Ok(Addition::Json(dependencies.unwrap_or_else(|| Value::Array(Vec::new()))));
        }
        let lacking = || Error::Unknown(format!("the artifact {reference} has no {addition}"));
        let blob = match (row.location, row.digest, row.size) {
            (Some(location), Some(digest), Some(size)) => Blob {
                key: Key::from_stored(location),
                digest: stored_digest(&digest)?,
                size: u64::try_from(size).unwrap_or(0),
            },
            _ => return Err(lacking()),
        };
        match *addition {
            "build_history" => self.build_history(&blob).await?.map(Addition::Json).ok_or_else(lacking),
            "values.yaml" => self.file(&blob, "values.yaml").await?.map(Addition::Text).ok_or_else(lacking),
            _ => self.file(&blob, "readme.md").await?.map(Addition::Markdown).ok_or_else(lacking),
        }
    }

    /// The steps that the config of an image remembers; none at all is an empty list.
    async fn build_history(&self, config: &Blob) -> Result<Option<Value>, Error> {
        if config.size > facts::CONFIG_BYTES_MAX {
            return Ok(None);
        }
        let bytes = self.whole(config).await?;
        if Digest::of(config.digest.algorithm(), &bytes) != config.digest {
            return Err(Error::BlobUnknown(config.digest.clone()));
        }
        let document = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
        let history = document.get("history").filter(|history| history.is_array()).cloned();
        Ok(Some(history.unwrap_or_else(|| Value::Array(Vec::new()))))
    }

    async fn whole(&self, blob: &Blob) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut stream = self.open(blob).await?;
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(Error::Store)?);
        }
        Ok(bytes)
    }

    async fn open(&self, blob: &Blob) -> Result<blobstore::ByteStream, Error> {
        let opened = self.store.read(&blob.key, &blob.digest, blob.size, 0..blob.size).await;
        opened.map_err(|err| Error::Store(std::io::Error::other(err)))
    }

    /// A file in the first directory of a chart, whatever the case of its name.
    async fn file(&self, archive: &Blob, name: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let mut decoder = GzDecoder::new(FileInTar::new(name, FILE_BYTES_MAX, ARCHIVE_BYTES_MAX));
        let mut stream = self.open(archive).await?;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(Error::Store)?;
            for slice in chunk.chunks(SLICE_BYTES) {
                // What is no archive, or too large a one, has no such file.
                if decoder.write_all(slice).is_err() {
                    return Ok(decoder.get_mut().take());
                }
            }
            tokio::task::yield_now().await;
        }
        // What the decoder still holds; an archive that was cut off gives what it has.
        decoder.try_finish().ok();
        Ok(decoder.get_mut().take())
    }
}
