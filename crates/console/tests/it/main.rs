//! The console as browsers use it: through its routes, on a real database and a store in memory.
#![expect(clippy::unwrap_used, reason = "tests")]

extern crate hythe_console as console;

mod admin;
mod docs;
mod forms;
mod labels;
mod lists;
mod me;
mod members;
mod policies;
mod projects;
mod repositories;
mod robots;
mod search;
mod usage;
mod world;
