//! Several directories, each a [`Filesystem`] of its own, as one place for bytes.
//!
//! The key of content and the id of an upload say which directory they are in, so nothing is ever searched for, and
//! the order of the directories in the configuration means nothing. A new upload goes to one with the most room
//! and stays there until it is published, because a rename works within one file system only.
//!
//! Invariant: content is only called missing while its directory says who it is. One that is not mounted, or
//! was exchanged for another, is a fault.

mod open;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::identity::{FILE, Identity};
use super::{Driver, Filesystem, Free, Source, Staging};
use crate::error::{is_full, partial};
use crate::{Config, Key, Record, RootId, RootRecord};

/// How long the choice of directories for new uploads holds.
const CHOICE_AGE: Duration = Duration::from_secs(3);

/// How long a directory in which writing failed gets no new uploads, while there are others.
const SHUNNED: Duration = Duration::from_secs(30);

/// How often a directory that is missing is looked for.
const SEARCH_INTERVAL: Duration = Duration::from_secs(2);

pub(crate) struct Roots {
    store: Uuid,
    fsync: bool,
    /// A directory with less room gets no new uploads; bytes.
    reserve: u64,
    /// Those in use. Grows when one that was missing turns up.
    roots: RwLock<Vec<Arc<Root>>>,
    /// Those that hold content and were not there at the start.
    missing: Vec<RootRecord>,
    /// Configured, and not in use.
    unused: Vec<PathBuf>,
    searched: Mutex<Instant>,
    choice: RwLock<Option<Choice>>,
    choosing: Mutex<()>,
}

/// Where new uploads may go.
#[derive(Clone)]
struct Choice {
    made: Instant,
    among: Vec<RootId>,
}

/// One directory.
struct Root {
    identity: Identity,
    path: PathBuf,
    driver: Filesystem,
    /// When writing failed for another reason than space.
    failed: Mutex<Option<Instant>>,
}

impl Roots {
    /// Opens the directories of `config`, making what is new. See [`open`] for what is refused.
    pub(crate) fn open(config: &Config, record: &Record) -> io::Result<Self> {
        let opened = open::open(&config.roots, config.fsync, record)?;
        for missing in &opened.missing {
            tracing::error!("{}", gone(missing));
        }
        Ok(Self {
            store: record.store,
            fsync: config.fsync,
            reserve: config.reserve_mib.saturating_mul(1024 * 1024),
            roots: RwLock::new(opened.roots.into_iter().map(Arc::new).collect()),
            missing: opened.missing,
            unused: opened.unused,
            searched: Mutex::new(Instant::now()),
            choice: RwLock::default(),
            choosing: Mutex::default(),
        })
    }

    /// The directories in use.
    pub(crate) fn records(&self) -> Vec<RootRecord> {
        self.in_use()
            .iter()
            .map(|root| RootRecord { id: root.identity.root, path: root.path.clone() })
            .collect()
    }

    fn in_use(&self) -> Vec<Arc<Root>> {
        self.roots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, id: RootId) -> io::Result<Arc<Root>> {
        let known = || {
            let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
            roots.iter().find(|root| root.identity.root == id).cloned()
        };
        if let Some(root) = known() {
            return Ok(root);
        }
        self.search();
        known().ok_or_else(|| match self.missing.iter().find(|missing| missing.id == id) {
            Some(missing) => io::Error::other(gone(missing)),
            None => io::Error::other(format!(
                "the directory of blobs {id} is not known here: add its path to storage.filesystem.roots"
            )),
        })
    }

    /// The directory of a key, and the key in there.
    fn locate(&self, key: &Key) -> io::Result<(Arc<Root>, Key)> {
        let (id, local) = key
            .root()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a key of this store"))?;
        Ok((self.find(id)?, local))
    }

