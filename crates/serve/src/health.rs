//! Readiness: named checks given from outside, run together, cached for a second.
//!
//! An answer carries the names of the checks and whether they passed, nothing else: what went wrong
//! (addresses, paths) is in the log only. Liveness never looks at any of this.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::Shutdown;

/// How long an outcome is reused, so that probes cannot be used to load the database.
const CACHE: Duration = Duration::from_secs(1);
/// A check that takes longer counts as failed; an outage must show within two seconds.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// What a check found. The texts go to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// Something is wrong, and sending requests elsewhere would make it worse: the process stays ready.
    Degraded(String),
    Failed(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Degraded(_) => "degraded",
            Self::Failed(_) => "failed",
        }
    }
}

/// One thing the process cannot serve without.
#[derive(Clone)]
pub struct Check {
    name: &'static str,
    probe: Probe,
}

impl Check {
    /// A check called `name`; the error text of `probe` goes to the log and never into an answer.
    pub fn new<F, R>(name: &'static str, probe: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self::graded(name, move || {
            let result = probe();
            async move { result.await.map_or_else(Outcome::Failed, |()| Outcome::Passed) }
        })
    }

    /// The same for something that may work in part.
    pub fn graded<F, R>(name: &'static str, probe: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        Self { name, probe: Arc::new(move || Box::pin(probe())) }
    }
}

/// The outcome of one round: names in the order given, and how each went: `ok`, `degraded` or `failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub checks: Vec<(&'static str, &'static str)>,
}

impl Report {
    pub(crate) fn passed(&self) -> bool {
        self.checks.iter().all(|(_, word)| *word != "failed")
    }

    /// The worst of the words.
    pub(crate) fn word(&self) -> &'static str {
        let has = |wanted| self.checks.iter().any(|(_, word)| *word == wanted);
        ["failed", "degraded"].into_iter().find(|word| has(*word)).unwrap_or("ok")
    }
}

/// Whether this process has started, is ready, or is on its way out. Clones are the same.
#[derive(Clone)]
pub struct Health {
    shutdown: Shutdown,
    started: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    checks: Vec<Check>,
    last: Option<(Instant, Report)>,
}

impl Health {
    /// A process that has not finished starting and has no checks yet.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, started: Arc::default(), state: Arc::default() }
    }

    /// Start-up is over: from now on readiness is what `checks` say.
    pub async fn start(&self, checks: Vec<Check>) {
        let mut state = self.state.lock().await;
        *state = State { checks, last: None };
        self.started.store(true, Ordering::Release);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shutdown.is_draining()
    }

    /// The last round when it is younger than a second, else a new one. Callers at the same time share it.
    pub(crate) async fn report(&self) -> Report {
        let mut state = self.state.lock().await;
        if let Some((at, report)) = &state.last
            && at.elapsed() < CACHE
        {
            return report.clone();
        }
        let outcomes = join_all(state.checks.iter().map(|check| async {
            let outcome = match timeout(CHECK_TIMEOUT, (check.probe)()).await {
                Ok(outcome) => outcome,
                Err(_) => Outcome::Failed(format!("no answer within {} ms", CHECK_TIMEOUT.as_millis())),
            };
            (check.name, outcome)
        }))
        .await;
        let mut report = Report::default();
        for (name, outcome) in outcomes {
            let before = state
                .last
                .as_ref()
                .and_then(|(_, last)| last.checks.iter().find(|(known, _)| *known == name));
            let word_before = before.map_or("ok", |(_, word)| *word);
            match &outcome {
                same if same.word() == word_before => {}
                Outcome::Passed => tracing::info!(check = name, "check {name} passes again"),
                Outcome::Degraded(error) => {
                    tracing::warn!(check = name, error, "check {name} finds a fault: ready, but degraded");
                }
                Outcome::Failed(error) => {
                    tracing::warn!(check = name, error, "check {name} fails: not ready")
                }
            }
            report.checks.push((name, outcome.word()));
        }
        state.last = Some((Instant::now(), report.clone()));
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test]
    async fn a_round_is_cached_for_a_second_and_a_hanging_check_fails() {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let health = Health::new(Shutdown::new());
        assert!(!health.is_started());
        health
            .start(vec![
                Check::new("database", move || {
                    let counted = counted.clone();
                    async move {
                        match counted.fetch_add(1, Ordering::SeqCst) {
                            0 => Err("password=secret host=10.0.0.1".to_owned()),
                            _ => Ok(()),
                        }
                    }
                }),
                Check::new("storage", std::future::pending),
                Check::graded("disks", || async { Outcome::Degraded("/mnt/b".to_owned()) }),
            ])
            .await;
        let first = health.report().await;
        assert_eq!(first.checks, [("database", "failed"), ("storage", "failed"), ("disks", "degraded")]);
        assert_eq!(health.report().await, first);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        tokio::time::sleep(CACHE).await;
        let second = health.report().await;
        assert_eq!(second.checks, [("database", "ok"), ("storage", "failed"), ("disks", "degraded")]);
        assert!(!second.passed());
        assert_eq!(second.word(), "failed");
        let degraded = Report { checks: vec![("database", "ok"), ("disks", "degraded")] };
        assert!(degraded.passed());
        assert_eq!(degraded.word(), "degraded");
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
}
