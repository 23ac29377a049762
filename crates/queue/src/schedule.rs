//! Cron expressions: six fields, seconds first, in UTC.

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use database::{Database, Tx};
use serde_json::Value;

use crate::job::Job;

/// A schedule that somebody set while the program runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub cron: String,
    /// What each job is told.
    pub payload: Value,
    pub next_run_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The schedule of that name, unless there is none or it is switched off.
///
/// # Errors
/// When the database does not answer.
pub async fn schedule(database: &Database, name: &str) -> Result<Option<Schedule>, database::Error> {
    let found = sqlx::query_as!(
        Schedule,
        "select cron, payload, next_run_at, updated_at from queue.schedules where name = $1 and enabled",
        name
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(found)
}

/// Asks for the job again and again from now on, in place of what the name stood for.
///
/// # Errors
/// `Cron` when the expression is none or names no time that ever comes; when the database does not answer.
pub async fn set_schedule<J: Job>(tx: &mut Tx, name: &str, cron: &str, job: &J) -> Result<(), ScheduleError> {
    let now = sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&mut **tx).await?;
    let next = next_after(cron, now)?;
    let payload = serde_json::to_value(job).map_err(|err| sqlx::Error::Encode(err.into()))?;
    sqlx::query!(
        "insert into queue.schedules (name, kind, cron, payload, next_run_at) values ($1, $2, $3, $4, $5)
         on conflict (name) do update set kind = excluded.kind, cron = excluded.cron, payload = excluded.payload,
             next_run_at = excluded.next_run_at, enabled = true, updated_at = now()",
        name,
        J::KIND,
        cron,
        payload,
        next
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends a schedule; none of that name is no error.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_schedule(tx: &mut Tx, name: &str) -> Result<(), database::Error> {
    sqlx::query!("delete from queue.schedules where name = $1", name).execute(&mut **tx).await?;
    Ok(())
}

/// Why a schedule was not set.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error(transparent)]
    Cron(#[from] CronInvalid),
    #[error("the schedule could not be written")]
    Storage(#[source] database::Error),
}

impl From<sqlx::Error> for ScheduleError {
    fn from(err: sqlx::Error) -> Self {
        Self::Storage(err.into())
    }
}

/// The text is not a cron expression with six fields.
#[derive(Debug, thiserror::Error)]
#[error("{cron:?} is not a cron expression of six fields (second minute hour day month weekday)")]
pub struct CronInvalid {
    /// The text.
    pub cron: String,
    #[source]
    source: croner::errors::CronError,
}

/// Reads an expression.
pub(crate) fn parse(cron: &str) -> Result<Cron, CronInvalid> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .build()
        .parse(cron)
        .map_err(|source| CronInvalid { cron: cron.to_owned(), source })
}

/// The first moment after `now` that the expression names; an error when there is none.
pub(crate) fn next_after(cron: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, CronInvalid> {
    parse(cron)?
        .find_next_occurrence(&now, false)
        .map_err(|source| CronInvalid { cron: cron.to_owned(), source })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn next_times() {
        let cases = [
            ("*/30 * * * * *", "2026-01-31T23:59:31Z", "2026-02-01T00:00:00Z"),
            ("*/30 * * * * *", "2026-01-31T23:59:30Z", "2026-02-01T00:00:00Z"),
            ("*/30 * * * * *", "2026-01-31T23:59:29.5Z", "2026-01-31T23:59:30Z"),
            ("0 15 3 * * *", "2026-01-31T03:15:00Z", "2026-02-01T03:15:00Z"),
            ("0 0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 12 * * 1", "2026-11-21T00:00:00Z", "2026-11-23T12:00:00Z"),
        ];
        for (cron, now, expected) in cases {
            assert_eq!(
                next_after(cron, now.parse().unwrap()).unwrap(),
                expected.parse::<DateTime<Utc>>().unwrap(),
                "{cron} after {now}"
            );
        }
    }

    #[test]
    fn what_is_not_an_expression() {
        for cron in ["", "* * * * *", "* * * * * * 2030", "61 * * * * *", "a b c d e f"] {
            assert!(parse(cron).is_err(), "{cron:?}");
        }
        // A day that never comes is an expression, but has no next time.
        assert!(next_after("0 0 0 30 2 *", "2026-01-01T00:00:00Z".parse().unwrap()).is_err());
    }
}
