//! What each operation of the API takes and answers, for its description: beside the table of routes, which a test
//! holds to the same operations. What follows from a path, a body or a list is not written here ([`crate::openapi`]
//! adds it).

use std::borrow::Cow;

use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::{
    artifacts, audit, collections, configurations, groups, icons, immutable, labels, members, meta, naming,
    overview, projects, quotas, repositories, requests, robots, tags, tokens, usage, users,
};

/// The schema of a type that handlers read or write.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub name: fn() -> Cow<'static, str>,
    pub schema: fn() -> RefOr<Schema>,
    /// Collects the schemas of what it is made of.
    pub parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

const fn of<T: ToSchema>() -> Shape {
    Shape { name: T::name, schema: T::schema, parts: T::schemas }
}

/// What a success looks like.
#[derive(Clone, Copy)]
pub(crate) enum Success {
    /// 200 without a body.
    Done,
    /// 200 with one of these.
    One(Shape),
    /// 200 with all of these at once.
    All(Shape),
    /// 200 with a page of these.
    Page(Shape),
    /// 200 with some of these, and in `Link` where the next ones are.
    Walk(Shape),
    /// 200 with a page of these as JSON, or with all of them as CSV.
    PageOrCsv(Shape),
    /// 200 with an object from names to these.
    Named(Shape),
    /// 200 with an object from names to texts.
    Texts,
    /// 200 with a body of one of these media types.
    Content(&'static [&'static str]),
    /// 201 without a body; whether `Location` says where it is.
    Created { location: bool },
    /// 201 with one of these, and `Location`.
    CreatedWith(Shape),
}

/// What a request carries.
#[derive(Clone, Copy)]
pub(crate) enum Input {
    Nothing,
    One(Shape),
    /// An object from names to texts.
    Texts,
    /// An object with any of the keys that the operation knows.
    Any,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
}

/// A parameter of the query or a header.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub about: &'static str,
}

const fn text(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, required: false, about }
}

const fn flag(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Boolean, required: false, about }
}

const fn integer(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Integer, required: false, about }
}

impl Parameter {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// One row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub id: &'static str,
    pub tag: &'static str,
    pub summary: &'static str,
    pub input: Input,
    pub success: Success,
    /// Whether the list takes `q` and `sort`.
    pub filtered: bool,
    pub query: &'static [Parameter],
    pub headers: &'static [Parameter],
    /// Statuses of refusals beyond those that follow from path, body and query.
    pub refusals: &'static [u16],
    /// A second status of success, with its body.
    pub also: Option<(u16, Shape)>,
}

const fn op(tag: &'static str, id: &'static str, summary: &'static str, success: Success) -> Operation {
    Operation {
        id,
        tag,
        summary,
        input: Input::Nothing,
        success,
        filtered: false,
        query: &[],
        headers: &[],
        refusals: &[],
        also: None,
    }
}

impl Operation {
    const fn takes<T: ToSchema>(self) -> Self {
        Self { input: Input::One(of::<T>()), ..self }
    }

    const fn takes_texts(self) -> Self {
        Self { input: Input::Texts, ..self }
    }

    const fn takes_any(self) -> Self {
        Self { input: Input::Any, ..self }
    }

    const fn filtered(self) -> Self {
        Self { filtered: true, ..self }
    }

    const fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    const fn headers(self, headers: &'static [Parameter]) -> Self {
        Self { headers, ..self }
    }

    const fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }

    const fn also(self, status: u16, shape: Shape) -> Self {
        Self { also: Some((status, shape)), ..self }
    }
}

const fn one<T: ToSchema>() -> Success {
    Success::One(of::<T>())
}

const fn all<T: ToSchema>() -> Success {
    Success::All(of::<T>())
}

const fn page<T: ToSchema>() -> Success {
    Success::Page(of::<T>())
}

const DONE: Success = Success::Done;
const CREATED: Success = Success::Created { location: true };

