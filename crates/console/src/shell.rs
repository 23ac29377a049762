//! What is around every page: top bar, navigation, way back, messages. And how templates get at texts and formats.

use std::borrow::{Borrow, Cow};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::text::{Language, Value};
use crate::view::View;
use crate::{assets, format};

/// Colours of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What is no theme is the system's.
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text).unwrap_or(Self::System)
    }

    /// Key of its name.
    pub fn key(&self) -> &'static str {
        match self {
            Self::System => "theme-system",
            Self::Light => "theme-light",
            Self::Dark => "theme-dark",
        }
    }
}

/// A message for the next page, with what it is about and perhaps the way to take it back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    /// A text that begins with `told-`.
    key: String,
    name: String,
    count: i64,
    /// Where to post in order to undo, and with which fields.
    undo: Option<(String, Vec<(String, String)>)>,
}

impl Told {
    pub fn new(key: &str, name: impl Into<String>) -> Self {
        Self { key: key.to_owned(), name: name.into(), count: 1, undo: None }
    }

    /// Whether it is this message.
    pub fn is(&self, key: &str) -> bool {
        self.key == key
    }

    pub fn count(self, count: i64) -> Self {
        Self { count, ..self }
    }

    pub fn undo(self, action: String, fields: Vec<(String, String)>) -> Self {
        Self { undo: Some((action, fields)), ..self }
    }

    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// From a cookie. What it says is shown as text, and it can name only texts that are messages.
    pub fn parse(text: &str) -> Option<Self> {
        let told: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let local = told.undo.as_ref().is_none_or(|(action, _)| crate::view::local(action) == action);
        (told.key.starts_with("told-") && local).then_some(told)
    }
}

/// A message of the administrators to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Banner {
    pub message: String,
    /// Class of the note that it stands in.
    pub class: &'static str,
}

/// The form in which clients keep the message.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BannerForm {
    pub message: String,
    /// `info`, `success`, `warning` or `danger`.
    pub r#type: String,
    pub closable: bool,
    #[serde(alias = "fromDate", deserialize_with = "day")]
    pub from: String,
    #[serde(alias = "toDate", deserialize_with = "day")]
    pub to: String,
}

/// The day of a moment, which clients write as text, as a moment or not at all.
fn day<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().unwrap_or_default().chars().take(10).collect())
}

impl BannerForm {
    /// A text that is not in the form is the message itself.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self { message: text.to_owned(), ..Self::default() })
    }
}

impl Banner {
    /// The message that is to be shown at this moment.
    pub fn parse(text: &str, now: DateTime<Utc>) -> Option<Self> {
        if text.trim().is_empty() {
            return None;
        }
        let form = BannerForm::parse(text);
        let day = |text: &str| text.parse::<chrono::NaiveDate>().ok();
        let today = now.date_naive();
        let too_early = day(&form.from).is_some_and(|from| today < from);
        let too_late = day(&form.to).is_some_and(|to| today > to);
        if form.message.trim().is_empty() || too_early || too_late {
            return None;
        }
        let class = match form.r#type.as_str() {
            "success" => "ok",
            "warning" => "warn",
            "danger" => "bad",
            _ => "info",
        };
        Some(Self { message: form.message, class })
    }
}

/// What stands around every page of a viewer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    pub banner: Option<Banner>,
    pub read_only: bool,
    pub may_create_projects: bool,
    pub has_jobs: bool,
    /// Jobs at work: all of them for administrators, for others those that they asked for; and where they are shown.
    pub jobs: i64,
    pub jobs_at: String,
}

/// One step of the way back.
#[derive(Clone, Debug)]
pub(crate) struct Crumb {
    pub name: String,
    pub path: String,
}

/// A page of its kind beside this one.
#[derive(Clone, Debug)]
pub(crate) struct Tab {
    pub key: &'static str,
    pub path: String,
    pub current: bool,
}

/// Everything that the frame of a page shows, and the texts for what is inside.
pub(crate) struct Shell {
    pub language: Language,
    pub theme: Theme,
    pub title: String,
    /// The entry of the navigation that is open.
    pub section: &'static str,
    pub user: Option<String>,
    pub sysadmin: bool,
    pub token: String,
    pub crumbs: Vec<Crumb>,
    pub tabs: Vec<Tab>,
    /// This page, to come back to.
    pub here: String,
    pub host: String,
    pub search: String,
    /// The password that was made at the first start is still in use.
    pub first_password: bool,
    pub now: DateTime<Utc>,
    pub around: Around,
    /// Whether single keys do something.
    pub shortcuts: bool,
    told: Option<Told>,
}

impl Shell {
    pub fn new(view: &View, section: &'static str, title: String) -> Self {
        let sysadmin = view.caller.is_sysadmin();
        Self {
            language: view.language,
            theme: view.theme,
            title,
            section,
            user: view.signed_in.as_ref().map(|signed_in| signed_in.user.name.clone()),
            sysadmin,
            token: view.token.clone(),
            crumbs: Vec::new(),
            tabs: Vec::new(),
            here: view.here(),
            host: view.host(),
            search: String::new(),
            first_password: sysadmin && (view.state.config.first_password)(),
            now: view.now,
            around: view.around.clone(),
            shortcuts: view.signed_in.as_ref().is_none_or(|signed_in| signed_in.preferences.shortcuts),
            told: view.told().cloned(),
        }
    }

