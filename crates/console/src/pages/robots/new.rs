//! The form of a new robot.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use chrono::NaiveDate;
use identity::SHELL_PREFIX;
use tenancy::{CreateRobot, Error, RobotInput, RobotLevel, RobotPermission};

use super::rights::{Line, project_matrix, system_matrix};
use super::{Place, safe_name, secret_page};
use crate::failure::Failure;
use crate::form::Form;
use crate::problem::Problem;
use crate::shell::Shell;
use crate::view::View;

/// What was typed into the form of a new robot.
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

    /// Days until the end, -1 for none.
    fn days(&self, view: &View) -> Result<i64, Problem> {
        match self.expiry.as_str() {
            "never" => Ok(-1),
            "date" => {
                let today = view.now.date_naive();
                let date: NaiveDate =
                    self.date.parse().map_err(|_| Problem::new("date", view.t("robot-date-missing")))?;
                let days = (date - today).num_days();
                if days > 0 { Ok(days) } else { Err(Problem::new("date", view.t("robot-date-past"))) }
            }
            days => days.parse().map_err(|_| Problem::new("expiry", view.t("robot-expiry-missing"))),
        }
    }

    /// The rights that were chosen in projects.
    fn access(&self) -> Vec<(String, String)> {
        let right = |text: &str| text.split_once(':').map(|(one, other)| (one.to_owned(), other.to_owned()));
        let of = |rights: &[&str]| rights.iter().filter_map(|text| right(text)).collect();
        match self.preset.as_str() {
            "pull" => of(&["repository:pull"]),
            "push" => of(&["repository:pull", "repository:push"]),
            "ci" => of(&[
                "repository:list",
                "repository:read",
                "repository:pull",
                "repository:push",
                "artifact:list",
                "artifact:read",
                "tag:list",
                "tag:create",
            ]),
            _ => self.rights.iter().filter_map(|text| right(text)).collect(),
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

#[derive(Template)]
#[template(path = "robots/new.html")]
struct NewPage {
    s: Shell,
    base: String,
    /// What the name begins with when it is used.
    prefix: String,
    of_project: bool,
    typed: Typed,
    matrix: Vec<Line>,
    system_matrix: Vec<Line>,
    presets: [(&'static str, &'static str, &'static str); 4],
    expiries: [(&'static str, &'static str); 5],
    p: Problem,
}

impl NewPage {
    fn new(place: Place, typed: Typed, p: Problem, title: String) -> Self {
        let project = place.project.as_ref().map(|(_, name)| format!("{name}+")).unwrap_or_default();
        Self {
            base: place.base.clone(),
            prefix: format!("{SHELL_PREFIX}{project}"),
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
            expiries: [
                ("30", "robot-expiry-30"),
                ("90", "robot-expiry-90"),
                ("365", "robot-expiry-365"),
                ("never", "robot-expiry-never"),
                ("date", "robot-expiry-date"),
            ],
            p,
        }
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
    view.page(&NewPage::new(place, Typed::default(), Problem::default(), view.t("robot-new-title")))
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let place = place_to_create(view).await?;
    let typed = Typed::of(&form);
    let made = match typed.days(view) {
        Err(problem) => Err(problem),
        Ok(days) => {
            let input = RobotInput {
                name: typed.name.clone(),
                level: if place.project.is_some() { RobotLevel::Project } else { RobotLevel::System },
                description: typed.description.clone(),
                duration_days: Some(days),
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
            let title = view.language.text("robot-made", &[("name", safe_name(view, &created.name).into())]);
            secret_page(view, place, &created.name, secret, title)
        }
        Err(problem) => {
            let page = NewPage::new(place, typed, problem, view.t("robot-new-title"));
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
