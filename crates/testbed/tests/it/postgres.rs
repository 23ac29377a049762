//! R-10 for the private server: PostgreSQL dies, is stopped and hangs under load. Requests succeed or get 503
//! in time, the process lives on, and everything goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hythe_testbed::{Bed, Client, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;

use crate::promises::{Broken, Content, SharedLedger, Writer, check, judge, locked, postmaster};

const WRITERS: usize = 3;

/// Crash recovery of a small database takes half a second; the rest is for a machine that compiles meanwhile.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_the_death_of_postgresql_is_a_pause() {
    let bed = Bed::own(Options::default()).await;
    let load = Load::start(&bed).await;
    for _ in 0..3 {
        load.calm().await;
        kill(postmaster(&bed), Signal::SIGKILL).expect("it runs");
        load.recovered().await;
    }
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_a_stop_of_postgresql_is_a_pause() {
    let bed = Bed::own(Options::default()).await;
    let load = Load::start(&bed).await;
    // The fast and the immediate way of stopping.
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        load.calm().await;
        kill(postmaster(&bed), signal).expect("it runs");
        load.recovered().await;
    }
    load.finish().await;
}

/// New connections hang; those that are open go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_a_postgresql_that_takes_no_connections_makes_no_request_hang() {
    let bed = Bed::own(Options::default()).await;
    let load = Load::start(&bed).await;
    load.calm().await;
    let frozen = Frozen::one(postmaster(&bed));
    tokio::time::sleep(Duration::from_secs(8)).await;
    drop(frozen);
    load.recovered().await;
    load.finish().await;
}

/// As if the network to the database swallowed everything: connections stay open and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_a_frozen_postgresql_makes_no_request_hang() {
    let bed = Bed::own(Options::default()).await;
    let load = Load::start(&bed).await;
    load.calm().await;
    let frozen = Frozen::with_children(postmaster(&bed));
    tokio::time::sleep(Duration::from_secs(12)).await;
    drop(frozen);
    load.recovered().await;
    assert!(load.refusals() > 0, "for twelve seconds somebody must have been refused");
    load.finish().await;
}

