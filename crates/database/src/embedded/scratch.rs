//! Directories for the servers of tests: found and removed by a later run, because a test process has no
//! moment at its end when it could do so itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::place;

/// A fresh directory that the account of the server can reach.
pub(crate) fn directory() -> std::io::Result<PathBuf> {
    // Not the temporary directory of the environment: that may be one that only this account can enter.
    let base = PathBuf::from(format!("/tmp/hythe-test-{}", nix::unistd::geteuid()));
    fs::create_dir_all(&base)?;
    fs::set_permissions(&base, fs::Permissions::from_mode(0o711))?;
    for entry in fs::read_dir(&base)?.flatten() {
        if is_abandoned(&entry.path()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let fresh = base.join(format!("{}-{started}", std::process::id()));
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o711))?;
    Ok(fresh)
}

/// Whether the process that made this directory is gone, and its server too.
fn is_abandoned(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let owner = name.split('-').next().and_then(|pid| pid.parse::<u32>().ok());
    owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        && place::processes_in(&place::cluster(directory)).is_empty()
}
