//! What is below the domains and only the composition root can reach: the place of the blobs, the jobs, the description
//! of the API, which another service makes.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use queue::History;

use crate::pages::docs::api::Api;

/// Room in one place where blobs are kept, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub total: u64,
    pub free: u64,
}

impl Room {
    pub(crate) fn total_bytes(&self) -> i64 {
        i64::try_from(self.total).unwrap_or(i64::MAX)
    }

    pub(crate) fn free_bytes(&self) -> i64 {
        i64::try_from(self.free.min(self.total)).unwrap_or(i64::MAX)
    }
}

/// See the module.
#[derive(Clone)]
pub struct Platform {
    pub jobs: History,
    /// The kind of store that holds the blobs: `filesystem`.
    pub storage_name: String,
    /// Asks the store whether it can be read and written.
    pub storage_probe: Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
    /// Asks for the room in each place where blobs are kept; none where that is not known. Blocks for a short time.
    pub storage_room: Arc<dyn Fn() -> Vec<Room> + Send + Sync>,
    /// The description of the REST API.
    pub api: Api,
}

impl Platform {
    /// The room in each place where blobs are kept.
    pub(crate) async fn rooms(&self) -> Vec<Room> {
        let rooms = self.storage_room.clone();
        tokio::task::spawn_blocking(move || rooms()).await.unwrap_or_default()
    }
}
