//! `hythe migrate`: the schema, and nothing else.

use super::print;
use crate::exit::{Exit, Failure};
use crate::ground;
use crate::settings::Loaded;

pub(super) async fn run(loaded: Loaded) -> Result<Exit, Failure> {
    let found = ground::visit(&loaded.settings).await?;
    let migrated = found.migrated;
    found.release().await;
    print(&match migrated {
        0 => "the schema is up to date\n".to_owned(),
        1 => "1 migration applied\n".to_owned(),
        count => format!("{count} migrations applied\n"),
    })
}
