//! Rules for names of a project: the form with all of them, and what breaks them today.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use catalog::{NamingFinding, NamingMode, NamingRule, NamingTarget, ReportPlace};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tenancy::{ReadNamingPolicy, ReadNamingReport, UpdateNamingPolicy};

use super::base;
use crate::clash::{Change, Clash};
use crate::failure::Failure;
use crate::form::Form;
use crate::pages::projects::project_shell;
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

/// Empty lines of the form, for rules to come.
const BLANK: usize = 2;
/// Findings of one page of the report.
const FINDINGS: usize = 50;

/// Key of the sentence of a rule.
pub(crate) fn sentence_key(rule: &NamingRule) -> &'static str {
    match (rule.target, rule.mode) {
        (NamingTarget::Repository, NamingMode::Enforce) => "naming-repository-enforce",
        (NamingTarget::Repository, NamingMode::Warn) => "naming-repository-warn",
        (NamingTarget::Tag, NamingMode::Enforce) => "naming-tag-enforce",
        (NamingTarget::Tag, NamingMode::Warn) => "naming-tag-warn",
    }
}

#[derive(Template)]
#[template(path = "policies/naming.html")]
struct EditPage {
    s: Shell,
    base: String,
    rules: Vec<NamingRule>,
    clash: Clash,
    p: Problem,
}

impl EditPage {
    fn is_tag(&self, rule: &NamingRule) -> bool {
        rule.target == NamingTarget::Tag
    }

    fn warns(&self, rule: &NamingRule) -> bool {
        rule.mode == NamingMode::Warn
    }
}

fn blank() -> NamingRule {
    NamingRule {
        target: NamingTarget::Tag,
        pattern: String::new(),
        message: String::new(),
        mode: NamingMode::Enforce,
    }
}

/// The lines of the form that say something.
fn rules_of(form: &Form) -> Vec<NamingRule> {
    let all = |name: &str| form.all(name);
    all("pattern")
        .into_iter()
        .zip(all("message"))
        .zip(all("target").into_iter().zip(all("mode")))
        .filter(|((pattern, _), _)| !pattern.trim().is_empty())
        .map(|((pattern, message), (target, mode))| NamingRule {
            target: if target == "repository" { NamingTarget::Repository } else { NamingTarget::Tag },
            pattern: pattern.trim().to_owned(),
            message: message.trim().to_owned(),
            mode: if mode == "warn" { NamingMode::Warn } else { NamingMode::Enforce },
        })
        .collect()
}

pub(crate) async fn edit(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<UpdateNamingPolicy>().await?;
    let read = view.permit::<ReadNamingPolicy>().await?;
    let mut rules = view.state.catalog.naming.of_project(&read).await?;
    let clash = Clash::none(&changes(view, &rules, &rules));
    rules.extend((0..BLANK).map(|_| blank()));
    let s = project_shell(view, &permit, "project-tab-policies", view.t("naming-edit-title"));
    view.page(&EditPage { s, base: base(&permit), rules, clash, p: Problem::default() })
}

/// The rules as they are, against what was typed over them.
fn changes(view: &View, stored: &[NamingRule], typed: &[NamingRule]) -> Vec<Change> {
    let sentence = |rule: &NamingRule| {
        let text = view.language.text(sentence_key(rule), &[("name", rule.pattern.as_str().into())]);
        format!("{text} {}", rule.message).trim_end().to_owned()
    };
    let words = |rules: &[NamingRule]| rules.iter().map(sentence).collect::<Vec<_>>().join("\n");
    vec![Change::new(view.t("naming-title"), &words(stored), &words(typed))]
}

pub(crate) async fn save(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<UpdateNamingPolicy>().await?;
    let mut rules = rules_of(&form);
    let read = view.permit::<ReadNamingPolicy>().await?;
    let stored = view.state.catalog.naming.of_project(&read).await?;
    let clash = Clash::of(&form, changes(view, &stored, &rules));
    let mut p = Problem::default();
    if !clash.is() {
        match view.state.catalog.naming.set_for_project(&permit, &rules).await {
            Ok(()) => return Ok(view.done(&base(&permit), Told::new("told-naming-saved", ""))),
            Err(err) => p = Problem::of("pattern-1", err.into())?,
        }
    }
    let status = if clash.is() { StatusCode::CONFLICT } else { StatusCode::UNPROCESSABLE_ENTITY };
    rules.extend((0..BLANK).map(|_| blank()));
    let s = project_shell(view, &permit, "project-tab-policies", view.t("naming-edit-title"));
    view.page_with(status, &EditPage { s, base: base(&permit), rules, clash, p })
}

#[derive(Template)]
#[template(path = "policies/report.html")]
struct ReportPage {
    s: Shell,
    findings: Vec<NamingFinding>,
    back: String,
    /// Where the report goes on.
    next: Option<String>,
    /// It does not begin at the first name.
    later: bool,
}

pub(crate) async fn report(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ReadNamingReport>().await?;
    let after = view.query("after");
    let place: ReportPlace = after.as_deref().map(str::parse).transpose()?.unwrap_or_default();
    let report = view.state.catalog.naming.report_of_project(&permit, place, FINDINGS).await?;
    let next = report.next.map(|next| {
        format!("{}?after={}", view.path(), utf8_percent_encode(&next.to_string(), NON_ALPHANUMERIC))
    });
    let s = project_shell(view, &permit, "project-tab-policies", view.t("naming-report-title"));
    view.page(&ReportPage { s, findings: report.findings, back: base(&permit), next, later: after.is_some() })
}
