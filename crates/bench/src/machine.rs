//! What a figure is worth nothing without: the machine, the programs, the commit.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::report::About;
use crate::size::Size;

/// The first line that a program prints about itself.
async fn first_line(program: &Path, argument: &str) -> Result<String> {
    let output =
        Command::new(program).arg(argument).output().await.with_context(|| program.display().to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// Type and device of the mount that holds the directory.
fn file_system(directory: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mount = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|fields| fields.len() > 2 && directory.starts_with(fields[1]))
        .max_by_key(|fields| fields[1].len());
    mount.map_or_else(|| "unknown".to_owned(), |fields| format!("{} on {}", fields[2], fields[0]))
}

pub async fn about(
    hythe: &Path,
    peer: &Path,
    directory: &Path,
    commit: String,
    size: String,
) -> Result<About> {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal");
    let memory = memory.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    Ok(About {
        date: now.format("%Y-%m-%d %H:%M UTC").to_string(),
        commit,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        size,
        processor: field("/proc/cpuinfo", "model name"),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory_gib: memory / (1024.0 * 1024.0),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        file_system: file_system(directory),
        load_before: load.split(' ').next().unwrap_or_default().to_owned(),
        hythe: first_line(hythe, "version").await?,
        peer: first_line(peer, "--version").await?,
        seconds: 0.0,
    })
}

/// Fails when the disk has no room for what both servers will write.
pub fn check_space(directory: &Path, size: &Size) -> Result<()> {
    let disk = nix::sys::statvfs::statvfs(directory)?;
    let free = disk.blocks_available() * disk.fragment_size();
    let needed = 2 * size.disk_bytes();
    ensure!(
        free > needed,
        "{} has {} GB left and this run writes up to {} GB: give another directory with --dir, \
         or less to push with --memory-push-mib",
        directory.display(),
        free / 1_000_000_000,
        needed / 1_000_000_000
    );
    Ok(())
}
