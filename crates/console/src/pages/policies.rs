//! Policies of a project: which tags are locked, and what names may be. Rules read as sentences here.

pub(crate) mod naming;

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use catalog::{ImmutableRule, LockedTag, NamingRule, RuleInput, Selector};
use tenancy::list::{Query, Value};
use tenancy::roles::{Action, Resource};
use tenancy::{
    CreateImmutableRule, DeleteImmutableRule, ListImmutableRules, Permit, ReadNamingPolicy, ReadProject,
    UpdateImmutableRule,
};

use crate::clash::{Change, Clash};
use crate::failure::Failure;
use crate::form::Form;
use crate::pages::projects::project_shell;
use crate::problem::Problem;
use crate::shell::{Shell, Told, segment};
use crate::text::Language;
use crate::view::View;

/// More than a project may have.
const RULES_MAX: i64 = 100;
/// Locked tags that a preview shows.
const PREVIEW_MAX: i64 = 20;

const EVERYTHING: &str = "**";
const REPOSITORY: &str = "repository";

/// A pattern and whether it is meant or left out, as the form has them.
#[derive(Clone)]
struct Part {
    excludes: bool,
    pattern: String,
}

/// What a rule says, as far as the form can say it.
#[derive(Clone)]
struct Builder {
    repositories: Part,
    tags: Part,
}

impl Builder {
    fn usual() -> Self {
        let part = |pattern: &str| Part { excludes: false, pattern: pattern.to_owned() };
        Self { repositories: part(EVERYTHING), tags: part("v*") }
    }

    fn of_form(form: &Form) -> Self {
        let part = |how: &str, pattern: &str| Part {
            excludes: form.text(how) == "excludes",
            pattern: form.text(pattern).to_owned(),
        };
        Self { repositories: part("repohow", "repositories"), tags: part("taghow", "tags") }
    }

    /// Nothing for rules with several patterns of one kind: those came over the API and are changed there.
    fn of_rule(rule: &ImmutableRule) -> Option<Self> {
        let part = |selectors: &[Selector], excludes: &str| match selectors {
            [one] => Some(Part { excludes: one.decoration == excludes, pattern: one.pattern.clone() }),
            _ => None,
        };
        let repositories = rule.scope_selectors.get(REPOSITORY).map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            repositories: part(repositories, "repoExcludes")?,
            tags: part(&rule.tag_selectors, "excludes")?,
        })
    }

    /// Selectors of a rule.
    fn selectors(&self) -> (Vec<Selector>, BTreeMap<String, Vec<Selector>>) {
        let one = |part: &Part, matches: &str, excludes: &str| {
            vec![Selector {
                kind: "doublestar".to_owned(),
                decoration: if part.excludes { excludes } else { matches }.to_owned(),
                pattern: part.pattern.clone(),
                extras: String::new(),
            }]
        };
        let repositories = one(&self.repositories, "repoMatches", "repoExcludes");
        (one(&self.tags, "matches", "excludes"), BTreeMap::from([(REPOSITORY.to_owned(), repositories)]))
    }

    fn input(&self, disabled: bool) -> RuleInput {
        let (tag_selectors, scope_selectors) = self.selectors();
        RuleInput { disabled, tag_selectors, scope_selectors, ..RuleInput::default() }
    }
}

/// The rule as it is, with another standing.
fn kept(rule: &ImmutableRule, disabled: bool) -> RuleInput {
    RuleInput {
        disabled,
        priority: rule.priority,
        tag_selectors: rule.tag_selectors.clone(),
        scope_selectors: rule.scope_selectors.clone(),
        params: rule.params.clone(),
    }
}

/// The rule in words.
pub(crate) fn immutable_sentence(language: Language, rule: &ImmutableRule) -> String {
    let words = |selectors: &[Selector]| {
        let of = |excluded: bool| {
            let patterns: Vec<&str> = selectors
                .iter()
                .filter(|one| one.decoration.to_ascii_lowercase().ends_with("excludes") == excluded)
                .map(|one| one.pattern.as_str())
                .collect();
            patterns.join(", ")
        };
        match (of(false), of(true)) {
            (matched, excluded) if excluded.is_empty() && (matched == EVERYTHING || matched.is_empty()) => {
                language.text("policy-all", &[])
            }
            (matched, excluded) if excluded.is_empty() => {
                language.text("policy-matching", &[("name", matched.into())])
            }
            (matched, excluded) if matched.is_empty() => {
                language.text("policy-excluding", &[("name", excluded.into())])
            }
            (matched, excluded) => language
                .text("policy-matching-except", &[("name", matched.into()), ("other", excluded.into())]),
        }
    };
    let repositories = rule.scope_selectors.get(REPOSITORY).map(Vec::as_slice).unwrap_or_default();
    let tags = words(&rule.tag_selectors);
    let args = [("name", tags.into()), ("other", words(repositories).into())];
    language.text("policy-immutable-sentence", &args)
}

