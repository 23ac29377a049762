//! What a place for bytes must be able to do. Private: callers see [`crate::BlobStore`] only.
//!
//! All methods block; the store calls them beside the event loop. Hashing, buffering, limits and checks are
//! not a driver's business.

mod filesystem;
mod identity;
mod memory;
mod roots;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use crate::Key;

use filesystem::Filesystem;
pub(crate) use memory::Memory;
pub(crate) use roots::Roots;

/// Room in one place where bytes are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    pub root: PathBuf,
    /// Free for this process.
    pub bytes: u64,
    /// All there are, used ones included.
    pub total_bytes: u64,
}

pub(crate) trait Driver: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// An id as from [`Driver::upload_id`], if one is known without blocking.
    fn known_upload_id(&self) -> Option<Uuid> {
        None
    }

    /// An id for an upload that is to begin, which says where its bytes will be.
    fn upload_id(&self) -> io::Result<Uuid> {
        Ok(Uuid::new_v4())
    }

    /// Claims the bytes of an upload, beginning it when it does not exist. `None` while another has the claim.
    fn claim(&self, id: Uuid) -> io::Result<Option<Arc<dyn Staging>>>;

    /// Forgets an upload, claimed or not. Unknown is fine.
    fn discard(&self, id: Uuid) -> io::Result<()>;

    /// Size of published content.
    fn stat(&self, key: &Key) -> io::Result<Option<u64>>;

    fn open(&self, key: &Key) -> io::Result<Option<Arc<dyn Source>>>;

    /// Missing is fine.
    fn delete(&self, key: &Key) -> io::Result<()>;

    fn probe(&self) -> io::Result<()>;

    fn free(&self) -> Vec<Free> {
        Vec::new()
    }
}

/// The bytes of a claimed upload. The claim ends with the last reference.
pub(crate) trait Staging: Send + Sync {
    fn size(&self) -> io::Result<u64>;

    fn truncate(&self, size: u64) -> io::Result<()>;

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `buffer` or fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Brings what was written so far to the disk, so that `publish` has less to wait for. After an error the upload
    /// has no bytes any more: the system reports a lost page once, and then never again.
    fn flush(&self) -> io::Result<()>;

    /// A key that was never used, of content that lies where these bytes do.
    fn key(&self) -> Key {
        Key::random()
    }

    /// Makes the bytes durable and gives them the name `key`. After success the upload has no bytes any more, and
    /// the claim keeps others away until it ends.
    /// After an error nothing has that name.
    fn publish(&self, key: &Key) -> io::Result<()>;
}

/// Published content that was opened for reading.
pub(crate) trait Source: Send + Sync {
    fn size(&self) -> u64;

    fn version(&self) -> Version;

    /// Fills `buffer` or fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Puts into `buffer` what is at hand without waiting for a disk, and tells how many bytes that was. The one
    /// method that may be called on the event loop. 0: nothing, or nobody knows.
    fn read_cached(&self, _buffer: &mut [u8], _offset: u64) -> usize {
        0
    }
}

/// Changes whenever the content under a key may have changed. What the numbers are is the driver's business.
pub(crate) type Version = [i64; 5];
