//! The runner: looks for due work, claims it, runs it, and tells how it ended.
//!
//! Any number of runners share the tables; none of them leads. A runner never dies of its jobs or of the
//! database: a panic is a failed attempt, an outage is one line in the log and a pause.
//!
//! Invariants: no more than `concurrency` claims at a time; every claim gets a sign of life each third of its
//! lease until its outcome is written; when the lease is lost the handler is aborted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use database::Database;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::Config;
use crate::context::{Held, JobContext};
use crate::job::{Event, Job, JobError, chain};
use crate::roster::{Handle, Roster};
use crate::rows::{Claimed, Rows, Settlement};
use crate::schedule::CronInvalid;

/// Channel of announcements: new rows (empty) and wishes to stop.
const CHANNEL: &str = "hythe_queue";

/// Payload of a wish to stop a running job.
pub(crate) const STOP_NOTICE: &str = "stop";

/// How long running handlers may take to come to an end when the process stops.
const GRACE: Duration = Duration::from_secs(10);

/// How long the outcomes of aborted handlers may take to be written after that.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Longest pause while the database is away. Short, because work waits.
const OUTAGE_PAUSE_MAX: Duration = Duration::from_secs(5);

const PURGE_INTERVAL: Duration = Duration::from_secs(3600);

/// Runs jobs, event subscribers and schedules. Tell it what it can do, then [run](Runner::run) it.
pub struct Runner {
    database: Database,
    config: Config,
    roster: Roster,
    pub(crate) grace: Duration,
}

impl Runner {
    /// A runner that can do nothing yet.
    pub fn new(database: Database, config: Config) -> Self {
        Self { database, config, roster: Roster::default(), grace: GRACE }
    }

    /// Runs jobs of the kind `J` with this handler. Jobs of kinds without a handler stay queued.
    pub fn handle<J, F, R>(&mut self, run: F)
    where
        J: Job,
        F: Fn(J, JobContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        self.roster.handle(run);
    }

    /// Subscribes to events of the kind `E`. The name is part of the jobs' kind and must never change.
    pub fn on<E, F, R>(&mut self, subscriber: &str, run: F)
    where
        E: Event,
        F: Fn(E, JobContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        self.roster.on(subscriber, run);
    }

    /// Asks for the job again and again, by a cron expression of six fields (seconds first, UTC). A run that
    /// finds an equal one pending is skipped when the kind is [unique](Job::UNIQUE).
    ///
    /// # Errors
    /// When the text is not such an expression.
    pub fn schedule<J: Job>(
        &mut self,
        name: &'static str,
        cron: &'static str,
        job: J,
    ) -> Result<(), CronInvalid> {
        self.roster.schedule(name, cron, &job)
    }

    /// Works until `shutdown` is cancelled. Handlers are told then and get ten seconds; what is not at an end
    /// by that time is aborted and handed back without using up an attempt.
    pub async fn run(self, shutdown: CancellationToken) {
        let lease = Duration::from_secs(u64::from(self.config.lease_seconds.max(1)));
        let worker = format!("{}-{}", std::process::id(), Uuid::new_v4().simple());
        let shared = Arc::new(Shared {
            rows: Rows { database: self.database.clone(), worker, lease },
            claims: Mutex::default(),
            wake: Notify::new(),
            stop_asked: Notify::new(),
            shutdown: shutdown.clone(),
        });
        let mut helpers = JoinSet::new();
        helpers.spawn(shared.clone().listen());
        helpers.spawn(shared.clone().keep_alive());

        let mut jobs = JoinSet::new();
        let mut rounds = Rounds::new(&self, shared.clone());
        while !shutdown.is_cancelled() {
            let pause = rounds.round(&mut jobs).await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = shared.wake.notified() => {}
                Some(_) = jobs.join_next(), if !jobs.is_empty() => {}
                () = tokio::time::sleep(pause) => {}
            }
            while jobs.try_join_next().is_some() {}
        }
        self.wind_down(&shared, &mut jobs).await;
        helpers.shutdown().await;
    }

    async fn wind_down(&self, shared: &Shared, jobs: &mut JoinSet<()>) {
        let drain = async |jobs: &mut JoinSet<()>| while jobs.join_next().await.is_some() {};
        if tokio::time::timeout(self.grace, drain(jobs)).await.is_ok() {
            return;
        }
        for claim in shared.claims().values() {
            claim.handler.abort();
        }
        if tokio::time::timeout(LAST_WRITES, drain(jobs)).await.is_err() {
            tracing::warn!(
                jobs = jobs.len(),
                "jobs could not be handed back; others take them when their leases end"
            );
        }
    }
}

