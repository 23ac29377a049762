//! The command line: what can be said, and which module answers.
//!
//! Data goes to standard output, messages to standard error. A secret is never an argument.

mod admin;
mod audit;
mod config;
mod keys;
mod migrate;
mod password;
mod serve;
mod version;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::Role;
use crate::exit::{Exit, Failure};
use crate::settings::{self, Flags, Loaded};

const EXIT_CODES: &str = "\
Exit codes:
    0 done                      6 conflict (already running, address in use)
    1 failed                    8 database not reachable
    2 usage                     9 storage full or not usable
    3 configuration invalid   130 interrupted
    4 not found                10 the audit trail was changed

Examples:
    hythe serve --data-dir ./data
    hythe config check --config /etc/hythe/hythe.yaml
    echo 'a new password' | hythe admin reset-password admin --password-stdin";

/// A container registry: OCI distribution, tokens, projects and background work in one program.
#[derive(Parser)]
#[command(name = "hythe", version, after_help = EXIT_CODES)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every service in one process; with its own PostgreSQL unless database.url is set.
    Serve(ServeLine),
    /// Run only /v2, the distribution endpoints. Needs database.url, as all single roles do.
    Registry(ServeLine),
    /// Run only /service, the token service.
    Auth(ServeLine),
    /// Run only /api/v2.0, the REST API of projects and people.
    Projects(ServeLine),
    /// Run only the background jobs. Has no public address, only the one for operations.
    Worker(WorkerLine),
    /// Run the entrance in front of other roles: paths to services, without a database.
    Gateway(ServeLine),
    /// Bring the database schema up to date, give the serving account its rights, and end.
    Migrate(migrate::Migrate),
    /// Look at the configuration without starting anything.
    #[command(subcommand)]
    Config(config::Config),
    /// Manage accounts on this machine, whether or not the server runs.
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Manage the keys that sign registry tokens.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Check the audit trail for changes made behind the server's back.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Print the version.
    Version(version::Version),
}

/// Where the configuration and the data are.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Common {
    /// Configuration file [env: HYTHE_CONFIG] [default: /etc/hythe/hythe.yaml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for everything that is kept [env: HYTHE_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
struct ServeLine {
    #[command(flatten)]
    worker: WorkerLine,
    /// Public address [env: HYTHE_HTTP__ADDR] [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

/// What a process without a public address can be told.
#[derive(Args)]
struct WorkerLine {
    #[command(flatten)]
    common: Common,
    /// Operations address [env: HYTHE_HTTP__OPS_ADDR] [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    ops_listen: Option<String>,
}

impl ServeLine {
    fn flags(&self) -> Flags {
        Flags { listen: self.listen.clone(), ..self.worker.flags() }
    }
}

impl WorkerLine {
    fn flags(&self) -> Flags {
        Flags { ops_listen: self.ops_listen.clone(), ..self.common.flags() }
    }
}

impl Common {
    fn flags(&self) -> Flags {
        Flags { config: self.config.clone(), data_dir: self.data_dir.clone(), ..Flags::default() }
    }

    /// The configuration these flags lead to; all problems at once.
    fn load(&self) -> Result<Loaded, Failure> {
        load(&self.flags())
    }
}

fn load(flags: &Flags) -> Result<Loaded, Failure> {
    settings::load(flags).map_err(|problems| Failure::new(Exit::Configuration, problems))
}

/// Reads the command line, does what it says, and reports how that ended.
pub fn main() -> ExitCode {
    let line = Line::parse();
    match run(line.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Serve(line) => run_roles(&line.flags(), &Role::ALL_IN_ONE),
        Command::Registry(line) => run_roles(&line.flags(), &[Role::Registry]),
        Command::Auth(line) => run_roles(&line.flags(), &[Role::Auth]),
        Command::Projects(line) => run_roles(&line.flags(), &[Role::Projects]),
        Command::Worker(line) => run_roles(&line.flags(), &[Role::Worker]),
        Command::Gateway(line) => in_runtime(serve::run_gateway(load(&line.flags())?)),
        Command::Migrate(line) => in_runtime(migrate::run(line)),
        Command::Config(command) => config::run(command),
        Command::Admin(command) => in_runtime(admin::run(command)),
        Command::Keys(command) => in_runtime(keys::run(command)),
        Command::Audit(command) => in_runtime(audit::run(command)),
        Command::Version(version) => version::run(&version),
    }
}

fn run_roles(flags: &Flags, roles: &[Role]) -> Result<Exit, Failure> {
    let loaded = load(flags)?;
    in_runtime(serve::run(loaded, roles))
}

/// The main runtime: owns the database connections, timers and background work of the process.
fn in_runtime(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    let outcome = runtime.block_on(work);
    // Work that was given up must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Prints a line of data; a reader that has gone away is no failure of ours.
pub(crate) fn print(text: &str) -> Result<Exit, Failure> {
    use std::io::Write;
    let mut output = std::io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, error))
        }
        _ => Ok(Exit::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_narrow() {
        let mut command = Line::command();
        command.clone().debug_assert();
        command.build();
        let mut pending = vec![command];
        while let Some(mut command) = pending.pop() {
            let help = command.render_long_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
            assert!(command.get_about().is_some(), "{}", command.get_name());
            pending.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
        }
    }
}
