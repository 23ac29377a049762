//! What a repository is, in the words of its people.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use oci::RepositoryName;
use tenancy::roles::{Action, Resource};
use tenancy::{ListRepositories, Permit, UpdateRepository};

use super::{address, listed, repository_shell, title};
use crate::clash::{Change, Clash};
use crate::failure::Failure;
use crate::markdown;
use crate::shell::{Shell, Told};
use crate::view::View;

/// As the API takes it.
const BYTES_MAX: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "repository/about.html")]
struct AboutPage {
    s: Shell,
    base: String,
    name: String,
    /// Safe to show as it is.
    html: String,
    may_edit: bool,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListRepositories>().await?;
    let name = view.repository(&permit)?;
    let repository = listed(view, &name).await?;
    view.page(&AboutPage {
        s: repository_shell(
            view,
            &permit,
            &name,
            "repository-tab-about",
            title(view, "repository-tab-about", &name),
        ),
        base: address(name.as_str()),
        name: name.to_string(),
        html: markdown::render(&repository.description),
        may_edit: permit.rights().allow(Resource::Repository, Action::Update),
    })
}

#[derive(Template)]
#[template(path = "repository/edit.html")]
struct EditPage {
    s: Shell,
    base: String,
    description: String,
    clash: Clash,
    problem: Option<String>,
}

impl EditPage {
    fn new<A>(
        view: &View,
        permit: &Permit<A>,
        name: &RepositoryName,
        description: String,
        clash: Clash,
        problem: Option<String>,
    ) -> Self {
        let s = repository_shell(
            view,
            permit,
            name,
            "repository-tab-about",
            title(view, "repository-edit-title", name),
        );
        Self { s, base: address(name.as_str()), description, clash, problem }
    }
}

fn changes(view: &View, stored: &str, typed: &str) -> Vec<Change> {
    vec![Change::new(view.t("repository-description"), stored, typed)]
}

pub(crate) async fn edit(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<UpdateRepository>().await?;
    let name = view.repository(&permit)?;
    let description = listed(view, &name).await?.description;
    let clash = Clash::none(&changes(view, &description, &description));
    view.page(&EditPage::new(view, &permit, &name, description, clash, None))
}

pub(crate) async fn save(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<UpdateRepository>().await?;
    let name = view.repository(&permit)?;
    // Browsers send line ends of the network.
    let description = form.raw("description").replace("\r\n", "\n");
    let stored = listed(view, &name).await?.description;
    let clash = Clash::of(&form, changes(view, &stored, &description));
    if clash.is() {
        let page = EditPage::new(view, &permit, &name, description, clash, None);
        return view.page_with(StatusCode::CONFLICT, &page);
    }
    if description.len() > BYTES_MAX {
        let kib = (BYTES_MAX / 1024) as i64;
        let problem = view.language.text("repository-edit-long", &[("count", kib.into())]);
        let page = EditPage::new(view, &permit, &name, description, clash, Some(problem));
        return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    let base = address(name.as_str());
    view.state.catalog.repositories.describe(&permit, &name, &description).await?;
    Ok(view.done(&format!("{base}/-/about"), Told::new("told-repository-described", name.to_string())))
}
