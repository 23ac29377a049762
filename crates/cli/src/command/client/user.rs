//! `hythe user`: accounts of people.
//!
//! New passwords are typed twice or come from standard input. What an access token must not do (passwords,
//! administrators) asks for the caller's own password.

use clap::{Args, Subcommand};
use client::{Column, Path, moment, text};
use serde_json::{Value, json};

use super::session::{Need, Session, find, id_of, not_found, refused};
use super::{Listing, Noun, Removal};
use crate::command::password;
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(in crate::command) enum User {
    /// List all accounts but the first administrator's.
    List {
        #[command(flatten)]
        listing: Listing,
        /// Only accounts whose name contains this.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
    },
    /// Show an account; without a name your own.
    Show { name: Option<String> },
    /// Make an account. Its password is typed twice, or read from standard input.
    Create(Create),
    /// Change what is known about an account.
    Update(Update),
    /// Set a password. It is typed twice, or read from standard input after your own.
    Password {
        /// [default: your own account]
        name: Option<String>,
    },
    /// Make somebody a system administrator, or no longer one.
    Sysadmin {
        name: String,
        #[arg(value_name = "on|off", action = clap::ArgAction::Set, value_parser = on_or_off)]
        state: bool,
    },
    /// Delete an account.
    Delete {
        name: String,
        #[command(flatten)]
        removal: Removal,
    },
}

#[derive(Args)]
pub(in crate::command) struct Create {
    name: String,
    /// E-mail address.
    #[arg(long)]
    email: String,
    /// Real name [default: the user name]
    #[arg(long, value_name = "NAME")]
    realname: Option<String>,
    /// Anything else.
    #[arg(long, default_value = "")]
    comment: String,
}

#[derive(Args)]
pub(in crate::command) struct Update {
    name: String,
    /// E-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Real name.
    #[arg(long, value_name = "NAME")]
    realname: Option<String>,
    /// Anything else.
    #[arg(long)]
    comment: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column::new("NAME", 0, name),
    Column::new("ID", 1, |row| text(&row["user_id"])),
    Column::new("ADMINISTRATOR", 1, |row| text(&row["sysadmin_flag"])),
    Column::new("REAL NAME", 2, |row| text(&row["realname"])),
    Column::new("E-MAIL", 2, |row| text(&row["email"])),
    Column::new("CREATED (UTC)", 3, |row| moment(&row["creation_time"])),
];

const FIELDS: &[Column] = &[
    Column::new("name", 0, name),
    Column::new("id", 0, |row| text(&row["user_id"])),
    Column::new("administrator", 0, |row| text(&row["sysadmin_flag"])),
    Column::new("real name", 0, |row| text(&row["realname"])),
    Column::new("e-mail", 0, |row| text(&row["email"])),
    Column::new("comment", 0, |row| text(&row["comment"])),
    Column::new("created (UTC)", 0, |row| moment(&row["creation_time"])),
];

fn name(row: &Value) -> String {
    text(&row["username"])
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it is on or off".to_owned()),
    }
}

fn need(verb: &User) -> Need {
    match verb {
        User::Password { .. } | User::Sysadmin { .. } => Need::Password,
        _ => Need::Anything,
    }
}

pub(in crate::command) async fn run(noun: Noun<User>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, need)?;
    let client = &session.client;
    match verb {
        User::List { listing, name: part } => {
            let mut path = Path::new("/users");
            if let Some(part) = &part {
                path = path.with("username", part);
            }
            session.list(path, &listing, COLUMNS, name).await
        }
        User::Show { name: None } => session.show(&current(&session).await?, FIELDS, name),
        User::Show { name: Some(user) } => {
            let found = client.get(&path_of(&session, &user).await?).await.map_err(refused)?;
            session.show(&found, FIELDS, name)
        }
        User::Create(line) => create(&session, line).await,
        User::Update(line) => update(&session, line).await,
        User::Password { name } => set_password(&session, name).await,
        User::Sysadmin { name, state } => {
            let path = path_of(&session, &name).await?.then("sysadmin");
            client.put(&path, json!({ "sysadmin_flag": state })).await.map_err(refused)?;
            let action = if state { "made a system administrator" } else { "made an ordinary account" };
            session.done("user", &name, action, None)
        }
        User::Delete { name, removal } => {
            let path = path_of(&session, &name).await?;
            let plan = "its tokens end, its memberships go, and its name is free again";
            if !session.confirm(&removal, "user", &name, plan)? {
                return Ok(Exit::Done);
            }
            client.delete(&path).await.map_err(refused)?;
            session.done("user", &name, "deleted", None)
        }
    }
}

async fn current(session: &Session) -> Result<Value, Failure> {
    session.client.get(&Path::new("/users/current")).await.map_err(refused)
}

/// The id of an account by its name.
pub(super) async fn id_by_name(session: &Session, name: &str) -> Result<i64, Failure> {
    let path = Path::new("/users/search").with("username", name);
    let same = |row: &Value| row["username"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name));
    let found = find(&session.client, &path, same).await?;
    id_of(&found.ok_or_else(|| not_found("user", name))?, "user_id")
}

async fn path_of(session: &Session, name: &str) -> Result<Path, Failure> {
    Ok(Path::new("/users").id(id_by_name(session, name).await?))
}

async fn create(session: &Session, line: Create) -> Result<Exit, Failure> {
    let password = password::read(false)?;
    let body = json!({
        "username": line.name,
        "email": line.email,
        "realname": line.realname.unwrap_or_else(|| line.name.clone()),
        "comment": line.comment,
        "password": text_of(&password)?,
    });
    let answer = session.client.post(&Path::new("/users"), body).await.map_err(refused)?;
    session.done("user", &line.name, "created", answer.id)
}

fn text_of(password: &sealed::Secret) -> Result<&str, Failure> {
    password.expose_str().ok_or_else(|| Failure::text(Exit::Usage, "the password is not UTF-8"))
}

/// The API takes a profile as a whole; what is not to change is sent back as it came.
async fn update(session: &Session, line: Update) -> Result<Exit, Failure> {
    if line.email.is_none() && line.realname.is_none() && line.comment.is_none() {
        return Err(
            Failure::text(Exit::Usage, "nothing to change").remedy("add --email, --realname or --comment")
        );
    }
    let path = path_of(session, &line.name).await?;
    let found = session.client.get(&path).await.map_err(refused)?;
    let kept = |given: Option<String>, key: &str| {
        given.unwrap_or_else(|| found[key].as_str().unwrap_or_default().to_owned())
    };
    let body = json!({
        "email": kept(line.email, "email"),
        "realname": kept(line.realname, "realname"),
        "comment": kept(line.comment, "comment"),
    });
    session.client.put(&path, body).await.map_err(refused)?;
    session.done("user", &line.name, "updated", None)
}

async fn set_password(session: &Session, name: Option<String>) -> Result<Exit, Failure> {
    let own = current(session).await?;
    let (id, name) = match name {
        Some(name) => (id_by_name(session, &name).await?, name),
        None => (id_of(&own, "user_id")?, own["username"].as_str().unwrap_or_default().to_owned()),
    };
    let password = password::read(false)?;
    let mut body = json!({ "new_password": text_of(&password)? });
    if own["user_id"] == id {
        let old = session.client.secret().ok_or_else(|| Failure::text(Exit::Denied, "log in first"))?;
        body["old_password"] = text_of(old)?.into();
    }
    session.client.put(&Path::new("/users").id(id).then("password"), body).await.map_err(refused)?;
    session.done("password of", &name, "changed", None)
}
