//! Accounts of people.

pub(crate) mod one;

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use identity::{Account, NewUser, Profile, Secret, UserFilter};
use serde_json::json;
use tenancy::CreateUser;
use tenancy::list::Value;

use crate::failure::Failure;
use crate::file::{self, Format};
use crate::list::List;
use crate::pages::admin::admin_shell;
use crate::pages::me::account_problem;
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

/// Columns of the list as a file.
const FILE: [&str; 6] = ["name", "email", "realname", "sysadmin", "disabled", "creation_time"];

#[derive(Template)]
#[template(path = "admin/users.html", blocks = ["rows"])]
struct ListPage {
    s: Shell,
    l: List,
    users: Vec<Account>,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.sysadmin().await?;
    let mut l = List::of(view, &["username", "email", "-creation_time"], &["admins"]);
    let mut query = l.query("username_or_email");
    if l.filter("admins") == "1" {
        query.terms.push(("sysadmin_flag".to_owned(), Value::Exact("true".to_owned())));
    }
    if let Some(format) = Format::asked(view) {
        let held = Arc::new((view.state.tenancy.clone(), permit));
        let read = move |query| {
            let held = held.clone();
            async move {
                let filter = UserFilter { with_first: true, ..UserFilter::default() };
                let rows = held.0.user_list(&held.1, &filter, &query).await?.rows.into_iter();
                Ok(rows
                    .map(|user| {
                        vec![
                            json!(user.name),
                            json!(user.email),
                            json!(user.realname),
                            json!(user.sysadmin),
                            json!(user.disabled),
                            json!(user.created_at),
                        ]
                    })
                    .collect())
            }
        };
        return file::of(view, format, "users", &FILE, query, read).await;
    }
    let filter = UserFilter { with_first: true, ..UserFilter::default() };
    let page = view.state.tenancy.user_list(&permit, &filter, &query).await?;
    (l.total, l.files) = (page.total, true);
    let page = ListPage { s: admin_shell(view, "admin-users", view.t("users-title")), l, users: page.rows };
    view.list(&page.l, &page, &page.as_rows())
}

#[derive(Template)]
#[template(path = "admin/user_new.html")]
struct NewPage {
    s: Shell,
    name: String,
    profile: Profile,
    problem: Problem,
}

impl NewPage {
    fn new(view: &View, name: String, profile: Profile, problem: Problem) -> Self {
        let s = admin_shell(view, "admin-users", view.t("user-new-title"))
            .crumb(view.t("users-title"), "/admin/users");
        Self { s, name, profile, problem }
    }
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    view.sysadmin().await?;
    let profile = Profile { email: String::new(), realname: String::new(), comment: String::new() };
    view.page(&NewPage::new(view, String::new(), profile, Problem::default()))
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.state.tenancy.system_permit::<CreateUser>(&view.caller, None).await?;
    let (name, profile) = (form.text("name").to_owned(), one::profile(&form));
    let new = NewUser {
        name: name.clone(),
        email: profile.email.clone(),
        realname: profile.realname.clone(),
        comment: profile.comment.clone(),
        password: Secret::new(form.raw("password").as_bytes().to_vec()),
    };
    match view.state.tenancy.user_create(&permit, new).await {
        Ok(_) => Ok(view.done(&one::path(&name), Told::new("told-user-created", name))),
        Err(err) => {
            let problem = account_problem(view, err)?;
            let page = NewPage::new(view, name, profile, problem);
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
