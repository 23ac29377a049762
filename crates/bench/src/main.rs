//! `hythe-bench`: Hythe and the registry that Debian ships, measured side by side on one machine.
//!
//! `run` starts both servers fresh on one disk, sends the same requests to both and prints what they did; `report`
//! renders the result file of an earlier run. It asserts nothing: figures depend on the machine. It fails when a
//! request fails. `docs/PERFORMANCE.md` says what the figures mean.

mod bench;
mod cases;
mod http;
mod load;
mod machine;
mod noise;
mod proc;
mod registry;
mod report;
mod server;
mod size;
mod tidy;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::bench::{Bench, Group};
use crate::report::Report;
use crate::server::Server;
use crate::size::{Scale, Size};

const MIB: u64 = 1024 * 1024;

/// Measures Hythe beside Debian's docker-registry.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start both servers, measure, and stop them
    Run(Box<RunArguments>),
    /// Print the table of an earlier run in Markdown
    Report {
        /// Result file of `run`
        file: PathBuf,
    },
}

#[derive(Args)]
struct RunArguments {
    /// The program hythe
    #[arg(long)]
    hythe: PathBuf,
    /// The program docker-registry
    #[arg(long, default_value = "/usr/bin/docker-registry")]
    peer: PathBuf,
    /// How much to do
    #[arg(long, value_enum, default_value_t = Scale::Default)]
    size: Scale,
    /// Only these groups of cases; all but the console by default
    #[arg(long, value_enum)]
    only: Vec<Group>,
    /// Directory on the disk to measure; everything in it is removed at the end
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// Where to put the results
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where to put the table
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// What was built, for the report
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// MiB that each client pushes in the memory case
    #[arg(long)]
    memory_push_mib: Option<u64>,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Report { file } => {
            let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
            let report: Report = serde_json::from_slice(&text).context("not a result file of `run`")?;
            print!("{}", report.markdown());
            Ok(())
        }
        Command::Run(arguments) => {
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&arguments))
        }
    }
}

async fn run(arguments: &RunArguments) -> Result<()> {
    let mut size = Size::of(arguments.size);
    if let Some(mib) = arguments.memory_push_mib {
        size.memory_push_bytes = mib * MIB;
    }
    machine::check_space(&arguments.dir, &size)?;
    let directory = tempfile::Builder::new().prefix("hythe-bench-").tempdir_in(&arguments.dir)?;
    // PostgreSQL runs as another account when Hythe runs as root.
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let scale = format!("{:?}", arguments.size).to_lowercase();
    let (hythe, peer) = (&arguments.hythe, &arguments.peer);
    let about = machine::about(hythe, peer, directory.path(), arguments.commit.clone(), scale).await?;
    println!("{} and {}, {} on {}", about.hythe, about.peer, about.file_system, about.processor);

    let begin = Instant::now();
    let mut report = with_servers(arguments, size, directory.path()).await?;
    report.about = about;
    report.about.seconds = begin.elapsed().as_secs_f64();
    report.complete();
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    let markdown = report.markdown();
    if let Some(file) = &arguments.markdown {
        std::fs::write(file, &markdown)?;
    }
    println!("\n{markdown}");
    tidy::empty(directory.path())?;
    directory.close()?;
    ensure!(report.failures.is_empty(), "failed:\n{}", report.failures.join("\n"));
    Ok(())
}

/// Starts both, measures, and stops both, whatever happened in between.
async fn with_servers(arguments: &RunArguments, size: Size, directory: &Path) -> Result<Report> {
    let ours = Server::hythe(&arguments.hythe, directory).await?;
    let peer = match Server::peer(&arguments.peer, directory).await {
        Ok(peer) => peer,
        Err(err) => {
            ours.stop().await;
            return Err(err);
        }
    };
    let mut groups = arguments.only.clone();
    if groups.is_empty() {
        groups = Group::usual(&size);
    }
    groups.sort_unstable();
    groups.dedup();
    let mut bench = Bench::new(size, arguments.hythe.clone(), directory.to_owned(), &ours, &peer);
    let outcome = tokio::select! {
        outcome = bench.run(&groups) => outcome,
        outcome = interrupted() => outcome,
    };
    if outcome.is_err() || !bench.failures.is_empty() {
        eprintln!("The servers' last words: {}\n{}", ours.last_lines(), peer.last_lines());
    }
    ours.stop().await;
    peer.stop().await;
    outcome?;
    Ok(Report {
        about: report::About::default(),
        cases: bench.cases,
        notes: bench.notes,
        failures: bench.failures,
    })
}

/// Never returns well: what was measured so far is not a result.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    bail!("interrupted")
}