/// Rules of a project with their sentences, as far as the viewer may know them.
pub(crate) struct Policies {
    pub immutable: Option<Vec<(ImmutableRule, String)>>,
    pub naming: Option<Vec<(NamingRule, &'static str)>>,
}

impl Policies {
    pub async fn of<A>(view: &View, permit: &Permit<A>) -> Result<Self, Failure> {
        let may = |resource, action| permit.rights().allow(resource, action);
        let immutable = if may(Resource::ImmutableTag, Action::List) {
            let list = view.permit::<ListImmutableRules>().await?;
            let query = Query { page_size: RULES_MAX, ..Query::default() };
            let rules = view.state.catalog.immutable.list(&list, &query).await?.rows;
            let told = |rule: ImmutableRule| {
                let sentence = immutable_sentence(view.language, &rule);
                (rule, sentence)
            };
            Some(rules.into_iter().map(told).collect())
        } else {
            None
        };
        let naming = if may(Resource::Configuration, Action::Read) {
            let read = view.permit::<ReadNamingPolicy>().await?;
            let rules = view.state.catalog.naming.of_project(&read).await?;
            Some(
                rules
                    .into_iter()
                    .map(|rule| {
                        let key = naming::sentence_key(&rule);
                        (rule, key)
                    })
                    .collect(),
            )
        } else {
            None
        };
        Ok(Self { immutable, naming })
    }

