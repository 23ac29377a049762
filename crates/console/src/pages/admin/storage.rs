//! What is stored, and by whom.

use actix_web::HttpResponse;
use askama::Template;
use catalog::{Day, Repository};
use tenancy::list::Query;
use tenancy::{ProjectQuota, Statistics};

use crate::chart::{self, Chart};
use crate::failure::Failure;
use crate::list::List;
use crate::pages::admin::admin_shell;
use crate::platform::Room;
use crate::shell::Shell;
use crate::view::View;

/// Projects shown; the others are in the list of limits.
const PROJECTS: i64 = 10;

#[derive(Template)]
#[template(path = "admin/storage.html", blocks = ["rows"])]
struct StoragePage {
    s: Shell,
    l: List,
    statistics: Statistics,
    store: String,
    rooms: Vec<Room>,
    chart: Option<Chart>,
    /// Days until there is no room left, if it goes on like this.
    full_in: Option<i64>,
    projects: Vec<ProjectQuota>,
    /// With the project and the name inside it.
    repositories: Vec<(String, String, Repository)>,
}

/// Days that have to be known before anything is said about those to come.
const KNOWN_MIN: usize = 7;

/// Nobody plans further ahead, and nothing grows evenly for so long.
const AHEAD_MAX: f64 = 1_000.0;

/// Days until `free` bytes are used up if the use goes on growing as it did: the slope of the straight line that is
/// nearest to all days known. Nothing while it does not grow.
fn full_in(days: &[Day], free: i64) -> Option<i64> {
    let known: Vec<(f64, f64)> =
        days.iter().enumerate().filter_map(|(at, day)| Some((at as f64, day.used? as f64))).collect();
    if known.len() < KNOWN_MIN {
        return None;
    }
    let count = known.len() as f64;
    let middle = known.iter().map(|(at, _)| at).sum::<f64>() / count;
    let usual = known.iter().map(|(_, used)| used).sum::<f64>() / count;
    let growth: f64 = known.iter().map(|(at, used)| (at - middle) * (used - usual)).sum();
    let spread: f64 = known.iter().map(|(at, _)| (at - middle).powi(2)).sum();
    let ahead = free as f64 / (growth / spread);
    (growth > 0.0 && ahead < AHEAD_MAX).then_some(ahead.round() as i64)
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    view.sysadmin().await?;
    view.state.tenancy.require_volumes(&view.caller).await?;
    let statistics = view.state.tenancy.statistics(&view.caller).await?;
    let (store, rooms) = match &view.state.platform {
        Some(platform) => (platform.storage_name.clone(), platform.rooms().await),
        None => (String::new(), Vec::new()),
    };
    let s = admin_shell(view, "admin-storage", view.t("storage-title"));
    let days = view.state.catalog.days.of_installation(chart::DAYS).await?;
    // Places that are filled together are as full as the fullest of them.
    let full_in = rooms.iter().map(Room::free_bytes).min().and_then(|free| full_in(&days, free));
    let chart = Chart::storage(&s, &days);
    let most =
        Query { sort: vec![("used.storage".to_owned(), true)], page_size: PROJECTS, ..Query::default() };
    let projects = view.state.tenancy.quota_list(&view.caller, None, &most).await?.rows;
    let mut l = List::of(view, &["-size", "name", "-artifact_count"], &[]);
    let page = view.state.catalog.repositories.list_in(None, &l.query("name")).await?;
    l.total = page.total;
    let repositories = page.rows.into_iter().map(|row| {
        let (project, name) = row.path.split_once('/').unwrap_or((row.path.as_str(), ""));
        (project.to_owned(), name.to_owned(), row)
    });
    let repositories = repositories.collect();
    let page = StoragePage { s, l, statistics, store, rooms, chart, full_in, projects, repositories };
    view.list(&page.l, &page, &page.as_rows())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_foreseen_while_the_use_grows() {
        let days = |used: &[Option<i64>]| -> Vec<Day> {
            let day = chrono::NaiveDate::default();
            used.iter().map(|used| Day { day, used: *used, pulls: 0, pushes: 0 }).collect()
        };
        let growing: Vec<_> = (0..30).map(|day| Some(1_000 + day * 10)).collect();
        assert_eq!(full_in(&days(&growing), 410), Some(41));
        assert_eq!(full_in(&days(&growing), 0), Some(0));
        let mut gaps = growing.clone();
        gaps[3..20].fill(None);
        assert_eq!(full_in(&days(&gaps), 410), Some(41));
        let shrinking: Vec<_> = growing.iter().rev().copied().collect();
        let steps = [0, 9, 0, 12, 0, 8, 2, 10].map(|step| Some(step * 100));
        assert!(full_in(&days(&steps), 1_000).is_some_and(|ahead| (10..40).contains(&ahead)));
        for (why, used) in
            [("none known", vec![None; 30]), ("constant", vec![Some(5); 30]), ("shrinks", shrinking)]
        {
            assert_eq!(full_in(&days(&used), 410), None, "{why}");
        }
        assert_eq!(full_in(&days(&growing[..6]), 410), None, "too few days");
        assert_eq!(full_in(&days(&growing), i64::MAX), None, "too far ahead");
    }
}
