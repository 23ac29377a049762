//! `hythe label`: labels of the installation and of projects. Putting them on artifacts is `hythe artifact label`.

use clap::Subcommand;
use client::{Column, Path, text};
use serde_json::{Value, json};

use super::session::{Need, Session, find, id_of, not_found, refused};
use super::{Listing, Noun, Removal, project};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(in crate::command) enum Label {
    /// List the labels of the installation, or of a project.
    List {
        /// Labels of this project.
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Make a label.
    Create {
        name: String,
        /// In this project; otherwise for the installation.
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        /// Such as '#00ff00'.
        #[arg(long, default_value = "")]
        color: String,
        /// What it says.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Delete a label, and take it off everything.
    Delete {
        name: String,
        /// In this project; otherwise of the installation.
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        #[command(flatten)]
        removal: Removal,
    },
}

const COLUMNS: &[Column] = &[
    Column::new("NAME", 0, name),
    Column::new("ID", 1, |row| text(&row["id"])),
    Column::new("COLOR", 2, |row| text(&row["color"])),
    Column::new("DESCRIPTION", 3, |row| text(&row["description"])),
];

fn name(row: &Value) -> String {
    text(&row["name"])
}

/// The list of labels of a project, or of the installation.
async fn path(session: &Session, project: Option<&str>) -> Result<Path, Failure> {
    match project {
        None => Ok(Path::new("/labels").with("scope", "g")),
        Some(name) => {
            let id = id_of(&project::get(session, name).await?, "project_id")?;
            Ok(Path::new("/labels").with("scope", "p").with("project_id", &id.to_string()))
        }
    }
}

/// The id of a label by its name.
pub(super) async fn id_in(
    session: &Session,
    project: Option<&str>,
    name: &str,
) -> Result<Option<i64>, Failure> {
    let path = path(session, project).await?.with("name", name);
    let found = find(&session.client, &path, |row| row["name"] == name).await?;
    found.map(|label| id_of(&label, "id")).transpose()
}

pub(in crate::command) async fn run(noun: Noun<Label>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, |_| Need::Anything)?;
    match verb {
        Label::List { project, listing } => {
            session.list(path(&session, project.as_deref()).await?, &listing, COLUMNS, name).await
        }
        Label::Create { name, project, color, description } => {
            let mut body = json!({ "name": name, "color": color, "description": description, "scope": "g" });
            if let Some(project) = &project {
                body["scope"] = "p".into();
                body["project_id"] = id_of(&project::get(&session, project).await?, "project_id")?.into();
            }
            let answer = session.client.post(&Path::new("/labels"), body).await.map_err(refused)?;
            session.done("label", &name, "created", answer.id)
        }
        Label::Delete { name, project, removal } => {
            let id = id_in(&session, project.as_deref(), &name).await?;
            let id = id.ok_or_else(|| not_found("label", &name))?;
            if !session.confirm(&removal, "label", &name, "it is taken off every artifact")? {
                return Ok(Exit::Done);
            }
            session.client.delete(&Path::new("/labels").id(id)).await.map_err(refused)?;
            session.done("label", &name, "deleted", None)
        }
    }
}
