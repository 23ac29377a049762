//! Table of contents of the REST API: one line per operation. The table registers the handlers, so no route
//! can exist outside it.
//!
//! Both slash forms of every path are registered; nothing normalises paths. A `{repository_name}` is one
//! segment: slashes in it arrive percent-encoded (`context.rs`).

use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;

use crate::context::{Context, Credentials};
use crate::error::Failure;
use crate::{
    State, additions, artifacts, audit, collections, configurations, groups, icons, immutable, labels,
    members, meta, metadata, naming, openapi, overview, projects, quotas, repositories, requests, robots,
    tags, tokens, usage, users,
};

/// One operation of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the operation.
    pub id: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Path with `{placeholders}` of one segment each, without a trailing slash.
    pub path: &'static str,
}

type Handler = fn(Context) -> LocalBoxFuture<'static, Result<HttpResponse, Failure>>;

macro_rules! routes {
    ($($id:literal $method:literal $path:literal $credentials:ident $handler:path;)*) => {
        /// Every operation this service answers.
        pub const ROUTES: &[Route] = &[$(Route { id: $id, method: $method, path: $path }),*];

        /// Beside each route: whether it looks at credentials, and what answers it.
        const HANDLERS: &[(Credentials, Handler)] =
            &[$((Credentials::$credentials, |context| Box::pin($handler(context)))),*];
    };
}

