//! Asking for work and announcing facts, in the caller's transaction.
//!
//! Nothing runs before the caller commits; a rollback takes the job or event with it. A trigger announces new
//! rows on channel `hythe_queue` at commit.

use database::Tx;

use crate::job::{Event, Job};

/// Asks for a job. `asked_by` is the name of whoever is responsible: a user, or `system`.
///
/// Returns the job's id, or `None` when the kind is [unique](Job::UNIQUE) and one is pending or running already.
///
/// # Errors
/// When the row cannot be written; the caller's transaction is lost then.
pub async fn submit<J: Job>(tx: &mut Tx, job: &J, asked_by: &str) -> Result<Option<i64>, database::Error> {
    let id = sqlx::query_scalar!(
        "insert into queue.jobs (kind, payload, dedupe_key, attempts_max, asked_by)
         values ($1, $2, $3, $4, $5) on conflict do nothing returning id",
        J::KIND,
        encode(job)?,
        J::UNIQUE.then_some(""),
        J::ATTEMPTS_MAX,
        asked_by
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id)
}

/// Announces a fact. Every subscriber gets a job of its own, written by a runner a moment after the commit.
///
/// # Errors
/// When the row cannot be written; the caller's transaction is lost then.
pub async fn publish<E: Event>(tx: &mut Tx, event: &E) -> Result<(), database::Error> {
    sqlx::query!("insert into queue.events (kind, payload) values ($1, $2)", E::KIND, encode(event)?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn encode(value: &impl serde::Serialize) -> Result<serde_json::Value, database::Error> {
    serde_json::to_value(value).map_err(|err| sqlx::Error::Encode(err.into()).into())
}
