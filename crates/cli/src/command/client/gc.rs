//! `hythe gc`: runs of the garbage collection.

use std::io::Write;
use std::time::Duration;

use clap::Subcommand;
use client::{Column, Path, bytes, moment, text};
use serde_json::{Value, json};

use super::session::{Need, Session, refused, written};
use super::{Listing, Noun};
use crate::exit::{Exit, Failure};

/// How often a run that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Subcommand)]
pub(in crate::command) enum Gc {
    /// Remove now what nothing refers to, and wait for the end.
    Run {
        /// Say what would go, and change nothing. The list is in the log.
        #[arg(long)]
        dry_run: bool,
        /// Also artifacts without a tag, whatever the policies of their projects say.
        #[arg(long)]
        delete_untagged: bool,
        /// Return at once.
        #[arg(long)]
        no_wait: bool,
    },
    /// List runs, the newest first.
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Show a run.
    Show { id: i64 },
    /// Print what a run said.
    Log { id: i64 },
    /// Stop a run. What it has removed stays removed.
    Stop { id: i64 },
}

const COLUMNS: &[Column] = &[
    Column::new("ID", 0, id),
    Column::new("STATUS", 0, |row| text(&row["job_status"])),
    Column::new("DRY RUN", 1, dry_run),
    Column::new("MANIFESTS", 1, |row| text(&row["result"]["manifests"])),
    Column::new("BLOBS", 1, |row| text(&row["result"]["blobs"])),
    Column::new("SIZE", 0, |row| bytes(&row["result"]["bytes"])),
    Column::new("BY", 2, |row| text(&row["job_kind"])),
    Column::new("BEGUN (UTC)", 1, |row| moment(&row["creation_time"])),
    Column::new("CHANGED (UTC)", 2, |row| moment(&row["update_time"])),
    Column::new("MESSAGE", 3, |row| text(&row["message"])),
];

fn id(row: &Value) -> String {
    text(&row["id"])
}

fn dry_run(row: &Value) -> String {
    let told: Value =
        row["job_parameters"].as_str().and_then(|told| serde_json::from_str(told).ok()).unwrap_or_default();
    text(&told["dry_run"])
}

fn path(id: i64) -> Path {
    Path::new("/system/gc").id(id)
}

pub(in crate::command) async fn run(noun: Noun<Gc>) -> Result<Exit, Failure> {
    let (session, verb) = Session::open(noun, |_| Need::Anything)?;
    let client = &session.client;
    match verb {
        Gc::Run { dry_run, delete_untagged, no_wait } => {
            let asked = json!({
                "schedule": { "type": "Manual" },
                "parameters": { "dry_run": dry_run, "delete_untagged": delete_untagged },
            });
            let answer = client.post(&Path::new("/system/gc/schedule"), asked).await.map_err(refused)?;
            let id =
                answer.id.ok_or_else(|| Failure::text(Exit::Failed, "the answer does not name the run"))?;
            if no_wait {
                return session.done("run", &id.to_string(), "started", None);
            }
            wait(&session, id).await
        }
        Gc::List { listing } => session.list(Path::new("/system/gc"), &listing, COLUMNS, id).await,
        Gc::Show { id: run } => {
            let found = client.get(&path(run)).await.map_err(refused)?;
            session.show(&found, COLUMNS, id)
        }
        Gc::Log { id } => {
            let mut out = std::io::stdout().lock();
            let mut wrote = Ok(());
            let write = |line: &str| {
                if wrote.is_ok() {
                    wrote = writeln!(out, "{line}");
                }
            };
            client.lines(&path(id).then("log"), write).await.map_err(refused)?;
            written(wrote)?;
            Ok(Exit::Done)
        }
        Gc::Stop { id } => {
            client.put(&path(id), Value::Null).await.map_err(refused)?;
            session.done("run", &id.to_string(), "told to stop", None)
        }
    }
}

async fn wait(session: &Session, run: i64) -> Result<Exit, Failure> {
    loop {
        let found = session.client.get(&path(run)).await.map_err(refused)?;
        match found["job_status"].as_str() {
            Some("Success") => return session.show(&found, COLUMNS, id),
            Some("Pending" | "Running") => tokio::time::sleep(LOOK).await,
            _ => {
                session.show(&found, COLUMNS, id)?;
                return Err(Failure::text(Exit::Failed, format!("run {run} did not come to its end"))
                    .remedy(format!("see hythe gc log {run}")));
            }
        }
    }
}