    /// Takes missing directories into use that are there by now.
    fn search(&self) {
        if self.unused.is_empty() {
            return;
        }
        {
            let mut searched = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
            if searched.elapsed() < SEARCH_INTERVAL {
                return;
            }
            *searched = Instant::now();
        }
        for path in &self.unused {
            let Ok(Some(identity)) = Identity::read(path) else { continue };
            let ours = identity.store == self.store
                && self.missing.iter().any(|missing| missing.id == identity.root)
                && !self.in_use().iter().any(|root| root.identity.root == identity.root);
            if !ours {
                continue;
            }
            match Root::open(path.clone(), identity, self.fsync) {
                Ok(root) => {
                    tracing::info!(path = %path.display(), "a directory of blobs is back");
                    self.roots.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(root));
                }
                Err(err) => {
                    tracing::error!(path = %path.display(), error = %err, "a directory of blobs is back and cannot be used")
                }
            }
        }
    }

    /// The missing directories that did not turn up since.
    fn still_missing(&self) -> Vec<&RootRecord> {
        let roots = self.in_use();
        let back = |missing: &RootRecord| roots.iter().any(|root| root.identity.root == missing.id);
        self.missing.iter().filter(|missing| !back(missing)).collect()
    }

    /// Where new uploads may go, as far as that is known without a look at the disks.
    fn chosen(&self) -> Option<Vec<RootId>> {
        let roots = self.in_use();
        if let ([only], 0) = (roots.as_slice(), self.reserve) {
            return Some(vec![only.identity.root]);
        }
        let last = self.choice.read().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|choice| choice.made.elapsed() < CHOICE_AGE).map(|choice| choice.among.clone())
    }

    /// Where new uploads may go: directories that work and have about as much room as the roomiest.
    fn choose(&self) -> io::Result<Vec<RootId>> {
        if let Some(chosen) = self.chosen() {
            return Ok(chosen);
        }
        let last = self.choice.read().unwrap_or_else(PoisonError::into_inner).clone();
        let _choosing = match (self.choosing.try_lock(), last) {
            // Somebody is looking. What was right some seconds ago will do meanwhile.
            (Err(TryLockError::WouldBlock), Some(choice)) => return Ok(choice.among),
            (Ok(choosing), _) => choosing,
            (Err(_), _) => self.choosing.lock().unwrap_or_else(PoisonError::into_inner),
        };
        self.search();
        let among = roomiest(&self.in_use(), self.reserve)?;
        let choice = Choice { made: Instant::now(), among: among.clone() };
        *self.choice.write().unwrap_or_else(PoisonError::into_inner) = Some(choice);
        Ok(among)
    }

    /// Has the next upload look anew.
    fn forget_choice(&self) {
        *self.choice.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn gone(missing: &RootRecord) -> String {
    format!(
        "the directory of blobs {}, last at {}, is missing: mount its volume, and name its path in \
         storage.filesystem.roots",
        missing.id,
        missing.path.display()
    )
}

/// The directories with at least nine tenths of the most room there is, beyond the reserve.
fn roomiest(roots: &[Arc<Root>], reserve: u64) -> io::Result<Vec<RootId>> {
    let mut failed = None;
    let mut full = None;
    let mut room = Vec::new();
    let shunned = |root: &&Arc<Root>| root.shunned();
    // Those that failed come last, and only when there is nothing else.
    let sound = roots.iter().filter(|root| !shunned(root));
    for (root, last_resort) in
        sound.map(|root| (root, false)).chain(roots.iter().filter(shunned).map(|root| (root, true)))
    {
        if last_resort && !room.is_empty() {
            break;
        }
        match root.room() {
            Ok(bytes) if bytes > reserve || (reserve == 0 && bytes == 0) => {
                room.push((root.identity.root, bytes))
            }
            Ok(_) => full = Some(io::Error::from(Errno::ENOSPC)),
            Err(err) if is_full(&err) => full = Some(err),
            Err(err) => {
                root.note_failure(&err);
                failed = Some(err);
            }
        }
    }
    let most = room.iter().map(|(_, bytes)| *bytes).max();
    match most {
        Some(most) => {
            let enough = most - most / 10;
            Ok(room.into_iter().filter(|(_, bytes)| *bytes >= enough).map(|(id, _)| id).collect())
        }
        None => Err(full.or(failed).unwrap_or_else(|| Errno::ENOSPC.into())),
    }
}

impl Root {
    fn open(path: PathBuf, identity: Identity, fsync: bool) -> io::Result<Self> {
        let driver = Filesystem::open(&path, fsync)?;
        Ok(Self { identity, path, driver, failed: Mutex::default() })
    }

    /// Whether this is still the directory that was opened.
    fn verify(&self) -> io::Result<()> {
        match Identity::read(&self.path)? {
            Some(found) if found == self.identity => Ok(()),
            Some(_) => Err(io::Error::other(
                "another directory of blobs is in this place; is the right volume mounted?",
            )),
            None => Err(io::Error::other(format!("the file {FILE} is gone; is the volume mounted?"))),
        }
    }

    /// Names the directory in an error, unless space is missing, which callers tell by its number.
    fn named<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|err| match is_full(&err) {
            true => err,
            false => io::Error::new(err.kind(), Named { path: self.path.clone(), source: err }),
        })
    }

    /// Bytes that are free, in a directory that can be written to.
    fn room(&self) -> io::Result<u64> {
        self.named(self.probe().and_then(|()| self.driver.room().map(|(free, _)| free)))
    }

    fn probe(&self) -> io::Result<()> {
        self.verify()?;
        self.driver.probe()
    }

    fn shunned(&self) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < SHUNNED)
    }

    /// Returns whether that is news.
    fn note_failure(&self, err: &io::Error) -> bool {
        let news = !self.shunned();
        if news {
            tracing::error!(path = %self.path.display(), error = %err, "a directory of blobs cannot be written to");
        }
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        news
    }
}

