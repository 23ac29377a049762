//! A command under way: the connection it uses, how it writes results, and what a refusal means as an exit code.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Subcommand;
use client::{Client, Column, Credentials, Lister, Path, RepositoryName, Server};
use sealed::Secret;
use serde_json::{Value, json};

use super::credentials::{Entry, Logins, Store};
use super::{Account, Listing, Noun, Removal};
use crate::command::password;
use crate::command::print;
use crate::exit::{Exit, Failure};
use crate::settings;

/// How this program calls itself to servers; their audit trail shows it.
const AGENT: &str = concat!("hythe/", env!("CARGO_PKG_VERSION"));

/// What the command needs to prove.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Whatever there is, nothing included: public projects are for everybody.
    Anything,
    /// A password. An access token makes no tokens, sets no password and makes no administrator.
    Password,
}

pub(super) struct Session {
    pub client: Client,
    form: client::Form,
    has_header: bool,
}

impl Session {
    /// Takes a noun apart and opens what its verb needs.
    pub fn open<V: Subcommand>(noun: Noun<V>, need: impl FnOnce(&V) -> Need) -> Result<(Self, V), Failure> {
        let Noun { common, verb } = noun;
        let client = connect(&common.account, need(&verb))?;
        let session = Self { client, form: common.output.into(), has_header: !common.no_header };
        Ok((session, verb))
    }

    /// Prints a list, page by page as it comes.
    pub async fn list(
        &self,
        path: Path,
        listing: &Listing,
        columns: &[Column],
        name: fn(&Value) -> String,
    ) -> Result<Exit, Failure> {
        let mut path = path;
        if let Some(sort) = &listing.sort {
            path = path.with("sort", sort);
        }
        if let Some(filter) = &listing.filter {
            path = path.with("q", filter);
        }
        let mut left = if listing.all { u64::MAX } else { listing.limit };
        let mut pages = self.client.pages(&path, (!listing.all).then_some(listing.limit));
        let output = io::stdout().lock();
        let mut lister = Lister::new(output, self.form, columns, name, terminal_width(), self.has_header);
        let (mut shown, mut total) = (0_u64, None);
        while left > 0 {
            let Some(page) = pages.next().await.map_err(refused)? else { break };
            let rows = &page.rows[..page.rows.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            if let Some(ended) = written(lister.write(rows))? {
                return Ok(ended);
            }
            let count = rows.len() as u64;
            (left, shown, total) = (left - count, shown + count, page.total);
        }
        written(lister.end())?;
        if let Some(total) = total.filter(|total| *total > shown) {
            eprintln!("{shown} of {total} are shown; --all shows the rest");
        }
        Ok(Exit::Done)
    }

    /// Prints one thing.
    pub fn show(
        &self,
        value: &Value,
        fields: &[Column],
        name: fn(&Value) -> String,
    ) -> Result<Exit, Failure> {
        written(client::show(io::stdout().lock(), self.form, fields, name, value))?;
        Ok(Exit::Done)
    }

    /// Prints what was done: a sentence for people, an object for programs.
    pub fn done(&self, kind: &str, name: &str, action: &str, id: Option<i64>) -> Result<Exit, Failure> {
        let shown = client::printable(name);
        if self.form == client::Form::Table {
            let number = id.map(|id| format!(" with id {id}")).unwrap_or_default();
            return print(&format!("{kind} {shown} was {action}{number}\n"));
        }
        let mut value = json!({ "kind": kind, "name": name, "action": action });
        if let Some(id) = id {
            value["id"] = id.into();
        }
        self.show(&value, &[], |value| client::text(&value["name"]))
    }

    /// Whether to go on with removing `name`: after its plan was shown and its name typed, or with `--yes`. With
    /// `--dry-run` the plan is the result.
    pub fn confirm(&self, removal: &Removal, kind: &str, name: &str, plan: &str) -> Result<bool, Failure> {
        let shown = client::printable(name);
        if removal.dry_run {
            if self.form == client::Form::Table {
                print(&format!("{kind} {shown} would be removed: {plan}\n"))?;
            } else {
                let value = json!({ "kind": kind, "name": name, "action": "none", "plan": plan });
                self.show(&value, &[], |value| client::text(&value["name"]))?;
            }
            return Ok(false);
        }
        if removal.yes {
            return Ok(true);
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::text(
                Exit::Usage,
                format!("{kind} {shown} is not removed without a confirmation"),
            )
            .remedy("add --yes, or --dry-run to see what would happen"));
        }
        eprint!("{kind} {shown} will be removed: {plan}\nType {shown} to confirm: ");
        let mut typed = String::new();
        let read = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut typed));
        read.map_err(|error| Failure::new(Exit::Failed, error))?;
        if typed.trim_end_matches(['\r', '\n']) == name {
            return Ok(true);
        }
        Err(Failure::text(Exit::Failed, "that is not its name; nothing was removed"))
    }
}

