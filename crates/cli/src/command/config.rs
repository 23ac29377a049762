//! `hythe config`: what is configured, why, whether it is valid, and what a key means.

use clap::{Args, Subcommand};

use super::{Common, print};
use crate::exit::{Exit, Failure};
use crate::settings::{Description, describe, markdown, nearest};

#[derive(Subcommand)]
pub(super) enum Config {
    /// Print the effective configuration as YAML, secrets masked.
    Show(Show),
    /// Report every problem of file and environment at once; exit code 3 if there is one.
    Check(Common),
    /// Explain one key or section: default, variable, meaning.
    Explain(Explain),
    /// Print the reference of all keys as Markdown.
    Docs,
    /// Print who may do what, from the table that decides, as Markdown.
    Permissions,
    /// Print the description of the REST API, as OpenAPI.
    Openapi,
    /// Print every page and every form of the web console: method, path, name.
    Pages,
}

#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    common: Common,
    /// Add where each value comes from.
    #[arg(long)]
    sources: bool,
}

#[derive(Args)]
pub(super) struct Explain {
    /// A key such as http.addr, or a section such as http.
    key: String,
}

pub(super) fn run(command: Config) -> Result<Exit, Failure> {
    match command {
        Config::Show(show) => print(&show.common.load()?.merged.render(show.sources)),
        Config::Check(common) => {
            let loaded = common.load()?;
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            print("the configuration is valid\n")
        }
        Config::Explain(explain) => self::explain(&explain.key),
        Config::Docs => print(&markdown()),
        Config::Permissions => print(&tenancy::permissions_document()),
        Config::Openapi => print(&projects::openapi_document()),
        Config::Pages => print(&pages()),
    }
}

fn pages() -> String {
    console::ROUTES.iter().map(|route| format!("{} {} {}\n", route.method, route.path, route.id)).collect()
}

fn explain(key: &str) -> Result<Exit, Failure> {
    let described = describe();
    let prefix = format!("{key}.");
    let found: Vec<_> = described
        .iter()
        .filter(|description| description.key == key || description.key.starts_with(&prefix))
        .collect();
    if found.is_empty() {
        let failure = Failure::text(Exit::NotFound, format!("there is no key {key}"));
        return Err(match nearest(key) {
            Some(near) => failure.remedy(format!("hythe config explain {near}")),
            None => failure,
        });
    }
    let texts: Vec<String> = found.into_iter().map(text).collect();
    print(&texts.join("\n"))
}

fn text(description: &Description) -> String {
    let Description { key, comment, .. } = description;
    match &description.default {
        None => format!("{key}\n    {comment}\n"),
        Some(default) => {
            let file = if description.is_secret() {
                format!(" or {}_FILE", description.variable())
            } else {
                String::new()
            };
            format!(
                "{key}\n    {comment}\n    default: {default}\n    variable: {}{file}\n",
                description.variable()
            )
        }
    }
}
