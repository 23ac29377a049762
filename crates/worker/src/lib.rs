//! Runs jobs, schedules and event subscribers, and the collector of garbage, which never ends.
//!
//! It does no work itself: what a job does belongs to the domain that owns it, and how jobs are claimed,
//! retried and remembered belongs to `queue`. Here is only who does what, in [`roster`].

pub mod roster;

use catalog::{Catalog, Collector};
use identity::Identity;
use queue::{CronInvalid, Runner};
use tenancy::Tenancy;
use tokio_util::sync::CancellationToken;

/// The worker of a process. Any number of processes may have one; they share the work.
pub struct Worker {
    runner: Runner,
    collector: Collector,
}

impl Worker {
    /// Teaches `runner` everything on the roster.
    ///
    /// # Errors
    /// When a schedule is not a cron expression, which is a defect of the roster.
    pub fn new(
        mut runner: Runner,
        identity: &Identity,
        tenancy: &Tenancy,
        catalog: &Catalog,
    ) -> Result<Self, CronInvalid> {
        roster::register(&mut runner, identity, tenancy, catalog)?;
        Ok(Self { runner, collector: catalog.collector.clone() })
    }

    /// Works until `shutdown`; jobs in hand get to their next boundary or are handed back.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::join!(self.runner.run(shutdown.clone()), self.collector.run(shutdown));
    }
}
