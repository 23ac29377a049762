//! What describes the installation: version, liveness, health, general information.
//!
//! Nothing here tells an anonymous caller more than that the server runs and which parts of it do.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, ContentType};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::answer::{Time, json as answer};
use crate::context::Context;
use crate::error::Failure;

/// The level of the API this service implements, then its own version; clients compare the first part.
const VERSION: &str = concat!("v2.15.2-hythe.", env!("CARGO_PKG_VERSION"));

/// Anybody may ask for the health, so the parts are asked at most this often.
const HEALTH_REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// How long one part may take to answer before it counts as unhealthy.
const PART_TIMEOUT: Duration = Duration::from_secs(3);

/// The last health and its moment.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<Option<(Instant, Parts)>>);

#[derive(Clone, Copy)]
struct Parts {
    database: bool,
    storage: bool,
}

impl Remembered {
    fn fresh(&self) -> Option<Parts> {
        let held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.filter(|(at, _)| at.elapsed() < HEALTH_REMEMBERED_FOR).map(|(_, parts)| parts)
    }

    fn set(&self, parts: Parts) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((Instant::now(), parts));
    }
}

pub(crate) async fn version(_: Context) -> Result<HttpResponse, Failure> {
    Ok(answer(&json!({ "version": "v2.0" })))
}

pub(crate) async fn ping(_: Context) -> Result<HttpResponse, Failure> {
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, ContentType::plaintext())).body("Pong"))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthOutput {
    status: &'static str,
    components: Vec<ComponentOutput>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HealthComponent)]
pub(crate) struct ComponentOutput {
    name: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

pub(crate) async fn health(context: Context) -> Result<HttpResponse, Failure> {
    let state = &context.state;
    let parts = match state.health.fresh() {
        Some(parts) => parts,
        None => {
            let database = tokio::time::timeout(PART_TIMEOUT, state.tenancy.ping());
            let storage = tokio::time::timeout(PART_TIMEOUT, (state.config.storage_probe)());
            let (database, storage) = tokio::join!(database, storage);
            let parts =
                Parts { database: matches!(database, Ok(Ok(()))), storage: matches!(storage, Ok(true)) };
            state.health.set(parts);
            parts
        }
    };
    Ok(answer(&report(parts)))
}

/// The parts under the names clients know, sorted. Jobs live in the database; the registry needs it and the
/// store.
fn report(parts: Parts) -> HealthOutput {
    let component =
        |name, error: Option<&'static str>| ComponentOutput { name, status: status(error.is_none()), error };
    let database = (!parts.database).then_some("the database does not answer");
    let storage = (!parts.storage).then_some("the store does not answer");
    let components = vec![
        component("core", None),
        component("database", database),
        component("jobservice", database),
        component("registry", database.or(storage)),
        component("storage", storage),
    ];
    HealthOutput { status: status(parts.database && parts.storage), components }
}

fn status(healthy: bool) -> &'static str {
    if healthy { "healthy" } else { "unhealthy" }
}

#[derive(Serialize, ToSchema)]
#[schema(as = SystemInfo)]
pub(crate) struct SystemInfoOutput {
    auth_mode: &'static str,
    primary_auth_mode: bool,
    self_registration: bool,
    banner_message: String,
    oidc_provider_name: &'static str,
    #[serde(flatten)]
    #[schema(value_type = SignedInOutput)]
    signed_in: Option<SignedInOutput>,
}

/// Only for callers who are signed in.
#[derive(Serialize, ToSchema)]
#[schema(as = SystemInfoSignedIn)]
pub(crate) struct SignedInOutput {
    #[schema(required = false)]
    registry_url: String,
    #[schema(required = false)]
    external_url: String,
    #[schema(required = false)]
    harbor_version: &'static str,
    #[schema(required = false)]
    project_creation_restriction: &'static str,
    #[schema(required = false)]
    has_ca_root: bool,
    #[schema(required = false)]
    registry_storage_provider_name: String,
    #[schema(required = false)]
    read_only: bool,
    #[schema(required = false)]
    notification_enable: bool,
    #[schema(required = false)]
    current_time: Time,
}

pub(crate) async fn systeminfo(context: Context) -> Result<HttpResponse, Failure> {
    let settings = context.state.tenancy.settings().await?;
    let signed_in = (!context.caller.is_anonymous()).then(|| {
        let external_url = context.external_url().unwrap_or_default();
        SignedInOutput {
            registry_url: external_url.split_once("://").map_or("", |(_, host)| host).to_owned(),
            external_url,
            harbor_version: VERSION,
            project_creation_restriction: settings.project_creation_restriction.as_str(),
            has_ca_root: false,
            registry_storage_provider_name: context.state.config.storage_name.clone(),
            read_only: settings.read_only,
            notification_enable: settings.notification_enable,
            current_time: Time(context.state.tenancy.now()),
        }
    });
    Ok(answer(&SystemInfoOutput {
        auth_mode: "db_auth",
        primary_auth_mode: false,
        self_registration: false,
        banner_message: settings.banner_message.clone(),
        oidc_provider_name: "",
        signed_in,
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Volumes)]
pub(crate) struct VolumesOutput {
    storage: Vec<VolumeOutput>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Volume)]
pub(crate) struct VolumeOutput {
    total: u64,
    free: u64,
}

pub(crate) async fn volumes(context: Context) -> Result<HttpResponse, Failure> {
    context.state.tenancy.require_volumes(&context.caller).await?;
    let rooms = context.state.config.storage_room.clone();
    let rooms =
        tokio::task::spawn_blocking(move || rooms()).await.map_err(|err| Failure::unavailable(&err))?;
    let storage = rooms.into_iter().map(|room| VolumeOutput { total: room.total, free: room.free }).collect();
    Ok(answer(&VolumesOutput { storage }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// SE-09.
    #[test]
    fn health_names_what_is_wrong() {
        let shown = |database, storage| serde_json::to_value(report(Parts { database, storage })).unwrap();
        let healthy = shown(true, true);
        assert_eq!(healthy["status"], "healthy");
        let names: Vec<_> =
            healthy["components"].as_array().unwrap().iter().map(|part| &part["name"]).collect();
        assert_eq!(names, ["core", "database", "jobservice", "registry", "storage"]);
        assert!(healthy["components"][1].get("error").is_none());
        let broken = shown(true, false);
        assert_eq!(broken["status"], "unhealthy");
        assert_eq!(broken["components"][1]["status"], "healthy");
        assert_eq!(broken["components"][3]["error"], "the store does not answer");
        assert_eq!(shown(false, true)["components"][2]["status"], "unhealthy");
    }
}
