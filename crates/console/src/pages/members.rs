//! Members of a project: who holds which role, and changes of that.
//!
//! The last administrator is kept from here, so that nobody locks everybody out by mistake; whoever means it can still
//! delete the project or ask a system administrator.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use identity::GroupFilter;
use tenancy::roles::{Action, Resource};
use tenancy::{
    CreateMember, DeleteMember, Error, ListMembers, Member, MemberRef, NewMember, Permit, ReadMember, Role,
    UpdateMember,
};

use crate::failure::Failure;
use crate::form::Form;
use crate::list::List;
use crate::named;
use crate::pages::projects::project_shell;
use crate::problem::Problem;
use crate::shell::{Shell, Told, segment};
use crate::view::View;

/// Groups of one name; more of them cannot be told apart in a form.
const SAME_NAME_MAX: i64 = 100;

/// Key of a role's name.
pub(crate) fn role_key(role: Role) -> &'static str {
    match role {
        Role::ProjectAdmin => "role-admin",
        Role::Maintainer => "role-maintainer",
        Role::Developer => "role-developer",
        Role::Guest => "role-guest",
        Role::LimitedGuest => "role-limited",
    }
}

/// Key of what a role may do, in one line.
fn role_what_key(role: Role) -> &'static str {
    match role {
        Role::ProjectAdmin => "role-admin-what",
        Role::Maintainer => "role-maintainer-what",
        Role::Developer => "role-developer-what",
        Role::Guest => "role-guest-what",
        Role::LimitedGuest => "role-limited-what",
    }
}

/// A member as the page shows it.
struct Row {
    id: i64,
    name: String,
    /// What names it in an address.
    query: String,
    group: bool,
    role: Role,
    /// Without this member nobody would administer the project.
    last: bool,
}

impl Row {
    fn new(member: Member, administrators: i64) -> Option<Self> {
        let role = Role::from_id(member.role.into())?;
        let last = role == Role::ProjectAdmin && administrators <= 1;
        let query = match member.group_kind {
            Some(kind) => {
                named::group_query(kind, &member.name, member.group_dn.as_deref().unwrap_or_default())
            }
            None => named::user_query(&member.name),
        };
        let group = member.group_kind.is_some();
        Some(Self { id: member.id, name: member.name, query, group, role, last })
    }

    fn role_key(&self) -> &'static str {
        role_key(self.role)
    }

    fn role_what(&self) -> &'static str {
        role_what_key(self.role)
    }
}

/// What was typed into the form for a new member.
#[derive(Default)]
struct Typed {
    kind: String,
    name: String,
    role: String,
}

#[derive(Template)]
#[template(path = "members/list.html", blocks = ["rows"])]
struct ListPage {
    s: Shell,
    l: List,
    base: String,
    members: Vec<Row>,
    /// Number, key of the name and key of the description of every role.
    roles: Vec<(i16, &'static str, &'static str)>,
    may_add: bool,
    may_change: bool,
    may_remove: bool,
    typed: Typed,
    p: Problem,
}

impl ListPage {
    async fn new<A>(
        view: &View,
        permit: &Permit<A>,
        members: &Permit<ListMembers>,
        typed: Typed,
        p: Problem,
    ) -> Result<Self, Failure> {
        let mut l = List::of(view, &["name"], &[]);
        let tenancy = &view.state.tenancy;
        let narrowed = Some(l.q.as_str()).filter(|part| !part.is_empty());
        let page = tenancy.member_list(members, narrowed, l.page, l.size).await?;
        let administrators = tenancy.member_counts(permit.project).await?.project_admin;
        l.total = page.total;
        let may = |action| permit.rights().allow(Resource::Member, action);
        Ok(Self {
            s: project_shell(view, permit, "project-tab-members", view.t("members-title")),
            l,
            base: base(permit),
            members: page.rows.into_iter().filter_map(|member| Row::new(member, administrators)).collect(),
            roles: Role::ALL
                .into_iter()
                .map(|role| (role.id(), role_key(role), role_what_key(role)))
                .collect(),
            may_add: may(Action::Create),
            may_change: may(Action::Update),
            may_remove: may(Action::Delete),
            typed,
            p,
        })
    }

    fn role_chosen(&self, role: &i16) -> bool {
        let usual = Role::Developer.id().to_string();
        let typed = if self.typed.role.is_empty() { &usual } else { &self.typed.role };
        *typed == role.to_string()
    }
}

fn base<A>(permit: &Permit<A>) -> String {
    format!("/projects/{}/members", segment(permit.name.as_str()))
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListMembers>().await?;
    let page = ListPage::new(view, &permit, &permit, Typed::default(), Problem::default()).await?;
    view.list(&page.l, &page, &page.as_rows())
}

