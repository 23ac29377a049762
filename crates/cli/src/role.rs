//! The roles a process can have. A role, its crate and its section of the configuration share one name.

/// One service of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Registry,
    Auth,
    Projects,
    Worker,
    Console,
}

impl Role {
    /// What `hythe serve` runs.
    pub const ALL_IN_ONE: [Role; 5] =
        [Role::Registry, Role::Auth, Role::Projects, Role::Worker, Role::Console];

    /// The name of the crate, the section and the subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Role::Registry => "registry",
            Role::Auth => "auth",
            Role::Projects => "projects",
            Role::Worker => "worker",
            Role::Console => "console",
        }
    }

    /// Whether it answers requests of clients.
    pub fn is_public(self) -> bool {
        match self {
            Role::Registry | Role::Auth | Role::Projects | Role::Console => true,
            Role::Worker => false,
        }
    }

    /// Whether it reads or writes blobs.
    pub fn uses_store(self) -> bool {
        match self {
            Role::Registry | Role::Projects | Role::Worker | Role::Console => true,
            Role::Auth => false,
        }
    }
}
