//! Proofs of permission for the data plane.
//!
//! A proof exists only where a verified grant names exactly this repository, or where the decision about its project
//! was made, so a check cannot be forgotten: the argument would be missing. Proofs carry the project's immutable id; a project created anew under the
//! same name is a different place.

use identity::Caller;
use identity::tokens::Access;
use oci::{Action, RepositoryName};
use tenancy::{Permit, ProjectId, PullRepository};

/// Where: the project's id from the grant, the repository's name from the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub project: ProjectId,
    pub repository: RepositoryName,
}

macro_rules! proof {
    ($(#[$doc:meta])* $name:ident, $action:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        #[non_exhaustive]
        pub struct $name {
            pub place: Place,
            pub caller: Caller,
        }

        impl $name {
            /// The proof, when one entry of `access` allows the action on exactly this repository.
            pub fn from_access(caller: &Caller, access: &[Access], repository: &RepositoryName) -> Option<Self> {
                let project = allowed(access, repository, $action)?;
                Some(Self {
                    place: Place { project, repository: repository.clone() },
                    caller: caller.clone(),
                        })
            }
        }
    };
}

proof!(
    /// May read blobs, manifests, tags and referrers of the repository.
    Pull,
    Action::Pull
);
proof!(
    /// May upload to the repository, and cancel its own uploads.
    Push,
    Action::Push
);
proof!(
    /// May delete blobs, manifests and tags of the repository.
    Delete,
    Action::Delete
);

impl Pull {
    /// The proof of somebody who may pull from the project, for what the console shows of a repository.
    pub fn from_permit(permit: &Permit<PullRepository>, repository: &RepositoryName) -> Self {
        Self {
            place: Place { project: permit.project, repository: repository.clone() },
            caller: permit.caller.clone(),
        }
    }
}

fn allowed(access: &[Access], repository: &RepositoryName, action: Action) -> Option<ProjectId> {
    access
        .iter()
        .find(|entry| entry.allows(repository, action))
        .and_then(|entry| entry.project)
        .map(|(id, _)| ProjectId(id))
}
