//! Rows as a table for people: how wide each column is, and which ones stay when the terminal is narrow.
//!
//! A value is never cut and never wrapped, because half a digest is of no use; columns that matter less go instead.

use serde_json::Value;

use crate::output::printable;

/// Between two columns.
const GAP: usize = 2;
/// How the API writes a moment that never came.
const NEVER: &str = "0001-01-01";

/// What one column shows.
#[derive(Clone, Copy)]
pub struct Column {
    pub title: &'static str,
    pub value: fn(&Value) -> String,
    /// 0 stays always; of the others the highest goes first when there is no room.
    pub rank: u8,
}

impl Column {
    pub const fn new(title: &'static str, rank: u8, value: fn(&Value) -> String) -> Self {
        Self { title, value, rank }
    }
}

/// The columns that fit, each with its width.
pub(crate) struct Layout(Vec<(Column, usize)>);

impl Layout {
    /// Made from the rows of the first page. Later rows may be wider and then stand out.
    pub fn new(columns: &[Column], rows: &[Value], width: Option<usize>) -> Self {
        let measured = |column: &Column| {
            let widest = rows.iter().map(|row| length(&(column.value)(row))).max().unwrap_or_default();
            (*column, widest.max(length(column.title)))
        };
        let mut chosen: Vec<(Column, usize)> = columns.iter().map(measured).collect();
        while let Some(available) = width.filter(|width| total(&chosen) > *width) {
            let last = (0..chosen.len()).rev().max_by_key(|at| chosen[*at].0.rank);
            match last.filter(|at| chosen[*at].0.rank > 0) {
                Some(at) => {
                    chosen.remove(at);
                }
                // What is left stays, and the terminal breaks the lines.
                None => {
                    debug_assert!(available < total(&chosen));
                    break;
                }
            }
        }
        Self(chosen)
    }

    pub fn header(&self) -> String {
        self.line(|column| column.title.to_owned())
    }

    pub fn row(&self, row: &Value) -> String {
        self.line(|column| (column.value)(row))
    }

    fn line(&self, value: impl Fn(&Column) -> String) -> String {
        let mut line = String::new();
        for (column, width) in &self.0 {
            let value = value(column);
            let padding = (width + GAP).saturating_sub(length(&value)).max(GAP);
            line.push_str(&value);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn total(columns: &[(Column, usize)]) -> usize {
    columns.iter().map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP)
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A value in one word or line; `-` for none.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(self::text).collect::<Vec<_>>().join(","),
        Value::Object(_) => printable(&value.to_string()),
    }
}

/// A number of bytes, in units that people read; -1 is no limit.
pub fn bytes(value: &Value) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let Some(number) = value.as_i64() else { return text(value) };
    if number < 0 {
        return "unlimited".to_owned();
    }
    let (mut scaled, mut unit) = (number as f64, 0);
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{number} B"),
        _ => format!("{scaled:.1} {}", UNITS[unit]),
    }
}

/// A moment to the second, in UTC as the API tells it.
pub fn moment(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.starts_with(NEVER) => "never".to_owned(),
        Some(text) => match (text.get(..10), text.get(10..11), text.get(11..19)) {
            (Some(day), Some("T"), Some(time)) => printable(&format!("{day} {time}")),
            _ => printable(text),
        },
        None => text(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::new("NAME", 0, |row| text(&row["name"])),
        Column::new("DIGEST", 1, |row| text(&row["digest"])),
        Column::new("BY", 2, |row| text(&row["by"])),
    ];

    #[test]
    fn columns_that_matter_less_go_when_there_is_no_room() {
        let rows = [json!({"name": "a", "digest": "sha256:0123456789", "by": "somebody"})];
        for (width, expected) in [
            (None, "NAME  DIGEST             BY"),
            (Some(33), "NAME  DIGEST             BY"),
            (Some(32), "NAME  DIGEST"),
            (Some(22), "NAME"),
            (Some(1), "NAME"),
        ] {
            let layout = Layout::new(COLUMNS, &rows, width);
            assert_eq!(layout.header(), expected, "{width:?}");
        }
        let layout = Layout::new(COLUMNS, &rows, None);
        assert_eq!(layout.row(&rows[0]), "a     sha256:0123456789  somebody");
        let wider = json!({"name": "longer-than-before", "digest": "sha256:0", "by": ""});
        assert_eq!(layout.row(&wider), "longer-than-before  sha256:0           -");
    }

    #[test]
    fn values_for_people() {
        for (value, expected) in [
            (json!(0), "0 B"),
            (json!(1023), "1023 B"),
            (json!(1024), "1.0 KiB"),
            (json!(5 * 1024 * 1024 * 1024_i64), "5.0 GiB"),
            (json!(-1), "unlimited"),
            (Value::Null, "-"),
        ] {
            assert_eq!(bytes(&value), expected);
        }
        for (value, expected) in [
            (json!("2026-11-21T21:46:03.123Z"), "2026-11-21 21:46:03"),
            (json!("0001-01-01T00:00:00.000Z"), "never"),
            (json!("soon"), "soon"),
            (json!("äöüäöüäöüäöüäöüäöü"), "äöüäöüäöüäöüäöüäöü"),
            (Value::Null, "-"),
        ] {
            assert_eq!(moment(&value), expected);
        }
        assert_eq!(text(&json!(["a", "b"])), "a,b");
        assert_eq!(text(&json!("red\u{1b}[31m\nx\u{202e}")), "red\\u{1b}[31m\\nx\\u{202e}");
    }
}
