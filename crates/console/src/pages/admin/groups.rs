//! Groups of people, as directories and identity providers know them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use identity::{Group, GroupFilter, NewGroup};
use tenancy::{CreateGroup, DeleteGroup, ListGroups, UpdateGroup};

use crate::failure::Failure;
use crate::list::List;
use crate::named::{self, group_query};
use crate::pages::admin::admin_shell;
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

/// Kinds of groups, with the keys of their names.
const KINDS: [(i64, &str); 3] = [(3, "group-kind-oidc"), (1, "group-kind-ldap"), (2, "group-kind-http")];

#[derive(Template)]
#[template(path = "admin/groups.html", blocks = ["rows"])]
struct ListPage {
    s: Shell,
    l: List,
    groups: Vec<Group>,
}

impl ListPage {
    fn kind_key(&self, kind: &i16) -> &'static str {
        key_of(*kind)
    }

    fn address(&self, group: &Group) -> String {
        address("edit", group)
    }
}

/// A page of a group.
fn address(page: &str, group: &Group) -> String {
    format!("/admin/groups/-/{page}?{}", group_query(group.kind, &group.name, &group.dn))
}

/// Key of the name of a kind.
fn key_of(kind: i16) -> &'static str {
    KINDS.iter().find(|(number, _)| *number == i64::from(kind)).map_or("group-kind-oidc", |(_, key)| key)
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.state.tenancy.system_permit::<ListGroups>(&view.caller, None).await?;
    let mut l = List::of(view, &["name"], &[]);
    let filter = GroupFilter { name: (!l.q.is_empty()).then_some(&l.q), dn: None };
    let page = view.state.tenancy.group_list(&permit, &filter, l.page, l.size).await?;
    l.total = page.total;
    let page =
        ListPage { s: admin_shell(view, "admin-groups", view.t("groups-title")), l, groups: page.rows };
    view.list(&page.l, &page, &page.as_rows())
}

#[derive(Template)]
#[template(path = "admin/group_new.html")]
struct NewPage {
    s: Shell,
    typed: NewGroup,
    kinds: [(i64, &'static str); 3],
    problem: Problem,
}

impl NewPage {
    fn new(view: &View, typed: NewGroup, problem: Problem) -> Self {
        let s = admin_shell(view, "admin-groups", view.t("group-new-title"))
            .crumb(view.t("groups-title"), "/admin/groups");
        Self { s, typed, kinds: KINDS, problem }
    }
}

/// What is wrong with a group that was typed.
fn group_problem(view: &View, err: tenancy::Error) -> Result<Problem, Failure> {
    Ok(match &err {
        tenancy::Error::Identity(identity::Error::Taken(_)) => Problem::new("name", view.t("group-taken")),
        tenancy::Error::Identity(identity::Error::Invalid(text)) if text.contains("dn") => {
            Problem::new("dn", view.t("group-dn-bad"))
        }
        tenancy::Error::Identity(identity::Error::Invalid(_)) => {
            Problem::new("name", view.t("group-name-bad"))
        }
        _ => Problem::of("name", err.into())?,
    })
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    view.sysadmin().await?;
    let typed = NewGroup { kind: KINDS[0].0, name: String::new(), dn: String::new() };
    view.page(&NewPage::new(view, typed, Problem::default()))
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.state.tenancy.system_permit::<CreateGroup>(&view.caller, None).await?;
    let typed = NewGroup {
        kind: form.text("kind").parse().unwrap_or(0),
        name: form.text("name").to_owned(),
        dn: form.text("dn").to_owned(),
    };
    match view.state.tenancy.group_create(&permit, &typed).await {
        Ok(_) => Ok(view.done("/admin/groups", Told::new("told-group-created", typed.name))),
        Err(err) => {
            let problem = group_problem(view, err)?;
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &NewPage::new(view, typed, problem))
        }
    }
}

#[derive(Template)]
#[template(path = "admin/group.html")]
struct GroupPage {
    s: Shell,
    group: Group,
    action: String,
    delete: String,
    name: String,
    problem: Problem,
}

impl GroupPage {
    fn kind_key(&self, kind: &i16) -> &'static str {
        key_of(*kind)
    }

    fn new(view: &View, group: Group, name: String, problem: Problem) -> Self {
        let s = admin_shell(view, "admin-groups", group.name.clone())
            .crumb(view.t("groups-title"), "/admin/groups");
        let (action, delete) = (address("edit", &group), address("delete", &group));
        Self { s, group, action, delete, name, problem }
    }
}

/// The group that the address names.
async fn target(view: &View) -> Result<Group, Failure> {
    view.sysadmin().await?;
    let known = named::group(view).ok_or_else(Failure::hidden)?;
    view.state.identity.group_find(&known).await?.ok_or_else(Failure::hidden)
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let group = target(view).await?;
    let name = group.name.clone();
    view.page(&GroupPage::new(view, group, name, Problem::default()))
}

pub(crate) async fn rename(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let group = target(view).await?;
    let permit = view.state.tenancy.system_permit::<UpdateGroup>(&view.caller, Some(group.id)).await?;
    let name = form.text("name").to_owned();
    match view.state.tenancy.group_rename(&permit, group.id, &name).await {
        Ok(()) => {
            let path = address("edit", &Group { name: name.clone(), ..group });
            Ok(view.done(&path, Told::new("told-group-renamed", name)))
        }
        Err(err) => {
            let problem = group_problem(view, err)?;
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &GroupPage::new(view, group, name, problem))
        }
    }
}

#[derive(Template)]
#[template(path = "admin/group_delete.html")]
struct DeletePage {
    s: Shell,
    action: String,
    back: String,
}

pub(crate) async fn ask_delete(view: &mut View) -> Result<HttpResponse, Failure> {
    let group = target(view).await?;
    let title = view.language.text("group-delete-title", &[("name", (&group.name).into())]);
    let s = admin_shell(view, "admin-groups", title)
        .crumb(view.t("groups-title"), "/admin/groups")
        .crumb(group.name.clone(), address("edit", &group));
    view.page(&DeletePage { s, action: address("delete", &group), back: address("edit", &group) })
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let group = target(view).await?;
    let permit = view.state.tenancy.system_permit::<DeleteGroup>(&view.caller, Some(group.id)).await?;
    view.state.tenancy.group_delete(&permit, group.id).await?;
    Ok(view.done("/admin/groups", Told::new("told-group-deleted", group.name)))
}
