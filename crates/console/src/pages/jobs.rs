//! Work in the background: the list for system administrators, and one job for whoever asked for it, too.

use actix_web::HttpResponse;
use askama::Template;
use queue::{Filter, Job, Record};

use crate::failure::Failure;
use crate::platform::Platform;
use crate::shell::Shell;
use crate::view::View;

/// Jobs on one page.
const PAGE: i64 = 50;

const STATES: [(&str, &str, &str); 7] = [
    ("queued", "job-queued", ""),
    ("running", "job-running", "info"),
    ("retrying", "job-retrying", "warn"),
    ("stopping", "job-stopping", "warn"),
    ("done", "job-done", "ok"),
    ("failed", "job-failed", "bad"),
    ("stopped", "job-stopped", ""),
];

/// Key of the name of a state, and the class of its badge.
fn state(name: &str) -> (&'static str, &'static str) {
    STATES
        .iter()
        .find(|(state, ..)| *state == name)
        .map_or(("job-queued", ""), |(_, key, class)| (key, class))
}

/// The jobs, for those who may see them.
async fn platform(view: &View) -> Result<Platform, Failure> {
    view.sysadmin().await?;
    view.state.platform.clone().ok_or_else(Failure::hidden)
}

fn failed(err: impl std::error::Error + 'static) -> Failure {
    Failure::internal(&err)
}

#[derive(Template)]
#[template(path = "jobs/list.html")]
struct ListPage {
    s: Shell,
    jobs: Vec<Record>,
    states: [(&'static str, &'static str, &'static str); 7],
    chosen: String,
    /// The id below which the next page begins.
    next: Option<i64>,
}

impl ListPage {
    fn state(&self, name: &str) -> (&'static str, &'static str) {
        state(name)
    }
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let platform = platform(view).await?;
    let chosen = view.query("state").unwrap_or_default();
    let known = STATES.iter().any(|(state, ..)| *state == chosen);
    let filter = Filter { kind: None, state: known.then(|| chosen.clone()) };
    let before = view.query("before").and_then(|text| text.parse().ok());
    let mut jobs = platform.jobs.list(&filter, before, PAGE + 1).await.map_err(failed)?;
    let more = jobs.len() > PAGE as usize;
    jobs.truncate(PAGE as usize);
    let next = if more { jobs.last().map(|job| job.id) } else { None };
    let s = view.shell("jobs", view.t("jobs-title")).crumb(view.t("admin-title"), "/admin");
    view.page(&ListPage { s, jobs, states: STATES, chosen, next })
}

#[derive(Template)]
#[template(path = "jobs/one.html", blocks = ["rows"])]
struct JobPage {
    s: Shell,
    job: Record,
    /// It deletes a project.
    removal: bool,
    /// The viewer administers the installation, and sees how the job works inside.
    inside: bool,
}

impl JobPage {
    fn finished(&self) -> bool {
        self.job.finished_at.is_some()
    }

    fn state(&self, name: &str) -> (&'static str, &'static str) {
        state(name)
    }
}

/// How far a job is, for whoever asked for it and for administrators. The page comes again by itself until the job is
/// finished.
pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let platform = view.state.platform.clone().ok_or_else(Failure::hidden)?;
    let job = platform.jobs.get(view.number("job")?).await.map_err(failed)?.ok_or_else(Failure::hidden)?;
    let inside = view.caller.is_sysadmin();
    if !inside && !catalog::removal_is_for(&job, &view.caller) {
        return Err(Failure::hidden());
    }
    let removal = job.kind == catalog::RemoveProject::KIND;
    let title = if removal { view.t("removal-title") } else { format!("{} {}", job.kind, job.id) };
    let mut s = view.shell(if inside { "jobs" } else { "projects" }, title);
    if inside {
        s = s.crumb(view.t("admin-title"), "/admin").crumb(view.t("jobs-title"), "/admin/jobs");
    }
    let page = JobPage { s, job, removal, inside };
    view.part(&page, &page.as_rows())
}
