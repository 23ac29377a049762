//! The one decision about a project: may this caller do this here? The answer is a proof, not a boolean.
//!
//! One statement per decision, the same for known and unknown projects. Nothing inside the project is looked
//! at before the decision, so an answer can never depend on what a caller may not see.
//!
//! Invariants:
//! * A [`Permit`] exists only if [`Tenancy::permit`] made it.
//! * [`Error::ProjectUnknown`] is told to system administrators alone; everybody else learns `Hidden`.

use std::marker::PhantomData;

use audit::{Actor, Entry, Object, Outcome};
use identity::{Caller, Origin, Principal};
use oci::{ProjectName, RepositoryName};

use crate::access_tokens::Leaves;
use crate::roles::{self, Action, Resource, RobotRights};
use crate::{Error, ProjectId, Role, Tenancy};

/// How a request names a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectRef {
    Name(ProjectName),
    Id(i64),
    /// A text that no project can be called: looked up all the same, so that it costs and answers alike.
    Impossible(String),
}

impl ProjectRef {
    /// Reads a path segment: an integer is an id unless `always_name` says that it is a name.
    pub fn parse(text: &str, always_name: bool) -> Self {
        if !always_name && let Ok(id) = text.parse() {
            return Self::Id(id);
        }
        text.parse().map_or_else(|_| Self::Impossible(text.to_owned()), Self::Name)
    }
}

impl From<&ProjectName> for ProjectRef {
    fn from(name: &ProjectName) -> Self {
        Self::Name(name.clone())
    }
}

impl From<ProjectId> for ProjectRef {
    fn from(id: ProjectId) -> Self {
        Self::Id(id.0)
    }
}

impl std::fmt::Display for ProjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Id(id) => id.fmt(f),
            Self::Impossible(text) => text.fmt(f),
        }
    }
}

/// Something that can be permitted in a project; implemented by the marker types of this module.
pub trait ProjectAction {
    const RESOURCE: Resource;
    const ACTION: Action;
    /// The name of the act in the audit trail.
    const NAME: &'static str;
}

macro_rules! actions {
    ($($name:ident = $resource:ident $action:ident $text:literal),* $(,)?) => {$(
        #[doc = concat!("`", $text, "` in one project.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl ProjectAction for $name {
            const RESOURCE: Resource = Resource::$resource;
            const ACTION: Action = Action::$action;
            const NAME: &'static str = $text;
        }
    )*};
}

actions!(
    ReadProject = Project Read "project_read",
    UpdateProject = Project Update "project_update",
    DeleteProject = Project Delete "project_delete",
    ListMembers = Member List "project_member_list",
    ReadMember = Member Read "project_member_read",
    CreateMember = Member Create "project_member_add",
    UpdateMember = Member Update "project_member_update",
    DeleteMember = Member Delete "project_member_remove",
    ListRepositories = Repository List "repository_list",
    ReadRepository = Repository Read "repository_read",
    UpdateRepository = Repository Update "repository_update",
    DeleteRepository = Repository Delete "repository_delete",
    PullRepository = Repository Pull "repository_pull",
    PushRepository = Repository Push "repository_push",
    ListArtifacts = Artifact List "artifact_list",
    ReadArtifact = Artifact Read "artifact_read",
    CreateArtifact = Artifact Create "artifact_create",
    DeleteArtifact = Artifact Delete "artifact_delete",
    ListTags = Tag List "tag_list",
    CreateTag = Tag Create "tag_create",
    DeleteTag = Tag Delete "tag_delete",
    ListAccessories = Accessory List "accessory_list",
    ReadMetadata = Metadata Read "project_metadata_read",
    CreateMetadata = Metadata Create "project_metadata_create",
    UpdateMetadata = Metadata Update "project_metadata_update",
    DeleteMetadata = Metadata Delete "project_metadata_delete",
    ListMetadata = Metadata List "project_metadata_list",
    CreateRobot = Robot Create "robot_create",
    ReadRobot = Robot Read "robot_read",
    UpdateRobot = Robot Update "robot_update",
    DeleteRobot = Robot Delete "robot_delete",
    ListRobots = Robot List "robot_list",
    ListImmutableRules = ImmutableTag List "immutable_rule_list",
    CreateImmutableRule = ImmutableTag Create "immutable_rule_create",
    UpdateImmutableRule = ImmutableTag Update "immutable_rule_update",
    DeleteImmutableRule = ImmutableTag Delete "immutable_rule_delete",
    ListLabels = Label List "label_list",
    ReadLabel = Label Read "label_read",
    CreateLabel = Label Create "label_create",
    UpdateLabel = Label Update "label_update",
    DeleteLabel = Label Delete "label_delete",
    CreateArtifactLabel = ArtifactLabel Create "artifact_label_add",
    DeleteArtifactLabel = ArtifactLabel Delete "artifact_label_remove",
    ReadArtifactAddition = ArtifactAddition Read "artifact_addition_read",
    ListLogs = Log List "log_list",
    ReadNamingPolicy = Configuration Read "naming_policy_read",
    UpdateNamingPolicy = Project Update "naming_policy_update",
    ReadNamingReport = Configuration Read "naming_report_read",
);

