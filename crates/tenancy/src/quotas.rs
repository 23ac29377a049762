//! Storage quotas: one hot row per project, changed by one statement.
//!
//! The rows stand apart from the projects so that a push never waits for an edit of the project. `catalog`
//! says how many bytes a change costs; whether they fit is decided by the SQL function `tenancy.charge` and nowhere
//! else.
//!
//! Invariant: the decision and the charge are the same statement, so no two pushes can both take the last
//! byte. A release always succeeds.

use database::Tx;
use sqlx::postgres::PgDatabaseError;

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
    /// row stays locked until the end of `tx`, and a refusal ends `tx`: call it last.
    ///
    /// # Errors
    /// `QuotaExceeded`, and `ProjectGone` for a charge to a project that was deleted meanwhile. A release
    /// never fails for a reason of its own and never goes below zero.
    pub async fn quota_charge(&self, tx: &mut Tx, project: ProjectId, delta_bytes: i64) -> Result<(), Error> {
        if delta_bytes == 0 {
            return Ok(());
        }
        let charged = sqlx::query_scalar!("select tenancy.charge($1, $2)", project.0, delta_bytes);
        match charged.fetch_one(&mut **tx).await {
            Ok(_) => Ok(()),
            Err(err) => Err(charge_refusal(project, &err).unwrap_or_else(|| err.into())),
        }
    }
}

/// Why a statement that calls `tenancy.charge` was refused; nothing when it failed for another reason.
pub fn charge_refusal(project: ProjectId, err: &sqlx::Error) -> Option<Error> {
    let answer = err.as_database_error()?;
    match answer.code()?.as_ref() {
        "HT002" => {
            let detail = answer.try_downcast_ref::<PgDatabaseError>()?.detail()?;
            let mut figures = detail.split(' ').map_while(|figure| figure.parse().ok());
            let (used, hard, added) = (figures.next()?, figures.next()?, figures.next()?);
            Some(Error::QuotaExceeded { project, added, used, hard })
        }
        "HT003" => Some(Error::ProjectGone),
        _ => None,
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
