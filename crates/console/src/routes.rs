//! Table of contents of the console: one line per page and per change. The table registers the handlers, so nothing can
//! exist outside it.
//!
//! `/-/` can be in no repository's name, so it separates the name from the page below it; those lines stand before the
//! ones that take the rest of the path as a name.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;

use crate::failure::Failure;
use crate::view::View;
use crate::{State, assets, pages};

/// One page, or one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub id: &'static str,
    pub method: &'static str,
    /// Path with `{placeholders}`; `{repository}` may hold slashes.
    pub path: &'static str,
}

type Handler = fn(View) -> LocalBoxFuture<'static, Result<HttpResponse, Refused>>;

/// A failure with the view that can show it.
pub(crate) type Refused = Box<(View, Failure)>;

/// Who may come at all. What they may see and do is decided behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Anyone,
    SignedIn,
}

macro_rules! routes {
    ($($id:literal $method:literal $path:literal $access:ident $handler:path;)*) => {
        /// Every page and every change.
        pub const ROUTES: &[Route] = &[$(Route { id: $id, method: $method, path: $path }),*];

        const HANDLERS: &[(Access, Handler)] = &[$((Access::$access, |mut view| {
            Box::pin(async move {
                match $handler(&mut view).await {
                    Ok(response) => Ok(response),
                    Err(failure) => Err(Box::new((view, failure))),
                }
            })
        })),*];
    };
}

