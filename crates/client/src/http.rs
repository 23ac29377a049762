//! Requests, answers and pages.
//!
//! Redirects are not followed and the next page of a list is only taken from the same server, so that credentials stay
//! where they belong. An answer is held in memory up to a limit; a list is never held whole.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LINK, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Method, redirect};
use sealed::Secret;
use serde_json::Value;

use crate::output::printable;
use crate::{Error, Path, Server};

/// Longest line of a text.
const LINE_BYTES_MAX: usize = 64 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The server itself gives up on a request after five seconds; the rest is the network's.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);
/// A page of a hundred artifacts with everything they can have is a small part of this.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of a text that stands in an error.
const MESSAGE_CHARS_MAX: usize = 1000;
/// As many rows as the API gives at once.
const PAGE_SIZE: u64 = 100;

/// A name and what proves it: a password, an access token or a robot's secret.
pub struct Credentials {
    pub name: String,
    pub secret: Secret,
}

/// One server, as one account or as nobody.
pub struct Client {
    http: reqwest::Client,
    server: Server,
    credentials: Option<Credentials>,
}

/// What a request that succeeded brought.
pub struct Answer {
    /// The id at the end of `Location`, when something was created.
    pub id: Option<i64>,
    /// `Null` when the body is empty.
    pub body: Value,
}

/// Rows that came in one answer.
pub struct Page {
    pub rows: Vec<Value>,
    /// Of the whole list, when the server says so.
    pub total: Option<u64>,
}

/// A list, one page after the other.
pub struct Pages<'a> {
    client: &'a Client,
    next: Option<String>,
}

impl Client {
    /// A client of this server. `authority` is a PEM file of certificates to trust beside the machine's own;
    /// `agent` is how the program calls itself.
    ///
    /// # Errors
    /// `Certificates`.
    pub fn new(
        server: Server,
        credentials: Option<Credentials>,
        authority: Option<&[u8]>,
        agent: &str,
    ) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(agent);
        if server.is_plain() {
            // Reading all certificates of the machine takes longer than the request.
            builder = builder.tls_certs_only([]);
        } else if let Some(pem) = authority {
            let authority = Certificate::from_pem_bundle(pem).map_err(Error::Certificates)?;
            if authority.is_empty() {
                return Err(Error::Invalid(
                    "the certificate authority's file holds no certificate".to_owned(),
                ));
            }
            builder = builder.tls_certs_merge(authority);
        }
        let http = builder.build().map_err(Error::Certificates)?;
        Ok(Self { http, server, credentials })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What the requests prove themselves with, for the few that repeat it in their body.
    pub fn secret(&self) -> Option<&Secret> {
        self.credentials.as_ref().map(|credentials| &credentials.secret)
    }

