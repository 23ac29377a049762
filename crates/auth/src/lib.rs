//! The token service: registry clients trade credentials for a short-lived token here.
//!
//! `identity` answers who, `tenancy` answers may; this crate only speaks HTTP and knows neither SQL nor the other
//! services. It sets no cookie and honours none.
//!
//! Invariant: a request is answered 200, 400, 401, 405, 429 or 503 whatever it says; 500 is a defect.
//! Invariant: credentials appear in no log and in no answer but the token itself.

mod answer;
mod request;
pub mod routes;
mod token;

use actix_web::{HttpResponse, web};
use identity::Identity;
use tenancy::Tenancy;

/// Paths this service answers, for the listener's mount table.
pub const PREFIXES: &[&str] = &["/service/token", "/service/jwks", "/service/certificates"];

/// Handle to the token service. Clone freely.
#[derive(Clone)]
pub struct Auth {
    state: web::Data<State>,
}

pub(crate) struct State {
    pub(crate) identity: Identity,
    pub(crate) tenancy: Tenancy,
}

impl Auth {
    /// Wires the handle; does no IO.
    pub fn new(identity: Identity, tenancy: Tenancy) -> Self {
        Self { state: web::Data::new(State { identity, tenancy }) }
    }

    /// Mounts the endpoints. Runs once per HTTP worker thread, so it only clones handles.
    pub fn configure(&self, config: &mut web::ServiceConfig) {
        let mut scope = web::scope("/service").app_data(self.state.clone());
        for resource in routes::resources() {
            scope = scope.service(resource);
        }
        config.service(scope.default_service(web::to(not_found)));
    }
}

async fn not_found() -> HttpResponse {
    answer::not_found()
}