/// What the tasks of one runner have in common.
struct Shared {
    rows: Rows,
    /// By id and fencing number: a job that was lost may come back to the same runner while the handler of the
    /// first claim is still ending.
    claims: Mutex<HashMap<(i64, i64), Claim>>,
    /// Something may be due.
    wake: Notify,
    /// A running job may have been asked to stop.
    stop_asked: Notify,
    shutdown: CancellationToken,
}

struct Claim {
    held: Arc<Held>,
    handler: AbortHandle,
}

impl Shared {
    /// Waits for announcements. They only make things faster: whatever is missed here is found by polling.
    async fn listen(self: Arc<Self>) {
        let mut outage = Outage::new("listening for work");
        loop {
            let lost = match self.rows.database.listen(CHANNEL).await {
                Ok(mut listener) => {
                    outage.over();
                    // Whatever was announced before we listened.
                    self.wake.notify_one();
                    loop {
                        match listener.try_recv().await {
                            Ok(Some(notice)) if notice.payload() == STOP_NOTICE => {
                                self.stop_asked.notify_one()
                            }
                            // None: the connection was lost and is back; announcements may have been missed.
                            Ok(_) => self.wake.notify_one(),
                            Err(err) => break err.into(),
                        }
                    }
                }
                Err(err) => err,
            };
            tokio::time::sleep(outage.pause(&lost)).await;
        }
    }

