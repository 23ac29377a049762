//! Work in the background, for system administrators.

use actix_web::HttpResponse;
use askama::Template;
use queue::{Filter, Record};

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
}

impl JobPage {
    fn finished(&self) -> bool {
        self.job.finished_at.is_some()
    }

    fn state(&self, name: &str) -> (&'static str, &'static str) {
        state(name)
    }
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let platform = platform(view).await?;
    let job = platform.jobs.get(view.number("job")?).await.map_err(failed)?.ok_or_else(Failure::hidden)?;
    let s = view
        .shell("jobs", format!("{} {}", job.kind, job.id))
        .crumb(view.t("admin-title"), "/admin")
        .crumb(view.t("jobs-title"), "/admin/jobs");
    let page = JobPage { s, job };
    view.part(&page, &page.as_rows())
}
