//! The form of a robot: of a new one, and of one that is to become another.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use chrono::{DateTime, NaiveDate, Utc};
use tenancy::{CreateRobot, Error, Robot, RobotInput, RobotLevel, RobotPermission};

use super::rights::{Line, offered_right, project_matrix, right_name, system_matrix};
use super::{Place, permit_to_update, secret_page};
use crate::clash::{Change, Clash};
use crate::failure::Failure;
use crate::form::Form;
use crate::format::exact;
use crate::problem::Problem;
use crate::shell::{Shell, Told, segment};
use crate::view::View;

/// What the presets stand for.
const PRESETS: [(&str, &[&str]); 3] = [
    ("pull", &["repository:pull"]),
    ("push", &["repository:pull", "repository:push"]),
    (
        "ci",
        &[
            "repository:list",
            "repository:read",
            "repository:pull",
            "repository:push",
            "artifact:list",
            "artifact:read",
            "tag:list",
            "tag:create",
        ],
    ),
];

/// The expiry that changes nothing.
const KEEP: &str = "keep";

/// What was typed into the form of a robot.
struct Typed {
    name: String,
    description: String,
    expiry: String,
    date: String,
    preset: String,
    projects: String,
    rights: Vec<String>,
    system_rights: Vec<String>,
}

impl Default for Typed {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            expiry: "90".to_owned(),
            date: String::new(),
            preset: "pull".to_owned(),
            projects: "*".to_owned(),
            rights: Vec::new(),
            system_rights: Vec::new(),
        }
    }
}

impl Typed {
    fn of(form: &Form) -> Self {
        let text = |name: &str| form.text(name).to_owned();
        let all = |name: &str| form.all(name).into_iter().map(ToOwned::to_owned).collect();
        Self {
            name: text("name"),
            description: text("description"),
            expiry: text("expiry"),
            date: text("date"),
            preset: text("preset"),
            projects: text("projects"),
            rights: all("right"),
            system_rights: all("systemright"),
        }
    }

    /// What the form of a robot shows that is there. Nothing is said about rights that the form cannot say.
    fn of_robot(robot: &Robot) -> Self {
        let held = Held::of(robot).unwrap_or_default();
        Self {
            name: String::new(),
            description: robot.account.description.clone(),
            expiry: KEEP.to_owned(),
            date: String::new(),
            preset: held.preset().to_owned(),
            projects: held.projects.join("\n"),
            rights: held.rights,
            system_rights: held.system_rights,
        }
    }

    /// Days from the making of the robot to its end, -1 for none; nothing when the end stays as it is.
    fn days(&self, view: &View, made: DateTime<Utc>) -> Result<Option<i64>, Problem> {
        let today = view.now.date_naive();
        let age = (today - made.date_naive()).num_days();
        match self.expiry.as_str() {
            KEEP => Ok(None),
            "never" => Ok(Some(-1)),
            "date" => {
                let date: NaiveDate =
                    self.date.parse().map_err(|_| Problem::new("date", view.t("robot-date-missing")))?;
                let days = (date - today).num_days();
                if days > 0 {
                    Ok(Some(age + days))
                } else {
                    Err(Problem::new("date", view.t("robot-date-past")))
                }
            }
            days => match days.parse::<i64>() {
                Ok(days) => Ok(Some(age + days)),
                Err(_) => Err(Problem::new("expiry", view.t("robot-expiry-missing"))),
            },
        }
    }

    /// The rights that were chosen in projects.
    fn access(&self) -> Vec<(String, String)> {
        let right = |text: &str| text.split_once(':').map(|(one, other)| (one.to_owned(), other.to_owned()));
        match PRESETS.iter().find(|(preset, _)| *preset == self.preset) {
            Some((_, rights)) => rights.iter().filter_map(|text| right(text)).collect(),
            None => self.rights.iter().filter_map(|text| right(text)).collect(),
        }
    }

    fn permissions(&self, project: Option<&str>) -> Vec<RobotPermission> {
        let entry = |kind: &str, namespace: &str, access| RobotPermission {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            access,
        };
        let access = self.access();
        if let Some(project) = project {
            return vec![entry("project", project, access)];
        }
        let mut entries = Vec::new();
        let system: Vec<(String, String)> = self
            .system_rights
            .iter()
            .filter_map(|text| text.split_once(':'))
            .map(|(one, other)| (one.to_owned(), other.to_owned()))
            .collect();
        if !system.is_empty() {
            entries.push(entry("system", "/", system));
        }
        if !access.is_empty() {
            let names = self.projects.split([' ', ',', '\n', '\r', '\t']).filter(|name| !name.is_empty());
            entries.extend(names.map(|name| entry("project", name, access.clone())));
        }
        entries
    }
}

/// What a robot holds, as far as the form can say it: the same rights in every project it may enter.
#[derive(Default)]
struct Held {
    projects: Vec<String>,
    rights: Vec<String>,
    system_rights: Vec<String>,
}