/// The list again, with what is wrong.
async fn refused<A>(
    view: &View,
    permit: &Permit<A>,
    typed: Typed,
    p: Problem,
) -> Result<HttpResponse, Failure> {
    let members = view.permit::<ListMembers>().await?;
    let page = ListPage::new(view, permit, &members, typed, p).await?;
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

pub(crate) async fn add(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<CreateMember>().await?;
    let name = form.text("name").to_owned();
    let typed =
        Typed { kind: form.text("kind").to_owned(), name: name.clone(), role: form.text("role").to_owned() };
    let member = match member_of(view, &form).await? {
        Ok(member) => member,
        Err(text) => return refused(view, &permit, typed, Problem::new("name", text)).await,
    };
    let new = NewMember { member, role: form.text("role").parse().unwrap_or_default() };
    let problem = match view.state.tenancy.member_add(&permit, &new).await {
        Ok(_) => return Ok(view.done(&base(&permit), Told::new("told-member-added", name))),
        Err(Error::UserUnknown(_)) => Problem::new("name", about(view, "member-user-unknown", &name)),
        Err(Error::MemberExists(_)) => Problem::new("name", about(view, "member-exists", &name)),
        Err(err) => Problem::of("name", err.into())?,
    };
    refused(view, &permit, typed, problem).await
}

/// Whom the form names; a sentence when it names nobody.
async fn member_of(view: &View, form: &Form) -> Result<Result<MemberRef, String>, Failure> {
    let name = form.text("name");
    if name.is_empty() {
        return Ok(Err(view.t("member-name-missing")));
    }
    if form.text("kind") != "group" {
        return Ok(Ok(MemberRef::UserName(name.to_owned())));
    }
    let filter = GroupFilter { name: Some(name), dn: None };
    let found = view.state.identity.group_page(&filter, 1, SAME_NAME_MAX).await?;
    let mut same = found.rows.into_iter().filter(|group| group.name == name);
    Ok(match (same.next(), same.next()) {
        (Some(group), None) => Ok(MemberRef::GroupId(group.id)),
        (Some(_), Some(_)) => Err(about(view, "member-group-ambiguous", name)),
        (None, _) => Err(about(view, "member-group-unknown", name)),
    })
}

fn about(view: &View, key: &str, name: &str) -> String {
    view.language.text(key, &[("name", name.into())])
}

/// The member that the address names, and whether nobody else administers the project.
async fn found<A>(view: &View, permit: &Permit<A>) -> Result<Row, Failure> {
    let read = view.permit::<ReadMember>().await?;
    let name = named::member(view).ok_or_else(Failure::hidden)?;
    let member = view.state.tenancy.member_find(&read, &name).await?.ok_or_else(Failure::hidden)?;
    let administrators = view.state.tenancy.member_counts(permit.project).await?.project_admin;
    Row::new(member, administrators).ok_or_else(Failure::hidden)
}

pub(crate) async fn change(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<UpdateMember>().await?;
    let row = found(view, &permit).await?;
    let role: i64 = form.text("role").parse().unwrap_or_default();
    if row.last && role != i64::from(Role::ProjectAdmin.id()) {
        let problem = Problem::new("members", about(view, "member-last", &row.name));
        return refused(view, &permit, Typed::default(), problem).await;
    }
    match view.state.tenancy.member_update(&permit, row.id, role).await {
        Ok(()) => Ok(view.done(&base(&permit), Told::new("told-member-changed", row.name))),
        Err(err) => {
            let problem = Problem::of("members", err.into())?;
            refused(view, &permit, Typed::default(), problem).await
        }
    }
}

#[derive(Template)]
#[template(path = "members/delete.html")]
struct DeletePage {
    s: Shell,
    base: String,
    member: Row,
}

pub(crate) async fn confirm(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<DeleteMember>().await?;
    let member = found(view, &permit).await?;
    let title = about(view, "member-remove-title", &member.name);
    let s = project_shell(view, &permit, "project-tab-members", title);
    view.page(&DeletePage { s, base: base(&permit), member })
}

pub(crate) async fn remove(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let permit = view.permit::<DeleteMember>().await?;
    let row = found(view, &permit).await?;
    if row.last {
        let problem = Problem::new("members", about(view, "member-last", &row.name));
        return refused(view, &permit, Typed::default(), problem).await;
    }
    view.state.tenancy.member_remove(&permit, row.id).await?;
    let base = base(&permit);
    let mut told = Told::new("told-member-removed", row.name.clone());
    if permit.rights().allow(Resource::Member, Action::Create) {
        let field = |name: &str, value: String| (name.to_owned(), value);
        let kind = if row.group { "group" } else { "user" };
        let fields = vec![
            field("kind", kind.to_owned()),
            field("name", row.name),
            field("role", row.role.id().to_string()),
        ];
        told = told.undo(base.clone(), fields);
    }
    Ok(view.done(&base, told))
}
