//! Where one is signed in.

use actix_web::HttpResponse;
use askama::Template;
use identity::{Ended, Session};
use uuid::Uuid;

use crate::failure::Failure;
use crate::pages::me::me_shell;
use crate::shell::{Shell, Told};
use crate::view::View;

#[derive(Template)]
#[template(path = "me/sessions.html")]
struct SessionsPage {
    s: Shell,
    sessions: Vec<Session>,
    current: Uuid,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let signed_in = view.user()?;
    let sessions = view.state.identity.sessions_of(signed_in.user.id).await?;
    let current = signed_in.session;
    view.page(&SessionsPage { s: me_shell(view, "me-tab-sessions", "me-sessions-title"), sessions, current })
}

pub(crate) async fn end(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let signed_in = view.user()?.clone();
    let which = match form.text("session") {
        "others" => Ended::AllBut(signed_in.session),
        id => Ended::One(id.parse().map_err(|_| Failure::hidden())?),
    };
    let ended = view.state.identity.sessions_end(&signed_in.user, which, &view.caller.origin).await?;
    let told = Told::new("told-sessions-ended", "").count(i64::try_from(ended).unwrap_or(i64::MAX));
    Ok(view.done("/me/sessions", told))
}
