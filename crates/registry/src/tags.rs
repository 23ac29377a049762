//! Tags of a repository and the catalogue: keyset pages in byte order.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use oci::error::Code;
use oci::{Action, RepositoryName};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::access::{Asker, Need};
use crate::dispatch::Call;
use crate::error::Error;

pub async fn list(call: &Call<'_>, name: &RepositoryName) -> Result<HttpResponse, Error> {
    let page = Page::read(call)?;
    let asker = Asker::identify(call.state, call.request, Need::Repository(name, Action::Pull)).await?;
    let pull = asker.pull(name).await?;
    let (tags, more) = call.state.catalog.tags.names(&pull, page.last, page.entries).await?;
    let next = page.next(&format!("/v2/{name}/tags/list"), &tags, more);
    Ok(paged(next).json(json!({ "name": name.as_str(), "tags": tags })))
}

pub async fn catalog(call: &Call<'_>) -> Result<HttpResponse, Error> {
    let page = Page::read(call)?;
    let asker = Asker::identify(call.state, call.request, Need::Catalog).await?;
    asker.catalog().await?;
    let (repositories, more) = call.state.catalog.repositories.paths(page.last, page.entries).await?;
    let next = page.next("/v2/_catalog", &repositories, more);
    Ok(paged(next).json(json!({ "repositories": repositories })))
}

/// `n` and `last` of a request.
struct Page<'a> {
    entries: i64,
    last: Option<&'a str>,
}

impl<'a> Page<'a> {
    fn read(call: &'a Call<'_>) -> Result<Self, Error> {
        let config = &call.state.config;
        let bad = |text: &str| Error::new(StatusCode::BAD_REQUEST, Code::PaginationNumberInvalid, text);
        let n = call.query.one("n").map_err(|()| bad("the parameter n occurs more than once"))?;
        let last = call.query.one("last").map_err(|()| bad("the parameter last occurs more than once"))?;
        let entries = match n {
            None | Some("") => config.page_entries,
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                // A number too large for the type is still only "as many as you give".
                text.parse().unwrap_or(i64::MAX).min(config.page_entries_max)
            }
            Some(_) => return Err(bad("n must be a number of entries, 0 or more")),
        };
        // U+0000 can be in no name, and PostgreSQL refuses it in any text.
        if last.is_some_and(|last| last.contains('\0')) {
            return Err(bad("last must be a name"));
        }
        Ok(Self { entries, last: last.filter(|last| !last.is_empty()) })
    }

    fn next(&self, path: &str, names: &[String], more: bool) -> Option<String> {
        let last = names.last().filter(|_| more)?;
        let last = utf8_percent_encode(last, NON_ALPHANUMERIC);
        Some(format!("<{path}?last={last}&n={}>; rel=\"next\"", self.entries))
    }
}

pub fn paged(next: Option<String>) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    if let Some(next) = next {
        response.insert_header((header::LINK, next));
    }
    response
}