    /// Gives signs of life for all claims, and carries wishes to stop to the handlers.
    async fn keep_alive(self: Arc<Self>) {
        let beat = self.rows.lease / 3;
        let mut outage = Outage::new("renewing leases");
        let mut pause = beat;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop_asked.notified() => {}
            }
            pause = match self.renew().await {
                Ok(()) => {
                    outage.over();
                    beat
                }
                Err(err) => outage.pause(&err).min(beat),
            };
        }
    }

    async fn renew(&self) -> Result<(), database::Error> {
        let claims: Vec<(i64, i64)> = self.claims().keys().copied().collect();
        if claims.is_empty() {
            return Ok(());
        }
        let sent = Instant::now();
        let renewed: HashMap<(i64, i64), bool> = self
            .rows
            .renew(&claims)
            .await?
            .into_iter()
            .map(|(id, fence, stop)| ((id, fence), stop))
            .collect();
        let held = self.claims();
        for key in claims {
            // Claims that were settled while the statement ran are none of its business.
            let Some(claim) = held.get(&key) else { continue };
            match renewed.get(&key) {
                Some(stop) => {
                    claim.held.renew(sent);
                    claim.held.stop.fetch_or(*stop, Ordering::AcqRel);
                }
                None if claim.held.settling.load(Ordering::Acquire) => {}
                None => {
                    claim.held.lost.store(true, Ordering::Release);
                    claim.handler.abort();
                }
            }
        }
        Ok(())
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<(i64, i64), Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the handler of a claimed job and sees it through to its written outcome.
    fn start(self: &Arc<Self>, jobs: &mut JoinSet<()>, job: Claimed, sent: Instant, handle: &Handle) {
        let held = Arc::new(Held {
            id: job.id,
            kind: job.kind,
            fence: job.fence,
            attempt: job.attempts,
            asked_by: job.asked_by,
            database: Some(self.rows.database.clone()),
            lease: self.rows.lease,
            renewed: Mutex::new(sent),
            stop: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            told: AtomicBool::new(false),
            settling: AtomicBool::new(false),
            lines: AtomicU64::new(0),
            shutdown: self.shutdown.clone(),
        });
        let context = JobContext::new(held.clone());
        let handle = handle.clone();
        // A task of its own, so that a panic stays in there and the handler can be aborted.
        let handler = tokio::spawn(async move { handle(job.payload, context).await });
        self.claims()
            .insert((held.id, held.fence), Claim { held: held.clone(), handler: handler.abort_handle() });
        let shared = self.clone();
        jobs.spawn(async move {
            let started = Instant::now();
            let ended = handler.await;
            metrics::histogram!("hythe_job_seconds", "kind" => held.kind.clone())
                .record(started.elapsed().as_secs_f64());
            held.settling.store(true, Ordering::Release);
            let (settlement, message) = judge(&held, ended);
            shared.settle(&held, settlement, &message).await;
            shared.claims().remove(&(held.id, held.fence));
        });
    }

    /// Writes the outcome, however long the database is away: until then the job is neither done nor lost. A
    /// claim that somebody else has meanwhile is left to them.
    async fn settle(&self, held: &Held, settlement: Settlement, message: &str) {
        let mut outage = Outage::new("writing the outcome of a job");
        let state = loop {
            match self.rows.settle(held.id, held.fence, settlement, message).await {
                Ok(state) => break state,
                Err(err) => tokio::time::sleep(outage.pause(&err)).await,
            }
        };
        outage.over();
        let outcome = match state.as_deref() {
            None => {
                metrics::counter!("hythe_job_lease_lost_total").increment(1);
                tracing::warn!(
                    job.id = held.id,
                    job.kind = held.kind,
                    "lost the lease of the job; its outcome is void"
                );
                "lost"
            }
            Some("queued") => "handed_back",
            Some("retrying") => "retried",
            Some("failed") => {
                tracing::error!(job.id = held.id, job.kind = held.kind, message, "the job failed for good");
                "failed"
            }
            Some("stopped") => "stopped",
            Some(_) => "done",
        };
        count(&held.kind, outcome);
    }
}

/// How an attempt ended, from what the handler returned and what it was told.
fn judge(held: &Held, ended: Result<Result<(), JobError>, tokio::task::JoinError>) -> (Settlement, String) {
    let stop = held.stop.load(Ordering::Acquire);
    let leaving = held.shutdown.is_cancelled();
    match ended {
        // A handler that never asked whether to stop has done its work.
        Ok(Ok(())) if !held.told.load(Ordering::Acquire) => (Settlement::Done, String::new()),
        Ok(Ok(())) if stop => (Settlement::Stopped, String::new()),
        Ok(Ok(())) => (Settlement::HandBack, String::new()),
        Ok(Err(JobError::Fail(err))) => {
            tracing::warn!(
                job.id = held.id,
                job.kind = held.kind,
                error = chain(&*err),
                "an attempt failed for good"
            );
            (Settlement::Failed, err.to_string())
        }
        // What an interrupted handler complains about is mostly the interruption.
        Ok(Err(JobError::Retry(err))) if leaving => (Settlement::HandBack, err.to_string()),
        Ok(Err(JobError::Retry(err))) => {
            tracing::warn!(
                job.id = held.id,
                job.kind = held.kind,
                job.attempt = held.attempt,
                error = chain(&*err),
                "an attempt failed"
            );
            (Settlement::Retry, err.to_string())
        }
        Err(err) if err.is_panic() => {
            tracing::error!(job.id = held.id, job.kind = held.kind, "the handler panicked");
            (Settlement::Retry, "the handler panicked; see the log".to_owned())
        }
        // Aborted: because the process ends, or because the lease is lost and nothing will be written.
        Err(_) => (Settlement::HandBack, String::new()),
    }
}

