//! How lists are shown: what a person chose at one list holds for all of its kind.

use actix_web::HttpResponse;

use crate::cookies::Kind;
use crate::failure::Failure;
use crate::list::SIZES;
use crate::view::{View, local};

/// Columns of a list of tags that can be left out, with the keys of their names.
pub(crate) const TAG_COLUMNS: [(&str, &str); 5] = [
    ("platforms", "repository-platforms"),
    ("size", "column-size"),
    ("pushed", "column-pushed"),
    ("pulled", "repository-pulled"),
    ("pulls", "column-pulls"),
];

/// Columns that a visitor left out.
pub(crate) struct Hidden(Vec<&'static str>);

impl Hidden {
    pub fn of(view: &View) -> Self {
        let chosen = view.choice(Kind::Columns).unwrap_or_default();
        let known = TAG_COLUMNS.iter().map(|(name, _)| *name);
        Self(known.filter(|name| chosen.split('.').any(|hidden| hidden == *name)).collect())
    }

    /// Whether the column is shown.
    pub fn shows(&self, name: &str) -> bool {
        !self.0.contains(&name)
    }
}

/// Keeps the size of pages, or the columns, and goes back to the list.
pub(crate) async fn choose(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let size = form.text("size").parse::<i32>().ok().filter(|size| SIZES.contains(&i64::from(*size)));
    if let (Some(size), Some(signed_in)) = (size, &view.signed_in) {
        let chosen = identity::Preferences { page_size: size, ..signed_in.preferences.clone() };
        view.state.identity.preferences_set(&signed_in.user, &chosen).await?;
    }
    if form.ticked("columns") {
        let shown = form.all("column");
        let hidden = TAG_COLUMNS.iter().map(|(name, _)| *name).filter(|name| !shown.contains(name));
        match hidden.collect::<Vec<_>>().join(".") {
            none if none.is_empty() => view.unset(Kind::Columns),
            hidden => view.set(Kind::Columns, hidden),
        }
    }
    Ok(view.go(local(form.text("return"))))
}
