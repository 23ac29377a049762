//! Cookies: the session, what a form proves itself with before there is one, choices of a visitor, and one message.
//!
//! All are `HttpOnly` and `SameSite=Lax`. Over https their names have the prefix `__Host-` and they are `Secure`; over
//! http, on a network that is trusted, they cannot be.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

/// A cookie of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Session,
    /// Random; the token of forms that come before a session is made from it.
    Form,
    Theme,
    Language,
    /// Which program pulls, for the commands that pages show.
    Client,
    /// Columns that are left out of lists.
    Columns,
    /// What the next page tells: a message that a redirect cannot carry.
    Told,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Session => identity::browser::session_cookie(false),
            Self::Form => "hythe-form",
            Self::Theme => "hythe-theme",
            Self::Language => "hythe-language",
            Self::Client => "hythe-client",
            Self::Columns => "hythe-columns",
            Self::Told => "hythe-told",
        }
    }

    /// Choices stay; the others end with the browser.
    fn days(self) -> Option<i64> {
        match self {
            Self::Theme | Self::Language | Self::Client | Self::Columns => Some(400),
            Self::Session | Self::Form | Self::Told => None,
        }
    }
}

fn full_name(kind: Kind, secure: bool) -> String {
    match kind {
        Kind::Session => identity::browser::session_cookie(secure).to_owned(),
        _ if secure => format!("__Host-{}", kind.name()),
        _ => kind.name().to_owned(),
    }
}

/// The cookie's value as the client sent it. One sent twice is none: somebody put a second one beside ours.
pub(crate) fn read(request: &HttpRequest, kind: Kind, secure: bool) -> Option<String> {
    let name = full_name(kind, secure);
    let cookies = request.cookies().ok()?;
    let mut found = cookies.iter().filter(|cookie| cookie.name() == name);
    match (found.next(), found.next()) {
        (Some(cookie), None) => Some(cookie.value().to_owned()),
        _ => None,
    }
}

/// A cookie to set.
pub(crate) fn make(kind: Kind, value: String, secure: bool) -> Cookie<'static> {
    let mut cookie = Cookie::build(full_name(kind, secure), value)
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
        .finish();
    if let Some(days) = kind.days() {
        cookie.set_max_age(Duration::days(days));
    }
    cookie
}

/// A cookie that takes away the one of this kind.
pub(crate) fn remove(kind: Kind, secure: bool) -> Cookie<'static> {
    let mut cookie = make(kind, String::new(), secure);
    cookie.set_max_age(Duration::ZERO);
    cookie
}
