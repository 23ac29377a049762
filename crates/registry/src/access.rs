//! Who is asking, and may they: from the `Authorization` header to a proof that `catalog` accepts.
//!
//! A bearer token carries its grant; Basic credentials are checked and granted on the spot. Every refusal is a
//! 401 with the same challenge, whether or not anything exists: `/v2` never answers 403 for a missing right.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use catalog::{Delete, Pull, Push};
use identity::tokens::{Access, Error as TokenError, Verified};
use identity::{Caller, Presented};
use oci::error::Code;
use oci::scope::Scope;
use oci::{Action, RepositoryName};
use uuid::Uuid;

use crate::State;
use crate::error::Error;

const CHALLENGE: HeaderName = header::WWW_AUTHENTICATE;

/// What one request needs, in the words of the token protocol.
#[derive(Clone, Copy)]
pub enum Need<'a> {
    /// A valid identity, for `GET /v2/`.
    Identity,
    Catalog,
    Repository(&'a RepositoryName, Action),
    /// Push here and pull there.
    Mount(&'a RepositoryName, &'a RepositoryName),
}

impl Need<'_> {
    /// The scope to name in a challenge. Space-separated when there are two.
    fn scope(&self) -> Option<String> {
        let actions = |action: &Action| match action {
            Action::Push => "pull,push",
            other => other.as_str(),
        };
        match self {
            Self::Identity => None,
            Self::Catalog => Some("registry:catalog:*".to_owned()),
            Self::Repository(name, action) => Some(format!("repository:{name}:{}", actions(action))),
            Self::Mount(to, from) => Some(format!("repository:{to}:pull,push repository:{from}:pull")),
        }
    }

    /// The act that is refused, by the names of the audit trail, and what it was to be done to.
    fn act(&self) -> Option<(&'static str, Option<&RepositoryName>)> {
        match self {
            Self::Identity => None,
            Self::Catalog => Some(("catalog_read", None)),
            Self::Repository(name, Action::Pull) => Some(("repository_pull", Some(name))),
            Self::Repository(name, Action::Delete) => Some(("repository_delete", Some(name))),
            Self::Repository(name, Action::Push) | Self::Mount(name, _) => {
                Some(("repository_push", Some(name)))
            }
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Identity => "unauthorized".to_owned(),
            Self::Catalog => "unauthorized to list the catalog".to_owned(),
            Self::Repository(name, action) => {
                format!("unauthorized to access repository: {name}, action: {}", action.as_str())
            }
            Self::Mount(name, _) => {
                format!("unauthorized to access repository: {name}, action: push")
            }
        }
    }
}

/// An identified caller with everything its credentials grant for this request.
pub struct Asker<'a> {
    state: &'a State,
    request: &'a HttpRequest,
    caller: Caller,
    grant: Grant,
}

enum Grant {
    /// What the token says.
    Token(Vec<Access>),
    /// Basic credentials: asked of `tenancy` per repository.
    Direct,
}

impl<'a> Asker<'a> {
    /// Identifies the caller. `need` is for the challenge of a refusal.
    pub async fn identify(state: &'a State, request: &'a HttpRequest, need: Need<'_>) -> Result<Self, Error> {
        match Self::try_identify(state, request, need).await? {
            (asker, None) => Ok(asker),
            (_, Some(_)) => Err(refusal(state, request, need, Some("invalid_token"))),
        }
    }

    /// As [`Asker::identify`], but a token that ended after the upload session was opened still serves its own
    /// principal, as long as the account is active and may still push: a long push outlives its token.
    pub async fn identify_for_upload(
        state: &'a State,
        request: &'a HttpRequest,
        name: &RepositoryName,
        upload: Uuid,
    ) -> Result<Self, Error> {
        let need = Need::Repository(name, Action::Push);
        let (asker, expired) = Self::try_identify(state, request, need).await?;
        let Some(expired) = expired else {
            return Ok(asker);
        };
        let ended = || refusal(state, request, need, Some("invalid_token"));
        // The token had to carry the right while it lived: ending must not widen it.
        if Push::from_access(&asker.caller, &expired.access, name).is_none() {
            return Err(ended());
        }
        let holder = &asker.caller.principal;
        let opened = state.catalog.uploads.opened_at(holder, name, upload).await?.ok_or_else(ended)?;
        if opened > expired.expires_at {
            return Err(ended());
        }
        let principal = state.identity.active(holder).await?.ok_or_else(ended)?;
        let caller = Caller::new(principal, asker.caller.origin);
        Ok(Self { state, request, caller, grant: Grant::Direct })
    }

