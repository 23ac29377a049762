//! What happened to tags, and bringing back what they named.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use catalog::TagChange;
use oci::{Digest, Tag};
use tenancy::list::Value as Term;
use tenancy::roles::{Action, Resource};
use tenancy::{CreateTag, ListTags};

use super::tags::item;
use super::{address, repository_shell, title};
use crate::failure::Failure;
use crate::list::List;
use crate::shell::{Shell, Told};
use crate::view::View;

/// Tags brought back at once.
const RESTORED_MAX: usize = 100;

#[derive(Template)]
#[template(path = "repository/history.html", blocks = ["rows"])]
struct HistoryPage {
    s: Shell,
    l: List,
    base: String,
    name: String,
    changes: Vec<TagChange>,
    may_restore: bool,
}

impl HistoryPage {
    fn action(&self, change: &TagChange) -> &'static str {
        match change.action.as_str() {
            "create" => "repository-change-create",
            "move" => "repository-change-move",
            "restore" => "repository-change-restore",
            _ => "repository-change-delete",
        }
    }

    /// What the row brings back, when it can.
    fn restorable<'a>(&self, change: &'a TagChange) -> Option<&'a str> {
        change.from_digest.as_deref().filter(|_| change.restorable_until.is_some())
    }
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListTags>().await?;
    let name = view.repository(&permit)?;
    let mut l = List::of(view, &["-time"], &["tag"]);
    let mut query = l.query("tag");
    query.sort = vec![("id".to_owned(), l.descending)];
    if !l.filter("tag").is_empty() {
        query.terms.push(("tag".to_owned(), Term::Exact(l.filter("tag").to_owned())));
    }
    let page = view.state.catalog.history.repository_changes(&permit, &name, &query).await?;
    l.total = page.total;
    let page = HistoryPage {
        s: repository_shell(
            view,
            &permit,
            &name,
            "repository-tab-history",
            title(view, "repository-tab-history", &name),
        ),
        l,
        base: address(name.as_str()),
        name: name.to_string(),
        changes: page.rows,
        may_restore: permit.rights().allow(Resource::Tag, Action::Create),
    };
    view.list(&page.l, &page, &page.as_rows())
}

#[derive(Template)]
#[template(path = "repository/restore.html")]
struct RestorePage {
    s: Shell,
    base: String,
    tag: Tag,
    digest: Digest,
    problem: String,
}

pub(crate) async fn restore(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<CreateTag>().await?;
    let name = view.repository(&permit)?;
    let overwrite = form.ticked("overwrite");
    let items: Vec<(Tag, Digest)> =
        form.all("item").into_iter().filter_map(item).take(RESTORED_MAX).collect();
    let base = address(name.as_str());
    view.state.tenancy.require_writable().await?;
    let mut last = None;
    for (tag, digest) in &items {
        match view.state.catalog.history.restore(&permit, &name, tag, digest, overwrite).await {
            Ok(_) => last = Some(tag),
            // Somebody gave the name to another image meanwhile: asked once more, with what is there now.
            Err(catalog::Error::Conflict(_)) if !overwrite => {
                let page = RestorePage {
                    s: repository_shell(
                        view,
                        &permit,
                        &name,
                        "repository-tab-history",
                        title(view, "repository-restore-title", &name),
                    ),
                    problem: view.language.text("repository-restore-taken", &[("name", tag.as_str().into())]),
                    base,
                    tag: tag.clone(),
                    digest: digest.clone(),
                };
                return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
            }
            Err(err) => return Err(err.into()),
        }
    }
    let told = match (last, items.len()) {
        (None, _) => return Err(Failure::bad_request("nothing to restore was named")),
        (Some(tag), 1) => Told::new("told-tag-restored", tag.to_string()),
        (Some(_), count) => Told::new("told-tags-restored", "").count(count as i64),
    };
    Ok(view.done(&base, told))
}
