//! The OCI distribution endpoints under `/v2`.
//!
//! Translates between HTTP and `catalog`: headers, ranges, challenges, the OCI error envelope. It holds no SQL
//! and no state of its own. Permission comes first: the grant is decided before anything is looked up.

mod access;
mod blobs;
mod dispatch;
mod error;
mod manifests;
mod query;
mod ranges;
mod referrers;
mod routes;
mod tags;
mod uploads;

use actix_web::web;
use catalog::Catalog;
use identity::Identity;
use serde::{Deserialize, Serialize};
use tenancy::Tenancy;

pub use routes::{ROUTES, Route};

/// Paths this service answers.
pub const PREFIXES: &[&str] = &["/v2"];

/// Start-up configuration, section `registry`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients reach this installation. The token realm is built from it; unset, from the request's
    /// `Host`. Set from `http.external_url`.
    #[serde(skip)]
    pub external_url: Option<String>,
    /// False makes every delete answer 405.
    pub delete_enabled: bool,
    /// Entries of a page of tags or repositories when the client names none.
    pub page_entries: i64,
    /// The most entries a client may ask for.
    pub page_entries_max: i64,
}

pub(crate) struct State {
    catalog: Catalog,
    tenancy: Tenancy,
    identity: Identity,
    config: Config,
}

/// The service. Clone freely.
#[derive(Clone)]
pub struct Registry {
    state: web::Data<State>,
}

impl Registry {
    pub fn new(catalog: Catalog, tenancy: Tenancy, identity: Identity, config: Config) -> Self {
        Self { state: web::Data::new(State { catalog, tenancy, identity, config }) }
    }

    /// Mounts the endpoints. Runs once per HTTP worker thread, so it only clones handles.
    pub fn configure(&self, cfg: &mut web::ServiceConfig) {
        cfg.service(
            web::scope("/v2").app_data(self.state.clone()).default_service(web::to(dispatch::dispatch)),
        );
    }
}
