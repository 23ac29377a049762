//! Who one is.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use identity::Profile;
use tenancy::{ReadUser, UpdateUser};

use crate::failure::Failure;
use crate::pages::me::{account_problem, me_shell};
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

#[derive(Template)]
#[template(path = "me/profile.html")]
struct ProfilePage {
    s: Shell,
    name: String,
    profile: Profile,
    problem: Problem,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let id = view.user()?.user.id;
    let permit = view.state.tenancy.user_permit::<ReadUser>(&view.caller, id).await?;
    let account = view.state.tenancy.user_get(&permit).await?;
    let profile = Profile { email: account.email, realname: account.realname, comment: account.comment };
    let s = me_shell(view, "me-tab-profile", "me-profile-title");
    view.page(&ProfilePage { s, name: account.name, profile, problem: Problem::default() })
}

pub(crate) async fn change(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let (id, name) = view.user().map(|signed_in| (signed_in.user.id, signed_in.user.name.clone()))?;
    let profile = Profile {
        email: form.text("email").to_owned(),
        realname: form.text("realname").to_owned(),
        comment: form.text("comment").to_owned(),
    };
    let changed = async {
        let permit = view.state.tenancy.user_permit::<UpdateUser>(&view.caller, id).await?;
        view.state.tenancy.user_update(&permit, profile.clone()).await
    };
    match changed.await {
        Ok(()) => Ok(view.done("/me", Told::new("told-profile-saved", name))),
        Err(err) => {
            let problem = account_problem(view, err)?;
            let s = me_shell(view, "me-tab-profile", "me-profile-title");
            let page = ProfilePage { s, name, profile, problem };
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
