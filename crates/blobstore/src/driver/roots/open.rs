//! Opening: which of the configured directories are the store's, which are new, and what must not start.
//!
//! A directory says by its identity file whose it is. One without content and without the file is new, unless a
//! directory is missing that must be there: then it is taken for the place where a volume should be mounted, and
//! left alone.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::super::identity::{FILE, Identity};
use super::{Root, device, gone};
use crate::{Record, RootId, RootRecord};

/// What was found.
pub(super) struct Opened {
    pub(super) roots: Vec<Root>,
    pub(super) missing: Vec<RootRecord>,
    /// Paths at which there may be a missing directory later.
    pub(super) unused: Vec<PathBuf>,
}

/// One configured path.
struct Candidate {
    path: PathBuf,
    found: Found,
}

enum Found {
    Named(Identity),
    /// Published content and no name: the single directory of an earlier version.
    Nameless,
    Empty,
    Nothing,
    Fault(io::Error),
}

/// A path that is not used, and what is there.
struct Unused {
    path: PathBuf,
    why: String,
}

impl Found {
    fn why(&self) -> String {
        match self {
            Self::Named(identity) => format!("is {}", identity.root),
            Self::Nameless => "holds blobs and does not say whose".to_owned(),
            Self::Empty => "has no blobs in it".to_owned(),
            Self::Nothing => "does not exist".to_owned(),
            Self::Fault(err) => format!("cannot be read: {err}"),
        }
    }
}

/// Fails when content must be expected where none of it is found, when a directory is another store's, and when it
/// is not clear which directory is which.
pub(super) fn open(paths: &[PathBuf], fsync: bool, record: &Record) -> io::Result<Opened> {
    let mut candidates = Vec::with_capacity(paths.len());
    for path in paths {
        if path.as_os_str().is_empty() {
            return Err(refused("a directory of blobs has no path".to_owned()));
        }
        let path = std::path::absolute(path)?;
        let found = inspect(&path);
        candidates.push(Candidate { path, found });
    }
    if candidates.is_empty() {
        return Err(refused("the blob store has no directory".to_owned()));
    }
    refuse_strangers(&candidates, record.store)?;
    adopt(&mut candidates, record)?;
    let missing = missing(&candidates, record);
    let mut taken: Vec<RootId> = record.roots.iter().map(|root| root.id).collect();
    taken.extend(candidates.iter().filter_map(|one| match one.found {
        Found::Named(identity) => Some(identity.root),
        _ => None,
    }));
    let (mut roots, mut unused) = (Vec::new(), Vec::new());
    let alone = candidates.len() == 1;
    for Candidate { path, found } in candidates {
        let identity = match found {
            Found::Named(identity) => identity,
            found if !missing.is_empty() => {
                unused.push(Unused { path, why: found.why() });
                continue;
            }
            Found::Empty => new_identity(&taken, record.store),
            Found::Nothing if alone => new_identity(&taken, record.store),
            Found::Nothing => {
                return Err(refused(format!(
                    "{} does not exist; make it, mount the volume and start again",
                    path.display()
                )));
            }
            Found::Fault(err) => {
                return Err(io::Error::new(err.kind(), format!("{}: {err}", path.display())));
            }
            Found::Nameless => return Err(stranger(&path, record.store)),
        };
        let root = take(path, identity, fsync)?;
        taken.push(root.identity.root);
        roots.push(root);
    }
    if roots.is_empty() {
        return Err(io::Error::other(nothing_there(&missing, &unused, record)));
    }
    for Unused { path, why } in &unused {
        tracing::error!(path = %path.display(), "a configured directory of blobs {why}; it is not used before the missing one is there");
    }
    warn_of_shared_file_systems(&roots);
    let unused = unused.into_iter().map(|one| one.path).collect();
    Ok(Opened { roots, missing, unused })
}

