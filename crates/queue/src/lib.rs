//! Durable jobs and events: written in the caller's transaction, done later by whichever runner comes first.
//!
//! One row of `queue.jobs` is the whole truth about a job: there is no second store, no call-back, no memory
//! that another process would miss. This crate knows no job by name; `worker` registers them all.
//!
//! Invariants: a job whose transaction is rolled back never runs; every write of a running job shows its fencing
//! number, so a worker that slept through its lease changes nothing; a job may run more than once, so every
//! handler is idempotent.

mod config;
mod context;
mod history;
mod job;
mod roster;
mod rows;
mod runner;
mod schedule;
mod submit;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use context::JobContext;
pub use history::{Filter, History, Line, Record, stop};
pub use job::{Event, Job, JobError};
pub use runner::Runner;
pub use schedule::{CronInvalid, Schedule, ScheduleError, remove_schedule, schedule, set_schedule};
pub use submit::{publish, submit};
