//! Names of repositories and artifacts as people write them: `project/repository`, with `:tag` or `@digest`.
//!
//! Only their parts are told apart here; whether such a thing exists is for the server to say.

use std::fmt;

/// `project/repository`; the repository may have further slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryName {
    project: String,
    rest: String,
}

impl RepositoryName {
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').filter(|(project, rest)| !project.is_empty() && !rest.is_empty());
        match parts {
            Some((project, rest)) if !text.contains([':', '@']) => {
                Ok(Self { project: project.to_owned(), rest: rest.to_owned() })
            }
            _ => Err(format!("{text:?} is no repository: write PROJECT/REPOSITORY")),
        }
    }

    pub fn project(&self) -> &str {
        &self.project
    }

    /// The name inside its project.
    pub fn rest(&self) -> &str {
        &self.rest
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.rest)
    }
}

/// `project/repository:tag` or `project/repository@digest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactName {
    repository: RepositoryName,
    reference: String,
    is_digest: bool,
}

impl ArtifactName {
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is no artifact: write PROJECT/REPOSITORY:TAG or PROJECT/REPOSITORY@sha256:DIGEST"
            )
        };
        let (name, reference, is_digest) = match text.split_once('@') {
            Some((name, digest)) if digest.contains(':') => (name, digest, true),
            Some(_) => return Err(refused()),
            None => match text.rsplit_once(':') {
                Some((name, tag)) => (name, tag, false),
                None => return Err(refused()),
            },
        };
        if reference.is_empty() || reference.contains(['/', '@']) {
            return Err(refused());
        }
        let repository = RepositoryName::parse(name).map_err(|_| refused())?;
        Ok(Self { repository, reference: reference.to_owned(), is_digest })
    }

    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The tag or the digest.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The tag, when it is named by one.
    pub fn tag(&self) -> Option<&str> {
        (!self.is_digest).then_some(&self.reference)
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.is_digest { '@' } else { ':' };
        write!(f, "{}{separator}{}", self.repository, self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts() {
        for (text, expected) in [
            ("demo/app:1.0", Some(("demo", "app", "1.0", true))),
            ("demo/a/b/c:latest", Some(("demo", "a/b/c", "latest", true))),
            ("demo/app@sha256:00ff", Some(("demo", "app", "sha256:00ff", false))),
            ("demo/app", None),
            ("demo:1", None),
            ("demo/app:", None),
            ("demo/app@", None),
            ("demo/app@latest", None),
            ("demo/app:1@sha256:00", None),
            ("/app:1", None),
            ("demo/:1", None),
            ("", None),
        ] {
            let got = ArtifactName::parse(text).ok();
            if let Some(name) = &got {
                assert_eq!(name.to_string(), text);
            }
            let got = got.as_ref().map(|name| {
                let repository = name.repository();
                (repository.project(), repository.rest(), name.reference(), name.tag().is_some())
            });
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn repositories() {
        for (text, good) in [("a/b", true), ("a/b/c", true), ("a", false), ("a/", false), ("a/b:1", false)] {
            assert_eq!(RepositoryName::parse(text).is_ok(), good, "{text}");
        }
    }
}
