//! One's own password.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use identity::Secret;

use crate::failure::Failure;
use crate::pages::me::{account_problem, me_shell};
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

#[derive(Template)]
#[template(path = "me/password.html")]
struct PasswordPage {
    s: Shell,
    name: String,
    problem: Problem,
}

impl PasswordPage {
    fn new(view: &View, problem: Problem) -> Result<Self, Failure> {
        let name = view.user()?.user.name.clone();
        Ok(Self { s: me_shell(view, "me-tab-password", "me-password-title"), name, problem })
    }
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    view.page(&PasswordPage::new(view, Problem::default())?)
}

pub(crate) async fn change(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let signed_in = view.user()?.clone();
    let secret = |name: &str| Secret::new(form.raw(name).as_bytes().to_vec());
    let changed = view
        .state
        .identity
        .session_password_change(&view.caller, &signed_in, secret("old"), secret("password"))
        .await;
    match changed {
        Ok(()) => Ok(view.done("/me/password", Told::new("told-password-changed", signed_in.user.name))),
        Err(err) => {
            let problem = account_problem(view, err.into())?;
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &PasswordPage::new(view, problem)?)
        }
    }
}
