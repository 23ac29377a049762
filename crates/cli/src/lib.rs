//! The program `hythe`: settings, the composition root and the commands.
//!
//! A library as well, so that tests start exactly what the program starts. Nothing below this crate knows about
//! configuration files, the environment or the command line.

pub mod assemble;
mod background;
pub mod command;
mod data_dir;
mod exit;
mod first_start;
mod gateway;
mod ground;
mod platform;
mod process;
mod role;
pub mod settings;

pub use assemble::{Route, routes};
pub use exit::{Exit, Failure};
pub use role::Role;
