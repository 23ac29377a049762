//! Robots: accounts of programs, of one project or of the installation. Both have the same pages, at two places.
//!
//! A secret is in one answer and nowhere else. That answer comes to a `POST`; sent once more, the form is refused,
//! because the name is taken or because the robot was changed since the form was made.

mod form;
mod rights;

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::json;
use tenancy::list::{Query, Value};
use tenancy::roles::{Action, Resource};
use tenancy::{
    DeleteRobot, ListRobots, ProjectId, Robot, RobotInput, RobotPermission, RobotPermit, UpdateRobot,
};

use crate::failure::Failure;
use crate::file::{self, Format};
use crate::list::List;
use crate::pages::projects::project_shell;
use crate::problem::Problem;
use crate::shell::{Shell, Told, segment};
use crate::view::View;

pub(crate) use self::form::{create, edit, new, update};
use self::rights::{action_key, resource_key};

/// Columns of the list as a file.
const FILE: [&str; 7] =
    ["name", "description", "disabled", "expires_at", "last_used_at", "last_used_address", "creation_time"];

/// Days before its end from which a robot is said to end soon.
const SOON_DAYS: i64 = 14;

/// Whose robots the pages are about.
struct Place {
    /// Nothing for robots of the installation.
    project: Option<(ProjectId, String)>,
    base: String,
    /// The frame of the pages, with the title of the list.
    shell: Shell,
    may_create: bool,
    may_update: bool,
    may_delete: bool,
}

impl Place {
    /// Robots of the project of the path, or of the installation when it names none.
    async fn of(view: &View) -> Result<Self, Failure> {
        let title = view.t("robots-title");
        if view.segment("project").is_empty() {
            if !view.caller.is_sysadmin() {
                return Err(Failure::hidden());
            }
            let shell = view.shell("robots", title);
            let base = "/admin/robots".to_owned();
            return Ok(Self {
                project: None,
                base,
                shell,
                may_create: true,
                may_update: true,
                may_delete: true,
            });
        }
        let permit = view.permit::<ListRobots>().await?;
        let may = |action| permit.rights().allow(Resource::Robot, action);
        let name = permit.name.to_string();
        Ok(Self {
            base: format!("/projects/{}/robots", segment(&name)),
            shell: project_shell(view, &permit, "project-tab-robots", title),
            may_create: may(Action::Create),
            may_update: may(Action::Update),
            may_delete: may(Action::Delete),
            project: Some((permit.project, name)),
        })
    }

    /// The frame of a page below the list.
    fn below(self, title: String) -> Shell {
        let mut shell = self.shell;
        if self.project.is_none() {
            let (list, base) = (shell.title.clone(), self.base);
            shell = shell.crumb(list, base);
        }
        shell.title = title;
        shell
    }

    fn id(&self) -> Option<ProjectId> {
        self.project.as_ref().map(|(id, _)| *id)
    }

    /// The name without the project's, as paths of pages have it; from the name for shells.
    fn short(&self, name: &str) -> String {
        let stored = name.split_once('+').map_or(name, |(_, stored)| stored);
        let project = self.project.as_ref().map(|(_, name)| format!("{name}+")).unwrap_or_default();
        stored.strip_prefix(&project).unwrap_or(stored).to_owned()
    }

    /// The robot of the path.
    async fn robot(&self, view: &View) -> Result<Robot, Failure> {
        let short = view.segment("robot");
        let stored = match &self.project {
            Some((_, project)) => format!("{project}+{short}"),
            None => short,
        };
        let query = Query { terms: vec![("name".to_owned(), Value::Exact(stored))], ..Query::default() };
        let page = view.state.tenancy.robot_list(&view.caller, self.id(), &query).await?;
        page.rows.into_iter().next().ok_or_else(Failure::hidden)
    }
}

/// Where a robot stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ready,
    Soon,
    Ended,
    Disabled,
}

/// A robot as pages show it.
struct Row {
    name: String,
    short: String,
    description: String,
    standing: Standing,
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    last_used_address: String,
    last_used_client: String,
    disabled: bool,
    /// What it may do: where, and which rights.
    permissions: Vec<RobotPermission>,
    /// Changes with every change of the robot.
    version: String,
}

