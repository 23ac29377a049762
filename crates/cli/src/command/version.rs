//! `hythe version`.

use clap::Args;

use super::print;
use crate::exit::{Exit, Failure};

#[derive(Args)]
pub(super) struct Version {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(version: &Version) -> Result<Exit, Failure> {
    let number = env!("CARGO_PKG_VERSION");
    if version.json {
        print(&format!("{}\n", serde_json::json!({ "version": number })))
    } else {
        print(&format!("hythe {number}\n"))
    }
}