routes! {
    "getVersion" "GET" "/api/version" Ignored meta::version;
    "getPing" "GET" "/api/v2.0/ping" Ignored meta::ping;
    "getHealth" "GET" "/api/v2.0/health" Ignored meta::health;
    "getOpenApi" "GET" "/api/v2.0/openapi.json" Ignored openapi::get;
    "getSystemInfo" "GET" "/api/v2.0/systeminfo" Checked meta::systeminfo;
    "listUsers" "GET" "/api/v2.0/users" Checked users::list;
    "createUser" "POST" "/api/v2.0/users" Checked users::create;
    "getVolumes" "GET" "/api/v2.0/systeminfo/volumes" Checked meta::volumes;
    "getConfigurations" "GET" "/api/v2.0/configurations" Checked configurations::get;
    "updateConfigurations" "PUT" "/api/v2.0/configurations" Checked configurations::update;
    "getStatistic" "GET" "/api/v2.0/statistics" Checked overview::statistics;
    "getUsage" "GET" "/api/v2.0/usage" Checked usage::of_installation;
    "search" "GET" "/api/v2.0/search" Checked overview::search;
    "getPermissions" "GET" "/api/v2.0/permissions" Checked overview::permissions;
    "getCurrentUserInfo" "GET" "/api/v2.0/users/current" Checked users::current;
    "getCurrentUserPermissions" "GET" "/api/v2.0/users/current/permissions" Checked users::permissions;
    "listCurrentUserTokens" "GET" "/api/v2.0/users/current/tokens" Checked tokens::list;
    "createCurrentUserToken" "POST" "/api/v2.0/users/current/tokens" Checked tokens::create;
    "deleteCurrentUserToken" "DELETE" "/api/v2.0/users/current/tokens/{token_id}" Checked tokens::delete;
    "searchUsers" "GET" "/api/v2.0/users/search" Checked users::search;
    "getUser" "GET" "/api/v2.0/users/{user_id}" Checked users::get;
    "updateUserProfile" "PUT" "/api/v2.0/users/{user_id}" Checked users::update;
    "deleteUser" "DELETE" "/api/v2.0/users/{user_id}" Checked users::delete;
    "setUserSysAdmin" "PUT" "/api/v2.0/users/{user_id}/sysadmin" Checked users::set_sysadmin;
    "updateUserPassword" "PUT" "/api/v2.0/users/{user_id}/password" Checked users::set_password;
    "listUserTokens" "GET" "/api/v2.0/users/{user_id}/tokens" Checked tokens::list;
    "createUserToken" "POST" "/api/v2.0/users/{user_id}/tokens" Checked tokens::create;
    "deleteUserToken" "DELETE" "/api/v2.0/users/{user_id}/tokens/{token_id}" Checked tokens::delete;
    "listUserGroups" "GET" "/api/v2.0/usergroups" Checked groups::list;
    "createUserGroup" "POST" "/api/v2.0/usergroups" Checked groups::create;
    "searchUserGroups" "GET" "/api/v2.0/usergroups/search" Checked groups::search;
    "getUserGroup" "GET" "/api/v2.0/usergroups/{group_id}" Checked groups::get;
    "updateUserGroup" "PUT" "/api/v2.0/usergroups/{group_id}" Checked groups::update;
    "deleteUserGroup" "DELETE" "/api/v2.0/usergroups/{group_id}" Checked groups::delete;
    "listProjects" "GET" "/api/v2.0/projects" Checked projects::list;
    "headProject" "HEAD" "/api/v2.0/projects" Checked projects::head;
    "createProject" "POST" "/api/v2.0/projects" Checked projects::create;
    "getProject" "GET" "/api/v2.0/projects/{project_name_or_id}" Checked projects::get;
    "updateProject" "PUT" "/api/v2.0/projects/{project_name_or_id}" Checked projects::update;
    "deleteProject" "DELETE" "/api/v2.0/projects/{project_name_or_id}" Checked projects::delete;
    "getProjectDeletable" "GET" "/api/v2.0/projects/{project_name_or_id}/_deletable" Checked projects::deletable;
    "getProjectSummary" "GET" "/api/v2.0/projects/{project_name_or_id}/summary" Checked projects::summary;
    "getProjectUsage" "GET" "/api/v2.0/projects/{project_name_or_id}/usage" Checked usage::of_project;
    "listProjectMembers" "GET" "/api/v2.0/projects/{project_name_or_id}/members" Checked members::list;
    "createProjectMember" "POST" "/api/v2.0/projects/{project_name_or_id}/members" Checked members::create;
    "getProjectMember" "GET" "/api/v2.0/projects/{project_name_or_id}/members/{mid}" Checked members::get;
    "updateProjectMember" "PUT" "/api/v2.0/projects/{project_name_or_id}/members/{mid}" Checked members::update;
    "deleteProjectMember" "DELETE" "/api/v2.0/projects/{project_name_or_id}/members/{mid}" Checked members::delete;
    "listArtifactsOfProject" "GET" "/api/v2.0/projects/{project_name_or_id}/artifacts" Checked artifacts::list_in_project;
    "listProjectTags" "GET" "/api/v2.0/projects/{project_name_or_id}/tags" Checked tags::of_project;
    "listRepositoryTags" "GET" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/tags"
        Checked tags::of_repository;
    "listTagHistory" "GET" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/tags/{tag_name}/history"
        Checked tags::history;
    "restoreTag" "POST" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/tags/{tag_name}/restore"
        Checked tags::restore;
    "addLabel" "POST"
        "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/labels"
        Checked labels::attach;
    "removeLabel" "DELETE"
        "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/labels/{label_id}"
        Checked labels::detach;
    "ListLabels" "GET" "/api/v2.0/labels" Checked labels::list;
    "CreateLabel" "POST" "/api/v2.0/labels" Checked labels::create;
    "GetLabelByID" "GET" "/api/v2.0/labels/{label_id}" Checked labels::get;
    "UpdateLabel" "PUT" "/api/v2.0/labels/{label_id}" Checked labels::update;
    "DeleteLabel" "DELETE" "/api/v2.0/labels/{label_id}" Checked labels::delete;
    "getIcon" "GET" "/api/v2.0/icons/{digest}" Checked icons::get;
    "ListImmuRules" "GET" "/api/v2.0/projects/{project_name_or_id}/immutabletagrules" Checked immutable::list;
    "CreateImmuRule" "POST" "/api/v2.0/projects/{project_name_or_id}/immutabletagrules" Checked immutable::create;
    "UpdateImmuRule" "PUT" "/api/v2.0/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}"
        Checked immutable::update;
    "DeleteImmuRule" "DELETE" "/api/v2.0/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}"
        Checked immutable::delete;
    "getNamingPolicy" "GET" "/api/v2.0/projects/{project_name_or_id}/naming-policy" Checked naming::get;
    "updateNamingPolicy" "PUT" "/api/v2.0/projects/{project_name_or_id}/naming-policy" Checked naming::update;
    "getNamingReport" "GET" "/api/v2.0/projects/{project_name_or_id}/naming-report" Checked naming::report;
    "getSystemNamingPolicy" "GET" "/api/v2.0/system/naming-policy" Checked naming::get_for_installation;
    "updateSystemNamingPolicy" "PUT" "/api/v2.0/system/naming-policy" Checked naming::update_for_installation;
    "getSystemNamingReport" "GET" "/api/v2.0/system/naming-report" Checked naming::report_for_installation;
    "listProjectMetadatas" "GET" "/api/v2.0/projects/{project_name_or_id}/metadatas" Checked metadata::list;
    "addProjectMetadatas" "POST" "/api/v2.0/projects/{project_name_or_id}/metadatas" Checked metadata::add;
    "getProjectMetadata" "GET" "/api/v2.0/projects/{project_name_or_id}/metadatas/{meta_name}"
        Checked metadata::get;
    "updateProjectMetadata" "PUT" "/api/v2.0/projects/{project_name_or_id}/metadatas/{meta_name}"
        Checked metadata::update;
    "deleteProjectMetadata" "DELETE" "/api/v2.0/projects/{project_name_or_id}/metadatas/{meta_name}"
        Checked metadata::remove;
    "ListRobot" "GET" "/api/v2.0/robots" Checked robots::list;
    "CreateRobot" "POST" "/api/v2.0/robots" Checked robots::create;
    "GetRobotByID" "GET" "/api/v2.0/robots/{robot_id}" Checked robots::get;
    "UpdateRobot" "PUT" "/api/v2.0/robots/{robot_id}" Checked robots::update;
    "RefreshSec" "PATCH" "/api/v2.0/robots/{robot_id}" Checked robots::rekey;
    "DeleteRobot" "DELETE" "/api/v2.0/robots/{robot_id}" Checked robots::delete;
    "listProjectRequests" "GET" "/api/v2.0/project-requests" Checked requests::list;
    "createProjectRequest" "POST" "/api/v2.0/project-requests" Checked requests::create;
    "getProjectRequest" "GET" "/api/v2.0/project-requests/{id}" Checked requests::get;
    "decideProjectRequest" "PUT" "/api/v2.0/project-requests/{id}" Checked requests::decide;
    "getGCHistory" "GET" "/api/v2.0/system/gc" Checked collections::list;
    "getGCSchedule" "GET" "/api/v2.0/system/gc/schedule" Checked collections::schedule;
    "createGCSchedule" "POST" "/api/v2.0/system/gc/schedule" Checked collections::create_schedule;
    "updateGCSchedule" "PUT" "/api/v2.0/system/gc/schedule" Checked collections::update_schedule;
    "getGC" "GET" "/api/v2.0/system/gc/{gc_id}" Checked collections::get;
    "stopGC" "PUT" "/api/v2.0/system/gc/{gc_id}" Checked collections::stop;
    "getGCLog" "GET" "/api/v2.0/system/gc/{gc_id}/log" Checked collections::log;
    "listQuotas" "GET" "/api/v2.0/quotas" Checked quotas::list;
    "getQuota" "GET" "/api/v2.0/quotas/{id}" Checked quotas::get;
    "updateQuota" "PUT" "/api/v2.0/quotas/{id}" Checked quotas::update;
    "listAllRepositories" "GET" "/api/v2.0/repositories" Checked repositories::list_all;
    "listRepositories" "GET" "/api/v2.0/projects/{project_name}/repositories" Checked repositories::list;
    "getRepository" "GET" "/api/v2.0/projects/{project_name}/repositories/{repository_name}"
        Checked repositories::get;
    "updateRepository" "PUT" "/api/v2.0/projects/{project_name}/repositories/{repository_name}"
        Checked repositories::update;
    "deleteRepository" "DELETE" "/api/v2.0/projects/{project_name}/repositories/{repository_name}"
        Checked repositories::delete;
    "listArtifacts" "GET" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts"
        Checked artifacts::list;
    "CopyArtifact" "POST" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts"
        Checked artifacts::copy;
    "getArtifact" "GET" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}"
        Checked artifacts::get;
    "deleteArtifact" "DELETE" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}"
        Checked artifacts::delete;
    "listAccessories" "GET"
        "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/accessories"
        Checked artifacts::accessories;
    "getAddition" "GET"
        "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/additions/{addition}"
        Checked additions::get;
    "listTags" "GET" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/tags"
        Checked tags::list;
    "createTag" "POST" "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/tags"
        Checked tags::create;
    "deleteTag" "DELETE"
        "/api/v2.0/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/tags/{tag_name}"
        Checked tags::delete;
    "listAuditLogs" "GET" "/api/v2.0/audit-logs" Checked audit::list_content;
    "listAuditLogExts" "GET" "/api/v2.0/auditlog-exts" Checked audit::list;
    "listAuditLogEventTypes" "GET" "/api/v2.0/auditlog-exts/events" Checked audit::events;
    "getLogs" "GET" "/api/v2.0/projects/{project_name}/logs" Checked audit::list_content_of_project;
    "getLogExts" "GET" "/api/v2.0/projects/{project_name}/auditlog-exts" Checked audit::list_of_project;
    "verifyAudit" "GET" "/api/v2.0/audit/verify" Checked audit::verify;
}

