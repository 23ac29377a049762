//! Settings that are changed while the installation runs.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use serde_json::{Map, Value, json};
use tenancy::Configured;

use crate::clash::{Change, Clash};
use crate::failure::Failure;
use crate::form::Form;
use crate::pages::admin::{admin_shell, gib, typed_limit};
use crate::problem::Problem;
use crate::shell::{BannerForm, Shell, Told};
use crate::view::View;

/// A pull that is not recorded is named so.
const PULLS: &str = "pull_artifact";

/// Kinds of messages, with the keys of their names.
const BANNERS: [(&str, &str); 4] = [
    ("info", "banner-info"),
    ("success", "banner-success"),
    ("warning", "banner-warning"),
    ("danger", "banner-danger"),
];

/// Settings with a whole number, and the unit's key.
const NUMBERS: [(&str, &str, &str); 3] = [
    ("session_timeout", "setting-session", "setting-session-hint"),
    ("restore_days", "setting-restore", "setting-restore-hint"),
    ("robot_token_duration", "setting-robot", "setting-robot-hint"),
];

/// What the names of robots begin with.
const PREFIX: &str = "robot_name_prefix";

/// Switches, with the keys of their name and of what they do.
const FLAGS: [(&str, &str, &str); 3] = [
    ("read_only", "setting-read-only", "setting-read-only-hint"),
    ("project_request_enabled", "setting-requests", "setting-requests-hint"),
    ("quota_per_project_enable", "setting-quotas", "setting-quotas-hint"),
];