    /// # Errors
    /// `Refused`, `Unreachable`, `Strange`.
    pub async fn get(&self, path: &Path) -> Result<Value, Error> {
        Ok(self.send(Method::GET, path, None).await?.body)
    }

    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&self, path: &Path, body: Value) -> Result<Answer, Error> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// # Errors
    /// As [`Client::get`].
    pub async fn put(&self, path: &Path, body: Value) -> Result<Answer, Error> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// # Errors
    /// As [`Client::get`].
    pub async fn patch(&self, path: &Path, body: Value) -> Result<Answer, Error> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// # Errors
    /// As [`Client::get`].
    pub async fn delete(&self, path: &Path) -> Result<Answer, Error> {
        self.send(Method::DELETE, path, None).await
    }

    /// A text, line by line as it arrives and fit for a terminal. A line of any length is cut at 64 KiB.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn lines(&self, path: &Path, mut each: impl FnMut(&str)) -> Result<(), Error> {
        let request = self.request(Method::GET, &path.sent(), None)?;
        let mut response = request.send().await.map_err(|err| self.unreachable(err))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut rest = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| self.unreachable(err))? {
            rest.extend_from_slice(&chunk);
            if !status.is_success() {
                rest.truncate(LINE_BYTES_MAX);
                continue;
            }
            let mut begin = 0;
            while let Some(length) = rest[begin..].iter().position(|byte| *byte == b'\n') {
                each(&printable(&String::from_utf8_lossy(&rest[begin..begin + length])));
                begin += length + 1;
            }
            rest.drain(..begin);
            if rest.len() > LINE_BYTES_MAX {
                each(&printable(&String::from_utf8_lossy(&std::mem::take(&mut rest))));
            }
        }
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &headers, &rest));
        }
        if !rest.is_empty() {
            each(&printable(&String::from_utf8_lossy(&rest)));
        }
        Ok(())
    }

    /// A list, of which `limit` rows are wanted at most.
    pub fn pages(&self, path: &Path, limit: Option<u64>) -> Pages<'_> {
        let size = limit.unwrap_or(PAGE_SIZE).clamp(1, PAGE_SIZE);
        let first = path.clone().with("page_size", &size.to_string()).sent();
        Pages { client: self, next: Some(first) }
    }

    async fn send(&self, method: Method, path: &Path, body: Option<Value>) -> Result<Answer, Error> {
        let (headers, body) = self.exchange(method, &path.sent(), body).await?;
        Ok(Answer { id: created_id(&headers), body })
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        body: Option<Value>,
    ) -> Result<(HeaderMap, Value), Error> {
        let request = self.request(method, target, body)?;
        let unreachable = |source| self.unreachable(source);
        let mut response = request.send().await.map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(self.strange(format!("an answer is larger than {BODY_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &headers, &bytes));
        }
        if bytes.is_empty() {
            return Ok((headers, Value::Null));
        }
        let is_json = text_of(&headers, CONTENT_TYPE.as_str()).starts_with("application/json");
        match serde_json::from_slice(&bytes) {
            Ok(body) if is_json => Ok((headers, body)),
            _ => Err(self.strange("the answer is not JSON".to_owned())),
        }
    }

    fn request(
        &self,
        method: Method,
        target: &str,
        body: Option<Value>,
    ) -> Result<reqwest::RequestBuilder, Error> {
        let mut request = self
            .http
            .request(method, format!("{}{target}", self.server))
            // A project whose name is a number is still meant by its name.
            .header("X-Is-Resource-Name", "true");
        if let Some(Credentials { name, secret }) = &self.credentials {
            let Some(secret) = secret.expose_str() else {
                return Err(Error::Invalid("the password is not UTF-8".to_owned()));
            };
            request = request.basic_auth(name, Some(secret));
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request)
    }

    fn unreachable(&self, source: reqwest::Error) -> Error {
        // The address would only say again what is said already.
        Error::Unreachable { server: self.server.to_string(), source: source.without_url() }
    }

    fn strange(&self, what: String) -> Error {
        Error::Strange { server: self.server.to_string(), what }
    }
}

impl Pages<'_> {
    /// The next page; nothing after the last one.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn next(&mut self) -> Result<Option<Page>, Error> {
        let Some(target) = self.next.take() else { return Ok(None) };
        let (headers, body) = self.client.exchange(Method::GET, &target, None).await?;
        let rows = match body {
            Value::Array(rows) => rows,
            // An empty list may be written as nothing at all.
            Value::Null => Vec::new(),
            _ => return Err(self.client.strange("a list was expected".to_owned())),
        };
        if let Some(next) = next_link(&text_of(&headers, LINK.as_str())) {
            // A path of this very server; anything else would carry the credentials away.
            if !next.starts_with("/api/") || rows.is_empty() {
                return Err(self.client.strange("the next page is somewhere else".to_owned()));
            }
            self.next = Some(next.to_owned());
        }
        Ok(Some(Page { rows, total: text_of(&headers, "x-total-count").parse().ok() }))
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn created_id(headers: &HeaderMap) -> Option<i64> {
    text_of(headers, LOCATION.as_str()).rsplit('/').next()?.parse().ok()
}

/// The target of `rel="next"`.
fn next_link(link: &str) -> Option<&str> {
    link.split(',')
        .map(str::trim)
        .filter(|part| part.split(';').skip(1).any(|parameter| parameter.trim() == "rel=\"next\""))
        .find_map(|part| part.strip_prefix('<')?.split_once('>').map(|(target, _)| target))
}

fn refusal(status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let first = &body["errors"][0];
    let text = |key: &str| {
        let cut: String = first[key].as_str().unwrap_or_default().chars().take(MESSAGE_CHARS_MAX).collect();
        printable(&cut)
    };
    let message = match text("message") {
        empty if empty.is_empty() => format!("the server answered {status}"),
        message => message,
    };
    Error::Refused {
        status,
        code: text("code"),
        message,
        request_id: printable(&text_of(headers, "x-request-id")),
        retry_after_seconds: text_of(headers, RETRY_AFTER.as_str()).parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_the_link() {
        for (link, expected) in [
            ("", None),
            ("</api/v2.0/a?page=1&page_size=10>; rel=\"prev\"", None),
            ("</api/v2.0/a?page=3>; rel=\"next\"", Some("/api/v2.0/a?page=3")),
            ("</a?page=1>; rel=\"prev\" , </a?page=3>; rel=\"next\"", Some("/a?page=3")),
            ("garbage; rel=\"next\"", None),
        ] {
            assert_eq!(next_link(link), expected, "{link}");
        }
    }

    #[test]
    fn refusals_carry_the_servers_words_and_nothing_that_moves_a_cursor() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "7f".parse().expect("a header"));
        headers.insert("retry-after", "5".parse().expect("a header"));
        let body = br#"{"errors":[{"code":"NOT_FOUND","message":"project \u001b[2Jdemo not found"}]}"#;
        let Error::Refused { status, code, message, request_id, retry_after_seconds } =
            refusal(404, &headers, body)
        else {
            panic!("a refusal")
        };
        assert_eq!((status, code.as_str(), request_id.as_str()), (404, "NOT_FOUND", "7f"));
        assert_eq!(retry_after_seconds, Some(5));
        assert_eq!(message, "project \\u{1b}[2Jdemo not found");
        assert_eq!(refusal(502, &headers, b"<html>").to_string(), "the server answered 502");
    }
}
