//! `hythe repo`: repositories.

use clap::{Args, Subcommand};
use client::{Column, Path, RepositoryName, moment, text};
use serde_json::{Value, json};

use super::session::{Need, Session, refused};
use super::{Listing, Noun, Removal};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(in crate::command) enum Repository {
    /// List the repositories of a project, or all that you can see.
    List {
        project: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one repository.
    Show(One),
    /// Change the description.
    Update {
        #[command(flatten)]
        one: One,
        /// The new text; empty for none.
        #[arg(long)]
        description: String,
    },
    /// Delete a repository with everything in it.
    Delete {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        removal: Removal,
    },
}

#[derive(Args)]
pub(in crate::command) struct One {
    #[arg(value_name = "PROJECT/REPOSITORY", value_parser = RepositoryName::parse)]
    name: RepositoryName,
}

const COLUMNS: &[Column] = &[
    Column::new("NAME", 0, name),
    Column::new("ARTIFACTS", 1, |row| text(&row["artifact_count"])),
    Column::new("PULLS", 1, |row| text(&row["pull_count"])),
    Column::new("UPDATED (UTC)", 2, |row| moment(&row["update_time"])),
];

const FIELDS: &[Column] = &[
    Column::new("name", 0, name),
    Column::new("description", 0, |row| text(&row["description"])),
    Column::new("artifacts", 0, |row| text(&row["artifact_count"])),
    Column::new("pulls", 0, |row| text(&row["pull_count"])),
    Column::new("created (UTC)", 0, |row| moment(&row["creation_time"])),
    Column::new("updated (UTC)", 0, |row| moment(&row["update_time"])),
];

fn name(row: &Value) -> String {
    text(&row["name"])
}

pub(in crate::command) async fn run(noun: Noun<Repository>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, |_| Need::Anything)?;
    let client = &session.client;
    match verb {
        Repository::List { project, listing } => {
            let path = match project {
                Some(project) => {
                    Path::new("/projects").segment(&project).map_err(refused)?.then("repositories")
                }
                None => Path::new("/repositories"),
            };
            session.list(path, &listing, COLUMNS, name).await
        }
        Repository::Show(one) => {
            let found = client.get(&Path::repository(&one.name).map_err(refused)?).await.map_err(refused)?;
            session.show(&found, FIELDS, name)
        }
        Repository::Update { one, description } => {
            let path = Path::repository(&one.name).map_err(refused)?;
            client.put(&path, json!({ "description": description })).await.map_err(refused)?;
            session.done("repository", &one.name.to_string(), "updated", None)
        }
        Repository::Delete { one, removal } => {
            let path = Path::repository(&one.name).map_err(refused)?;
            let found = client.get(&path).await.map_err(refused)?;
            let shown = one.name.to_string();
            let plan = format!("{} artifacts with their tags", text(&found["artifact_count"]));
            if !session.confirm(&removal, "repository", &shown, &plan)? {
                return Ok(Exit::Done);
            }
            client.delete(&path).await.map_err(refused)?;
            session.done("repository", &shown, "deleted", None)
        }
    }
}
