//! One run of the benchmark: two servers side by side, the cases one after the other.
//!
//! A case runs against both servers in turn, several times, the order changing each time, and each run begins with
//! nothing left to be written to the disk. So both meet the same machine, and neither pays for the other's writes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::http::{Body, Sink};
use crate::load::Sample;
use crate::noise::{Blob, digest};
use crate::proc::{Cpu, Memory, Sampler};
use crate::registry::{PUBLIC, Registry, Side, blob_path};
use crate::report::{Aim, Case, Kind, Run};
use crate::server::Server;
use crate::size::Size;

/// The longest a single run may take before the benchmark is called broken.
const RUN_MAX: Duration = Duration::from_secs(20 * 60);

/// Cases, for dividing the time that is left.
const CASES: u32 = 42;
/// Those of them that show lists and pages, which come last.
const LISTS: u32 = 16;

/// Cases that share their preparation, in an order in which none disturbs a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Group {
    Transfers,
    Memory,
    Reads,
    Images,
    Tokens,
    Lists,
    Pages,
    Console,
}

impl Group {
    /// The groups of a run that names none. Pages of the console are many, and are measured when they are asked for.
    pub fn usual(size: &Size) -> Vec<Group> {
        use clap::ValueEnum as _;
        let console = size.rounds == 1;
        Group::value_variants().iter().copied().filter(|group| console || *group != Group::Console).collect()
    }
}

/// What the cases work with.
pub struct Bench {
    pub size: Size,
    pub hythe: PathBuf,
    /// Of both servers' data, logs and configuration.
    pub directory: PathBuf,
    pub ours: Registry,
    pub peer: Registry,
    pub cases: Vec<Case>,
    pub notes: Vec<String>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
    /// Cases that had less rounds than planned.
    hurried: Vec<String>,
    deadline: Instant,
    seed: u64,
}

/// What a case is called and judged by.
pub struct Plan {
    pub name: String,
    pub kind: Kind,
    pub aims: &'static [Aim],
    /// Whether the peer has it at all.
    pub peer: bool,
}

impl Bench {
    pub fn new(size: Size, hythe: PathBuf, directory: PathBuf, ours: &Server, peer: &Server) -> Bench {
        let registry = |side, server: &Server| Registry { side, address: server.address, id: server.id };
        Bench {
            deadline: Instant::now() + size.budget,
            size,
            hythe,
            directory,
            ours: registry(Side::Ours, ours),
            peer: registry(Side::Peer, peer),
            cases: Vec::new(),
            notes: Vec::new(),
            failures: Vec::new(),
            hurried: Vec::new(),
            seed: 1,
        }
    }

    /// The cases of these groups, one after the other.
    pub async fn run(&mut self, groups: &[Group]) -> Result<()> {
        self.idle().await?;
        for registry in self.both() {
            registry.create_projects().await?;
            self.check(&registry).await?;
        }
        for group in groups {
            let outcome = match group {
                Group::Transfers => self.transfers().await,
                Group::Memory => self.memory().await,
                Group::Reads => self.reads().await,
                Group::Images => self.images().await,
                Group::Tokens => self.tokens().await,
                Group::Lists => self.lists().await,
                Group::Pages => self.pages().await,
                Group::Console => self.console().await,
            };
            // What else can be measured still is.
            if let Err(err) = outcome {
                self.failed(&format!("{group:?}"), &err);
            }
        }
        if !self.hurried.is_empty() {
            let cases = self.hurried.join("; ");
            self.notes.push(format!("fewer than {} runs, for lack of time: {cases}", self.size.rounds));
        }
        Ok(())
    }

    pub fn both(&self) -> [Registry; 2] {
        [self.ours, self.peer]
    }

    /// A number that no blob of this run was made from before.
    pub fn next_seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    /// Blobs that neither server has seen.
    pub fn new_blobs(&mut self, count: usize, bytes: u64) -> Vec<Blob> {
        (0..count).map(|_| Blob::new(self.next_seed(), bytes)).collect()
    }

