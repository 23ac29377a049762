//! Language and colours, for visitors as well: a cookie keeps them, and the account of who is signed in.

use actix_web::HttpResponse;

use crate::cookies::Kind;
use crate::failure::Failure;
use crate::shell::Theme;
use crate::text::Language;
use crate::view::{View, local};

pub(crate) async fn choose(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let mut chosen = view.signed_in.as_ref().map(|signed_in| signed_in.preferences.clone());
    if form.ticked("theme") {
        let theme = Theme::parse(form.text("theme")).as_str();
        view.set(Kind::Theme, theme.to_owned());
        if let Some(chosen) = &mut chosen {
            chosen.theme = theme.to_owned();
        }
    }
    if let Some(language) = Language::parse(form.text("language")) {
        view.set(Kind::Language, language.tag().to_owned());
        if let Some(chosen) = &mut chosen {
            chosen.language = language.tag().to_owned();
        }
    }
    if let (Some(chosen), Some(signed_in)) = (&chosen, &view.signed_in) {
        view.state.identity.preferences_set(&signed_in.user, chosen).await?;
    }
    Ok(view.go(local(form.text("return"))))
}
