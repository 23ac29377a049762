//! The gateway over real sockets, between raw clients and small upstreams written for the purpose.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bodies;
mod headers;
mod limits;
mod outages;
mod support;
