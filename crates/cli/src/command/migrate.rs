//! `hythe migrate`: the schema and the rights of the account that serves, and nothing else.

use clap::Args;

use super::{Common, print};
use crate::exit::{Exit, Failure};
use crate::ground;

#[derive(Args)]
pub(super) struct Migrate {
    /// Account that gets the rights of running processes [env: HYTHE_DATABASE__APP_ROLE]
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    app_role: Option<String>,
    /// Print the migrations that would be applied, and change nothing.
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(line: Migrate) -> Result<Exit, Failure> {
    let mut settings = line.common.load()?.settings;
    if line.plan {
        let planned = ground::plan(&settings).await?;
        if planned.is_empty() {
            return print("the schema is up to date\n");
        }
        let lines = planned.iter().map(|one| format!("{} {}\n", one.version, one.description));
        return print(&lines.collect::<String>());
    }
    if line.app_role.is_some() {
        settings.database.app_role = line.app_role;
    }
    print(&match ground::migrate(&settings).await? {
        0 => "the schema is up to date\n".to_owned(),
        1 => "1 migration applied\n".to_owned(),
        count => format!("{count} migrations applied\n"),
    })
}
