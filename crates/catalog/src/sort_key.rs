//! Sort keys of tags, computed once when a tag is written so that sorted lists are index scans.
//!
//! * natural: runs of digits compare as numbers, so `v9` comes before `v10`;
//! * semver: present only for semantic versions (an optional leading `v` is ignored), with the precedence
//!   of semver.org section 11: a pre-release comes before its release, build metadata is ignored.
//!
//! Both are compared byte by byte (`COLLATE "C"`).

/// Digit runs become: a character for the number of digits (leading zeros dropped), then the digits.
pub fn natural(tag: &str) -> String {
    let mut key = String::with_capacity(tag.len() + 8);
    let mut rest = tag;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            number(&mut key, &rest[..end]);
            rest = &rest[end..];
        } else {
            key.push(first.to_ascii_lowercase());
            rest = &rest[first.len_utf8()..];
        }
    }
    key
}

/// `None` when the tag is not a semantic version of three numbers.
pub fn semver(tag: &str) -> Option<String> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    // Helm replaces `+` by `_`, the character tags may hold.
    let text = text.split(['+', '_']).next()?;
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let mut key = String::new();
    let mut parts = 0;
    for part in core.split('.') {
        if part.is_empty()
            || !part.bytes().all(|b| b.is_ascii_digit())
            || (part.len() > 1 && part.starts_with('0'))
        {
            return None;
        }
        number(&mut key, part);
        key.push('.');
        parts += 1;
    }
    if parts != 3 {
        return None;
    }
    match pre {
        // Any pre-release identifier sorts below '~'.
        None => key.push('~'),
        Some(pre) => {
            for identifier in pre.split('.') {
                if identifier.is_empty() {
                    return None;
                }
                if identifier.bytes().all(|b| b.is_ascii_digit()) {
                    // Numeric identifiers have lower precedence than alphanumeric ones.
                    key.push('!');
                    number(&mut key, identifier);
                } else {
                    key.push('"');
                    key.push_str(identifier);
                }
                key.push(' ');
            }
        }
    }
    Some(key)
}

/// Appends digits so that byte order is numeric order: length first. A tag has at most 128 characters.
fn number(key: &mut String, digits: &str) {
    let digits = digits.trim_start_matches('0');
    // '0' + n would leave ASCII at 80 digits; two base-64 characters stay inside it for every length.
    let length = digits.len() as u8;
    key.push(char::from(b'0' + length / 64));
    key.push(char::from(b'0' + length % 64));
    key.push_str(digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted_by(key: impl Fn(&str) -> String, expected: &[&str]) {
        let mut tags: Vec<&str> = expected.to_vec();
        tags.reverse();
        tags.sort_by_key(|tag| key(tag));
        assert_eq!(tags, expected);
    }

    #[test]
    fn natural_order_reads_numbers() {
        sorted_by(natural, &["1", "2", "10", "a", "a1", "a2", "a10", "v1.9.0", "v1.10.0", "v2"]);
    }

    #[test]
    fn semver_order_is_semver_precedence() {
        sorted_by(
            |tag| semver(tag).unwrap_or_default(),
            &[
                "1.0.0-1",
                "1.0.0-2",
                "1.0.0-11",
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-alpha.beta",
                "1.0.0-beta",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "1.0.0-rc.1",
                "1.0.0",
                "1.0.1",
                "1.2.0",
                "1.10.0",
                "v2.0.0",
            ],
        );
    }

    #[test]
    fn what_is_not_a_version_has_no_key() {
        for tag in ["latest", "1.0", "1.0.0.0", "01.0.0", "v", "1.0.x", "1.0.0-", "sha256-abc.sig"] {
            assert_eq!(semver(tag), None, "{tag}");
        }
    }
}
