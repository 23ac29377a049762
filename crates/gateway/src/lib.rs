//! The shared entrance of a split platform: takes every connection, finds by the path which service answers, and
//! passes bytes both ways.
//!
//! It decides nothing about permission and stores nothing. Paths and queries go on byte for byte; bodies stream
//! with the pace of the slower side, whatever their size; what a client says about itself in headers that only a
//! proxy may send is replaced by what is known. Which paths belong to which service is told by whoever starts it.

mod answer;
mod body;
mod config;
mod forward;
mod headers;
mod health;
mod listen;
mod pool;
mod table;
mod upstream;

pub use config::{Config, Upstreams};
pub use forward::Gateway;
pub use table::Service;

/// The gateway could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("gateway.upstreams.{service}: {url:?} is not an address such as http://{service}:8080")]
    Upstream { service: &'static str, url: String },
    #[error("gateway.upstreams names no service")]
    NoUpstreams,
    #[error(transparent)]
    Network(#[from] serve::NetworkError),
}
