//! What is stored: repositories, artifacts, tags, blob references and upload sessions.
//!
//! The only crate that writes the `catalog` schema. It knows which repository holds which bytes; it has no
//! idea what HTTP is, and it asks `tenancy` about quotas instead of touching them.
//!
//! Invariants:
//! * A `live` row in `catalog.blobs` implies durable bytes; bytes without a row are garbage.
//! * A manifest row implies that every blob it names is linked in its repository, checked and locked in the
//!   same transaction. No storage call runs inside a transaction.
//! * Lock order: the repository (shared, to keep it), blob rows by digest, the repository (to change it), its
//!   tags, the project's usage rows by digest, the project's quota. The quota is the hottest lock of a push: taken
//!   last, held shortest. `accounting` in the tests fails on a deadlock.

mod access;
mod additions;
mod allowance;
mod artifacts;
mod blobs;
mod collector;
mod copy;
mod days;
mod error;
mod expiry;
mod facts;
mod glob;
mod history;
mod immutable;
mod labels;
mod lease;
mod manifests;
mod naming;
mod naming_report;
mod pull_trail;
mod pulls;
mod push;
mod recount;
mod referrers;
mod removal;
mod repositories;
mod search;
mod sort_key;
mod store;
mod tags;
mod tar;
mod uploads;

pub use access::{Delete, Place, Pull, Push};
pub use additions::{Addition, Additions, additions_of};
pub use artifacts::{Accessory, Artifact, ArtifactFlags, Artifacts, ChildReference};
pub use blobs::{Blob, Blobs};
pub use collector::{
    CollectGarbage, Collected, Collection, CollectionSchedule, Collections, Collector, CollectorConfig, Scope,
};
pub use copy::Copies;
pub use days::{DAYS_KEPT, Day, Days, RollUpDays, RolledUp};
pub use error::Error;
pub use expiry::{Expire, Removed};
pub use history::{Matching, TagChange, TagEntry, TagHistory};
pub use immutable::{ImmutableRule, ImmutableRules, LockedTag, RuleInput, Selector};
pub use labels::{Label, LabelInput, Labels};
pub use manifests::{Found, Manifests};
pub use naming::{Naming, NamingMode, NamingRule, NamingTarget};
pub use naming_report::{NamingFinding, NamingReport, ReportPlace};
pub use pull_trail::PullTrail;
pub use pulls::PullCounter;
pub use push::{PushTarget, Pushed};
pub use recount::{Recount, Recounted, Recounts};
pub use referrers::{Referrer, Referrers};
pub use removal::{Removal, Removals, RemoveProject, removal_is_for};
pub use repositories::{Repositories, Repository};
pub use search::{DescriptionHit, DigestHit, HITS_MAX, Search, TagHit};
pub use store::{record_store_roots, store_record};
pub use tags::{DELETED_MAX, Tag, Tags};
pub use uploads::{Body, ChunkRange, Patience, Session, Uploads};

use blobstore::BlobStore;
use database::Database;
pub use database::Error as StorageError;
use serde::{Deserialize, Serialize};
use tenancy::Tenancy;

/// Start-up configuration, section `catalog`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// An upload session without a write for this long is removed.
    pub upload_hours_max: u32,
    /// A session that never received a byte is removed after this long: push-permission checks of clients
    /// open sessions and forget them.
    pub upload_empty_minutes_max: u32,
    /// Open upload sessions one account may hold.
    pub uploads_per_account_max: i64,
    /// Open upload sessions one project may hold, of all accounts together.
    pub uploads_per_project_max: i64,
    /// Seconds between two writes of the pull counters.
    pub pull_flush_seconds: u64,
    /// Pulls are acts of the audit trail.
    pub audit_pulls: bool,
    /// Garbage collection.
    pub gc: CollectorConfig,
}

/// Handles to everything stored. Clone freely; every clone talks to the same database and store.
#[derive(Clone)]
pub struct Catalog {
    pub uploads: Uploads,
    pub blobs: Blobs,
    pub manifests: Manifests,
    pub tags: Tags,
    pub referrers: Referrers,
    pub repositories: Repositories,
    pub search: Search,
    pub artifacts: Artifacts,
    pub immutable: ImmutableRules,
    pub labels: Labels,
    pub additions: Additions,
    pub copies: Copies,
    pub days: Days,
    pub history: TagHistory,
    pub naming: Naming,
    pub pulls: PullCounter,
    pub pull_trail: PullTrail,
    pub recounts: Recounts,
    pub removals: Removals,
    pub collector: Collector,
    pub collections: Collections,
}

impl Catalog {
    /// Wires the handles; does no IO.
    pub fn new(database: Database, store: BlobStore, tenancy: Tenancy, config: Config) -> Self {
        let repositories = Repositories::new(database.clone(), tenancy.clone());
        let naming = Naming::new(database.clone());
        let pulls = PullCounter::new(database.clone(), config.pull_flush_seconds);
        let pull_trail = PullTrail::new(&database, tenancy.clone(), config.audit_pulls);
        let gc = config.gc.clone();
        let uploads = Uploads::new(database.clone(), store.clone(), tenancy.clone(), config);
        Self {
            collector: Collector::new(
                database.clone(),
                store.clone(),
                tenancy.clone(),
                uploads.clone(),
                gc.clone(),
            ),
            collections: Collections::new(database.clone()),
            uploads,
            blobs: Blobs::new(database.clone(), store.clone(), tenancy.clone(), gc.touch_seconds()),
            manifests: Manifests::new(
                database.clone(),
                store.clone(),
                tenancy.clone(),
                naming.clone(),
                pulls.clone(),
                pull_trail.clone(),
            ),
            tags: Tags::new(database.clone(), naming.clone()),
            referrers: Referrers::new(database.clone()),
            recounts: Recounts::new(database.clone()),
            removals: Removals::new(database.clone(), tenancy.clone(), repositories.clone()),
            repositories,
            search: Search::new(database.clone()),
            immutable: ImmutableRules::new(database.clone()),
            labels: Labels::new(database.clone()),
            additions: Additions::new(database.clone(), store),
            copies: Copies::new(database.clone(), tenancy.clone(), naming.clone()),
            days: Days::new(database.clone()),
            history: TagHistory::new(database.clone(), tenancy.clone(), naming.clone()),
            naming,
            artifacts: Artifacts::new(database, tenancy),
            pulls,
            pull_trail,
        }
    }
}

/// Runs `work` again when PostgreSQL reports a deadlock or a serialization failure, at most three times:
/// both mean that nothing happened and that the same work may well succeed now.
pub(crate) async fn retrying<T, F>(mut work: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut attempt = 1;
    loop {
        match work().await {
            Err(
                Error::Storage(database::Error::Retry(_))
                | Error::Tenancy(tenancy::Error::Storage(database::Error::Retry(_))),
            ) if attempt < 3 => attempt += 1,
            done => return done,
        }
    }
}
