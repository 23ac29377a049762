//! The permission matrix: which role may do what in a project, and what a public project grants to everybody.
//!
//! Pure data and pure functions; who holds which role is not known here. Adding a resource means adding a row.
//!
//! Invariants:
//! * The roles form a chain: each holds everything the weaker ones hold (`Role::strength`).
//! * System administrators are not a role; they stand above the matrix (`permit.rs`).

use std::fmt;

/// A role in one project. The numbers are those of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    ProjectAdmin = 1,
    Developer = 2,
    Guest = 3,
    Maintainer = 4,
    LimitedGuest = 5,
}

impl Role {
    /// Strongest first.
    pub const ALL: [Self; 5] =
        [Self::ProjectAdmin, Self::Maintainer, Self::Developer, Self::Guest, Self::LimitedGuest];

    pub(crate) const IDS: &str =
        "1 (projectAdmin), 2 (developer), 3 (guest), 4 (maintainer), 5 (limitedGuest)";

    /// The role with this number, if there is one.
    pub fn from_id(id: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|role| i64::from(role.id()) == id)
    }

    /// The number of the role in the API and in the database.
    pub fn id(self) -> i16 {
        self as i16
    }

    /// The name of the role in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProjectAdmin => "projectAdmin",
            Self::Developer => "developer",
            Self::Guest => "guest",
            Self::Maintainer => "maintainer",
            Self::LimitedGuest => "limitedGuest",
        }
    }

    /// Larger is stronger; a change to a smaller number takes rights away.
    pub fn strength(self) -> u8 {
        match self {
            Self::ProjectAdmin => 5,
            Self::Maintainer => 4,
            Self::Developer => 3,
            Self::Guest => 2,
            Self::LimitedGuest => 1,
        }
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $enum:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum { $($variant),* }

        impl $enum {
            /// Every value, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names!(
    /// What in a project a right is about.
    Resource {
        Project = "project",
        Member = "member",
        Metadata = "metadata",
        Log = "log",
        Label = "label",
        Quota = "quota",
        Repository = "repository",
        TagRetention = "tag-retention",
        ImmutableTag = "immutable-tag",
        Configuration = "configuration",
        Robot = "robot",
        NotificationPolicy = "notification-policy",
        Scan = "scan",
        Sbom = "sbom",
        Scanner = "scanner",
        Artifact = "artifact",
        ArtifactAddition = "artifact-addition",
        Tag = "tag",
        Accessory = "accessory",
        ArtifactLabel = "artifact-label",
        PreheatPolicy = "preheat-policy",
        ExportCve = "export-cve",
    }
);

names!(
    /// What a right lets somebody do.
    Action {
        Create = "create",
        Read = "read",
        Update = "update",
        Delete = "delete",
        List = "list",
        Pull = "pull",
        Push = "push",
        Operate = "operate",
        Stop = "stop",
    }
);

impl Action {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

// One letter per action keeps the matrix readable as a matrix.
const C: u16 = Action::Create.bit();
const R: u16 = Action::Read.bit();
const U: u16 = Action::Update.bit();
const D: u16 = Action::Delete.bit();
const L: u16 = Action::List.bit();
const PULL: u16 = Action::Pull.bit();
const PUSH: u16 = Action::Push.bit();
const OPERATE: u16 = Action::Operate.bit();
const STOP: u16 = Action::Stop.bit();
const ALL: u16 = C | R | U | D | L;

/// One resource's rights: projectAdmin, maintainer, developer, guest, limitedGuest; then what a public
/// project grants to anyone.
const fn rights_of(resource: Resource) -> ([u16; 5], u16) {
    match resource {
        Resource::Project => ([R | U | D, R, R, R, R], R),
        Resource::Member => ([ALL, R | L, R | L, R | L, 0], 0),
        Resource::Metadata => ([C | R | U | D, R, 0, 0, 0], 0),
        Resource::Log => ([L, 0, 0, 0, 0], 0),
        Resource::Label => ([ALL, ALL, R | L, R | L, 0], R | L),
        Resource::Quota => ([R, R, R, R, R], 0),
        Resource::Repository => (
            [ALL | PULL | PUSH, ALL | PULL | PUSH, C | R | U | L | PULL | PUSH, R | L | PULL, R | L | PULL],
            // Not R: reading one repository's own page needs membership.
            L | PULL,
        ),
        Resource::TagRetention => ([ALL | OPERATE, ALL | OPERATE, ALL | OPERATE, 0, 0], 0),
        Resource::ImmutableTag => ([C | U | D | L, C | U | D | L, 0, 0, 0], 0),
        Resource::Configuration => ([R | U, R, R, R, R], 0),
        Resource::Robot => ([ALL, R | L, R | L, R | L, 0], 0),
        Resource::NotificationPolicy => ([ALL, R | L, 0, 0, 0], 0),
        Resource::Scan => ([C | R | STOP, C | R | STOP, R, R, R], R),
        Resource::Sbom => ([C | R | STOP, C | R | STOP, R, R, R], 0),
        Resource::Scanner => ([C | R, R, R, R, R], R),
        Resource::Artifact => ([C | R | D | L, C | R | D | L, C | R | L, R | L, R | L], R | L),
        Resource::ArtifactAddition => ([R, R, R, R, R], R),
        Resource::Tag => ([C | D | L, C | D | L, C | L, L, L], L),
        Resource::Accessory => ([L, L, L, L, L], L),
        Resource::ArtifactLabel => ([C | D, C | D, C | D, 0, 0], 0),
        Resource::PreheatPolicy => ([ALL, 0, 0, 0, 0], 0),
        Resource::ExportCve => ([C | R | L, C | R | L, C | R | L, 0, 0], 0),
    }
}

/// Whether the role includes the right.
pub fn permits(role: Role, resource: Resource, action: Action) -> bool {
    let column = match role {
        Role::ProjectAdmin => 0,
        Role::Maintainer => 1,
        Role::Developer => 2,
        Role::Guest => 3,
        Role::LimitedGuest => 4,
    };
    rights_of(resource).0[column] & action.bit() != 0
}

/// Whether a public project grants the right to everybody, anonymous callers included.
pub fn public_permits(resource: Resource, action: Action) -> bool {
    rights_of(resource).1 & action.bit() != 0
}

/// Every right some role holds, in the order of the matrix: what lists of permissions are made of.
pub fn catalogue() -> impl Iterator<Item = (Resource, Action)> {
    Resource::ALL.iter().flat_map(|resource| {
        Action::ALL
            .iter()
            .filter(|action| Role::ALL.into_iter().any(|role| permits(role, *resource, **action)))
            .map(|action| (*resource, *action))
    })
}

/// What a robot may hold in a project. Less than the strongest role: no robot edits robots.
const fn robot_rights_of(resource: Resource) -> u16 {
    match resource {
        Resource::Project => R | U | D,
        Resource::Member
        | Resource::Metadata
        | Resource::Label
        | Resource::TagRetention
        | Resource::NotificationPolicy
        | Resource::PreheatPolicy => ALL,
        Resource::Log | Resource::Accessory => L,
        Resource::Quota | Resource::ArtifactAddition => R,
        Resource::Repository => R | U | D | L | PULL | PUSH,
        Resource::ImmutableTag => C | U | D | L,
        Resource::Configuration => 0,
        Resource::Robot | Resource::Artifact => C | R | D | L,
        Resource::Scan | Resource::Sbom => C | R | STOP,
        Resource::Scanner | Resource::ExportCve => C | R,
        Resource::Tag => C | D | L,
        Resource::ArtifactLabel => C | D,
    }
}

/// Every right that a robot may hold in a project.
pub fn robot_catalogue() -> impl Iterator<Item = (Resource, Action)> {
    Resource::ALL.iter().flat_map(|resource| {
        let held = |action: &&Action| robot_rights_of(*resource) & action.bit() != 0;
        Action::ALL.iter().filter(held).map(|action| (*resource, *action))
    })
}

/// What a robot may hold on the installation as a whole.
pub const ROBOT_SYSTEM: &[(&str, &[Action])] = {
    use Action::{Create, Delete, List, Read, Stop, Update};
    const EVERYTHING: &[Action] = &[Create, Read, Update, Delete, List];
    &[
        ("audit-log", &[List]),
        ("preheat-instance", EVERYTHING),
        ("project", &[Create, List]),
        ("replication-policy", EVERYTHING),
        ("replication", &[Create, Read, List]),
        ("replication-adapter", &[List]),
        ("registry", EVERYTHING),
        ("scan-all", &[Create, Read, Update, Stop]),
        ("system-volumes", &[Read]),
        ("garbage-collection", &[Create, Read, Update, List, Stop]),
        ("purge-audit", &[Create, Read, Update, List, Stop]),
        ("jobservice-monitor", &[List, Stop]),
        ("scanner", EVERYTHING),
        ("label", &[Create, Read, Update, Delete]),
        ("security-hub", &[Read, List]),
        ("catalog", &[Read]),
        ("quota", &[Read, Update, List]),
        ("robot", &[Create, Read, Delete, List]),
        ("user", EVERYTHING),
        ("ldap-user", &[Create, List]),
        ("user-group", EVERYTHING),
    ]
};

/// Whether a robot may hold this right of a project, by names as the API writes them.
pub(crate) fn robot_may_hold(resource: &str, action: &str) -> bool {
    robot_right(resource, action)
        .is_some_and(|(resource, action)| robot_rights_of(resource) & action.bit() != 0)
}

/// Whether a robot may hold this right of the installation.
pub(crate) fn robot_may_hold_system(resource: &str, action: &str) -> bool {
    ROBOT_SYSTEM
        .iter()
        .any(|(name, actions)| *name == resource && actions.iter().any(|held| held.as_str() == action))
}

fn robot_right(resource: &str, action: &str) -> Option<(Resource, Action)> {
    let resource = Resource::ALL.iter().find(|known| known.as_str() == resource)?;
    let action = Action::ALL.iter().find(|known| known.as_str() == action)?;
    Some((*resource, *action))
}

/// What one robot holds in one project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RobotRights([u16; Resource::ALL.len()]);

impl RobotRights {
    /// From stored grants, `resource:action` each. What is no right of robots (any more) is none here either.
    /// Who may push may pull, because every client that pushes reads as well.
    pub(crate) fn of<'a>(grants: impl IntoIterator<Item = &'a str>) -> Self {
        let mut rights = Self::default();
        for grant in grants {
            let right = grant.split_once(':').and_then(|(resource, action)| robot_right(resource, action));
            if let Some((resource, action)) = right {
                rights.0[resource as usize] |= action.bit() & robot_rights_of(resource);
            }
        }
        let repository = &mut rights.0[Resource::Repository as usize];
        if *repository & PUSH != 0 {
            *repository |= PULL;
        }
        rights
    }

    /// Whether the right is held.
    pub fn permit(&self, resource: Resource, action: Action) -> bool {
        self.0[resource as usize] & action.bit() != 0
    }
}

/// Rights on the installation as a whole, which only system administrators hold.
pub const SYSTEM: &[(&str, &[Action])] = {
    use Action::{Create, Delete, List, Read, Stop, Update};
    const EVERYTHING: &[Action] = &[Create, Read, Update, Delete, List];
    &[
        ("catalog", &[Read]),
        ("audit-log", &[List]),
        ("project", EVERYTHING),
        ("user", EVERYTHING),
        ("user-group", EVERYTHING),
        ("registry", EVERYTHING),
        ("distribution", EVERYTHING),
        ("replication", EVERYTHING),
        ("garbage-collection", EVERYTHING),
        ("scan-all", &[Create, Read, Update, Delete, List, Stop]),
        ("system-volumes", &[Read]),
        ("ldap-user", &[Create, List]),
        ("configuration", &[Read, Update]),
        ("jobservice-monitor", &[Read, List, Stop]),
        ("security-hub", &[Read, List]),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix once more, as prose: resource, then the columns, then what a public project grants.
    const EXPECTED: &str = "
        project             | R U D               | R                   | R                 | R        | R        | R
        member              | C R U D L           | R L                 | R L               | R L      |          |
        metadata            | C R U D             | R                   |                   |          |          |
        log                 | L                   |                     |                   |          |          |
        label               | C R U D L           | C R U D L           | R L               | R L      |          | R L
        quota               | R                   | R                   | R                 | R        | R        |
        repository          | C R U D L pull push | C R U D L pull push | C R U L pull push | R L pull | R L pull | L pull
        tag-retention       | C R U D L operate   | C R U D L operate   | C R U D L operate |          |          |
        immutable-tag       | C U D L             | C U D L             |                   |          |          |
        configuration       | R U                 | R                   | R                 | R        | R        |
        robot               | C R U D L           | R L                 | R L               | R L      |          |
        notification-policy | C R U D L           | R L                 |                   |          |          |
        scan                | C R stop            | C R stop            | R                 | R        | R        | R
        sbom                | C R stop            | C R stop            | R                 | R        | R        |
        scanner             | C R                 | R                   | R                 | R        | R        | R
        artifact            | C R D L             | C R D L             | C R L             | R L      | R L      | R L
        artifact-addition   | R                   | R                   | R                 | R        | R        | R
        tag                 | C D L               | C D L               | C L               | L        | L        | L
        accessory           | L                   | L                   | L                 | L        | L        | L
        artifact-label      | C D                 | C D                 | C D               |          |          |
        preheat-policy      | C R U D L           |                     |                   |          |          |
        export-cve          | C R L               | C R L               | C R L             |          |          |";

    fn letter(action: Action) -> &'static str {
        match action {
            Action::Create => "C",
            Action::Read => "R",
            Action::Update => "U",
            Action::Delete => "D",
            Action::List => "L",
            other => other.as_str(),
        }
    }

    #[test]
    fn every_cell() {
        let rows: Vec<Vec<&str>> =
            EXPECTED.trim().lines().map(|line| line.split('|').map(str::trim).collect()).collect();
        assert_eq!(rows.len(), Resource::ALL.len());
        for (row, resource) in rows.iter().zip(Resource::ALL) {
            assert_eq!(row[0], resource.as_str());
            for action in Action::ALL {
                let expected = |cell: &str| cell.split(' ').any(|word| word == letter(*action));
                for (role, cell) in Role::ALL.into_iter().zip(&row[1..6]) {
                    let got = permits(role, *resource, *action);
                    assert_eq!(got, expected(cell), "{role:?} {resource}:{action}");
                }
                let got = public_permits(*resource, *action);
                assert_eq!(got, expected(row[6]), "public {resource}:{action}");
            }
        }
    }

    #[test]
    fn number_of_rights_per_role() {
        let count = |role| catalogue().filter(|(resource, action)| permits(role, *resource, *action)).count();
        assert_eq!(Role::ALL.map(count), [75, 53, 36, 20, 14]);
        assert_eq!(catalogue().count(), 75, "the strongest role holds all there is");
    }

    #[test]
    fn roles_form_a_chain() {
        for pair in Role::ALL.windows(2) {
            assert!(pair[0].strength() > pair[1].strength());
            for (resource, action) in catalogue() {
                assert!(
                    !permits(pair[1], resource, action) || permits(pair[0], resource, action),
                    "{:?} lacks {resource}:{action}, which {:?} holds",
                    pair[0],
                    pair[1]
                );
            }
        }
    }

    #[test]
    fn what_robots_may_hold() {
        for (right, project, system) in [
            ("repository:push", true, false),
            ("repository:create", false, false),
            ("robot:create", true, true),
            ("robot:update", false, false),
            ("configuration:read", false, false),
            ("tag-retention:operate", false, false),
            ("catalog:read", false, true),
            ("user:delete", false, true),
            ("project:create", false, true),
            ("project:delete", true, false),
            ("nothing:read", false, false),
            ("repository:*", false, false),
        ] {
            let (resource, action) = right.split_once(':').expect("a right");
            assert_eq!(robot_may_hold(resource, action), project, "{right}");
            assert_eq!(robot_may_hold_system(resource, action), system, "{right}");
        }
        let held = |action| catalogue_of_robots().filter(|(_, other)| *other == action).count();
        assert_eq!(catalogue_of_robots().count(), 70);
        assert_eq!(held(Action::Operate), 0);
        let rights = RobotRights::of(["repository:push", "repository:create", "robot:update", "x", "x:y"]);
        assert!(rights.permit(Resource::Repository, Action::Push));
        assert!(rights.permit(Resource::Repository, Action::Pull));
        assert!(!rights.permit(Resource::Repository, Action::Create));
        assert!(!rights.permit(Resource::Robot, Action::Update));
    }

    fn catalogue_of_robots() -> impl Iterator<Item = (Resource, Action)> {
        Resource::ALL.iter().flat_map(|resource| {
            let held = |action: &&Action| robot_rights_of(*resource) & action.bit() != 0;
            Action::ALL.iter().filter(held).map(|action| (*resource, *action))
        })
    }

    #[test]
    fn role_numbers() {
        for (id, name) in
            [(1, "projectAdmin"), (2, "developer"), (3, "guest"), (4, "maintainer"), (5, "limitedGuest")]
        {
            assert_eq!(Role::from_id(id).map(|role| (i64::from(role.id()), role.name())), Some((id, name)));
        }
        for id in [0, 6, -1, i64::MAX] {
            assert_eq!(Role::from_id(id), None);
        }
    }
}