impl Row {
    fn new(view: &View, place: &Place, robot: Robot) -> Self {
        let account = robot.account;
        let left = account.expires_at.map(|end| end - view.now);
        let standing = match left {
            _ if account.disabled => Standing::Disabled,
            Some(left) if left <= chrono::Duration::zero() => Standing::Ended,
            Some(left) if left <= chrono::Duration::days(SOON_DAYS) => Standing::Soon,
            _ => Standing::Ready,
        };
        let name = account.shell_name;
        Self {
            short: place.short(&name),
            name,
            description: account.description,
            standing,
            expires_at: account.expires_at,
            created_at: account.created_at,
            last_used_at: account.last_used_at,
            last_used_address: account.last_used_address,
            last_used_client: account.last_used_client,
            disabled: account.disabled,
            permissions: robot.permissions,
            version: account.updated_at.timestamp_micros().to_string(),
        }
    }

    /// Key and class of the badge.
    fn badge(&self) -> (&'static str, &'static str) {
        match self.standing {
            Standing::Ready => ("robot-ready", "ok"),
            Standing::Soon => ("robot-soon", "warn"),
            Standing::Ended => ("robot-ended", "bad"),
            Standing::Disabled => ("robot-disabled", ""),
        }
    }

    /// Key of the words for what it may do.
    fn summary(&self) -> &'static str {
        let held: Vec<(&str, &str)> = self
            .permissions
            .iter()
            .flat_map(|entry| {
                entry.access.iter().map(|(resource, action)| (resource.as_str(), action.as_str()))
            })
            .collect();
        let push = held.contains(&("repository", "push"));
        let content = |right: &(&str, &str)| ["repository", "artifact", "tag"].contains(&right.0);
        let takes = held.iter().any(|(_, action)| *action == "delete");
        match (push, held.iter().all(content) && !takes) {
            (false, true) if held == [("repository", "pull")] => "robot-preset-pull",
            (true, true) if held.iter().all(|(resource, _)| *resource == "repository") => "robot-preset-push",
            (true, true) => "robot-preset-ci",
            _ => "robot-preset-custom",
        }
    }

    /// The rights of one place, in words.
    fn rights(&self, s: &Shell, entry: &RobotPermission) -> Vec<(String, Vec<String>)> {
        let mut rights: Vec<(String, Vec<String>)> = Vec::new();
        for (resource, action) in &entry.access {
            let (resource, action) = (s.t(resource_key(resource)), s.t(action_key(action)));
            match rights.last_mut().filter(|(last, _)| *last == resource) {
                Some((_, actions)) => actions.push(action),
                None => rights.push((resource, vec![action])),
            }
        }
        rights
    }
}

#[derive(Template)]
#[template(path = "robots/list.html", blocks = ["rows"])]
struct ListPage {
    s: Shell,
    l: List,
    base: String,
    of_project: bool,
    may_create: bool,
    robots: Vec<Row>,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let place = Place::of(view).await?;
    let mut l = List::of(view, &["name", "expires_at", "-creation_time"], &[]);
    if let Some(format) = Format::asked(view) {
        let held = Arc::new((view.state.tenancy.clone(), view.caller.clone(), place.id()));
        let read = move |query| {
            let held = held.clone();
            async move {
                let rows = held.0.robot_list(&held.1, held.2, &query).await?.rows.into_iter();
                Ok(rows
                    .map(|robot| {
                        let account = robot.account;
                        vec![
                            json!(account.shell_name),
                            json!(account.description),
                            json!(account.disabled),
                            json!(account.expires_at),
                            json!(account.last_used_at),
                            json!(account.last_used_address),
                            json!(account.created_at),
                        ]
                    })
                    .collect())
            }
        };
        return file::of(view, format, "robots", &FILE, l.query("name"), read).await;
    }
    let page = view.state.tenancy.robot_list(&view.caller, place.id(), &l.query("name")).await?;
    (l.total, l.files) = (page.total, true);
    let robots = page.rows.into_iter().map(|robot| Row::new(view, &place, robot)).collect();
    let (base, of_project, may_create) = (place.base.clone(), place.project.is_some(), place.may_create);
    let page = ListPage { s: place.shell, l, base, of_project, may_create, robots };
    view.list(&page.l, &page, &page.as_rows())
}

#[derive(Template)]
#[template(path = "robots/secret.html")]
struct SecretPage {
    s: Shell,
    name: String,
    secret: String,
    /// The page of the robot.
    robot: String,
    docker_config: String,
    kubernetes: String,
    environment: String,
}

