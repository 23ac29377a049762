//! The page of everything that went wrong.

use askama::Template;

use crate::failure::Failure;
use crate::format::exact;
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
    /// A few words that somebody who helps can look up: status, request and time.
    report: String,
    offer_sign_in: bool,
}

impl ErrorPage {
    pub fn new(view: &View, failure: &Failure) -> Self {
        let status = failure.status.as_u16();
        let kind = match status {
            403 if failure.detail == "stale form" => "stale",
            // No role would help: a limit, or the read-only mode.
            403 if !failure.detail.is_empty() => "refused",
            409 => "changed",
            410 => "gone",
            413 => "large",
            400 | 412 | 415 | 422 => "refused",
            401 => "signin",
            403 => "forbidden",
            404 | 405 => "missing",
            429 => "throttled",
            503 => "unavailable",
            _ => "broken",
        };
        let what = view.t(&format!("error-{kind}-what"));
        let detail = if failure.detail == "stale form" { "" } else { &failure.detail };
        let request_id = view.caller.origin.request_id.clone();
        let next = match failure.retry_after_seconds {
            Some(seconds) => {
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                view.language.text("error-wait-next", &[("count", seconds.into())])
            }
            None => view.t(&format!("error-{kind}-next")),
        };
        Self {
            s: view.shell("", what),
            status,
            why: view.t(&format!("error-{kind}-why")),
            next,
            detail: detail.to_owned(),
            report: format!("{status} {request_id} {}", exact(&view.now)),
            request_id,
            offer_sign_in: view.signed_in.is_none() && ["missing", "signin"].contains(&kind),
        }
    }
}
