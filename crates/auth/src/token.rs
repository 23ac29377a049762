//! Issuing tokens, and publishing the keys they verify with.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use identity::{Caller, Principal};

use crate::State;
use crate::answer::{Refusal, TokenAnswer};
use crate::request::{self, Proof, REQUEST_BYTES_MAX, TokenRequest};

/// No request waits longer for a database that does not answer.
const TIME_MAX: Duration = Duration::from_millis(4800);

/// `GET /service/token`
pub(crate) async fn get(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let parsed = TokenRequest::from_query(&request, state.identity.token_service());
    answer(&state, &request, parsed).await
}

/// `POST /service/token`
pub(crate) async fn post(state: web::Data<State>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let parsed = match body.to_bytes_limited(REQUEST_BYTES_MAX).await {
        Ok(Ok(body)) => TokenRequest::from_form(&request, &body, state.identity.token_service()),
        Ok(Err(_)) => Err(Refusal::bad_request("the body cannot be read")),
        Err(_) => Err(Refusal::bad_request("the form is larger than 64 KiB")),
    };
    answer(&state, &request, parsed).await
}

/// `GET /service/jwks`
pub(crate) async fn jwks(state: web::Data<State>) -> HttpResponse {
    published("application/jwk-set+json", format!("{}\n", state.identity.jwks()))
}

/// `GET /service/certificates`
pub(crate) async fn certificates(state: web::Data<State>) -> HttpResponse {
    published("application/x-pem-file", state.identity.certificate_bundle())
}

/// Keys change rarely and are announced a minute before they are used.
fn published(content_type: &'static str, body: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CACHE_CONTROL, "public, max-age=30"))
        .body(body)
}

async fn answer(state: &State, request: &HttpRequest, parsed: Result<TokenRequest, Refusal>) -> HttpResponse {
    let issued = async { issue(state, request, parsed?).await };
    match tokio::time::timeout(TIME_MAX, issued).await {
        Ok(Ok(answer)) => answer.response(),
        Ok(Err(refusal)) => refusal.response(),
        Err(_) => {
            tracing::warn!("a token request took too long");
            Refusal::unavailable().response()
        }
    }
}

async fn issue(state: &State, request: &HttpRequest, wanted: TokenRequest) -> Result<TokenAnswer, Refusal> {
    let caller = identify(state, request, &wanted.proof).await?;
    if caller.principal.is_anonymous() && !wanted.asked {
        // A login without a user: the client must learn that it proved nothing.
        return Err(Refusal::unauthorized());
    }
    let access = state.tenancy.grant(&caller.principal, &wanted.scopes).await?;
    let issued = state.identity.sign(&caller.principal, &access).await?;
    let refresh_token = match (caller.user(), wanted.proof) {
        (Some(_), Proof::Refresh(token)) if wanted.offline => Some(token),
        // An access token is its own long-lived secret, and a refresh token would have none of its limits.
        (Some(user), Proof::Presented(_))
            if wanted.offline && user.limits.is_none() && state.identity.refresh_tokens_enabled() =>
        {
            Some(state.identity.issue_refresh(user, &wanted.client_id).await?)
        }
        _ => None,
    };
    state.identity.record_issue(&caller, &access);
    Ok(TokenAnswer {
        access_token: issued.token.clone(),
        token: issued.token,
        expires_in: issued.expires_in,
        issued_at: issued.issued_at,
        refresh_token,
    })
}

async fn identify(state: &State, request: &HttpRequest, proof: &Proof) -> Result<Caller, Refusal> {
    let mut origin = request::origin(request);
    let principal = match proof {
        Proof::Presented(presented) => {
            if !matches!(presented, identity::Presented::Nothing) {
                origin.method = "password";
            }
            let principal = state.identity.authenticate(presented, &origin).await?;
            if principal.limits().is_some() {
                origin.method = "access_token";
            }
            principal
        }
        Proof::Refresh(token) => {
            origin.method = "refresh_token";
            Principal::User(state.identity.exchange_refresh(token, &origin).await?)
        }
    };
    Ok(Caller::new(principal, origin))
}
