//! The `q` and `sort` grammar of lists: text in, terms out. Which keys exist, and what their values must look
//! like, is for the domain to say; nothing here becomes SQL.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use tenancy::list::Value;

use crate::error::Failure;

const BYTES_MAX: usize = 4 * 1024;
const TERMS_MAX: usize = 20;
const VALUES_MAX: usize = 100;

/// Parses `q`, already decoded once as part of the query string.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, Value)>, Failure> {
    if text.len() > BYTES_MAX {
        return Err(bad(format!("the query string is longer than {BYTES_MAX} bytes")));
    }
    let text = decode_again(text)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let terms: Vec<&str> = text.split(',').collect();
    if terms.len() > TERMS_MAX {
        return Err(bad(format!("the query string has more than {TERMS_MAX} terms")));
    }
    terms.into_iter().map(term).collect()
}

/// Parses `sort`: keys in order, each with whether it descends. Empty items are passed over.
pub(crate) fn parse_sort(text: &str) -> Vec<(String, bool)> {
    text.split(',')
        .map(str::trim)
        .map(|item| item.strip_prefix('-').map_or((item, false), |key| (key, true)))
        .filter(|(key, _)| !key.is_empty())
        .take(TERMS_MAX)
        .map(|(key, descending)| (key.to_owned(), descending))
        .collect()
}

