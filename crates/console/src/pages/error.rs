//! The page of everything that went wrong.

use actix_web::http::StatusCode;
use askama::Template;

use crate::failure::Failure;
use crate::format::exact;
use crate::shell::Shell;
use crate::view::View;

/// What a page says about the request that it could not answer.
pub(crate) struct Request {
    pub status: u16,
    pub id: String,
    /// A few words that somebody who helps can look up: status, request and time.
    pub report: String,
}

impl Request {
    pub fn of(view: &View, status: StatusCode) -> Self {
        let (status, id) = (status.as_u16(), view.caller.origin.request_id.clone());
        Self { status, report: format!("{status} {id} {}", exact(&view.now)), id }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    s: Shell,
    why: String,
    next: String,
    detail: String,
    request: Request,
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
        let next = match failure.retry_after_seconds {
            Some(seconds) => {
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                view.language.text("error-wait-next", &[("count", seconds.into())])
            }
            None => view.t(&format!("error-{kind}-next")),
        };
        Self {
            s: view.shell("", what),
            why: view.t(&format!("error-{kind}-why")),
            next,
            detail: detail.to_owned(),
            request: Request::of(view, failure.status),
            offer_sign_in: view.signed_in.is_none() && ["missing", "signin"].contains(&kind),
        }
    }
}
