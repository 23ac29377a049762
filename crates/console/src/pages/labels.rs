//! Labels: of one project or of the installation. Both have the same pages, at two places.
//!
//! A label may have any name, with slashes in it, too, and not every proxy lets an escaped slash through a path. So the
//! pages of one label take its name from the query.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use catalog::{Error, Label, LabelInput};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tenancy::list::{Page, Query, Value};
use tenancy::roles::{Action, Resource};
use tenancy::{CreateLabel, DeleteLabel, ListLabels, Owner, Permit, ProjectAction, Reach, UpdateLabel};

use crate::clash::{Change, Clash};
use crate::failure::Failure;
use crate::form::Form;
use crate::list::List;
use crate::pages::admin::admin_shell;
use crate::pages::projects::project_shell;
use crate::problem::Problem;
use crate::shell::{Shell, Told, segment};
use crate::view::View;

/// Colours to choose from, with the keys of their names. Any other can be typed.
const PALETTE: [(&str, &str); 8] = [
    ("#0B5CAD", "label-blue"),
    ("#17806D", "label-teal"),
    ("#2E7D32", "label-green"),
    ("#B26A00", "label-amber"),
    ("#B0241C", "label-red"),
    ("#C2185B", "label-pink"),
    ("#86198F", "label-purple"),
    ("#586474", "label-grey"),
];

/// The choice of a colour that is not in the palette.
const OTHER: &str = "other";

/// Whose labels the pages are about.
struct Place {
    /// Nothing for labels of the installation.
    permit: Option<Permit<ListLabels>>,
    base: String,
    /// The frame of the pages, with the title of the list.
    shell: Shell,
    may_create: bool,
    may_update: bool,
    may_delete: bool,
}

impl Place {
    /// Labels of the project of the path, or of the installation when it names none.
    async fn of(view: &View) -> Result<Self, Failure> {
        let title = view.t("labels-title");
        if view.segment("project").is_empty() {
            view.sysadmin().await?;
            return Ok(Self {
                permit: None,
                base: "/admin/labels".to_owned(),
                shell: admin_shell(view, "admin-labels", title),
                may_create: true,
                may_update: true,
                may_delete: true,
            });
        }
        let permit = view.permit::<ListLabels>().await?;
        let may = |action| permit.rights().allow(Resource::Label, action);
        Ok(Self {
            base: format!("/projects/{}/labels", segment(permit.name.as_str())),
            shell: project_shell(view, &permit, "project-tab-labels", title),
            may_create: may(Action::Create),
            may_update: may(Action::Update),
            may_delete: may(Action::Delete),
            permit: Some(permit),
        })
    }

    async fn page(&self, view: &View, query: &Query) -> Result<Page<Label>, Failure> {
        let labels = &view.state.catalog.labels;
        Ok(match &self.permit {
            Some(permit) => labels.list(permit, None, query).await?,
            None => labels.list_global(None, query).await?,
        })
    }

    /// The label that the query names.
    async fn label(&self, view: &View) -> Result<Label, Failure> {
        let name = view.query("name").ok_or_else(Failure::hidden)?;
        let query = Query { terms: vec![("name".to_owned(), Value::Exact(name))], ..Query::default() };
        self.page(view, &query).await?.rows.into_iter().next().ok_or_else(Failure::hidden)
    }

    /// The proof that the viewer may do `A` to labels of this place. `label` is the one it is about, for the trail.
    async fn reach<A: ProjectAction>(&self, view: &View, label: &str) -> Result<Reach<A>, Failure> {
        let owner = self.permit.as_ref().map_or(Owner::Installation, |permit| Owner::Project(permit.project));
        let reach = view.state.tenancy.reach(&view.caller, owner, "label", label).await?;
        reach.ok_or_else(Failure::hidden)
    }

    /// The frame of a page below the list.
    fn below(self, title: String) -> Shell {
        let mut shell = self.shell;
        if self.permit.is_none() {
            let (list, base) = (shell.title.clone(), self.base);
            shell = shell.crumb(list, base);
        }
        shell.title = title;
        shell
    }
}

