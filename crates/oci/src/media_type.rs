//! Media types as they travel in headers and manifests. Any type is welcome, so this checks only
//! what storage and headers need: length, a slash and no character that could end a header.

use std::str::FromStr;

use crate::text::string_type;

/// Longest media type we store; RFC 6838 allows 127 characters on each side of the slash.
pub(crate) const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// The text is no media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid media type")]
pub struct MediaTypeError;

/// A media type without parameters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(String);

string_type!(MediaType, MediaTypeError);

impl MediaType {
    /// Reads a `Content-Type` header: parameters (`; charset=…`) are dropped.
    pub fn from_header(value: &str) -> Result<MediaType, MediaTypeError> {
        value.split(';').next().unwrap_or_default().trim().parse()
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'"' | b'\\');
        let (kind, subtype) = text.split_once('/').ok_or(MediaTypeError)?;
        let valid = text.len() <= MEDIA_TYPE_BYTES_MAX
            && !kind.is_empty()
            && !subtype.is_empty()
            && text.bytes().all(visible);
        if valid { Ok(MediaType(text.to_owned())) } else { Err(MediaTypeError) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn accepts_any_type_but_no_header_tricks() {
        for text in
            ["application/json", "application/vnd.oci.image.index.v1+json", "image/png", "a/b", "x/y/z"]
        {
            assert_eq!(text.parse::<MediaType>().unwrap().as_str(), text);
        }
        let long = format!("a/{}", "b".repeat(254));
        for text in
            ["", "/", "a", "a/", "/a", "a/b c", "a/b\r\nx: y", "a/b\0", "a/é", "a/b;c", "a/b,c", &long]
        {
            assert!(text.parse::<MediaType>().is_err(), "{text:?}");
        }
        assert!(long[..255].parse::<MediaType>().is_ok());
    }

    #[test]
    fn header_parameters_are_dropped() {
        for text in ["application/json; charset=utf-8", " application/json ;x", "application/json"] {
            assert_eq!(MediaType::from_header(text).unwrap().as_str(), "application/json");
        }
        assert!(MediaType::from_header("; charset=utf-8").is_err());
    }
}
