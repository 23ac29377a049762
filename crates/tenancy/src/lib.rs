//! Who may do what: projects, members, quotas and run-time settings.
//!
//! The only crate that writes the `tenancy` schema, and the only place where a permission is decided. Every
//! surface asks here and gets a typed proof ([`Permit`]) or a list of grants; nothing else reads a role.
//! It knows accounts through `identity` and has no idea what a repository contains, nor what HTTP is.
//!
//! Invariants:
//! * A right is tied to the project's id, never to its name: a project made anew under an old name is another
//!   project.
//! * Whatever takes rights away raises an epoch in its own transaction, so that issued tokens end within 5 s.
//! * Every change appends its audit entry in its own transaction.

mod access_tokens;
mod attention;
mod configuration;
mod error;
mod favourites;
mod grant;
mod groups;
mod members;
mod metadata;
mod overview;
mod people;
mod permissions_document;
mod permit;
mod projects;
mod quotas;
mod reach;
mod requests;
mod robots;
pub mod roles;
mod rules;
mod settings;
mod trail;

use audit::Refusals;
use database::Database;
use identity::Identity;
use serde::{Deserialize, Serialize};

pub use access_tokens::{ShownToken, TokenInput, TokensPermit};
pub use attention::{EndingRobot, NearlyFull};
/// Acts as the trail lists them, for services.
pub use audit::csv::cell as csv_cell;
pub use audit::{Act, Selection as ActSelection, Verified};
pub use configuration::Configured;
/// The grammar of lists, for services: they name no mechanism crate themselves.
pub use database::list;
pub use error::Error;
pub use grant::Visible;
pub use members::{Member, MemberCounts, MemberName, MemberRef, NewMember};
pub use overview::Statistics;
pub use people::{
    CreateCollection, ListCollections, ReadCollection, ReadInstallationNaming, StopCollection,
    UpdateCollections, UpdateInstallationNaming,
};
pub use people::{
    CreateGroup, CreateUser, DeleteGroup, DeleteUser, ListGroups, ListUsers, ReadGroup, ReadUser,
    SystemAction, SystemPermit, UpdateGroup, UpdateUser, UserPermit,
};
pub use permissions_document::permissions_document;
pub use permit::{
    CreateArtifact, CreateMember, CreateMetadata, CreateRobot, CreateTag, DeleteArtifact, DeleteMember,
    DeleteMetadata, DeleteProject, DeleteRepository, DeleteRobot, DeleteTag, ListAccessories, ListArtifacts,
    ListLogs, ListMembers, ListMetadata, ListRepositories, ListRobots, ListTags, Permit, ProjectAction,
    ProjectRef, PullRepository, PushRepository, ReadArtifact, ReadMember, ReadMetadata, ReadProject,
    ReadRepository, ReadRobot, Rights, UpdateMember, UpdateMetadata, UpdateProject, UpdateRepository,
    UpdateRobot,
};
pub use permit::{
    CreateArtifactLabel, CreateImmutableRule, CreateLabel, DeleteArtifactLabel, DeleteImmutableRule,
    DeleteLabel, ListImmutableRules, ListLabels, ReadArtifactAddition, ReadLabel, UpdateImmutableRule,
    UpdateLabel,
};
pub use permit::{ReadNamingPolicy, ReadNamingReport, UpdateNamingPolicy};
pub use projects::{NewProject, Project, ProjectUpdate, Summary};
pub use quotas::{ProjectQuota, Quota, TellQuotaWarnings, charge_refusal};
pub use reach::{Owner, Reach};
pub use requests::{Decision, NewProjectRequest, ProjectRequest};
pub use robots::{Robot, RobotInput, RobotLevel, RobotPermission, RobotPermit};
pub use roles::Role;
pub use settings::{CreationRestriction, Settings};
pub use trail::Readable;

/// The immutable id of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProjectId(pub i64);

impl std::fmt::Display for ProjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Start-up configuration, section `tenancy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Projects one account may own, system administrators excepted.
    pub projects_per_account_max: i64,
    /// Members one project may have.
    pub members_per_project_max: i64,
    /// Nothing can be pushed or deleted, whatever the run-time setting says.
    pub read_only: bool,
}

impl Default for Config {
    /// Generous enough for real installations, small enough that one account cannot fill the tables.
    fn default() -> Self {
        Self { projects_per_account_max: 1_000, members_per_project_max: 10_000, read_only: false }
    }
}

/// Handle to everything in this crate. Clone freely; every clone talks to the same database.
#[derive(Clone)]
pub struct Tenancy {
    database: Database,
    identity: Identity,
    config: Config,
    settings: settings::Remembered,
    /// What was refused on `/v2`, where clients try again by themselves.
    refusals: Refusals,
}

impl Tenancy {
    /// Wires the handle; does no IO.
    pub fn new(database: Database, identity: Identity, config: Config) -> Self {
        let refusals = Refusals::new(database.clone());
        Self { database, identity, config, settings: settings::Remembered::default(), refusals }
    }

    /// The refusals that are counted in this process; they have to be run.
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }
}