/// Where the page of a label is.
fn address(base: &str, page: &str, name: &str) -> String {
    format!("{base}/{page}?name={}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

#[derive(Template)]
#[template(path = "labels/list.html", blocks = ["rows"])]
struct ListPage {
    s: Shell,
    l: List,
    base: String,
    of_project: bool,
    may_create: bool,
    may_update: bool,
    may_delete: bool,
    labels: Vec<Label>,
}

impl ListPage {
    fn address(&self, page: &str, name: &str) -> String {
        address(&self.base, page, name)
    }
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let place = Place::of(view).await?;
    let mut l = List::of(view, &["name", "-creation_time"], &[]);
    let page = place.page(view, &l.query("name")).await?;
    l.total = page.total;
    let page = ListPage {
        l,
        base: place.base,
        of_project: place.permit.is_some(),
        may_create: place.may_create,
        may_update: place.may_update,
        may_delete: place.may_delete,
        labels: page.rows,
        s: place.shell,
    };
    view.list(&page.l, &page, &page.as_rows())
}

/// What was typed.
struct Typed {
    name: String,
    description: String,
    /// One of the palette, or [`OTHER`].
    color: String,
    other: String,
}

impl Typed {
    fn new(name: &str, description: &str, color: &str) -> Self {
        let known = PALETTE.iter().find(|(known, _)| known.eq_ignore_ascii_case(color));
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            color: known.map_or(OTHER, |(known, _)| known).to_owned(),
            other: if known.is_some() { String::new() } else { color.to_owned() },
        }
    }

    fn of(form: &Form) -> Self {
        let text = |name: &str| form.text(name).to_owned();
        Self {
            name: text("name"),
            description: text("description"),
            color: text("color"),
            other: text("other"),
        }
    }

    fn input(&self) -> LabelInput {
        let color = if self.color == OTHER { &self.other } else { &self.color };
        LabelInput { name: self.name.clone(), description: self.description.clone(), color: color.clone() }
    }
}

#[derive(Template)]
#[template(path = "labels/form.html")]
struct FormPage {
    s: Shell,
    base: String,
    action: String,
    /// Key of what the button says.
    button: &'static str,
    palette: [(&'static str, &'static str); 8],
    typed: Typed,
    clash: Clash,
    p: Problem,
}

impl FormPage {
    fn new(view: &View, place: Place, typed: Typed, p: Problem) -> Self {
        let base = place.base.clone();
        Self {
            s: place.below(view.t("label-new-title")),
            action: format!("{base}/-/new"),
            base,
            button: "label-create",
            palette: PALETTE,
            typed,
            clash: Clash::default(),
            p,
        }
    }

    fn edit(view: &View, place: Place, label: &Label, typed: Typed, clash: Clash, p: Problem) -> Self {
        let action = address(&place.base, "-/edit", &label.name);
        let mut page = Self::new(view, place, typed, p);
        page.s.title.clone_from(&label.name);
        Self { action, button: "save", clash, ..page }
    }

    fn other(&self) -> bool {
        self.typed.color == OTHER
    }
}

/// What is wrong with what was typed.
fn problem(view: &View, err: Error) -> Result<Problem, Failure> {
    Ok(match &err {
        Error::Conflict(_) => Problem::new("name", view.t("label-taken")),
        Error::Invalid(text) if text.contains("color") => Problem::new("other", view.t("label-color-bad")),
        Error::Invalid(text) if text.contains("description") => {
            Problem::new("description", view.t("label-description-long"))
        }
        Error::Invalid(_) => Problem::new("name", view.t("label-name-bad")),
        _ => Problem::of("name", err.into())?,
    })
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    let place = Place::of(view).await?;
    place.reach::<CreateLabel>(view, "").await?;
    let typed = Typed::new("", "", PALETTE[0].0);
    view.page(&FormPage::new(view, place, typed, Problem::default()))
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let place = Place::of(view).await?;
    let reach = place.reach::<CreateLabel>(view, "").await?;
    let typed = Typed::of(&form);
    match view.state.catalog.labels.create(&reach, &typed.input()).await {
        Ok(_) => Ok(view.done(&place.base, Told::new("told-label-created", typed.name))),
        Err(err) => {
            let p = problem(view, err)?;
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &FormPage::new(view, place, typed, p))
        }
    }
}

/// The label as it is, against what was typed over it.
fn changes(view: &View, label: &Label, typed: &LabelInput) -> Vec<Change> {
    vec![
        Change::new(view.t("column-name"), &label.name, &typed.name),
        Change::new(view.t("label-description"), &label.description, &typed.description),
        Change::new(view.t("label-color"), &label.color, &typed.color),
    ]
}

pub(crate) async fn edit(view: &mut View) -> Result<HttpResponse, Failure> {
    let place = Place::of(view).await?;
    let label = place.label(view).await?;
    place.reach::<UpdateLabel>(view, &label.id.to_string()).await?;
    let typed = Typed::new(&label.name, &label.description, &label.color);
    let clash = Clash::none(&changes(view, &label, &typed.input()));
    view.page(&FormPage::edit(view, place, &label, typed, clash, Problem::default()))
}

pub(crate) async fn update(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let place = Place::of(view).await?;
    let label = place.label(view).await?;
    let reach = place.reach::<UpdateLabel>(view, &label.id.to_string()).await?;
    let typed = Typed::of(&form);
    let input = typed.input();
    let clash = Clash::of(&form, changes(view, &label, &input));
    if clash.is() {
        let page = FormPage::edit(view, place, &label, typed, clash, Problem::default());
        return view.page_with(StatusCode::CONFLICT, &page);
    }
    match view.state.catalog.labels.update(&reach, label.id, &input).await {
        Ok(()) => Ok(view.done(&place.base, Told::new("told-label-saved", typed.name))),
        Err(err) => {
            let p = problem(view, err)?;
            let page = FormPage::edit(view, place, &label, typed, clash, p);
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

#[derive(Template)]
#[template(path = "labels/delete.html")]
struct DeletePage {
    s: Shell,
    base: String,
    action: String,
    label: Label,
    /// Artifacts that wear it.
    wearers: i64,
}

pub(crate) async fn confirm(view: &mut View) -> Result<HttpResponse, Failure> {
    let place = Place::of(view).await?;
    let label = place.label(view).await?;
    let reach = place.reach::<DeleteLabel>(view, &label.id.to_string()).await?;
    let wearers = view.state.catalog.labels.wearers(&reach, label.id).await?;
    let title = view.language.text("label-delete-title", &[("name", (&label.name).into())]);
    let base = place.base.clone();
    let action = address(&base, "-/delete", &label.name);
    view.page(&DeletePage { s: place.below(title), base, action, label, wearers })
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let place = Place::of(view).await?;
    let label = place.label(view).await?;
    let reach = place.reach::<DeleteLabel>(view, &label.id.to_string()).await?;
    view.state.catalog.labels.delete(&reach, label.id).await?;
    Ok(view.done(&place.base, Told::new("told-label-deleted", label.name)))
}
