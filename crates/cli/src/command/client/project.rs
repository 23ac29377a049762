//! `hythe project`: projects and who belongs to them.

use clap::{Args, Subcommand, ValueEnum};
use client::{Column, Path, bytes, moment, text};
use serde_json::{Value, json};

use super::session::{Need, Session, find, id_of, not_found, refused};
use super::{Listing, Noun, Removal};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(in crate::command) enum Project {
    /// List the projects that you can see.
    List(List),
    /// Show one project with its members and its quota in numbers.
    Show { name: String },
    /// Make a project.
    Create(Create),
    /// Change visibility, quota or metadata.
    Update(Update),
    /// Delete a project. One with repositories is deleted only with --force.
    Delete(Delete),
    /// Who belongs to a project, and as what.
    #[command(subcommand)]
    Member(Member),
}

#[derive(Args)]
pub(in crate::command) struct List {
    #[command(flatten)]
    listing: Listing,
    /// Only projects whose name contains this.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

#[derive(Args)]
pub(in crate::command) struct Create {
    name: String,
    /// Let everybody pull without logging in.
    #[arg(long)]
    public: bool,
    /// Most bytes it may hold, such as 500MiB or 20GiB; -1 is no limit.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    quota: Option<i64>,
}

#[derive(Args)]
pub(in crate::command) struct Update {
    name: String,
    /// Whether everybody may pull without logging in.
    #[arg(long, value_name = "BOOL")]
    public: Option<bool>,
    /// Most bytes it may hold, such as 500MiB or 20GiB; -1 is no limit. For system administrators.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    quota: Option<i64>,
    /// A key of the metadata and its value; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
}

#[derive(Args)]
pub(in crate::command) struct Delete {
    name: String,
    /// Delete its repositories too, in the background.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    removal: Removal,
}

#[derive(Subcommand)]
pub(in crate::command) enum Member {
    /// List the members of a project.
    List {
        project: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Add somebody.
    Add {
        project: String,
        user: String,
        /// What the member may do.
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Give a member another role.
    Update {
        project: String,
        user: String,
        /// What the member may do.
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Take somebody out.
    Remove {
        project: String,
        user: String,
        #[command(flatten)]
        removal: Removal,
    },
}

/// Roles under the numbers that the API has for them.
#[derive(Clone, Copy, ValueEnum)]
pub(in crate::command) enum Role {
    Admin = 1,
    Developer = 2,
    Guest = 3,
    Maintainer = 4,
    LimitedGuest = 5,
}

const COLUMNS: &[Column] = &[
    Column::new("NAME", 0, name),
    Column::new("PUBLIC", 1, |row| text(&row["metadata"]["public"])),
    Column::new("REPOSITORIES", 1, |row| text(&row["repo_count"])),
    Column::new("OWNER", 2, |row| text(&row["owner_name"])),
    Column::new("CREATED (UTC)", 3, |row| moment(&row["creation_time"])),
];

const FIELDS: &[Column] = &[
    Column::new("name", 0, name),
    Column::new("id", 0, |row| text(&row["project_id"])),
    Column::new("public", 0, |row| text(&row["metadata"]["public"])),
    Column::new("owner", 0, |row| text(&row["owner_name"])),
    Column::new("repositories", 0, |row| text(&row["repo_count"])),
    Column::new("used", 0, |row| bytes(&row["summary"]["quota"]["used"]["storage"])),
    Column::new("quota", 0, |row| bytes(&row["summary"]["quota"]["hard"]["storage"])),
    Column::new("created (UTC)", 0, |row| moment(&row["creation_time"])),
];

const MEMBERS: &[Column] = &[
    Column::new("NAME", 0, member_name),
    Column::new("ROLE", 0, |row| text(&row["role_name"])),
    Column::new("KIND", 1, |row| if row["entity_type"] == "g" { "group".into() } else { "user".into() }),
];

fn name(row: &Value) -> String {
    text(&row["name"])
}

fn member_name(row: &Value) -> String {
    text(&row["entity_name"])
}

pub(in crate::command) async fn run(noun: Noun<Project>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, |_| Need::Anything)?;
    match verb {
        Project::List(line) => {
            let mut path = Path::new("/projects");
            if let Some(part) = &line.name {
                path = path.with("name", part);
            }
            session.list(path, &line.listing, COLUMNS, name).await
        }
        Project::Show { name } => show(&session, &name).await,
        Project::Create(line) => create(&session, line).await,
        Project::Update(line) => update(&session, line).await,
        Project::Delete(line) => delete(&session, line).await,
        Project::Member(verb) => member(&session, verb).await,
    }
}

fn path(name: &str) -> Result<Path, Failure> {
    Path::new("/projects").segment(name).map_err(refused)
}

/// The project as the server knows it.
pub(super) async fn get(session: &Session, name: &str) -> Result<Value, Failure> {
    session.client.get(&path(name)?).await.map_err(refused)
}

async fn summary(session: &Session, name: &str) -> Result<Value, Failure> {
    session.client.get(&path(name)?.then("summary")).await.map_err(refused)
}

async fn show(session: &Session, name: &str) -> Result<Exit, Failure> {
    let mut project = get(session, name).await?;
    project["summary"] = summary(session, name).await?;
    session.show(&project, FIELDS, self::name)
}

async fn create(session: &Session, line: Create) -> Result<Exit, Failure> {
    let mut body = json!({ "project_name": line.name, "metadata": { "public": line.public.to_string() } });
    if let Some(quota) = line.quota {
        body["storage_limit"] = quota.into();
    }
    let answer = session.client.post(&Path::new("/projects"), body).await.map_err(refused)?;
    session.done("project", &line.name, "created", answer.id)
}

async fn update(session: &Session, line: Update) -> Result<Exit, Failure> {
    if line.public.is_none() && line.quota.is_none() && line.metadata.is_empty() {
        return Err(Failure::text(Exit::Usage, "nothing to change").remedy("add --public, --quota or --set"));
    }
    // The quota first: whoever may not set it has changed nothing yet.
    if let Some(quota) = line.quota {
        let id = id_of(&get(session, &line.name).await?, "project_id")?;
        let body = json!({ "hard": { "storage": quota } });
        session.client.put(&Path::new("/quotas").id(id), body).await.map_err(refused)?;
    }
    let mut metadata: serde_json::Map<String, Value> =
        line.metadata.into_iter().map(|(key, value)| (key, value.into())).collect();
    if let Some(public) = line.public {
        metadata.insert("public".to_owned(), public.to_string().into());
    }
    if !metadata.is_empty() {
        let body = json!({ "metadata": metadata });
        session.client.put(&path(&line.name)?, body).await.map_err(refused)?;
    }
    session.done("project", &line.name, "updated", None)
}

async fn delete(session: &Session, line: Delete) -> Result<Exit, Failure> {
    let summary = summary(session, &line.name).await?;
    let plan = format!(
        "{} repositories, {} of content",
        text(&summary["repo_count"]),
        bytes(&summary["quota"]["used"]["storage"])
    );
    if !session.confirm(&line.removal, "project", &line.name, &plan)? {
        return Ok(Exit::Done);
    }
    let mut path = path(&line.name)?;
    if line.force {
        path = path.with("force", "true");
    }
    let answer = session.client.delete(&path).await.map_err(refused)?;
    match answer.body["job_id"].as_str() {
        Some(job) => {
            eprintln!("job {} deletes it in the background", client::printable(job));
            session.done("project", &line.name, "scheduled for deletion", None)
        }
        None => session.done("project", &line.name, "deleted", None),
    }
}

async fn member(session: &Session, verb: Member) -> Result<Exit, Failure> {
    let members = |project: &str| Ok::<_, Failure>(path(project)?.then("members"));
    match verb {
        Member::List { project, listing } => {
            session.list(members(&project)?, &listing, MEMBERS, member_name).await
        }
        Member::Add { project, user, role } => {
            let body = json!({ "role_id": role as i64, "member_user": { "username": user } });
            let answer = session.client.post(&members(&project)?, body).await.map_err(refused)?;
            session.done("member", &user, "added", answer.id)
        }
        Member::Update { project, user, role } => {
            let path = members(&project)?.id(member_id(session, &project, &user).await?);
            session.client.put(&path, json!({ "role_id": role as i64 })).await.map_err(refused)?;
            session.done("member", &user, "updated", None)
        }
        Member::Remove { project, user, removal } => {
            let id = member_id(session, &project, &user).await?;
            let plan = format!("it loses its role in {}", client::printable(&project));
            if !session.confirm(&removal, "member", &user, &plan)? {
                return Ok(Exit::Done);
            }
            session.client.delete(&members(&project)?.id(id)).await.map_err(refused)?;
            session.done("member", &user, "removed", None)
        }
    }
}

async fn member_id(session: &Session, project: &str, user: &str) -> Result<i64, Failure> {
    let path = path(project)?.then("members").with("entityname", user);
    let found =
        find(&session.client, &path, |row| row["entity_type"] == "u" && row["entity_name"] == user).await?;
    id_of(&found.ok_or_else(|| not_found("member", user))?, "id")
}

/// A number of bytes with an optional unit; -1 is no limit.
fn size(text: &str) -> Result<i64, String> {
    let refused =
        || format!("{text:?} is no size: write 500MiB, 20GiB, a number of bytes, or -1 for no limit");
    if text == "-1" {
        return Ok(-1);
    }
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: i64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(refused()),
    };
    let number: i64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(refused)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it has to be KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("-1", Some(-1)),
            ("1", Some(1)),
            ("500MiB", Some(500 << 20)),
            ("20 GiB", Some(20 << 30)),
            ("0", None),
            ("-2", None),
            ("GiB", None),
            ("1GB", None),
            ("1.5GiB", None),
            ("9999999999TiB", None),
            ("", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}
