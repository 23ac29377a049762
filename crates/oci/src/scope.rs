//! Token scopes: what a client asks for at the token endpoint (Docker token specification).
//!
//! A scope is a wish. Reading one never fails for its content: a name that is not canonical or a
//! type we do not know simply asks for nothing we could grant, and is echoed with no actions.

use crate::{Action, RepositoryName};

/// Scopes in one request. More is an attack or a mistake; one token then stays small.
pub const SCOPES_MAX: usize = 100;
/// Bytes of all scope values of one request together.
pub const SCOPE_BYTES_MAX: usize = 64 * 1024;

/// One requested scope, `type:name:actions`, as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub kind: String,
    pub name: String,
    pub actions: Vec<String>,
}

/// The request asks for more scopes, or longer ones, than [`SCOPES_MAX`] and [`SCOPE_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many scopes: at most 100 and 64 KiB")]
pub struct TooMany;

/// Reads one scope. `None` when it has no three parts. The name may hold colons (a host with a port).
pub fn parse(text: &str) -> Option<Scope> {
    let (kind, rest) = text.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    if kind.is_empty() || name.is_empty() {
        return None;
    }
    let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned).collect();
    Some(Scope { kind: kind.to_owned(), name: name.to_owned(), actions })
}

/// Reads all `scope` parameters of a request; each may hold several scopes separated by spaces.
/// What is no scope at all is left out, but counts.
pub fn parse_all<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Vec<Scope>, TooMany> {
    let mut scopes = Vec::new();
    let mut bytes = 0_usize;
    let mut count = 0_usize;
    for value in values {
        bytes = bytes.saturating_add(value.len());
        if bytes > SCOPE_BYTES_MAX {
            return Err(TooMany);
        }
        for text in value.split_ascii_whitespace() {
            count += 1;
            if count > SCOPES_MAX {
                return Err(TooMany);
            }
            scopes.extend(parse(text));
        }
    }
    Ok(scopes)
}

impl Scope {
    /// The repository asked for; `None` for other types and for names that are not canonical.
    pub fn repository(&self) -> Option<RepositoryName> {
        if self.kind == "repository" { self.name.parse().ok() } else { None }
    }

    /// The rights asked for, in order and each once; `*` asks for all, unknown words for nothing.
    pub fn requested(&self) -> Vec<Action> {
        let asked = |action: &Action| self.actions.iter().any(|word| word == "*" || word == action.as_str());
        Action::ALL.into_iter().filter(asked).collect()
    }

    /// Whether this names the catalogue, `registry:catalog:…`.
    pub fn is_catalog(&self) -> bool {
        self.kind == "registry" && self.name == "catalog"
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn jw_15_reads_scopes_and_grants_nothing_for_odd_ones() {
        use Action::{Delete, Pull, Push};
        type Case = (&'static str, &'static str, &'static str, &'static [Action], Option<&'static str>);
        let cases: &[Case] = &[
            ("repository:a/b:pull", "repository", "a/b", &[Pull], Some("a/b")),
            ("repository:a/b:push,pull", "repository", "a/b", &[Pull, Push], Some("a/b")),
            ("repository:a/b:delete,pull,delete", "repository", "a/b", &[Pull, Delete], Some("a/b")),
            ("repository:a/b:*", "repository", "a/b", &[Pull, Push, Delete], Some("a/b")),
            ("repository:a/b:pull,*,x", "repository", "a/b", &[Pull, Push, Delete], Some("a/b")),
            ("repository:a/b:", "repository", "a/b", &[], Some("a/b")),
            ("repository:a/b:Pull,PUSH", "repository", "a/b", &[], Some("a/b")),
            ("repository:*:pull", "repository", "*", &[Pull], None),
            ("repository:a/*:pull", "repository", "a/*", &[Pull], None),
            ("repository:a:pull", "repository", "a", &[Pull], None),
            ("repository:A/b:pull", "repository", "A/b", &[Pull], None),
            ("repository:a/../b:pull", "repository", "a/../b", &[Pull], None),
            ("repository:host:5000/a/b:pull", "repository", "host:5000/a/b", &[Pull], None),
            ("repository(plugin):a/b:pull", "repository(plugin)", "a/b", &[Pull], None),
            ("Repository:a/b:pull", "Repository", "a/b", &[Pull], None),
            ("registry:catalog:*", "registry", "catalog", &[Pull, Push, Delete], None),
        ];
        for (text, kind, name, requested, repository) in cases {
            let scope = parse(text).unwrap();
            assert_eq!((scope.kind.as_str(), scope.name.as_str()), (*kind, *name), "{text}");
            assert_eq!(scope.requested(), *requested, "{text}");
            assert_eq!(scope.repository().as_ref().map(RepositoryName::as_str), *repository, "{text}");
            assert_eq!(scope.is_catalog(), *text == "registry:catalog:*");
        }
        for text in ["", "repository", "repository:a/b", ":a/b:pull", "repository::pull", "::"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn jw_15_counts_scopes_over_all_parameters() {
        let names = |values: &[&str]| {
            parse_all(values.iter().copied())
                .map(|all| all.into_iter().map(|one| one.name).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&["repository:a/b:pull repository:c/d:pull", "", "x", "registry:catalog:*"]).unwrap(),
            ["a/b", "c/d", "catalog"]
        );
        let many = ["repository:a/b:pull"; 101];
        assert_eq!(parse_all(many[..100].iter().copied()).unwrap().len(), 100);
        assert_eq!(parse_all(many), Err(TooMany));
        assert_eq!(parse_all([many.join(" ").as_str()]), Err(TooMany));
        // Words that are no scope count as well, or the limit could be walked around.
        assert_eq!(parse_all(["x "; 101]), Err(TooMany));
        let long = format!("repository:a/{}:pull", "b".repeat(SCOPE_BYTES_MAX));
        assert_eq!(parse_all([long.as_str()]), Err(TooMany));
    }
}
