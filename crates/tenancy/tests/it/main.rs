//! Tenancy on a real database: what is stored, who may what, and what ends whose tokens.
#![expect(clippy::unwrap_used, reason = "tests")]

extern crate hythe_tenancy as tenancy;

mod grants;
mod members;
mod personal;
mod projects;
mod quotas;
mod world;