#[derive(Template)]
#[template(path = "admin/settings.html")]
struct SettingsPage {
    s: Shell,
    held: BTreeMap<&'static str, Configured>,
    problem: Problem,
    flags: [(&'static str, &'static str, &'static str); 3],
    numbers: [(&'static str, &'static str, &'static str); 3],
    banners: [(&'static str, &'static str); 4],
    banner: BannerForm,
    /// Numbers as typed, by key.
    typed: BTreeMap<String, String>,
    prefix: String,
    limit: String,
    unlimited: bool,
    clash: Clash,
}

impl SettingsPage {
    async fn new(view: &View) -> Result<Self, Failure> {
        let held = view.state.tenancy.configuration(&view.caller).await?;
        let text = |key: &str| held.get(key).and_then(|held| held.value.as_str()).unwrap_or_default();
        let number = |key: &str| held.get(key).and_then(|held| held.value.as_i64()).unwrap_or_default();
        let banner = match text("banner_message") {
            "" => BannerForm::default(),
            text => BannerForm::parse(text),
        };
        let typed = NUMBERS.iter().map(|(key, ..)| ((*key).to_owned(), number(key).to_string())).collect();
        let limit = number("storage_per_project");
        let prefix = text(PREFIX).to_owned();
        let clash = Clash::none(&differences(view, &held, &Map::new()));
        let s = admin_shell(view, "admin-settings", view.t("settings-title"));
        Ok(Self {
            s,
            problem: Problem::default(),
            flags: FLAGS,
            numbers: NUMBERS,
            banners: BANNERS,
            banner,
            typed,
            prefix,
            clash,
            limit: gib(limit),
            unlimited: limit < 0,
            held,
        })
    }

    /// Shows what was typed.
    fn keep(&mut self, form: &Form) {
        self.banner = banner(form);
        self.typed = NUMBERS.iter().map(|(key, ..)| ((*key).to_owned(), form.text(key).to_owned())).collect();
        self.prefix = form.text(PREFIX).to_owned();
        self.limit = form.text("limit").to_owned();
        self.unlimited = form.ticked("unlimited");
    }

    fn on(&self, key: &str) -> bool {
        self.held.get(key).is_some_and(|held| held.value == Value::Bool(true))
    }

    fn is(&self, key: &str, value: &str) -> bool {
        self.held.get(key).is_some_and(|held| held.value == value)
    }

    fn editable(&self, key: &str) -> bool {
        self.held.get(key).is_some_and(|held| held.editable)
    }

    fn typed(&self, key: &str) -> &str {
        self.typed.get(key).map_or("", String::as_str)
    }

    fn number(&self, key: &str) -> i64 {
        self.held.get(key).and_then(|held| held.value.as_i64()).unwrap_or_default()
    }

    /// Where the value comes from, and what it would be otherwise.
    fn source(&self, key: &str) -> String {
        let Some(held) = self.held.get(key) else { return String::new() };
        let default = match &held.default {
            Value::Bool(true) => self.s.t("value-on"),
            Value::Bool(false) => self.s.t("value-off"),
            Value::Number(number) if number.as_i64() == Some(-1) => self.s.t("unlimited"),
            Value::Number(number) => number.to_string(),
            Value::String(text) if text.is_empty() => self.s.t("setting-empty"),
            Value::String(text) if text == "everyone" => self.s.t("setting-creation-everyone"),
            Value::String(text) => text.clone(),
            _ => String::new(),
        };
        match (held.editable, held.stored) {
            (false, _) => self.s.about("setting-from-start", variable(key)),
            (true, true) => self.s.about("setting-from-here", default),
            (true, false) => self.s.t("setting-from-default"),
        }
    }
}

/// The variable of the environment that fixes a setting.
fn variable(key: &str) -> &'static str {
    match key {
        "token_expiration" => "HYTHE_IDENTITY__TOKEN_MINUTES",
        _ => "HYTHE_TENANCY__READ_ONLY",
    }
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let page = SettingsPage::new(view).await?;
    view.page(&page)
}

/// The settings of the form as they are, against `changes`; what is not among those stays as it is.
fn differences(
    view: &View,
    held: &BTreeMap<&'static str, Configured>,
    changes: &Map<String, Value>,
) -> Vec<Change> {
    let labels = [
        ("project_creation_restriction", "setting-creation"),
        ("disabled_audit_log_event_types", "setting-pulls"),
        ("storage_per_project", "setting-limit"),
        (PREFIX, "setting-prefix"),
        ("banner_message", "setting-banner"),
    ];
    let all = FLAGS.iter().chain(&NUMBERS).map(|(key, label, _)| (*key, *label)).chain(labels);
    all.map(|(key, label)| {
        let stored = held.get(key).map(|held| words(view, key, &held.value)).unwrap_or_default();
        let typed = changes.get(key).map_or_else(|| stored.clone(), |value| words(view, key, value));
        Change::new(view.t(label), &stored, &typed)
    })
    .collect()
}

/// A value as people read it.
fn words(view: &View, key: &str, value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    match (key, value) {
        (_, Value::Bool(on)) => view.t(if *on { "value-on" } else { "value-off" }),
        ("storage_per_project", Value::Number(bytes)) => match bytes.as_i64() {
            Some(bytes) if bytes >= 0 => gib(bytes),
            _ => view.t("unlimited"),
        },
        ("project_creation_restriction", _) if text == "adminonly" => view.t("setting-creation-admins"),
        ("project_creation_restriction", _) => view.t("setting-creation-everyone"),
        ("disabled_audit_log_event_types", _) => {
            view.t(if text.is_empty() { "value-on" } else { "value-off" })
        }
        ("banner_message", _) if text.is_empty() => String::new(),
        ("banner_message", _) => {
            let BannerForm { message, r#type, from, to, .. } = BannerForm::parse(text);
            [r#type, from, to, message].join(" ").trim().to_owned()
        }
        (_, Value::Number(number)) => number.to_string(),
        _ => text.to_owned(),
    }
}

/// What the form says, as changes of the configuration; what cannot be changed here is left out.
fn changes(view: &View, form: &Form, page: &SettingsPage) -> Result<Map<String, Value>, Problem> {
    let mut changes = Map::new();
    for (key, ..) in FLAGS.iter().filter(|(key, ..)| page.editable(key)) {
        changes.insert((*key).to_owned(), form.ticked(key).into());
    }
    for (key, ..) in NUMBERS {
        let number: i64 =
            form.text(key).parse().map_err(|_| Problem::new(key, view.t("setting-number-bad")))?;
        changes.insert(key.to_owned(), number.into());
    }
    let creation =
        if form.text("project_creation_restriction") == "adminonly" { "adminonly" } else { "everyone" };
    changes.insert("project_creation_restriction".to_owned(), creation.into());
    let limit = typed_limit(form.text("limit"), form.ticked("unlimited"));
    let limit = limit.ok_or_else(|| Problem::new("limit", view.t("quota-bad")))?;
    changes.insert("storage_per_project".to_owned(), limit.into());
    if let Some(prefix) = form.all(PREFIX).first() {
        changes.insert(PREFIX.to_owned(), prefix.trim().into());
    }
    let pulls = if form.ticked("audit_pulls") { "" } else { PULLS };
    changes.insert("disabled_audit_log_event_types".to_owned(), pulls.into());
    let banner = banner(form);
    for (field, text) in [("banner_from", &banner.from), ("banner_to", &banner.to)] {
        if !text.is_empty() && text.parse::<chrono::NaiveDate>().is_err() {
            return Err(Problem::new(field, view.t("token-date-bad")));
        }
    }
    let text = if banner.message.is_empty() { String::new() } else { json!(banner).to_string() };
    changes.insert("banner_message".to_owned(), text.into());
    Ok(changes)
}

fn banner(form: &Form) -> BannerForm {
    BannerForm {
        message: form.text("banner").to_owned(),
        r#type: form.text("banner_type").to_owned(),
        closable: false,
        from: form.text("banner_from").to_owned(),
        to: form.text("banner_to").to_owned(),
    }
}

pub(crate) async fn change(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let mut page = SettingsPage::new(view).await?;
    let changed = match changes(view, &form, &page) {
        Ok(mut changes) => {
            // A message that another client wrote in its own form stays as it is until somebody changes it.
            if json!(page.banner) == json!(banner(&form)) {
                changes.remove("banner_message");
            }
            page.clash = Clash::of(&form, differences(view, &page.held, &changes));
            if page.clash.is() {
                page.keep(&form);
                return view.page_with(StatusCode::CONFLICT, &page);
            }
            let update = view.state.tenancy.configuration_update(&view.caller, &changes).await;
            update.map_err(|err| {
                let failure = Failure::from(err);
                if failure.detail.contains("prefix") {
                    return Ok(Problem::new(PREFIX, view.t("setting-prefix-bad")));
                }
                let named = NUMBERS.iter().find(|(key, ..)| failure.detail.starts_with(key));
                Problem::of(named.map_or("limit", |(key, ..)| key), failure)
            })
        }
        Err(problem) => Err(Ok(problem)),
    };
    match changed {
        Ok(()) => Ok(view.done("/admin/settings/general", Told::new("told-settings-saved", ""))),
        Err(problem) => {
            page.problem = problem?;
            page.keep(&form);
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
