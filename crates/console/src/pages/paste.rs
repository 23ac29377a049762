//! Paths that are no page: perhaps somebody pasted what they pull.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, http::Method};
use askama::Template;
use oci::{Reference, RepositoryName};
use percent_encoding::percent_decode_str;
use tenancy::list::Query;
use tenancy::roles::{Action, Resource};
use tenancy::{ListRepositories, ListTags, Permit, ProjectRef};

use crate::failure::Failure;
use crate::pages::error::Request;
use crate::pages::repository::address;
use crate::shell::{Shell, segment};
use crate::view::View;

/// Names that are compared with what was pasted.
const COMPARED_MAX: i64 = 100;

/// Names that are offered instead.
const OFFERED_MAX: usize = 5;

#[derive(Template)]
#[template(path = "repository/missing.html")]
struct MissingPage {
    s: Shell,
    pasted: String,
    /// What there is instead, with where it is.
    near: Vec<(String, String)>,
    request: Request,
}

/// The page of the image that the path names, when the viewer may see it; otherwise the page that says there is nothing,
/// and to those who may see the project what its name may have been meant for.
pub(crate) async fn find(view: &View) -> HttpResponse {
    match meant(view).await {
        Ok(Some(answer)) => answer,
        Ok(None) => view.failed(&Failure::hidden()),
        Err(failure) => view.failed(&failure),
    }
}

/// Where the image is that a text names, when it is there and the viewer may see it. The text may begin with the host.
pub(crate) async fn place(view: &View, text: &str) -> Result<Option<String>, Failure> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.strip_prefix(&format!("{}/", view.host())).unwrap_or(text);
    let Some((name, Some(reference))) = pasted(&format!("/{text}")) else { return Ok(None) };
    let Some(permit) = visible(view, &name).await? else { return Ok(None) };
    found(view, &permit, &name, &reference).await
}

/// The proof that the viewer may see the tags and artifacts of the project. Not a decision: a text that nobody meant as
/// an image is no refusal for the trail.
async fn visible(view: &View, name: &RepositoryName) -> Result<Option<Permit<ListTags>>, Failure> {
    let project = ProjectRef::from(&name.project());
    let rights = view.state.tenancy.project_rights(&view.caller, &project).await?;
    let may = |resource, action| rights.as_ref().is_some_and(|rights| rights.allow(resource, action));
    if !may(Resource::Artifact, Action::Read) || !may(Resource::Tag, Action::List) {
        return Ok(None);
    }
    Ok(Some(view.state.tenancy.permit::<ListTags>(&view.caller, &project).await?))
}

