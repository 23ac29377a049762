//! Reading a token request, from the query of a GET or the form of a POST.
//!
//! Decides only whether the request can be understood; nothing here looks at credentials. The audience is never
//! taken from the request: `service` must be ours, and that is all it does.

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::Query;
use identity::{Origin, Presented};
use oci::scope::{self, Scope};

use crate::answer::Refusal;

/// Bytes of a query or a form.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 * 1024;

const TOO_LARGE: &str = "the request asks for too much: at most 100 scopes and 64 KiB";

/// How the caller proves who they are.
pub(crate) enum Proof {
    /// Basic credentials, a form's password, or nothing.
    Presented(Presented),
    /// A refresh token.
    Refresh(String),
}

/// A token request that can be understood.
pub(crate) struct TokenRequest {
    pub(crate) proof: Proof,
    pub(crate) scopes: Vec<Scope>,
    /// Something was asked for, even if it is no scope: then nobody in particular gets a token too.
    pub(crate) asked: bool,
    pub(crate) offline: bool,
    pub(crate) client_id: String,
}

/// Parameters in the order they came, repeated ones included.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > REQUEST_BYTES_MAX {
            return Err(Refusal::bad_request(TOO_LARGE));
        }
        Query::<Vec<(String, String)>>::from_query(text)
            .map(|query| Self(query.into_inner()))
            .map_err(|_| Refusal::bad_request("the parameters cannot be read"))
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A value that must not be ambiguous.
    fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    fn into_request(self, proof: Proof, service: &str) -> Result<TokenRequest, Refusal> {
        let mut services = self.all("service").peekable();
        if services.peek().is_none() || services.any(|one| one != service) {
            return Err(Refusal::bad_request("the service is not known here"));
        }
        let scopes = scope::parse_all(self.all("scope")).map_err(|_| Refusal::bad_request(TOO_LARGE))?;
        let asked = self.all("scope").any(|value| !value.trim().is_empty());
        let offline =
            self.first("offline_token") == Some("true") || self.first("access_type") == Some("offline");
        let client_id = self.first("client_id").unwrap_or_default().to_owned();
        Ok(TokenRequest { proof, scopes, asked, offline, client_id })
    }
}

impl TokenRequest {
    /// `GET /service/token` (Docker token specification). `account` is for access logs of others; nothing depends on it.
    pub(crate) fn from_query(request: &HttpRequest, service: &str) -> Result<Self, Refusal> {
        let parameters = Parameters::parse(request.query_string())?;
        parameters.into_request(Proof::Presented(presented(request)), service)
    }

    /// `POST /service/token` (Docker token specification, OAuth2 form). Credentials come in the form and nowhere else.
    pub(crate) fn from_form(request: &HttpRequest, body: &[u8], service: &str) -> Result<Self, Refusal> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::bad_request("the body is not a form"));
        }
        if request.headers().contains_key(header::AUTHORIZATION) {
            return Err(Refusal::bad_request("credentials belong into the form"));
        }
        let text = std::str::from_utf8(body).map_err(|_| Refusal::bad_request("the form is not text"))?;
        let parameters = Parameters::parse(text)?;
        let proof = match parameters.only("grant_type") {
            Some("password") => match (parameters.only("username"), parameters.only("password")) {
                (Some(username), Some(password)) => {
                    Proof::Presented(Presented::password(username, password.to_owned()))
                }
                _ => return Err(Refusal::bad_request("username and password are required")),
            },
            Some("refresh_token") => match parameters.only("refresh_token") {
                Some(token) => Proof::Refresh(token.to_owned()),
                None => return Err(Refusal::bad_request("refresh_token is required")),
            },
            _ => return Err(Refusal::bad_request("grant_type must be password or refresh_token")),
        };
        parameters.into_request(proof, service)
    }
}

/// What the `Authorization` headers say. More than one, or one that is not text, cannot be right.
fn presented(request: &HttpRequest) -> Presented {
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    match (values.next(), values.next()) {
        (None, _) => Presented::Nothing,
        (Some(value), None) => match value.to_str() {
            Ok(text) => Presented::from_header(Some(text)),
            Err(_) => Presented::Malformed,
        },
        (Some(_), Some(_)) => Presented::Malformed,
    }
}

/// Where the request came from; our own listener wrote these headers.
pub(crate) fn origin(request: &HttpRequest) -> Origin {
    let text = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    Origin {
        request_id: text("x-request-id"),
        address: text("x-hythe-peer"),
        client: text("user-agent").chars().take(255).collect(),
        method: "anonymous",
    }
}