/// The table with how each operation takes credentials.
pub(crate) fn described() -> impl Iterator<Item = (Route, Credentials)> {
    ROUTES.iter().zip(HANDLERS).map(|(route, (credentials, _))| (*route, *credentials))
}

/// Registers the table on the service's own scope, with its own answers for everything else below it.
pub(crate) fn register(config: &mut web::ServiceConfig, state: &web::Data<State>) {
    let mut scope = web::scope("/api").app_data(state.clone());
    let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    // Routes of one path stand together in the table.
    paths.dedup();
    for path in paths {
        let local = path.strip_prefix("/api").unwrap_or(path);
        let mut resource = web::resource(vec![local.to_owned(), format!("{local}/")]);
        let mut methods = Vec::new();
        for (route, handling) in ROUTES.iter().zip(HANDLERS).filter(|(route, _)| route.path == path) {
            let Ok(method) = Method::from_bytes(route.method.as_bytes()) else { continue };
            methods.push(route.method);
            resource =
                resource.route(web::method(method).to(move |request: HttpRequest, payload: web::Payload| {
                    answer(route, handling, request, payload)
                }));
        }
        let allow = methods.join(", ");
        resource = resource.default_service(web::to(move || {
            let failure = Failure::method_not_allowed(allow.clone());
            async move { Err::<HttpResponse, _>(failure) }
        }));
        scope = scope.service(resource);
    }
    let nowhere =
        || async { Err::<HttpResponse, _>(Failure::not_found("the requested path does not exist")) };
    config.service(scope.default_service(web::to(nowhere)));
}

