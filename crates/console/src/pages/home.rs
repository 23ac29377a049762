//! Home: what the viewer works with. Visitors see what is public.

use actix_web::HttpResponse;
use askama::Template;
use tenancy::list::{Query, Value};
use tenancy::{Act, ActSelection, EndingRobot, NearlyFull, Project, ProjectId, ShownToken, Statistics};

use crate::chart::{self, Chart};
use crate::failure::Failure;
use crate::pages::admin::audit::{lost_acts, refused_logins};
use crate::pages::admin::health;
use crate::platform::Room;
use crate::shell::{Shell, segment};
use crate::view::View;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    s: Shell,
    projects: Vec<Project>,
    total: i64,
    /// What the viewer has marked, by name.
    favourites: Vec<Project>,
    statistics: Option<Statistics>,
    /// Pushes to projects whose record the viewer may read, the newest first.
    pushes: Vec<Push>,
    /// Own access tokens that end soon or have ended.
    ending: Vec<ShownToken>,
    /// Robots and projects that the viewer can do something about.
    robots: Vec<EndingRobot>,
    full: Vec<NearlyFull>,
    /// Keys of parts that do not work, with what to do. This and the rest is for system administrators.
    unwell: Vec<health::Part>,
    /// Acts that the trail knows to be lost, lately.
    lost: i64,
    rooms: Vec<Room>,
    refused: i64,
    charts: Vec<Chart>,
}

/// Days before the end at which a token wants attention.
const NEAR_DAYS: i32 = 14;

/// Percent of a limit above which a project wants attention.
const FULL_PERCENT: i64 = 90;

/// Rows of each short list.
const FEW: i64 = 8;

/// Favourites shown; the others are in the list of projects.
const FAVOURITES: i64 = 20;

impl HomePage {
    fn wants_attention(&self) -> bool {
        !self.ending.is_empty()
            || !self.robots.is_empty()
            || !self.full.is_empty()
            || !self.unwell.is_empty()
            || self.lost > 0
    }

    fn percent(&self, project: &NearlyFull) -> i64 {
        let share = i128::from(project.used) * 100 / i128::from(project.hard.max(1));
        i64::try_from(share).unwrap_or(i64::MAX)
    }

    fn robot_path(&self, robot: &EndingRobot) -> String {
        let robots =
            robot.project.as_ref().map_or("/admin".to_owned(), |name| format!("/projects/{}", segment(name)));
        format!("{robots}/robots/{}", segment(&robot.short_name))
    }
}

/// A push, with the page of the repository it went to, if that is still there.
struct Push {
    act: Act,
    path: Option<String>,
}

/// Names of artifacts are `project/repository`, with a tag or a digest behind it.
fn repository_of(act: &Act) -> &str {
    let name = act.object_name.split('@').next().unwrap_or_default();
    name.rsplit_once(':').map_or(name, |(name, _)| name)
}

async fn pushes(view: &View) -> Result<Vec<Push>, Failure> {
    let term = |key: &str, value: &str| (key.to_owned(), Value::Exact(value.to_owned()));
    let query = Query {
        terms: vec![
            term("resource_type", "artifact"),
            term("operation", "create"),
            term("operation_result", "true"),
        ],
        sort: vec![("op_time".to_owned(), true)],
        page_size: FEW,
        ..Query::default()
    };
    let readable = view.state.tenancy.trail_for(&view.caller).await?;
    let page = readable.page(ActSelection::Everything, &query).await?;
    let names: Vec<String> = page.rows.iter().map(|act| repository_of(act).to_owned()).collect();
    let projects: Vec<ProjectId> = page.rows.iter().filter_map(|act| act.project_id.map(ProjectId)).collect();
    let query = Query { terms: vec![("name".to_owned(), Value::Any(names))], ..Query::default() };
    let living = view.state.catalog.repositories.list_in(Some(&projects), &query).await?.rows;
    let path = |act: &Act| {
        let (project, name) = repository_of(act).split_once('/')?;
        let there = living.iter().any(|repository| repository.path == repository_of(act));
        there.then(|| format!("/projects/{}/repositories/{}", segment(project), segment(name)))
    };
    Ok(page.rows.into_iter().map(|act| Push { path: path(&act), act }).collect())
}

async fn ending(view: &View) -> Result<Vec<ShownToken>, Failure> {
    let permit = view.state.tenancy.tokens_permit(&view.caller, view.user()?.user.id).await?;
    let tokens = view.state.tenancy.access_token_list(&permit, 1, 100).await?.rows;
    let soon = view.now + chrono::Duration::days(NEAR_DAYS.into());
    Ok(tokens.into_iter().filter(|shown| shown.token.expires_at.is_some_and(|end| end < soon)).collect())
}

async fn favourites(view: &View) -> Result<Vec<Project>, Failure> {
    let query = Query { sort: vec![("name".to_owned(), false)], page_size: FAVOURITES, ..Query::default() };
    Ok(view.state.tenancy.favourite_list(&view.caller, &query).await?.rows)
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let query = Query { sort: vec![("update_time".to_owned(), true)], page_size: 10, ..Query::default() };
    let page = view.state.tenancy.project_list(&view.caller, &query).await?;
    let statistics = match &view.signed_in {
        Some(_) => Some(view.state.tenancy.statistics(&view.caller).await?),
        None => None,
    };
    let mut charts = Vec::new();
    let s = view.shell("home", view.t("home-title"));
    if view.caller.is_sysadmin() {
        let days = view.state.catalog.days.of_installation(chart::DAYS).await?;
        charts.extend(Chart::storage(&s, &days));
        charts.extend([Chart::pulls(&s, &days), Chart::pushes(&s, &days)]);
    }
    let mut home = HomePage {
        s,
        projects: page.rows,
        total: page.total,
        statistics,
        pushes: Vec::new(),
        favourites: Vec::new(),
        ending: Vec::new(),
        robots: Vec::new(),
        full: Vec::new(),
        unwell: Vec::new(),
        lost: 0,
        rooms: Vec::new(),
        refused: 0,
        charts,
    };
    if view.signed_in.is_some() {
        home.pushes = pushes(view).await?;
        home.ending = ending(view).await?;
        home.favourites = favourites(view).await?;
        home.full = view.state.tenancy.projects_nearly_full(&view.caller, FULL_PERCENT).await?;
        home.robots = view.state.tenancy.robots_ending(&view.caller, NEAR_DAYS).await?;
    }
    if view.caller.is_sysadmin() {
        home.refused = refused_logins(view).await?;
        home.lost = lost_acts(view).await?;
        home.unwell = health::parts(view).await;
        home.unwell.retain(|part| !part.is_well());
        if let Some(platform) = &view.state.platform {
            home.rooms = platform.rooms().await;
        }
    }
    view.page(&home)
}
