//! What this is.

use actix_web::HttpResponse;
use askama::Template;

use crate::failure::Failure;
use crate::shell::Shell;
use crate::view::View;

#[derive(Template)]
#[template(path = "about.html")]
struct AboutPage {
    s: Shell,
    /// Only people who are signed in are told.
    version: Option<&'static str>,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let version = view.signed_in.as_ref().map(|_| env!("CARGO_PKG_VERSION"));
    view.page(&AboutPage { s: view.shell("about", view.t("about-title")), version })
}