/// No request waits longer for a database that does not answer (docs/ARCHITECTURE.md).
const TIME_MAX: Duration = Duration::from_millis(4800);

/// What still changes something in read-only mode: otherwise nobody could switch it off.
const ALWAYS_WRITABLE: &[&str] = &["updateConfigurations"];

impl Route {
    /// Refused in read-only mode. A property of the route, so that no handler can forget it.
    fn changes_something(&self) -> bool {
        !matches!(self.method, "GET" | "HEAD") && !ALWAYS_WRITABLE.contains(&self.id)
    }
}

async fn answer(
    route: &Route,
    (credentials, handler): &(Credentials, Handler),
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let answered = async {
        let context = Context::new(*credentials, request, payload).await?;
        // Nobody changes anything without signing in; what they hear is the same in either mode.
        if route.changes_something() && !context.caller.is_anonymous() {
            context.state.tenancy.require_writable().await?;
        }
        handler(context).await
    };
    match tokio::time::timeout(TIME_MAX, answered).await {
        Ok(answered) => answered,
        Err(elapsed) => Err(Failure::unavailable(&elapsed)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operation_stands_once_and_paths_stand_together() {
        let ids: HashSet<_> = ROUTES.iter().map(|route| route.id).collect();
        assert_eq!(ids.len(), ROUTES.len());
        let operations: HashSet<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(operations.len(), ROUTES.len());
        let mut paths: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
        paths.dedup();
        let distinct: HashSet<_> = paths.iter().collect();
        assert_eq!(distinct.len(), paths.len(), "routes of one path have to stand together");
        for route in ROUTES {
            assert!(route.path.starts_with("/api/") && !route.path.ends_with('/'), "{}", route.path);
            assert!(Method::from_bytes(route.method.as_bytes()).is_ok());
        }
    }
}