    /// The title of the window: the page, and what it belongs to, since windows are told apart by it. The first step of the
    /// way back is the list of everything and says nothing.
    pub fn window_title(&self) -> String {
        let mut title = self.title.clone();
        for crumb in self.crumbs.iter().skip(1).rev() {
            if !title.contains(&crumb.name) {
                title = format!("{title} · {}", crumb.name);
            }
        }
        title
    }

    /// One more step of the way back.
    pub fn crumb(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.crumbs.push(Crumb { name: name.into(), path: path.into() });
        self
    }

    pub fn tabs(self, tabs: Vec<Tab>) -> Self {
        Self { tabs, ..self }
    }

    /// A text.
    pub fn t(&self, key: &str) -> String {
        self.language.text(key, &[])
    }

    /// A text about a number of things: `count`.
    pub fn n<'a>(&self, key: &str, count: impl Into<Value<'a>>) -> String {
        self.language.text(key, &[("count", count.into())])
    }

    /// A text about something with a name: `name`.
    pub fn about<'a>(&self, key: &str, name: impl Into<Value<'a>>) -> String {
        self.language.text(key, &[("name", name.into())])
    }

    /// A text with two placeholders: `name` and `other`.
    pub fn both<'a>(&self, key: &str, name: impl Into<Value<'a>>, other: impl Into<Value<'a>>) -> String {
        self.language.text(key, &[("name", name.into()), ("other", other.into())])
    }

    pub fn number(&self, value: impl Borrow<i64>) -> String {
        format::number(*value.borrow())
    }

    pub fn bytes(&self, bytes: impl Borrow<i64>) -> String {
        format::bytes(*bytes.borrow())
    }

    /// How long ago.
    pub fn ago(&self, time: &DateTime<Utc>) -> String {
        format::ago(self.language, self.now, *time)
    }

    /// The moment itself, for `title`.
    pub fn exact(&self, time: &DateTime<Utc>) -> String {
        format::exact(time)
    }

    /// The moment for `datetime`.
    pub fn machine(&self, time: &DateTime<Utc>) -> String {
        time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    pub fn short(&self, digest: &str) -> String {
        format::short_digest(digest)
    }

    pub fn asset(&self, name: &str) -> &'static str {
        assets::path(name)
    }

    /// A picture beside a word, which says nothing of its own: one of `icons.svg`.
    pub fn icon(&self, name: &str) -> String {
        format!(
            "<svg class=\"i\" aria-hidden=\"true\"><use href=\"{}#{name}\"/></svg>",
            assets::path("icons.svg")
        )
    }

    /// Whether this page has the path.
    pub fn at(&self, path: &str) -> bool {
        self.here.split('?').next() == Some(path)
    }

    /// The title without what it belongs to, which the way back says already.
    pub fn short_title(&self) -> &str {
        self.title.split(" · ").next().unwrap_or_default()
    }

    /// Whether the way back already ends with this page.
    pub fn ends(&self) -> bool {
        self.crumbs.last().is_some_and(|crumb| self.at(&crumb.path))
    }

    pub fn languages(&self) -> [Language; 2] {
        Language::ALL
    }

    pub fn themes(&self) -> [Theme; 3] {
        Theme::ALL
    }

    /// Whether this entry of the navigation is open.
    pub fn is(&self, section: &str) -> bool {
        self.section == section
    }

    /// The message of the page before.
    pub fn told(&self) -> Option<String> {
        let told = self.told.as_ref()?;
        let args = [("name", Value::from(&told.name)), ("count", Value::from(told.count))];
        Some(self.language.text(&told.key, &args))
    }

    pub fn undo(&self) -> Option<&(String, Vec<(String, String)>)> {
        self.told.as_ref()?.undo.as_ref()
    }

    /// A path segment, escaped.
    pub fn segment(&self, text: &str) -> String {
        segment(text)
    }
}

/// Escapes what may stand in one segment of a path. Names of repositories keep their slashes.
pub(crate) fn segment(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'/')
        .remove(b':')
        .remove(b'+')
        .remove(b'$')
        .remove(b'@');
    Cow::from(percent_encoding::utf8_percent_encode(text, KEPT)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_icon_is_there() {
        let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
        let icons = std::fs::read_to_string(web.join("static/icons.svg")).unwrap_or_default();
        let base = std::fs::read_to_string(web.join("templates/base.html")).unwrap_or_default();
        let asked: Vec<&str> =
            base.split("s.icon(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(asked.len() > 10);
        for name in asked {
            assert!(icons.contains(&format!("id=\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn banners_are_shown_in_their_days() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default(); // 2027-01-15
        for (text, expected) in [
            ("", None),
            ("Down at noon", Some(("Down at noon", "info"))),
            (r#"{"message":"Down","type":"warning","closable":true}"#, Some(("Down", "warn"))),
            (
                r#"{"message":"Down","type":"danger","from":"2027-01-15","to":"2027-01-15"}"#,
                Some(("Down", "bad")),
            ),
            (r#"{"message":"Down","fromDate":"2027-01-16T00:00:00.000Z"}"#, None),
            (r#"{"message":"Down","toDate":"2027-01-14T00:00:00.000Z","fromDate":null}"#, None),
            (r#"{"message":"  "}"#, None),
        ] {
            let banner = Banner::parse(text, now);
            assert_eq!(
                banner.as_ref().map(|banner| (banner.message.as_str(), banner.class)),
                expected,
                "{text}"
            );
        }
    }
}
