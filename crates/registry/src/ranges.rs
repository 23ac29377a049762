//! `Range` on downloads (RFC 9110 section 14) and `Content-Range` on uploads (distribution-spec).

use std::ops::Range;

use catalog::ChunkRange;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything: no range, one we need not honour, or a list.
    Whole,
    Part(Range<u64>),
    /// Outside of the blob, or reversed (RFC 9110 would allow to ignore that one; the conformance suite does not).
    Unsatisfiable,
}

/// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n` against a size. An end beyond the blob is clipped.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::Whole;
    };
    if spec.contains(',') {
        return Wanted::Whole;
    }
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (Some(a), Some(b)) = (number(first), number(last)) else {
        return Wanted::Whole;
    };
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Wanted::Whole,
        (true, false) if b == 0 || size == 0 => Wanted::Unsatisfiable,
        (true, false) => Wanted::Part(size.saturating_sub(b)..size),
        (false, _) if a >= size => Wanted::Unsatisfiable,
        (false, true) => Wanted::Part(a..size),
        (false, false) if b < a => Wanted::Unsatisfiable,
        (false, false) => Wanted::Part(a..b.saturating_add(1).min(size)),
    }
}

/// Reads `a-b`, and `bytes a-b/total` as some clients send it. `Err` when it is neither.
pub fn chunk(header: &str) -> Result<ChunkRange, ()> {
    let text = header.trim();
    let text = text
        .strip_prefix("bytes ")
        .map_or(text, |rest| rest.split('/').next().unwrap_or(rest));
    let (first, last) = text.split_once('-').ok_or(())?;
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        true => text.parse::<u64>().map_err(|_| ()),
        false => Err(()),
    };
    let range = ChunkRange {
        first: number(first)?,
        last: number(last)?,
    };
    if range.last < range.first {
        Err(())
    } else {
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads() {
        let cases = [
            (None, Wanted::Whole),
            (Some("bytes=500-1499"), Wanted::Part(500..1500)),
            (Some("bytes=500-"), Wanted::Part(500..2048)),
            (Some("bytes=-500"), Wanted::Part(1548..2048)),
            (Some("bytes=-5000"), Wanted::Part(0..2048)),
            (Some("bytes=2000-5000"), Wanted::Part(2000..2048)),
            (Some("bytes=0-18446744073709551615"), Wanted::Part(0..2048)),
            (
                Some("bytes=0-99999999999999999999999"),
                Wanted::Part(0..2048),
            ),
            (Some("bytes=500-0"), Wanted::Unsatisfiable),
            (Some("bytes=2048-"), Wanted::Unsatisfiable),
            (Some("bytes=5000-10000"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=0-1,3-4"), Wanted::Whole),
            (Some("items=0-1"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(wanted(header, 2048), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-0"), 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn uploads() {
        assert_eq!(
            chunk("0-1023"),
            Ok(ChunkRange {
                first: 0,
                last: 1023
            })
        );
        assert_eq!(
            chunk("bytes 0-1023/2048"),
            Ok(ChunkRange {
                first: 0,
                last: 1023
            })
        );
        for bad in [
            "",
            "-",
            "5",
            "a-b",
            "-5-6",
            "9-5",
            "0-99999999999999999999",
            "0 - 5",
            "bytes */5",
        ] {
            assert_eq!(chunk(bad), Err(()), "{bad:?}");
        }
    }
}
