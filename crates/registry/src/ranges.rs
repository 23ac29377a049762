//! `Range` on downloads (RFC 9110 section 14) and `Content-Range` on uploads (distribution-spec).

use std::ops::Range;

use catalog::ChunkRange;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything: no range, or one that need not be honoured.
    Whole,
    Part(Range<u64>),
    /// Several parts, as and in the order asked for, none overlapping another. Parts that touch stay apart: podman's
    /// zstd:chunked asks for one per file and counts what it gets.
    Parts(Vec<Range<u64>>),
    /// Outside of the blob, or reversed (RFC 9110 would allow to ignore that one; the conformance suite does not).
    Unsatisfiable,
    /// Too many parts, or parts that overlap: a way to make a small request cost many times the blob.
    Abusive,
}

/// Parts of one answer.
const PARTS_MAX: usize = 1024;

enum One {
    Malformed,
    Outside,
    Range(Range<u64>),
}

/// Reads `bytes=a-b`, `bytes=a-`, `bytes=-n` and lists of them against a size. An end beyond the blob is clipped.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(list) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let mut parts: Vec<Range<u64>> = Vec::new();
    for (position, spec) in list.split(',').map(str::trim).filter(|spec| !spec.is_empty()).enumerate() {
        if position >= PARTS_MAX {
            return Wanted::Abusive;
        }
        match one(spec, size) {
            One::Malformed => return Wanted::Whole,
            One::Outside => {}
            One::Range(range) => parts.push(range),
        }
    }
    let mut sorted = parts.clone();
    sorted.sort_by_key(|range| range.start);
    if sorted.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Wanted::Abusive;
    }
    match parts.len() {
        0 if list.trim().is_empty() => Wanted::Whole,
        0 => Wanted::Unsatisfiable,
        1 => Wanted::Part(parts.remove(0)),
        _ => Wanted::Parts(parts),
    }
}

fn one(spec: &str, size: u64) -> One {
    let number = |text: &str| {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = spec.split_once('-') else { return One::Malformed };
    let (Some(a), Some(b)) = (number(first), number(last)) else { return One::Malformed };
    match (first.is_empty(), last.is_empty()) {
        (true, true) => One::Malformed,
        (true, false) if b == 0 || size == 0 => One::Outside,
        (true, false) => One::Range(size.saturating_sub(b)..size),
        (false, _) if a >= size => One::Outside,
        (false, true) => One::Range(a..size),
        (false, false) if b < a => One::Outside,
        (false, false) => One::Range(a..b.saturating_add(1).min(size)),
    }
}

/// Reads `a-b`, and `bytes a-b/total` as some clients send it. `Err` when it is neither.
pub fn chunk(header: &str) -> Result<ChunkRange, ()> {
    let text = header.trim();
    let text = text.strip_prefix("bytes ").map_or(text, |rest| rest.split('/').next().unwrap_or(rest));
    let (first, last) = text.split_once('-').ok_or(())?;
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        true => text.parse::<u64>().map_err(|_| ()),
        false => Err(()),
    };
    let range = ChunkRange { first: number(first)?, last: number(last)? };
    if range.last < range.first { Err(()) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: 4096, failure_persistence: None, ..Default::default()
        })]

        /// Whatever is asked, what is sent lies in the blob, and not twice.
        #[test]
        fn any_range(header in "(bytes=)?([0-9]{0,21}-[0-9]{0,21},? ?){0,5}|\\PC{0,30}", size in 0..1_000_000_u64) {
            let parts = match wanted(Some(&header), size) {
                Wanted::Part(part) => vec![part],
                Wanted::Parts(parts) => parts,
                Wanted::Whole | Wanted::Unsatisfiable | Wanted::Abusive => Vec::new(),
            };
            let mut sorted = parts;
            sorted.sort_by_key(|part| part.start);
            proptest::prop_assert!(sorted.iter().all(|part| part.start < part.end && part.end <= size), "{:?}", sorted);
            proptest::prop_assert!(sorted.windows(2).all(|pair| pair[0].end <= pair[1].start), "{:?}", sorted);
        }

        #[test]
        fn any_chunk(header in "(bytes )?[0-9]{0,21}-[0-9]{0,21}(/[0-9*]{0,5})?|\\PC{0,30}") {
            if let Ok(range) = chunk(&header) {
                proptest::prop_assert!(range.first <= range.last);
            }
        }
    }

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
            (Some("bytes=0-99999999999999999999999"), Wanted::Part(0..2048)),
            (Some("bytes=500-0"), Wanted::Unsatisfiable),
            (Some("bytes=2048-"), Wanted::Unsatisfiable),
            (Some("bytes=5000-10000"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=0-1,3-4"), Wanted::Parts(vec![0..2, 3..5])),
            (Some("bytes=3-4, 0-1"), Wanted::Parts(vec![3..5, 0..2])),
            (Some("bytes=0-1,2-4"), Wanted::Parts(vec![0..2, 2..5])),
            (Some("bytes=0-1,9999-"), Wanted::Part(0..2)),
            (Some("bytes=9999-,5-4"), Wanted::Unsatisfiable),
            (Some("bytes=0-9,5-14"), Wanted::Abusive),
            (Some("bytes=0-1,x"), Wanted::Whole),
            (Some("bytes="), Wanted::Whole),
            (Some("items=0-1"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(wanted(header, 2048), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-0"), 0), Wanted::Unsatisfiable);
        let many: Vec<String> = (0..1025).map(|n| format!("{n}-{n}")).collect();
        assert_eq!(wanted(Some(&format!("bytes={}", many.join(","))), 1 << 20), Wanted::Abusive);
    }

    #[test]
    fn uploads() {
        assert_eq!(chunk("0-1023"), Ok(ChunkRange { first: 0, last: 1023 }));
        assert_eq!(chunk("bytes 0-1023/2048"), Ok(ChunkRange { first: 0, last: 1023 }));
        for bad in ["", "-", "5", "a-b", "-5-6", "9-5", "0-99999999999999999999", "0 - 5", "bytes */5"] {
            assert_eq!(chunk(bad), Err(()), "{bad:?}");
        }
    }
}
