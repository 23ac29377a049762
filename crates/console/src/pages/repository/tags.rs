//! The tags of a repository, and taking some away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use catalog::{Repository, TagEntry};
use chrono::{DateTime, Days, NaiveDate, SecondsFormat, Utc};
use oci::{Digest, RepositoryName, Tag};
use serde_json::json;
use tenancy::list::{Query, Value as Term};
use tenancy::roles::{Action, Resource};
use tenancy::{DeleteTag, ListTags, Permit};

use super::commands::{self, Card, Choice, Target};
use super::{address, listed, platform, repository_shell, title};
use crate::failure::Failure;
use crate::file::{self, Format};
use crate::form::Form;
use crate::list::List;
use crate::pages::lists::{Hidden, TAG_COLUMNS};
use crate::shell::{Shell, Told, segment};
use crate::view::View;

/// Platforms shown of one tag; how many there are besides is told.
const PLATFORMS_MAX: usize = 6;

/// Tags deleted at once: a page of the list.
const DELETED_MAX: usize = catalog::DELETED_MAX;

/// Tags deleted by one form; what is left then is told, and goes with the next.
const MATCHING_MAX: usize = 10_000;

const SORTS: [&str; 6] = ["-push_time", "natural", "-semver", "-size", "-pull_time", "-pull_count"];

const FILTERS: [&str; 8] =
    ["platform", "pushed-from", "pushed-to", "pulled-from", "pulled-to", "idle", "trust", "label"];

/// Platforms to choose from.
const KNOWN_PLATFORMS: [&str; 10] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/loong64",
    "windows/amd64",
];

/// Columns of the list as a file.
const FILE: [&str; 11] = [
    "name",
    "digest",
    "type",
    "platforms",
    "size",
    "push_time",
    "pushed_by",
    "pull_time",
    "pull_count",
    "immutable",
    "aliases",
];

/// A message with more than this does not fit a cookie; the history restores as well.
const UNDO_BYTES_MAX: usize = 3000;

struct Row {
    tag: TagEntry,
    path: String,
    platforms: Vec<String>,
    more_platforms: usize,
    command: String,
}

