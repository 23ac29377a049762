//! The web console: pages for people, made on the server.
//!
//! Handlers ask the same domains as the REST API, with the same permissions, and fill templates from `web/templates`.
//!
//! Invariants:
//! * Every page stands in [`ROUTES`]. `GET` changes nothing; what changes something is a `POST` with the token of its form.
//!   The one exception is `/c/log_out`, which clients that exist ask with `GET`.
//! * A page of something the viewer may not see and a page of something that does not exist are the same page.
//! * Pages work without scripts. No page has a script or style of its own, so the content policy needs no exception.

mod assets;
mod chart;
mod clash;
mod cookies;
mod failure;
mod file;
mod form;
mod format;
mod list;
mod markdown;
mod named;
mod pages;
mod platform;
mod problem;
mod routes;
mod shell;
mod size;
mod text;
mod view;

use std::sync::Arc;

use actix_web::web;
use catalog::Catalog;
use identity::Identity;
use tenancy::Tenancy;

pub use pages::docs::api::Api;
pub use platform::{Platform, Room};
pub use routes::{ROUTES, Route};

/// Paths this service answers: all that no other service does.
pub const PREFIXES: &[&str] = &["/"];

/// What this service cannot find out by itself.
#[derive(Clone)]
pub struct Config {
    /// Where people and clients reach the installation, scheme and host; `None` takes it from each request.
    pub external_url: Option<String>,
    /// Whether the password that was made at the first start is still in use.
    pub first_password: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Everything a page may use.
pub(crate) struct State {
    pub identity: Identity,
    pub tenancy: Tenancy,
    pub catalog: Catalog,
    pub config: Config,
    /// Pages about the machine, jobs and the API exist only with it.
    pub platform: Option<Platform>,
}

/// The service. Clone freely.
#[derive(Clone)]
pub struct Console {
    state: web::Data<State>,
}

impl Console {
    /// Wires the service; does no IO.
    pub fn new(identity: Identity, tenancy: Tenancy, catalog: Catalog, config: Config) -> Self {
        Self { state: web::Data::new(State { identity, tenancy, catalog, config, platform: None }) }
    }

    /// The same with the pages about what is below the domains.
    pub fn on(self, platform: Platform) -> Self {
        let State { identity, tenancy, catalog, config, .. } = &**self.state;
        let (identity, tenancy) = (identity.clone(), tenancy.clone());
        let (catalog, config) = (catalog.clone(), config.clone());
        Self { state: web::Data::new(State { identity, tenancy, catalog, config, platform: Some(platform) }) }
    }

    /// Registers every page, and the answer for all paths that belong to nobody.
    pub fn configure(&self, config: &mut web::ServiceConfig) {
        routes::register(config, &self.state);
    }
}
