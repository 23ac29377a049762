//! One request, as handlers see it: who asks, what the path and query say, and the body on demand.
//!
//! Credentials are checked before anything else is read, so an answer to somebody with wrong ones is always
//! the same. Bodies are read only by handlers that want one, up to a limit.

use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use identity::{Caller, Origin, Presented, Principal, TokenScope, User, UserId, browser};
use oci::{Reference, RepositoryName};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tenancy::{Permit, ProjectAction, ProjectRef};

use crate::State;
use crate::error::Failure;
use crate::params::{Params, boolean};

/// JSON bodies above this are refused.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Whether a route looks at credentials at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Answers everybody alike, with whatever credentials.
    Ignored,
    /// Wrong credentials are refused; none at all make the caller anonymous.
    Checked,
}

/// A request whose credentials are settled.
pub(crate) struct Context {
    pub state: web::Data<State>,
    pub caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
}

impl Context {
    pub async fn new(
        credentials: Credentials,
        request: HttpRequest,
        payload: web::Payload,
    ) -> Result<Self, Failure> {
        let state = request
            .app_data::<web::Data<State>>()
            .cloned()
            .ok_or_else(|| Failure::not_found("the requested path does not exist"))?;
        let mut origin = origin(&request);
        let principal = match credentials {
            Credentials::Ignored => Principal::Anonymous,
            Credentials::Checked => {
                let presented = presented(&request);
                let session = match presented {
                    Presented::Nothing => session(&state, &request).await?,
                    _ => None,
                };
                let principal = match session {
                    Some(user) => {
                        origin.method = "session";
                        Principal::User(user)
                    }
                    None => state.identity.authenticate(&presented, &origin).await?,
                };
                if !principal.is_anonymous() && origin.method != "session" {
                    origin.method = if principal.limits().is_some() { "access_token" } else { "password" };
                }
                if !opens(&principal, &request) {
                    return Err(Failure::forbidden("the access token has no scope for this"));
                }
                principal
            }
        };
        Ok(Self { state, caller: Caller::new(principal, origin), request, payload })
    }

    /// Refuses anonymous callers of operations that are for everybody who can sign in.
    pub fn require_signed_in(&self) -> Result<(), Failure> {
        if self.caller.is_anonymous() { Err(tenancy::Error::Unauthenticated.into()) } else { Ok(()) }
    }

    /// A segment of the path, decoded once.
    fn segment(&self, name: &str) -> String {
        decoded(self.request.match_info().get(name).unwrap_or_default())
    }

    /// A text of the path, without a meaning yet.
    pub fn text(&self, name: &str) -> String {
        self.segment(name)
    }

    /// The project named by the path: `{project_name_or_id}` as `X-Is-Resource-Name` says, `{project_name}`
    /// always as a name.
    pub fn project(&self) -> Result<ProjectRef, Failure> {
        if self.request.match_info().get("project_name").is_some() {
            return Ok(ProjectRef::parse(&self.segment("project_name"), true));
        }
        let always_name = self.flag_header("X-Is-Resource-Name")?;
        Ok(ProjectRef::parse(&self.segment("project_name_or_id"), always_name))
    }

    /// The proof that the caller may do `A` in the project of the path. Comes before every look inside it.
    pub async fn permit<A: ProjectAction>(&self) -> Result<Permit<A>, Failure> {
        Ok(self.state.tenancy.permit::<A>(&self.caller, &self.project()?).await?)
    }

    /// The repository named by the path, inside the project of the permit. Nested names come percent-encoded,
    /// once or twice; whatever still is no name afterwards is a repository that does not exist.
    pub fn repository<A>(&self, permit: &Permit<A>) -> Result<RepositoryName, Failure> {
        let once = self.segment("repository_name");
        let name = if once.contains('%') { decoded(&once) } else { once };
        let full = format!("{}/{name}", permit.name);
        full.parse().map_err(|_| Failure::not_found(format!("repository {full} not found")))
    }

    /// The tag or digest of the path. What is neither does not exist.
    pub fn reference(&self) -> Result<Reference, Failure> {
        let text = self.segment("reference");
        text.parse().map_err(|_| Failure::not_found(format!("artifact {text} not found")))
    }

    /// The tag of the path.
    pub fn tag(&self) -> Result<oci::Tag, Failure> {
        let text = self.segment("tag_name");
        text.parse().map_err(|_| Failure::not_found(format!("tag {text} not found")))
    }

    /// A numeric id of the path.
    pub fn id(&self, name: &str) -> Result<i64, Failure> {
        let text = self.segment(name);
        text.parse()
            .map_err(|_| Failure::unprocessable(format!("{name} in path must be of type int64: {text:?}")))
    }

    /// The account of the path, which names the caller's own by a word.
    ///
    /// # Errors
    /// 401 for nobody, 412 for a robot where its own account is meant.
    pub fn account(&self) -> Result<UserId, Failure> {
        self.require_signed_in()?;
        if self.request.match_info().get("user_id").is_some() {
            return Ok(UserId(self.id("user_id")?));
        }
        let own = self.caller.user().map(|user| user.id);
        own.ok_or_else(|| Failure::precondition("a robot is not a user"))
    }

    /// The parameters of the query.
    pub fn params(&self) -> Result<Params, Failure> {
        Params::parse(self.request.query_string())
    }

    /// The path as sent, without a trailing slash: what `Location` and `Link` build on.
    pub fn path(&self) -> &str {
        self.request.uri().path().trim_end_matches('/')
    }

