//! `hythe artifact`: artifacts of a repository, their labels and what is attached to them.

use clap::{Args, Subcommand};
use client::{ArtifactName, Column, Path, RepositoryName, bytes, moment, text};
use serde_json::{Value, json};

use super::session::{Need, Session, not_found, place_of, refused};
use super::{Listing, Noun, Removal, label};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(in crate::command) enum Artifact {
    /// List the artifacts of a project or of one repository.
    List {
        /// PROJECT or PROJECT/REPOSITORY.
        place: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one artifact.
    Show(One),
    /// List what is attached to an artifact: signatures, SBOMs and the like.
    Accessories {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        listing: Listing,
    },
    /// Copy an artifact with everything that belongs to it into another repository.
    Copy {
        #[command(flatten)]
        one: One,
        #[arg(value_name = "TO-PROJECT/REPOSITORY", value_parser = RepositoryName::parse)]
        target: RepositoryName,
    },
    /// Put a label of the project or of the installation on an artifact.
    Label {
        #[command(flatten)]
        one: One,
        label: String,
    },
    /// Take a label off an artifact.
    Unlabel {
        #[command(flatten)]
        one: One,
        label: String,
    },
    /// Delete an artifact with all its tags.
    Delete {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        removal: Removal,
    },
}

#[derive(Args)]
pub(in crate::command) struct One {
    #[arg(value_name = "PROJECT/REPOSITORY:TAG|@DIGEST", value_parser = ArtifactName::parse)]
    name: ArtifactName,
}

const COLUMNS: &[Column] = &[
    Column::new("REPOSITORY", 1, |row| text(&row["repository_name"])),
    Column::new("DIGEST", 0, |row| text(&row["digest"])),
    Column::new("TAGS", 0, tags),
    Column::new("TYPE", 2, |row| text(&row["type"])),
    Column::new("SIZE", 1, |row| bytes(&row["size"])),
    Column::new("PUSHED (UTC)", 3, |row| moment(&row["push_time"])),
    Column::new("PULLED (UTC)", 4, |row| moment(&row["pull_time"])),
];

const FIELDS: &[Column] = &[
    Column::new("name", 0, name),
    Column::new("tags", 0, tags),
    Column::new("type", 0, |row| text(&row["type"])),
    Column::new("media type", 0, |row| text(&row["manifest_media_type"])),
    Column::new("size", 0, |row| bytes(&row["size"])),
    Column::new("labels", 0, |row| names(&row["labels"])),
    Column::new("accessories", 0, |row| count(&row["accessories"])),
    Column::new("parts", 0, |row| count(&row["references"])),
    Column::new("pushed (UTC)", 0, |row| moment(&row["push_time"])),
    Column::new("pulled (UTC)", 0, |row| moment(&row["pull_time"])),
];

const ACCESSORIES: &[Column] = &[
    Column::new("DIGEST", 0, |row| text(&row["digest"])),
    Column::new("TYPE", 0, |row| text(&row["type"])),
    Column::new("SIZE", 1, |row| bytes(&row["size"])),
    Column::new("CREATED (UTC)", 2, |row| moment(&row["creation_time"])),
];

fn name(row: &Value) -> String {
    format!("{}@{}", text(&row["repository_name"]), text(&row["digest"]))
}

fn tags(row: &Value) -> String {
    names(&row["tags"])
}

/// The names of named things; `-` for none.
fn names(things: &Value) -> String {
    let names: Vec<Value> =
        things.as_array().into_iter().flatten().map(|thing| thing["name"].clone()).collect();
    text(&Value::Array(names))
}

fn count(things: &Value) -> String {
    things.as_array().map_or(0, Vec::len).to_string()
}

pub(in crate::command) async fn run(noun: Noun<Artifact>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, |_| Need::Anything)?;
    let client = &session.client;
    let path = |one: &One| Path::artifact(&one.name).map_err(refused);
    match verb {
        Artifact::List { place, listing } => {
            let path = place_of(&place)?.then("artifacts");
            session.list(path, &listing, COLUMNS, name).await
        }
        Artifact::Show(one) => {
            let found = client.get(&path(&one)?.with("with_label", "true")).await.map_err(refused)?;
            session.show(&found, FIELDS, name)
        }
        Artifact::Accessories { one, listing } => {
            let name =
                |row: &Value| format!("{}@{}", text(&row["subject_artifact_repo"]), text(&row["digest"]));
            session.list(path(&one)?.then("accessories"), &listing, ACCESSORIES, name).await
        }
        Artifact::Copy { one, target } => {
            let path = Path::repository(&target).map_err(refused)?.then("artifacts");
            let path = path.with("from", &one.name.to_string());
            client.post(&path, json!({})).await.map_err(refused)?;
            let separator = if one.name.tag().is_some() { ':' } else { '@' };
            let made = format!("{target}{separator}{}", one.name.reference());
            session.done("artifact", &made, "copied", None)
        }
        Artifact::Label { one, label } => {
            let id = label_id(&session, &one, &label).await?;
            client.post(&path(&one)?.then("labels"), json!({ "id": id })).await.map_err(refused)?;
            session.done("artifact", &one.name.to_string(), "labelled", None)
        }
        Artifact::Unlabel { one, label } => {
            let id = label_id(&session, &one, &label).await?;
            client.delete(&path(&one)?.then("labels").id(id)).await.map_err(refused)?;
            session.done("artifact", &one.name.to_string(), "unlabelled", None)
        }
        Artifact::Delete { one, removal } => delete(&session, &one, &removal).await,
    }
}

async fn delete(session: &Session, one: &One, removal: &Removal) -> Result<Exit, Failure> {
    let path = Path::artifact(&one.name).map_err(refused)?;
    let found = session.client.get(&path).await.map_err(refused)?;
    let shown = one.name.to_string();
    let plan = format!(
        "{}, {}, tags: {}, accessories: {}",
        text(&found["digest"]),
        bytes(&found["size"]),
        tags(&found),
        count(&found["accessories"])
    );
    if !session.confirm(removal, "artifact", &shown, &plan)? {
        return Ok(Exit::Done);
    }
    session.client.delete(&path).await.map_err(refused)?;
    session.done("artifact", &shown, "deleted", None)
}

/// A label of the artifact's project, else one of the installation.
async fn label_id(session: &Session, one: &One, name: &str) -> Result<i64, Failure> {
    let project = one.name.repository().project();
    match label::id_in(session, Some(project), name).await? {
        Some(id) => Ok(id),
        None => label::id_in(session, None, name).await?.ok_or_else(|| not_found("label", name)),
    }
}