/// Everything a caller holds in one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    pub sysadmin: bool,
    /// The project is public.
    pub public: bool,
    /// Roles held through membership, strongest first.
    pub roles: Vec<Role>,
    /// Rights held as a robot.
    pub robot: RobotRights,
    /// What the credential leaves of all of them.
    leaves: Leaves,
}

impl Rights {
    /// `held` are the numbers of roles, from wherever they come; `grants` are a robot's, as stored.
    pub(crate) fn new(
        leaves: Leaves,
        sysadmin: bool,
        public: bool,
        held: Option<Vec<i16>>,
        grants: Option<Vec<String>>,
    ) -> Self {
        let held = held.unwrap_or_default();
        let roles = Role::ALL.into_iter().filter(|role| held.contains(&role.id())).collect();
        let robot = RobotRights::of(grants.iter().flatten().map(String::as_str));
        Self { sysadmin, public, roles, robot, leaves }
    }

    /// Whether these rights include the action: the union of administration, roles, grants and publicity, as far as
    /// the credential leaves it.
    pub fn allow(&self, resource: Resource, action: Action) -> bool {
        self.leaves.includes(resource, action)
            && (self.sysadmin
                || (self.public && roles::public_permits(resource, action))
                || self.roles.iter().any(|role| roles::permits(*role, resource, action))
                || self.robot.permit(resource, action))
    }
}

/// Proof that `caller` may do `A` in this project. The name is for messages only.
#[derive(Clone)]
pub struct Permit<A> {
    pub project: ProjectId,
    pub name: ProjectName,
    pub caller: Caller,
    rights: Rights,
    _action: PhantomData<A>,
}

impl<A> Permit<A> {
    /// What else the caller may do here: for answers that show more to those who may see more.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }
}

impl Permit<DeleteProject> {
    /// Who may delete a project may delete what is in it.
    pub fn content(&self) -> Permit<DeleteRepository> {
        Permit {
            project: self.project,
            name: self.name.clone(),
            caller: self.caller.clone(),
            rights: self.rights.clone(),
            _action: PhantomData,
        }
    }
}

impl Tenancy {
    /// The account that asked for something earlier, as it is now: for jobs, which act as whoever asked for them.
    ///
    /// # Errors
    /// `Unauthenticated` when it may not act any more.
    pub async fn caller_now(&self, asked: &Principal, origin: Origin) -> Result<Caller, Error> {
        let now = self.identity.active(asked).await?.ok_or(Error::Unauthenticated)?;
        Ok(Caller::new(now, origin))
    }

