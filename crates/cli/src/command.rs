//! The command line: what can be said, and which module answers.
//!
//! Data goes to standard output, messages to standard error. A secret is never an argument.

mod admin;
mod audit;
mod client;
mod config;
mod keys;
mod migrate;
mod password;
mod serve;
mod version;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::Role;
use crate::exit::{Exit, Failure};
use crate::settings::{self, Flags, Loaded};

const EXIT_CODES: &str = "\
Exit codes:
    0 done                      6 conflict or precondition (exists already, in use, not empty)
    1 failed                    8 database or server not reachable
    2 usage                     9 storage full or not usable
    3 configuration invalid    10 the audit trail was changed
    4 not found               130 interrupted
    5 denied, or not logged in

Examples:
    hythe serve --data-dir ./data
    hythe config check --config /etc/hythe/hythe.yaml
    echo 'a new password' | hythe admin reset-password admin --password-stdin
    hythe login https://hub.example.org --username kim
    hythe tag list demo --sort -push_time --output json";

/// Commands by what they are for, so that services and client verbs, some of which differ by one letter, stand apart.
const GROUPS: &[(&str, &[&str])] = &[
    ("Services", &["serve", "registry", "auth", "projects", "console", "worker", "gateway"]),
    ("On the server's machine", &["migrate", "config", "admin", "keys", "audit"]),
    (
        "From anywhere, over the API",
        &["login", "logout", "project", "repo", "tag", "artifact", "label", "gc", "robot", "user", "token"],
    ),
    ("Others", &["completions", "version"]),
];

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
    /// Run only the web console.
    Console(ServeLine),
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
    /// Log in at a server: trade the password for an access token and keep that.
    Login(client::Login),
    /// Forget a login.
    Logout(client::Logout),
    /// Projects and their members.
    Project(client::Noun<client::Project>),
    /// Repositories of projects.
    Repo(client::Noun<client::Repository>),
    /// Tags, their history, and bringing back what they named.
    Tag(client::Noun<client::Tag>),
    /// Artifacts: show, copy, label, delete.
    Artifact(client::Noun<client::Artifact>),
    /// Runs of the garbage collection.
    Gc(client::Noun<client::Gc>),
    /// Labels of projects and of the installation.
    Label(client::Noun<client::Label>),
    /// Accounts of programs and their secrets.
    Robot(client::Noun<client::Robot>),
    /// Accounts of people.
    User(client::Noun<client::User>),
    /// Personal access tokens.
    Token(client::Noun<client::Token>),
    /// Print a script that completes commands in a shell.
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
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
    let line = command().try_get_matches().and_then(|matches| Line::from_arg_matches(&matches));
    let line = line.unwrap_or_else(|error| {
        let pointer = pointer(&error, std::env::args().nth(1).as_deref());
        let _ = error.print();
        if let Some(pointer) = pointer {
            eprintln!("\n{pointer}");
        }
        std::process::exit(error.exit_code());
    });
    match run(line.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}

/// The command line, its commands listed in groups.
fn command() -> clap::Command {
    let mut command = Line::command();
    for (name, examples) in client::EXAMPLES {
        let text = format!("Examples:\n    {}", examples.join("\n    "));
        command = command.mut_subcommand(name, |verb| verb.after_help(text));
    }
    let mut list = String::new();
    for (title, names) in GROUPS {
        list.push_str(&format!("{title}:\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            list.push_str(&format!("    {name:<12}{about}\n"));
        }
        list.push('\n');
    }
    command.help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{list}Options:\n{{options}}{{after-help}}"
    ))
}

