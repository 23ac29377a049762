//! The data directory: one `hythe serve` at a time or any number of single roles, private subdirectories, the
//! master key.
//!
//! The directory itself can be traversed by others, because the embedded PostgreSQL runs under its own account
//! inside it; everything in it is private. What exists is never made wider or overwritten.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use rand::RngExt;
use sealed::Secret;

const LOCK_FILE: &str = "lock";
const ADMIN_PASSWORD_FILE: &str = "admin-password";
const MASTER_KEY_BYTES: usize = 32;

/// Why the data directory or a file in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is in use by another hythe{}", path.display(), process.map(|id| format!(" (process {id})")).unwrap_or_default())]
    InUse { path: PathBuf, process: Option<u32> },
    #[error("{}: {what}", path.display())]
    Io {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{} can be read by others (mode {mode:o})", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is not a master key: it must hold exactly 32 bytes", path.display())]
    NotAKey { path: PathBuf },
    #[error("{} does not exist", path.display())]
    KeyMissing { path: PathBuf },
}

/// The directory, held by this process until dropped. The lock dies with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl DataDir {
    /// Makes the directory when it is missing and takes it for this process alone.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = Self::lock_file(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // For the message of whoever comes second; the lock itself does not depend on it.
                let written = lock
                    .set_len(0)
                    .and_then(|()| lock.rewind())
                    .and_then(|()| writeln!(lock, "{}", std::process::id()));
                written.map_err(fault(&path.join(LOCK_FILE), "the lock file cannot be written"))?;
                Ok(Self { path: path.to_owned(), _lock: lock })
            }
            Err(refused) => Err(Self::in_use(path, refused)),
        }
    }

    /// Makes the directory when it is missing and uses it beside other processes that share it, though not beside
    /// one that has it for itself.
    pub fn share(path: &Path) -> Result<Self, Error> {
        let file = Self::lock_file(path)?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(refused) => Err(Self::in_use(path, refused)),
        }
    }

    fn lock_file(path: &Path) -> Result<File, Error> {
        if !path.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
            made.map_err(fault(path, "the data directory cannot be made"))?;
            // The mask of the process may have made it narrower than the PostgreSQL account needs.
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
                .map_err(fault(path, "the data directory cannot be made"))?;
        }
        let lock_path = path.join(LOCK_FILE);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(fault(&lock_path, "the lock file cannot be opened"))
    }

    fn in_use(path: &Path, (mut file, errno): (File, nix::errno::Errno)) -> Error {
        if errno != nix::errno::Errno::EWOULDBLOCK {
            return fault(&path.join(LOCK_FILE), "the lock cannot be taken")(errno.into());
        }
        let mut text = String::new();
        let process = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
        Error::InUse { path: path.to_owned(), process }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The master key; made when it is missing, `fresh` says that nothing was ever sealed, and the configuration
    /// names no file of its own. A new key beside secrets of another one would only hide what is wrong.
    pub fn master_key(&self, file: &Path, fresh: bool) -> Result<Secret, Error> {
        if !file.exists() {
            if file.parent() != Some(self.path()) || !fresh {
                return Err(Error::KeyMissing { path: file.to_owned() });
            }
            let mut key = zeroed();
            rand::rng().fill(&mut key[..]);
            let written = write_private_once(file, &key);
            written.map_err(fault(file, "the master key cannot be written"))?;
            key.fill(0);
        }
        read_master_key(file)
    }
}

fn zeroed() -> Vec<u8> {
    vec![0; MASTER_KEY_BYTES]
}

