//! A form that was sent when the session had ended meanwhile. What was typed goes along with signing in, in the form of
//! the sign-in page, and is there to be sent again afterwards. It is kept nowhere else, and no password ever is.

use actix_web::HttpResponse;
use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::form::{self, Form};
use crate::shell::Shell;
use crate::view::{View, local};

/// Longer drafts are not kept: the page of a form is no place for files.
const BYTES_MAX: usize = 96 * 1024;

/// Fields that hold secrets, whatever else a name with these words may mean.
const SECRET: [&str; 3] = ["password", "secret", "old"];

/// Fields that people did not type.
const SILENT: [&str; 3] = ["seen", "version", "return"];

/// What was typed, and where it was to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Draft {
    action: String,
    fields: Vec<(String, String)>,
}

impl Draft {
    /// Of a form that was sent to `action`; nothing when there is too much of it.
    pub fn new(action: &str, form: &Form) -> Option<Self> {
        let kept = |name: &str| name != form::TOKEN && !SECRET.iter().any(|word| name.contains(word));
        let fields: Vec<(String, String)> = form
            .fields()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        (bytes <= BYTES_MAX).then(|| Self { action: action.to_owned(), fields })
    }

    /// For a field of the sign-in page.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// From that field. It leads nowhere but into this console.
    pub fn decode(text: &str) -> Option<Self> {
        let draft: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        (local(&draft.action) == draft.action).then_some(draft)
    }
}

#[derive(Template)]
#[template(path = "draft.html")]
struct DraftPage {
    s: Shell,
    action: String,
    typed: Vec<(String, String)>,
    silent: Vec<(String, String)>,
}

/// The page after signing in.
pub(crate) fn page(view: &View, draft: Draft) -> Result<HttpResponse, Failure> {
    let (silent, typed) = draft.fields.into_iter().partition(|(name, _)| SILENT.contains(&name.as_str()));
    view.page(&DraftPage { s: view.shell("", view.t("draft-title")), action: draft.action, typed, silent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_hold_what_was_typed_and_no_secret() {
        let form = Form::parse(b"csrf=x&name=a%26b&password=p&old=o&client_secret=s&right=1&right=2&seen=y")
            .unwrap_or_default();
        let draft = Draft::new("/projects/new?a=b", &form);
        let fields = [("name", "a&b"), ("right", "1"), ("right", "2"), ("seen", "y")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(draft, Some(Draft { action: "/projects/new?a=b".to_owned(), fields }));
        let sent = draft.as_ref().map(Draft::encode).unwrap_or_default();
        assert_eq!(Draft::decode(&sent), draft);
        let elsewhere = Draft { action: "//evil.example/".to_owned(), fields: Vec::new() };
        assert_eq!(Draft::decode(&elsewhere.encode()), None);
        assert_eq!(Draft::decode("no draft"), None);
        let long = Form::parse(format!("text={}", "x".repeat(BYTES_MAX)).as_bytes()).unwrap_or_default();
        assert_eq!(Draft::new("/", &long), None);
    }
}
