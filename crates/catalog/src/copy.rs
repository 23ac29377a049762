//! Copying an artifact to another repository: rows only, no byte is read or moved.
//!
//! What the copy must be is written in SQL (`catalog.copy_artifact`): one statement that takes the locks of a push,
//! links the blobs, and inserts the artifact, its parts, what is attached to them, and their tags.

use database::Database;
use oci::{Reference, RepositoryName};
use tenancy::{CreateArtifact, Permit, ReadArtifact, Tenancy};

use crate::{Error, Naming, Place, retrying, tags};

/// Copies of artifacts. Clone freely.
#[derive(Clone)]
pub struct Copies {
    database: Database,
    tenancy: Tenancy,
    naming: Naming,
}

impl Copies {
    pub(crate) fn new(database: Database, tenancy: Tenancy, naming: Naming) -> Self {
        Self { database, tenancy, naming }
    }

    /// Copies what `reference` names in `from` to `repository`, with its parts, what is attached to them, and their
    /// tags. Returns what the naming rules warn of.
    ///
    /// # Errors
    /// `ManifestUnknown`; `Limit` for an accessory, which goes with what it is attached to, and for too many parts;
    /// `TagImmutable`; `NameRefused`; a full quota.
    pub async fn copy(
        &self,
        permit: &Permit<CreateArtifact>,
        repository: &RepositoryName,
        source: &Permit<ReadArtifact>,
        from: &RepositoryName,
        reference: &Reference,
    ) -> Result<Vec<String>, Error> {
        let place = Place { project: permit.project, repository: repository.clone() };
        let (tag, digest) = match reference {
            Reference::Tag(tag) => (Some(tag.to_string()), None),
            Reference::Digest(digest) => (None, Some(digest.to_bytes())),
        };
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            let found = sqlx::query!(
                r#"select r.id as repository, m.id, catalog.digest_text(m.digest) as "digest!",
                     m.attached_digest is not null and m.hidden as "attached!"
                   from catalog.repositories r
                   join catalog.manifests m on m.repository_id = r.id and m.deleted_at is null
                   where r.project_id = $1 and r.path = $2 and r.deleted_at is null
                     and (m.digest = $3
                          or m.id = (select manifest_id from catalog.tags where repository_id = r.id and name = $4))"#,
                source.project.0,
                from.as_str(),
                digest,
                tag
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::ManifestUnknown(reference.to_string()))?;
            if found.attached {
                return Err(Error::Limit(format!(
                    "{reference} is attached to another artifact and is copied with that one only"
                )));
            }
            let naming = sqlx::query_scalar!(
                "select catalog.copy_naming($1, $2, $3, $4)",
                found.repository,
                found.id,
                place.project.0,
                place.repository.as_str()
            )
            .fetch_one(&mut *tx)
            .await?;
            let warnings = self.naming.judge(&place.repository, naming)?;
            let actor = permit.caller.actor();
            let copied = sqlx::query!(
                r#"select first as "first!", charge as "charge!"
                   from catalog.copy_artifact($1, $2, $3, $4, $5, $6, $7, $8)"#,
                found.repository,
                found.id,
                place.project.0,
                place.repository.as_str(),
                actor.kind,
                actor.id,
                actor.name,
                permit.caller.origin.client
            )
            .fetch_one(&mut *tx)
            .await?;
            let name = format!("{}@{} from {from}", place.repository, found.digest);
            let object = audit::Object { kind: "artifact", id: found.digest, name: &name };
            tags::trail(&mut tx, &permit.caller, &place, "artifact_copy", object).await?;
            if copied.first {
                self.tenancy.repository_count_change(&mut tx, place.project, 1).await?;
            }
            self.tenancy.quota_charge(&mut tx, place.project, copied.charge).await?;
            tx.commit().await?;
            Ok(warnings)
        })
        .await
    }
}
