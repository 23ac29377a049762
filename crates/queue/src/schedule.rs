//! Cron expressions: six fields, seconds first, in UTC.

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

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
