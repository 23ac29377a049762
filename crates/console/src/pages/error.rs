//! The page of everything that went wrong.

use askama::Template;

use crate::failure::Failure;
use crate::shell::Shell;
use crate::view::View;

#[derive(Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    s: Shell,
    status: u16,
    why: String,
    next: String,
    detail: String,
    request_id: String,
    offer_sign_in: bool,
}

impl ErrorPage {
    pub fn new(view: &View, failure: &Failure) -> Self {
        let status = failure.status.as_u16();
        let kind = match status {
            403 if failure.detail == "stale form" => "stale",
            400 | 409 | 410 | 412 | 413 | 415 | 422 => "refused",
            401 => "signin",
            403 => "forbidden",
            404 | 405 => "missing",
            429 => "throttled",
            503 => "unavailable",
            _ => "broken",
        };
        let what = view.t(&format!("error-{kind}-what"));
        let detail = if failure.detail == "stale form" { "" } else { &failure.detail };
        Self {
            s: view.shell("", what),
            status,
            why: view.t(&format!("error-{kind}-why")),
            next: view.t(&format!("error-{kind}-next")),
            detail: detail.to_owned(),
            request_id: view.caller.origin.request_id.clone(),
            offer_sign_in: kind == "missing" && view.signed_in.is_none(),
        }
    }
}