#[derive(Template)]
#[template(path = "repository/tags.html", blocks = ["rows"])]
struct TagsPage {
    s: Shell,
    l: List,
    base: String,
    repository: Repository,
    summary: String,
    rows: Vec<Row>,
    card: Option<Card>,
    may_delete: bool,
    may_push: bool,
    platforms: [&'static str; 10],
    labels: Vec<String>,
    columns: [(&'static str, &'static str); 5],
    hidden: Hidden,
    /// Where everything that matches is deleted.
    all: String,
    /// Tags were deleted just now: the focus goes to what is left.
    deleted: bool,
}

/// The list's filters as the domain reads them. What is no date and no number is passed over, as every filter that says
/// nothing.
fn query(l: &List, now: DateTime<Utc>) -> Query {
    let mut query = l.query("name");
    let mut term = |key: &str, value| query.terms.push((key.to_owned(), value));
    let exact = |text: &str| Term::Exact(text.to_owned());
    if l.filter("platform").contains('/') {
        term("platform", exact(l.filter("platform")));
    }
    if !l.filter("label").is_empty() {
        term("label", exact(l.filter("label")));
    }
    match l.filter("trust") {
        "signed" => term("signed", exact("true")),
        "unsigned" => term("signed", exact("false")),
        _ => {}
    }
    let day = |name: &str| l.filter(name).parse::<NaiveDate>().ok();
    for (key, from, to) in
        [("push_time", "pushed-from", "pushed-to"), ("pull_time", "pulled-from", "pulled-to")]
    {
        let (from, to) = (day(from), day(to));
        if from.is_some() || to.is_some() {
            // Both days belong to the range.
            let min = from.map(|day| format!("{day}T00:00:00Z"));
            let max = to.map(|day| format!("{day}T23:59:59.999999Z"));
            term(key, Term::Range { min, max });
        }
    }
    let days = l.filter("idle").parse().ok().filter(|days| (1..=36_500).contains(days));
    if let Some(since) = days.and_then(|days| now.checked_sub_days(Days::new(days))) {
        term("idle_since", Term::Range { min: None, max: Some(moment(since)) });
    }
    query
}

fn moment(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ListTags>().await?;
    let name = view.repository(&permit)?;
    let mut l = List::of(view, &SORTS, &FILTERS);
    let query = query(&l, view.now);
    if let Some(format) = Format::asked(view) {
        return as_file(view, format, permit, name, query).await;
    }
    let history = &view.state.catalog.history;
    let page = history.repository_tags(&permit, &name, &query).await?;
    (l.total, l.files) = (page.total, true);
    let offered = offered(view, &permit, &name).await?;
    let repository = listed(view, &name).await?;
    let (choice, host, base) = (Choice::of(view), view.host(), address(name.as_str()));
    let card = offered.map(|tag| Card::new(choice, &target(&host, &tag)));
    let rows = page
        .rows
        .into_iter()
        .map(|tag| {
            let all = tag.platforms.as_array().map(Vec::as_slice).unwrap_or_default();
            let mut platforms: Vec<String> = Vec::new();
            for name in all.iter().map(platform).filter(|name| !name.is_empty()) {
                if !platforms.contains(&name) {
                    platforms.push(name);
                }
            }
            let more_platforms = platforms.len().saturating_sub(PLATFORMS_MAX);
            platforms.truncate(PLATFORMS_MAX);
            let path = format!("{base}/-/tags/{}", segment(&tag.name));
            let command = commands::command(choice, &target(&host, &tag));
            Row { tag, path, platforms, more_platforms, command }
        })
        .collect();
    let s = repository_shell(view, &permit, &name, "repository-tab-tags", name.to_string());
    let summary = summary(&repository.description);
    let labels = view.state.catalog.labels.names(&permit).await?;
    let all = l.inside(&format!("{base}/-/delete-tags"), &[("all", "1")]);
    let messages = ["told-tag-deleted", "told-tags-deleted", "told-tags-deleted-part"];
    let deleted = view.told().is_some_and(|told| messages.iter().any(|key| told.is(key)));
    let may_delete = permit.rights().allow(Resource::Tag, Action::Delete);
    let may_push = permit.rights().allow(Resource::Repository, Action::Push);
    let platforms = KNOWN_PLATFORMS;
    let page = TagsPage {
        s,
        l,
        base,
        repository,
        summary,
        rows,
        card,
        may_delete,
        may_push,
        platforms,
        labels,
        columns: TAG_COLUMNS,
        hidden: Hidden::of(view),
        all,
        deleted,
    };
    view.list(&page.l, &page, &page.as_rows())
}

async fn as_file(
    view: &View,
    format: Format,
    permit: Permit<ListTags>,
    name: RepositoryName,
    query: Query,
) -> Result<HttpResponse, Failure> {
    let held = Arc::new((view.state.catalog.history.clone(), permit, name));
    let read = move |query| {
        let held = held.clone();
        async move {
            let rows = held.0.repository_tags(&held.1, &held.2, &query).await?.rows.into_iter();
            Ok(rows
                .map(|tag| {
                    let all = tag.platforms.as_array().map(Vec::as_slice).unwrap_or_default();
                    let platforms: Vec<String> = all.iter().map(platform).collect();
                    vec![
                        json!(tag.name),
                        json!(tag.digest),
                        json!(tag.kind),
                        json!(platforms),
                        json!(tag.whole_size),
                        json!(tag.pushed_at),
                        json!(tag.pushed_by),
                        json!(tag.pulled_at),
                        json!(tag.pull_count),
                        json!(tag.immutable),
                        json!(tag.aliases),
                    ]
                })
                .collect())
        }
    };
    file::of(view, format, "tags", &FILE, query, read).await
}

fn target<'a>(host: &'a str, tag: &'a TagEntry) -> Target<'a> {
    Target { host, path: &tag.repository, tag: Some(&tag.name), digest: &tag.digest, kind: &tag.kind }
}

/// The tag that people most likely came for: the highest version, else `latest`, else what was pushed last.
async fn offered(
    view: &View,
    permit: &Permit<ListTags>,
    name: &RepositoryName,
) -> Result<Option<TagEntry>, Failure> {
    let history = &view.state.catalog.history;
    let sort = vec![("semver".to_owned(), true), ("push_time".to_owned(), true)];
    let query = Query { sort, page_size: 1, ..Query::default() };
    let first = history.repository_tags(permit, name, &query).await?.rows.into_iter().next();
    if first.as_ref().is_none_or(|tag| is_version(&tag.name)) {
        return Ok(first);
    }
    let terms = vec![("name".to_owned(), Term::Exact("latest".to_owned()))];
    let query = Query { terms, page_size: 1, ..Query::default() };
    let latest = history.repository_tags(permit, name, &query).await?.rows.into_iter().next();
    Ok(latest.or(first))
}

fn is_version(tag: &str) -> bool {
    let digits = tag.strip_prefix('v').unwrap_or(tag);
    digits.starts_with(|c: char| c.is_ascii_digit()) && digits.contains('.')
}

/// The first line of a description, as text.
fn summary(description: &str) -> String {
    let line =
        description.lines().map(|line| line.trim_start_matches('#').trim()).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    let mut text: String = line.chars().take(160).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    text
}

/// Tags shown of many that are to be deleted.
const SHOWN_MAX: i64 = 10;

/// One tag to delete.
struct Doomed {
    tag: TagEntry,
    /// Tags that keep naming the same artifact.
    left: Vec<String>,
}

#[derive(Template)]
#[template(path = "repository/delete_tags.html")]
struct DeletePage {
    s: Shell,
    base: String,
    doomed: Vec<Doomed>,
    /// Those that rules protect; they stay.
    kept: Vec<String>,
    untagged: i64,
    bytes: i64,
    until: DateTime<Utc>,
    problem: Option<String>,
    /// Everything that a filter lets through, of which the first are shown.
    all: Option<All>,
}

impl DeletePage {
    /// Tags that go.
    fn count(&self) -> i64 {
        self.all.as_ref().map_or(self.doomed.len() as i64, |all| all.going)
    }
}

/// What a filter lets through, counted.
struct All {
    going: i64,
    kept: i64,
    /// The filter and the moment it was asked about, for the form: what is pushed after that stays.
    fields: Vec<(&'static str, String)>,
}

/// The tags of these names that exist.
async fn chosen(
    view: &View,
    permit: &Permit<ListTags>,
    name: &RepositoryName,
    names: Vec<String>,
) -> Result<Vec<TagEntry>, Failure> {
    let query = Query {
        terms: vec![("name".to_owned(), Term::Any(names))],
        sort: vec![("natural".to_owned(), false)],
        page_size: DELETED_MAX as i64,
        ..Query::default()
    };
    Ok(view.state.catalog.history.repository_tags(permit, name, &query).await?.rows)
}

async fn delete_page(
    view: &View,
    permit: &Permit<DeleteTag>,
    names: Vec<String>,
    problem: Option<String>,
) -> Result<DeletePage, Failure> {
    let name = view.repository(permit)?;
    let read = view.permit::<ListTags>().await?;
    let found = chosen(view, &read, &name, names).await?;
    let (kept, going): (Vec<_>, Vec<_>) = found.into_iter().partition(|tag| tag.immutable);
    if going.is_empty() && kept.is_empty() {
        return Err(Failure::hidden());
    }
    let names: BTreeSet<String> = going.iter().map(|tag| tag.name.clone()).collect();
    let mut untagged: BTreeMap<String, i64> = BTreeMap::new();
    let doomed: Vec<Doomed> = going
        .into_iter()
        .map(|tag| {
            let left: Vec<String> =
                tag.aliases.iter().filter(|alias| !names.contains(*alias)).cloned().collect();
            if left.is_empty() {
                untagged.insert(tag.digest.clone(), tag.whole_size);
            }
            Doomed { tag, left }
        })
        .collect();
    Ok(DeletePage {
        s: repository_shell(
            view,
            permit,
            &name,
            "repository-tab-tags",
            title(view, "repository-delete-tags-title", &name),
        ),
        base: address(name.as_str()),
        kept: kept.into_iter().map(|tag| tag.name).collect(),
        untagged: untagged.len() as i64,
        bytes: untagged.values().sum(),
        until: view.state.catalog.history.restorable_until().await?,
        doomed,
        problem,
        all: None,
    })
}

/// The same for everything that the filter of the address lets through.
async fn delete_all_page(view: &View, permit: &Permit<DeleteTag>) -> Result<DeletePage, Failure> {
    let name = view.repository(permit)?;
    let read = view.permit::<ListTags>().await?;
    let l = List::of(view, &SORTS, &FILTERS);
    let query = Query { page_size: SHOWN_MAX, ..query(&l, view.now) };
    let history = &view.state.catalog.history;
    let found = history.matching(&read, &name, &query).await?;
    let first = history.repository_tags(&read, &name, &query).await?.rows;
    let doomed = first.into_iter().filter(|tag| !tag.immutable).map(|tag| Doomed { tag, left: Vec::new() });
    let mut fields = vec![("all", "1".to_owned()), ("until", moment(view.now)), ("q", l.q)];
    fields.extend(l.filters);
    Ok(DeletePage {
        s: repository_shell(
            view,
            permit,
            &name,
            "repository-tab-tags",
            title(view, "repository-delete-tags-title", &name),
        ),
        base: address(name.as_str()),
        kept: Vec::new(),
        untagged: found.untagged,
        bytes: found.bytes,
        until: history.restorable_until().await?,
        doomed: doomed.collect(),
        problem: None,
        all: Some(All { going: found.tags - found.kept, kept: found.kept, fields }),
    })
}

/// Deletes what the filter of the form lets through, up to the moment that the form was made, in batches.
async fn delete_all(
    view: &mut View,
    form: &Form,
    permit: &Permit<DeleteTag>,
    name: &RepositoryName,
) -> Result<HttpResponse, Failure> {
    let read = view.permit::<ListTags>().await?;
    let l = List::from_form(view, form, &FILTERS);
    let until: DateTime<Utc> =
        form.text("until").parse().map_err(|_| Failure::bad_request("the form has no moment"))?;
    let mut query = query(&l, until);
    query.terms.push(("push_time__lte".to_owned(), Term::Exact(moment(until))));
    view.state.tenancy.require_writable().await?;
    let catalog = &view.state.catalog;
    let (mut after, mut deleted, mut left) = (0, 0, false);
    loop {
        let batch = catalog.history.next_matching(&read, name, &query, after).await?;
        let Some((last, ..)) = batch.last() else { break };
        if deleted >= MATCHING_MAX {
            left = true;
            break;
        }
        after = *last;
        let items: Vec<(Tag, Digest)> = batch.into_iter().map(|(_, tag, digest)| (tag, digest)).collect();
        deleted += catalog.tags.delete_many(permit, name, &items).await?.len();
    }
    let told = if left { "told-tags-deleted-part" } else { "told-tags-deleted" };
    Ok(view.done(&address(name.as_str()), Told::new(told, "").count(deleted as i64)))
}

pub(crate) async fn confirm(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<DeleteTag>().await?;
    let query = Form::parse(view.query_string().as_bytes()).unwrap_or_default();
    let names: Vec<String> = query.all("tag").into_iter().map(ToOwned::to_owned).take(DELETED_MAX).collect();
    if query.ticked("all") {
        return view.page(&delete_all_page(view, &permit).await?);
    }
    if names.is_empty() {
        // The button was pressed with nothing ticked.
        let name = view.repository(&permit)?;
        return Ok(view.done(&address(name.as_str()), Told::new("told-tags-none", "")));
    }
    view.page(&delete_page(view, &permit, names, None).await?)
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<DeleteTag>().await?;
    let name = view.repository(&permit)?;
    if form.ticked("all") {
        return delete_all(view, &form, &permit, &name).await;
    }
    let items: Vec<(Tag, Digest)> = form.all("item").into_iter().filter_map(item).take(DELETED_MAX).collect();
    let mut deleted = Vec::new();
    let mut immutable = Vec::new();
    let refused = async {
        view.state.tenancy.require_writable().await?;
        for (tag, digest) in &items {
            match view.state.catalog.tags.delete(&permit, &name, digest, tag).await {
                Ok(()) => deleted.push((tag, digest)),
                // Deleted or moved meanwhile: it is not the one that was shown any more.
                Err(catalog::Error::TagUnknown(_)) => {}
                Err(catalog::Error::TagImmutable { tag, .. }) => immutable.push(tag),
                Err(err) => return Err(Failure::from(err)),
            }
        }
        Ok(())
    }
    .await;
    if let Err(failure) = refused {
        if !failure.is_about_input() {
            return Err(failure);
        }
        let names = items.iter().map(|(tag, _)| tag.to_string()).collect();
        let page = delete_page(view, &permit, names, Some(failure.detail)).await?;
        return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    if !immutable.is_empty() && deleted.is_empty() {
        let problem =
            view.language.text("repository-tags-immutable", &[("name", immutable.join(", ").into())]);
        let names = items.iter().map(|(tag, _)| tag.to_string()).collect();
        let page = delete_page(view, &permit, names, Some(problem)).await?;
        return view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    let base = address(name.as_str());
    let told = match deleted.as_slice() {
        [] => Told::new("told-tags-gone", ""),
        [(tag, _)] => Told::new("told-tag-deleted", tag.to_string()),
        several => Told::new("told-tags-deleted", "").count(several.len() as i64),
    };
    let fields = deleted.iter().map(|(tag, digest)| ("item".to_owned(), format!("{tag}@{digest}"))).collect();
    let told = undoable(told, &permit, &base, fields);
    Ok(view.done(&base, told))
}

/// The message with the way back, for those who may take it and as far as it fits.
pub(super) fn undoable<A>(told: Told, permit: &Permit<A>, base: &str, fields: Vec<(String, String)>) -> Told {
    if fields.is_empty() || !permit.rights().allow(Resource::Tag, Action::Create) {
        return told;
    }
    let full = told.clone().undo(format!("{base}/-/restore"), fields);
    if full.encode().len() <= UNDO_BYTES_MAX { full } else { told }
}

/// `tag@digest`
pub(super) fn item(text: &str) -> Option<(Tag, Digest)> {
    let (tag, digest) = text.split_once('@')?;
    Some((tag.parse().ok()?, digest.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_sums_up() {
        assert_eq!(summary("\n# API of the shop\nMore."), "API of the shop");
        assert_eq!(summary(&"镜".repeat(200)).chars().count(), 161);
        assert_eq!(summary(""), "");
    }

    #[test]
    fn versions_look_like_versions() {
        for (tag, version) in
            [("1.4.2", true), ("v2.0", true), ("latest", false), ("20261121", false), ("v1", false)]
        {
            assert_eq!(is_version(tag), version, "{tag}");
        }
    }
}
