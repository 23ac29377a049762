//! What was measured, what follows from it, and how it is printed.
//!
//! All figures are kept run by run; medians, ratios and verdicts are computed from them, so a result file can be
//! rendered again. MB and GB are 10^6 and 10^9 bytes, MiB is 2^20.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::load::Sample;
use crate::proc::{Cpu, Memory};

const MIB: f64 = 1024.0 * 1024.0;

/// One run of one case against one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub operations: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub p50_ms: f64,
    #[serde(default)]
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub cpu: Cpu,
    /// The most memory seen while it ran.
    pub peak: Memory,
}

impl Run {
    pub fn new(sample: Sample, cpu: Cpu, peak: Memory) -> Run {
        let mut latencies = sample.latencies;
        latencies.sort_unstable();
        Run {
            operations: sample.operations,
            bytes: sample.bytes,
            seconds: sample.elapsed.as_secs_f64(),
            p50_ms: percentile(&latencies, 50),
            p95_ms: percentile(&latencies, 95),
            p99_ms: percentile(&latencies, 99),
            cpu,
            peak,
        }
    }

    /// A look at the memory, without load.
    pub fn idle(peak: Memory) -> Run {
        Run::new(Sample::default(), Cpu::default(), peak)
    }
}

/// Nearest rank, in milliseconds. 0 without latencies.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}

/// What a case is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bytes per second, and processor time per byte.
    Transfer,
    /// Requests (or other operations) per second.
    Requests,
    /// Memory.
    Memory,
}

/// A figure that Hythe wants to reach.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// Throughput as a multiple of the peer's, at least.
    TimesPeer(f64),
    /// Processor time per byte as a multiple of the peer's, at most.
    CpuTimesPeer(f64),
    /// Operations per second, at least.
    PerSecond(f64),
    /// Median latency in milliseconds, at most.
    P50Ms(f64),
    /// 95th percentile of latency in milliseconds, at most.
    P95Ms(f64),
    /// 99th percentile of latency in milliseconds, at most.
    P99Ms(f64),
    /// MiB of the server's process, at most.
    MemoryMib(f64),
}

/// A case with all its runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    pub name: String,
    pub kind: Kind,
    pub aims: Vec<Aim>,
    pub ours: Vec<Run>,
    /// Empty where the peer has nothing like it.
    pub peer: Vec<Run>,
    /// Filled when the report is complete; never read back.
    #[serde(default, skip_deserializing)]
    pub result: Option<Figures>,
}

/// What follows from the runs of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// MB/s, operations per second, or MiB.
    pub ours: f64,
    pub peer: Option<f64>,
    /// Ours divided by the peer's.
    pub ratio: Option<f64>,
    pub verdicts: Vec<Verdict>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub aim: String,
    pub measured: f64,
    pub met: bool,
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The median of the rates of the runs: MB/s, operations per second, or MiB.
fn rate(kind: Kind, runs: &[Run]) -> Option<f64> {
    median(runs.iter().map(|run| match kind {
        Kind::Transfer => run.bytes as f64 / 1e6 / run.seconds,
        Kind::Requests => run.operations as f64 / run.seconds,
        Kind::Memory => run.peak.server as f64 / MIB,
    }))
}

/// Processor seconds per GB, or microseconds per operation, over all runs together.
fn cost(kind: Kind, runs: &[Run], part: impl Fn(Cpu) -> f64) -> Option<f64> {
    let seconds: f64 = runs.iter().map(|run| part(run.cpu)).sum();
    let (divisor, unit) = match kind {
        Kind::Transfer => (runs.iter().map(|run| run.bytes).sum::<u64>() as f64, 1e9),
        Kind::Requests => (runs.iter().map(|run| run.operations).sum::<u64>() as f64, 1e6),
        Kind::Memory => return None,
    };
    (divisor > 0.0).then(|| seconds * unit / divisor)
}

impl Case {
    pub fn figures(&self) -> Option<Figures> {
        let ours = rate(self.kind, &self.ours)?;
        let peer = rate(self.kind, &self.peer);
        let ratio = peer.filter(|peer| *peer > 0.0).map(|peer| ours / peer);
        let verdicts = self.aims.iter().filter_map(|aim| self.judge(*aim, ours, ratio)).collect();
        Some(Figures { ours, peer, ratio, verdicts })
    }

