//! Bytes in files below one directory, a root:
//!
//! ```text
//! <root>/uploads/<uuid>           an upload that is not finished
//! <root>/uploads/<uuid>.lock      who holds the lock on it may write; it outlives the rename of the upload, so
//!                                 that nobody takes a published upload for one that lost its bytes
//! <root>/b/<2 hex>/<32 hex>       published content; key "b/<2 hex>/<32 hex>"
//! ```
//!
//! Never follows a symbolic link below the root, never replaces a file, and never writes to a published one.
//!
//! Invariant: `publish` returns only after the data, its new name and every new directory above it are durable.
//! Invariant: after a failed fsync a file is abandoned. The kernel may have dropped its dirty pages, and a
//! second fsync would succeed over the hole.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use rustix::io::{ReadWriteFlags, preadv2};
use uuid::Uuid;

use super::{Driver, Source, Staging, Version};
use crate::Key;

/// How often a claim looks again when the file under its path was exchanged. Each time needs another request
/// to finish or discard the same upload in between.
const CLAIM_ATTEMPTS_MAX: u32 = 16;

pub(crate) struct Filesystem {
    layout: Arc<Layout>,
}

struct Layout {
    published: PathBuf,
    uploads: PathBuf,
    fsync: bool,
    /// The fan-out directories whose own names this process knows to be durable.
    durable: [AtomicBool; 256],
}

impl Filesystem {
    pub(crate) fn open(root: &Path, fsync: bool) -> io::Result<Self> {
        if root.as_os_str().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the blob store has no directory"));
        }
        let root = std::path::absolute(root)?;
        let layout = Layout {
            published: root.join("b"),
            uploads: root.join("uploads"),
            fsync,
            durable: [const { AtomicBool::new(false) }; 256],
        };
        layout.make_directories(&root)?;
        Ok(Self { layout: Arc::new(layout) })
    }

    /// Bytes that are free for this process, and all there are.
    pub(super) fn room(&self) -> io::Result<(u64, u64)> {
        let found = nix::sys::statvfs::statvfs(&self.layout.uploads)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
        Ok((bytes(found.blocks_available()), bytes(found.blocks())))
    }
}

impl Layout {
    /// Makes the root and what it holds. Whatever is new is private to the account; an existing directory
    /// keeps the rights that the operator gave it.
    fn make_directories(&self, root: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = root.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.iter().rev() {
            // Others may have to pass through the parents to reach what is theirs.
            let mode = if *path == root { 0o700 } else { 0o755 };
            make_directory(path, mode)?;
        }
        make_directory(&self.published, 0o700)?;
        make_directory(&self.uploads, 0o700)?;
        if self.fsync {
            // Always: an earlier process may have died between making and syncing.
            sync_directory(root)?;
            for path in missing {
                sync_directory(path.parent().unwrap_or(path))?;
            }
        }
        Ok(())
    }

    fn upload_path(&self, id: Uuid) -> PathBuf {
        self.uploads.join(id.hyphenated().to_string())
    }

    fn path(&self, key: &Key) -> io::Result<PathBuf> {
        let (fan_out, name) = key
            .parts()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a key of this store"))?;
        Ok(self.fan_out_path(fan_out).join(name))
    }

    fn fan_out_path(&self, fan_out: u8) -> PathBuf {
        self.published.join(format!("{fan_out:02x}"))
    }

    /// Whether what is missing is missing, or the whole store is: a volume that is not mounted must not make every
    /// blob look damaged.
    fn still_there(&self) -> io::Result<()> {
        match self.published.try_exists() {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(io::Error::other("the directory of the blob store is gone; is its volume mounted?"))
            }
            Err(err) => Err(err),
        }
    }

    fn lock_path(&self, id: Uuid) -> PathBuf {
        self.uploads.join(format!("{}.lock", id.hyphenated()))
    }

    /// Makes a fan-out directory whose name is durable. Another thread may have made it an instant ago and not
    /// synced its parent yet, so only what this process has synced itself counts.
    fn ensure_fan_out(&self, fan_out: u8) -> io::Result<()> {
        let durable = &self.durable[usize::from(fan_out)];
        if durable.load(Ordering::Acquire) {
            return Ok(());
        }
        make_directory(&self.fan_out_path(fan_out), 0o700)?;
        if self.fsync {
            sync_directory(&self.published)?;
        }
        durable.store(true, Ordering::Release);
        Ok(())
    }

    fn open_upload(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("the path of an upload is not a regular file"));
        }
        Ok(file)
    }
}