    /// Decides whether the caller may do `A` in the project. A refusal of somebody who is signed in is
    /// recorded in the audit trail.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden` as refusals, `ProjectUnknown` for system administrators, `Storage`.
    pub async fn permit<A: ProjectAction>(
        &self,
        caller: &Caller,
        project: &ProjectRef,
    ) -> Result<Permit<A>, Error> {
        let found = self.rights(caller, project).await?;
        match found {
            Some((id, name, rights)) if rights.allow(A::RESOURCE, A::ACTION) => {
                Ok(Permit { project: id, name, caller: caller.clone(), rights, _action: PhantomData })
            }
            None if caller.is_sysadmin() => Err(Error::ProjectUnknown(project.to_string())),
            _ if caller.is_anonymous() => Err(Error::Unauthenticated),
            hidden => {
                self.record_refusal::<A>(caller, project, hidden.map(|(id, ..)| id)).await?;
                Err(Error::Hidden)
            }
        }
    }

    /// What the caller holds in a project, for lists of permissions; nothing when there is no such project.
    /// Not a decision: a project the caller may not see yields rights that allow nothing.
    pub async fn project_rights(
        &self,
        caller: &Caller,
        project: &ProjectRef,
    ) -> Result<Option<Rights>, Error> {
        Ok(self.rights(caller, project).await?.map(|(.., rights)| rights))
    }

    /// The project and what the caller holds in it; nothing when there is no such project.
    async fn rights(
        &self,
        caller: &Caller,
        project: &ProjectRef,
    ) -> Result<Option<(ProjectId, ProjectName, Rights)>, Error> {
        let (id, name) = match project {
            ProjectRef::Id(id) => (Some(*id), None),
            ProjectRef::Name(name) => (None, Some(name.as_str())),
            ProjectRef::Impossible(_) => (None, Some("")),
        };
        let row = sqlx::query!(
            r#"select p.id, p.name, p.public, m.roles, r.grants
               from tenancy.projects p
               left join lateral (
                 select array_agg(h.role) as roles from tenancy.member_roles h
                 where h.project_id = p.id and h.user_id = $3
               ) m on true
               left join lateral (
                 select array_agg(g.resource || ':' || g.action) as grants from tenancy.robot_grants g
                 where g.robot_id = $4 and g.kind = 'project' and (g.project_id is null or g.project_id = p.id)
               ) r on true
               where p.deleted_at is null and (p.id = $1 or p.name = $2)"#,
            id,
            name,
            caller.user().map(|user| user.id.0),
            caller.principal.robot().map(|robot| robot.0)
        )
        .fetch_optional(self.database.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let Ok(name) = row.name.parse() else {
            tracing::error!(project = row.id, "the stored project name is not a project name");
            return Ok(None);
        };
        Ok(Some((
            ProjectId(row.id),
            name,
            Rights::new(
                Leaves::of_api(caller.principal.limits(), row.id),
                caller.user().is_some_and(|user| user.sysadmin),
                row.public,
                row.roles,
                row.grants,
            ),
        )))
    }

    async fn record_refusal<A: ProjectAction>(
        &self,
        caller: &Caller,
        asked: &ProjectRef,
        project: Option<ProjectId>,
    ) -> Result<(), Error> {
        let name = asked.to_string();
        let object = Object { kind: "project", id: String::new(), name: &name };
        self.record_denied(caller, A::NAME, object, project).await
    }

    /// Lets through who holds a right on the installation as a whole: system administrators, and robots that it
    /// was granted to. Comes before every look at what `object` names.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden`; the latter is recorded as `act`.
    pub(crate) async fn require_on_system(
        &self,
        caller: &Caller,
        resource: &str,
        action: Action,
        act: &'static str,
        object: Object<'_>,
    ) -> Result<(), Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        if self.system_allows(&caller.principal, resource, action).await? {
            return Ok(());
        }
        self.record_denied(caller, act, object, None).await?;
        Err(Error::Hidden)
    }