/// What is shown of artifacts beside them, and of a whole project which of them.
const PROJECT_ARTIFACT_FLAGS: &[Parameter] = &[
    flag(
        "latest_in_repository",
        "only the newest of each repository, of the artifact_type or media_type in q",
    ),
    flag("with_tag", "show the tags; true unless said otherwise"),
    flag("with_accessory", "show what is attached; true unless said otherwise, false for a whole project"),
    flag("with_label", "show the labels"),
    flag("with_immutable_status", "say of each tag whether it is immutable"),
    flag("with_inherited_accessory", "show what is attached to indexes it is part of"),
    flag("with_scan_overview", "accepted; there are no scans yet"),
    flag("with_sbom_overview", "accepted; there are no scans yet"),
    flag("with_signature", "accepted; signatures are accessories"),
];

const ARTIFACT_FLAGS: &[Parameter] = PROJECT_ARTIFACT_FLAGS.split_at(1).1;

const NAMING_PAGE: &[Parameter] =
    &[text("after", "where to go on, as Link says"), integer("page_size", "rows of a page, at most")];

const USAGE_DAYS: &[Parameter] = &[integer("days", "days to tell of, today included; 30, from 1 to 400")];

/// Every operation, in the order of the table of routes where that is a good one.
#[rustfmt::skip]
pub(crate) const OPERATIONS: &[Operation] = &[
    op("installation", "getVersion", "Version of the API", Success::Texts),
    op("installation", "getPing", "Whether the server runs", Success::Content(&["text/plain"])),
    op("installation", "getHealth", "Whether its parts work", one::<meta::HealthOutput>()),
    op("installation", "getOpenApi", "This description", Success::Content(&["application/json"])),
    op("installation", "getSystemInfo", "The installation; more for those who are signed in", one::<meta::SystemInfoOutput>()),
    op("installation", "getVolumes", "Room in the places where content is kept", one::<meta::VolumesOutput>()),
    op("installation", "getStatistic", "How much there is of everything", one::<overview::StatisticsOutput>()),
    op("installation", "getUsage", "Storage, pulls and pushes by day", one::<usage::UsageOutput>()).query(USAGE_DAYS),
    op("installation", "search", "Search projects and repositories by name", one::<overview::SearchOutput>())
        .query(&[text("q", "part of a name").required()]),
    op("installation", "getPermissions", "What robots can be given", one::<overview::CatalogueOutput>()),
    op("configuration", "getConfigurations", "Read the configuration", Success::Named(of::<configurations::Output>())),
    op("configuration", "updateConfigurations", "Change some of it, all or nothing", DONE).takes_any().refuses(&[412]),

    op("users", "listUsers", "List accounts", page::<users::UserOutput>()).filtered()
        .query(&[text("username", "part of the name"), text("email", "part of the address")]),
    op("users", "createUser", "Create an account", CREATED).takes::<users::UserInput>().refuses(&[409]),
    op("users", "searchUsers", "Find accounts by a part of the name", page::<users::FoundOutput>())
        .query(&[text("username", "part of the name").required()]),
    op("users", "getCurrentUserInfo", "The caller's account", one::<users::UserOutput>()).refuses(&[412]),
    op("users", "getCurrentUserPermissions", "The caller's rights", all::<users::PermissionOutput>())
        .query(&[
            text("scope", "/system, or /project/ and the id of a project"),
            flag("relative", "resources as seen from the scope"),
        ]),
    op("users", "getUser", "Read an account", one::<users::UserOutput>()),
    op("users", "updateUserProfile", "Change address, real name and comment", DONE)
        .takes::<users::ProfileInput>().refuses(&[409]),
    op("users", "deleteUser", "Delete an account", DONE).refuses(&[409]),
    op("users", "setUserSysAdmin", "Make a system administrator, or none", DONE)
        .takes::<users::SysAdminInput>().refuses(&[409]),
    op("users", "updateUserPassword", "Change a password", DONE).takes::<users::PasswordInput>(),
    op("access tokens", "listCurrentUserTokens", "List the caller's access tokens", page::<tokens::Output>()).refuses(&[412]),
    op("access tokens", "createCurrentUserToken", "Create one; the secret is shown once", Success::CreatedWith(of::<tokens::CreatedOutput<'static>>()))
        .takes::<tokens::Input>().refuses(&[409, 412]),
    op("access tokens", "deleteCurrentUserToken", "Delete one of the caller's", DONE).refuses(&[412]),
    op("access tokens", "listUserTokens", "List somebody's access tokens", page::<tokens::Output>()),
    op("access tokens", "createUserToken", "Create one for somebody", Success::CreatedWith(of::<tokens::CreatedOutput<'static>>()))
        .takes::<tokens::Input>().refuses(&[409]),
    op("access tokens", "deleteUserToken", "Delete one of somebody's", DONE),
    op("groups", "listUserGroups", "List groups", page::<groups::Output>())
        .query(&[text("group_name", "part of the name"), text("ldap_group_dn", "the distinguished name")]),
    op("groups", "createUserGroup", "Create a group", CREATED).takes::<groups::Input>().refuses(&[409, 412]),
    op("groups", "searchUserGroups", "Find groups by a part of the name", page::<groups::FoundOutput>())
        .query(&[text("groupname", "part of the name").required()]),
    op("groups", "getUserGroup", "Read a group", one::<groups::Output>()),
    op("groups", "updateUserGroup", "Rename a group", DONE).takes::<groups::Input>().refuses(&[409]),
    op("groups", "deleteUserGroup", "Delete a group", DONE),

    op("projects", "listProjects", "List the projects the caller may see", page::<projects::ProjectOutput>()).filtered()
        .query(&[
            text("name", "part of the name"),
            flag("public", "only public ones, or only others"),
            text("owner", "name of the owner"),
            flag("with_detail", "accepted; details are always there"),
        ]),
    op("projects", "headProject", "Whether there is a project of this name that the caller may see", DONE)
        .query(&[text("project_name", "the whole name").required()]).refuses(&[404]),
    op("projects", "createProject", "Create a project", CREATED).takes::<projects::ProjectInput>()
        .headers(&[flag("X-Resource-Name-In-Location", "Location ends in the name, not in the id")])
        .refuses(&[409, 412, 422]),
    op("projects", "getProject", "Read a project", one::<projects::ProjectOutput>()),
    op("projects", "updateProject", "Change a project", DONE).takes::<projects::ProjectInput>().refuses(&[412]),
    op("projects", "deleteProject", "Delete an empty project, or any with force", DONE)
        .query(&[flag("force", "delete what is in it as well, as a job")])
        .also(202, of::<projects::JobOutput>()).refuses(&[412]),
    op("projects", "getProjectDeletable", "Whether it is empty", one::<projects::DeletableOutput>()),
    op("projects", "getProjectSummary", "Counts and quota", one::<projects::SummaryOutput>()),
    op("projects", "getProjectUsage", "Storage, pulls and pushes by day", one::<usage::UsageOutput>()).query(USAGE_DAYS),
    op("projects", "listProjectMetadatas", "Read all metadata", Success::Texts),
    op("projects", "addProjectMetadatas", "Add one key", DONE).takes_texts().refuses(&[409, 412]),
    op("projects", "getProjectMetadata", "Read one key", Success::Texts),
    op("projects", "updateProjectMetadata", "Change one key", DONE).takes_texts().refuses(&[412]),
    op("projects", "deleteProjectMetadata", "Remove one key", DONE),
    op("project requests", "listProjectRequests", "List requests for projects", page::<requests::Output>()).filtered(),
    op("project requests", "createProjectRequest", "Ask for a project", CREATED).takes::<requests::Input>().refuses(&[409, 412]),
    op("project requests", "getProjectRequest", "Read a request", one::<requests::Output>()),
    op("project requests", "decideProjectRequest", "Approve or refuse a request", DONE)
        .takes::<requests::DecisionInput>().refuses(&[409, 412]),
    op("members", "listProjectMembers", "List members", page::<members::MemberOutput>())
        .query(&[text("entityname", "part of the name")]),
    op("members", "createProjectMember", "Add a member", CREATED).takes::<members::MemberInput>().refuses(&[409]),
    op("members", "getProjectMember", "Read a member", one::<members::MemberOutput>()),
    op("members", "updateProjectMember", "Change a member's role", DONE).takes::<members::RoleInput>(),
    op("members", "deleteProjectMember", "Remove a member", DONE),
    op("robots", "ListRobot", "List the installation's robots, or a project's", page::<robots::Output>()).filtered(),
    op("robots", "CreateRobot", "Create a robot; the secret is shown once", Success::CreatedWith(of::<robots::CreatedOutput>()))
        .takes::<robots::Input>().refuses(&[404, 409]),
    op("robots", "GetRobotByID", "Read a robot", one::<robots::Output>()),
    op("robots", "UpdateRobot", "Change a robot", DONE).takes::<robots::Input>().refuses(&[409]),
    op("robots", "RefreshSec", "Set the secret, or have one made", one::<robots::SecretOutput>()).takes::<robots::SecretInput>(),
    op("robots", "DeleteRobot", "Delete a robot", DONE),
    op("quotas", "listQuotas", "List quotas", page::<quotas::Output>())
        .query(&[
            text("reference", "project"),
            text("reference_id", "id of the project"),
            text("sort", "hard.storage, used.storage, creation_time, update_time; - before it turns it round"),
        ]).refuses(&[400]),
    op("quotas", "getQuota", "Read a quota", one::<quotas::Output>()),
    op("quotas", "updateQuota", "Set the limit", DONE).takes::<quotas::Input>(),

    op("repositories", "listAllRepositories", "List the repositories the caller may see", page::<repositories::RepositoryOutput>()).filtered(),
    op("repositories", "listRepositories", "List the repositories of a project", page::<repositories::RepositoryOutput>()).filtered(),
    op("repositories", "getRepository", "Read a repository", one::<repositories::RepositoryOutput>()),
    op("repositories", "updateRepository", "Describe a repository", DONE).takes::<repositories::RepositoryInput>(),
    op("repositories", "deleteRepository", "Delete a repository", DONE).refuses(&[412]),
    op("artifacts", "listArtifacts", "List the artifacts of a repository", page::<artifacts::ArtifactOutput>()).filtered()
        .query(ARTIFACT_FLAGS),
    op("artifacts", "listArtifactsOfProject", "List the artifacts of a project", page::<artifacts::ArtifactOutput>()).filtered()
        .query(PROJECT_ARTIFACT_FLAGS),
    op("artifacts", "CopyArtifact", "Copy an artifact here", CREATED)
        .query(&[text("from", "project/repository:tag or project/repository@digest").required()])
        .refuses(&[400, 409, 412]),
    op("artifacts", "getArtifact", "Read an artifact", one::<artifacts::ArtifactOutput>()).query(ARTIFACT_FLAGS),
    op("artifacts", "deleteArtifact", "Delete an artifact and its tags", DONE).refuses(&[412]),
    op("artifacts", "listAccessories", "List what is attached", page::<artifacts::AccessoryOutput>()).filtered(),
    op("artifacts", "getAddition", "Read what can be read out of an artifact",
        Success::Content(&["application/json", "text/markdown", "text/plain"])).refuses(&[400, 422]),
    op("tags", "listTags", "List the tags of an artifact", page::<tags::TagOutput>()).filtered()
        .query(&[flag("with_immutable_status", "say of each whether it is immutable")]),
    op("tags", "createTag", "Tag an artifact", Success::Created { location: false }).takes::<tags::NewTag>().refuses(&[409, 412]),
    op("tags", "deleteTag", "Delete a tag", DONE).refuses(&[412]),
    op("tags", "listProjectTags", "List the tags of a project", page::<tags::EntryOutput>()).filtered(),
    op("tags", "listRepositoryTags", "List the tags of a repository", page::<tags::EntryOutput>()).filtered(),
    op("tags", "listTagHistory", "What a tag named before", page::<tags::ChangeOutput>()).filtered(),
    op("tags", "restoreTag", "Make a tag name what it named before", Success::Created { location: false })
        .takes::<tags::Restoration>().refuses(&[409, 410, 412]),
    op("labels", "addLabel", "Put a label on an artifact", DONE).takes::<labels::Input>().refuses(&[409]),
    op("labels", "removeLabel", "Take a label off an artifact", DONE),
    op("labels", "ListLabels", "List labels", page::<labels::Output>()).filtered()
        .query(&[
            text("scope", "g: the installation's; p: those of a project").required(),
            integer("project_id", "the project, with scope=p"),
            text("name", "part of the name"),
        ]).refuses(&[404]),
    op("labels", "CreateLabel", "Create a label", CREATED).takes::<labels::Input>().refuses(&[404, 409]),
    op("labels", "GetLabelByID", "Read a label", one::<labels::Output>()),
    op("labels", "UpdateLabel", "Change a label", DONE).takes::<labels::Input>().refuses(&[409]),
    op("labels", "DeleteLabel", "Delete a label", DONE),
    op("immutable tags", "ListImmuRules", "List the rules of a project", page::<immutable::Output>()).filtered(),
    op("immutable tags", "CreateImmuRule", "Create a rule", CREATED).takes::<immutable::Input>().refuses(&[409, 412]),
    op("immutable tags", "UpdateImmuRule", "Change a rule", DONE).takes::<immutable::Input>().refuses(&[409]),
    op("immutable tags", "DeleteImmuRule", "Delete a rule", DONE),

    op("naming", "getNamingPolicy", "Read a project's rules for names", one::<naming::PolicyOutput>()),
    op("naming", "updateNamingPolicy", "Set a project's rules for names", DONE).takes::<naming::PolicyInput>(),
    op("naming", "getNamingReport", "What breaks the rules in a project", Success::Walk(of::<naming::FindingOutput>()))
        .query(NAMING_PAGE).refuses(&[400]),
    op("naming", "getSystemNamingPolicy", "Read the installation's rules for names", one::<naming::PolicyOutput>()),
    op("naming", "updateSystemNamingPolicy", "Set the installation's rules for names", DONE).takes::<naming::PolicyInput>(),
    op("naming", "getSystemNamingReport", "What breaks the rules anywhere", Success::Walk(of::<naming::FindingOutput>()))
        .query(NAMING_PAGE).refuses(&[400]),
    op("artifacts", "getIcon", "Read an icon", one::<icons::Output>()).refuses(&[400]),

    op("garbage collection", "getGCHistory", "List runs", page::<collections::Output>()).filtered(),
    op("garbage collection", "getGC", "Read a run", one::<collections::Output>()),
    op("garbage collection", "stopGC", "Stop a run", DONE),
    op("garbage collection", "getGCLog", "Read the log of a run", Success::Content(&["text/plain"])).refuses(&[400]),
    op("garbage collection", "getGCSchedule", "Read the schedule", one::<collections::Output>()),
    op("garbage collection", "createGCSchedule", "Begin a run, or set the schedule", CREATED)
        .takes::<collections::Input>().refuses(&[409]),
    op("garbage collection", "updateGCSchedule", "Change or end the schedule", DONE).takes::<collections::Input>(),

    op("audit", "listAuditLogs", "List what was done to content", page::<audit::ContentOutput>()).filtered(),
    op("audit", "listAuditLogExts", "List what was done", Success::PageOrCsv(of::<audit::Output>())).filtered(),
    op("audit", "listAuditLogEventTypes", "The kinds of acts", all::<audit::EventTypeOutput>()),
    op("audit", "getLogs", "List what was done to the content of a project", page::<audit::ContentOutput>()).filtered(),
    op("audit", "getLogExts", "List what was done in a project", Success::PageOrCsv(of::<audit::Output>())).filtered(),
    op("audit", "verifyAudit", "Whether the trail is whole", one::<audit::VerifyOutput>())
        .query(&[integer("after", "begin behind this position")]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ROUTES;

    #[test]
    fn every_route_is_described_once_and_nothing_else() {
        let described: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.id).collect();
        assert_eq!(described.len(), OPERATIONS.len());
        let routes: BTreeSet<_> = ROUTES.iter().map(|route| route.id).collect();
        assert_eq!(routes, described);
    }
}