impl Driver for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn claim(&self, id: Uuid) -> io::Result<Option<Arc<dyn Staging>>> {
        let Some(lock) = Lock::take(&self.layout, id)? else { return Ok(None) };
        let path = self.layout.upload_path(id);
        let file = self.layout.open_upload(&path)?;
        let layout = self.layout.clone();
        Ok(Some(Arc::new(Upload {
            file,
            path,
            layout,
            gone: AtomicBool::new(false),
            syncing: Mutex::new(()),
            _lock: lock,
        })))
    }

    fn discard(&self, id: Uuid) -> io::Result<()> {
        // A lock that nobody holds was left by a process that died; taking it and letting go removes it.
        drop(Lock::take(&self.layout, id)?);
        missing_is_fine(std::fs::remove_file(self.layout.upload_path(id)))
    }

    fn stat(&self, key: &Key) -> io::Result<Option<u64>> {
        match std::fs::symlink_metadata(self.layout.path(key)?) {
            Ok(found) => Ok(found.is_file().then_some(found.len())),
            Err(err) if err.kind() == io::ErrorKind::NotFound => self.layout.still_there().map(|()| None),
            Err(err) => Err(err),
        }
    }

    fn open(&self, key: &Key) -> io::Result<Option<Arc<dyn Source>>> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(self.layout.path(key)?);
        let file = match opened {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return self.layout.still_there().map(|()| None);
            }
            Err(err) => return Err(err),
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Ok(None);
        }
        let version =
            [found.dev() as i64, found.ino() as i64, found.ctime(), found.ctime_nsec(), found.len() as i64];
        Ok(Some(Arc::new(Published { file, size: found.len(), version })))
    }

    fn delete(&self, key: &Key) -> io::Result<()> {
        missing_is_fine(std::fs::remove_file(self.layout.path(key)?))
    }

    fn probe(&self) -> io::Result<()> {
        let path = self.layout.uploads.join(format!(".probe-{}", Uuid::new_v4()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)?;
        let tried = file.write_all_at(b"?", 0).and_then(|()| file.read_exact_at(&mut [0], 0));
        tried.and(std::fs::remove_file(&path))
    }
}

/// The exclusive right to one upload. The lock dies with its process; its file goes when it is given back.
struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// `None` while another holds it.
    fn take(layout: &Layout, id: Uuid) -> io::Result<Option<Self>> {
        let path = layout.lock_path(id);
        for _ in 0..CLAIM_ATTEMPTS_MAX {
            let file = layout.open_upload(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
                Err(std::fs::TryLockError::Error(err)) => return Err(err),
            }
            // Between opening and locking, the holder may have given it back and removed the file.
            if same_file(&file.metadata()?, &path)? {
                return Ok(Some(Self { _file: file, path }));
            }
        }
        Ok(None)
    }
}

impl Drop for Lock {
    /// Only the holder removes the file, and whoever opened it before looks again after locking it.
    fn drop(&mut self) {
        if let Err(err) = missing_is_fine(std::fs::remove_file(&self.path)) {
            tracing::warn!(path = %self.path.display(), error = %err, "the lock of an upload is left");
        }
    }
}

/// A claimed upload.
struct Upload {
    file: File,
    path: PathBuf,
    layout: Arc<Layout>,
    /// Published, or abandoned: there is nothing left under `path` that is ours.
    gone: AtomicBool,
    /// Held while the file is synced. The system tells an error to one of two that sync at the same time, and the
    /// other must not take the bytes for durable.
    syncing: Mutex<()>,
    _lock: Lock,
}

impl Upload {
    /// Never to be synced again, since that would succeed over the hole: without its name nobody can.
    fn abandon(&self) {
        if let Err(left) = self.unlink() {
            tracing::warn!(path = %self.path.display(), error = %left, "an upload that cannot be trusted is left");
        }
    }