/// The result of writing to standard output. A reader that has gone away is no failure; there is nothing more to do.
pub(super) fn written(result: io::Result<()>) -> Result<Option<Exit>, Failure> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Some(Exit::Done)),
        Err(error) => Err(Failure::new(Exit::Failed, error)),
    }
}

fn terminal_width() -> Option<usize> {
    // Fails when standard output is no terminal; one that does not know its size says 0.
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// The server's address: from the flag, the environment, or the last login.
pub(super) fn server(
    given: Option<&str>,
    environment: &settings::Client,
    logins: &Logins,
) -> Result<Server, Failure> {
    let text = given.or(environment.server.as_deref()).or(logins.current.as_deref());
    let Some(text) = text else {
        return Err(Failure::text(Exit::Denied, "no server is named and nobody is logged in")
            .remedy("hythe login https://hub.example.org, or --server"));
    };
    Server::parse(text).map_err(|error| Failure::text(Exit::Usage, error))
}

/// The password from where the caller says it is; nothing when nobody says.
pub(super) fn given_password(
    account: &Account,
    environment: settings::Client,
) -> Result<Option<Secret>, Failure> {
    if account.password_stdin {
        return password::first_line().map(Some);
    }
    let file = account.password_file.clone();
    let from_file = |path| {
        let read = settings::secret_from(path);
        read.map(Some).map_err(|error| Failure::text(Exit::Usage, error))
    };
    match (file, environment.password, environment.password_file) {
        (Some(path), _, _) => from_file(&path),
        (None, Some(password), _) => Ok(Some(password)),
        (None, None, Some(path)) => from_file(&path),
        (None, None, None) => Ok(None),
    }
}

/// A client of this server; `authority` is a PEM file.
pub(super) fn open(
    server: Server,
    credentials: Option<Credentials>,
    authority: Option<&std::path::Path>,
) -> Result<Client, Failure> {
    let pem = authority.map(|path| {
        std::fs::read(path).map_err(|error| {
            let text = format!("the certificates in {} cannot be read", path.display());
            Failure::new(Exit::Configuration, anyhow::Error::new(error).context(text))
        })
    });
    Client::new(server, credentials, pem.transpose()?.as_deref(), AGENT)
        .map_err(|error| Failure::new(Exit::Configuration, error))
}

fn connect(account: &Account, need: Need) -> Result<Client, Failure> {
    let environment = settings::Client::of_process();
    let mut logins = Store::new(environment.credentials_file.clone()).load()?;
    let server = server(account.server.as_deref(), &environment, &logins)?;
    let kept = logins.servers.remove(server.as_str());
    let named = account.username.clone().or(environment.username.clone());
    let authority = account
        .ca_file
        .clone()
        .or(environment.ca_file.clone())
        .or(kept.as_ref().and_then(|entry| entry.ca_file.clone()));
    // Somebody else than who is logged in has a password of their own.
    let kept = kept.filter(|entry| named.as_ref().is_none_or(|name| *name == entry.username));
    let name = named.or(kept.as_ref().map(|entry| entry.username.clone()));
    let credentials = match (given_password(account, environment)?, name) {
        (Some(secret), Some(name)) => {
            warn_if_exposed(&server);
            Some(Credentials { name, secret })
        }
        (Some(_), None) => {
            return Err(
                Failure::text(Exit::Usage, "there is a password, but whose is it?").remedy("add --username")
            );
        }
        (None, Some(name)) => {
            let enough = |entry: &Entry| need == Need::Anything || !entry.is_access_token();
            match kept.filter(enough) {
                Some(entry) => Some(Credentials { secret: entry.secret(), name }),
                None => {
                    warn_if_exposed(&server);
                    Some(asked(&server, name)?)
                }
            }
        }
        (None, None) => None,
    };
    open(server, credentials, authority.as_deref())
}

/// Tells who types a password where it can be read on the way. What a login keeps is sent without a word.
pub(super) fn warn_if_exposed(server: &Server) {
    if server.is_exposed() {
        eprintln!("warning: {server} has no TLS: whoever sits in between can read the password");
    }
}

/// Asks for the password of `name` on the terminal.
pub(super) fn asked(server: &Server, name: String) -> Result<Credentials, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::text(
            Exit::Denied,
            format!("the password of {name} is needed, and there is no terminal to ask on"),
        )
        .remedy("add --password-stdin or --password-file"));
    }
    let secret = password::ask(&format!("password of {name} at {server}: "))?;
    Ok(Credentials { name, secret })
}

