//! Projects: the list, a new one, and the frame of pages inside one.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use tenancy::list::Value;
use tenancy::roles::{Action, Resource};
use tenancy::{CreationRestriction, Error, NewProject, Permit, Project};

use crate::failure::Failure;
use crate::list::List;
use crate::problem::Problem;
use crate::shell::{Shell, Tab, Told, segment};
use crate::size;

use crate::view::View;

#[derive(Template)]
#[template(path = "projects/list.html", blocks = ["rows"])]
struct ListPage {
    s: Shell,
    l: List,
    projects: Vec<Project>,
    creation: Creation,
    /// Only those that the viewer has marked.
    favourites: bool,
}

/// How the viewer comes to a new project.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Creation {
    Open,
    /// Somebody else decides.
    Request,
    Closed,
}

impl Creation {
    async fn of(view: &View) -> Result<Self, Failure> {
        let settings = view.state.tenancy.settings().await?;
        let open = settings.project_creation_restriction == CreationRestriction::Everyone;
        Ok(match (&view.signed_in, open || view.caller.is_sysadmin(), settings.project_requests) {
            (None, ..) => Self::Closed,
            (_, true, _) => Self::Open,
            (_, false, true) => Self::Request,
            (_, false, false) => Self::Closed,
        })
    }

    fn is_open(&self) -> bool {
        *self == Self::Open
    }

    fn by_request(&self) -> bool {
        *self == Self::Request
    }
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let mut l = List::of(view, &["name", "-creation_time"], &["visibility", "favourites"]);
    let mut query = l.query("name");
    match l.filter("visibility") {
        "public" => query.terms.push(("public".to_owned(), Value::Exact("true".to_owned()))),
        "private" => query.terms.push(("public".to_owned(), Value::Exact("false".to_owned()))),
        _ => {}
    }
    let favourites = view.signed_in.is_some() && l.filter("favourites") == "yes";
    let page = match favourites {
        true => view.state.tenancy.favourite_list(&view.caller, &query).await?,
        false => view.state.tenancy.project_list(&view.caller, &query).await?,
    };
    l.total = page.total;
    let creation = Creation::of(view).await?;
    let page = ListPage {
        s: view.shell("projects", view.t("projects-title")),
        l,
        projects: page.rows,
        creation,
        favourites,
    };
    view.list(&page.l, &page, &page.as_rows())
}

/// What was typed into the form of a new project.
#[derive(Default)]
struct Typed {
    name: String,
    public: bool,
    /// Only administrators choose it.
    quota: String,
}

#[derive(Template)]
#[template(path = "projects/new.html")]
struct NewPage {
    s: Shell,
    typed: Typed,
    creation: Creation,
    p: Problem,
}

impl NewPage {
    async fn new(view: &View, typed: Typed, p: Problem) -> Result<Self, Failure> {
        let s =
            view.shell("projects", view.t("project-new-title")).crumb(view.t("projects-title"), "/projects");
        Ok(Self { s, typed, creation: Creation::of(view).await?, p })
    }
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    let limit = view.state.tenancy.settings().await?.storage_per_project;
    let name = view.query("name").unwrap_or_default();
    let typed = Typed { name, public: false, quota: size::written(limit) };
    view.page(&NewPage::new(view, typed, Problem::default()).await?)
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let text = |name: &str| form.text(name).to_owned();
    let typed = Typed { name: text("name"), public: form.ticked("public"), quota: text("quota") };
    let problem = match size::parse(&typed.quota).filter(|_| view.caller.is_sysadmin()) {
        None if view.caller.is_sysadmin() => Problem::new("quota", view.t("quota-wrong")),
        storage_limit => {
            let new = NewProject {
                name: typed.name.clone(),
                public: typed.public,
                storage_limit,
                ..NewProject::default()
            };
            let made = async {
                view.state.tenancy.require_writable().await?;
                view.state.tenancy.project_create(&view.caller, new).await
            };
            match made.await {
                Ok(_) => {
                    let path = format!("/projects/{}", segment(&typed.name));
                    return Ok(view.done(&path, Told::new("told-project-created", typed.name)));
                }
                Err(Error::NameTaken(_)) => Problem::new("name", view.t("project-name-taken")),
                Err(Error::Invalid(_)) => Problem::new("name", view.t("project-name-invalid")),
                Err(err) => Problem::of("name", err.into())?,
            }
        }
    };
    let page = NewPage::new(view, typed, problem).await?;
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// The frame of a page inside a project, with the tabs that the viewer may open. `tab` is the key of the open one.
pub(crate) fn project_shell<A>(view: &View, permit: &Permit<A>, tab: &'static str, title: String) -> Shell {
    let base = format!("/projects/{}", segment(permit.name.as_str()));
    let may = |resource, action| permit.rights().allow(resource, action);
    let policies = may(Resource::ImmutableTag, Action::List) || may(Resource::Configuration, Action::Read);
    let tabs = [
        ("project-tab-overview", "", may(Resource::Project, Action::Read)),
        ("project-tab-repositories", "/repositories", may(Resource::Repository, Action::List)),
        ("project-tab-members", "/members", may(Resource::Member, Action::List)),
        ("project-tab-robots", "/robots", may(Resource::Robot, Action::List)),
        ("project-tab-policies", "/policies", policies),
        ("project-tab-labels", "/labels", may(Resource::Label, Action::List)),
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
