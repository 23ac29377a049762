//! What processes cost, read from `/proc`.
//!
//! A server is the process that was started and everything below it; for Hythe, what is below is PostgreSQL. The two
//! are counted apart. Shared memory of PostgreSQL is counted once (proportional set size).

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Linux counts processor time in hundredths of a second towards programs, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;
/// Often enough for a peak of a second to be seen, seldom enough to cost nothing.
const SAMPLE_EVERY: Duration = Duration::from_millis(25);
/// Reading the mappings of a dozen PostgreSQL processes takes a millisecond or two.
const DATABASE_SAMPLE_EVERY: u64 = 20;

/// Processor seconds since the start of each.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cpu {
    pub server: f64,
    /// PostgreSQL; 0 for the peer, which has none.
    pub database: f64,
    /// This program.
    pub generator: f64,
}

impl Cpu {
    /// As of now, for the server with this id.
    pub fn now(server: u32) -> Cpu {
        let processes = processes();
        let database = below(&processes, server).iter().map(|process| process.own + process.reaped).sum();
        let own = |id: u32| processes.get(&id).map_or(0.0, |process| process.own);
        Cpu { server: own(server), database, generator: own(std::process::id()) }
    }

    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            server: self.server - earlier.server,
            database: self.database - earlier.database,
            generator: self.generator - earlier.generator,
        }
    }

    /// Server and database.
    pub fn served(self) -> f64 {
        self.server + self.database
    }
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Resident set of the server's own process.
    pub server: u64,
    /// Proportional set of PostgreSQL's processes together; 0 for the peer.
    pub database: u64,
}

impl Memory {
    pub fn now(server: u32) -> Memory {
        Memory { server: resident(server), database: database_memory(server) }
    }
}

/// Watches the memory of a server until it is asked for the peak.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    server: Arc<AtomicU64>,
    database: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Sampler {
    pub fn start(id: u32) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let server = Arc::new(AtomicU64::new(0));
        let database = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, server, database) = (stop.clone(), server.clone(), database.clone());
            move || {
                for round in 0.. {
                    server.fetch_max(resident(id), Ordering::Relaxed);
                    if round % DATABASE_SAMPLE_EVERY == 0 {
                        database.fetch_max(database_memory(id), Ordering::Relaxed);
                    }
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(SAMPLE_EVERY);
                }
            }
        });
        Sampler { stop, server, database, thread }
    }

    pub fn peak(self) -> Memory {
        self.stop.store(true, Ordering::Relaxed);
        // It does nothing that could fail.
        let _ = self.thread.join();
        Memory {
            server: self.server.load(Ordering::Relaxed),
            database: self.database.load(Ordering::Relaxed),
        }
    }
}

#[derive(Clone, Copy)]
struct Process {
    id: u32,
    parent: u32,
    own: f64,
    /// Of children that have ended and were waited for.
    reaped: f64,
}

fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|id| Some((id, read_process(id, &fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?)))
        .collect()
}

/// The fields behind the name, which may itself hold spaces and brackets: state, parent, ...
fn read_process(id: u32, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok().map(f64::from);
    Some(Process {
        id,
        parent: fields.get(1)?.parse().ok()?,
        own: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
        reaped: (ticks(13)? + ticks(14)?) / TICKS_PER_SECOND,
    })
}

/// Children, grandchildren and so on.
fn below(processes: &BTreeMap<u32, Process>, id: u32) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![id];
    while let Some(parent) = parents.pop() {
        for process in processes.values().filter(|process| process.parent == parent) {
            found.push(*process);
            parents.push(process.id);
        }
    }
    found
}

fn resident(id: u32) -> u64 {
    kilobytes(&format!("/proc/{id}/status"), "VmRSS:")
}

fn database_memory(server: u32) -> u64 {
    let processes = processes();
    below(&processes, server)
        .iter()
        .map(|process| kilobytes(&format!("/proc/{}/smaps_rollup", process.id), "Pss:"))
        .sum()
}

/// A line such as `VmRSS:   1234 kB`, in bytes. 0 when the process is gone or not ours to look at.
fn kilobytes(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0";
        let process = read_process(7, stat).expect("whole");
        assert_eq!((process.parent, process.own, process.reaped), (3, 2.0, 0.5));
    }

    #[test]
    fn our_own_process_has_memory_and_a_parent() {
        assert!(resident(std::process::id()) > 100_000);
        let processes = processes();
        let ours = processes[&std::process::id()];
        assert!(below(&processes, ours.parent).iter().any(|process| process.id == ours.id));
    }
}
