//! What works and what does not, and what to do about it.

use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use askama::Template;

use crate::failure::Failure;
use crate::pages::admin::admin_shell;
use crate::platform::Room;
use crate::shell::Shell;
use crate::view::View;

/// How long one part may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Knowledge of revocations that is older decides nothing.
const FEED_AGE_MAX: Duration = Duration::from_secs(5);

/// Below this share of free room, in percent, something has to be done.
const FREE_PERCENT_MIN: u64 = 10;

/// One component.
pub(crate) struct Part {
    /// Key of its name.
    pub name: &'static str,
    /// Class of the state: `ok`, `warn` or `bad`.
    pub state: &'static str,
    milliseconds: Option<i64>,
    /// More about it, in no language.
    detail: String,
    /// Key of what to do.
    pub remedy: Option<&'static str>,
}

impl Part {
    fn new(name: &'static str, well: bool, took: Option<Duration>, remedy: &'static str) -> Self {
        Self {
            name,
            state: if well { "ok" } else { "bad" },
            milliseconds: took.map(|took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
            detail: String::new(),
            remedy: (!well).then_some(remedy),
        }
    }

    pub fn is_well(&self) -> bool {
        self.state == "ok"
    }

    pub fn state_key(&self) -> &'static str {
        match self.state {
            "ok" => "health-ok",
            "warn" => "health-warn",
            _ => "health-bad",
        }
    }
}

#[derive(Template)]
#[template(path = "admin/health.html")]
struct HealthPage {
    s: Shell,
    parts: Vec<Part>,
    version: &'static str,
}

/// Whether the part answers in time, and how long it took.
async fn timed(asking: impl Future<Output = bool>) -> (bool, Duration) {
    let start = Instant::now();
    let well = tokio::time::timeout(PATIENCE, asking).await.unwrap_or(false);
    (well, start.elapsed())
}

fn room(free: Room) -> Part {
    let percent = free.free.saturating_mul(100).checked_div(free.total).unwrap_or(100);
    let mut part = Part::new("health-room", true, None, "health-room-remedy");
    let bytes = |bytes: u64| crate::format::bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
    part.detail = format!("{} / {} ({percent} %)", bytes(free.free), bytes(free.total));
    if percent < FREE_PERCENT_MIN {
        part.state = if percent < 2 { "bad" } else { "warn" };
        part.remedy = Some("health-room-remedy");
    }
    part
}

/// Looks at every component, for system administrators.
pub(crate) async fn parts(view: &View) -> Vec<Part> {
    let tenancy = &view.state.tenancy;
    let (well, took) = timed(async { tenancy.ping().await.is_ok() }).await;
    let mut parts = vec![Part::new("health-database", well, Some(took), "health-database-remedy")];
    let fresh = view.state.identity.age() < FEED_AGE_MAX;
    parts.push(Part::new("health-feed", fresh, None, "health-feed-remedy"));
    if let Some(platform) = &view.state.platform {
        let (well, took) = timed((platform.storage_probe)()).await;
        let mut storage = Part::new("health-storage", well, Some(took), "health-storage-remedy");
        storage.detail.clone_from(&platform.storage_name);
        parts.push(storage);
        parts.extend(platform.rooms().await.into_iter().map(room));
        let (well, took) = timed(async { platform.jobs.at_work().await.is_ok() }).await;
        parts.push(Part::new("health-jobs", well, Some(took), "health-database-remedy"));
    }
    parts
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    view.sysadmin().await?;
    let parts = parts(view).await;
    let s = admin_shell(view, "admin-health", view.t("health-title"));
    view.page(&HealthPage { s, parts, version: env!("CARGO_PKG_VERSION") })
}
