//! The file in a directory of blobs that says whose it is and what it is called.
//!
//! Without it an empty mount point looks like an empty store, and a volume of another installation like one's own.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::filesystem::{rename_new, sync_directory};
use crate::RootId;

pub(super) const FILE: &str = "hythe-root";

const BYTES_MAX: u64 = 4096;

/// Whose a directory is, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) store: Uuid,
    pub(super) root: RootId,
}

#[derive(Serialize, Deserialize)]
struct Form {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    store: Uuid,
    root: String,
}

impl Identity {
    /// What the directory `root` says of itself, if it says anything.
    pub(super) fn read(root: &Path) -> io::Result<Option<Self>> {
        let path = root.join(FILE);
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err),
        };
        let mut text = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut text)?;
        let form = serde_json::from_slice::<Form>(&text).ok();
        let identity =
            form.and_then(|form| Some(Self { store: form.store, root: RootId::parse(&form.root)? }));
        identity.map(Some).ok_or_else(|| {
            let text = format!("{} is damaged; restore it from a backup", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    /// Makes the directory say so, durably. One that has been named meanwhile keeps its name, which is returned.
    pub(super) fn write(self, root: &Path, fsync: bool) -> io::Result<Self> {
        let staged = root.join(format!(".{FILE}-{}", Uuid::new_v4()));
        let written = self.stage(&staged, fsync).and_then(|()| rename_new(&staged, &root.join(FILE)));
        if written.is_err() {
            // What is left of a failure is a small file that nobody reads.
            let _ = std::fs::remove_file(&staged);
        }
        match written {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(root)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            }
            Err(err) => Err(err),
            Ok(()) => {
                if fsync {
                    sync_directory(root)?;
                }
                Ok(self)
            }
        }
    }

    fn stage(self, path: &Path, fsync: bool) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let note = "A directory of blobs of a Hythe registry. Do not change, copy or remove this file.";
        writeln!(file, "{}", self.text(note))?;
        if fsync { file.sync_all() } else { Ok(()) }
    }

    /// What the file has to say, to be shown to an operator.
    pub(super) fn shown(self) -> String {
        self.text("")
    }

    fn text(self, note: &str) -> String {
        let form = Form { note: note.to_owned(), store: self.store, root: self.root.to_string() };
        serde_json::to_string(&form).expect("texts always become JSON")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::read(dir.path()).unwrap(), None);
        let first = Identity { store: Uuid::new_v4(), root: RootId::Added(7) };
        assert_eq!(first.write(dir.path(), true).unwrap(), first);
        let second = Identity { root: RootId::First, ..first };
        assert_eq!(second.write(dir.path(), false).unwrap(), first);
        assert_eq!(Identity::read(dir.path()).unwrap(), Some(first));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_shown_can_be_written_by_hand_and_nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { store: Uuid::new_v4(), root: RootId::First };
        std::fs::write(dir.path().join(FILE), identity.shown()).unwrap();
        assert_eq!(Identity::read(dir.path()).unwrap(), Some(identity));
        for text in ["", "{}", r#"{"store":"x","root":"first"}"#, "\0\0\0\0"] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            let err = Identity::read(dir.path()).unwrap_err();
            assert!(err.to_string().contains("hythe-root is damaged"), "{err}");
        }
    }
}
