//! Sizes as people type them: `10 GiB`, and nothing for no limit.

/// Units with their bytes. Those of a thousand mean the same: nobody who types `GB` wants 7 % less.
const UNITS: [(&str, i64); 11] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("kb", 1 << 10),
    ("mib", 1 << 20),
    ("mb", 1 << 20),
    ("gib", 1 << 30),
    ("gb", 1 << 30),
    ("tib", 1 << 40),
    ("tb", 1 << 40),
    ("pib", 1 << 50),
    ("pb", 1 << 50),
];

/// Bytes; -1 for no limit, which is what an empty text means. A number alone counts GiB. `None` for what is no size.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return Some(-1);
    }
    let cut = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(cut);
    let unit = if unit.is_empty() { "gib" } else { unit };
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.trim().replace(',', "").parse().ok()?;
    let bytes = number * factor as f64;
    (bytes >= 1.0 && bytes < i64::MAX as f64).then_some(bytes as i64)
}

/// A limit as [`parse`] reads it, without loss.
pub(crate) fn written(bytes: i64) -> String {
    if bytes < 0 {
        return String::new();
    }
    let units = [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = units.into_iter().find(|(_, factor)| bytes > 0 && bytes % factor == 0);
    whole.map_or(format!("{bytes} B"), |(unit, factor): (&str, i64)| format!("{} {unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_type_them() {
        for (text, bytes) in [
            ("", Some(-1)),
            ("10", Some(10 << 30)),
            ("10 GiB", Some(10 << 30)),
            ("1.5gb", Some(3 << 29)),
            ("1,024 MiB", Some(1 << 30)),
            ("512 KiB", Some(512 << 10)),
            ("0", None),
            ("-1", None),
            ("ten", None),
            ("10 XB", None),
            ("99999999 PiB", None),
            ("nan", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
        for bytes in [-1, 1, 1023, 10 << 30, (10 << 30) + 1, 1 << 50] {
            assert_eq!(parse(&written(bytes)), Some(bytes));
        }
    }
}