fn refused(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn inspect(path: &Path) -> Found {
    match Identity::read(path) {
        Ok(Some(identity)) => return Found::Named(identity),
        Ok(None) => {}
        Err(err) => return Found::Fault(err),
    }
    match (path.try_exists(), has_entries(&path.join("b"))) {
        (Err(err), _) | (_, Err(err)) => Found::Fault(err),
        (Ok(false), _) => Found::Nothing,
        (Ok(true), Ok(true)) => Found::Nameless,
        (Ok(true), Ok(false)) => Found::Empty,
    }
}

fn has_entries(path: &Path) -> io::Result<bool> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().transpose().map(|first| first.is_some()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

fn refuse_strangers(candidates: &[Candidate], store: Uuid) -> io::Result<()> {
    let mut seen: Vec<(RootId, &Path)> = Vec::new();
    for Candidate { path, found } in candidates {
        let Found::Named(identity) = found else { continue };
        if identity.store != store {
            return Err(refused(format!(
                "{} holds the blobs of another installation ({}; this one is {store}): name another directory. If \
                 the database was restored from before this directory was first used, remove {} and start again",
                path.display(),
                identity.store,
                path.join(FILE).display()
            )));
        }
        if let Some((_, other)) = seen.iter().find(|(id, _)| *id == identity.root) {
            return Err(refused(format!(
                "{} and {} are the same directory of blobs, or one is a copy of the other: name it once",
                other.display(),
                path.display()
            )));
        }
        seen.push((identity.root, path));
    }
    Ok(())
}

/// Gives the directory of an earlier version, which has no name, the first one.
fn adopt(candidates: &mut [Candidate], record: &Record) -> io::Result<()> {
    let first_known = record.roots.iter().any(|root| root.id == RootId::First)
        || candidates
            .iter()
            .any(|one| matches!(one.found, Found::Named(identity) if identity.root == RootId::First));
    let mut nameless: Vec<&mut Candidate> =
        candidates.iter_mut().filter(|one| matches!(one.found, Found::Nameless)).collect();
    match nameless.as_mut_slice() {
        [] => Ok(()),
        [one, ..] if first_known => Err(stranger(&one.path, record.store)),
        [one] => {
            one.found = Found::Named(Identity { store: record.store, root: RootId::First });
            Ok(())
        }
        [one, other, ..] => Err(refused(format!(
            "{} and {} both hold blobs and do not say whose: start with the one that was used before",
            one.path.display(),
            other.path.display()
        ))),
    }
}

fn stranger(path: &Path, store: Uuid) -> io::Error {
    let first = Identity { store, root: RootId::First }.shown();
    refused(format!(
        "{} holds blobs and does not say whose: name another directory. If it is a copy of this store's first one, \
         which was lost, write this line to {} and start again: {first}",
        path.display(),
        path.join(FILE).display()
    ))
}

/// Directories that must be there and are not.
fn missing(candidates: &[Candidate], record: &Record) -> Vec<RootRecord> {
    let mut expected = record.roots.clone();
    if record.has_content && expected.is_empty() {
        // Content from before directories were recorded.
        let path = candidates.first().map(|one| one.path.clone()).unwrap_or_default();
        expected.push(RootRecord { id: RootId::First, path });
    }
    let there = |id: RootId| {
        candidates.iter().any(|one| matches!(one.found, Found::Named(identity) if identity.root == id))
    };
    expected.retain(|root| !there(root.id));
    expected
}

/// The name of a new directory: the first of a new store, or a number that none has.
fn new_identity(taken: &[RootId], store: Uuid) -> Identity {
    let mut root = RootId::First;
    while taken.contains(&root) {
        root = RootId::Added(rand::random());
    }
    Identity { store, root }
}

/// Takes a directory into use and sees to it that it says its name.
fn take(path: PathBuf, identity: Identity, fsync: bool) -> io::Result<Root> {
    let mut root = Root::open(path, identity, fsync)?;
    let written = match Identity::read(&root.path)? {
        Some(written) => written,
        None => identity.write(&root.path, fsync)?,
    };
    if written.store != identity.store {
        return Err(refused(format!("{} was just taken by another installation", root.path.display())));
    }
    // Another process of this installation may have named it an instant ago.
    root.identity = written;
    Ok(root)
}

fn nothing_there(missing: &[RootRecord], unused: &[Unused], record: &Record) -> String {
    let missing_texts: Vec<String> = missing.iter().map(gone).collect();
    let found: Vec<String> = unused.iter().map(|one| format!("{} {}", one.path.display(), one.why)).collect();
    let mut text = format!("{} ({})", missing_texts.join("; "), found.join("; "));
    if let [lost] = missing {
        let line = Identity { store: record.store, root: lost.id }.shown();
        text.push_str(&format!(
            ". If its blobs are lost for good and are to be pushed again, write this line to the file {FILE} in an \
             empty directory and start again: {line}"
        ));
    }
    text
}

/// Tells of directories that are on one file system: the volume of one may not be mounted.
fn warn_of_shared_file_systems(roots: &[Root]) {
    for (position, root) in roots.iter().enumerate() {
        let shares =
            |other: &&Root| device(&other.path).is_some() && device(&other.path) == device(&root.path);
        if let Some(other) = roots[..position].iter().find(shares) {
            tracing::warn!(
                one = %other.path.display(),
                other = %root.path.display(),
                "two directories of blobs are on one file system; are their volumes mounted?"
            );
        }
    }
}