routes! {
    // Frame
    "console_home" "GET" "/" Anyone pages::home::show;
    "console_login" "GET" "/login" Anyone pages::login::show;
    "console_login_do" "POST" "/login" Anyone pages::login::sign_in;
    "console_logout_do" "POST" "/logout" Anyone pages::login::sign_out;
    "console_client_login_do" "POST" "/c/login" Anyone pages::login::sign_in_client;
    "console_client_logout" "GET" "/c/log_out" Anyone pages::login::sign_out_client;
    "console_appearance_do" "POST" "/-/appearance" Anyone pages::appearance::choose;
    "console_list_do" "POST" "/-/list" Anyone pages::lists::choose;
    "console_about" "GET" "/about" Anyone pages::about::show;
    "console_search" "GET" "/search" Anyone pages::search::show;
    "console_docs" "GET" "/docs" Anyone pages::docs::list;
    "console_docs_api" "GET" "/docs/api" Anyone pages::docs::api::list;
    "console_docs_operation" "GET" "/docs/api/{operation}" Anyone pages::docs::api::show;
    "console_document" "GET" "/docs/{document}" Anyone pages::docs::show;
    // Me
    "console_me" "GET" "/me" SignedIn pages::me::profile::show;
    "console_me_do" "POST" "/me" SignedIn pages::me::profile::change;
    "console_me_password" "GET" "/me/password" SignedIn pages::me::password::show;
    "console_me_password_do" "POST" "/me/password" SignedIn pages::me::password::change;
    "console_me_tokens" "GET" "/me/tokens" SignedIn pages::me::tokens::list;
    "console_me_token_new" "GET" "/me/tokens/new" SignedIn pages::me::tokens::new;
    "console_me_token_new_do" "POST" "/me/tokens/new" SignedIn pages::me::tokens::create;
    "console_me_token_delete" "GET" "/me/tokens/{token}/-/delete" SignedIn pages::me::tokens::ask_delete;
    "console_me_token_delete_do" "POST" "/me/tokens/{token}/-/delete" SignedIn pages::me::tokens::delete;
    "console_me_sessions" "GET" "/me/sessions" SignedIn pages::me::sessions::list;
    "console_me_sessions_do" "POST" "/me/sessions" SignedIn pages::me::sessions::end;
    "console_me_preferences" "GET" "/me/preferences" SignedIn pages::me::preferences::show;
    "console_me_preferences_do" "POST" "/me/preferences" SignedIn pages::me::preferences::change;
    // Administration
    "console_admin" "GET" "/admin" SignedIn pages::admin::overview::show;
    "console_users" "GET" "/admin/users" SignedIn pages::admin::users::list;
    "console_user_new" "GET" "/admin/users/-/new" SignedIn pages::admin::users::new;
    "console_user_new_do" "POST" "/admin/users/-/new" SignedIn pages::admin::users::create;
    "console_user" "GET" "/admin/users/{user}" SignedIn pages::admin::users::one::show;
    "console_user_do" "POST" "/admin/users/{user}" SignedIn pages::admin::users::one::change;
    "console_user_rights_do" "POST" "/admin/users/{user}/-/rights" SignedIn pages::admin::users::one::set_rights;
    "console_user_disabled_do" "POST" "/admin/users/{user}/-/disabled" SignedIn pages::admin::users::one::set_disabled;
    "console_user_password_do" "POST" "/admin/users/{user}/-/password" SignedIn pages::admin::users::one::set_password;
    "console_user_sessions_do" "POST" "/admin/users/{user}/-/sessions" SignedIn pages::admin::users::one::end_sessions;
    "console_user_tokens_do" "POST" "/admin/users/{user}/-/tokens" SignedIn pages::admin::users::one::end_token;
    "console_user_delete" "GET" "/admin/users/{user}/-/delete" SignedIn pages::admin::users::one::ask_delete;
    "console_user_delete_do" "POST" "/admin/users/{user}/-/delete" SignedIn pages::admin::users::one::delete;
    "console_groups" "GET" "/admin/groups" SignedIn pages::admin::groups::list;
    "console_group_new" "GET" "/admin/groups/-/new" SignedIn pages::admin::groups::new;
    "console_group_new_do" "POST" "/admin/groups/-/new" SignedIn pages::admin::groups::create;
    "console_group" "GET" "/admin/groups/-/edit" SignedIn pages::admin::groups::show;
    "console_group_do" "POST" "/admin/groups/-/edit" SignedIn pages::admin::groups::rename;
    "console_group_delete" "GET" "/admin/groups/-/delete" SignedIn pages::admin::groups::ask_delete;
    "console_group_delete_do" "POST" "/admin/groups/-/delete" SignedIn pages::admin::groups::delete;
    "console_system_labels" "GET" "/admin/labels" SignedIn pages::labels::list;
    "console_system_label_new" "GET" "/admin/labels/-/new" SignedIn pages::labels::new;
    "console_system_label_new_do" "POST" "/admin/labels/-/new" SignedIn pages::labels::create;
    "console_system_label" "GET" "/admin/labels/-/edit" SignedIn pages::labels::edit;
    "console_system_label_do" "POST" "/admin/labels/-/edit" SignedIn pages::labels::update;
    "console_system_label_delete" "GET" "/admin/labels/-/delete" SignedIn pages::labels::confirm;
    "console_system_label_delete_do" "POST" "/admin/labels/-/delete" SignedIn pages::labels::delete;
    "console_storage" "GET" "/admin/storage" SignedIn pages::admin::storage::show;
    "console_quotas" "GET" "/admin/storage/quotas" SignedIn pages::admin::quotas::list;
    "console_quotas_do" "POST" "/admin/storage/quotas" SignedIn pages::admin::quotas::set;
    "console_audit" "GET" "/admin/audit" SignedIn pages::admin::audit::list;
    "console_audit_verify" "GET" "/admin/audit/-/verify" SignedIn pages::admin::audit::verify;
    "console_admin_settings" "GET" "/admin/settings/general" SignedIn pages::admin::settings::show;
    "console_admin_settings_do" "POST" "/admin/settings/general" SignedIn pages::admin::settings::change;
    "console_health" "GET" "/admin/health" SignedIn pages::admin::health::show;
    "console_jobs" "GET" "/admin/jobs" SignedIn pages::jobs::list;
    "console_job" "GET" "/jobs/{job}" SignedIn pages::jobs::show;
    // Projects and what belongs to them; robots of the installation share their pages with those of projects.
    "console_system_robots" "GET" "/admin/robots" SignedIn pages::robots::list;
    "console_system_robot_new" "GET" "/admin/robots/-/new" SignedIn pages::robots::new;
    "console_system_robot_new_do" "POST" "/admin/robots/-/new" SignedIn pages::robots::create;
    "console_system_robot" "GET" "/admin/robots/{robot}" SignedIn pages::robots::show;
    "console_system_robot_secret_do" "POST" "/admin/robots/{robot}/secret" SignedIn pages::robots::refresh;
    "console_system_robot_disable_do" "POST" "/admin/robots/{robot}/disable" SignedIn pages::robots::disable;
    "console_system_robot_enable_do" "POST" "/admin/robots/{robot}/enable" SignedIn pages::robots::enable;
    "console_system_robot_delete" "GET" "/admin/robots/{robot}/-/delete" SignedIn pages::robots::confirm;
    "console_system_robot_delete_do" "POST" "/admin/robots/{robot}/-/delete" SignedIn pages::robots::delete;
    "console_system_robot_edit" "GET" "/admin/robots/{robot}/-/edit" SignedIn pages::robots::edit;
    "console_system_robot_edit_do" "POST" "/admin/robots/{robot}/-/edit" SignedIn pages::robots::update;
    "console_requests" "GET" "/requests" SignedIn pages::requests::list;
    "console_request_new" "GET" "/requests/new" SignedIn pages::requests::new;
    "console_request_new_do" "POST" "/requests/new" SignedIn pages::requests::create;
    "console_request" "GET" "/requests/{request}" SignedIn pages::requests::show;
    "console_request_do" "POST" "/requests/{request}" SignedIn pages::requests::decide;
    "console_projects" "GET" "/projects" Anyone pages::projects::list;
    "console_project_new" "GET" "/projects/new" SignedIn pages::projects::new;
    "console_project_new_do" "POST" "/projects/new" SignedIn pages::projects::create;
    "console_project" "GET" "/projects/{project}" Anyone pages::overview::show;
    "console_favourite_do" "POST" "/projects/{project}/-/favourite" SignedIn pages::overview::mark;
    "console_policies" "GET" "/projects/{project}/policies" Anyone pages::policies::show;
    "console_immutable_new" "GET" "/projects/{project}/policies/immutability/new" Anyone pages::policies::new;
    "console_immutable_new_do" "POST" "/projects/{project}/policies/immutability/new" Anyone pages::policies::create;
    "console_immutable" "GET" "/projects/{project}/policies/immutability/{rule}" Anyone pages::policies::edit;
    "console_immutable_save_do" "POST" "/projects/{project}/policies/immutability/{rule}" Anyone pages::policies::update;
    "console_immutable_disable_do" "POST" "/projects/{project}/policies/immutability/{rule}/disable" Anyone pages::policies::disable;
    "console_immutable_enable_do" "POST" "/projects/{project}/policies/immutability/{rule}/enable" Anyone pages::policies::enable;
    "console_immutable_delete" "GET" "/projects/{project}/policies/immutability/{rule}/-/delete" Anyone pages::policies::confirm;
    "console_immutable_delete_do" "POST" "/projects/{project}/policies/immutability/{rule}/-/delete" Anyone pages::policies::delete;
    "console_naming" "GET" "/projects/{project}/policies/naming" Anyone pages::policies::naming::edit;
    "console_naming_do" "POST" "/projects/{project}/policies/naming" Anyone pages::policies::naming::save;
    "console_naming_report" "GET" "/projects/{project}/policies/naming/report" Anyone pages::policies::naming::report;
    "console_activity" "GET" "/projects/{project}/activity" Anyone pages::activity::show;
    "console_project_settings" "GET" "/projects/{project}/settings" Anyone pages::project_settings::show;
    "console_project_settings_do" "POST" "/projects/{project}/settings" Anyone pages::project_settings::save;
    "console_quota_do" "POST" "/projects/{project}/quota" Anyone pages::project_settings::save_quota;
    "console_project_delete" "GET" "/projects/{project}/-/delete" Anyone pages::project_settings::confirm;
    "console_project_delete_do" "POST" "/projects/{project}/-/delete" Anyone pages::project_settings::delete;
    "console_members" "GET" "/projects/{project}/members" Anyone pages::members::list;
    "console_member_add_do" "POST" "/projects/{project}/members" Anyone pages::members::add;
    "console_member_role_do" "POST" "/projects/{project}/members/-/role" Anyone pages::members::change;
    "console_member_delete" "GET" "/projects/{project}/members/-/delete" Anyone pages::members::confirm;
    "console_member_delete_do" "POST" "/projects/{project}/members/-/delete" Anyone pages::members::remove;
    "console_robots" "GET" "/projects/{project}/robots" Anyone pages::robots::list;
    "console_robot_new" "GET" "/projects/{project}/robots/-/new" Anyone pages::robots::new;
    "console_robot_new_do" "POST" "/projects/{project}/robots/-/new" Anyone pages::robots::create;
    "console_robot" "GET" "/projects/{project}/robots/{robot}" Anyone pages::robots::show;
    "console_robot_secret_do" "POST" "/projects/{project}/robots/{robot}/secret" Anyone pages::robots::refresh;
    "console_robot_disable_do" "POST" "/projects/{project}/robots/{robot}/disable" Anyone pages::robots::disable;
    "console_robot_enable_do" "POST" "/projects/{project}/robots/{robot}/enable" Anyone pages::robots::enable;
    "console_robot_delete" "GET" "/projects/{project}/robots/{robot}/-/delete" Anyone pages::robots::confirm;
    "console_robot_delete_do" "POST" "/projects/{project}/robots/{robot}/-/delete" Anyone pages::robots::delete;
    "console_robot_edit" "GET" "/projects/{project}/robots/{robot}/-/edit" SignedIn pages::robots::edit;
    "console_robot_edit_do" "POST" "/projects/{project}/robots/{robot}/-/edit" SignedIn pages::robots::update;
    "console_labels" "GET" "/projects/{project}/labels" Anyone pages::labels::list;
    "console_label_new" "GET" "/projects/{project}/labels/-/new" SignedIn pages::labels::new;
    "console_label_new_do" "POST" "/projects/{project}/labels/-/new" SignedIn pages::labels::create;
    "console_label" "GET" "/projects/{project}/labels/-/edit" SignedIn pages::labels::edit;
    "console_label_do" "POST" "/projects/{project}/labels/-/edit" SignedIn pages::labels::update;
    "console_label_delete" "GET" "/projects/{project}/labels/-/delete" SignedIn pages::labels::confirm;
    "console_label_delete_do" "POST" "/projects/{project}/labels/-/delete" SignedIn pages::labels::delete;
    "console_repositories" "GET" "/projects/{project}/repositories" Anyone pages::repositories::list;
    // Repositories; the last line takes the rest of the path as a name.
    "console_client_do" "POST" "/-/client" Anyone pages::repository::commands::choose;
    "console_tag" "GET" "/projects/{project}/repositories/{repository}/-/tags/{tag}" Anyone pages::repository::artifact::by_tag;
    "console_tags_delete" "GET" "/projects/{project}/repositories/{repository}/-/delete-tags" SignedIn pages::repository::tags::confirm;
    "console_tags_delete_do" "POST" "/projects/{project}/repositories/{repository}/-/delete-tags" SignedIn pages::repository::tags::delete;
    "console_artifacts" "GET" "/projects/{project}/repositories/{repository}/-/artifacts" Anyone pages::repository::artifacts::list;
    "console_artifact_manifest" "GET" "/projects/{project}/repositories/{repository}/-/artifacts/{digest}/manifest" Anyone pages::repository::artifact::manifest;
    "console_artifact_files" "GET" "/projects/{project}/repositories/{repository}/-/artifacts/{digest}/files" Anyone pages::repository::artifact::files;
    "console_tag_add_do" "POST" "/projects/{project}/repositories/{repository}/-/artifacts/{digest}/tags" SignedIn pages::repository::artifact::add_tag;
    "console_artifact_label_add_do" "POST" "/projects/{project}/repositories/{repository}/-/artifacts/{digest}/labels" SignedIn pages::repository::labels::add;
    "console_artifact_label_remove_do" "POST" "/projects/{project}/repositories/{repository}/-/artifacts/{digest}/labels/-/remove" SignedIn pages::repository::labels::remove;
    "console_artifact_delete" "GET" "/projects/{project}/repositories/{repository}/-/artifacts/{digest}/delete" SignedIn pages::repository::artifact::confirm;
    "console_artifact_delete_do" "POST" "/projects/{project}/repositories/{repository}/-/artifacts/{digest}/delete" SignedIn pages::repository::artifact::delete;
    "console_artifact" "GET" "/projects/{project}/repositories/{repository}/-/artifacts/{digest}" Anyone pages::repository::artifact::by_digest;
    "console_history" "GET" "/projects/{project}/repositories/{repository}/-/history" Anyone pages::repository::history::list;
    "console_restore_do" "POST" "/projects/{project}/repositories/{repository}/-/restore" SignedIn pages::repository::history::restore;
    "console_repository_about" "GET" "/projects/{project}/repositories/{repository}/-/about" Anyone pages::repository::about::show;
    "console_repository_edit" "GET" "/projects/{project}/repositories/{repository}/-/about/edit" SignedIn pages::repository::about::edit;
    "console_repository_edit_do" "POST" "/projects/{project}/repositories/{repository}/-/about/edit" SignedIn pages::repository::about::save;
    "console_repository_settings" "GET" "/projects/{project}/repositories/{repository}/-/settings" SignedIn pages::repository::settings::show;
    "console_repository_delete" "GET" "/projects/{project}/repositories/{repository}/-/delete" SignedIn pages::repository::settings::confirm;
    "console_repository_delete_do" "POST" "/projects/{project}/repositories/{repository}/-/delete" SignedIn pages::repository::settings::delete;
    "console_tags" "GET" "/projects/{project}/repositories/{repository}" Anyone pages::repository::tags::list;
}