    /// Records that somebody who is known was refused something in a repository, or the list of all of them
    /// (`None`). Equal ones within a minute become one more row with their number. Costs the same whether or not the project exists.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn record_content_refusal(
        &self,
        caller: &Caller,
        action: &'static str,
        repository: Option<&RepositoryName>,
    ) -> Result<(), Error> {
        let project = match repository {
            Some(name) => self.rights(caller, &ProjectRef::from(&name.project())).await?,
            None => None,
        };
        let name = repository.map_or("", RepositoryName::as_str);
        let object = Object { kind: "repository", id: String::new(), name };
        let entry = denied(caller, action, object, project.map(|(id, ..)| id));
        Ok(self.refusals.record(&entry).await?)
    }

    /// An act that somebody who is signed in was refused.
    pub(crate) async fn record_denied(
        &self,
        caller: &Caller,
        action: &'static str,
        object: Object<'_>,
        project: Option<ProjectId>,
    ) -> Result<(), Error> {
        Ok(audit::append_alone(&self.database, &denied(caller, action, object, project)).await?)
    }
}

fn denied<'a>(
    caller: &'a Caller,
    action: &'static str,
    object: Object<'a>,
    project: Option<ProjectId>,
) -> Entry<'a> {
    Entry {
        actor: caller.actor(),
        action,
        object,
        project: project.map(|id| id.0),
        outcome: Outcome::Denied,
        origin: &caller.origin,
        changed: &[],
    }
}

/// The actor of what the server does by itself.
pub(crate) const SYSTEM: Actor<'static> = Actor { kind: "system", id: None, name: "hythe" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_segment_names_a_project() {
        for (text, always_name, expected) in [
            ("7", false, "Id(7)"),
            ("-7", false, "Id(-7)"),
            ("7", true, "Name"),
            ("library", false, "Name"),
            ("Library", false, "Impossible"),
            ("", false, "Impossible"),
            ("99999999999999999999", false, "Name"),
            ("a/b", true, "Impossible"),
        ] {
            let got = format!("{:?}", ProjectRef::parse(text, always_name));
            assert!(got.starts_with(expected), "{text}: {got}");
        }
    }

    #[test]
    fn rights_are_a_union() {
        let rights = Rights::new(Leaves::Everything, false, true, Some(vec![3]), None);
        assert!(rights.allow(Resource::Repository, Action::Read), "from the role");
        assert!(rights.allow(Resource::Scan, Action::Read), "from both");
        assert!(!rights.allow(Resource::Repository, Action::Push));
        let both = Rights::new(Leaves::Everything, false, false, Some(vec![5, 2, 5, 3]), None);
        assert_eq!(
            both.roles,
            [Role::Developer, Role::Guest, Role::LimitedGuest],
            "strongest first, each once"
        );
        assert!(both.allow(Resource::Repository, Action::Push));
        let outside = Rights::new(Leaves::Everything, false, true, None, None);
        assert!(outside.allow(Resource::Repository, Action::Pull), "public");
        assert!(!outside.allow(Resource::Repository, Action::Read));
        assert!(
            Rights::new(Leaves::Everything, true, false, None, None).allow(Resource::Metadata, Action::List)
        );
        assert!(
            !Rights::new(Leaves::Everything, false, false, None, None).allow(Resource::Project, Action::Read)
        );
        let robot =
            Rights::new(Leaves::Everything, false, true, None, Some(vec!["artifact:delete".to_owned()]));
        assert!(robot.allow(Resource::Artifact, Action::Delete));
        assert!(robot.allow(Resource::Repository, Action::Pull), "public");
        assert!(!robot.allow(Resource::Artifact, Action::Create));
        let shut = Rights::new(Leaves::Nothing, true, true, Some(vec![1]), None);
        assert!(!shut.allow(Resource::Repository, Action::Pull), "nothing is left of anything");
    }
}
