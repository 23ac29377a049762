//! `hythe token`: personal access tokens, one's own or, for system administrators, somebody's.
//!
//! No token manages tokens, so every verb asks for the password. A new token is printed once.

use chrono::SecondsFormat;
use clap::{Args, Subcommand, ValueEnum};
use client::{Column, Path, moment, text};
use database::Clock;
use serde_json::{Value, json};

use super::session::{Need, Session, refused};
use super::{Listing, Noun, Removal, user};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(in crate::command) enum Token {
    /// List access tokens and when they were last used.
    List {
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        listing: Listing,
    },
    /// Make an access token and print it. With -o name only the token is printed.
    Create(Create),
    /// End an access token; what it gave out ends within seconds.
    Delete {
        id: i64,
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        removal: Removal,
    },
}

#[derive(Args)]
pub(in crate::command) struct Owner {
    /// Tokens of this account; for system administrators.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

#[derive(Args)]
pub(in crate::command) struct Create {
    /// What it is for.
    name: String,
    /// What it opens; repeatable.
    #[arg(long = "scope", value_enum, required = true)]
    scopes: Vec<Scope>,
    /// Only this project; repeatable.
    #[arg(long = "project", value_name = "NAME")]
    projects: Vec<String>,
    /// Days until it ends; 0 is never.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(..=3650))]
    days: u32,
    #[command(flatten)]
    owner: Owner,
}

#[derive(Clone, Copy, ValueEnum)]
pub(in crate::command) enum Scope {
    Pull,
    /// Includes pulling.
    Push,
    Delete,
    /// The whole REST API.
    Api,
    /// The REST API for reading.
    #[value(name = "api:read")]
    ApiRead,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Api => "api",
            Self::ApiRead => "api:read",
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::new("ID", 0, |row| text(&row["id"])),
    Column::new("NAME", 0, |row| text(&row["name"])),
    Column::new("SCOPES", 1, |row| text(&row["scopes"])),
    Column::new("PROJECTS", 2, projects),
    Column::new("ENDS (UTC)", 1, ends),
    Column::new("LAST USED (UTC)", 3, |row| moment(&row["last_used_at"])),
    Column::new("FROM", 4, |row| text(&row["last_used_address"])),
];

const SECRET: &[Column] = &[
    Column::new("id", 0, |row| text(&row["id"])),
    Column::new("name", 0, |row| text(&row["name"])),
    Column::new("secret", 0, secret),
];

fn projects(row: &Value) -> String {
    if row["all_projects"] == true { "all".to_owned() } else { text(&row["projects"]) }
}

fn ends(row: &Value) -> String {
    if row["expires_at"].is_null() { "never".to_owned() } else { moment(&row["expires_at"]) }
}

fn secret(row: &Value) -> String {
    text(&row["secret"])
}

async fn path(session: &Session, owner: &Owner) -> Result<Path, Failure> {
    match &owner.user {
        None => Ok(Path::new("/users/current/tokens")),
        Some(name) => Ok(Path::new("/users").id(user::id_by_name(session, name).await?).then("tokens")),
    }
}

pub(in crate::command) async fn run(noun: Noun<Token>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, |_| Need::Password)?;
    match verb {
        Token::List { owner, listing } => {
            let path = path(&session, &owner).await?;
            session.list(path, &listing, COLUMNS, |row| text(&row["id"])).await
        }
        Token::Create(line) => {
            let end = (line.days > 0).then(|| {
                let end = Clock::system().now() + chrono::Duration::days(line.days.into());
                end.to_rfc3339_opts(SecondsFormat::Secs, true)
            });
            let scopes: Vec<&str> = line.scopes.iter().map(|scope| scope.as_str()).collect();
            let body = json!({
                "name": line.name,
                "scopes": scopes,
                "projects": line.projects,
                "expires_at": end,
            });
            let path = path(&session, &line.owner).await?;
            let made = session.client.post(&path, body).await.map_err(refused)?.body;
            session.show(&made, SECRET, secret)
        }
        Token::Delete { id, owner, removal } => {
            let path = path(&session, &owner).await?.id(id);
            let shown = id.to_string();
            if !session.confirm(&removal, "token", &shown, "what it gave out ends within seconds")? {
                return Ok(Exit::Done);
            }
            session.client.delete(&path).await.map_err(refused)?;
            session.done("token", &shown, "deleted", None)
        }
    }
}
