//! `hythe tag`: tags, what they named before, and bringing that back.

use clap::{Args, Subcommand};
use client::{ArtifactName, Column, Path, bytes, moment, text};
use serde_json::{Value, json};

use super::session::{Need, Session, place_of, refused};
use super::{Listing, Noun, Removal};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(in crate::command) enum Tag {
    /// List the tags of a project or of one repository.
    List {
        /// PROJECT or PROJECT/REPOSITORY.
        place: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Give an artifact a further tag.
    Create {
        #[arg(value_name = "PROJECT/REPOSITORY:TAG|@DIGEST", value_parser = ArtifactName::parse)]
        artifact: ArtifactName,
        tag: String,
    },
    /// Delete a tag. The artifact stays.
    Delete {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        removal: Removal,
    },
    /// Show what a tag named, since when, and by whom.
    History {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        listing: Listing,
    },
    /// Let a tag name again what it named before.
    Restore {
        #[command(flatten)]
        one: One,
        /// What it shall name, from its history.
        #[arg(long)]
        digest: String,
        /// Move the tag although it names something else now.
        #[arg(long)]
        overwrite: bool,
    },
}

#[derive(Args)]
pub(in crate::command) struct One {
    #[arg(value_name = "PROJECT/REPOSITORY:TAG", value_parser = tagged)]
    name: ArtifactName,
}

const COLUMNS: &[Column] = &[
    Column::new("TAG", 0, name),
    Column::new("SIZE", 2, |row| bytes(&row["size"])),
    Column::new("TYPE", 3, |row| text(&row["type"])),
    Column::new("PUSHED (UTC)", 2, |row| moment(&row["push_time"])),
    Column::new("BY", 4, |row| text(&row["pushed_by"])),
    Column::new("IMMUTABLE", 5, |row| text(&row["immutable"])),
    Column::new("DIGEST", 1, |row| text(&row["digest"])),
];

const CHANGES: &[Column] = &[
    Column::new("TIME (UTC)", 0, |row| moment(&row["time"])),
    Column::new("ACTION", 0, |row| text(&row["action"])),
    Column::new("FROM", 1, |row| text(&row["from_digest"])),
    Column::new("TO", 0, |row| text(&row["to_digest"])),
    Column::new("BY", 2, |row| text(&row["actor"])),
    Column::new("RESTORABLE UNTIL", 3, |row| moment(&row["restorable_until"])),
];

fn name(row: &Value) -> String {
    format!("{}:{}", text(&row["repository_name"]), text(&row["name"]))
}

fn tagged(text: &str) -> Result<ArtifactName, String> {
    ArtifactName::parse(text)
        .ok()
        .filter(|name| name.tag().is_some())
        .ok_or_else(|| format!("{text:?} is no tag: write PROJECT/REPOSITORY:TAG"))
}

fn path(name: &ArtifactName) -> Result<Path, Failure> {
    let path = Path::repository(name.repository()).map_err(refused)?;
    path.then("tags").segment(name.reference()).map_err(refused)
}

pub(in crate::command) async fn run(noun: Noun<Tag>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, |_| Need::Anything)?;
    let client = &session.client;
    match verb {
        Tag::List { place, listing } => {
            session.list(place_of(&place)?.then("tags"), &listing, COLUMNS, name).await
        }
        Tag::Create { artifact, tag } => {
            let path = Path::artifact(&artifact).map_err(refused)?.then("tags");
            client.post(&path, json!({ "name": tag })).await.map_err(refused)?;
            session.done("tag", &format!("{}:{tag}", artifact.repository()), "created", None)
        }
        Tag::Delete { one, removal } => {
            let artifact = Path::artifact(&one.name).map_err(refused)?;
            let found = client.get(&artifact).await.map_err(refused)?;
            let shown = one.name.to_string();
            let plan = format!("it names {}, which stays", text(&found["digest"]));
            if !session.confirm(&removal, "tag", &shown, &plan)? {
                return Ok(Exit::Done);
            }
            let path = artifact.then("tags").segment(one.name.reference()).map_err(refused)?;
            client.delete(&path).await.map_err(refused)?;
            session.done("tag", &shown, "deleted", None)
        }
        Tag::History { one, listing } => {
            let to = |row: &Value| text(&row["to_digest"]);
            session.list(path(&one.name)?.then("history"), &listing, CHANGES, to).await
        }
        Tag::Restore { one, digest, overwrite } => {
            let body = json!({ "digest": digest, "overwrite": overwrite });
            client.post(&path(&one.name)?.then("restore"), body).await.map_err(refused)?;
            session.done("tag", &one.name.to_string(), "restored", None)
        }
    }
}