/// Reads a master key; refuses one that others can read.
pub fn read_master_key(file: &Path) -> Result<Secret, Error> {
    let cannot = "the master key cannot be read";
    let mut open = match File::open(file) {
        Ok(open) => open,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::KeyMissing { path: file.to_owned() });
        }
        Err(error) => return Err(fault(file, cannot)(error)),
    };
    let mode = open.metadata().map_err(fault(file, cannot))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Exposed { path: file.to_owned(), mode });
    }
    let mut key = zeroed();
    let mut more = [0];
    let complete = open.read_exact(&mut key).is_ok() && matches!(open.read(&mut more), Ok(0));
    if !complete {
        return Err(Error::NotAKey { path: file.to_owned() });
    }
    Ok(Secret::new(key))
}

/// Where the generated password of the first administrator is kept until it is changed.
pub fn admin_password_file(data_dir: &Path) -> PathBuf {
    data_dir.join(ADMIN_PASSWORD_FILE)
}

/// Writes a file that only this account can read, whole or not at all, and durable when this returns.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let staged = stage(path, content)?;
    fs::rename(&staged, path)?;
    sync_parent(path)
}

/// The same for a file that several processes may make at once: the first one stays, and that is no error.
fn write_private_once(path: &Path, content: &[u8]) -> io::Result<()> {
    let staged = stage(path, content)?;
    let linked = fs::hard_link(&staged, path);
    fs::remove_file(&staged)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_parent(path)
}

/// Writes `content` into a private file beside `path`.
fn stage(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!(".{:08x}.new", rand::random::<u32>()));
    let staged = PathBuf::from(staged);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    match file.write_all(content).and_then(|()| file.sync_all()) {
        Ok(()) => Ok(staged),
        Err(error) => {
            // The first error is the one to tell.
            let _ = fs::remove_file(&staged);
            Err(error)
        }
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn fault<'a>(path: &'a Path, what: &'static str) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::Io { path: path.to_owned(), what, source }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn one_process_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(mode(&path), 0o755);
        assert_eq!(mode(&path.join("lock")), 0o600);
        let Err(Error::InUse { process, .. }) = DataDir::open(&path) else {
            panic!("opened twice");
        };
        assert_eq!(process, Some(std::process::id()));
        drop(first);
        assert!(DataDir::open(&path).is_ok());
    }

    #[test]
    fn single_roles_share_what_one_platform_does_not() {
        let parent = tempfile::tempdir().unwrap();
        let (first, second) =
            (DataDir::share(parent.path()).unwrap(), DataDir::share(parent.path()).unwrap());
        assert!(matches!(DataDir::open(parent.path()), Err(Error::InUse { .. })));
        drop((first, second));
        let _alone = DataDir::open(parent.path()).unwrap();
        assert!(matches!(DataDir::share(parent.path()), Err(Error::InUse { .. })));
    }

    #[test]
    fn many_processes_make_one_master_key() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("master-key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let made: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let key = DataDir::share(parent.path()).unwrap().master_key(&file, true).unwrap();
                        key.expose().to_vec()
                    })
                })
                .collect();
            made.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2, "the lock and the key");
    }

    #[test]
    fn the_master_key_is_made_once_and_private() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(parent.path()).unwrap();
        let file = parent.path().join("master-key");
        let first = directory.master_key(&file, true).unwrap();
        assert_eq!(first.expose().len(), 32);
        assert_ne!(first.expose(), [0; 32]);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(directory.master_key(&file, true).unwrap().expose(), first.expose());

        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(directory.master_key(&file, true), Err(Error::Exposed { mode: 0o640, .. })));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        for content in [&[1; 31][..], &[1; 33], b""] {
            fs::write(&file, content).unwrap();
            assert!(matches!(directory.master_key(&file, true), Err(Error::NotAKey { .. })));
        }
        let elsewhere = parent.path().join("named/key");
        assert!(matches!(directory.master_key(&elsewhere, true), Err(Error::KeyMissing { .. })));
        fs::remove_file(&file).unwrap();
        assert!(matches!(directory.master_key(&file, false), Err(Error::KeyMissing { .. })));
    }

    #[test]
    fn private_files_replace_each_other_whole() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("x");
        write_private(&file, b"one").unwrap();
        write_private(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