/// People at work while something is done to the database.
pub struct Load {
    bed: Bed,
    ledger: SharedLedger,
    again: String,
    process: u32,
    ended: Arc<AtomicBool>,
    /// Pulls and reads that succeeded, and that were refused with 503.
    read: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub async fn start(bed: &Bed) -> Load {
        let project = bed.project("outage").create().await;
        let public = bed.project("shown").public().create().await;
        let registry = bed.admin().registry();
        let image = registry.push_image(&public.repository("image"), "latest").await;
        let mut load = Load {
            bed: bed.clone(),
            ledger: SharedLedger::default(),
            again: project.repository("again"),
            process: bed.process_id(),
            ended: Arc::default(),
            read: Arc::default(),
            refused: Arc::default(),
            tasks: Vec::new(),
        };
        let common: Vec<Content> = (0..3).map(|_| Content::random(1 << 10..=50 << 10)).collect();
        for number in 0..WRITERS {
            let writer = Writer {
                registry: registry.clone(),
                repository: project.repository(&format!("writer{number}")),
                ledger: load.ledger.clone(),
                common: common.clone(),
                lengths: 1 << 10..=100 << 10,
                server_stays: true,
            };
            let ended = load.ended.clone();
            load.tasks.push(tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    if writer.step().await == Err(Broken::Unavailable) {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }));
        }
        let repository = public.repository("image");
        let pulls = ["manifests/latest".to_owned(), format!("blobs/{}", image.layer), "tags/list".to_owned()];
        let pulls: Vec<String> = pulls.iter().map(|rest| format!("/v2/{repository}/{rest}")).collect();
        let token = format!("/service/token?service=harbor-registry&scope=repository:{repository}:pull");
        load.read_on(bed.nobody(), vec![token]);
        load.read_on(bed.admin().client(), pulls);
        load.read_on(bed.admin().client(), vec!["/api/v2.0/projects".to_owned(), project.path("/summary")]);
        load.live_on();
        load
    }

    fn read_on(&mut self, client: Client, paths: Vec<String>) {
        let (ended, read, refused) = (self.ended.clone(), self.read.clone(), self.refused.clone());
        self.tasks.push(tokio::spawn(async move {
            for path in paths.iter().cycle() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let started = Instant::now();
                let answer = client.request(Method::GET, path).send().await;
                if judge(&answer, started.elapsed()) {
                    refused.fetch_add(1, Ordering::Relaxed);
                } else {
                    answer.expect(200);
                    read.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }

    /// Whoever restarts dead processes must not be told that this one is dead.
    fn live_on(&mut self) {
        let (ended, url) = (self.ended.clone(), format!("{}/livez", self.bed.operations_url()));
        self.tasks.push(tokio::spawn(async move {
            let http = reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(5))
                .build()
                .expect("a client");
            while !ended.load(Ordering::Relaxed) {
                let answer = http.get(&url).send().await.unwrap_or_else(|err| panic!("livez: {err}"));
                assert_eq!(answer.status(), 200, "livez");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }));
    }

    /// Lets everybody work for a moment.
    pub async fn calm(&self) {
        self.progress(10, 100).await;
    }

    /// Waits until everybody works again.
    pub async fn recovered(&self) {
        self.progress(10, 100).await;
        self.bed.wait_ready().await.unwrap_or_else(|err| panic!("{err}"));
    }

    /// Lets everybody go on for a while, whatever they are answered.
    pub async fn endure(&self, duration: Duration) {
        let started = Instant::now();
        while started.elapsed() < duration {
            self.nobody_gave_up();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Requests that were refused in good order so far.
    pub fn refusals(&self) -> usize {
        locked(&self.ledger).unavailable + self.refused.load(Ordering::Relaxed)
    }

    fn nobody_gave_up(&self) {
        // The reason is shown when the task is awaited.
        if self.tasks.iter().any(tokio::task::JoinHandle::is_finished) {
            panic!("somebody got a wrong answer; see above");
        }
    }

    async fn progress(&self, images: usize, reads: usize) {
        let counts = || (locked(&self.ledger).images, self.read.load(Ordering::Relaxed));
        let (started, before) = (Instant::now(), counts());
        loop {
            let now = counts();
            if now.0 >= before.0 + images && now.1 >= before.1 + reads {
                return;
            }
            assert!(
                started.elapsed() < RECOVERY_MAX,
                "images and reads went from {before:?} to {now:?} only"
            );
            self.nobody_gave_up();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn finish(self) {
        self.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap_or_else(|err| panic!("{err}"));
        }
        assert_eq!(self.bed.process_id(), self.process, "the process is still the same one");
        check(&self.bed.admin().registry(), &self.ledger, &self.again).await;
        let ledger = locked(&self.ledger);
        println!(
            "{} images and {} deletions acknowledged, {} writes and {} reads refused",
            ledger.images,
            ledger.deletions,
            ledger.unavailable,
            self.refused.load(Ordering::Relaxed)
        );
    }
}

/// Processes that do not run. They run again when this is dropped.
struct Frozen(Vec<Pid>);

impl Frozen {
    fn one(process: Pid) -> Frozen {
        kill(process, Signal::SIGSTOP).expect("it runs");
        Frozen(vec![process])
    }

    /// The parent first, so that it makes no new ones while its children are being stopped.
    fn with_children(parent: Pid) -> Frozen {
        let mut frozen = Frozen::one(parent);
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        for child in children.expect("it runs").split_whitespace() {
            let child = Pid::from_raw(child.parse().expect("a process id"));
            // A session may have ended by itself.
            if kill(child, Signal::SIGSTOP).is_ok() {
                frozen.0.push(child);
            }
        }
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in self.0.iter().rev() {
            let _ = kill(*process, Signal::SIGCONT);
        }
    }
}
