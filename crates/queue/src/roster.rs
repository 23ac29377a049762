//! Which kinds a runner can do, as it was told at start-up.
//!
//! Registering the same kind, subscriber or schedule twice is a defect of the program and stops it at once.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::JobContext;
use crate::job::{Event, Job, JobError};
use crate::schedule::{self, CronInvalid};

pub(crate) type Attempt = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

/// Decodes a payload and runs it.
pub(crate) type Handle = Arc<dyn Fn(Value, JobContext) -> Attempt + Send + Sync>;

#[derive(Default)]
pub(crate) struct Roster {
    pub(crate) handlers: HashMap<String, Handler>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) schedules: Vec<Schedule>,
}

pub(crate) struct Handler {
    pub(crate) attempts_max: i32,
    pub(crate) unique: bool,
    pub(crate) handle: Handle,
}

/// A subscriber of an event kind has a job kind of its own, `event>subscriber`.
pub(crate) struct Subscription {
    pub(crate) event: &'static str,
    pub(crate) job: String,
    pub(crate) attempts_max: i32,
}

pub(crate) struct Schedule {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) cron: &'static str,
    pub(crate) payload: Value,
}

impl Roster {
    pub(crate) fn handle<J, F, R>(&mut self, run: F)
    where
        J: Job,
        F: Fn(J, JobContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        self.add(J::KIND.to_owned(), J::ATTEMPTS_MAX, J::UNIQUE, typed(run));
    }

    pub(crate) fn on<E, F, R>(&mut self, subscriber: &str, run: F)
    where
        E: Event,
        F: Fn(E, JobContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let job = format!("{}>{subscriber}", E::KIND);
        self.add(job.clone(), E::ATTEMPTS_MAX, false, typed(run));
        self.subscriptions.push(Subscription { event: E::KIND, job, attempts_max: E::ATTEMPTS_MAX });
    }

    pub(crate) fn schedule<J: Job>(
        &mut self,
        name: &'static str,
        cron: &'static str,
        job: &J,
    ) -> Result<(), CronInvalid> {
        schedule::parse(cron)?;
        assert!(self.schedules.iter().all(|known| known.name != name), "schedule {name} is registered twice");
        let payload = serde_json::to_value(job).expect("a payload is plain data");
        self.schedules.push(Schedule { name, kind: J::KIND, cron, payload });
        Ok(())
    }

    /// The kinds this runner can do.
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.handlers.keys().cloned().collect()
    }

    fn add(&mut self, kind: String, attempts_max: i32, unique: bool, handle: Handle) {
        assert!(attempts_max >= 1, "job kind {kind} is never attempted");
        let known = self.handlers.insert(kind.clone(), Handler { attempts_max, unique, handle });
        assert!(known.is_none(), "job kind {kind} is registered twice");
    }
}

/// Puts the decoding in front of a typed handler. A payload that does not decode will not do so next time.
fn typed<P, F, R>(run: F) -> Handle
where
    P: DeserializeOwned + Send + 'static,
    F: Fn(P, JobContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), JobError>> + Send + 'static,
{
    let run = Arc::new(run);
    Arc::new(move |payload, context| {
        let run = run.clone();
        Box::pin(async move {
            let payload = serde_json::from_value(payload)
                .map_err(|err| JobError::fail(format!("the payload cannot be read: {err}")))?;
            run(payload, context).await
        })
    })
}
