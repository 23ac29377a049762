//! Which service a path belongs to.

use std::sync::Arc;

use crate::upstream::Group;

/// A service and the paths it answers, as its crate declares them.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Also the key below `gateway.upstreams`.
    pub name: &'static str,
    /// Whole segments, such as `/v2`; `/` is the rest.
    pub prefixes: &'static [&'static str],
}

/// Prefixes of all services that have an upstream.
pub(crate) struct Table {
    rows: Vec<(&'static str, Arc<Group>)>,
}

impl Table {
    pub(crate) fn new(groups: &[(Service, Arc<Group>)]) -> Self {
        let mut rows: Vec<_> = groups
            .iter()
            .flat_map(|(service, group)| service.prefixes.iter().map(|prefix| (*prefix, group.clone())))
            .collect();
        rows.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { rows }
    }

    /// The group with the longest prefix of the raw `path`, by whole segments.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Group>> {
        let row = self.rows.iter().find(|(prefix, _)| *prefix == "/" || serve::covers(prefix, path));
        row.map(|(_, group)| group)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::upstream::PoolLimits;

    const LIMITS: PoolLimits = PoolLimits { connections_max: 1, idle_max: Duration::from_secs(1) };

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let service =
            |name, prefixes| (Service { name, prefixes }, Arc::new(Group::new(name, Vec::new(), LIMITS)));
        let mut groups = vec![
            service("registry", &["/v2"] as &[_]),
            service("auth", &["/service/token", "/service/token/special"]),
            service("projects", &["/api", "/service"]),
        ];
        let table = Table::new(&groups);
        let name = |table: &Table, path| table.find(path).map(|group| group.name);
        for (path, service) in [
            ("/v2", Some("registry")),
            ("/v2/", Some("registry")),
            ("/v2/a%2Fb", Some("registry")),
            ("/v2x", None),
            ("/V2/", None),
            ("/%762/", None),
            ("/service/token", Some("auth")),
            ("/service/tokens", Some("projects")),
            ("/api/v2.0/ping", Some("projects")),
            ("/", None),
        ] {
            assert_eq!(name(&table, path), service, "{path}");
        }
        groups.push(service("console", &["/", "/assets"]));
        let table = Table::new(&groups);
        assert_eq!(name(&table, "/v2x"), Some("console"));
        assert_eq!(name(&table, "/"), Some("console"));
        assert_eq!(name(&table, "/v2/x"), Some("registry"));
    }
}