/// What a failed request means: its exit code, and what can be done about it.
pub(super) fn refused(error: client::Error) -> Failure {
    use client::Error;
    match error {
        Error::Invalid(text) => Failure::text(Exit::Usage, text),
        Error::Unreachable { .. } => {
            Failure::new(Exit::Unreachable, error).remedy("check the address, the network and --ca-file")
        }
        Error::Strange { .. } | Error::Certificates(_) => Failure::new(Exit::Failed, error),
        Error::Refused { status, code, message, request_id, retry_after_seconds } => {
            let exit = match status {
                400 | 413 | 415 | 422 => Exit::Usage,
                401 | 403 => Exit::Denied,
                404 | 410 => Exit::NotFound,
                409 | 412 => Exit::Conflict,
                502..=504 => Exit::Unreachable,
                507 => Exit::Storage,
                _ => Exit::Failed,
            };
            let mut cause = format!("the server answered {status}");
            if !code.is_empty() {
                cause.push_str(&format!(" {code}"));
            }
            if !request_id.is_empty() {
                cause.push_str(&format!(" to request {request_id}"));
            }
            let failure = Failure::new(exit, anyhow::Error::msg(cause).context(message));
            match (status, retry_after_seconds) {
                (401, _) => failure.remedy("hythe login, or --username and --password-stdin"),
                (_, Some(seconds)) => failure.remedy(format!("again in {seconds} s")),
                _ => failure,
            }
        }
    }
}

/// The path of a project, or of a repository when there is a slash.
pub(super) fn place_of(text: &str) -> Result<Path, Failure> {
    if !text.contains('/') {
        return Path::new("/projects").segment(text).map_err(refused);
    }
    let name = RepositoryName::parse(text).map_err(|error| Failure::text(Exit::Usage, error))?;
    Path::repository(&name).map_err(refused)
}

/// The id under a key of what the server sent.
pub(super) fn id_of(value: &Value, key: &str) -> Result<i64, Failure> {
    value[key].as_i64().ok_or_else(|| {
        let text = format!("the server sent no {key}");
        Failure::text(Exit::Failed, text)
    })
}

/// What nobody has found.
pub(super) fn not_found(kind: &str, name: &str) -> Failure {
    Failure::text(Exit::NotFound, format!("{kind} {} not found", client::printable(name)))
}

/// The first row of a list for which `is_it` holds.
pub(super) async fn find(
    client: &Client,
    path: &Path,
    is_it: impl Fn(&Value) -> bool,
) -> Result<Option<Value>, Failure> {
    let mut pages = client.pages(path, None);
    while let Some(page) = pages.next().await.map_err(refused)? {
        if let Some(row) = page.rows.into_iter().find(|row| is_it(row)) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_decides_the_exit_code() {
        for (status, exit) in [
            (400, Exit::Usage),
            (401, Exit::Denied),
            (403, Exit::Denied),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (410, Exit::NotFound),
            (412, Exit::Conflict),
            (422, Exit::Usage),
            (429, Exit::Failed),
            (500, Exit::Failed),
            (503, Exit::Unreachable),
            (507, Exit::Storage),
        ] {
            let failure = refused(client::Error::Refused {
                status,
                code: "X".to_owned(),
                message: "why".to_owned(),
                request_id: "7f".to_owned(),
                retry_after_seconds: None,
            });
            assert_eq!(failure.exit, exit, "{status}");
            let text = failure.to_string();
            assert!(
                text.starts_with(&format!("error: why\ncause: the server answered {status} X to request 7f"))
            );
        }
    }
}
