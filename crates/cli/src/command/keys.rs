//! `hythe keys`: the keys that sign registry tokens.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};

use super::admin::{failure, with_identity};
use super::{Common, print};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(super) enum Keys {
    /// List the signing keys, the newest first.
    List(List),
    /// Make a new signing key; it takes over after identity.signing_key_delay_seconds.
    Rotate(Common),
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    common: Common,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Keys) -> Result<Exit, Failure> {
    match command {
        Keys::List(line) => {
            let settings = line.common.load()?.settings;
            with_identity(&settings, async |identity| {
                let keys = identity.keys_list().await.map_err(failure)?;
                if line.json {
                    let text = serde_json::to_string_pretty(&keys)
                        .map_err(|error| Failure::new(Exit::Failed, error))?;
                    return print(&format!("{text}\n"));
                }
                let mut text = format!(
                    "{:<60}{:<11}{:<22}{:<22}{}\n",
                    "KEY", "ALGORITHM", "SIGNS FROM", "SIGNS UNTIL", "VERIFIES UNTIL"
                );
                for key in keys {
                    let _ = writeln!(
                        text,
                        "{:<60}{:<11}{:<22}{:<22}{}",
                        key.kid,
                        key.algorithm,
                        time(Some(key.signs_from)),
                        time(key.signs_until),
                        time(key.verifies_until)
                    );
                }
                print(&text)
            })
            .await
        }
        Keys::Rotate(common) => {
            let settings = common.load()?.settings;
            with_identity(&settings, async |identity| {
                let kid = identity.keys_rotate().await.map_err(failure)?;
                let delay = settings.identity.signing_key_delay_seconds;
                print(&format!("{kid} was made and signs in {delay} seconds\n"))
            })
            .await
        }
    }
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