impl Held {
    /// Nothing for a robot with other rights in other projects: those came over the API and are changed there.
    fn of(robot: &Robot) -> Option<Self> {
        let written = |entry: &RobotPermission| {
            let mut rights: Vec<String> =
                entry.access.iter().map(|(resource, action)| format!("{resource}:{action}")).collect();
            rights.sort_unstable();
            rights
        };
        let mut held = Self::default();
        for entry in &robot.permissions {
            let rights = written(entry);
            if entry.kind == "system" {
                held.system_rights = rights;
                continue;
            }
            if !held.projects.is_empty() && held.rights != rights {
                return None;
            }
            held.projects.push(entry.namespace.clone());
            held.rights = rights;
        }
        Some(held)
    }

    fn preset(&self) -> &'static str {
        let same = |rights: &[&str]| {
            rights.len() == self.rights.len()
                && rights.iter().all(|right| self.rights.iter().any(|held| held == right))
        };
        PRESETS.iter().find(|(_, rights)| same(rights)).map_or("custom", |(preset, _)| *preset)
    }
}

/// A robot that is there already, for its form.
struct Existing {
    expires_at: Option<DateTime<Utc>>,
    /// Whether the form can say what it holds.
    expressible: bool,
}

#[derive(Template)]
#[template(path = "robots/form.html")]
struct FormPage {
    s: Shell,
    /// Where the form goes, and where it leads when it is given up.
    action: String,
    back: String,
    /// What the name begins with when it is used.
    prefix: String,
    of_project: bool,
    /// Nothing for a new one.
    existing: Option<Existing>,
    clash: Clash,
    typed: Typed,
    matrix: Vec<Line>,
    system_matrix: Vec<Line>,
    presets: [(&'static str, &'static str, &'static str); 4],
    expiries: Vec<(&'static str, &'static str)>,
    p: Problem,
}

impl FormPage {
    fn new(place: Place, typed: Typed, p: Problem, title: String) -> Self {
        let project = place.project.as_ref().map(|(_, name)| format!("{name}+")).unwrap_or_default();
        Self {
            action: format!("{}/-/new", place.base),
            back: place.base.clone(),
            existing: None,
            clash: Clash::default(),
            prefix: format!("robot+{project}"),
            of_project: place.project.is_some(),
            s: place.below(title),
            typed,
            matrix: project_matrix(),
            system_matrix: system_matrix(),
            presets: [
                ("pull", "robot-preset-pull", "robot-preset-pull-what"),
                ("push", "robot-preset-push", "robot-preset-push-what"),
                ("ci", "robot-preset-ci", "robot-preset-ci-what"),
                ("custom", "robot-preset-custom", "robot-preset-custom-what"),
            ],
            expiries: vec![
                ("30", "robot-expiry-30"),
                ("90", "robot-expiry-90"),
                ("365", "robot-expiry-365"),
                ("never", "robot-expiry-never"),
                ("date", "robot-expiry-date"),
            ],
            p,
        }
    }

    fn edit(view: &View, place: Place, robot: &Robot, typed: Typed, clash: Clash, p: Problem) -> Self {
        let name = robot.account.shell_name.clone();
        let back = format!("{}/{}", place.base, segment(&place.short(&name)));
        let title = view.language.text("robot-edit-title", &[("name", name.as_str().into())]);
        let mut page = Self::new(place, typed, p, title);
        page.s = page.s.crumb(name, back.clone());
        page.expiries.insert(0, (KEEP, "robot-expiry-keep"));
        let expressible = Held::of(robot).is_some();
        let existing = Some(Existing { expires_at: robot.account.expires_at, expressible });
        Self { action: format!("{back}/-/edit"), back, existing, clash, ..page }
    }

    fn expressible(&self) -> bool {
        self.existing.as_ref().is_none_or(|robot| robot.expressible)
    }

    /// Rights that the matrix does not show, to be kept with the others.
    fn unshown(&self) -> Vec<(&'static str, String)> {
        let of = |name: &'static str, rights: &'_ [String]| {
            rights
                .iter()
                .filter(|right| !offered_right(right))
                .map(move |right| (name, right.clone()))
                .collect::<Vec<_>>()
        };
        [of("right", &self.typed.rights), of("systemright", &self.typed.system_rights)].concat()
    }

    fn ticked(&self, right: &String) -> bool {
        self.typed.rights.contains(right)
    }

    fn system_ticked(&self, right: &String) -> bool {
        self.typed.system_rights.contains(right)
    }
}

/// The place, for who may make robots there.
async fn place_to_create(view: &View) -> Result<Place, Failure> {
    if !view.segment("project").is_empty() {
        view.permit::<CreateRobot>().await?;
    }
    Place::of(view).await
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    let place = place_to_create(view).await?;
    view.page(&FormPage::new(place, Typed::default(), Problem::default(), view.t("robot-new-title")))
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let place = place_to_create(view).await?;
    let typed = Typed::of(&form);
    let made = match typed.days(view, view.now) {
        Err(problem) => Err(problem),
        Ok(None) => Err(Problem::new("expiry", view.t("robot-expiry-missing"))),
        Ok(days) => {
            let input = RobotInput {
                name: typed.name.clone(),
                level: if place.project.is_some() { RobotLevel::Project } else { RobotLevel::System },
                description: typed.description.clone(),
                duration_days: days,
                disabled: None,
                permissions: typed.permissions(place.project.as_ref().map(|(_, name)| name.as_str())),
            };
            let empty = input.permissions.iter().all(|entry| entry.access.is_empty());
            if empty {
                Err(Problem::new("preset", view.t("robot-rights-missing")))
            } else {
                match view.state.tenancy.robot_create(&view.caller, &input).await {
                    Ok(created) => Ok(created),
                    Err(Error::RobotExists(_)) => Err(Problem::new(
                        "name",
                        view.language.text("robot-exists", &[("name", typed.name.as_str().into())]),
                    )),
                    Err(err) => Err(Problem::of("name", err.into())?),
                }
            }
        }
    };
    match made {
        Ok(created) => {
            let secret = created.secret.expose_str().unwrap_or_default().to_owned();
            let title = view.language.text("robot-made", &[("name", created.shell_name.clone().into())]);
            secret_page(view, place, created.shell_name, secret, title)
        }
        Err(problem) => {
            let page = FormPage::new(place, typed, problem, view.t("robot-new-title"));
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

/// The robot as it is, against what was typed over it.
fn changes(view: &View, robot: &Robot, typed: &Typed, permissions: &[RobotPermission]) -> Vec<Change> {
    let end =
        |end: Option<DateTime<Utc>>| end.map_or_else(|| view.t("robot-expiry-never"), |end| exact(&end));
    let stored_end = end(robot.account.expires_at);
    let typed_end = match typed.expiry.as_str() {
        KEEP => stored_end.clone(),
        "date" => typed.date.clone(),
        "never" => view.t("robot-expiry-never"),
        days => {
            view.language.text("robot-expiry-days", &[("count", days.parse::<i64>().unwrap_or(0).into())])
        }
    };
    vec![
        Change::new(view.t("robot-description"), &robot.account.description, &typed.description),
        Change::new(view.t("robot-expiry"), &stored_end, &typed_end),
        Change::new(
            view.t("robot-rights"),
            &in_words(view, &robot.permissions),
            &in_words(view, permissions),
        ),
    ]
}

/// Rights as lines of text, in an order of their own.
fn in_words(view: &View, permissions: &[RobotPermission]) -> String {
    let mut lines: Vec<String> = permissions
        .iter()
        .filter(|entry| !entry.access.is_empty())
        .map(|entry| {
            let mut rights: Vec<String> =
                entry.access.iter().map(|(resource, action)| right_name(view, resource, action)).collect();
            rights.sort_unstable();
            let place =
                if entry.kind == "system" { view.t("robot-on-system") } else { entry.namespace.clone() };
            format!("{place}: {}", rights.join(", "))
        })
        .collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The place and the robot of the path, for who may change it.
async fn to_update(view: &View) -> Result<(Place, Robot), Failure> {
    let place = Place::of(view).await?;
    let robot = place.robot(view).await?;
    permit_to_update(view, &robot).await?;
    Ok((place, robot))
}

pub(crate) async fn edit(view: &mut View) -> Result<HttpResponse, Failure> {
    let (place, robot) = to_update(view).await?;
    let typed = Typed::of_robot(&robot);
    let clash = Clash::none(&changes(view, &robot, &typed, &robot.permissions));
    view.page(&FormPage::edit(view, place, &robot, typed, clash, Problem::default()))
}

pub(crate) async fn update(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let (place, robot) = to_update(view).await?;
    let permit = permit_to_update(view, &robot).await?;
    let typed = Typed::of(&form);
    let permissions = if Held::of(&robot).is_some() {
        typed.permissions(place.project.as_ref().map(|(_, name)| name.as_str()))
    } else {
        robot.permissions.clone()
    };
    let clash = Clash::of(&form, changes(view, &robot, &typed, &permissions));
    if clash.is() {
        let page = FormPage::edit(view, place, &robot, typed, clash, Problem::default());
        return view.page_with(StatusCode::CONFLICT, &page);
    }
    let problem = match typed.days(view, robot.account.created_at) {
        Err(problem) => problem,
        Ok(_) if permissions.iter().all(|entry| entry.access.is_empty()) => {
            Problem::new("preset", view.t("robot-rights-missing"))
        }
        Ok(duration_days) => {
            let input = RobotInput {
                name: robot.account.login_name.clone(),
                level: robot.level(),
                description: typed.description.clone(),
                duration_days,
                disabled: None,
                permissions,
            };
            match view.state.tenancy.robot_update(&permit, &input).await {
                Ok(()) => {
                    let name = robot.account.shell_name;
                    let path = format!("{}/{}", place.base, segment(&place.short(&name)));
                    return Ok(view.done(&path, Told::new("told-robot-saved", name)));
                }
                Err(err) => Problem::of("description", err.into())?,
            }
        }
    };
    let page = FormPage::edit(view, place, &robot, typed, clash, problem);
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}
