//! How one wants the console.

use actix_web::HttpResponse;
use askama::Template;
use identity::Preferences;

use crate::cookies::Kind;
use crate::failure::Failure;
use crate::list::SIZES;
use crate::pages::me::me_shell;
use crate::shell::{Shell, Theme, Told};
use crate::text::Language;
use crate::view::View;

/// Programs whose commands can be shown, the usual one first.
const CLIENTS: [&str; 6] = ["docker", "podman", "nerdctl", "skopeo", "oras", "helm"];

#[derive(Template)]
#[template(path = "me/preferences.html")]
struct PreferencesPage {
    s: Shell,
    chosen: Preferences,
    sizes: [i64; 3],
    clients: [&'static str; 6],
}

impl PreferencesPage {
    fn has(&self, size: &i64) -> bool {
        i64::from(self.chosen.page_size) == *size
    }
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let chosen = view.user()?.preferences.clone();
    let s = me_shell(view, "me-tab-preferences", "me-preferences-title");
    view.page(&PreferencesPage { s, chosen, sizes: SIZES, clients: CLIENTS })
}

/// What is not among the choices is no choice: the form offers nothing else.
pub(crate) async fn change(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let signed_in = view.user()?.clone();
    let language = Language::parse(form.text("language"));
    let theme = Theme::parse(form.text("theme"));
    let size = form.text("size").parse::<i64>().ok().filter(|size| SIZES.contains(size)).unwrap_or(0);
    let client = CLIENTS.into_iter().find(|client| *client == form.text("client"));
    let chosen = Preferences {
        language: language.map_or("", Language::tag).to_owned(),
        theme: theme.as_str().to_owned(),
        page_size: i32::try_from(size).unwrap_or(0),
        client: client.unwrap_or_default().to_owned(),
        shortcuts: form.ticked("shortcuts"),
    };
    view.state.identity.preferences_set(&signed_in.user, &chosen).await?;
    // For the page to sign in at, and for the message of the next page.
    view.set(Kind::Theme, chosen.theme);
    // What was chosen beside a command before counts no more.
    view.unset(Kind::Client);
    match language {
        Some(language) => view.set(Kind::Language, language.tag().to_owned()),
        None => view.unset(Kind::Language),
    }
    Ok(view.done("/me/preferences", Told::new("told-preferences-saved", "")))
}
