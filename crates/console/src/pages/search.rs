//! Search over what the viewer may see.

use actix_web::HttpResponse;
use askama::Template;
use catalog::{DescriptionHit, DigestHit, HITS_MAX, TagHit};
use tenancy::Project;

use crate::failure::Failure;
use crate::pages::paste;
use crate::pages::repository::address;
use crate::shell::Shell;
use crate::view::View;

/// Longer texts are in no name, and nobody types them.
const BYTES_MAX: usize = 255;

/// Characters of a description around what was found.
const AROUND: usize = 60;

/// A repository, and what its description says about what was looked for.
struct Found {
    path: String,
    about: String,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    s: Shell,
    q: String,
    /// Where the image is that was looked for by its whole name.
    image: Option<String>,
    projects: Vec<Project>,
    repositories: Vec<Found>,
    tags: Vec<TagHit>,
    digests: Vec<DigestHit>,
    /// Of some kind there may be more than is shown.
    more: bool,
}

impl SearchPage {
    fn nothing(&self) -> bool {
        self.image.is_none()
            && self.projects.is_empty()
            && self.repositories.is_empty()
            && self.tags.is_empty()
            && self.digests.is_empty()
    }

    fn address(&self, repository: &str) -> String {
        address(repository)
    }

    /// The kind of hits that comes first, whose first link takes the keyboard.
    fn first(&self, kind: &str) -> bool {
        let kinds = [
            ("image", self.image.is_some()),
            ("projects", !self.projects.is_empty()),
            ("repositories", !self.repositories.is_empty()),
            ("tags", !self.tags.is_empty()),
            ("digests", !self.digests.is_empty()),
        ];
        kinds.iter().find(|(_, any)| *any).is_some_and(|(first, _)| *first == kind)
    }
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let q = view.query("q").unwrap_or_default();
    let text = q.trim();
    let mut s = view.shell("search", view.t("search-title"));
    s.search.clone_from(&q);
    let mut page = SearchPage {
        s,
        image: paste::place(view, text).await?,
        projects: Vec::new(),
        repositories: Vec::new(),
        tags: Vec::new(),
        digests: Vec::new(),
        more: false,
        q: q.clone(),
    };
    if !text.is_empty() && text.len() <= BYTES_MAX {
        let most = HITS_MAX as usize;
        let (tenancy, catalog) = (&view.state.tenancy, &view.state.catalog);
        page.projects = tenancy.project_search(&view.caller, text).await?;
        let visible = tenancy.visible(&view.caller.principal).await?;
        let named = catalog.repositories.search(visible.ids(), text).await?;
        let described = catalog.search.descriptions(visible.ids(), text).await?;
        page.tags = catalog.search.tags(visible.ids(), text).await?;
        page.digests = catalog.search.digests(visible.ids(), text).await?;
        page.more = named.len() > most
            || page.projects.len() > most
            || [described.len(), page.tags.len(), page.digests.len()].contains(&most);
        page.projects.truncate(most);
        page.repositories = named
            .into_iter()
            .take(most)
            .map(|repository| Found { path: repository.path, about: String::new() })
            .collect();
        for DescriptionHit { repository, description } in described {
            let about = around(&description, text);
            match page.repositories.iter_mut().find(|found| found.path == repository) {
                Some(found) => found.about = about,
                None => page.repositories.push(Found { path: repository, about }),
            }
        }
    }
    view.page(&page)
}

/// The part of a description around what was found in it, in one line.
fn around(description: &str, text: &str) -> String {
    let plain: Vec<char> = description.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let lower: Vec<char> = plain.iter().map(char::to_ascii_lowercase).collect();
    let wanted: Vec<char> = text.chars().map(|c| c.to_ascii_lowercase()).collect();
    let at = lower.windows(wanted.len().max(1)).position(|window| window == wanted).unwrap_or(0);
    let (from, to) = (at.saturating_sub(AROUND), (at + wanted.len() + AROUND).min(plain.len()));
    let mut part: String = plain[from..to].iter().collect();
    if from > 0 {
        part.insert(0, '…');
    }
    if to < plain.len() {
        part.push('…');
    }
    part
}

#[cfg(test)]
mod tests {
    use super::around;

    #[test]
    fn descriptions_are_shown_around_what_was_found() {
        assert_eq!(around("支付\n服务", "服务"), "支付 服务");
        let long = format!("{}Needle{}", "a".repeat(100), "b".repeat(100));
        assert_eq!(around(&long, "needle"), format!("…{}Needle{}…", "a".repeat(60), "b".repeat(60)));
        assert_eq!(around("", "x"), "");
    }
}
