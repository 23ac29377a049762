//! Bytes in the memory of the process. For tests, and the second implementation that keeps the trait honest.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use uuid::Uuid;

use super::{Driver, Source, Staging, Version};
use crate::Key;

#[derive(Default)]
pub(crate) struct Memory {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Default)]
struct Tables {
    uploads: HashMap<Uuid, Arc<Upload>>,
    published: HashMap<Key, Bytes>,
}

#[derive(Default)]
struct Upload {
    bytes: Mutex<Vec<u8>>,
    claimed: AtomicBool,
}

/// A claimed upload.
struct Claim {
    tables: Arc<Mutex<Tables>>,
    id: Uuid,
    upload: Arc<Upload>,
    published: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn claim(&self, id: Uuid) -> io::Result<Option<Arc<dyn Staging>>> {
        // Under one lock: a claim that ends meanwhile may remove the empty upload.
        let mut tables = locked(&self.tables);
        let upload = tables.uploads.entry(id).or_default().clone();
        if upload.claimed.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        Ok(Some(Arc::new(Claim {
            tables: self.tables.clone(),
            id,
            upload,
            published: AtomicBool::new(false),
        })))
    }

    fn discard(&self, id: Uuid) -> io::Result<()> {
        locked(&self.tables).uploads.remove(&id);
        Ok(())
    }

    fn stat(&self, key: &Key) -> io::Result<Option<u64>> {
        Ok(locked(&self.tables).published.get(key).map(|bytes| bytes.len() as u64))
    }

    fn open(&self, key: &Key) -> io::Result<Option<Arc<dyn Source>>> {
        let found = locked(&self.tables).published.get(key).cloned();
        Ok(found.map(|bytes| Arc::new(bytes) as Arc<dyn Source>))
    }

    fn delete(&self, key: &Key) -> io::Result<()> {
        locked(&self.tables).published.remove(key);
        Ok(())
    }

    fn probe(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Staging for Claim {
    fn size(&self) -> io::Result<u64> {
        Ok(locked(&self.upload.bytes).len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        locked(&self.upload.bytes).truncate(size as usize);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let mut stored = locked(&self.upload.bytes);
        if stored.len() < end {
            stored.resize(end, 0);
        }
        stored[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        copy_at(&locked(&self.upload.bytes), buffer, offset)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn publish(&self, key: &Key) -> io::Result<()> {
        let mut tables = locked(&self.tables);
        if !tables.uploads.get(&self.id).is_some_and(|upload| Arc::ptr_eq(upload, &self.upload)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.published.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::NotFound.into());
        }
        // The empty upload stays, claimed, until the claim ends.
        let bytes = std::mem::take(&mut *locked(&self.upload.bytes));
        tables.published.insert(key.clone(), bytes.into());
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut tables = locked(&self.tables);
        let ours = tables.uploads.get(&self.id).is_some_and(|upload| Arc::ptr_eq(upload, &self.upload));
        if ours && locked(&self.upload.bytes).is_empty() {
            tables.uploads.remove(&self.id);
        }
        self.upload.claimed.store(false, Ordering::Release);
    }
}

impl Source for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    /// Content in memory does not change.
    fn version(&self) -> Version {
        Version::default()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        copy_at(self, buffer, offset)
    }
}

fn copy_at(bytes: &[u8], buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let part =
        usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
    buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}
