//! Where the private server lives, which programs it consists of and which account runs it.
//!
//! Only looks and judges; what it changes are the directories that belong to Hythe itself.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::kill;
use nix::unistd::{Gid, Pid, Uid, User, chown, geteuid};

use super::Error;
use crate::EmbeddedConfig;

/// Oldest major version that Hythe runs on.
const MAJOR_MIN: u32 = 15;

/// The kernel allows 107 bytes for the whole path of a socket; this leaves a little.
const SOCKET_PATH_MAX: usize = 100;

/// Name of the socket in its directory, for the length check.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// Turns an error of the operating system into ours.
pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

/// The directory with the data.
pub(super) fn cluster(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres")
}

/// An account that the server runs as instead of root.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

/// Who has to run the server. None: this process itself, which is not root.
pub(super) fn account(cluster: &Path, config: &EmbeddedConfig) -> Result<Option<Account>, Error> {
    let owner =
        fs::metadata(cluster).ok().map(|found| (Uid::from_raw(found.uid()), Gid::from_raw(found.gid())));
    if !geteuid().is_root() {
        return match owner {
            Some((uid, _)) if uid != geteuid() => Err(Error::NotOwner { path: cluster.to_owned() }),
            _ => Ok(None),
        };
    }
    // Data that is there decides: PostgreSQL insists on running as its owner.
    if let Some((uid, gid)) = owner.filter(|(uid, _)| !uid.is_root()) {
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        return Ok(Some(Account { name, uid, gid }));
    }
    let names = config.user.as_deref().map_or(vec!["postgres", "nobody"], |name| vec![name]);
    for name in &names {
        if let Some(user) = User::from_name(name).ok().flatten().filter(|user| !user.uid.is_root()) {
            return Ok(Some(Account { name: user.name, uid: user.uid, gid: user.gid }));
        }
    }
    Err(Error::NoAccount { name: names.join(" or ") })
}

/// Makes the data directory reachable for the account, and refuses when something above it is not.
pub(super) fn open_way(data_dir: &Path, account: Option<&Account>) -> Result<(), Error> {
    let Some(account) = account else {
        return Ok(());
    };
    if let Some(parent) = data_dir.parent() {
        check_way(parent, account)?;
    }
    // The data directory is ours, so it is opened instead of complained about: for one group, to pass through.
    if !may_enter(data_dir, account)? {
        let mode = fs::metadata(data_dir).map_err(io("cannot look at", data_dir))?.permissions().mode();
        chown(data_dir, None, Some(account.gid))
            .map_err(|err| io("cannot change the group of", data_dir)(err.into()))?;
        fs::set_permissions(data_dir, fs::Permissions::from_mode((mode & 0o7777) | 0o010))
            .map_err(io("cannot change the mode of", data_dir))?;
    }
    Ok(())
}

/// Refuses when the account cannot get to a directory, and names the outermost one that stops it.
pub(super) fn check_way(directory: &Path, account: &Account) -> Result<(), Error> {
    let mut way: Vec<&Path> = directory.ancestors().collect();
    way.reverse();
    for step in way {
        if !may_enter(step, account)? {
            return Err(Error::NotTraversable { directory: step.to_owned(), account: account.name.clone() });
        }
    }
    Ok(())
}

/// By the mode bits alone. The server keeps no supplementary groups, so one group is all there is.
fn may_enter(directory: &Path, account: &Account) -> Result<bool, Error> {
    let found = fs::metadata(directory).map_err(io("cannot look at", directory))?;
    let bit = if found.uid() == account.uid.as_raw() {
        0o100
    } else if found.gid() == account.gid.as_raw() {
        0o010
    } else {
        0o001
    };
    Ok(found.mode() & bit != 0)
}

/// Creates a directory of mode 0700 for the account, or makes an existing one so.
pub(super) fn private_directory(path: &Path, account: Option<&Account>) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(err) if err.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(io("cannot create", path)(err));
        }
        _ => {}
    }
    // Somebody else may have been first in a directory that everybody can write to.
    let found = fs::symlink_metadata(path).map_err(io("cannot look at", path))?;
    let owner = Uid::from_raw(found.uid());
    if !found.is_dir() || (owner != geteuid() && account.is_none_or(|account| owner != account.uid)) {
        return Err(Error::NotOwner { path: path.to_owned() });
    }
    if let Some(account) = account {
        chown(path, Some(account.uid), Some(account.gid))
            .map_err(|err| io("cannot hand over", path)(err.into()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(io("cannot change the mode of", path))
}

/// The directory of the socket: in the data directory unless the path would be too long for a socket.
pub(super) fn socket_dir(data_dir: &Path) -> PathBuf {
    let usual = data_dir.join("run");
    if usual.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_MAX {
        return usual;
    }
    let name = format!("hythe-{:016x}", fingerprint(data_dir.as_os_str().as_encoded_bytes()));
    let own = PathBuf::from(format!("/run/user/{}", geteuid()));
    let base = if geteuid().is_root() {
        PathBuf::from("/run")
    } else if fs::metadata(&own).is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw()) {
        own
    } else {
        PathBuf::from("/tmp")
    };
    base.join(name)
}

/// FNV-1a: the same on every machine and in every release, so that a restart finds the same directory.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A PostgreSQL installation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

/// The installation to use. When there is data, the one of its major version.
pub(super) fn binaries(cluster: &Path, config: &EmbeddedConfig) -> Result<Binaries, Error> {
    let found = installations(config)?;
    let newest = found.first().ok_or(Error::NoBinaries)?;
    match data_major(cluster)? {
        Some(needed) => {
            let (newest, dir) = (newest.major, cluster.to_owned());
            let same = found.into_iter().find(|binaries| binaries.major == needed);
            same.ok_or(Error::OtherMajor { cluster: dir, needed, found: newest })
        }
        None if newest.major < MAJOR_MIN => {
            Err(Error::TooOld { dir: newest.dir.clone(), major: newest.major })
        }
        None => found.into_iter().next().ok_or(Error::NoBinaries),
    }
}

/// Newest first. A configured directory is the only candidate.
fn installations(config: &EmbeddedConfig) -> Result<Vec<Binaries>, Error> {
    if let Some(dir) = &config.bin_dir {
        let binaries = installation(dir).ok_or_else(|| Error::BadBinDir { dir: dir.clone() })?;
        return Ok(vec![binaries]);
    }
    let mut found: Vec<Binaries> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()))
        .filter_map(|entry| installation(&entry.path().join("bin")))
        .collect();
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    found.extend(on_search_path().and_then(|dir| installation(&dir)));
    Ok(found)
}

