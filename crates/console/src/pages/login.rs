//! Signing in and out.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use identity::Secret;

use crate::cookies::Kind;
use crate::failure::Failure;
use crate::pages::draft::{self, Draft};
use crate::shell::Shell;
use crate::view::{View, local};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    s: Shell,
    back: String,
    name: String,
    /// What was typed into a form when the session had ended.
    draft: String,
    problem: Option<String>,
}

impl LoginPage {
    fn new(view: &View, back: &str, name: &str, problem: Option<String>) -> Self {
        Self {
            s: view.shell("login", view.t("login-title")),
            back: local(back).to_owned(),
            name: name.to_owned(),
            draft: String::new(),
            problem,
        }
    }

    fn with(self, draft: &str) -> Self {
        Self { draft: draft.to_owned(), ..self }
    }
}

/// The sign-in page in answer to a form of a session that has ended, with what was typed.
pub(crate) async fn keep(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.lapsed_form().await?;
    let draft = Draft::new(&view.here(), &form).map(|draft| draft.encode()).unwrap_or_default();
    let problem = view.t(if draft.is_empty() { "login-ended" } else { "login-ended-kept" });
    view.page_with(StatusCode::UNAUTHORIZED, &LoginPage::new(view, "/", "", Some(problem)).with(&draft))
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let back = view.query("return").unwrap_or_default();
    if view.signed_in.is_some() {
        return Ok(view.go(local(&back)));
    }
    view.page(&LoginPage::new(view, &back, "", None))
}

pub(crate) async fn sign_in(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let (name, back, draft) = (form.text("name"), form.text("return"), form.raw("draft"));
    let password = Secret::new(form.raw("password").as_bytes().to_vec());
    let idle = view.state.tenancy.settings().await?.session_minutes;
    match view.state.identity.sign_in(name, &password, idle, &view.caller.origin).await {
        Ok(session) => {
            let secret = session.secret.expose_str().unwrap_or_default().to_owned();
            enter(view, &secret).await?;
            match Draft::decode(draft) {
                Some(draft) => {
                    view.becomes(&secret).await?;
                    draft::page(view, draft)
                }
                None => Ok(view.go(local(back))),
            }
        }
        // One answer for a wrong name, a wrong password and an account that may not sign in.
        Err(identity::Error::BadCredentials | identity::Error::Disabled) => {
            let page = LoginPage::new(view, back, name, Some(view.t("login-wrong"))).with(draft);
            view.page_with(StatusCode::UNAUTHORIZED, &page)
        }
        Err(identity::Error::Throttled { retry_after_seconds }) => {
            let seconds = i64::try_from(retry_after_seconds).unwrap_or(i64::MAX);
            let problem = view.language.text("login-throttled", &[("count", seconds.into())]);
            let page = LoginPage::new(view, back, name, Some(problem)).with(draft);
            view.page_with(StatusCode::TOO_MANY_REQUESTS, &page)
        }
        Err(err) => Err(err.into()),
    }
}

/// Gives the browser its new session. The one it had ends: nobody could end it any more from there.
async fn enter(view: &mut View, secret: &str) -> Result<(), Failure> {
    if let Some(before) = &view.signed_in {
        view.state.identity.sign_out(before, &view.caller.origin).await?;
    }
    view.set(Kind::Session, secret.to_owned());
    view.unset(Kind::Form);
    Ok(())
}

/// As [`sign_in`] for programs that sign in as people do with `principal` and `password`: statuses and no pages.
pub(crate) async fn sign_in_client(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let password = Secret::new(form.raw("password").as_bytes().to_vec());
    let idle = view.state.tenancy.settings().await?.session_minutes;
    match view.state.identity.sign_in(form.text("principal"), &password, idle, &view.caller.origin).await {
        Ok(session) => {
            let secret = session.secret.expose_str().unwrap_or_default().to_owned();
            enter(view, &secret).await?;
            Ok(view.status(StatusCode::OK))
        }
        Err(identity::Error::BadCredentials | identity::Error::Disabled) => {
            Ok(view.status(StatusCode::UNAUTHORIZED))
        }
        Err(err) => Err(err.into()),
    }
}

/// Ends the session of a program. Clients that exist ask with `GET` and no token, so the one thing that is looked at is
/// whether another site made a browser do it.
pub(crate) async fn sign_out_client(view: &mut View) -> Result<HttpResponse, Failure> {
    if view.is_from_another_site() {
        return Err(Failure::stale_form());
    }
    if let Some(signed_in) = &view.signed_in {
        view.state.identity.sign_out(signed_in, &view.caller.origin).await?;
    }
    view.unset(Kind::Session);
    Ok(view.status(StatusCode::OK))
}

pub(crate) async fn sign_out(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    if let Some(signed_in) = &view.signed_in {
        view.state.identity.sign_out(signed_in, &view.caller.origin).await?;
    }
    view.unset(Kind::Session);
    Ok(view.go("/login"))
}