/// Where somebody wanted to go who wrote `hythe projects list`.
fn pointer(error: &clap::Error, first: Option<&str>) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let is_service =
        error.kind() == ErrorKind::UnknownArgument && first == Some("projects") && !word.starts_with('-');
    is_service.then(|| {
        "hythe projects runs a service and takes no words; the client's command is hythe project".to_owned()
    })
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Serve(line) => run_roles(&line.flags(), &Role::ALL_IN_ONE),
        Command::Registry(line) => run_roles(&line.flags(), &[Role::Registry]),
        Command::Auth(line) => run_roles(&line.flags(), &[Role::Auth]),
        Command::Projects(line) => run_roles(&line.flags(), &[Role::Projects]),
        Command::Console(line) => run_roles(&line.flags(), &[Role::Console]),
        Command::Worker(line) => run_roles(&line.flags(), &[Role::Worker]),
        Command::Gateway(line) => in_runtime(serve::run_gateway(load(&line.flags())?)),
        Command::Migrate(line) => in_runtime(migrate::run(line)),
        Command::Config(command) => config::run(command),
        Command::Admin(command) => in_runtime(admin::run(command)),
        Command::Keys(command) => in_runtime(keys::run(command)),
        Command::Audit(command) => in_runtime(audit::run(command)),
        Command::Login(line) => in_runtime(line.run()),
        Command::Logout(line) => line.run(),
        Command::Project(noun) => in_runtime(client::project::run(noun)),
        Command::Repo(noun) => in_runtime(client::repository::run(noun)),
        Command::Tag(noun) => in_runtime(client::tag::run(noun)),
        Command::Artifact(noun) => in_runtime(client::artifact::run(noun)),
        Command::Gc(noun) => in_runtime(client::gc::run(noun)),
        Command::Label(noun) => in_runtime(client::label::run(noun)),
        Command::Robot(noun) => in_runtime(client::robot::run(noun)),
        Command::User(noun) => in_runtime(client::user::run(noun)),
        Command::Token(noun) => in_runtime(client::token::run(noun)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut self::command(), "hythe", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
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

    #[test]
    fn the_command_line_is_well_formed_and_narrow() {
        let mut command = command();
        command.clone().debug_assert();
        command.build();
        let mut pending = vec![command];
        while let Some(mut command) = pending.pop() {
            let help = command.render_long_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            for option in command.get_arguments().filter(|argument| !argument.is_positional()) {
                assert!(option.get_help().is_some(), "{name} --{} says nothing", option.get_id());
            }
            pending.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
        }
    }

    /// The words of the first `hythe …` in a line of a shell, up to what belongs to the shell; none without one.
    fn words(line: &str) -> Option<Vec<String>> {
        let mut at = line.match_indices("hythe ").map(|(at, _)| at);
        let begins =
            |at: &usize| *at == 0 || line[..*at].ends_with(' ') || line[..*at].ends_with("target/release/");
        let mut words = vec![String::new()];
        let mut quote = None;
        for character in line[at.find(begins)?..].chars() {
            match (quote, character) {
                (None, '|' | '<' | '>' | '#') if words.last().is_some_and(String::is_empty) => break,
                (None, ' ') => words.push(String::new()),
                (None, '\'' | '"') => quote = Some(character),
                (Some(open), _) if open == character => quote = None,
                _ => words.last_mut()?.push(character),
            }
        }
        words.retain(|word| !word.is_empty());
        Some(words)
    }

    #[test]
    fn the_documents_name_commands_that_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut tried = 0;
        for document in ["README.md", "docs/CLI.md", "docs/OPERATIONS.md"] {
            let text = std::fs::read_to_string(root.join(document)).expect("the document");
            let mut in_shell = false;
            for line in text.lines() {
                if line.starts_with("```") {
                    in_shell = line == "```sh";
                } else if let Some(words) = words(line).filter(|_| in_shell) {
                    let parsed = command().try_get_matches_from(&words);
                    assert!(
                        parsed.is_ok(),
                        "{document}: {line}\n{}",
                        parsed.err().map(|e| e.to_string()).unwrap_or_default()
                    );
                    tried += 1;
                }
            }
        }
        let examples = client::EXAMPLES.iter().flat_map(|(_, examples)| examples.iter());
        for line in examples.copied().chain(EXIT_CODES.lines()) {
            if let Some(words) = words(line) {
                assert!(command().try_get_matches_from(&words).is_ok(), "{line}");
                tried += 1;
            }
        }
        assert!(tried > 40, "only {tried} lines were found");
    }

    #[test]
    fn every_command_stands_in_one_group_of_the_help() {
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut sorted = listed.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), listed.len());
        let line = Line::command();
        let mut there: Vec<&str> = line.get_subcommands().map(clap::Command::get_name).collect();
        there.sort_unstable();
        assert_eq!(sorted, there);
    }

    #[test]
    fn a_service_with_words_points_to_the_client() {
        let pointed = |line: &[&str]| {
            let error = command().try_get_matches_from(line).expect_err("no such line");
            pointer(&error, line.get(1).copied())
        };
        assert!(pointed(&["hythe", "projects", "list"]).is_some_and(|text| text.ends_with("hythe project")));
        assert_eq!(pointed(&["hythe", "projects", "--lisen", "x"]), None);
        assert_eq!(pointed(&["hythe", "project", "lits"]), None);
    }
}
