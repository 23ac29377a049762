//! Project and repository names.
//!
//! The first component of a repository name is its project; a name without a second component is
//! refused. Names come in after one percent-decode and are never decoded again, so a name that
//! still holds `%`, `.` segments or separators fails the grammar here.

use std::str::FromStr;

use crate::text::string_type;

/// Clients cut longer names together with the host (distribution-spec, "Pulling manifests").
const NAME_BYTES_MAX: usize = 255;

/// Why a text is no name. Answered as NAME_INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("invalid repository name: longer than 255 characters")]
    TooLong,
    #[error(
        "invalid repository name: components are lower-case letters and digits, separated by one of '.', '_', '__' or dashes"
    )]
    Grammar,
    #[error("invalid repository name: it needs a project and a repository, as in project/repository")]
    NoProject,
}

/// The name of a project: one component of a repository name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(String);

string_type!(ProjectName, NameError);

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        check_component(text)?;
        Ok(ProjectName(text.to_owned()))
    }
}

/// A full repository name, `project/rest`, of two or more components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

string_type!(RepositoryName, NameError);

impl RepositoryName {
    /// The project the repository lives in.
    pub fn project(&self) -> ProjectName {
        ProjectName(self.parts().0.to_owned())
    }

    /// The name inside the project; may hold slashes.
    pub fn rest(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').expect("a repository name has two components, the parser saw to it")
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        for component in text.split('/') {
            check_component(component)?;
        }
        if !text.contains('/') {
            return Err(NameError::NoProject);
        }
        Ok(RepositoryName(text.to_owned()))
    }
}

fn check_length(text: &str) -> Result<(), NameError> {
    if text.len() > NAME_BYTES_MAX { Err(NameError::TooLong) } else { Ok(()) }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn check_component(component: &str) -> Result<(), NameError> {
    let bytes = component.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut position = 0;
    loop {
        let start = position;
        while position < bytes.len() && is_word(bytes[position]) {
            position += 1;
        }
        if position == start {
            return Err(NameError::Grammar);
        }
        let separator = position;
        while position < bytes.len() && !is_word(bytes[position]) {
            position += 1;
        }
        match &bytes[separator..position] {
            b"" => return Ok(()), // the end: a word ran up to it
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return Err(NameError::Grammar),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn repository_names_split_at_the_first_slash() {
        for (text, project, rest) in [
            ("a/b", "a", "b"),
            ("library/alpine", "library", "alpine"),
            ("p/a/b/c", "p", "a/b/c"),
            ("a_b/x", "a_b", "x"),
            ("a__b/x-y---z.w", "a__b", "x-y---z.w"),
            ("0/9", "0", "9"),
            ("p/blobs/uploads", "p", "blobs/uploads"),
            ("p/manifests", "p", "manifests"),
        ] {
            let name: RepositoryName = text.parse().unwrap();
            assert_eq!((name.project().as_str(), name.rest(), name.as_str()), (project, rest, text));
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn ct_08_refuses_hostile_names() {
        let long = format!("p/{}", "a".repeat(254));
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a/b/",
            "..",
            "a/..",
            "../a",
            "a/../b",
            "./a",
            "a/.",
            "%2e%2e%2f",
            "a/%2e%2e",
            "a%2fb",
            "A/b",
            "a/B",
            "-a/b",
            "a/-b",
            "a/b-",
            "_a/b",
            "a/b_",
            "a/.b",
            "a/b.",
            "a/b..c",
            "a/b___c",
            "a/b-_c",
            "a/b._c",
            "a/b c",
            "a/b\0",
            "a/b\n",
            "a\\b/c",
            "a/\u{202e}b",
            "é/b",
            "a/b;x",
            "a/b:c",
            "a/b@c",
            "_catalog/x",
            "_catalog",
            &long,
        ] {
            assert!(text.parse::<RepositoryName>().is_err(), "{text:?}");
        }
        assert_eq!("alpine".parse::<RepositoryName>(), Err(NameError::NoProject));
        assert_eq!(long.parse::<RepositoryName>(), Err(NameError::TooLong));
        assert!(long[..255].parse::<RepositoryName>().is_ok());
        for error in [NameError::TooLong, NameError::Grammar, NameError::NoProject] {
            // Scripts match on these words.
            assert!(error.to_string().contains("invalid repository name"), "{error}");
        }
    }

    #[test]
    fn project_names_are_one_component() {
        for text in ["a", "library", "a_b", "a__b", "a.b", "a--b", "0", &"x".repeat(255)] {
            assert_eq!(text.parse::<ProjectName>().unwrap().as_str(), text);
        }
        for text in
            ["", "a/b", "A", "a___b", "a..b", "_a", "a_", "-", ".", "..", "a b", "a\n", &"x".repeat(256)]
        {
            assert!(text.parse::<ProjectName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_json_strings() {
        let name: RepositoryName = serde_json::from_str(r#""a/b""#).unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), r#""a/b""#);
        assert!(serde_json::from_str::<RepositoryName>(r#""a/../b""#).is_err());
        assert!(serde_json::from_str::<ProjectName>(r#""a/b""#).is_err());
    }
}