    /// Whether the client asks for this media type by name.
    pub fn accepts(&self, media_type: &str) -> bool {
        let accept = self.request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let named =
            |part: &str| part.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type);
        accept.unwrap_or_default().split(',').any(named)
    }

    /// A header as text, when it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// A boolean header, false when absent.
    pub fn flag_header(&self, name: &str) -> Result<bool, Failure> {
        let Some(value) = self.request.headers().get(name) else { return Ok(false) };
        match value.to_str().map(str::trim) {
            Ok("") => Ok(false),
            text => text
                .ok()
                .and_then(boolean)
                .ok_or_else(|| Failure::unprocessable(format!("{name} in header must be of type boolean"))),
        }
    }

    /// Scheme and authority under which the client reached this server, without a path.
    pub fn external_url(&self) -> Option<String> {
        if let Some(url) = &self.state.config.external_url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let header = |name: &str| self.request.headers().get(name).and_then(|value| value.to_str().ok());
        let scheme = if header("x-hythe-scheme") == Some("https") { "https" } else { "http" };
        let host = header("host").filter(|host| is_host(host))?;
        Some(format!("{scheme}://{host}"))
    }

    /// The JSON body.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let headers = self.request.headers();
        if let Some(kind) = headers.get(CONTENT_TYPE) {
            let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("application/json") {
                return Err(Failure::unsupported_media_type("the body has to be application/json"));
            }
        }
        let too_large = || Failure::too_large(format!("the body is larger than {BODY_BYTES_MAX} bytes"));
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.payload.next().await {
            let chunk = chunk.map_err(|_| Failure::bad_request("the body ended early"))?;
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|err| {
            // Line and column are about the client's own text; the message names no type of ours.
            Failure::bad_request(match err.classify() {
                serde_json::error::Category::Data => format!("the body has a value that does not fit: {err}"),
                _ => format!("the body is not valid JSON: line {}, column {}", err.line(), err.column()),
            })
        })
    }
}

/// Whether the credential opens this API at all: an access token does with the scope `api`, and with `api:read` to
/// read. What it leaves of each right is decided with the right.
fn opens(principal: &Principal, request: &HttpRequest) -> bool {
    let reading = [Method::GET, Method::HEAD].contains(request.method());
    principal
        .limits()
        .is_none_or(|limits| limits.has(TokenScope::Api) || reading && limits.has(TokenScope::ApiRead))
}

/// Decodes percent escapes once. What is not UTF-8 afterwards stays as it is: no name has such characters.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), |decoded| decoded.into_owned())
}

fn presented(request: &HttpRequest) -> Presented {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    match (headers.next(), headers.next()) {
        (None, _) => Presented::Nothing,
        (Some(value), None) => match value.to_str() {
            Ok(text) => Presented::from_header(Some(text)),
            Err(_) => Presented::Malformed,
        },
        // Two answers to the question who is asking are none.
        (Some(_), Some(_)) => Presented::Malformed,
    }
}

/// Who a browser's session belongs to, when nothing else says who is asking. A browser sends its cookie also when another
/// site made it ask, so a change needs the token of our own pages as well.
///
/// # Errors
/// 403 for a change without the token, or caused by another site.
async fn session(state: &State, request: &HttpRequest) -> Result<Option<User>, Failure> {
    let header =
        |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    let secure = match &state.config.external_url {
        Some(url) => url.starts_with("https://"),
        None => header("x-hythe-scheme").as_deref() == Some("https"),
    };
    let Some(cookie) = session_cookie(request, secure) else { return Ok(None) };
    let Some(signed_in) = state.identity.session(&cookie).await? else { return Ok(None) };
    let reading = [Method::GET, Method::HEAD].contains(request.method());
    let shown = header(browser::TOKEN_HEADER).unwrap_or_default();
    let meant = browser::same_token(&shown, &browser::form_token(&cookie))
        && !browser::from_another_site(header("sec-fetch-site").as_deref());
    if !reading && !meant {
        return Err(Failure::forbidden(format!(
            "a change with a session needs the token of its pages in the header {}",
            browser::TOKEN_HEADER
        )));
    }
    Ok(Some(signed_in.user))
}

fn session_cookie(request: &HttpRequest, secure: bool) -> Option<String> {
    let cookies = request.cookies().ok()?;
    let name = browser::session_cookie(secure);
    let mut found = cookies.iter().filter(|cookie| cookie.name() == name);
    // One sent twice is none: somebody put a second one beside ours.
    let (Some(cookie), None) = (found.next(), found.next()) else { return None };
    Some(cookie.value().to_owned())
}

fn origin(request: &HttpRequest) -> Origin {
    let text = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let client: String = text(USER_AGENT.as_str()).chars().take(255).collect();
    Origin { request_id: text("x-request-id"), address: text("x-hythe-peer"), client, method: "anonymous" }
}

/// A host name or address with an optional port, and nothing that could end a header or start a path.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if !address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) {
                return false;
            }
            (address, port.strip_prefix(':').or(if port.is_empty() { None } else { Some("x") }))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let good_host = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'));
    let good_port = port.is_none_or(|port| !port.starts_with('+') && port.parse::<u16>().is_ok());
    good_host && good_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, good) in [
            ("hub.example.com", true),
            ("hub.example.com:8443", true),
            ("localhost:8080", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("[::1]:8080", true),
            ("", false),
            (":80", false),
            ("a:b", false),
            ("a:99999", false),
            ("a:+80", false),
            ("a b", false),
            ("a/b", false),
            ("a\"b", false),
            ("user@a", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[g]", false),
        ] {
            assert_eq!(is_host(text), good, "{text}");
        }
    }

    #[test]
    fn nested_names_decode_to_the_same() {
        for (segment, expected) in
            [("a%2Fb", "a/b"), ("a%252Fb", "a%2Fb"), ("a", "a"), ("%ff", "%ff"), ("a%2", "a%2")]
        {
            assert_eq!(decoded(segment), expected);
        }
    }
}
