//! Adds up what every project holds and compares it with what its quota says is used.
//!
//! Charges and what they are for change in one transaction, and a project is counted by one statement, so the two
//! always agree: a difference is a defect, and it is told instead of being put right in silence.

use audit::{Actor, Entry, Object, Outcome};
use database::Database;
use queue::{JobContext, JobError};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The job that compares all quotas with a full count. Changes nothing; idempotent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recount {}

impl queue::Job for Recount {
    const KIND: &'static str = "catalog.recount_quotas";
    const UNIQUE: bool = true;
}

/// What a recount came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recounted {
    pub projects: u64,
    /// Projects whose quota says something else than their content.
    pub drifted: u64,
}

/// Counts what quotas are about. Clone freely.
#[derive(Clone)]
pub struct Recounts {
    database: Database,
}

impl Recounts {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The job: compares every project's quota with its content.
    pub async fn recount(&self, _job: Recount, context: JobContext) -> Result<(), JobError> {
        let counted = self.recount_quotas(|| context.cancelled()).await.map_err(JobError::retry)?;
        tracing::info!(projects = counted.projects, drifted = counted.drifted, "recounted the quotas");
        Ok(())
    }

    /// Counts every project, one statement each, until `cancelled` says so. Each difference is an error in the log
    /// and an entry of the audit trail.
    pub async fn recount_quotas(&self, cancelled: impl Fn() -> bool) -> Result<Recounted, Error> {
        let mut counted = Recounted::default();
        let mut after = 0;
        while !cancelled() {
            let row = sqlx::query!(
                r#"select q.project_id, p.name, q.used_bytes,
                       (coalesce((select sum(b.size) from catalog.project_blobs b
                                  where b.project_id = q.project_id and b.charged), 0)
                        + coalesce((select sum(octet_length(m.payload)) from catalog.manifests m
                                    join catalog.repositories r on r.id = m.repository_id
                                    where r.project_id = q.project_id and m.deleted_at is null), 0))::bigint
                       as "counted!"
                   from tenancy.quotas q join tenancy.projects p on p.id = q.project_id
                   where q.project_id > $1 order by q.project_id limit 1"#,
                after
            )
            .fetch_optional(self.database.pool())
            .await?;
            let Some(row) = row else { break };
            after = row.project_id;
            counted.projects += 1;
            if row.used_bytes == row.counted {
                continue;
            }
            counted.drifted += 1;
            tracing::error!(
                project = row.name,
                used_bytes = row.used_bytes,
                counted_bytes = row.counted,
                "the quota of a project does not match its content; please report this"
            );
            let origin = audit::Origin::default();
            let entry = Entry {
                actor: Actor { kind: "system", id: None, name: "hythe" },
                action: "quota_drift",
                object: Object { kind: "quota", id: row.project_id.to_string(), name: &row.name },
                project: Some(row.project_id),
                outcome: Outcome::Failed,
                origin: &origin,
                changed: &["used"],
            };
            audit::append_alone(&self.database, &entry).await?;
        }
        Ok(counted)
    }
}