    /// Whether what goes in comes out, once, and outside of all clocks.
    async fn check(&mut self, registry: &Registry) -> Result<()> {
        use sha2::Digest as _;
        let blob = Blob::new(self.next_seed(), 1 << 20);
        let repository = format!("{PUBLIC}/check");
        let mut connection = registry.connect();
        let authorization = registry.pusher(&mut connection, &repository).await?;
        registry.push_blob(&mut connection, &repository, authorization.as_deref(), &blob).await?;
        let path = blob_path(&repository, &blob.digest);
        let head = crate::http::Head::new("GET", &path, authorization.as_deref(), &[], None);
        let mut hash = sha2::Sha256::new();
        connection.exchange(&head, Body::None, &mut Sink::Hash(&mut hash)).await?;
        ensure!(digest(hash) == blob.digest, "{} gave other bytes than it got", registry.side);
        Ok(())
    }

    /// Both have just been started.
    async fn idle(&mut self) -> Result<()> {
        tokio::time::sleep(self.size.idle).await;
        let (ours, peer) = (Memory::now(self.ours.id), Memory::now(self.peer.id));
        self.finish(Case {
            name: format!("idle, {:.0} s after the first start", self.size.idle.as_secs_f64()),
            kind: Kind::Memory,
            aims: vec![Aim::MemoryMib(40.0)],
            ours: vec![Run::idle(ours)],
            peer: vec![Run::idle(peer)],
            result: None,
        });
        Ok(())
    }

    /// Runs a case in turn against both. `work` gets the registry and the number of the round.
    pub async fn case(
        &mut self,
        plan: Plan,
        mut work: impl AsyncFnMut(Registry, usize) -> Result<Sample>,
    ) -> Result<()> {
        let Plan { name, kind, aims, peer } = plan;
        let mut case = Case { name, kind, aims: aims.to_vec(), ours: vec![], peer: vec![], result: None };
        let cases_left = CASES.saturating_sub(u32::try_from(self.cases.len()).unwrap_or(CASES));
        // A first round of the others has to fit as well, and what comes before the lists, which are last.
        let reserve = self.size.budget / 120 * cases_left
            + if cases_left > LISTS { self.size.seeding + self.size.rest * 2 } else { Duration::ZERO };
        'rounds: for round in 0..self.size.rounds {
            if round > 0 && self.deadline.saturating_duration_since(Instant::now()) < reserve {
                break;
            }
            let mut order = self.both();
            if round % 2 == 1 {
                order.reverse();
            }
            for registry in order.iter().filter(|registry| peer || registry.side == Side::Ours) {
                let run = tokio::time::timeout(RUN_MAX, measure(*registry, work(*registry, round))).await;
                let run = match run.context("a run takes too long").flatten() {
                    Ok(run) => run,
                    Err(err) => {
                        self.failed(&format!("{}, {}", case.name, registry.side), &err);
                        break 'rounds;
                    }
                };
                match registry.side {
                    Side::Ours => case.ours.push(run),
                    Side::Peer => case.peer.push(run),
                }
            }
        }
        if case.ours.len() < self.size.rounds {
            self.hurried.push(case.name.clone());
        }
        self.finish(case);
        Ok(())
    }

    /// A request failed: the run goes on, and fails at its end.
    fn failed(&mut self, what: &str, err: &anyhow::Error) {
        println!("{what}: FAILED: {err:#}");
        self.failures.push(format!("**failed** {what}: {err:#}"));
    }

    /// Keeps a case and tells whoever waits for the run.
    fn finish(&mut self, case: Case) {
        let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        if let Some(figures) = case.figures() {
            let verdicts: Vec<String> = figures
                .verdicts
                .iter()
                .map(|verdict| format!("{} {}", verdict.aim, if verdict.met { "met" } else { "missed" }))
                .collect();
            println!(
                "{:<62} {:>10.1} {:>10} {:>7}  {}",
                case.name,
                figures.ours,
                show(figures.peer),
                show(figures.ratio),
                verdicts.join(", ")
            );
        }
        self.cases.push(case);
    }
}

/// One run, with what it cost.
async fn measure(registry: Registry, work: impl Future<Output = Result<Sample>>) -> Result<Run> {
    // What was written before is on the disk before the clock starts, whoever wrote it.
    tokio::task::spawn_blocking(nix::unistd::sync).await?;
    let sampler = Sampler::start(registry.id);
    let before = Cpu::now(registry.id);
    let sample = work.await;
    let cpu = Cpu::now(registry.id).since(before);
    let peak = sampler.peak();
    Ok(Run::new(sample?, cpu, peak))
}
