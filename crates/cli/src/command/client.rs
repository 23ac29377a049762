//! The client verbs: what people and scripts do with a server over its REST API, from anywhere.
//!
//! A thin layer over `crates/client`: arguments in, requests, results out. Every verb ends with a code that a script can
//! tell failures apart by. What deletes shows its plan and asks; without a terminal it needs `--yes`.

pub(super) mod artifact;
mod credentials;
pub(super) mod gc;
pub(super) mod label;
mod login;
pub(super) mod project;
pub(super) mod repository;
pub(super) mod robot;
mod session;
pub(super) mod tag;
pub(super) mod token;
pub(super) mod user;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

pub(super) use artifact::Artifact;
pub(super) use gc::Gc;
pub(super) use label::Label;
pub(super) use login::{Login, Logout};
pub(super) use project::Project;
pub(super) use repository::Repository;
pub(super) use robot::Robot;
pub(super) use tag::Tag;
pub(super) use token::Token;
pub(super) use user::User;

/// Lines that stand in the help of each noun.
pub(super) const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "login",
        &[
            "hythe login https://hub.example.org --username kim",
            "hythe login hub.example.org -u kim --password-stdin < password",
        ],
    ),
    ("logout", &["hythe logout https://hub.example.org"]),
    (
        "project",
        &[
            "hythe project create team-a --quota 20GiB",
            "hythe project member add team-a kim --role developer",
            "hythe project delete team-a --force --dry-run",
        ],
    ),
    ("repo", &["hythe repo list team-a --sort -update_time", "hythe repo delete team-a/app --yes"]),
    (
        "tag",
        &[
            "hythe tag list team-a/app --sort -semver",
            "hythe tag history team-a/app:1.0",
            "hythe tag restore team-a/app:1.0 --digest sha256:... --overwrite",
        ],
    ),
    (
        "artifact",
        &[
            "hythe artifact list team-a/app --output json",
            "hythe artifact copy team-a/app:1.0 released/app",
            "hythe artifact label team-a/app:1.0 stable",
        ],
    ),
    ("gc", &["hythe gc run --dry-run", "hythe gc log 7", "hythe gc list --limit 5"]),
    ("label", &["hythe label create stable --project team-a --color '#00ff00'"]),
    (
        "robot",
        &[
            "hythe robot create ci --project team-a --allow repository:push",
            "hythe robot refresh robot+team-a+ci -o name > secret",
        ],
    ),
    (
        "user",
        &[
            "hythe user create kim --email kim@example.org",
            "hythe user password",
            "hythe user sysadmin kim on",
        ],
    ),
    ("token", &["hythe token create laptop --scope pull --project team-a", "hythe token delete 7"]),
];

/// A noun: how to reach the server and how to write results, then the verb.
#[derive(Args)]
pub(super) struct Noun<V: Subcommand> {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: V,
}

/// What every client verb can be told.
#[derive(Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub account: Account,
    /// How results are written.
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table", global = true)]
    #[arg(help_heading = "Output")]
    pub output: Form,
    /// Leave out the first line of a table.
    #[arg(long, global = true, help_heading = "Output")]
    pub no_header: bool,
}

/// Which server, and who asks.
#[derive(Args)]
pub(super) struct Account {
    /// Address of the server [env: HYTHE_SERVER] [default: that of the last login]
    #[arg(long, value_name = "URL", global = true, help_heading = "Server")]
    pub server: Option<String>,
    /// Who asks, instead of who is logged in [env: HYTHE_USERNAME]
    #[arg(long, value_name = "NAME", global = true, help_heading = "Server")]
    pub username: Option<String>,
    /// Read the password (or token, or robot's secret) from the first line of standard input.
    #[arg(long, global = true, conflicts_with = "password_file", help_heading = "Server")]
    pub password_stdin: bool,
    /// File with the password [env: HYTHE_PASSWORD_FILE, or HYTHE_PASSWORD itself]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Server")]
    pub password_file: Option<PathBuf>,
    /// PEM file of a certificate authority to trust [env: HYTHE_CA_FILE]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Server")]
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    Table,
    Json,
    Yaml,
    /// One name a line.
    Name,
}

impl From<Form> for client::Form {
    fn from(form: Form) -> Self {
        match form {
            Form::Table => Self::Table,
            Form::Json => Self::Json,
            Form::Yaml => Self::Yaml,
            Form::Name => Self::Name,
        }
    }
}

/// How much of a list.
#[derive(Args)]
pub(super) struct Listing {
    /// Rows at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// All rows, however many there are.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Order, such as name or -creation_time.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// Only rows that match, such as 'name=~web' (the q of the API).
    #[arg(long, value_name = "TERMS")]
    pub filter: Option<String>,
}

/// Whether something is to be taken away for good.
#[derive(Args)]
pub(super) struct Removal {
    /// Do it without asking.
    #[arg(short, long)]
    pub yes: bool,
    /// Only show what would be removed.
    #[arg(long)]
    pub dry_run: bool,
}