fn secret_page(
    view: &View,
    place: Place,
    name: String,
    secret: String,
    title: String,
) -> Result<HttpResponse, Failure> {
    let host = view.host();
    let auth = STANDARD.encode(format!("{name}:{secret}"));
    let auths = json!({ "auths": { host.clone(): { "auth": auth } } });
    let docker_config = serde_json::to_string_pretty(&auths).unwrap_or_default();
    // One line, as Kubernetes wants it.
    let encoded = STANDARD.encode(auths.to_string());
    let short = place.short(&name);
    let kubernetes = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\ntype: kubernetes.io/dockerconfigjson\ndata:\n  \
         .dockerconfigjson: {encoded}",
        format!("registry-{short}").replace(['_', '.', '+'], "-")
    );
    let environment = format!("REGISTRY_HOST={host}\nREGISTRY_USER={name}\nREGISTRY_PASSWORD={secret}");
    let robot = format!("{}/{}", place.base, segment(&short));
    let s = place.below(title);
    view.page(&SecretPage { s, name, secret, robot, docker_config, kubernetes, environment })
}

#[derive(Template)]
#[template(path = "robots/robot.html")]
struct RobotPage {
    s: Shell,
    base: String,
    robot: Row,
    may_update: bool,
    may_delete: bool,
    p: Problem,
}

impl RobotPage {
    fn new(view: &View, place: Place, robot: Robot, p: Problem) -> Self {
        let robot = Row::new(view, &place, robot);
        let (may_update, may_delete) = (place.may_update, place.may_delete);
        let base = format!("{}/{}", place.base, segment(&robot.short));
        Self { s: place.below(robot.name.clone()), base, robot, may_update, may_delete, p }
    }
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let place = Place::of(view).await?;
    let robot = place.robot(view).await?;
    view.page(&RobotPage::new(view, place, robot, Problem::default()))
}

async fn permit_to_update(view: &View, robot: &Robot) -> Result<RobotPermit<UpdateRobot>, Failure> {
    Ok(view.state.tenancy.robot_permit(&view.caller, robot.account.id).await?)
}

pub(crate) async fn refresh(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let place = Place::of(view).await?;
    let robot = place.robot(view).await?;
    let permit = permit_to_update(view, &robot).await?;
    let name = robot.account.shell_name.clone();
    if form.text("version") != robot.account.updated_at.timestamp_micros().to_string() {
        let problem = Problem::new("secret", view.t("robot-secret-shown"));
        return view
            .page_with(StatusCode::UNPROCESSABLE_ENTITY, &RobotPage::new(view, place, robot, problem));
    }
    let made = view.state.tenancy.robot_rekey(&permit, None).await?;
    let secret = made.as_ref().and_then(|secret| secret.expose_str()).unwrap_or_default().to_owned();
    let title = view.language.text("robot-refreshed", &[("name", (&name).into())]);
    secret_page(view, place, name, secret, title)
}

pub(crate) async fn disable(view: &mut View) -> Result<HttpResponse, Failure> {
    switch(view, true).await
}

pub(crate) async fn enable(view: &mut View) -> Result<HttpResponse, Failure> {
    switch(view, false).await
}

async fn switch(view: &mut View, disabled: bool) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let place = Place::of(view).await?;
    let robot = place.robot(view).await?;
    let permit = permit_to_update(view, &robot).await?;
    let level = robot.level();
    let name = robot.account.shell_name;
    let input = RobotInput {
        name: robot.account.login_name,
        level,
        description: robot.account.description,
        duration_days: None,
        disabled: Some(disabled),
        permissions: robot.permissions,
    };
    view.state.tenancy.robot_update(&permit, &input).await?;
    let page = format!("{}/{}", place.base, segment(&place.short(&name)));
    let told = if disabled {
        Told::new("told-robot-disabled", name).undo(format!("{page}/enable"), Vec::new())
    } else {
        Told::new("told-robot-enabled", name)
    };
    Ok(view.done(&page, told))
}

#[derive(Template)]
#[template(path = "robots/delete.html")]
struct DeletePage {
    s: Shell,
    base: String,
    robot: Row,
}

/// The robot of the path with the proof that the viewer may delete it.
async fn to_delete(view: &View) -> Result<(Place, Robot, RobotPermit<DeleteRobot>), Failure> {
    let place = Place::of(view).await?;
    let robot = place.robot(view).await?;
    let permit = view.state.tenancy.robot_permit(&view.caller, robot.account.id).await?;
    Ok((place, robot, permit))
}

pub(crate) async fn confirm(view: &mut View) -> Result<HttpResponse, Failure> {
    let (place, robot, _) = to_delete(view).await?;
    let robot = Row::new(view, &place, robot);
    let base = format!("{}/{}", place.base, segment(&robot.short));
    let title = view.language.text("robot-delete-title", &[("name", robot.name.as_str().into())]);
    view.page(&DeletePage { s: place.below(title), base, robot })
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let (place, robot, permit) = to_delete(view).await?;
    view.state.tenancy.robot_delete(&permit).await?;
    let told = Told::new("told-robot-deleted", robot.account.shell_name);
    Ok(view.done(&place.base, told))
}
