//! Decisions about things that a request names by a bare id: of a project, of the installation, or unknown.

use std::marker::PhantomData;

use audit::Object;
use identity::Caller;

use crate::{Error, ProjectAction, ProjectId, ProjectRef, Tenancy};

/// Where a thing lies that is named by a bare id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Project(ProjectId),
    Installation,
    /// There is no such thing.
    Nobody,
}

/// Proof that `caller` may do `A` to things of one project, or of the installation when there is no project.
pub struct Reach<A> {
    pub project: Option<ProjectId>,
    pub caller: Caller,
    _action: PhantomData<A>,
}

impl Tenancy {
    /// Decides about a thing that a request names by its `kind` and `id` alone. Unknown and forbidden are alike and cost alike;
    /// nothing is returned for an unknown id where the caller may know of all of them.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`, `Storage`.
    pub async fn reach<A: ProjectAction>(
        &self,
        caller: &Caller,
        owner: Owner,
        kind: &str,
        id: &str,
    ) -> Result<Option<Reach<A>>, Error> {
        let project = match owner {
            Owner::Project(project) => Some(project),
            // No project has this id: the same statements as for one that the caller may not see.
            Owner::Nobody => Some(ProjectId(-1)),
            Owner::Installation => None,
        };
        match project {
            Some(project) => match self.permit::<A>(caller, &ProjectRef::from(project)).await {
                Ok(_) => {}
                Err(Error::ProjectUnknown(_)) => return Ok(None),
                Err(err) => return Err(err),
            },
            None if caller.is_anonymous() => return Err(Error::Unauthenticated),
            None => {
                if !self.system_allows(&caller.principal, A::RESOURCE.as_str(), A::ACTION).await? {
                    let object = Object { kind, id: id.to_owned(), name: "" };
                    self.record_denied(caller, A::NAME, object, None).await?;
                    return Err(Error::Hidden);
                }
            }
        }
        Ok(Some(Reach { project, caller: caller.clone(), _action: PhantomData }))
    }
}