/// What a runner does again and again, and when it did it last.
struct Rounds<'a> {
    runner: &'a Runner,
    shared: Arc<Shared>,
    kinds: Vec<String>,
    outage: Outage,
    registered: bool,
    sweep: Rhythm,
    schedules: Rhythm,
    purge: Rhythm,
}

impl<'a> Rounds<'a> {
    fn new(runner: &'a Runner, shared: Arc<Shared>) -> Self {
        Self {
            kinds: runner.roster.kinds(),
            outage: Outage::new("looking for work"),
            registered: false,
            sweep: Rhythm::new(shared.rows.lease / 3),
            schedules: Rhythm::new(Duration::from_millis(runner.config.poll_ms.max(1))),
            purge: Rhythm::new(PURGE_INTERVAL),
            runner,
            shared,
        }
    }

    /// One look at everything. Returns how long to pause, unless something is announced before.
    async fn round(&mut self, jobs: &mut JoinSet<()>) -> Duration {
        match self.look(jobs).await {
            Ok(()) => {
                self.outage.over();
                Duration::from_millis(self.runner.config.poll_ms.max(1))
            }
            Err(err) => self.outage.pause(&err),
        }
    }

    async fn look(&mut self, jobs: &mut JoinSet<()>) -> Result<(), database::Error> {
        let rows = &self.shared.rows;
        let roster = &self.runner.roster;
        if !self.registered {
            rows.register_schedules(roster).await?;
            self.registered = true;
        }
        if self.sweep.is_due() {
            for lost in rows.sweep().await? {
                tracing::warn!(
                    job.id = lost.id,
                    job.kind = lost.kind,
                    job.state = lost.state,
                    "took a job from a silent worker"
                );
                count(&lost.kind, "swept");
            }
            self.sweep.done();
        }
        if self.schedules.is_due() {
            rows.run_schedules(roster).await?;
            self.schedules.done();
        }
        while !self.shared.shutdown.is_cancelled() && rows.fan_out(roster).await? > 0 {}
        self.claim(jobs).await?;
        if self.purge.is_due() {
            while !self.shared.shutdown.is_cancelled()
                && rows.purge(roster, self.runner.config.history_days).await? > 0
            {}
            self.purge.done();
        }
        Ok(())
    }

    async fn claim(&self, jobs: &mut JoinSet<()>) -> Result<(), database::Error> {
        let slots = self.runner.config.concurrency.max(1) as usize;
        let free = slots.saturating_sub(jobs.len());
        if free == 0 || self.kinds.is_empty() || self.shared.shutdown.is_cancelled() {
            return Ok(());
        }
        let sent = Instant::now();
        for job in self.shared.rows.claim(&self.kinds, free).await? {
            let Some(handler) = self.runner.roster.handlers.get(&job.kind) else {
                continue;
            };
            self.shared.start(jobs, job, sent, &handler.handle);
        }
        Ok(())
    }
}

/// Something that is done every so often, first of all at once.
struct Rhythm {
    interval: Duration,
    last: Option<Instant>,
}

impl Rhythm {
    fn new(interval: Duration) -> Self {
        Self { interval, last: None }
    }

    fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= self.interval)
    }

    fn done(&mut self) {
        self.last = Some(Instant::now());
    }
}

/// A row of failures of the same task: told once, with growing pauses, and told when it is over.
struct Outage {
    task: &'static str,
    failures: u32,
}

impl Outage {
    fn new(task: &'static str) -> Self {
        Self { task, failures: 0 }
    }

    fn pause(&mut self, err: &database::Error) -> Duration {
        if self.failures == 0 {
            tracing::warn!(
                task = self.task,
                error = chain(err),
                "the queue cannot use the database; it keeps trying"
            );
        }
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(100 << self.failures.min(6)).min(OUTAGE_PAUSE_MAX)
    }

    fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(
                task = self.task,
                failures = self.failures,
                "the queue can use the database again"
            );
            self.failures = 0;
        }
    }
}

fn count(kind: &str, outcome: &'static str) {
    metrics::counter!("hythe_jobs_total", "kind" => kind.to_owned(), "outcome" => outcome).increment(1);
}
