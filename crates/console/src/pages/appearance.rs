//! Language and colours, for visitors as well.

use actix_web::HttpResponse;

use crate::cookies::Kind;
use crate::failure::Failure;
use crate::shell::Theme;
use crate::text::Language;
use crate::view::{View, local};

pub(crate) async fn choose(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    if form.ticked("theme") {
        view.set(Kind::Theme, Theme::parse(form.text("theme")).as_str().to_owned());
    }
    if let Some(language) = Language::parse(form.text("language")) {
        view.set(Kind::Language, language.tag().to_owned());
    }
    Ok(view.go(local(form.text("return"))))
}
