//! Charts: numbers by day as lines or bars of SVG, made on the server.
//!
//! The picture holds no text. It is stretched to the width there is, so its words stand in HTML around it, and lines keep
//! their width (`vector-effect`). What it shows is said in a sentence, and stands in a table for who wants the numbers.

use catalog::Day;
use chrono::NaiveDate;

use crate::format;
use crate::shell::Shell;

/// Days of the usual chart.
pub(crate) const DAYS: i32 = 30;

/// Units of the picture. The width on the page is another one.
pub(crate) const WIDTH: i32 = 600;
pub(crate) const HEIGHT: i32 = 120;

/// Units of the small picture in a row of a table.
pub(crate) const SPARK_WIDTH: i32 = 90;
pub(crate) const SPARK_HEIGHT: i32 = 20;

/// What is counted, which decides how numbers are written and where the scale ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Times,
}

/// A bar, in units of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// One chart.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub title: String,
    /// The number that people came for.
    pub total: String,
    /// The whole picture in a sentence.
    pub said: String,
    unit: Unit,
    /// In order; nothing where it is not known.
    points: Vec<(NaiveDate, Option<i64>)>,
    /// The number at the upper edge.
    top: i64,
}

impl Chart {
    /// The bytes used on each day, as a line. Nothing when no day is known.
    pub fn storage(s: &Shell, days: &[Day]) -> Option<Self> {
        let points: Vec<_> = days.iter().map(|day| (day.day, day.used)).collect();
        let mut known = points.iter().filter_map(|(day, value)| Some((*day, (*value)?)));
        let first = known.next()?;
        let last = known.next_back().unwrap_or(first);
        let most = points.iter().filter_map(|(_, value)| *value).max().unwrap_or_default();
        let said = s.language.text(
            "chart-said-storage",
            &[
                ("first", first.0.to_string().into()),
                ("from", s.bytes(first.1).into()),
                ("last", last.0.to_string().into()),
                ("to", s.bytes(last.1).into()),
                ("most", s.bytes(most).into()),
            ],
        );
        let total = s.about("chart-now", s.bytes(last.1));
        Some(Self {
            title: s.t("chart-storage"),
            total,
            said,
            unit: Unit::Bytes,
            top: top(Unit::Bytes, most),
            points,
        })
    }

    /// The pulls of each day, as bars.
    pub fn pulls(s: &Shell, days: &[Day]) -> Self {
        let points = days.iter().map(|day| (day.day, Some(day.pulls))).collect();
        Self::times(s, s.t("chart-pulls"), points)
    }

    /// The pushes of each day, as bars.
    pub fn pushes(s: &Shell, days: &[Day]) -> Self {
        let points = days.iter().map(|day| (day.day, Some(day.pushes))).collect();
        Self::times(s, s.t("chart-pushes"), points)
    }

    fn times(s: &Shell, title: String, points: Vec<(NaiveDate, Option<i64>)>) -> Self {
        let sum = points.iter().filter_map(|(_, value)| *value).fold(0, i64::saturating_add);
        let most = points.iter().filter_map(|(day, value)| Some(((*value)?, *day))).max();
        let (most, busiest) = most.unwrap_or_default();
        let args = [
            ("title", title.as_str().into()),
            ("sum", s.number(sum).into()),
            ("days", points.len().into()),
            ("most", s.number(most).into()),
            ("day", busiest.to_string().into()),
        ];
        let key = if sum == 0 { "chart-said-none" } else { "chart-said-times" };
        let said = s.language.text(key, &args);
        let total = s.language.text("chart-sum", &args);
        Self { title, total, said, unit: Unit::Times, top: top(Unit::Times, most), points }
    }

    pub fn is_line(&self) -> bool {
        self.unit == Unit::Bytes
    }

    /// A number as the scale and the table write it.
    pub fn written(&self, value: &i64) -> String {
        match self.unit {
            Unit::Bytes => format::bytes(*value),
            Unit::Times => format::number(*value),
        }
    }

    /// Words of the scale from the upper edge down; the middle is left out where it is no whole number.
    pub fn scale(&self) -> Vec<String> {
        let middle = if self.top % 2 == 0 { self.written(&(self.top / 2)) } else { String::new() };
        vec![self.written(&self.top), middle, self.written(&0)]
    }

