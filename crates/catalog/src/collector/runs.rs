//! Runs of the collector for those who may ask for them: begin, look, stop, and the schedule.

use audit::{Entry, Object, Outcome};
use chrono::{DateTime, Utc};
use database::Database;
use database::list::{Page, Query};
use identity::Caller;
use queue::{History, Line, Record, ScheduleError};
use tenancy::{
    CreateCollection, ListCollections, ReadCollection, StopCollection, SystemPermit, UpdateCollections,
};

use super::run::CollectGarbage;
use crate::{Collected, Error};

/// Name of the schedule; there is one.
const SCHEDULE: &str = "collect_garbage";

/// Runs of the collector. Clone freely.
#[derive(Clone)]
pub struct Collections {
    database: Database,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Collection {
    pub id: i64,
    pub asked: CollectGarbage,
    /// What it removed so far, or would have.
    pub collected: Collected,
    /// `Pending`, `Running`, `Success`, `Error` or `Stopped`.
    pub status: &'static str,
    /// `sessions`, `manifests` or `blobs`.
    pub phase: String,
    /// Why the last attempt did not succeed; empty when it did.
    pub message: String,
    /// Whether the schedule asked for it.
    pub scheduled: bool,
    pub asked_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// When runs begin by themselves.
#[derive(Clone, Debug)]
pub struct CollectionSchedule {
    /// Six fields, seconds first, in UTC.
    pub cron: String,
    pub asked: CollectGarbage,
    pub next_run_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Collection {
    /// What an older version wrote may read differently; then it shows what nobody asked for: nothing special.
    fn of(record: Record) -> Self {
        Self {
            id: record.id,
            asked: serde_json::from_value(record.payload.clone()).unwrap_or_default(),
            collected: record
                .result
                .clone()
                .and_then(|result| serde_json::from_value(result).ok())
                .unwrap_or_default(),
            status: record.status(),
            updated_at: record.updated_at(),
            phase: record.phase,
            message: record.message,
            scheduled: record.schedule.is_some(),
            asked_by: record.asked_by,
            created_at: record.created_at,
            finished_at: record.finished_at,
        }
    }
}

impl Collections {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Asks for a run and returns its id. One runs at a time; others wait.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn start(
        &self,
        permit: &SystemPermit<CreateCollection>,
        job: CollectGarbage,
    ) -> Result<i64, Error> {
        let caller = permit.caller();
        let mut tx = self.database.begin().await?;
        let id = queue::submit(&mut tx, &job, caller.actor().name).await?;
        let id = id.ok_or_else(|| Error::Conflict("a run waits already".to_owned()))?;
        trail(&mut tx, caller, "gc_start", &id.to_string()).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// A page of the runs.
    ///
    /// # Errors
    /// `Tenancy` with what the query asked wrong.
    pub async fn page(
        &self,
        _permit: &SystemPermit<ListCollections>,
        query: &Query,
    ) -> Result<Page<Collection>, Error> {
        let kind = <CollectGarbage as queue::Job>::KIND;
        let page = History::new(self.database.clone()).page(kind, query).await?;
        Ok(Page { rows: page.rows.into_iter().map(Collection::of).collect(), total: page.total })
    }

    /// One run.
    ///
    /// # Errors
    /// `Unknown`.
    pub async fn get(&self, _permit: &SystemPermit<ReadCollection>, id: i64) -> Result<Collection, Error> {
        self.find(id).await
    }

    /// Lines of a run's log after the one numbered `after`, at most 1000.
    ///
    /// # Errors
    /// `Unknown`.
    pub async fn log(
        &self,
        _permit: &SystemPermit<ReadCollection>,
        id: i64,
        after: i64,
    ) -> Result<Vec<Line>, Error> {
        self.find(id).await?;
        Ok(History::new(self.database.clone()).lines(id, after).await?)
    }

    /// Asks a run to stop; what it has removed stays removed. One that has ended is left as it is.
    ///
    /// # Errors
    /// `Unknown`.
    pub async fn stop(&self, permit: &SystemPermit<StopCollection>, id: i64) -> Result<(), Error> {
        self.find(id).await?;
        let mut tx = self.database.begin().await?;
        if queue::stop(&mut tx, id).await? {
            trail(&mut tx, permit.caller(), "gc_stop", &id.to_string()).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// When runs begin by themselves, if they do.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn schedule(
        &self,
        _permit: &SystemPermit<ReadCollection>,
    ) -> Result<Option<CollectionSchedule>, Error> {
        let found = queue::schedule(&self.database, SCHEDULE).await?;
        Ok(found.map(|found| CollectionSchedule {
            asked: serde_json::from_value(found.payload).unwrap_or_default(),
            cron: found.cron,
            next_run_at: found.next_run_at,
            updated_at: found.updated_at,
        }))
    }

    /// Sets when runs begin by themselves; `None` ends that. With `new` there must be no schedule yet.
    ///
    /// # Errors
    /// `Invalid` for what is no expression of six fields whose first is 0; `Conflict`.
    pub async fn set_schedule(
        &self,
        permit: &SystemPermit<UpdateCollections>,
        cron: Option<&str>,
        job: CollectGarbage,
        new: bool,
    ) -> Result<(), Error> {
        if new && queue::schedule(&self.database, SCHEDULE).await?.is_some() {
            return Err(Error::Conflict("there is a schedule already; change it with PUT".to_owned()));
        }
        let mut tx = self.database.begin().await?;
        match cron {
            None => queue::remove_schedule(&mut tx, SCHEDULE).await?,
            Some(cron) => {
                if cron.split_whitespace().next() != Some("0") {
                    return Err(Error::Invalid(format!(
                        "{cron:?} is not a schedule: it takes six fields (second minute hour day month weekday), and the \
                         second is 0"
                    )));
                }
                match queue::set_schedule(&mut tx, SCHEDULE, cron, &job).await {
                    Ok(()) => {}
                    Err(ScheduleError::Cron(err)) => return Err(Error::Invalid(err.to_string())),
                    Err(ScheduleError::Storage(err)) => return Err(err.into()),
                }
            }
        }
        trail(&mut tx, permit.caller(), "gc_schedule_update", SCHEDULE).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn find(&self, id: i64) -> Result<Collection, Error> {
        let found = History::new(self.database.clone()).get(id).await?;
        found
            .filter(|record| record.kind == <CollectGarbage as queue::Job>::KIND)
            .map(Collection::of)
            .ok_or_else(|| Error::Unknown(format!("run {id} of the garbage collection not found")))
    }
}

async fn trail(tx: &mut database::Tx, caller: &Caller, action: &'static str, id: &str) -> Result<(), Error> {
    let entry = Entry {
        actor: caller.actor(),
        action,
        object: Object { kind: "gc", id: id.to_owned(), name: "" },
        project: None,
        outcome: Outcome::Done,
        origin: &caller.origin,
        changed: &[],
    };
    audit::append(tx, &entry).await?;
    Ok(())
}
