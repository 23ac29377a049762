//! Pulls in the audit trail: who had which manifest, one act for each, in batches about a second later.
//!
//! No pull waits for its row. The buffer is one of its own, so that many pulls cannot push out other acts; what does not
//! fit is counted, and a row says how many that were.

use database::Database;
use oci::{Digest, Reference};
use tenancy::Tenancy;
use tokio_util::sync::CancellationToken;

use crate::Pull;

/// Acts of pulling. Clone freely; one of the clones must be [run](PullTrail::run).
#[derive(Clone)]
pub struct PullTrail {
    /// Nothing when the start-up configuration switches pulls off.
    buffer: Option<audit::Buffer>,
    tenancy: Tenancy,
}

impl PullTrail {
    pub(crate) fn new(database: &Database, tenancy: Tenancy, enabled: bool) -> Self {
        Self { buffer: enabled.then(|| audit::Buffer::new(database.clone())), tenancy }
    }

    pub(crate) fn record(&self, pull: &Pull, digest: &Digest, reference: &Reference) {
        let Some(buffer) = &self.buffer else { return };
        let repository = &pull.place.repository;
        let name = match reference {
            Reference::Tag(tag) => format!("{repository}:{tag}"),
            Reference::Digest(digest) => format!("{repository}@{digest}"),
        };
        buffer.push(audit::Entry {
            actor: pull.caller.actor(),
            action: "artifact_pull",
            object: audit::Object { kind: "artifact", id: digest.to_string(), name: &name },
            project: Some(pull.place.project.0),
            outcome: audit::Outcome::Done,
            origin: &pull.caller.origin,
            changed: &[],
        });
    }

    /// Writes every second what waits, unless the run-time configuration switches pulls off, and a last time when
    /// `shutdown` is cancelled. The setting is read once for each of these batches and never by a pull.
    pub async fn run(self, shutdown: CancellationToken) {
        let Some(buffer) = self.buffer else { return shutdown.cancelled().await };
        let tenancy = &self.tenancy;
        let wanted = async || tenancy.settings().await.ok().map(|settings| settings.audit_pulls);
        buffer.run_while(shutdown, wanted).await;
    }
}
