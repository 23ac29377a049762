//! Referrers: artifacts of a repository whose manifest names another one as its subject.
//!
//! An indexed lookup on rows written with the manifest itself; the subject need not exist.

use database::Database;
use oci::Digest;
use serde_json::Value;

use crate::manifests::stored_digest;
use crate::{Error, Pull};

/// One entry of the referrers index (distribution-spec, "Listing Referrers").
#[derive(Clone, Debug)]
pub struct Referrer {
    /// Position for the next page.
    pub id: i64,
    pub digest: Digest,
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
    pub artifact_type: Option<String>,
    pub annotations: Value,
}

/// Referrers. Clone freely.
#[derive(Clone)]
pub struct Referrers {
    database: Database,
}

impl Referrers {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Entries after position `last`, oldest first, at most `limit`, and whether there are more. An unknown
    /// repository or subject has none.
    pub async fn list(
        &self,
        pull: &Pull,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: i64,
        limit: i64,
    ) -> Result<(Vec<Referrer>, bool), Error> {
        let rows = sqlx::query!(
            r#"select m.id, m.digest, m.media_type, octet_length(m.payload) as "size!", m.artifact_type, m.annotations
             from catalog.repositories r
             join catalog.manifests m on m.repository_id = r.id and m.subject_digest = $3 and m.deleted_at is null
             where r.project_id = $1 and r.path = $2 and r.deleted_at is null
               and m.id > $5 and ($4::text is null or m.artifact_type = $4)
             order by m.id limit $6"#,
            pull.place.project.0,
            pull.place.repository.as_str(),
            subject.to_bytes(),
            artifact_type,
            last,
            limit + 1
        )
        .fetch_all(self.database.pool())
        .await?;
        let more = rows.len() as i64 > limit;
        let entries = rows
            .into_iter()
            .take(usize::try_from(limit).unwrap_or(0))
            .map(|row| {
                Ok(Referrer {
                    id: row.id,
                    digest: stored_digest(&row.digest)?,
                    media_type: row.media_type,
                    size: u64::try_from(row.size).unwrap_or(0),
                    artifact_type: row.artifact_type,
                    annotations: row.annotations,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok((entries, more))
    }
}