/// Many clients encode the value before their HTTP library does it again. A text that still holds an escape is
/// decoded once more, as a form would be; any other text is left alone, so a plus sign stays one.
fn decode_again(text: &str) -> Result<Cow<'_, str>, Failure> {
    let bytes = text.as_bytes();
    let escaped = bytes
        .windows(3)
        .any(|three| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit());
    if !escaped {
        return Ok(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(|decoded| Cow::Owned(decoded.into_owned()))
        .map_err(|_| bad("the query string is not UTF-8"))
}

fn term(text: &str) -> Result<(String, Value), Failure> {
    let (key, value) = text
        .split_once('=')
        .map(|(key, value)| (key.trim(), value))
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .ok_or_else(|| {
            bad(format!("the query string must contain \"=\" between a key and a value: {text:?}"))
        })?;
    Ok((key.to_owned(), self::value(value)?))
}

fn value(text: &str) -> Result<Value, Failure> {
    if text.contains('\0') {
        return Err(bad("the query string holds a NUL character"));
    }
    if let Some(part) = text.strip_prefix('~') {
        if part.is_empty() {
            return Err(bad("nothing follows \"~\" in the query string"));
        }
        return Ok(Value::Fuzzy(part.to_owned()));
    }
    if let Some(rest) = text.strip_prefix('[') {
        return range(rest, text);
    }
    if let Some(rest) = text.strip_prefix('{') {
        return Ok(Value::Any(values(rest, '}', text)?));
    }
    if let Some(rest) = text.strip_prefix('(') {
        return Ok(Value::All(values(rest, ')', text)?));
    }
    Ok(Value::Exact(match text.strip_prefix('\\') {
        Some(literal) => literal.to_owned(),
        None => unquoted(text),
    }))
}

fn range(rest: &str, whole: &str) -> Result<Value, Failure> {
    let refused = || bad(format!("a range is written [min~max], with at least one bound: {whole:?}"));
    let inner = rest.strip_suffix(']').ok_or_else(refused)?;
    let (min, max) = inner.split_once('~').filter(|(_, max)| !max.contains('~')).ok_or_else(refused)?;
    let bound = |text: &str| Some(unquoted(text)).filter(|text| !text.is_empty());
    let (min, max) = (bound(min), bound(max));
    if min.is_none() && max.is_none() {
        return Err(refused());
    }
    Ok(Value::Range { min, max })
}

fn values(rest: &str, end: char, whole: &str) -> Result<Vec<String>, Failure> {
    let inner =
        rest.strip_suffix(end).ok_or_else(|| bad(format!("a list of values is not closed: {whole:?}")))?;
    let values: Vec<String> = inner.split_whitespace().map(unquoted).collect();
    if values.len() > VALUES_MAX {
        return Err(bad(format!("a list in the query string has more than {VALUES_MAX} values")));
    }
    Ok(values)
}

/// Removes one pair of surrounding quotes.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.to_owned();
        }
    }
    text.to_owned()
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::bad_request(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Err(failure) => format!("refused: {failure}"),
            Ok(terms) => terms
                .iter()
                .map(|(key, value)| match value {
                    Value::Exact(text) => format!("{key} is {text}"),
                    Value::Fuzzy(text) => format!("{key} has {text}"),
                    Value::Range { min, max } => format!("{key} from {min:?} to {max:?}"),
                    Value::Any(values) => format!("{key} any {values:?}"),
                    Value::All(values) => format!("{key} all {values:?}"),
                })
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[test]
    fn grammar() {
        for (text, expected) in [
            ("", ""),
            ("name=a", "name is a"),
            ("name=a=b", "name is a=b"),
            ("name=~a", "name has a"),
            ("name=~%_\\", "name has %_\\"),
            ("name=\\~a", "name is ~a"),
            ("name=\\[x", "name is [x"),
            ("name='a b'", "name is a b"),
            ("name=\"a\"", "name is a"),
            ("name='a", "name is 'a"),
            ("a=1,b=~2", "a is 1; b has 2"),
            ("size=[1~5]", "size from Some(\"1\") to Some(\"5\")"),
            ("size=[~5]", "size from None to Some(\"5\")"),
            ("size=[1~]", "size from Some(\"1\") to None"),
            ("t=[2006-01-02 15:04:05~]", "t from Some(\"2006-01-02 15:04:05\") to None"),
            ("id={1 2 3}", "id any [\"1\", \"2\", \"3\"]"),
            ("id={}", "id any []"),
            ("labels=(1 2)", "labels all [\"1\", \"2\"]"),
            ("id__in={1}", "id__in any [\"1\"]"),
            // Arrived encoded twice: decoded once more, and in that pass a plus sign is a space.
            ("name%3D~a", "name has a"),
            ("name=a%2Cb", "name is a; refused"),
            ("a%3D1%2Cb%3D%7B1+2%7D", "a is 1; b any [\"1\", \"2\"]"),
            ("name=a%2Bb", "name is a+b"),
            ("name=team+ci", "name is team+ci"),
            ("name=100%", "name is 100%"),
            ("name=100%25", "name is 100%"),
            ("name=%2525", "name is %25"),
        ] {
            if expected.ends_with("refused") {
                assert!(shown(text).starts_with("refused"), "{text}: {}", shown(text));
            } else {
                assert_eq!(shown(text), expected, "{text}");
            }
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, reason) in [
            ("name", "the query string must contain \"=\""),
            ("=a", "the query string must contain \"=\""),
            ("name=", "the query string must contain \"=\""),
            ("name=a,", "the query string must contain \"=\""),
            (",", "the query string must contain \"=\""),
            ("name=~", "nothing follows"),
            ("a=[~]", "a range"),
            ("a=[1~2", "a range"),
            ("a=[12]", "a range"),
            ("a=[1~2~3]", "a range"),
            ("a={1", "not closed"),
            ("a=(1", "not closed"),
            ("a=%00", "NUL"),
            ("a=%FF", "UTF-8"),
        ] {
            let got = shown(text);
            assert!(got.starts_with("refused") && got.contains(reason), "{text}: {got}");
        }
    }

    #[test]
    fn limits() {
        let terms = |count: usize| vec!["a=1"; count].join(",");
        assert!(parse(&terms(20)).is_ok());
        assert!(parse(&terms(21)).is_err());
        let values = |count: usize| format!("a={{{}}}", vec!["1"; count].join(" "));
        assert!(parse(&values(100)).is_ok());
        assert!(parse(&values(101)).is_err());
        assert!(parse(&format!("a={}", "x".repeat(BYTES_MAX - 2))).is_ok());
        assert!(parse(&format!("a={}", "x".repeat(BYTES_MAX - 1))).is_err());
    }

    #[test]
    fn sorting() {
        let key = |name: &str, descending| (name.to_owned(), descending);
        assert_eq!(parse_sort(""), []);
        assert_eq!(parse_sort("a,-b, c,,-"), [key("a", false), key("b", true), key("c", false)]);
    }
}
