//! Doublestar patterns, as rules about tags and repositories use them, made into anchored regular expressions.
//!
//! `*` is any run of characters but `/`, `**` as a whole component any number of components, `?` one character,
//! `[a-z]`, `[!a-z]` and `[^a-z]` classes, `{a,b}` alternatives, `\` takes the next character as it is. An empty
//! pattern matches everything.
//!
//! Invariant: what comes out has no back reference and no counted repetition, so matching is linear in the text,
//! and its size is bounded by the pattern's.

/// Longest pattern taken, in bytes.
const BYTES_MAX: usize = 255;
/// Braces inside braces.
const DEPTH_MAX: usize = 5;

/// The pattern as an anchored regular expression of PostgreSQL.
///
/// # Errors
/// A text for the person who wrote the pattern.
pub(crate) fn to_regex(pattern: &str) -> Result<String, String> {
    let refused = |why: &str| Err(format!("the pattern {pattern:?} {why}"));
    if pattern.len() > BYTES_MAX {
        return Err(format!("a pattern has at most {BYTES_MAX} bytes"));
    }
    if pattern.contains('\0') {
        return refused("holds a NUL character");
    }
    if pattern.is_empty() {
        return Ok("^.*$".to_owned());
    }
    let characters: Vec<char> = pattern.chars().collect();
    let mut regex = String::from("^(?:");
    let (mut at, mut depth) = (0, 0);
    while let Some(&character) = characters.get(at) {
        let component_begins = at == 0 || matches!(characters[at - 1], '/' | '{' | ',');
        at += 1;
        match character {
            '*' => {
                let first = at - 1;
                while characters.get(at) == Some(&'*') {
                    at += 1;
                }
                let next = characters.get(at);
                let whole = at - first > 1 && component_begins;
                if whole && next == Some(&'/') {
                    at += 1;
                    skip_repeated(&characters, &mut at);
                    regex.push_str("(?:.*/)?");
                } else if whole && next.is_none_or(|next| matches!(next, '}' | ',')) {
                    // `a/**` is `a` as well.
                    if regex.ends_with('/') {
                        regex.pop();
                        regex.push_str("(?:/.*)?");
                    } else {
                        regex.push_str(".*");
                    }
                } else {
                    regex.push_str("[^/]*");
                }
            }
            '?' => regex.push_str("[^/]"),
            '[' => at = class(&characters, at, &mut regex).ok_or_else(|| unclosed(pattern))?,
            '{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return refused(&format!("has braces more than {DEPTH_MAX} deep"));
                }
                regex.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                regex.push(')');
            }
            ',' if depth > 0 => regex.push('|'),
            '\\' => {
                let Some(&escaped) = characters.get(at) else { return refused("ends with a backslash") };
                at += 1;
                literal(escaped, &mut regex);
            }
            other => literal(other, &mut regex),
        }
    }
    if depth > 0 {
        return refused("has a brace that is not closed");
    }
    regex.push_str(")$");
    Ok(regex)
}

fn unclosed(pattern: &str) -> String {
    format!("the pattern {pattern:?} has a class of characters that is empty, not closed or not in order")
}

/// `**/**/` says no more than `**/`.
fn skip_repeated(characters: &[char], at: &mut usize) {
    loop {
        let stars = characters[*at..].iter().take_while(|character| **character == '*').count();
        if stars < 2 || characters.get(*at + stars) != Some(&'/') {
            return;
        }
        *at += stars + 1;
    }
}

/// Reads a class from after its `[`; returns where it ended. Never matches `/`.
fn class(characters: &[char], mut at: usize, regex: &mut String) -> Option<usize> {
    let negated = matches!(characters.get(at), Some('!' | '^'));
    if negated {
        at += 1;
    }
    let mut inside = String::new();
    loop {
        let from = match characters.get(at)? {
            ']' => break,
            _ => member(characters, &mut at)?,
        };
        if characters.get(at) == Some(&'-') && characters.get(at + 1).is_some_and(|next| *next != ']') {
            at += 1;
            let to = member(characters, &mut at)?;
            if from > to {
                return None;
            }
            literal(from, &mut inside);
            inside.push('-');
            literal(to, &mut inside);
        } else {
            literal(from, &mut inside);
        }
    }
    if inside.is_empty() {
        return None;
    }
    regex.push_str(if negated { "[^/" } else { "[" });
    regex.push_str(&inside);
    regex.push(']');
    Some(at + 1)
}

fn member(characters: &[char], at: &mut usize) -> Option<char> {
    if characters.get(*at) == Some(&'\\') {
        *at += 1;
    }
    let found = *characters.get(*at)?;
    *at += 1;
    Some(found)
}

/// One character as itself. A backslash before a letter or digit would mean something else.
fn literal(character: char, regex: &mut String) {
    if character.is_ascii_punctuation() && !matches!(character, '/' | '_') {
        regex.push('\\');
    }
    regex.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, expected) in [
            ("", "^.*$"),
            ("**", "^(?:.*)$"),
            ("v*", "^(?:v[^/]*)$"),
            ("v**", "^(?:v[^/]*)$"),
            ("a/**", "^(?:a(?:/.*)?)$"),
            ("**/x", "^(?:(?:.*/)?x)$"),
            ("a/**/b", "^(?:a/(?:.*/)?b)$"),
            ("{v?,r[0-9]}.*", r"^(?:(?:v[^/]|r[0-9])\.[^/]*)$"),
            ("[!a]", "^(?:[^/a])$"),
            ("[^a-c.]", r"^(?:[^/a-c\.])$"),
            (r"\*", r"^(?:\*)$"),
            ("(a+)+$", r"^(?:\(a\+\)\+\$)$"),
            ("a,b}", r"^(?:a\,b\})$"),
        ] {
            assert_eq!(to_regex(pattern).as_deref(), Ok(expected), "{pattern}");
        }
    }

    #[test]
    fn what_is_refused() {
        let long = "a".repeat(BYTES_MAX + 1);
        for pattern in ["[", "[]", "[a", "[z-a]", "{a", "{{{{{{a}}}}}}", "a\\", "a\0", &long] {
            assert!(to_regex(pattern).is_err(), "{pattern}");
        }
        assert_eq!(to_regex(&"**/".repeat(80)).as_deref(), Ok("^(?:(?:.*/)?)$"));
    }
}
