//! The REST API under `/api/v2.0`: projects, members, repositories, artifacts, tags and what describes the
//! installation. Compatible with what existing clients of the v2.0 API send and read.
//!
//! Handlers parse, call the domains, and render. No SQL, no decision about permission, no other service.
//!
//! Invariants:
//! * Every route stands in [`ROUTES`]; what is not there answers 404 (405 for another method), never a page.
//! * A permission is decided by `tenancy` before anything inside a project is looked at, so an answer never
//!   tells a caller whether something exists that the caller may not see.
//! * Credentials that are presented and wrong are refused at once; nobody goes on as anonymous.

mod additions;
mod answer;
mod artifacts;
mod audit;
mod collections;
mod configurations;
mod context;
mod error;
mod groups;
mod icons;
mod immutable;
mod labels;
mod members;
mod meta;
mod metadata;
mod naming;
mod openapi;
mod operations;
mod overview;
mod params;
mod projects;
mod q;
mod quotas;
mod repositories;
mod requests;
mod robots;
mod routes;
mod tags;
mod tokens;
mod usage;
mod users;

use std::sync::Arc;

use actix_web::web;
use catalog::Catalog;
use futures_util::future::BoxFuture;
use identity::Identity;
use tenancy::Tenancy;

pub use openapi::document as openapi_document;
pub use routes::{ROUTES, Route};

/// Paths this service answers.
pub const PREFIXES: &[&str] = &["/api"];

/// What this service cannot find out by itself.
#[derive(Clone)]
pub struct Config {
    /// Where clients reach the installation, scheme and host; `None` takes it from each request.
    pub external_url: Option<String>,
    /// The kind of store that holds the blobs, as clients are told: `filesystem`.
    pub storage_name: String,
    /// Asks the store whether it can be read and written. Called at most once a second.
    pub storage_probe: Probe,
    /// Asks for the room in each place where blobs are kept; none where that is not known. Blocks for a short time.
    pub storage_room: Arc<dyn Fn() -> Vec<Room> + Send + Sync>,
}

/// Room in one place, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub total: u64,
    pub free: u64,
}

/// A question about something this service does not depend on: true when all is well.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Everything a handler may use.
pub(crate) struct State {
    pub identity: Identity,
    pub tenancy: Tenancy,
    pub catalog: Catalog,
    pub config: Config,
    pub health: meta::Remembered,
}

/// The service. Clone freely.
#[derive(Clone)]
pub struct Projects {
    state: web::Data<State>,
}

impl Projects {
    /// Wires the service; does no IO.
    pub fn new(identity: Identity, tenancy: Tenancy, catalog: Catalog, config: Config) -> Self {
        let health = meta::Remembered::default();
        Self { state: web::Data::new(State { identity, tenancy, catalog, config, health }) }
    }

    /// Registers every route of [`ROUTES`] and the answers for all other paths below the prefix.
    pub fn configure(&self, config: &mut web::ServiceConfig) {
        routes::register(config, &self.state);
    }
}
