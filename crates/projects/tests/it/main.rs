//! The REST API as clients use it: through its routes, on a real database and a store in memory.
#![expect(clippy::unwrap_used, reason = "tests")]

extern crate hythe_projects as projects;

mod accessories;
mod additions;
mod content;
mod conventions;
mod description;
mod groups;
mod icons;
mod immutable;
mod labels;
mod members;
mod naming;
mod oracle;
mod people;
mod platform;
mod project_artifacts;
mod robots;
mod support;
mod tags;
mod tenants;
mod tokens;
mod trail;
mod world;