/// A failure and the directory it happened in.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct Named {
    path: PathBuf,
    source: io::Error,
}

impl Driver for Roots {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn known_upload_id(&self) -> Option<Uuid> {
        self.chosen()?.choose(&mut rand::rng()).map(|root| root.upload_id())
    }

    fn upload_id(&self) -> io::Result<Uuid> {
        let among = self.choose()?;
        let root = among.choose(&mut rand::rng()).ok_or(Errno::ENOSPC)?;
        Ok(root.upload_id())
    }

    fn claim(&self, id: Uuid) -> io::Result<Option<Arc<dyn Staging>>> {
        let root = self.find(RootId::of_upload(id))?;
        let claimed = root.named(root.driver.claim(id))?;
        Ok(claimed.map(|staging| Arc::new(Placed { root, staging }) as Arc<dyn Staging>))
    }

    fn discard(&self, id: Uuid) -> io::Result<()> {
        let root = self.find(RootId::of_upload(id))?;
        root.named(root.driver.discard(id))
    }

    fn stat(&self, key: &Key) -> io::Result<Option<u64>> {
        let (root, local) = self.locate(key)?;
        let found = match root.driver.stat(&local) {
            Ok(None) => root.verify().map(|()| None),
            found => found,
        };
        root.named(found)
    }

    fn open(&self, key: &Key) -> io::Result<Option<Arc<dyn Source>>> {
        let (root, local) = self.locate(key)?;
        let found = match root.driver.open(&local) {
            Ok(None) => root.verify().map(|()| None),
            found => found,
        };
        root.named(found)
    }

    fn delete(&self, key: &Key) -> io::Result<()> {
        let (root, local) = self.locate(key)?;
        root.named(root.driver.delete(&local))
    }

    fn probe(&self) -> io::Result<()> {
        self.search();
        let roots = self.in_use();
        let (mut working, mut full, mut faults) = (0, None, Vec::new());
        for root in &roots {
            match root.probe() {
                Ok(()) => working += 1,
                Err(err) if is_full(&err) => full = Some(err),
                Err(err) => {
                    if root.note_failure(&err) {
                        self.forget_choice();
                    }
                    faults.push(format!("{}: {err}", root.path.display()));
                }
            }
        }
        faults.extend(self.still_missing().into_iter().map(gone));
        match (working, full) {
            _ if faults.is_empty() && working > 0 => Ok(()),
            (0, Some(err)) => Err(err),
            (0, None) => Err(io::Error::other(faults.join("; "))),
            _ => Err(partial(faults.join("; "))),
        }
    }

    fn free(&self) -> Vec<Free> {
        let free = |root: &Arc<Root>| {
            // Of an exchanged or unmounted volume the figure would be another file system's.
            root.verify().ok()?;
            let (bytes, total_bytes) = root.driver.room().ok()?;
            Some(Free { root: root.path.clone(), bytes, total_bytes })
        };
        self.in_use().iter().filter_map(free).collect()
    }
}

/// A claimed upload in one of the directories.
struct Placed {
    root: Arc<Root>,
    staging: Arc<dyn Staging>,
}

impl Placed {
    /// A directory that cannot be written to is left alone by new uploads for a while.
    fn noted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if let Err(err) = &done
            && !is_full(err)
            && err.kind() != io::ErrorKind::NotFound
        {
            self.root.note_failure(err);
        }
        self.root.named(done)
    }
}

impl Staging for Placed {
    fn size(&self) -> io::Result<u64> {
        self.root.named(self.staging.size())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.root.named(self.staging.truncate(size))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.noted(self.staging.write_at(bytes, offset))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.root.named(self.staging.read_at(buffer, offset))
    }

    fn key(&self) -> Key {
        self.staging.key().in_root(self.root.identity.root)
    }

    fn flush(&self) -> io::Result<()> {
        self.noted(self.staging.flush())
    }

    fn publish(&self, key: &Key) -> io::Result<()> {
        match key.root() {
            Some((root, local)) if root == self.root.identity.root => {
                self.noted(self.staging.publish(&local))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a key of this directory of blobs")),
        }
    }
}

/// What directories have in common that are on one file system.
fn device(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().ok().map(|found| found.dev())
}
