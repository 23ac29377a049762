//! `hythe robot`: accounts of programs.
//!
//! A robot is named by its id or its whole name: `robot$ci`, `robot$project+ci`, or with `robot+` in front, which a shell
//! leaves alone. Its secret is printed once, where the server makes it, and never again.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use client::{Column, Path, moment, text};
use serde_json::{Value, json};

use super::session::{Need, Session, find, id_of, not_found, refused};
use super::{Listing, Noun, Removal, project};
use crate::exit::{Exit, Failure};

const PREFIX: &str = "robot$";
/// Means the same, as at a login.
const PREFIX_TWIN: &str = "robot+";

#[derive(Subcommand)]
pub(in crate::command) enum Robot {
    /// List the robots of the installation, or of a project.
    List {
        /// Robots of this project.
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one robot with its rights.
    Show { robot: String },
    /// Make a robot and print its secret. With -o name only the secret is printed.
    Create(Create),
    /// Change description, end or rights.
    Update(Update),
    /// Give a robot another secret and print it; the old one ends at once.
    Refresh { robot: String },
    /// Let a robot do nothing any more, until it is enabled again.
    Disable { robot: String },
    /// Let a disabled robot work again.
    Enable { robot: String },
    /// Delete a robot.
    Delete {
        robot: String,
        #[command(flatten)]
        removal: Removal,
    },
}

#[derive(Args)]
pub(in crate::command) struct Create {
    /// Name without prefix and project, such as ci.
    name: String,
    /// In this project; otherwise of the whole installation.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// A right such as repository:pull; repeatable.
    ///
    /// Robots of the installation need the place: demo=repository:pull in a project,
    /// '*=repository:pull' in all of them, /=quota:list for what belongs to none.
    #[arg(long = "allow", value_name = "[WHERE=]RESOURCE:ACTION", required = true, verbatim_doc_comment, value_parser = right)]
    rights: Vec<Right>,
    /// Days until it ends; -1 is never.
    #[arg(long, value_name = "N", default_value_t = 30, allow_hyphen_values = true)]
    days: i64,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
}

#[derive(Args)]
pub(in crate::command) struct Update {
    robot: String,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// Days from now until it ends; -1 is never.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    days: Option<i64>,
    /// All its rights from now on, as for create; repeatable.
    #[arg(long = "allow", value_name = "[WHERE=]RESOURCE:ACTION", value_parser = right)]
    rights: Vec<Right>,
}

/// A right that is given, and where it holds; nowhere named is the robot's own project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command) struct Right {
    place: Option<String>,
    resource: String,
    action: String,
}

const COLUMNS: &[Column] = &[
    Column::new("NAME", 0, name),
    Column::new("ID", 0, |row| text(&row["id"])),
    Column::new("DISABLED", 1, |row| text(&row["disable"])),
    Column::new("ENDS (UTC)", 1, ends),
    Column::new("LAST USED (UTC)", 2, |row| moment(&row["last_used_at"])),
    Column::new("DESCRIPTION", 3, |row| text(&row["description"])),
];

const FIELDS: &[Column] = &[
    Column::new("name", 0, name),
    Column::new("id", 0, |row| text(&row["id"])),
    Column::new("level", 0, |row| text(&row["level"])),
    Column::new("description", 0, |row| text(&row["description"])),
    Column::new("disabled", 0, |row| text(&row["disable"])),
    Column::new("ends (UTC)", 0, ends),
    Column::new("rights", 0, rights),
    Column::new("created (UTC)", 0, |row| moment(&row["creation_time"])),
    Column::new("last used (UTC)", 0, |row| moment(&row["last_used_at"])),
    Column::new("last used from", 0, |row| text(&row["last_used_address"])),
];

const SECRET: &[Column] = &[Column::new("name", 0, name), Column::new("secret", 0, secret)];

fn name(row: &Value) -> String {
    text(&row["name"])
}

fn secret(row: &Value) -> String {
    text(&row["secret"])
}

fn ends(row: &Value) -> String {
    match row["expires_at"].as_i64() {
        Some(seconds) if seconds > 0 => chrono::DateTime::from_timestamp(seconds, 0)
            .map_or_else(|| seconds.to_string(), |end| end.format("%Y-%m-%d %H:%M:%S").to_string()),
        _ => "never".to_owned(),
    }
}

