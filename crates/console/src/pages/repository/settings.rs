//! A repository as a whole: what it holds, and deleting it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use catalog::Repository;
use tenancy::{DeleteRepository, Permit};

use super::{address, listed, repository_shell, title};
use crate::failure::Failure;
use crate::shell::{Shell, Told, segment};
use crate::view::View;

/// With more tags than this, the name has to be typed.
const TAGS_WITHOUT_NAME: i64 = 10;

#[derive(Template)]
#[template(path = "repository/settings.html")]
struct SettingsPage {
    s: Shell,
    base: String,
    repository: Repository,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<DeleteRepository>().await?;
    let name = view.repository(&permit)?;
    let repository = listed(view, &name).await?;
    let s = repository_shell(
        view,
        &permit,
        &name,
        "repository-tab-settings",
        title(view, "repository-tab-settings", &name),
    );
    view.page(&SettingsPage { s, base: address(name.as_str()), repository })
}

#[derive(Template)]
#[template(path = "repository/delete.html")]
struct DeletePage {
    s: Shell,
    base: String,
    repository: Repository,
    /// What has to be typed.
    typed: Option<String>,
    problem: Option<String>,
}

async fn page(
    view: &View,
    permit: &Permit<DeleteRepository>,
    problem: Option<String>,
) -> Result<DeletePage, Failure> {
    let name = view.repository(permit)?;
    let repository = listed(view, &name).await?;
    let s = repository_shell(
        view,
        permit,
        &name,
        "repository-tab-settings",
        title(view, "repository-delete-title", &name),
    );
    let typed = (repository.tag_count > TAGS_WITHOUT_NAME).then(|| repository.path.clone());
    Ok(DeletePage { s, base: address(name.as_str()), repository, typed, problem })
}

pub(crate) async fn confirm(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<DeleteRepository>().await?;
    view.page(&page(view, &permit, None).await?)
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<DeleteRepository>().await?;
    let name = view.repository(&permit)?;
    let shown = page(view, &permit, None).await?;
    if shown.typed.as_deref().is_some_and(|typed| typed != form.text("name")) {
        let problem = Some(view.t("repository-delete-mistyped"));
        return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &DeletePage { problem, ..shown });
    }
    let deleted = async {
        view.state.tenancy.require_writable().await?;
        view.state.catalog.repositories.delete(&permit, &name).await
    }
    .await;
    match deleted {
        Ok(()) => {
            let list = format!("/projects/{}/repositories", segment(permit.name.as_str()));
            Ok(view.done(&list, Told::new("told-repository-deleted", name.to_string())))
        }
        Err(catalog::Error::TagImmutable { tag, .. }) => {
            let problem = view.language.text("repository-delete-immutable", &[("name", tag.into())]);
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &DeletePage { problem: Some(problem), ..shown })
        }
        Err(err) => {
            let failure = Failure::from(err);
            if !failure.is_about_input() {
                return Err(failure);
            }
            let page = DeletePage { problem: Some(failure.detail), ..shown };
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
