//! `hythe admin`: accounts, on the machine itself. Works beside a running server and without one.

use clap::{Args, Subcommand};
use database::{Clock, Database};
use identity::{Caller, Error, Identity, NewUser, Origin, Principal, Secret, UserId};

use super::{Common, password, print};
use crate::assemble;
use crate::data_dir::admin_password_file;
use crate::exit::{Exit, Failure};
use crate::ground;
use crate::settings::Settings;

/// The account that every installation has.
const FIRST_ADMIN: UserId = UserId(1);

#[derive(Subcommand)]
pub(super) enum Admin {
    /// Set a new password, read from standard input, and lift login blocks.
    ResetPassword(ResetPassword),
    /// Make an account with a password read from standard input.
    CreateUser(CreateUser),
}

#[derive(Args)]
pub(super) struct ResetPassword {
    /// User name of the account.
    name: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
pub(super) struct CreateUser {
    /// User name of the account.
    name: String,
    /// Make it a system administrator.
    #[arg(long)]
    admin: bool,
    /// E-mail address [default: NAME@localhost]
    #[arg(long)]
    email: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct How {
    #[command(flatten)]
    common: Common,
    /// Read the password from standard input without asking.
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn run(command: Admin) -> Result<Exit, Failure> {
    match command {
        Admin::ResetPassword(line) => {
            let settings = line.how.common.load()?.settings;
            let password = password::read(line.how.password_stdin)?;
            with_identity(&settings, async |identity| reset(&identity, &settings, &line.name, password).await)
                .await
        }
        Admin::CreateUser(line) => {
            let settings = line.how.common.load()?.settings;
            let password = password::read(line.how.password_stdin)?;
            with_identity(&settings, async |identity| create(&identity, line, password).await).await
        }
    }
}

/// Opens accounts and keys, does the work, and closes everything again.
pub(super) async fn with_identity(
    settings: &Settings,
    work: impl AsyncFnOnce(Identity) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let found = ground::visit(settings).await?;
    let opened = async {
        let clock = Clock::system();
        let database = Database::connect(&found.url, &settings.database, clock.clone())
            .await
            .map_err(|error| Failure::new(Exit::Unreachable, error))?;
        let key = Secret::new(found.master_key.expose().to_vec());
        let identity = assemble::identity(settings, &database, key, clock).await?;
        Ok::<_, Failure>((database, identity))
    };
    let outcome = match opened.await {
        Ok((database, identity)) => {
            let outcome = work(identity).await;
            database.close().await;
            outcome
        }
        Err(failure) => Err(failure),
    };
    found.release().await;
    outcome
}

async fn reset(
    identity: &Identity,
    settings: &Settings,
    name: &str,
    password: Secret,
) -> Result<Exit, Failure> {
    identity.admin_reset_password(name, password).await.map_err(failure)?;
    let account = identity.user_by_name(name).await.map_err(failure)?;
    if account.is_some_and(|account| account.id == FIRST_ADMIN) {
        // A generated password that nobody can log in with any more.
        match std::fs::remove_file(admin_password_file(&settings.data_dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                eprintln!("warning: the file with the old password cannot be removed: {error}");
            }
            _ => {}
        }
    }
    print(&format!("the password of {name} was changed; its sessions and tokens have ended\n"))
}

async fn create(identity: &Identity, line: CreateUser, password: Secret) -> Result<Exit, Failure> {
    let Some(admin) = identity.active_user(FIRST_ADMIN.0).await.map_err(failure)? else {
        return Err(Failure::text(Exit::Conflict, "there is no active first administrator to act as")
            .remedy("start hythe serve once, or enable the account admin"));
    };
    // Whoever can run this has the data directory: the act is the administrator's, done from here.
    let caller = Caller {
        principal: Principal::User(admin),
        origin: Origin {
            address: "local".to_owned(),
            client: "hythe admin".to_owned(),
            method: "local",
            ..Origin::default()
        },
    };
    let new = NewUser {
        name: line.name.clone(),
        email: line.email.unwrap_or_else(|| format!("{}@localhost", line.name)),
        realname: line.name.clone(),
        comment: String::new(),
        password,
    };
    let id = identity.user_create(&caller, new).await.map_err(failure)?;
    if line.admin {
        identity.sysadmin_set(&caller, id, true).await.map_err(failure)?;
    }
    let what = if line.admin { "system administrator" } else { "account" };
    print(&format!("{what} {} was made with id {id}\n", line.name))
}

/// What a domain's refusal means on the command line.
pub(super) fn failure(error: Error) -> Failure {
    let exit = match &error {
        Error::UserUnknown(_) | Error::KeyUnknown(_) => Exit::NotFound,
        Error::Taken(_) | Error::LastAdministrator => Exit::Conflict,
        Error::Invalid(_) => Exit::Usage,
        Error::Unavailable(_) => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Failure::new(exit, error)
}