fn rights(row: &Value) -> String {
    let mut shown = Vec::new();
    for permission in row["permissions"].as_array().into_iter().flatten() {
        for access in permission["access"].as_array().into_iter().flatten() {
            let place = text(&permission["namespace"]);
            shown.push(format!("{place}={}:{}", text(&access["resource"]), text(&access["action"])));
        }
    }
    if shown.is_empty() { "-".to_owned() } else { shown.join(" ") }
}

pub(in crate::command) async fn run(noun: Noun<Robot>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, |_| Need::Anything)?;
    match verb {
        Robot::List { project, listing } => list(&session, project.as_deref(), listing).await,
        Robot::Show { robot } => session.show(&robot_of(&session, &robot).await?, FIELDS, name),
        Robot::Create(line) => create(&session, line).await,
        Robot::Update(line) => {
            let Update { robot, description, days, rights } = line;
            let changes = Changes { description, days, rights, disable: None };
            change(&session, &robot, changes, "updated").await
        }
        Robot::Disable { robot } => {
            let changes = Changes { disable: Some(true), ..Changes::default() };
            change(&session, &robot, changes, "disabled").await
        }
        Robot::Enable { robot } => {
            let changes = Changes { disable: Some(false), ..Changes::default() };
            change(&session, &robot, changes, "enabled").await
        }
        Robot::Refresh { robot } => {
            let found = robot_of(&session, &robot).await?;
            let path = Path::new("/robots").id(id_of(&found, "id")?);
            let mut made = session.client.patch(&path, json!({})).await.map_err(refused)?.body;
            made["name"] = found["name"].clone();
            session.show(&made, SECRET, secret)
        }
        Robot::Delete { robot, removal } => {
            let found = robot_of(&session, &robot).await?;
            let shown = found["name"].as_str().unwrap_or(&robot).to_owned();
            let plan = format!(
                "what uses it is refused within seconds; last used {}",
                moment(&found["last_used_at"])
            );
            if !session.confirm(&removal, "robot", &shown, &plan)? {
                return Ok(Exit::Done);
            }
            let path = Path::new("/robots").id(id_of(&found, "id")?);
            session.client.delete(&path).await.map_err(refused)?;
            session.done("robot", &shown, "deleted", None)
        }
    }
}

async fn list(session: &Session, project: Option<&str>, mut listing: Listing) -> Result<Exit, Failure> {
    if let Some(project) = project {
        let id = id_of(&project::get(session, project).await?, "project_id")?;
        let own = format!("Level=project,ProjectID={id}");
        listing.filter = Some(match listing.filter {
            Some(filter) => format!("{own},{filter}"),
            None => own,
        });
    }
    session.list(Path::new("/robots"), &listing, COLUMNS, name).await
}

async fn create(session: &Session, line: Create) -> Result<Exit, Failure> {
    let body = json!({
        "name": line.name,
        "level": if line.project.is_some() { "project" } else { "system" },
        "description": line.description,
        "duration": line.days,
        "permissions": permissions(&line.rights, line.project.as_deref())?,
    });
    let made = session.client.post(&Path::new("/robots"), body).await.map_err(refused)?.body;
    session.show(&made, SECRET, secret)
}

#[derive(Default)]
struct Changes {
    description: Option<String>,
    days: Option<i64>,
    rights: Vec<Right>,
    disable: Option<bool>,
}

/// The API takes a robot as a whole; what is not to change is sent back as it came.
async fn change(session: &Session, robot: &str, changes: Changes, action: &str) -> Result<Exit, Failure> {
    let Changes { description, days, rights, disable } = changes;
    if description.is_none() && days.is_none() && rights.is_empty() && disable.is_none() {
        return Err(
            Failure::text(Exit::Usage, "nothing to change").remedy("add --description, --days or --allow")
        );
    }
    let found = robot_of(session, robot).await?;
    let shown = found["name"].as_str().unwrap_or(robot).to_owned();
    let mut body = json!({
        "name": found["name"],
        "level": found["level"],
        "description": found["description"].as_str().unwrap_or_default(),
        "permissions": found["permissions"],
    });
    if let Some(description) = description {
        body["description"] = description.into();
    }
    if let Some(days) = days {
        body["duration"] = days.into();
    }
    if !rights.is_empty() {
        body["permissions"] = permissions(&rights, project_in(&shown))?;
    }
    if let Some(disable) = disable {
        body["disable"] = disable.into();
    }
    let path = Path::new("/robots").id(id_of(&found, "id")?);
    session.client.put(&path, body).await.map_err(refused)?;
    session.done("robot", &shown, action, None)
}

