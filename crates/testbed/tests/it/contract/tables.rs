//! Where Hythe answers otherwise than the facts say, by intention, and what its answers always have.

/// Operations that answer everybody.
pub const OPEN: &[&str] =
    &["getPing", "getHealth", "getSystemInfo", "search", "listProjects", "listAllRepositories"];

/// A tag has no page of its own that `Location` could name.
pub const NO_LOCATION: &[&str] = &["createTag"];

/// Operations that make the repository of their path.
pub const MAKES_ROOM: &[&str] = &["CopyArtifact"];

/// What is the same when it is done twice.
pub const REPEATED: &[&str] = &["CopyArtifact", "createGCSchedule"];

/// What is made below another path than that of the request: a run is none of the schedule's.
pub const MADE_ELSEWHERE: &[(&str, &str)] = &[("createGCSchedule", "/api/v2.0/system/gc/")];

/// Reads that answer without a body when there is nothing.
pub const MAY_BE_EMPTY: &[&str] = &["getGCSchedule"];

/// Statuses that are not documented for the operations named (none: for any), and why they are answered.
pub const STATUSES: &[(&[&str], u16, &str)] = &[
    (&[], 400, "a body that is no JSON, an unknown key in q"),
    (&[], 401, "whoever did not sign in is told so, everywhere"),
    (&[], 404, "what is not there, to who may know"),
    (&["CreateRobot", "CreateImmuRule"], 409, "there is one already"),
    (&[], 422, "a parameter that is missing or of the wrong type"),
];

/// A filter that each list takes, where `id=1` is none.
pub const FILTERS: &[(&str, &str)] =
    &[("listProjects", "name=~c"), ("listUsers", "username=~c"), ("ListRobot", "name=~c")];

/// Optional parameters that have to be there beside another one, so that to leave them empty is 422: of labels the
/// scope is always needed, and the project with the scope of one.
pub const NEEDED: &[(&str, &str)] = &[("ListLabels", "scope"), ("ListLabels", "project_id")];

const ARTIFACTS: &[&str] = &["listArtifacts", "listArtifactsOfProject"];

/// Fields of Hythe's own.
pub const ADDITIONS: &[(&[&str], &[&str])] = &[
    (&["ListRobot"], &["/*/last_used_at", "/*/last_used_address", "/*/last_used_client"]),
    (&["GetRobotByID"], &["/last_used_at", "/last_used_address", "/last_used_client"]),
    (
        &["listAuditLogExts", "getLogExts"],
        &[
            "/*/project_id",
            "/*/action",
            "/*/outcome",
            "/*/actor_type",
            "/*/resource_id",
            "/*/client_address",
            "/*/client",
            "/*/auth_method",
            "/*/request_id",
            "/*/changed",
            "/*/repeated",
        ],
    ),
    // What a run came to, and why it ended as it did.
    (
        &["getGCHistory"],
        &[
            "/*/message",
            "/*/result",
            "/*/result/sessions",
            "/*/result/manifests",
            "/*/result/blobs",
            "/*/result/bytes",
        ],
    ),
    (
        &["getGC"],
        &["/message", "/result", "/result/sessions", "/result/manifests", "/result/blobs", "/result/bytes"],
    ),
    // Whether people may ask for projects, and how long things can be restored.
    (&["getConfigurations"], &["/project_request_enabled", "/restore_days"]),
];