    /// The first, the middle and the last day, without what is there twice.
    pub fn dates(&self) -> Vec<NaiveDate> {
        let last = self.points.len().saturating_sub(1);
        let mut dates: Vec<NaiveDate> =
            [0, last / 2, last].iter().filter_map(|place| Some(self.points.get(*place)?.0)).collect();
        dates.dedup();
        dates
    }

    /// Days with their numbers, the newest first, for the table.
    pub fn rows(&self) -> Vec<(NaiveDate, Option<String>)> {
        let rows = self.points.iter().rev();
        rows.map(|(day, value)| (*day, value.map(|value| self.written(&value)))).collect()
    }

    /// The line, as a path from the middle of the first known day to that of the last; across its day when there is
    /// only one.
    pub fn line(&self) -> String {
        path(&self.places())
    }

    /// What is below the line.
    pub fn area(&self) -> String {
        let places = self.places();
        match (places.first(), places.last()) {
            (Some(first), Some(last)) => {
                format!("{} L{:.1} {HEIGHT} L{:.1} {HEIGHT} Z", path(&places), last.0, first.0)
            }
            _ => String::new(),
        }
    }

    /// A bar for every day on which something happened.
    pub fn bars(&self) -> Vec<Bar> {
        let values: Vec<i64> = self.points.iter().map(|(_, value)| value.unwrap_or_default()).collect();
        bars(&values, self.top, WIDTH, HEIGHT)
    }

    fn places(&self) -> Vec<(f64, f64)> {
        let step = f64::from(WIDTH) / self.points.len().max(1) as f64;
        let known = self.points.iter().enumerate().filter_map(|(place, (_, value))| Some((place, (*value)?)));
        let mut places: Vec<(f64, f64)> = known
            .map(|(place, value)| ((place as f64 + 0.5) * step, height_at(value, self.top, HEIGHT)))
            .collect();
        if let [(x, y)] = places[..] {
            places = vec![(x - step / 2.0, y), (x + step / 2.0, y)];
        }
        places
    }
}

/// The small picture of the pulls of a repository, with their number.
#[derive(Clone, Debug)]
pub(crate) struct Spark {
    pub sum: i64,
    pub bars: Vec<Bar>,
}

impl Spark {
    pub fn new(values: &[i64]) -> Self {
        let most = values.iter().copied().max().unwrap_or_default();
        Self {
            sum: values.iter().copied().fold(0, i64::saturating_add),
            bars: bars(values, most.max(1), SPARK_WIDTH, SPARK_HEIGHT),
        }
    }
}

fn path(places: &[(f64, f64)]) -> String {
    let step = |(index, (x, y)): (usize, &(f64, f64))| {
        format!("{}{x:.1} {y:.1}", if index == 0 { "M" } else { " L" })
    };
    places.iter().enumerate().map(step).collect()
}

/// Where a number is, from the upper edge down. The line stays inside the picture at both edges.
fn height_at(value: i64, top: i64, height: i32) -> f64 {
    let share = value.clamp(0, top) as f64 / top.max(1) as f64;
    1.0 + (1.0 - share) * f64::from(height - 2)
}

/// What is not nothing is seen, however little it is.
fn bars(values: &[i64], top: i64, width: i32, height: i32) -> Vec<Bar> {
    let step = f64::from(width) / values.len().max(1) as f64;
    let tall = f64::from(height);
    let happened = values.iter().enumerate().filter(|(_, value)| **value > 0);
    happened
        .map(|(place, value)| {
            let share = (*value).min(top) as f64 / top.max(1) as f64;
            let high = (share * tall).max(tall * 0.02);
            Bar { x: place as f64 * step + step * 0.1, y: tall - high, width: step * 0.8, height: high }
        })
        .collect()
}