/// The robot under an id or a whole name.
async fn robot_of(session: &Session, robot: &str) -> Result<Value, Failure> {
    if let Ok(id) = robot.parse::<i64>() {
        return session.client.get(&Path::new("/robots").id(id)).await.map_err(refused);
    }
    let twin = robot.strip_prefix(PREFIX_TWIN).map(|rest| format!("{PREFIX}{rest}"));
    let robot = twin.as_deref().unwrap_or(robot);
    let Some(stored) = robot.strip_prefix(PREFIX) else {
        let text = format!("{} is no robot", client::printable(robot));
        return Err(Failure::text(Exit::Usage, text)
            .remedy("name it by its id, or in full: robot+ci or robot+PROJECT+ci"));
    };
    let own = match project_in(robot) {
        None => String::new(),
        Some(project) => {
            let id = id_of(&project::get(session, project).await?, "project_id")?;
            format!("Level=project,ProjectID={id},")
        }
    };
    // A comma would begin another term; no robot has one in its name.
    if stored.contains(',') {
        return Err(not_found("robot", robot));
    }
    let path = Path::new("/robots").with("q", &format!("{own}name=\\{stored}"));
    let found = find(&session.client, &path, |row| row["name"] == robot).await?;
    found.ok_or_else(|| not_found("robot", robot))
}

/// The project in the whole name of a robot.
fn project_in(robot: &str) -> Option<&str> {
    Some(robot.strip_prefix(PREFIX)?.split_once('+')?.0)
}

fn right(text: &str) -> Result<Right, String> {
    let (place, rest) = match text.split_once('=') {
        Some((place, rest)) => (Some(place.to_owned()).filter(|place| !place.is_empty()), rest),
        None => (None, text),
    };
    match rest.split_once(':') {
        Some((resource, action)) if !resource.is_empty() && !action.is_empty() => {
            Ok(Right { place, resource: resource.to_owned(), action: action.to_owned() })
        }
        _ => Err("it has to be RESOURCE:ACTION, such as repository:pull".to_owned()),
    }
}

/// Rights as the API takes them: by place.
fn permissions(rights: &[Right], project: Option<&str>) -> Result<Value, Failure> {
    let mut places: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for Right { place, resource, action } in rights {
        let Some(place) = place.as_deref().or(project) else {
            let text = format!("where may it {action} {resource}?");
            return Err(Failure::text(Exit::Usage, text)
                .remedy(format!("--allow '*={resource}:{action}' for all projects, or --project")));
        };
        places.entry(place).or_default().push(json!({ "resource": resource, "action": action }));
    }
    let entry = |(place, access): (&str, Vec<Value>)| {
        let kind = if place == "/" { "system" } else { "project" };
        json!({ "kind": kind, "namespace": place, "access": access })
    };
    Ok(places.into_iter().map(entry).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn rights_are_gathered_by_place() {
        let given: Vec<Right> = ["repository:pull", "repository:push", "*=tag:list", "/=quota:list"]
            .map(|text| right(text).unwrap())
            .to_vec();
        let access = |resource: &str, action: &str| json!({ "resource": resource, "action": action });
        assert_eq!(
            permissions(&given, Some("demo")).unwrap_or_default(),
            json!([
                { "kind": "project", "namespace": "*", "access": [access("tag", "list")] },
                { "kind": "system", "namespace": "/", "access": [access("quota", "list")] },
                { "kind": "project", "namespace": "demo",
                  "access": [access("repository", "pull"), access("repository", "push")] },
            ])
        );
        assert!(permissions(&given, None).is_err());
        for wrong in ["", "pull", "repository:", ":pull", "demo=", "demo=repository"] {
            assert!(right(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whole_names_tell_the_project() {
        for (name, project) in [
            ("robot$ci", None),
            ("robot$demo+ci", Some("demo")),
            ("ci", None),
            ("robot$a.b-c+ci", Some("a.b-c")),
        ] {
            assert_eq!(project_in(name), project, "{name}");
        }
    }
}