/// Registers the table at the root, with the page for everything that is not there.
pub(crate) fn register(config: &mut web::ServiceConfig, state: &web::Data<State>) {
    let mut scope =
        web::scope("").app_data(state.clone()).route("/assets/{file}", web::get().to(assets::serve));
    let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    // Routes of one path stand together in the table.
    paths.dedup();
    for path in paths {
        let mut resource = web::resource(path.replace("{repository}", "{repository:.+}"));
        for (route, (access, handler)) in ROUTES.iter().zip(HANDLERS).filter(|(route, _)| route.path == path)
        {
            let Ok(method) = Method::from_bytes(route.method.as_bytes()) else { continue };
            resource =
                resource.route(web::method(method).to(move |request: HttpRequest, payload: web::Payload| {
                    answer(*access, *handler, request, payload)
                }));
        }
        scope = scope.service(resource.default_service(web::to(nowhere)));
    }
    config.service(scope.default_service(web::to(nowhere)));
}

async fn answer(
    access: Access,
    handler: Handler,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let mut view = match View::new(request, payload).await {
        Ok(view) => view,
        Err(failure) => return bare(&failure),
    };
    if keeps(&view) {
        return match pages::login::keep(&mut view).await {
            Ok(response) => response,
            // A form that nobody's session made, as without any.
            Err(_) if access == Access::SignedIn => view.failed(&Failure::sign_in()),
            Err(failure) => view.failed(&failure),
        };
    }
    if access == Access::SignedIn && view.signed_in.is_none() {
        return view.failed(&Failure::sign_in());
    }
    match handler(view).await {
        Ok(response) => response,
        Err(refused) => {
            let (view, failure) = *refused;
            if failure.status == StatusCode::NOT_FOUND
                && let Some(answer) = pages::paste::near(&view).await
            {
                return answer;
            }
            view.failed(&failure)
        }
    }
}

