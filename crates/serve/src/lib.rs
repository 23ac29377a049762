//! Everything between a socket and a service's `configure`: listeners, the checks every request passes,
//! health, metrics, logs and the order of shutdown.
//!
//! It knows no service, no database and no configuration file: `cli` hands it mounts, checks and numbers.
//! It never buffers a body, never compresses one and never rewrites a path: blobs stream through and
//! repository names arrive byte for byte.
//!
//! What a service may rely on, because [`run`] sets it after stripping what the client sent:
//! `x-request-id` (always present and valid), `x-hythe-peer` (the client's address) and `x-hythe-scheme`.

mod answer;
mod config;
mod health;
mod metrics;
mod middleware;
mod mount;
mod operations;
mod run;
mod shutdown;
pub mod telemetry;

pub use config::Config;
pub use health::{Check, Health};
pub use metrics::Metrics;
pub use middleware::request_id::RequestId;
pub use middleware::{PEER_HEADER, REQUEST_ID_HEADER, SCHEME_HEADER};
pub use mount::{Mount, MountError, check_prefixes};
pub use operations::{Operations, run_operations};
pub use run::run;
pub use shutdown::Shutdown;
