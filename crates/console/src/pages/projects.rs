//! Projects: the list, a new one, the overview of one.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use tenancy::list::Value;
use tenancy::roles::{Action, Resource};
use tenancy::{NewProject, Permit, Project, ReadProject, Summary};

use crate::failure::Failure;
use crate::list::List;
use crate::shell::{Shell, Tab, Told, segment};
use crate::view::View;

#[derive(Template)]
#[template(path = "projects/list.html")]
struct ListPage {
    s: Shell,
    l: List,
    projects: Vec<Project>,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let mut l = List::of(view, &["name", "-creation_time"], &["visibility"]);
    let mut query = l.query("name");
    match l.filter("visibility") {
        "public" => query.terms.push(("public".to_owned(), Value::Exact("true".to_owned()))),
        "private" => query.terms.push(("public".to_owned(), Value::Exact("false".to_owned()))),
        _ => {}
    }
    let page = view.state.tenancy.project_list(&view.caller, &query).await?;
    l.total = page.total;
    view.page(&ListPage { s: view.shell("projects", view.t("projects-title")), l, projects: page.rows })
}

#[derive(Template)]
#[template(path = "projects/new.html")]
struct NewPage {
    s: Shell,
    name: String,
    public: bool,
    problem: Option<String>,
}

impl NewPage {
    fn new(view: &View, name: &str, public: bool, problem: Option<String>) -> Self {
        let s =
            view.shell("projects", view.t("project-new-title")).crumb(view.t("projects-title"), "/projects");
        Self { s, name: name.to_owned(), public, problem }
    }
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    view.page(&NewPage::new(view, &view.query("name").unwrap_or_default(), false, None))
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let (name, public) = (form.text("name").to_owned(), form.ticked("public"));
    let new = NewProject { name: name.clone(), public, ..NewProject::default() };
    let made = async {
        view.state.tenancy.require_writable().await?;
        view.state.tenancy.project_create(&view.caller, new).await
    };
    match made.await.map_err(Failure::from) {
        Ok(_) => {
            Ok(view.done(&format!("/projects/{}", segment(&name)), Told::new("told-project-created", name)))
        }
        Err(failure) if failure.is_about_input() => {
            let page = NewPage::new(view, &name, public, Some(failure.detail));
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(failure) => Err(failure),
    }
}

/// The frame of a page inside a project, with the tabs that the viewer may open. `tab` is the key of the open one.
pub(crate) fn project_shell<A>(view: &View, permit: &Permit<A>, tab: &'static str, title: String) -> Shell {
    let base = format!("/projects/{}", segment(permit.name.as_str()));
    let may = |resource, action| permit.rights().allow(resource, action);
    let policies =
        may(Resource::ImmutableTag, Action::List) || may(Resource::Configuration, Action::Read);
    let tabs = [
        ("project-tab-overview", "", may(Resource::Project, Action::Read)),
        ("project-tab-repositories", "/repositories", may(Resource::Repository, Action::List)),
        ("project-tab-members", "/members", may(Resource::Member, Action::List)),
        ("project-tab-robots", "/robots", may(Resource::Robot, Action::List)),
        ("project-tab-policies", "/policies", policies),
        ("project-tab-activity", "/activity", may(Resource::Log, Action::List)),
        ("project-tab-settings", "/settings", may(Resource::Project, Action::Update)),
    ]
    .into_iter()
    .filter(|(.., open)| *open)
    .map(|(key, path, _)| Tab { key, path: format!("{base}{path}"), current: key == tab })
    .collect();
    view.shell("projects", title)
        .crumb(view.t("projects-title"), "/projects")
        .crumb(permit.name.as_str(), base)
        .tabs(tabs)
}

#[derive(Template)]
#[template(path = "projects/overview.html")]
struct OverviewPage {
    s: Shell,
    project: Project,
    summary: Summary,
    user: String,
}

pub(crate) async fn overview(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ReadProject>().await?;
    let project = view.state.tenancy.project_get(&permit).await?;
    let summary = view.state.tenancy.project_summary(&permit).await?;
    let s = project_shell(view, &permit, "project-tab-overview", project.name.clone());
    let user = s.user.clone().unwrap_or_default();
    view.page(&OverviewPage { s, project, summary, user })
}