/// Whether this is a form of somebody whose session ended meanwhile. Forms that need no session are what they are.
fn keeps(view: &View) -> bool {
    let open = ["/login", "/logout", "/c/", "/-/"].iter().any(|path| view.path().starts_with(path));
    view.method() == Method::POST && view.has_lapsed() && !open
}

/// What belongs to nobody: perhaps the name of an image that somebody pasted, otherwise the page that says so.
async fn nowhere(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    if is_for_programs(request.path()) {
        return HttpResponse::NotFound().insert_header((CACHE_CONTROL, "no-store")).json(serde_json::json!({
            "errors": [{ "code": "NOT_FOUND", "message": "there is nothing at this address" }]
        }));
    }
    match View::new(request, payload).await {
        Ok(view) => pages::paste::find(&view).await,
        Err(failure) => bare(&failure),
    }
}

/// Whether programs ask there and people never do. What is meant for them and is not there, or is elsewhere as the health
/// and the metrics are, must not look like a page.
fn is_for_programs(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    ["api", "v2", "service", "metrics", "healthz", "readyz", "livez"].contains(&first)
}

/// Without a database there is nobody to show a page to.
fn bare(failure: &Failure) -> HttpResponse {
    HttpResponse::build(failure.status)
        .content_type("text/plain; charset=utf-8")
        .body("Hythe cannot show this page now. Try again in a moment.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_a_post_and_says_so() {
        for route in ROUTES {
            assert_eq!(route.method == "POST", route.id.ends_with("_do"), "{route:?}");
            assert!(["GET", "POST"].contains(&route.method), "{route:?}");
        }
    }

    #[test]
    fn names_that_take_the_rest_of_the_path_come_last() {
        for (position, route) in ROUTES.iter().enumerate() {
            if route.path.ends_with("{repository}") {
                let later = ROUTES[position..].iter().find(|later| later.path.contains("{repository}/-/"));
                assert_eq!(later, None);
            }
        }
    }
}
