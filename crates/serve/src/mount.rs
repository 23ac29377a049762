//! How a service gets onto a socket without this crate knowing it.

use std::sync::Arc;

use actix_web::web;

/// One service: which paths are its own and how it registers its routes.
#[derive(Clone)]
pub struct Mount {
    /// For messages and metrics.
    pub name: &'static str,
    /// Path prefixes this service answers, whole segments, such as `/v2`.
    pub prefixes: &'static [&'static str],
    /// Registers the routes; runs once per HTTP worker thread, so it only clones handles.
    pub configure: Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>,
}

/// Two mounts want the same paths, or a prefix is not one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MountError {
    #[error("{first} and {second} both answer {prefix}")]
    Overlap { first: &'static str, second: &'static str, prefix: &'static str },
    #[error("{name} has the prefix {prefix:?}, which does not start with a slash or ends with one")]
    Malformed { name: &'static str, prefix: &'static str },
}

/// Refuses prefixes that lie inside each other: routing takes the first scope that matches and never
/// falls through, so an overlap would silently hide a service. `/` alone is allowed once, as the rest.
pub fn check_prefixes(mounts: &[Mount]) -> Result<(), MountError> {
    let all: Vec<(&'static str, &'static str)> =
        mounts.iter().flat_map(|mount| mount.prefixes.iter().map(|prefix| (mount.name, *prefix))).collect();
    for (position, (name, prefix)) in all.iter().enumerate() {
        if !prefix.starts_with('/') || (prefix.len() > 1 && prefix.ends_with('/')) {
            return Err(MountError::Malformed { name, prefix });
        }
        for (other_name, other) in &all[..position] {
            let root = *prefix == "/" || *other == "/";
            if prefix == other || (!root && (covers(prefix, other) || covers(other, prefix))) {
                return Err(MountError::Overlap {
                    first: other_name,
                    second: name,
                    prefix: if covers(other, prefix) { other } else { prefix },
                });
            }
        }
    }
    Ok(())
}

/// Mounts in the order they must be registered: longest prefix first, so that `/` comes last.
pub(crate) fn ordered(mut mounts: Vec<Mount>) -> Vec<Mount> {
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.prefixes.iter().map(|prefix| prefix.len()).min()));
    mounts
}

/// The name of the mount that answers `path`, for metrics; `none` when nobody does.
pub(crate) fn owner(mounts: &[(&'static str, &'static str)], path: &str) -> &'static str {
    mounts
        .iter()
        .filter(|(_, prefix)| *prefix == "/" || covers(prefix, path))
        .max_by_key(|(_, prefix)| prefix.len())
        .map_or("none", |(name, _)| name)
}

/// Whether `path` is `prefix` or lies below it, by whole segments.
pub fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(name: &'static str, prefixes: &'static [&'static str]) -> Mount {
        Mount { name, prefixes, configure: Arc::new(|_| {}) }
    }

    #[test]
    fn overlapping_prefixes_are_refused_by_whole_segments() {
        let cases: &[(&'static [&'static str], &'static [&'static str], bool)] = &[
            (&["/v2"], &["/api"], true),
            (&["/v2"], &["/v2"], false),
            (&["/service/token", "/service/jwks"], &["/service"], false),
            (&["/service"], &["/service/token"], false),
            (&["/c"], &["/console"], true),
            (&["/v2"], &["/"], true),
            (&["/"], &["/"], false),
            (&["v2"], &["/api"], false),
            (&["/v2/"], &["/api"], false),
        ];
        for (first, second, fine) in cases {
            let result = check_prefixes(&[mount("a", first), mount("b", second)]);
            assert_eq!(result.is_ok(), *fine, "{first:?} {second:?}: {result:?}");
        }
    }

    #[test]
    fn the_root_mount_is_registered_last_and_owns_the_rest() {
        let mounts = ordered(vec![mount("console", &["/"]), mount("registry", &["/v2"])]);
        assert_eq!(mounts[1].name, "console");
        let table = [("console", "/"), ("registry", "/v2")];
        assert_eq!(owner(&table, "/v2/x"), "registry");
        assert_eq!(owner(&table, "/v2x"), "console");
        assert_eq!(owner(&table[1..], "/v2x"), "none");
    }
}