async fn found(
    view: &View,
    permit: &Permit<ListTags>,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Option<String>, Failure> {
    let base = address(name.as_str());
    match view.state.catalog.artifacts.digest_of(permit.project.0, name, reference).await {
        Ok(_) => Ok(Some(match reference {
            Reference::Tag(tag) => format!("{base}/-/tags/{}", segment(tag.as_str())),
            Reference::Digest(digest) => format!("{base}/-/artifacts/{digest}"),
        })),
        Err(catalog::Error::ManifestUnknown(_)) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// What a page of a repository or a tag that is not there may have been meant for; nothing when something else is missing,
/// or when the viewer may not see the project.
pub(crate) async fn near(view: &View) -> Option<HttpResponse> {
    let (project, inside, tag) = (view.segment("project"), view.segment("repository"), view.segment("tag"));
    if view.method() != Method::GET || inside.is_empty() {
        return None;
    }
    let name: RepositoryName = format!("{project}/{inside}").parse().ok()?;
    let permit = visible(view, &name).await.ok()??;
    let query = Query { page_size: COMPARED_MAX, ..Query::default() };
    match view.state.catalog.history.repository_tags(&permit, &name, &query).await {
        Err(catalog::Error::RepositoryUnknown(_)) => {
            near_repositories(view, &ProjectRef::from(permit.project), &name).await.ok()
        }
        Ok(page) if !tag.is_empty() => {
            let names = page.rows.into_iter().map(|row| row.name);
            missing(view, &format!("{name}:{tag}"), near_tags(&name, nearest(&tag, names))).ok()
        }
        _ => None,
    }
}

/// Those tags, and the repository itself.
fn near_tags(name: &RepositoryName, tags: Vec<String>) -> Vec<(String, String)> {
    let base = address(name.as_str());
    let mut near: Vec<(String, String)> = tags
        .into_iter()
        .map(|tag| (format!("{name}:{tag}"), format!("{base}/-/tags/{}", segment(&tag))))
        .collect();
    near.push((name.to_string(), base));
    near
}

async fn meant(view: &View) -> Result<Option<HttpResponse>, Failure> {
    let Some((name, reference)) = (view.method() == Method::GET).then(|| pasted(view.path())).flatten()
    else {
        return Ok(None);
    };
    let Some(permit) = visible(view, &name).await? else { return Ok(None) };
    let project = ProjectRef::from(permit.project);
    if let Some(reference) = &reference
        && let Some(path) = found(view, &permit, &name, reference).await?
    {
        return Ok(Some(view.go(&path)));
    }
    let query = Query { page_size: COMPARED_MAX, ..Query::default() };
    let tags = match view.state.catalog.history.repository_tags(&permit, &name, &query).await {
        Ok(page) => page.rows,
        Err(catalog::Error::RepositoryUnknown(_)) => {
            return near_repositories(view, &project, &name).await.map(Some);
        }
        Err(err) => return Err(err.into()),
    };
    let near = match &reference {
        None => return Ok(Some(view.go(&address(name.as_str())))),
        Some(Reference::Tag(wanted)) => nearest(wanted.as_str(), tags.into_iter().map(|tag| tag.name)),
        Some(Reference::Digest(_)) => Vec::new(),
    };
    missing(view, &pasted_text(view), near_tags(&name, near)).map(Some)
}

/// What was pasted, as text.
fn pasted_text(view: &View) -> String {
    percent_decode_str(view.path().trim_start_matches('/')).decode_utf8_lossy().into_owned()
}

async fn near_repositories(
    view: &View,
    project: &ProjectRef,
    name: &RepositoryName,
) -> Result<HttpResponse, Failure> {
    let permit = view.state.tenancy.permit::<ListRepositories>(&view.caller, project).await?;
    let query = Query { page_size: COMPARED_MAX, ..Query::default() };
    let page = view.state.catalog.repositories.list(&permit, &query).await?;
    let near = nearest(name.as_str(), page.rows.into_iter().map(|row| row.path));
    let mut near: Vec<(String, String)> =
        near.into_iter().map(|path| (path.clone(), address(&path))).collect();
    near.push((permit.name.to_string(), format!("/projects/{}/repositories", segment(permit.name.as_str()))));
    let wanted = if view.segment("repository").is_empty() { pasted_text(view) } else { name.to_string() };
    missing(view, &wanted, near)
}

fn missing(view: &View, wanted: &str, near: Vec<(String, String)>) -> Result<HttpResponse, Failure> {
    let s = view.shell("", view.t("error-missing-what"));
    let request = Request::of(view, StatusCode::NOT_FOUND);
    let page = MissingPage { s, pasted: wanted.to_owned(), near, request };
    view.page_with(StatusCode::NOT_FOUND, &page)
}

/// What a path names, when it can be an image: with a tag, with a digest, or as a whole repository.
fn pasted(path: &str) -> Option<(RepositoryName, Option<Reference>)> {
    let text = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    if let Some((name, digest)) = text.split_once('@') {
        // What clients print may have both; the digest decides.
        let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
        return Some((name.parse().ok()?, Some(Reference::Digest(digest.parse().ok()?))));
    }
    if let Some((name, tag)) = text.rsplit_once(':') {
        return Some((name.parse().ok()?, Some(Reference::Tag(tag.parse().ok()?))));
    }
    Some((text.parse().ok()?, None))
}

/// Those that differ least, if they are alike at all.
fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let mut found: Vec<(usize, String)> = names
        .map(|name| (distance(wanted, &name), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len().max(wanted.len()) / 3))
        .collect();
    found.sort();
    found.into_iter().take(OFFERED_MAX).map(|(_, name)| name).collect()
}

/// Letters to change, add or leave out to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut before = line;
        row[0] = line + 1;
        for (column, candidate) in other.iter().enumerate() {
            let change = before + usize::from(letter != *candidate);
            before = row[column + 1];
            row[column + 1] = change.min(before + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (path, expected) in [
            ("/team-a/backend/api:1.4.2".to_owned(), Some("team-a/backend/api 1.4.2".to_owned())),
            (format!("/team-a/api@{digest}"), Some(format!("team-a/api {digest}"))),
            (format!("/team-a/api:v1@{digest}"), Some(format!("team-a/api {digest}"))),
            ("/team-a/api%3Av1".to_owned(), Some("team-a/api v1".to_owned())),
            ("/team-a/api".to_owned(), Some("team-a/api ".to_owned())),
            ("/favicon.ico".to_owned(), None),
            ("/team-a/API:v1".to_owned(), None),
            ("/".to_owned(), None),
        ] {
            let got = pasted(&path).map(|(name, reference)| {
                format!("{name} {}", reference.map(|reference| reference.to_string()).unwrap_or_default())
            });
            assert_eq!(got, expected, "{path}");
        }
    }

    #[test]
    fn names_that_are_alike() {
        assert_eq!((distance("api", "apii"), distance("", "abc"), distance("kitten", "sitting")), (1, 3, 3));
        let names = ["1.4.1", "1.4.20", "latest", "2.0.0"].map(ToOwned::to_owned);
        assert_eq!(nearest("1.4.2", names.into_iter()), ["1.4.1", "1.4.20", "2.0.0"][..2]);
    }
}