/// Fields that are there even when they are zero, false or empty. `*` is each item.
pub const ALWAYS: &[(&[&str], &[&str])] = &[
    (&["getHealth"], &["/status", "/components/0", "/components/*/name", "/components/*/status"]),
    (
        &["getSystemInfo"],
        &["/auth_mode", "/primary_auth_mode", "/self_registration", "/banner_message", "/oidc_provider_name"],
    ),
    (&["getVolumes"], &["/storage/0", "/storage/*/total", "/storage/*/free"]),
    (
        &["getStatistic"],
        &[
            "/private_project_count",
            "/private_repo_count",
            "/public_project_count",
            "/public_repo_count",
            "/total_project_count",
            "/total_repo_count",
            "/total_storage_consumption",
        ],
    ),
    (
        &["getPermissions"],
        &["/system/*/resource", "/system/*/action", "/project/*/resource", "/project/*/action"],
    ),
    (
        &["search"],
        &[
            "/project",
            "/project/*/repo_count",
            "/repository",
            "/repository/*/project_id",
            "/repository/*/project_name",
            "/repository/*/project_public",
            "/repository/*/repository_name",
        ],
    ),
    (&["getConfigurations"], &["/*/value", "/*/editable"]),
    (
        &["getUser", "getCurrentUserInfo"],
        &["/user_id", "/username", "/sysadmin_flag", "/admin_role_in_auth", "/creation_time", "/update_time"],
    ),
    (
        &["listUsers"],
        &["/*/user_id", "/*/username", "/*/sysadmin_flag", "/*/admin_role_in_auth", "/*/creation_time"],
    ),
    (&["searchUsers"], &["/*/user_id", "/*/username"]),
    (&["getCurrentUserPermissions"], &["/*/resource", "/*/action"]),
    (&["listUserGroups", "searchUserGroups"], &["/*/id", "/*/group_name", "/*/group_type"]),
    (&["getUserGroup"], &["/id", "/group_name", "/group_type"]),
    (
        &["getProject"],
        &[
            "/project_id",
            "/owner_id",
            "/name",
            "/repo_count",
            "/metadata/public",
            "/creation_time",
            "/update_time",
        ],
    ),
    (
        &["listProjects"],
        &[
            "/*/project_id",
            "/*/owner_id",
            "/*/name",
            "/*/repo_count",
            "/*/metadata/public",
            "/*/creation_time",
        ],
    ),
    (&["getProjectDeletable"], &["/deletable"]),
    (&["getProjectSummary"], &["/repo_count", "/quota/hard/storage", "/quota/used/storage"]),
    (
        &["listProjectMembers"],
        &[
            "/*/id",
            "/*/project_id",
            "/*/entity_name",
            "/*/role_name",
            "/*/role_id",
            "/*/entity_id",
            "/*/entity_type",
        ],
    ),
    (
        &["getProjectMember"],
        &["/id", "/project_id", "/entity_name", "/role_name", "/role_id", "/entity_id", "/entity_type"],
    ),
    (
        &["listRepositories", "listAllRepositories"],
        &["/*/id", "/*/project_id", "/*/name", "/*/artifact_count", "/*/pull_count", "/*/creation_time"],
    ),
    (
        &["getRepository"],
        &["/id", "/project_id", "/name", "/artifact_count", "/pull_count", "/creation_time", "/update_time"],
    ),
    (
        ARTIFACTS,
        &[
            "/*/id",
            "/*/type",
            "/*/media_type",
            "/*/manifest_media_type",
            "/*/project_id",
            "/*/repository_id",
            "/*/repository_name",
            "/*/digest",
            "/*/size",
            "/*/push_time",
            "/*/pull_time",
        ],
    ),
    (
        &["getArtifact"],
        &[
            "/id",
            "/type",
            "/media_type",
            "/manifest_media_type",
            "/project_id",
            "/repository_id",
            "/repository_name",
            "/digest",
            "/size",
            "/push_time",
            "/pull_time",
        ],
    ),
    (
        &["listTags"],
        &[
            "/*/id",
            "/*/repository_id",
            "/*/artifact_id",
            "/*/name",
            "/*/push_time",
            "/*/pull_time",
            "/*/immutable",
        ],
    ),
    (
        &["listAccessories"],
        &[
            "/*/id",
            "/*/artifact_id",
            "/*/subject_artifact_id",
            "/*/subject_artifact_digest",
            "/*/subject_artifact_repo",
            "/*/size",
            "/*/digest",
            "/*/type",
            "/*/icon",
            "/*/creation_time",
        ],
    ),
    (&["ListLabels"], &["/*/id", "/*/name", "/*/scope", "/*/creation_time", "/*/update_time"]),
    (&["GetLabelByID"], &["/id", "/name", "/scope", "/creation_time", "/update_time"]),
    (&["ListImmuRules"], &["/*/id", "/*/action", "/*/template", "/*/tag_selectors", "/*/scope_selectors"]),
    (
        &["ListRobot"],
        &[
            "/*/id",
            "/*/name",
            "/*/level",
            "/*/editable",
            "/*/disable",
            "/*/expires_at",
            "/*/permissions",
            "/*/creator_type",
            "/*/creator_ref",
            "/*/creation_time",
            "/*/update_time",
        ],
    ),
    (
        &["GetRobotByID"],
        &["/id", "/name", "/level", "/editable", "/disable", "/expires_at", "/permissions", "/creation_time"],
    ),
    (&["CreateRobot"], &["/id", "/name", "/secret", "/creation_time", "/expires_at"]),
    (&["RefreshSec"], &["/secret"]),
    (&["listQuotas"], &["/*/id", "/*/ref/id", "/*/ref/name", "/*/hard/storage", "/*/used/storage"]),
    (&["getQuota"], &["/id", "/ref/id", "/ref/name", "/hard/storage", "/used/storage", "/creation_time"]),
    (&["listAuditLogs", "getLogs"], &["/*/id", "/*/op_time", "/*/operation", "/*/resource_type"]),
    (
        &["listAuditLogExts", "getLogExts"],
        &["/*/id", "/*/op_time", "/*/operation", "/*/operation_description", "/*/operation_result"],
    ),
    (&["listAuditLogEventTypes"], &["/*/event_type"]),
];
