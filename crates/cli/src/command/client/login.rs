//! `hythe login` and `hythe logout`.
//!
//! A login trades the password for an access token of its own and keeps that: it can be ended without changing the
//! password, it ends by itself, and it makes no further tokens. Robots keep their secret, because they have no tokens.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use chrono::SecondsFormat;
use clap::Args;
use client::{Client, Credentials, Path, Server};
use database::Clock;
use serde_json::json;

use super::Account;
use super::credentials::{Entry, Store};
use super::session::{asked, given_password, open, refused, server, warn_if_exposed};
use crate::command::print;
use crate::exit::{Exit, Failure};
use crate::settings;

const DAYS_DEFAULT: u32 = 90;

#[derive(Args)]
pub(in crate::command) struct Login {
    /// Address of the server [env: HYTHE_SERVER] [default: that of the last login]
    server: Option<String>,
    /// Name of the account or robot [env: HYTHE_USERNAME]
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password (or token, or robot's secret) from the first line of standard input.
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// File with the password [env: HYTHE_PASSWORD_FILE, or HYTHE_PASSWORD itself]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// PEM file of a certificate authority to trust [env: HYTHE_CA_FILE]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Days until the login ends by itself; 0 is never.
    #[arg(long, value_name = "N", default_value_t = DAYS_DEFAULT, value_parser = clap::value_parser!(u32).range(..=3650))]
    days: u32,
}

#[derive(Args)]
pub(in crate::command) struct Logout {
    /// Address of the server [default: that of the last login]
    server: Option<String>,
}

impl Login {
    pub async fn run(self) -> Result<Exit, Failure> {
        let environment = settings::Client::of_process();
        let store = Store::new(environment.credentials_file.clone());
        let mut logins = store.load()?;
        let server = server(self.server.as_deref(), &environment, &logins)?;
        warn_if_exposed(&server);
        let named = self.username.clone().or(environment.username.clone());
        let authority = self.ca_file.clone().or(environment.ca_file.clone());
        let authority = authority.map(std::path::absolute).transpose();
        let authority = authority.map_err(|error| Failure::new(Exit::Usage, error))?;
        let account = Account {
            server: None,
            username: None,
            password_stdin: self.password_stdin,
            password_file: self.password_file,
            ca_file: None,
        };
        let given = given_password(&account, environment)?;
        let name = match named {
            Some(name) => name,
            None => asked_name()?,
        };
        let credentials = match given {
            Some(secret) => Credentials { name: name.clone(), secret },
            None => asked(&server, name.clone())?,
        };
        let mut entry = Entry::new(&name, &credentials.secret)?;
        let client = open(server.clone(), Some(credentials), authority.as_deref())?;
        let is_person = check(&client).await?;
        let before = logins.servers.remove(server.as_str());
        if is_person && !entry.is_access_token() {
            entry = with_token(&client, &name, self.days).await?;
            // Each login leaves one token behind, not one for every time.
            if let Some(id) =
                before.filter(|before| before.username == name).and_then(|before| before.token_id)
            {
                end(&client, id).await;
            }
        }
        entry.ca_file = authority;
        let (until, made) = (entry.expires_at.clone(), entry.token_id);
        logins.current = Some(server.to_string());
        logins.servers.insert(server.to_string(), entry);
        if let Err(failure) = store.save(&logins) {
            // Nobody would know the secret of this token.
            if let Some(id) = made {
                end(&client, id).await;
            }
            return Err(failure);
        }
        let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
        print(&format!("{} is logged in at {server}{until}\n", client::printable(&name)))
    }
}

fn asked_name() -> Result<String, Failure> {
    let nobody = || Failure::text(Exit::Usage, "who logs in?").remedy("add --username");
    if !io::stdin().is_terminal() {
        return Err(nobody());
    }
    eprint!("user name: ");
    let mut name = String::new();
    let read = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut name));
    read.map_err(|error| Failure::new(Exit::Failed, error))?;
    match name.trim() {
        "" => Err(nobody()),
        name => Ok(name.to_owned()),
    }
}

/// Proves the credentials. Returns whether they are a person's; a robot is told 412.
async fn check(client: &Client) -> Result<bool, Failure> {
    match client.get(&Path::new("/users/current")).await {
        Ok(_) => Ok(true),
        Err(client::Error::Refused { status: 412, .. }) => Ok(false),
        Err(client::Error::Refused { status: 401, request_id, .. }) => {
            let text = format!("{} does not accept this name and password", client.server());
            let cause = format!("the server answered 401 to request {request_id}");
            Err(Failure::new(Exit::Denied, anyhow::Error::msg(cause).context(text)))
        }
        Err(error) => Err(refused(error)),
    }
}

/// Makes the access token that is kept instead of the password.
async fn with_token(client: &Client, name: &str, days: u32) -> Result<Entry, Failure> {
    // An account has each name once, and a machine may have several logins of one account.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|character| !character.is_control()).take(100).collect();
    let end = (days > 0).then(|| {
        let end = Clock::system().now() + chrono::Duration::days(days.into());
        end.to_rfc3339_opts(SecondsFormat::Secs, true)
    });
    let body = json!({ "name": format!("hythe login on {host} {:08x}", rand::random::<u32>()), "scopes": ["api"], "expires_at": end });
    let made = client.post(&Path::new("/users/current/tokens"), body).await.map_err(refused)?.body;
    let Some(secret) = made["secret"].as_str() else {
        return Err(Failure::text(Exit::Failed, format!("{} made no access token", client.server())));
    };
    let secret = sealed::Secret::new(secret.as_bytes().to_vec());
    let mut entry = Entry::new(name, &secret)?;
    (entry.token_id, entry.expires_at) = (made["id"].as_i64(), end);
    Ok(entry)
}

/// Ends an access token that is not needed any more. If that fails, it ends by itself later.
async fn end(client: &Client, id: i64) {
    match client.delete(&Path::new("/users/current/tokens").id(id)).await {
        Ok(_) | Err(client::Error::Refused { status: 404, .. }) => {}
        Err(error) => {
            eprintln!("warning: the access token {id} of the login before could not be ended: {error}")
        }
    }
}

impl Logout {
    pub fn run(&self) -> Result<Exit, Failure> {
        let environment = settings::Client::of_process();
        let store = Store::new(environment.credentials_file.clone());
        let mut logins = store.load()?;
        let server: Server = server(self.server.as_deref(), &environment, &logins)?;
        let Some(entry) = logins.servers.remove(server.as_str()) else {
            return Err(Failure::text(Exit::NotFound, format!("nobody is logged in at {server}")));
        };
        if logins.current.as_deref() == Some(server.as_str()) {
            logins.current = None;
        }
        store.save(&logins)?;
        let name = client::printable(&entry.username);
        print(&format!("{name} is not logged in at {server} any more\n"))?;
        if let Some(id) = entry.token_id {
            let until =
                entry.expires_at.map(|end| format!("until {end}")).unwrap_or_else(|| "for good".to_owned());
            eprintln!(
                "its access token {id} is forgotten here and valid {until}; to end it:\n\
                 hythe token delete {id} --server {server} --username {name}"
            );
        }
        Ok(Exit::Done)
    }
}
