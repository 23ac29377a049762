//! Paths of the API, put together from texts that somebody typed.
//!
//! Invariant: one text is one segment; none can climb out of its place, end the path or start a query.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Error;
use crate::names::{ArtifactName, RepositoryName};

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path below `/api/v2.0`, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    segments: String,
    query: String,
}

impl Path {
    /// A path that this program knows, such as `/projects`.
    pub fn new(fixed: &str) -> Self {
        Self { segments: fixed.to_owned(), query: String::new() }
    }

    /// Adds what somebody typed as one segment.
    ///
    /// # Errors
    /// `Invalid` for what is no segment: nothing, `.` and `..`.
    pub fn segment(mut self, text: &str) -> Result<Self, Error> {
        if ["", ".", ".."].contains(&text) {
            return Err(Error::Invalid(format!("{text:?} is no name")));
        }
        let _ = write!(self.segments, "/{}", utf8_percent_encode(text, KEPT));
        Ok(self)
    }

    /// Adds a segment that this program knows.
    pub fn then(mut self, fixed: &str) -> Self {
        let _ = write!(self.segments, "/{fixed}");
        self
    }

    pub fn id(mut self, id: i64) -> Self {
        let _ = write!(self.segments, "/{id}");
        self
    }

    /// The repository's own path.
    ///
    /// # Errors
    /// `Invalid`, as for every segment.
    pub fn repository(name: &RepositoryName) -> Result<Self, Error> {
        // Slashes of a nested name are encoded twice, so that no proxy in between takes them for its own.
        let nested = utf8_percent_encode(name.rest(), KEPT).to_string();
        Self::new("/projects").segment(name.project())?.then("repositories").segment(&nested)
    }

    /// The artifact's own path.
    ///
    /// # Errors
    /// `Invalid`, as for every segment.
    pub fn artifact(name: &ArtifactName) -> Result<Self, Error> {
        Self::repository(name.repository())?.then("artifacts").segment(name.reference())
    }

    /// Adds a parameter to the query.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        let separator = if self.query.is_empty() { '?' } else { '&' };
        let _ = write!(self.query, "{separator}{key}={}", utf8_percent_encode(value, KEPT));
        self
    }

    /// As it is sent.
    pub(crate) fn sent(&self) -> String {
        format!("/api/v2.0{}{}", self.segments, self.query)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn nothing_typed_leaves_its_segment() {
        let sent = |text: &str| Path::new("/projects").segment(text).map(|path| path.sent());
        for (text, expected) in [
            ("demo", "/api/v2.0/projects/demo"),
            ("a/b", "/api/v2.0/projects/a%2Fb"),
            ("a?x=1#y", "/api/v2.0/projects/a%3Fx%3D1%23y"),
            ("../users", "/api/v2.0/projects/..%2Fusers"),
            ("robot$ci", "/api/v2.0/projects/robot%24ci"),
            ("%2e%2e", "/api/v2.0/projects/%252e%252e"),
        ] {
            assert_eq!(sent(text).unwrap(), expected);
        }
        for text in ["", ".", ".."] {
            assert!(sent(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn nested_repositories_and_queries() {
        let name = ArtifactName::parse("demo/a/b:v1").unwrap();
        let path = Path::artifact(&name).unwrap().with("q", "name=~a b").with("sort", "-name");
        assert_eq!(
            path.sent(),
            "/api/v2.0/projects/demo/repositories/a%252Fb/artifacts/v1?q=name%3D~a%20b&sort=-name"
        );
    }
}