/// A round number that is not below `most`: 1, 2 or 5 with noughts, of bytes in their unit.
fn top(unit: Unit, most: i64) -> i64 {
    let mut unit_size: i64 = 1;
    if unit == Unit::Bytes {
        // Less than that is not worth a scale of its own.
        unit_size = 1 << 10;
        while unit_size < 1 << 50 && most > unit_size.saturating_mul(500) {
            unit_size <<= 10;
        }
    }
    let mut ten: i64 = 1;
    loop {
        for digit in [1, 2, 5] {
            let round = unit_size.saturating_mul(ten).saturating_mul(digit);
            if round >= most {
                return round;
            }
        }
        ten = ten.saturating_mul(10);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn chart(unit: Unit, values: &[Option<i64>]) -> Chart {
        let first = NaiveDate::from_ymd_opt(2026, 11, 1).unwrap();
        let points: Vec<_> = first.iter_days().zip(values.iter().copied()).collect();
        let most = values.iter().filter_map(|value| *value).max().unwrap_or_default();
        let text = String::new;
        Chart { title: text(), total: text(), said: text(), unit, top: top(unit, most), points }
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (most, expected) in
            [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (1_204, 2_000), (i64::MAX, i64::MAX)]
        {
            assert_eq!(top(Unit::Times, most), expected, "{most}");
        }
        for (most, expected) in [
            (0, 1 << 10),
            (1_500, 2 << 10),
            (600 << 10, 1 << 20),
            (3 << 20, 5 << 20),
            (700 << 30, 1 << 40),
            (i64::MAX, i64::MAX),
        ] {
            assert_eq!(top(Unit::Bytes, most), expected, "{most}");
        }
        assert_eq!(chart(Unit::Bytes, &[Some(3 << 20)]).scale(), ["5.0 MiB", "2.5 MiB", "0 B"]);
        assert_eq!(chart(Unit::Times, &[Some(1)]).scale(), ["1", "", "0"]);
    }

    #[test]
    fn lines_go_from_day_to_day() {
        let line = chart(Unit::Bytes, &[Some(0), Some(512), None, Some(1024)]);
        assert_eq!(line.line(), "M75.0 119.0 L225.0 60.0 L525.0 1.0");
        assert_eq!(line.area(), "M75.0 119.0 L225.0 60.0 L525.0 1.0 L525.0 120 L75.0 120 Z");
        // One day is a line as wide as the day; constant numbers are a flat line; no day is no line.
        assert_eq!(chart(Unit::Bytes, &[None, Some(1024)]).line(), "M300.0 1.0 L600.0 1.0");
        assert_eq!(chart(Unit::Bytes, &[Some(0); 2]).line(), "M150.0 119.0 L450.0 119.0");
        for values in [&[][..], &[None, None]] {
            let empty = chart(Unit::Bytes, values);
            assert_eq!((empty.line(), empty.area()), (String::new(), String::new()));
        }
    }

    #[test]
    fn bars_are_as_high_as_their_numbers() {
        let drawn = chart(Unit::Times, &[Some(10), Some(0), Some(5), None]).bars();
        let expected = [(15.0, 0.0, 120.0), (315.0, 60.0, 60.0)];
        assert_eq!(drawn.len(), 2);
        for (bar, (x, y, height)) in drawn.iter().zip(expected) {
            assert_eq!((bar.x, bar.y, bar.width, bar.height), (x, y, 120.0, height));
        }
        // A thousandth is seen, and nothing leaves the picture.
        let drawn = chart(Unit::Times, &[Some(1_000_000), Some(1)]).bars();
        assert!(drawn.iter().all(|bar| bar.height >= 2.0 && bar.y >= 0.0 && bar.y + bar.height <= 120.001));
        assert!(chart(Unit::Times, &[]).bars().is_empty());
        let spark = Spark::new(&[0, 3, 0, 6]);
        assert_eq!((spark.sum, spark.bars.len(), spark.bars[1].y), (9, 2, 0.0));
        assert_eq!(Spark::new(&[]).sum, 0);
    }

    #[test]
    fn dates_and_rows() {
        let three = chart(Unit::Times, &[Some(1), Some(2_000), None]);
        let days: Vec<String> = three.dates().iter().map(NaiveDate::to_string).collect();
        assert_eq!(days, ["2026-11-01", "2026-11-02", "2026-11-03"]);
        assert_eq!(chart(Unit::Times, &[Some(1)]).dates().len(), 1);
        assert!(chart(Unit::Times, &[]).dates().is_empty());
        let rows: Vec<_> = three.rows().into_iter().map(|(_, value)| value).collect();
        assert_eq!(rows, [None, Some("2,000".to_owned()), Some("1".to_owned())]);
    }
}