    fn judge(&self, aim: Aim, ours: f64, ratio: Option<f64>) -> Option<Verdict> {
        let at_least = |aim, measured, bound| Verdict { aim, measured, met: measured >= bound };
        let at_most = |aim, measured, bound| Verdict { aim, measured, met: measured <= bound };
        Some(match aim {
            Aim::TimesPeer(bound) => at_least(format!("≥ {bound} × peer"), ratio?, bound),
            Aim::CpuTimesPeer(bound) => {
                let peer = cost(self.kind, &self.peer, Cpu::served).filter(|peer| *peer > 0.0)?;
                let measured = cost(self.kind, &self.ours, Cpu::served)? / peer;
                at_most(format!("CPU ≤ {bound} × peer"), measured, bound)
            }
            Aim::PerSecond(bound) => at_least(format!("≥ {bound}/s"), ours, bound),
            Aim::P50Ms(bound) => {
                at_most(format!("p50 < {bound} ms"), median(self.ours.iter().map(|run| run.p50_ms))?, bound)
            }
            Aim::P95Ms(bound) => {
                at_most(format!("p95 ≤ {bound} ms"), median(self.ours.iter().map(|run| run.p95_ms))?, bound)
            }
            Aim::P99Ms(bound) => {
                at_most(format!("p99 < {bound} ms"), median(self.ours.iter().map(|run| run.p99_ms))?, bound)
            }
            Aim::MemoryMib(bound) => at_most(format!("≤ {bound} MiB"), ours, bound),
        })
    }
}

/// Where and how it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct About {
    pub date: String,
    pub commit: String,
    pub command: String,
    pub size: String,
    pub processor: String,
    pub processors: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// Of the directory that both servers write to.
    pub file_system: String,
    /// Load average over a minute before the start: others who used the machine.
    pub load_before: String,
    pub hythe: String,
    pub peer: String,
    pub seconds: f64,
}

/// A whole run of the benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub about: About,
    pub cases: Vec<Case>,
    pub notes: Vec<String>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

impl Report {
    /// Computes the results for the file.
    pub fn complete(&mut self) {
        for case in &mut self.cases {
            case.result = case.figures();
        }
    }

    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.write_markdown(&mut text);
        text
    }

    fn write_markdown(&self, text: &mut String) {
        let about = &self.about;
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "| what | |\n|---|---|");
        let memory = format!("{:.1} GiB", about.memory_gib);
        let processors = format!("{} × {}", about.processors, about.processor);
        let seconds = format!("{:.0} s", about.seconds);
        for (name, value) in [
            ("date", &about.date),
            ("commit", &about.commit),
            ("command", &about.command),
            ("processors", &processors),
            ("memory", &memory),
            ("kernel", &about.kernel),
            ("file system", &about.file_system),
            ("load average before", &about.load_before),
            ("Hythe", &about.hythe),
            ("peer", &about.peer),
            ("duration", &seconds),
        ] {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        self.table(text, "Blobs", "MB/s", "CPU s/GB", Kind::Transfer);
        self.table(text, "Requests", "per second", "CPU µs each", Kind::Requests);
        self.memory_table(text);
        if !self.notes.is_empty() || !self.failures.is_empty() {
            text.push('\n');
        }
        for note in self.notes.iter().chain(&self.failures) {
            let _ = writeln!(text, "* {note}");
        }
    }

    fn table(&self, text: &mut String, title: &str, rate_unit: &str, cost_unit: &str, kind: Kind) {
        let _ = writeln!(
            text,
            "\n### {title}\n\n| case | Hythe {rate_unit} | peer | ratio | Hythe p50 / p99 ms | peer p50 / p99 ms | \
             Hythe {cost_unit} (+ PostgreSQL) | peer {cost_unit} | generator {cost_unit} | aim | |\n\
             |---|---|---|---|---|---|---|---|---|---|---|"
        );
        for case in self.cases.iter().filter(|case| case.kind == kind) {
            let Some(figures) = case.figures() else { continue };
            let show = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figure);
            let latency = |runs: &[Run]| match (
                median(runs.iter().map(|run| run.p50_ms)),
                median(runs.iter().map(|run| run.p99_ms)),
            ) {
                (Some(middle), Some(late)) => format!("{} / {}", figure(middle), figure(late)),
                _ => "–".to_owned(),
            };
            let part = |runs: &[Run], part: fn(Cpu) -> f64| show(cost(kind, runs, part));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} (+ {}) | {} | {} | {} |",
                case.name,
                figure(figures.ours),
                show(figures.peer),
                show(figures.ratio),
                latency(&case.ours),
                latency(&case.peer),
                part(&case.ours, |cpu| cpu.server),
                part(&case.ours, |cpu| cpu.database),
                part(&case.peer, Cpu::served),
                part(&case.ours, |cpu| cpu.generator),
                verdicts(&figures.verdicts),
            );
        }
    }

    fn memory_table(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n### Memory\n\n| case | Hythe MiB | PostgreSQL MiB | peer MiB | ratio | aim | |\n|---|---|---|---|---|---|---|"
        );
        for case in self.cases.iter().filter(|case| case.kind == Kind::Memory) {
            let Some(figures) = case.figures() else { continue };
            let database = median(case.ours.iter().map(|run| run.peak.database as f64 / MIB));
            let show = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figure);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                case.name,
                figure(figures.ours),
                show(database),
                show(figures.peer),
                show(figures.ratio),
                verdicts(&figures.verdicts),
            );
        }
    }
}

