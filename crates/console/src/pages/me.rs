//! One's own account: profile, password, access tokens, sessions, preferences.

pub(crate) mod password;
pub(crate) mod preferences;
pub(crate) mod profile;
pub(crate) mod sessions;
pub(crate) mod tokens;

use identity::Error;

use crate::failure::Failure;
use crate::problem::Problem;
use crate::shell::{Shell, Tab};
use crate::view::View;

/// The frame of a page of the account. `tab` is the key of the open tab.
fn me_shell(view: &View, tab: &'static str, title: &str) -> Shell {
    let tabs = [
        ("me-tab-profile", "/me"),
        ("me-tab-password", "/me/password"),
        ("me-tab-tokens", "/me/tokens"),
        ("me-tab-sessions", "/me/sessions"),
        ("me-tab-preferences", "/me/preferences"),
    ];
    let tabs = tabs.into_iter().map(|(key, path)| Tab { key, path: path.to_owned(), current: key == tab });
    view.shell("me", view.t(title)).crumb(view.t("me-title"), "/me").tabs(tabs.collect())
}

/// What is wrong with an account that was typed, in the language of the viewer and at its field.
///
/// # Errors
/// The failure itself, when no change of the form would mend it.
pub(crate) fn account_problem(view: &View, err: tenancy::Error) -> Result<Problem, Failure> {
    let told = match &err {
        tenancy::Error::Identity(Error::Taken("user name")) => Some(("name", "account-name-taken")),
        tenancy::Error::Identity(Error::Taken(_)) => Some(("email", "account-email-taken")),
        tenancy::Error::Identity(Error::OldPasswordWrong) => Some(("old", "account-old-wrong")),
        tenancy::Error::Identity(Error::Invalid(text)) => [
            ("user name", "name", "account-name-bad"),
            ("e-mail", "email", "account-email-bad"),
            ("real name", "realname", "account-realname-bad"),
            ("comment", "comment", "account-comment-bad"),
            ("same as", "password", "account-password-same"),
            ("current password", "old", "account-old-wrong"),
            ("password", "password", "account-password-bad"),
        ]
        .into_iter()
        .find(|(part, ..)| text.contains(part))
        .map(|(_, field, key)| (field, key)),
        _ => None,
    };
    match told {
        Some((field, key)) => Ok(Problem::new(field, view.t(key))),
        None => Problem::of("name", err.into()),
    }
}
