//! Settings of a project, and its end.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use catalog::Removal;
use tenancy::list::Query;
use tenancy::{DeleteProject, Error, ListTags, Permit, ProjectUpdate, ReadProject, Summary, UpdateProject};

use crate::failure::Failure;
use crate::pages::projects::project_shell;
use crate::problem::Problem;
use crate::shell::{Shell, Told, segment};
use crate::size;
use crate::view::View;

#[derive(Template)]
#[template(path = "projects/settings.html")]
struct SettingsPage {
    s: Shell,
    base: String,
    name: String,
    public: bool,
    /// As typed, for those who may set it.
    quota: Option<String>,
    p: Problem,
}

impl SettingsPage {
    async fn new(
        view: &View,
        permit: &Permit<UpdateProject>,
        typed: Option<String>,
        p: Problem,
    ) -> Result<Self, Failure> {
        let read = view.permit::<ReadProject>().await?;
        let project = view.state.tenancy.project_get(&read).await?;
        let quota = if view.caller.is_sysadmin() {
            let stored = view.state.tenancy.quota_get(permit.project).await?;
            typed.or_else(|| Some(size::written(stored.map_or(-1, |quota| quota.hard))))
        } else {
            None
        };
        let s = project_shell(view, permit, "project-tab-settings", view.t("project-settings-title"));
        Ok(Self { s, base: base(permit), name: project.name, public: project.public, quota, p })
    }
}

fn base<A>(permit: &Permit<A>) -> String {
    format!("/projects/{}", segment(permit.name.as_str()))
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<UpdateProject>().await?;
    view.page(&SettingsPage::new(view, &permit, None, Problem::default()).await?)
}

pub(crate) async fn save(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<UpdateProject>().await?;
    let update =
        ProjectUpdate { public: Some(form.text("visibility") == "public"), ..ProjectUpdate::default() };
    view.state.tenancy.project_update(&permit, &update).await?;
    let told = Told::new("told-project-saved", permit.name.to_string());
    Ok(view.done(&format!("{}/settings", base(&permit)), told))
}

pub(crate) async fn save_quota(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<UpdateProject>().await?;
    if !view.caller.is_sysadmin() {
        return Err(Failure::hidden());
    }
    let Some(bytes) = size::parse(form.text("quota")) else {
        let typed = Some(form.text("quota").to_owned());
        let problem = Problem::new("quota", view.t("quota-wrong"));
        let page = SettingsPage::new(view, &permit, typed, problem).await?;
        return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    };
    view.state.tenancy.quota_set(&view.caller, permit.project.0, bytes).await?;
    let told = Told::new("told-quota-saved", permit.name.to_string());
    Ok(view.done(&format!("{}/settings", base(&permit)), told))
}

#[derive(Template)]
#[template(path = "projects/delete.html")]
struct DeletePage {
    s: Shell,
    base: String,
    name: String,
    summary: Summary,
    tags: i64,
    typed: String,
    p: Problem,
}

impl DeletePage {
    async fn new(
        view: &View,
        permit: &Permit<DeleteProject>,
        typed: String,
        p: Problem,
    ) -> Result<Self, Failure> {
        let read = view.permit::<ReadProject>().await?;
        let list = view.permit::<ListTags>().await?;
        let summary = view.state.tenancy.project_summary(&read).await?;
        let one = Query { page_size: 1, ..Query::default() };
        let tags = view.state.catalog.history.project_tags(&list, &one).await?.total;
        let name = permit.name.to_string();
        let title = view.language.text("project-delete-title", &[("name", name.as_str().into())]);
        let s = project_shell(view, permit, "project-tab-settings", title);
        Ok(Self { s, base: base(permit), name, summary, tags, typed, p })
    }
}

pub(crate) async fn confirm(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<DeleteProject>().await?;
    view.page(&DeletePage::new(view, &permit, String::new(), Problem::default()).await?)
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<DeleteProject>().await?;
    let typed = form.text("name").to_owned();
    let name = permit.name.to_string();
    let problem = if typed != name {
        Problem::new("name", view.language.text("project-delete-mismatch", &[("name", name.as_str().into())]))
    } else {
        view.state.tenancy.require_writable().await?;
        // The form says whether it told of content: what came meanwhile is not deleted unseen.
        if form.ticked("content") {
            match view.state.catalog.removals.start(&permit).await {
                Ok(job) => {
                    return Ok(
                        view.done(&format!("/deletions/{job}"), Told::new("told-project-deleting", name))
                    );
                }
                Err(catalog::Error::TagImmutable { .. }) => {
                    Problem::new("name", view.t("project-delete-immutable"))
                }
                Err(err) => Problem::of("name", err.into())?,
            }
        } else {
            match view.state.tenancy.project_delete(&permit).await {
                Ok(()) => return Ok(view.done("/projects", Told::new("told-project-deleted", name))),
                Err(Error::NotEmpty) => Problem::new("name", view.t("project-delete-not-empty")),
                Err(err) => Problem::of("name", err.into())?,
            }
        }
    };
    let page = DeletePage::new(view, &permit, typed, problem).await?;
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

#[derive(Template)]
#[template(path = "projects/deletion.html", blocks = ["rows"])]
struct DeletionPage {
    s: Shell,
    job: Removal,
}

impl DeletionPage {
    fn finished(&self) -> bool {
        self.job.finished_at.is_some()
    }

    /// Key and class of the badge.
    fn badge(&self) -> (&'static str, &'static str) {
        match self.job.state.as_str() {
            "queued" => ("removal-queued", ""),
            "running" => ("removal-running", "info"),
            "retrying" => ("removal-retrying", "warn"),
            "done" => ("removal-done", "ok"),
            "failed" => ("removal-failed", "bad"),
            _ => ("removal-stopped", ""),
        }
    }
}

/// How far a deletion is. The page, or its part, comes again by itself until the job is finished.
pub(crate) async fn deletion(view: &mut View) -> Result<HttpResponse, Failure> {
    let job = view.state.catalog.removals.find(&view.caller, view.number("job")?).await?;
    let page = DeletionPage { s: view.shell("projects", view.t("removal-title")), job };
    view.part(&page, &page.as_rows())
}
