//! One account: what it is, what it may, what it holds, and its end.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use identity::{Account, Profile, Secret, Session};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tenancy::list::{Query, Value};
use tenancy::{DeleteUser, ShownToken, UpdateUser};

use crate::failure::Failure;
use crate::form::Form;
use crate::pages::admin::admin_shell;
use crate::pages::me::account_problem;
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

/// The first administrator cannot be deleted.
const FIRST: i64 = 1;

/// An account has no more tokens.
const TOKENS_MAX: i64 = 100;

/// The page of an account.
pub(crate) fn path(name: &str) -> String {
    format!("/admin/users/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

pub(super) fn profile(form: &Form) -> Profile {
    Profile {
        email: form.text("email").to_owned(),
        realname: form.text("realname").to_owned(),
        comment: form.text("comment").to_owned(),
    }
}

#[derive(Template)]
#[template(path = "admin/user.html")]
struct UserPage {
    s: Shell,
    path: String,
    account: Account,
    profile: Profile,
    problem: Problem,
    sessions: Vec<Session>,
    tokens: Vec<ShownToken>,
    /// It is the viewer's own, whose rights and password are not changed from here.
    own: bool,
    deletable: bool,
}

impl UserPage {
    async fn new(
        view: &View,
        account: Account,
        typed: Option<Profile>,
        problem: Problem,
    ) -> Result<Self, Failure> {
        let sessions = view.state.identity.sessions_of(account.id).await?;
        let permit = view.state.tenancy.tokens_permit(&view.caller, account.id).await?;
        let tokens = view.state.tenancy.access_token_list(&permit, 1, TOKENS_MAX).await?.rows;
        let own = view.user()?.user.id == account.id;
        let s = admin_shell(view, "admin-users", account.name.clone())
            .crumb(view.t("users-title"), "/admin/users");
        let profile = typed.unwrap_or_else(|| Profile {
            email: account.email.clone(),
            realname: account.realname.clone(),
            comment: account.comment.clone(),
        });
        let deletable = !own && account.id.0 != FIRST;
        Ok(Self { s, path: path(&account.name), account, profile, problem, sessions, tokens, own, deletable })
    }
}

/// The account that the path names, for system administrators.
async fn target(view: &View) -> Result<Account, Failure> {
    view.sysadmin().await?;
    view.state.identity.user_by_name(&view.segment("user")).await?.ok_or_else(Failure::hidden)
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let account = target(view).await?;
    view.page(&UserPage::new(view, account, None, Problem::default()).await?)
}

/// On to the page of the account, or the page again with what is wrong.
async fn answered(
    view: &mut View,
    account: Account,
    typed: Option<Profile>,
    result: Result<(), tenancy::Error>,
    told: &str,
) -> Result<HttpResponse, Failure> {
    match result {
        Ok(()) => Ok(view.done(&path(&account.name), Told::new(told, account.name))),
        Err(err) => {
            let problem = match &err {
                tenancy::Error::Identity(identity::Error::LastAdministrator) => {
                    Problem::new("rights", view.t("user-last-administrator"))
                }
                _ => account_problem(view, err)?,
            };
            let page = UserPage::new(view, account, typed, problem).await?;
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

pub(crate) async fn change(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let account = target(view).await?;
    let typed = profile(&form);
    let permit = view.state.tenancy.user_permit::<UpdateUser>(&view.caller, account.id).await?;
    let changed = view.state.tenancy.user_update(&permit, typed.clone()).await;
    answered(view, account, Some(typed), changed, "told-profile-saved").await
}

pub(crate) async fn set_rights(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let account = target(view).await?;
    let sysadmin = form.text("sysadmin") == "1";
    let set = view.state.tenancy.user_sysadmin_set(&view.caller, account.id, sysadmin).await;
    let told = if sysadmin { "told-user-promoted" } else { "told-user-demoted" };
    answered(view, account, None, set, told).await
}

pub(crate) async fn set_disabled(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let account = target(view).await?;
    let disabled = form.text("disabled") == "1";
    let set = view.state.identity.user_disable(&view.caller, account.id, disabled).await;
    let told = if disabled { "told-user-disabled" } else { "told-user-enabled" };
    answered(view, account, None, set.map_err(Into::into), told).await
}

pub(crate) async fn set_password(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let account = target(view).await?;
    let permit = view.state.tenancy.user_permit::<UpdateUser>(&view.caller, account.id).await?;
    let new = Secret::new(form.raw("password").as_bytes().to_vec());
    let set = view.state.tenancy.user_password_set(&permit, None, new).await;
    answered(view, account, None, set, "told-user-password").await
}

pub(crate) async fn end_sessions(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let account = target(view).await?;
    let ended = view.state.identity.user_sessions_end(&view.caller, account.id).await?;
    let told = Told::new("told-sessions-ended", "").count(i64::try_from(ended).unwrap_or(i64::MAX));
    Ok(view.done(&path(&account.name), told))
}

pub(crate) async fn end_token(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let account = target(view).await?;
    let id = form.text("token").parse().map_err(|_| Failure::hidden())?;
    let permit = view.state.tenancy.tokens_permit(&view.caller, account.id).await?;
    view.state.tenancy.access_token_delete(&permit, id).await?;
    Ok(view.done(&path(&account.name), Told::new("told-user-token-deleted", account.name)))
}

#[derive(Template)]
#[template(path = "admin/user_delete.html")]
struct DeletePage {
    s: Shell,
    path: String,
    account: Account,
    sessions: i64,
    tokens: i64,
    projects: i64,
    problem: Problem,
}

impl DeletePage {
    async fn new(view: &View, account: Account, problem: Problem) -> Result<Self, Failure> {
        let sessions = view.state.identity.sessions_of(account.id).await?.len();
        let permit = view.state.tenancy.tokens_permit(&view.caller, account.id).await?;
        let tokens = view.state.tenancy.access_token_list(&permit, 1, TOKENS_MAX).await?.rows.len();
        let owned = Query {
            terms: vec![("owner".to_owned(), Value::Exact(account.name.clone()))],
            page_size: 1,
            ..Query::default()
        };
        let projects = view.state.tenancy.project_list(&view.caller, &owned).await?.total;
        let path = path(&account.name);
        let s = admin_shell(
            view,
            "admin-users",
            view.language.text("user-delete-title", &[("name", (&account.name).into())]),
        )
        .crumb(view.t("users-title"), "/admin/users")
        .crumb(account.name.clone(), path.clone());
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (sessions, tokens) = (count(sessions), count(tokens));
        Ok(Self { s, path, account, sessions, tokens, projects, problem })
    }
}

pub(crate) async fn ask_delete(view: &mut View) -> Result<HttpResponse, Failure> {
    let account = target(view).await?;
    view.page(&DeletePage::new(view, account, Problem::default()).await?)
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let account = target(view).await?;
    let problem = if form.text("name") == account.name {
        let permit = view.state.tenancy.system_permit::<DeleteUser>(&view.caller, Some(account.id.0)).await?;
        match view.state.tenancy.user_delete(&permit, account.id).await {
            Ok(()) => return Ok(view.done("/admin/users", Told::new("told-user-deleted", account.name))),
            Err(err) => Problem::of("name", err.into())?,
        }
    } else {
        Problem::new("name", view.t("typed-name-differs"))
    };
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &DeletePage::new(view, account, problem).await?)
}