    async fn try_identify(
        state: &'a State,
        request: &'a HttpRequest,
        need: Need<'_>,
    ) -> Result<(Self, Option<Verified>), Error> {
        let header = request.headers().get(header::AUTHORIZATION);
        // A header that is not text is credentials that cannot be right, not the absence of credentials.
        let presented = match header.map(|value| value.to_str()) {
            None => Presented::Nothing,
            Some(Ok(text)) => Presented::from_header(Some(text)),
            Some(Err(_)) => Presented::Malformed,
        };
        let mut origin = origin(request);
        match presented {
            Presented::Nothing | Presented::Malformed => Err(refusal(state, request, need, None)),
            Presented::Bearer(token) => {
                origin.method = "token";
                let (verified, expired) = match state.identity.verify(&token).await {
                    Ok(verified) => (verified, None),
                    Err(TokenError::Expired(verified)) => {
                        let verified = *verified;
                        (verified.clone(), Some(verified))
                    }
                    Err(TokenError::Invalid | TokenError::Revoked) => {
                        return Err(refusal(state, request, need, Some("invalid_token")));
                    }
                    Err(TokenError::Stale) => {
                        return Err(Error::unavailable("permissions cannot be checked right now"));
                    }
                };
                let caller = Caller::new(verified.principal(), origin);
                let grant = if expired.is_some() { Vec::new() } else { verified.access };
                Ok((Self { state, request, caller, grant: Grant::Token(grant) }, expired))
            }
            basic @ Presented::Basic { .. } => {
                origin.method = "password";
                let principal = match state.identity.authenticate(&basic, &origin).await {
                    Ok(principal) => principal,
                    Err(err) => {
                        return Err(login_failed(err, || refusal(state, request, need, None)));
                    }
                };
                if principal.limits().is_some() {
                    origin.method = "access_token";
                }
                Ok((
                    Self { state, request, caller: Caller::new(principal, origin), grant: Grant::Direct },
                    None,
                ))
            }
        }
    }

    pub async fn pull(&self, name: &RepositoryName) -> Result<Pull, Error> {
        let access = self.access(name).await?;
        match Pull::from_access(&self.caller, &access, name) {
            Some(pull) => Ok(pull),
            None => Err(self.refuse(Need::Repository(name, Action::Pull)).await),
        }
    }

    pub async fn push(&self, name: &RepositoryName) -> Result<Push, Error> {
        self.push_for(name, Need::Repository(name, Action::Push)).await
    }

    /// The right to push, with the challenge of what the whole request needs.
    pub async fn push_for(&self, name: &RepositoryName, need: Need<'_>) -> Result<Push, Error> {
        let access = self.access(name).await?;
        let Some(push) = Push::from_access(&self.caller, &access, name) else {
            return Err(self.refuse(need).await);
        };
        self.require_writable().await?;
        Ok(push)
    }

    pub async fn delete(&self, name: &RepositoryName) -> Result<Delete, Error> {
        let access = self.access(name).await?;
        let Some(delete) = Delete::from_access(&self.caller, &access, name) else {
            return Err(self.refuse(Need::Repository(name, Action::Delete)).await);
        };
        self.require_writable().await?;
        Ok(delete)
    }

    /// Nothing changes while the operator has switched to read-only, in the configuration or at run time. Told
    /// only to those who may otherwise do it. Asking how far an upload has come changes nothing.
    async fn require_writable(&self) -> Result<(), Error> {
        let reading = matches!(self.request.method().as_str(), "GET" | "HEAD");
        if reading {
            return Ok(());
        }
        Ok(self.state.tenancy.require_writable().await?)
    }

    /// The right to read the source of a mount. `None`: the caller may not, or there is no such place, and
    /// nobody can tell which. A caller whose *account* may, but whose token was not issued for it, is asked
    /// for a wider token: a token is never widened silently.
    pub async fn mount_source(
        &self,
        to: &RepositoryName,
        from: &RepositoryName,
    ) -> Result<Option<Pull>, Error> {
        let access = self.access(from).await?;
        if let Some(pull) = Pull::from_access(&self.caller, &access, from) {
            return Ok(Some(pull));
        }
        if matches!(self.grant, Grant::Token(_)) {
            let Some(principal) = self.state.identity.active(&self.caller.principal).await? else {
                return Ok(None);
            };
            let entitled = self.state.tenancy.grant(&principal, &[scope(from)]).await?;
            if Pull::from_access(&self.caller, &entitled, from).is_some() {
                return Err(refusal(
                    self.state,
                    self.request,
                    Need::Mount(to, from),
                    Some("insufficient_scope"),
                ));
            }
        }
        Ok(None)
    }