/// Two cells: the aims, and whether they were met.
fn verdicts(verdicts: &[Verdict]) -> String {
    let aims: Vec<&str> = verdicts.iter().map(|verdict| verdict.aim.as_str()).collect();
    let met: Vec<String> = verdicts
        .iter()
        .map(|verdict| {
            format!("{} ({})", if verdict.met { "met" } else { "**missed**" }, figure(verdict.measured))
        })
        .collect();
    format!("{} | {}", aims.join(", "), met.join(", "))
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(operations: u64, bytes: u64, seconds: f64, cpu: f64) -> Run {
        let cpu = Cpu { server: cpu, ..Cpu::default() };
        Run {
            operations,
            bytes,
            seconds,
            p50_ms: 1.0,
            p95_ms: 1.5,
            p99_ms: 2.0,
            cpu,
            peak: Memory::default(),
        }
    }

    fn case(kind: Kind, aims: &[Aim], ours: Vec<Run>, peer: Vec<Run>) -> Case {
        Case { name: "case".to_owned(), kind, aims: aims.to_vec(), ours, peer, result: None }
    }

    #[test]
    fn the_median_ignores_one_bad_run() {
        let ours = vec![run(100, 0, 1.0, 0.0), run(1, 0, 1.0, 0.0), run(120, 0, 1.0, 0.0)];
        let peer = vec![run(50, 0, 1.0, 0.0), run(25, 0, 1.0, 0.0)];
        let figures = case(Kind::Requests, &[], ours, peer).figures().expect("runs");
        assert_eq!((figures.ours, figures.peer), (100.0, Some(37.5)));
    }

    #[test]
    fn aims_are_judged_in_their_own_direction() {
        let aims = [Aim::TimesPeer(2.0), Aim::CpuTimesPeer(0.5), Aim::P99Ms(1.5), Aim::P50Ms(1.5)];
        let ours = vec![run(1, 3_000_000_000, 1.0, 1.0)];
        let peer = vec![run(1, 1_000_000_000, 1.0, 0.6)];
        let figures = case(Kind::Transfer, &aims, ours, peer).figures().expect("runs");
        let met: Vec<bool> = figures.verdicts.iter().map(|verdict| verdict.met).collect();
        // 3 times as fast; a third of a second against 0.6 per GB; 2 ms; 1 ms.
        assert_eq!(met, [true, false, false, true]);
    }

    #[test]
    fn percentiles_are_latencies_that_occurred() {
        let latencies: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!((percentile(&latencies, 50), percentile(&latencies, 99)), (100.0, 198.0));
        assert_eq!(percentile(&latencies[..1], 99), 1.0);
        assert_eq!(percentile(&[], 99), 0.0);
    }

    #[test]
    fn a_file_can_be_rendered_again() {
        let mut report = Report {
            about: About::default(),
            cases: vec![case(Kind::Transfer, &[Aim::TimesPeer(1.0)], vec![run(1, 1, 1.0, 1.0)], vec![])],
            notes: vec!["note".to_owned()],
            failures: Vec::new(),
        };
        report.complete();
        let text = serde_json::to_string(&report).expect("JSON");
        let again: Report = serde_json::from_str(&text).expect("our own JSON");
        assert_eq!(again.markdown(), report.markdown());
        assert!(again.markdown().contains("* note"));
    }
}
