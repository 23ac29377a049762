//! The REST API as clients use it: through its routes, on a real database and a store in memory.
#![expect(clippy::unwrap_used, reason = "tests")]

extern crate hythe_projects as projects;

mod content;
mod conventions;
mod immutable;
mod members;
mod oracle;
mod people;
mod platform;
mod support;
mod tenants;
mod trail;
mod world;