    /// Removes the name of the file, if it is still ours.
    fn unlink(&self) -> io::Result<()> {
        self.gone.store(true, Ordering::Release);
        if same_file(&self.file.metadata()?, &self.path)? { std::fs::remove_file(&self.path) } else { Ok(()) }
    }

    fn rename(&self, target: &Path, fan_out: u8) -> io::Result<()> {
        match rename_new(&self.path, target) {
            // Somebody has tidied up empty directories.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                self.layout.durable[usize::from(fan_out)].store(false, Ordering::Release);
                self.layout.ensure_fan_out(fan_out)?;
                rename_new(&self.path, target)
            }
            done => done,
        }
    }

    /// What follows the rename. The caller removes the target when it fails.
    fn settle(&self, target: &Path, fan_out: u8) -> io::Result<()> {
        // A discard and a new claim between our lock and the rename would have moved another upload's file.
        if !same_file(&self.file.metadata()?, target)? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the upload was discarded"));
        }
        if self.layout.fsync {
            sync_directory(&self.layout.fan_out_path(fan_out))?;
        }
        Ok(())
    }
}

impl Staging for Upload {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn flush(&self) -> io::Result<()> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.gone.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the upload was abandoned"));
        }
        if !self.layout.fsync {
            return Ok(());
        }
        self.file.sync_data().inspect_err(|_| self.abandon())
    }

    fn publish(&self, key: &Key) -> io::Result<()> {
        let target = self.layout.path(key)?;
        let (fan_out, _) = key.parts().ok_or(io::ErrorKind::InvalidInput)?;
        self.flush()?;
        self.layout.ensure_fan_out(fan_out)?;
        self.rename(&target, fan_out)?;
        self.gone.store(true, Ordering::Release);
        self.settle(&target, fan_out).inspect_err(|_| {
            if let Err(left) = std::fs::remove_file(&target) {
                tracing::warn!(key = key.as_str(), error = %left, "bytes that nobody was told of are left");
            }
        })
    }
}

impl Drop for Upload {
    /// An upload without bytes needs no file. The lock is still held here, so nobody else can be writing to it.
    fn drop(&mut self) {
        let gone = self.gone.load(Ordering::Acquire);
        if !gone && self.file.metadata().is_ok_and(|found| found.len() == 0) {
            // An empty file that stays is found again by the next claim, or removed by a discard.
            let _ = self.unlink();
        }
    }
}

struct Published {
    file: File,
    size: u64,
    version: Version,
}

impl Source for Published {
    fn size(&self) -> u64 {
        self.size
    }

    fn version(&self) -> Version {
        self.version
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> usize {
        // A file system that does not know the flag, a page that is not there, and an error that the ordinary way
        // will meet again: all the same here.
        preadv2(&self.file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
    }
}

/// Makes one directory; one that exists is fine.
fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(err) => Err(io::Error::new(err.kind(), format!("{}: {err}", path.display()))),
        Ok(()) => Ok(()),
    }
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path)?.sync_all()
}

/// Whether `path` names the file that was opened.
fn same_file(opened: &Metadata, path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (opened.dev(), opened.ino())),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

fn missing_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Renames without replacing.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_exclusive(from, to) {
        // Some network and overlay file systems do not know the flag. The name is 128 random bits, so looking
        // first is as good.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        done => Ok(done?),
    }
}

#[cfg(target_env = "gnu")]
fn rename_exclusive(from: &Path, to: &Path) -> nix::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)
}