/// The shell knows the search path; Hythe itself reads no environment here.
fn on_search_path() -> Option<PathBuf> {
    let output = Command::new("sh").args(["-c", "command -v initdb"]).output().ok()?;
    let path = fs::canonicalize(String::from_utf8(output.stdout).ok()?.trim()).ok()?;
    path.parent().map(Path::to_owned)
}

fn installation(dir: &Path) -> Option<Binaries> {
    if !dir.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    Some(Binaries { dir: dir.to_owned(), major: major(std::str::from_utf8(&output.stdout).ok()?)? })
}

/// From `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` or `18beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// The major version that wrote the data; none when there is no data yet.
fn data_major(cluster: &Path) -> Result<Option<u32>, Error> {
    let file = cluster.join("PG_VERSION");
    match fs::read_to_string(&file) {
        Ok(text) => {
            text.trim().parse().map(Some).map_err(|_| Error::NotACluster { path: cluster.to_owned() })
        }
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(io("cannot read", &file)(err)),
    }
}

/// Processes of PostgreSQL that work in this directory: a server that outlived its parent, or sessions that
/// outlived their server.
pub(super) fn processes_in(cluster: &Path) -> Vec<Pid> {
    let works_here = |pid: &i32| {
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == cluster)
            && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("postgres"))
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(works_here)
        .map(Pid::from_raw)
        .collect()
}

/// The process that the server's own file names. The number may meanwhile belong to anybody.
pub(super) fn recorded_pid(cluster: &Path) -> Option<Pid> {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

/// Removes the file of a server that is gone while its number is in use: by a process that is dead but not
/// buried, or by another program since a restart of the machine. PostgreSQL takes either for a live server and
/// refuses to start. To be called when nobody works in the cluster any more.
pub(super) fn forget_dead_server(cluster: &Path) -> Result<(), Error> {
    let Some(pid) = recorded_pid(cluster) else { return Ok(()) };
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Ok(()) };
    // `pid (name) state …`; the name may hold anything.
    let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else {
        return Ok(());
    };
    if rest.trim_start().starts_with(['Z', 'X']) || !name.starts_with("postgres") {
        let file = cluster.join("postmaster.pid");
        fs::remove_file(&file).map_err(io("cannot remove", &file))?;
    }
    Ok(())
}

/// The socket directory of the server that runs on this data directory now.
pub(super) fn running_socket_dir(data_dir: &Path) -> Option<PathBuf> {
    let cluster = cluster(&fs::canonicalize(data_dir).ok()?);
    kill(recorded_pid(&cluster)?, None).ok()?;
    let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    // Lines: process, data directory, start time, port, socket directory, ...
    text.lines().nth(4).filter(|dir| dir.starts_with('/')).map(PathBuf::from)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn version_texts() {
        let cases = [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
            ("psql 15.1", None),
            ("postgres (PostgreSQL) devel", None),
        ];
        for (text, expected) in cases {
            assert_eq!(major(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_data_directory_gets_a_short_socket_directory() {
        let short = Path::new("/var/lib/hythe");
        assert_eq!(socket_dir(short), short.join("run"));
        let long = PathBuf::from(format!("/var/lib/{}", "x".repeat(90)));
        let dir = socket_dir(&long);
        assert!(
            !dir.starts_with(&long) && dir.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_MAX,
            "{dir:?}"
        );
        assert_eq!(dir, socket_dir(&long));
        assert_ne!(dir, socket_dir(&long.join("y")));
    }

    #[test]
    fn a_closed_parent_is_named() {
        let base = tempfile::tempdir().unwrap();
        let closed = base.path().join("closed");
        let data_dir = closed.join("data");
        fs::create_dir_all(&data_dir).unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let stranger =
            Account { name: "stranger".to_owned(), uid: Uid::from_raw(54_321), gid: Gid::from_raw(54_321) };
        let err = open_way(&data_dir, Some(&stranger)).unwrap_err();
        assert!(matches!(&err, Error::NotTraversable { directory, .. } if *directory == closed), "{err}");
        assert!(err.to_string().contains(&format!("chmod o+x {}", closed.display())), "{err}");
        open_way(&data_dir, None).unwrap();
    }

    #[test]
    fn a_wrong_bin_dir_and_data_of_another_version_are_refused() {
        let base = tempfile::tempdir().unwrap();
        let config = EmbeddedConfig { bin_dir: Some(base.path().to_owned()), user: None };
        assert!(matches!(binaries(base.path(), &config), Err(Error::BadBinDir { .. })));

        fs::write(base.path().join("PG_VERSION"), "9\n").unwrap();
        let err = binaries(base.path(), &EmbeddedConfig::default()).unwrap_err();
        assert!(matches!(err, Error::OtherMajor { needed: 9, .. }), "{err}");
        assert!(err.to_string().contains("restore"), "{err}");
    }
}
