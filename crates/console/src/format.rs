//! Numbers, sizes and times as people read them.

use chrono::{DateTime, Utc};

use crate::text::Language;

/// Grouped by thousands: `12,304`.
pub(crate) fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        grouped.push('-');
    }
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in the unit that fits: `48.2 MiB`.
pub(crate) fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes.max(0) as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// The moment, exactly: for `datetime` and `title`.
pub(crate) fn exact(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago, in the largest unit that fits; the day itself from a month on.
pub(crate) fn ago(language: Language, now: DateTime<Utc>, time: DateTime<Utc>) -> String {
    let seconds = (now - time).num_seconds().max(0);
    let (key, count) = match seconds {
        0..60 => return language.text("time-now", &[]),
        60..3_600 => ("time-minutes-ago", seconds / 60),
        3_600..86_400 => ("time-hours-ago", seconds / 3_600),
        86_400..2_592_000 => ("time-days-ago", seconds / 86_400),
        _ => return time.format("%Y-%m-%d").to_string(),
    };
    language.text(key, &[("count", count.into())])
}

/// A digest short enough for a table: `sha256:0123456789ab`.
pub(crate) fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, hex)) => format!("{algorithm}:{}", hex.get(..12).unwrap_or(hex)),
        None => digest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(i64::MIN), "-9,223,372,036,854,775,808");
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (value, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (50_541_363, "48.2 MiB")] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn times_are_told_in_the_language_of_the_page() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        let back = |seconds: i64| now - chrono::Duration::seconds(seconds);
        for (seconds, english, chinese) in [
            (5, "just now", "刚刚"),
            (60, "1 minute ago", "1 分钟前"),
            (7_200, "2 hours ago", "2 小时前"),
            (86_400 * 3, "3 days ago", "3 天前"),
        ] {
            assert_eq!(ago(Language::English, now, back(seconds)), english);
            assert_eq!(ago(Language::Chinese, now, back(seconds)), chinese);
        }
        assert_eq!(ago(Language::English, now, back(86_400 * 40)), "2026-12-06");
    }

    #[test]
    fn digests_are_cut_after_twelve_digits() {
        assert_eq!(short_digest(&format!("sha256:{}", "0123456789abcdef".repeat(4))), "sha256:0123456789ab");
    }
}
