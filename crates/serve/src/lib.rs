//! Everything between a socket and a service's `configure`: listeners, the checks every request passes,
//! health, metrics, logs and the order of shutdown.
//!
//! It knows no service, no database and no configuration file: `cli` hands it mounts, checks and numbers.
//! A connection passes the guard first, which bounds what a client may take and refuses heads that two programs
//! could read differently; the gateway, whose requests do not pass `run`, uses the same parts.
//!
//! It never buffers a body, never compresses one and never rewrites a path: blobs stream through and
//! repository names arrive byte for byte.
//!
//! What a service may rely on, because [`run`] sets it after stripping what the client sent:
//! `x-request-id` (always present and valid), `x-hythe-peer` (the client's address) and `x-hythe-scheme`.

mod admission;
mod answer;
mod config;
mod guard;
mod health;
mod limits;
mod metrics;
mod middleware;
mod mount;
mod operations;
mod rates;
mod run;
mod shutdown;
pub mod telemetry;

pub use admission::{Admission, Place};
pub use answer::{ERROR_CONTENT_TYPE, error_body};
pub use config::Config;
pub use guard::{Guarded, Rules, Transport};
pub use health::{Check, Health, Outcome};
pub use limits::Limits;
pub use metrics::Metrics;
pub use middleware::access::{Observation, Seen};
pub use middleware::head::{Head, Refusal, packs, refusal};
pub use middleware::peer::{Network, NetworkError, Peer, is_trust_header, resolve};
pub use middleware::request_id::RequestId;
pub use middleware::{PEER_HEADER, REQUEST_ID_HEADER, SCHEME_HEADER};
pub use mount::{Mount, MountError, check_prefixes, covers};
pub use operations::{Operations, run_operations};
pub use rates::{Rates, TooOften};
pub use run::run;
pub use shutdown::Shutdown;