/// nix offers the call for glibc only.
#[cfg(not(target_env = "gnu"))]
fn rename_exclusive(_: &Path, _: &Path) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn everything_new_is_private_and_the_parents_can_be_passed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("parent/blobs");
        let driver = Filesystem::open(&root, true).unwrap();
        let (id, key) = (Uuid::new_v4(), Key::random());
        let upload = driver.claim(id).unwrap().unwrap();
        upload.write_at(b"bytes", 0).unwrap();
        assert_eq!(mode(&root.join("uploads").join(id.to_string())), 0o600);
        upload.publish(&key).unwrap();
        for (path, expected) in [
            (root.parent().unwrap().to_owned(), 0o755),
            (root.clone(), 0o700),
            (root.join("b"), 0o700),
            (root.join("uploads"), 0o700),
            (root.join(key.as_str()), 0o600),
            (root.join(key.as_str()).parent().unwrap().to_owned(), 0o700),
        ] {
            assert_eq!(mode(&path), expected, "{}", path.display());
        }
    }

    #[test]
    fn the_rights_of_an_existing_root_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o750)).unwrap();
        Filesystem::open(dir.path(), true).unwrap();
        assert_eq!(mode(dir.path()), 0o750);
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Filesystem::open(&dir.path().join("blobs"), true).unwrap();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, b"not ours").unwrap();

        let id = Uuid::new_v4();
        std::os::unix::fs::symlink(&outside, driver.layout.upload_path(id)).unwrap();
        assert!(driver.claim(id).is_err());

        let key = Key::random();
        let path = driver.layout.path(&key).unwrap();
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&outside, &path).unwrap();
        assert!(driver.open(&key).is_err());
        assert_eq!(driver.stat(&key).unwrap(), None);
        driver.delete(&key).unwrap();
        assert_eq!(std::fs::read(&outside).unwrap(), b"not ours");
    }

    #[test]
    fn a_published_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Filesystem::open(dir.path(), true).unwrap();
        let key = Key::random();
        for (content, published) in [(b"first", true), (b"other", false)] {
            let upload = driver.claim(Uuid::new_v4()).unwrap().unwrap();
            upload.write_at(content, 0).unwrap();
            assert_eq!(upload.publish(&key).is_ok(), published);
        }
        assert_eq!(std::fs::read(driver.layout.path(&key).unwrap()).unwrap(), b"first");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, b"new").unwrap();
        std::fs::write(&to, b"old").unwrap();
        assert_eq!(rename_new(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_fan_out_directory_that_was_tidied_away_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Filesystem::open(dir.path(), true).unwrap();
        let key = Key::random();
        let (fan_out, _) = key.parts().unwrap();
        driver.layout.ensure_fan_out(fan_out).unwrap();
        std::fs::remove_dir(driver.layout.fan_out_path(fan_out)).unwrap();
        driver.claim(Uuid::new_v4()).unwrap().unwrap().publish(&key).unwrap();
        assert_eq!(driver.stat(&key).unwrap(), Some(0));
    }

    #[test]
    fn a_store_whose_directory_is_gone_is_a_fault_and_not_a_missing_blob() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Filesystem::open(dir.path(), true).unwrap();
        let key = Key::random();
        assert_eq!(driver.stat(&key).unwrap(), None);
        assert!(driver.open(&key).unwrap().is_none());
        // As when a volume is not mounted: the directory is there, and nothing is in it.
        std::fs::rename(dir.path().join("b"), dir.path().join("elsewhere")).unwrap();
        assert!(driver.stat(&key).is_err());
        assert!(driver.open(&key).is_err());
    }

    #[test]
    fn a_published_upload_is_claimed_until_its_writer_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Filesystem::open(dir.path(), true).unwrap();
        let (id, key) = (Uuid::new_v4(), Key::random());
        let first = driver.claim(id).unwrap().unwrap();
        first.write_at(b"first", 0).unwrap();
        first.publish(&key).unwrap();
        assert!(driver.claim(id).unwrap().is_none());
        drop(first);
        drop(driver.claim(id).unwrap().unwrap());
        assert_eq!(
            std::fs::read_dir(dir.path().join("uploads")).unwrap().flatten().count(),
            0,
            "no file is left"
        );
    }

    #[test]
    fn a_discarded_upload_is_not_published_and_its_successor_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Filesystem::open(dir.path(), true).unwrap();
        let (id, key) = (Uuid::new_v4(), Key::random());
        let first = driver.claim(id).unwrap().unwrap();
        first.write_at(b"first", 0).unwrap();
        driver.discard(id).unwrap();
        assert!(driver.claim(id).unwrap().is_none(), "the claim outlives the bytes");
        assert!(first.publish(&key).is_err());
        assert_eq!(driver.stat(&key).unwrap(), None);
        drop(first);
        let second = driver.claim(id).unwrap().unwrap();
        second.write_at(b"second", 0).unwrap();
        assert_eq!(second.size().unwrap(), 6);
        assert_eq!(std::fs::read_dir(dir.path().join("b")).unwrap().flatten().count(), 1);
    }
}
