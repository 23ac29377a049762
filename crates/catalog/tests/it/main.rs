//! The catalog against a real PostgreSQL and the memory store, through its public door.
#![expect(clippy::unwrap_used, reason = "tests")]

extern crate hythe_catalog as catalog;

mod accounting;
mod manifests;
mod statements;
mod uploads;
mod world;