    /// The right to list every repository.
    pub async fn catalog(&self) -> Result<(), Error> {
        let granted = match &self.grant {
            Grant::Token(access) => access.iter().any(Access::allows_catalog),
            Grant::Direct => self.state.tenancy.may_list_catalog(&self.caller.principal).await?,
        };
        if granted { Ok(()) } else { Err(self.refuse(Need::Catalog).await) }
    }

    async fn access(&self, name: &RepositoryName) -> Result<Vec<Access>, Error> {
        match &self.grant {
            Grant::Token(access) => Ok(access.clone()),
            Grant::Direct => Ok(self.state.tenancy.grant(&self.caller.principal, &[scope(name)]).await?),
        }
    }

    /// The challenge of a refusal. That of somebody who is known is an act for the audit trail; a bare challenge
    /// is none.
    async fn refuse(&self, need: Need<'_>) -> Error {
        if !self.caller.is_anonymous()
            && let Some((action, repository)) = need.act()
            // In a box: every request would carry the room for what few of them do.
            && let Err(err) =
                Box::pin(self.state.tenancy.record_content_refusal(&self.caller, action, repository)).await
        {
            return err.into();
        }
        let error = matches!(self.grant, Grant::Token(_)).then_some("insufficient_scope");
        refusal(self.state, self.request, need, error)
    }
}

fn scope(name: &RepositoryName) -> Scope {
    Scope {
        kind: "repository".to_owned(),
        name: name.to_string(),
        actions: vec!["pull".to_owned(), "push".to_owned(), "delete".to_owned()],
    }
}

/// Where the request came from; the headers were set by our own listener.
fn origin(request: &HttpRequest) -> identity::Origin {
    let text = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    identity::Origin {
        request_id: text("x-request-id"),
        address: text("x-hythe-peer"),
        client: text("user-agent").chars().take(255).collect(),
        method: "anonymous",
    }
}

fn refusal(state: &State, request: &HttpRequest, need: Need<'_>, error: Option<&str>) -> Error {
    let mut challenge = format!(
        "Bearer realm=\"{}/service/token\",service=\"{}\"",
        base_url(state, request),
        state.identity.token_service()
    );
    if let Some(scope) = need.scope() {
        challenge.push_str(&format!(",scope=\"{scope}\""));
    }
    if let Some(error) = error {
        challenge.push_str(&format!(",error=\"{error}\""));
    }
    Error::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, need.message()).with(CHALLENGE, challenge)
}

/// The configured address, else what the client used to reach us, strictly read: a realm decides where
/// credentials go.
fn base_url(state: &State, request: &HttpRequest) -> String {
    if let Some(url) = &state.config.external_url {
        return url.trim_end_matches('/').to_owned();
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let scheme = match header("x-hythe-scheme") {
        Some("https") => "https",
        _ => "http",
    };
    let host = header("host").filter(|host| is_host(host)).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

/// `name`, `address` or `[address]`, and a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        }
    };
    port_fits && host_fits
}

fn login_failed(err: identity::Error, refused: impl FnOnce() -> Error) -> Error {
    match err {
        // The challenge is all that docker shows; a reason would only help those who guess.
        identity::Error::BadCredentials | identity::Error::Disabled => refused(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["localhost", "127.0.0.1:8080", "registry.example.com", "[::1]:8080", "[::1]", "a-b.c:1"]
        {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "a b", "a/b", "evil.com\"", "a:99999", "a:", "[zz]", "user@host", "::1", "a,b"] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn a_challenge_names_exactly_what_is_missing() {
        let repo: RepositoryName = "p/r".parse().expect("a repository name");
        let from: RepositoryName = "q/s".parse().expect("a repository name");
        let scope = |need: Need<'_>| need.scope().unwrap_or_default();
        assert_eq!(scope(Need::Identity), "");
        assert_eq!(scope(Need::Catalog), "registry:catalog:*");
        assert_eq!(scope(Need::Repository(&repo, Action::Pull)), "repository:p/r:pull");
        assert_eq!(scope(Need::Repository(&repo, Action::Push)), "repository:p/r:pull,push");
        assert_eq!(scope(Need::Repository(&repo, Action::Delete)), "repository:p/r:delete");
        assert_eq!(scope(Need::Mount(&repo, &from)), "repository:p/r:pull,push repository:q/s:pull");
    }
}