    /// Whether nothing is in force, as far as the viewer may know.
    pub fn is_empty(&self) -> bool {
        let locked = self.immutable.iter().flatten().any(|(rule, _)| !rule.disabled);
        !locked && self.naming.as_ref().is_none_or(Vec::is_empty)
    }
}

#[derive(Template)]
#[template(path = "policies/show.html")]
struct ShowPage {
    s: Shell,
    base: String,
    policies: Policies,
    may_create: bool,
    may_update: bool,
    may_delete: bool,
    may_name: bool,
}

fn base<A>(permit: &Permit<A>) -> String {
    format!("/projects/{}/policies", segment(permit.name.as_str()))
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ReadProject>().await?;
    let policies = Policies::of(view, &permit).await?;
    if policies.immutable.is_none() && policies.naming.is_none() {
        return Err(Failure::hidden());
    }
    let may = |resource, action| permit.rights().allow(resource, action);
    view.page(&ShowPage {
        s: project_shell(view, &permit, "project-tab-policies", view.t("policies-title")),
        base: base(&permit),
        policies,
        may_create: may(Resource::ImmutableTag, Action::Create),
        may_update: may(Resource::ImmutableTag, Action::Update),
        may_delete: may(Resource::ImmutableTag, Action::Delete),
        may_name: may(Resource::Project, Action::Update),
    })
}

#[derive(Template)]
#[template(path = "policies/rule.html")]
struct RulePage {
    s: Shell,
    /// Where the form goes.
    action: String,
    back: String,
    builder: Builder,
    clash: Clash,
    /// Tags that it locks now, and how many there are.
    locked: Option<(Vec<LockedTag>, i64)>,
    p: Problem,
}

impl RulePage {
    async fn new<A>(
        view: &View,
        permit: &Permit<A>,
        action: String,
        builder: Builder,
        preview: bool,
        p: Problem,
    ) -> Result<Self, Failure> {
        let (mut p, mut locked) = (p, None);
        if preview {
            let list = view.permit::<ListImmutableRules>().await?;
            match view.state.catalog.immutable.locked(&list, &builder.input(false), PREVIEW_MAX).await {
                Ok(page) => locked = Some((page.rows, page.total)),
                Err(err) => p = Problem::of("tags", err.into())?,
            }
        }
        let title = if action.ends_with("/new") { "policy-new-title" } else { "policy-edit-title" };
        let s = project_shell(view, permit, "project-tab-policies", view.t(title));
        Ok(Self { s, action, back: base(permit), builder, clash: Clash::default(), locked, p })
    }
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<CreateImmutableRule>().await?;
    let action = format!("{}/immutability/new", base(&permit));
    let page = RulePage::new(view, &permit, action, Builder::usual(), false, Problem::default()).await?;
    view.page(&page)
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<CreateImmutableRule>().await?;
    let builder = Builder::of_form(&form);
    let action = format!("{}/immutability/new", base(&permit));
    if form.text("do") == "preview" {
        return previewed(view, &permit, action, builder, Clash::default()).await;
    }
    let problem = match view.state.catalog.immutable.create(&permit, &builder.input(false)).await {
        Ok(_) => return Ok(view.done(&base(&permit), Told::new("told-policy-made", ""))),
        Err(catalog::Error::Conflict(_)) => Problem::new("tags", view.t("policy-twin")),
        Err(err) => Problem::of("tags", err.into())?,
    };
    let page = RulePage::new(view, &permit, action, builder, false, problem).await?;
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// The form with what the rule would lock; nothing is stored.
async fn previewed<A>(
    view: &View,
    permit: &Permit<A>,
    action: String,
    builder: Builder,
    clash: Clash,
) -> Result<HttpResponse, Failure> {
    let page = RulePage::new(view, permit, action, builder, true, Problem::default()).await?;
    let status = if page.p.is() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    view.page_with(status, &RulePage { clash, ..page })
}

/// The rule of the path.
async fn found(view: &View) -> Result<ImmutableRule, Failure> {
    let permit = view.permit::<ListImmutableRules>().await?;
    let id = Value::Exact(view.number("rule")?.to_string());
    let query = Query { terms: vec![("id".to_owned(), id)], ..Query::default() };
    let page = view.state.catalog.immutable.list(&permit, &query).await?;
    page.rows.into_iter().next().ok_or_else(Failure::hidden)
}

pub(crate) async fn edit(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<UpdateImmutableRule>().await?;
    let rule = found(view).await?;
    let action = format!("{}/immutability/{}", base(&permit), rule.id);
    let builder = Builder::of_rule(&rule).ok_or_else(Failure::hidden)?;
    let clash = Clash::none(&changes(view, &rule, &builder));
    let page = RulePage::new(view, &permit, action, builder, true, Problem::default()).await?;
    view.page(&RulePage { clash, ..page })
}

/// The rule as it is, against what was typed over it.
fn changes(view: &View, rule: &ImmutableRule, typed: &Builder) -> Vec<Change> {
    let (tag_selectors, scope_selectors) = typed.selectors();
    let wanted = ImmutableRule { tag_selectors, scope_selectors, ..rule.clone() };
    let words = |rule: &ImmutableRule| immutable_sentence(view.language, rule);
    vec![Change::new(view.t("policy-rule"), &words(rule), &words(&wanted))]
}

pub(crate) async fn update(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<UpdateImmutableRule>().await?;
    let rule = found(view).await?;
    let action = format!("{}/immutability/{}", base(&permit), rule.id);
    let builder = Builder::of_form(&form);
    let clash = Clash::of(&form, changes(view, &rule, &builder));
    if clash.is() {
        let page = RulePage::new(view, &permit, action, builder, false, Problem::default()).await?;
        return view.page_with(StatusCode::CONFLICT, &RulePage { clash, ..page });
    }
    if form.text("do") == "preview" {
        return previewed(view, &permit, action, builder, clash).await;
    }
    let (tag_selectors, scope_selectors) = builder.selectors();
    let input = RuleInput { tag_selectors, scope_selectors, ..kept(&rule, rule.disabled) };
    let problem = match view.state.catalog.immutable.update(&permit, rule.id, &input).await {
        Ok(()) => return Ok(view.done(&base(&permit), Told::new("told-policy-saved", ""))),
        Err(catalog::Error::Conflict(_)) => Problem::new("tags", view.t("policy-twin")),
        Err(err) => Problem::of("tags", err.into())?,
    };
    let page = RulePage::new(view, &permit, action, builder, false, problem).await?;
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &RulePage { clash, ..page })
}

pub(crate) async fn disable(view: &mut View) -> Result<HttpResponse, Failure> {
    switch(view, true).await
}

pub(crate) async fn enable(view: &mut View) -> Result<HttpResponse, Failure> {
    switch(view, false).await
}

async fn switch(view: &mut View, disabled: bool) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let permit = view.permit::<UpdateImmutableRule>().await?;
    let rule = found(view).await?;
    view.state.catalog.immutable.update(&permit, rule.id, &kept(&rule, disabled)).await?;
    let base = base(&permit);
    let (key, back) =
        if disabled { ("told-policy-disabled", "enable") } else { ("told-policy-enabled", "disable") };
    let told = Told::new(key, "").undo(format!("{base}/immutability/{}/{back}", rule.id), Vec::new());
    Ok(view.done(&base, told))
}

#[derive(Template)]
#[template(path = "policies/delete.html")]
struct DeletePage {
    s: Shell,
    action: String,
    back: String,
    sentence: String,
    locked: i64,
}

pub(crate) async fn confirm(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<DeleteImmutableRule>().await?;
    let list = view.permit::<ListImmutableRules>().await?;
    let rule = found(view).await?;
    let locked = view.state.catalog.immutable.locked(&list, &kept(&rule, false), 1).await?.total;
    view.page(&DeletePage {
        s: project_shell(view, &permit, "project-tab-policies", view.t("policy-delete-title")),
        action: format!("{}/immutability/{}/-/delete", base(&permit), rule.id),
        back: base(&permit),
        sentence: immutable_sentence(view.language, &rule),
        locked: if rule.disabled { 0 } else { locked },
    })
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let permit = view.permit::<DeleteImmutableRule>().await?;
    view.state.catalog.immutable.delete(&permit, view.number("rule")?).await?;
    Ok(view.done(&base(&permit), Told::new("told-policy-deleted", "")))
}
