//! Storage quotas: one hot row per project, changed by one statement.
//!
//! The rows stand apart from the projects so that a push never waits for an edit of the project. `catalog`
//! says how many bytes a change costs; whether they fit is decided here and nowhere else.
//!
//! Invariant: the decision and the charge are the same statement, so no two pushes can both take the last
//! byte. A release always succeeds.

use database::Tx;

use crate::{Error, ProjectId, Tenancy};

/// Limit and usage of a project, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// -1 is no limit.
    pub hard: i64,
    pub used: i64,
}

impl Tenancy {
    /// Limit and usage; nothing for a project that is gone.
    pub async fn quota_get(&self, project: ProjectId) -> Result<Option<Quota>, Error> {
        Ok(sqlx::query_as!(
            Quota,
            "select hard_bytes as hard, used_bytes as used from tenancy.quotas where project_id = $1",
            project.0
        )
        .fetch_optional(self.database.pool())
        .await?)
    }

    /// Charges (or, below zero, releases) bytes inside the transaction that stores (or removes) them. The
    /// row stays locked until the end of `tx`: call it last.
    ///
    /// # Errors
    /// `QuotaExceeded`, and `ProjectGone` for a charge to a project that was deleted meanwhile. A release
    /// never fails for a reason of its own and never goes below zero.
    pub async fn quota_charge(&self, tx: &mut Tx, project: ProjectId, delta_bytes: i64) -> Result<(), Error> {
        if delta_bytes == 0 {
            return Ok(());
        }
        let charged = sqlx::query!(
            "update tenancy.quotas set used_bytes = greatest(0, used_bytes + $2::bigint), updated_at = now()
             where project_id = $1 and ($2::bigint < 0 or hard_bytes < 0 or used_bytes <= hard_bytes - $2::bigint)",
            project.0,
            delta_bytes
        )
        .execute(&mut **tx)
        .await?;
        if charged.rows_affected() == 1 || delta_bytes < 0 {
            return Ok(());
        }
        let quota = sqlx::query_as!(
            Quota,
            "select hard_bytes as hard, used_bytes as used from tenancy.quotas where project_id = $1",
            project.0
        )
        .fetch_optional(&mut **tx)
        .await?;
        Err(match quota {
            Some(Quota { hard, used }) => Error::QuotaExceeded { project, added: delta_bytes, used, hard },
            None => Error::ProjectGone,
        })
    }
}

/// A limit as the API takes it: above zero, or -1 for none.
pub(crate) fn checked_limit(bytes: i64) -> Result<i64, Error> {
    if bytes > 0 || bytes == -1 {
        Ok(bytes)
    } else {
        Err(Error::Invalid(format!("storage limit {bytes} is neither positive nor -1, which means no limit")))
    }
}
