//! What forms send, and the token by which a form proves that this console made it.

pub(crate) use identity::browser::{form_token as token, same_token as same};

/// Forms above this are refused.
pub(crate) const BYTES_MAX: usize = 256 * 1024;

/// Name of the field with the token.
pub(crate) const TOKEN: &str = "csrf";

/// The fields of a form, in the order they were sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// `application/x-www-form-urlencoded`. `None` when it is not UTF-8 or holds a NUL, which no field of ours may.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let cut = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let value = pair.get(cut + 1..).unwrap_or_default();
            fields.push((decoded(&pair[..cut])?, decoded(value)?));
        }
        Some(Self(fields))
    }

    /// The last field of this name, trimmed; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// As [`Form::text`], with the white space that belongs to passwords.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().rev().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// Whether the box is ticked.
    pub fn ticked(&self, name: &str) -> bool {
        !self.raw(name).is_empty()
    }

    /// Every field with its value, in the order they were sent.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value of a field that may come several times.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }
}

fn decoded(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let bytes: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let form = Form::parse(b"name=team+a&note=%E9%95%9C%2B&role=1&role=2&public=on&empty=&csrf")
            .unwrap_or_default();
        assert_eq!((form.text("name"), form.text("note")), ("team a", "镜+"));
        assert_eq!(form.all("role"), ["1", "2"]);
        assert!(form.ticked("public") && !form.ticked("empty") && !form.ticked("csrf"));
        assert!(Form::parse(b"a=%ff").is_none() && Form::parse(b"a=%00").is_none());
    }
}
