//! Tenancy on a real database: what is stored, who may what, and what ends whose tokens.
#![expect(clippy::unwrap_used, reason = "tests")]

mod grants;
mod members;
mod projects;
mod quotas;
mod world;
