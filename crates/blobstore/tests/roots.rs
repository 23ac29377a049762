//! Several directories as one store, and what a directory says of itself: where blobs go, what happens when a
//! directory comes, goes, moves or is somebody else's.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use hythe_blobstore::{BlobStore, Config, Error, Key, ReadError, Record, RootId, RootRecord, UploadState};
use oci::{Algorithm, Digest};
use uuid::Uuid;

/// What an installation has: directories, a configuration, and a memory.
struct Installation {
    dir: tempfile::TempDir,
    config: Config,
    record: Record,
}

impl Installation {
    fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let record = Record { store: Uuid::new_v4(), ..Record::default() };
        let mut new = Self { dir, config: Config { fsync: false, ..Config::default() }, record };
        new.configure(names);
        new
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&mut self, names: &[&str]) {
        self.config.roots = names.iter().map(|name| self.path(name)).collect();
    }

    /// Starts, and remembers as an installation does.
    fn start(&mut self) -> BlobStore {
        let store = self.try_start().unwrap();
        for found in store.roots() {
            self.record.roots.retain(|known| known.id != found.id);
            self.record.roots.push(found.clone());
        }
        store
    }

    fn try_start(&self) -> Result<BlobStore, Error> {
        BlobStore::filesystem(&self.config, &self.record)
    }

    /// The text that a start fails with.
    fn refusal(&self) -> String {
        match self.try_start() {
            Ok(_) => panic!("it starts"),
            Err(Error::Io(err)) => err.to_string(),
            Err(err) => panic!("{err}"),
        }
    }

    /// As when a volume is not mounted: what is in its place is empty.
    fn unmount(&self, name: &str) {
        std::fs::rename(self.path(name), self.path(&format!("{name}.volume"))).unwrap();
        std::fs::create_dir(self.path(name)).unwrap();
    }

    fn mount(&self, name: &str) {
        std::fs::remove_dir(self.path(name)).unwrap();
        std::fs::rename(self.path(&format!("{name}.volume")), self.path(name)).unwrap();
    }
}

async fn put_as(store: &BlobStore, id: Uuid, text: &str) -> Result<Key, Error> {
    let mut writer = store.writer(id).await?;
    let body = stream::iter([Ok::<_, io::Error>(Bytes::copy_from_slice(text.as_bytes()))]);
    let state = writer.append(UploadState::new(Algorithm::Sha256), body, None).await.unwrap().state;
    writer.digest(&state, Algorithm::Sha256).await.unwrap();
    writer.publish().await
}

async fn put(store: &BlobStore, text: &str) -> Key {
    put_as(store, store.upload_id().await.unwrap(), text).await.unwrap()
}

async fn get(store: &BlobStore, key: &Key, text: &str) -> Result<(), ReadError> {
    let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
    let size = text.len() as u64;
    let chunks = store.read(key, &digest, size, 0..size).await?;
    let all: Vec<Bytes> = chunks.try_collect().await?;
    assert_eq!(all.concat(), text.as_bytes());
    Ok(())
}

/// Which directory the file of a key is really in.
fn place(installation: &Installation, key: &Key) -> PathBuf {
    let file = key.as_str().rsplit('/').next().unwrap();
    let fan_out = &file[..2];
    let holds = |root: &&PathBuf| root.join("b").join(fan_out).join(file).is_file();
    let found: Vec<_> = installation.config.roots.iter().filter(holds).collect();
    assert_eq!(found.len(), 1, "{key:?} in {found:?}");
    found[0].clone()
}

fn id_of(store: &BlobStore, path: &Path) -> RootId {
    store.roots().iter().find(|root| root.path == path).unwrap().id
}

/// One blob in each directory.
async fn spread(installation: &Installation, store: &BlobStore) -> BTreeMap<PathBuf, Key> {
    let mut keys = BTreeMap::new();
    for _ in 0..500 {
        let key = put(store, "spread").await;
        keys.insert(place(installation, &key), key);
        if keys.len() == store.roots().len() {
            return keys;
        }
    }
    panic!("500 uploads went to {:?} only", keys.keys());
}

#[tokio::test]
async fn uploads_go_to_all_that_have_room_and_are_found_whatever_the_order() {
    let mut installation = Installation::new(&["one", "two", "three"]);
    let store = installation.start();
    let keys = spread(&installation, &store).await;
    for names in [["two", "three", "one"], ["three", "one", "two"]] {
        installation.configure(&names);
        let store = installation.start();
        for key in keys.values() {
            assert_eq!(store.stat(key).await.unwrap(), Some(6));
            get(&store, key, "spread").await.unwrap();
        }
    }
    let all: Vec<Key> = keys.values().cloned().collect();
    store.delete(&all).await.unwrap();
    for key in &all {
        assert!(matches!(get(&store, key, "spread").await, Err(ReadError::Missing)));
    }
}

#[tokio::test]
async fn an_upload_stays_in_its_directory_over_a_restart_with_another_order() {
    let mut installation = Installation::new(&["one", "two", "three"]);
    let store = installation.start();
    for _ in 0..20 {
        let id = store.upload_id().await.unwrap();
        let mut writer = store.writer(id).await.unwrap();
        let half = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"half "))]);
        let state = writer.append(UploadState::new(Algorithm::Sha256), half, None).await.unwrap().state;
        drop(writer);
        let begun: Vec<PathBuf> = installation
            .config
            .roots
            .iter()
            .filter(|root| root.join("uploads").join(id.to_string()).is_file())
            .cloned()
            .collect();
        assert_eq!(begun.len(), 1);

        installation.config.roots.rotate_left(1);
        let store = installation.start();
        let state = UploadState::from_bytes(&state.to_bytes()).unwrap();
        let mut writer = store.writer(id).await.unwrap();
        let rest = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"and half"))]);
        let state = writer.append(state, rest, None).await.unwrap().state;
        writer.digest(&state, Algorithm::Sha256).await.unwrap();
        let key = writer.publish().await.unwrap();
        assert_eq!(place(&installation, &key), begun[0]);
        get(&store, &key, "half and half").await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_of_an_earlier_version_is_taken_over_with_its_keys() {
    let mut installation = Installation::new(&["one", "new"]);
    installation.configure(&["one"]);
    let store = installation.start();
    let key = put(&store, "old").await;
    assert!(key.as_str().starts_with("b/"));
    std::fs::remove_file(installation.path("one").join("hythe-root")).unwrap();
    installation.record.roots.clear();
    installation.record.has_content = true;

    // The new one stands first, and is still not taken for the old one.
    installation.configure(&["new", "one"]);
    let store = installation.start();
    assert_eq!(id_of(&store, &installation.path("one")), RootId::First);
    assert!(matches!(id_of(&store, &installation.path("new")), RootId::Added(_)));
    get(&store, &key, "old").await.unwrap();
}

#[tokio::test]
async fn a_directory_is_added_by_naming_it() {
    let mut installation = Installation::new(&["one"]);
    let store = installation.start();
    let old = put(&store, "old").await;
    std::fs::create_dir(installation.path("two")).unwrap();
    installation.configure(&["one", "two"]);
    let store = installation.start();
    get(&store, &old, "old").await.unwrap();
    let keys = spread(&installation, &store).await;
    let added = &keys[&installation.path("two")];
    assert!(added.as_str().starts_with("b."), "{added:?}");
    // Its directory is named in the row, so a process that does not have it yet says so.
    installation.configure(&["one"]);
    let store = installation.start();
    let Err(ReadError::Io(err)) = get(&store, added, "spread").await else { panic!("it is read") };
    assert!(err.to_string().contains("two") && err.to_string().contains("storage.filesystem.roots"), "{err}");
    get(&store, &old, "old").await.unwrap();
    // One of several is never made: a path that is not there is a volume that is not mounted, or a slip.
    installation.configure(&["one", "two", "twoo"]);
    assert!(installation.refusal().contains("twoo does not exist"));
}

#[tokio::test]
async fn a_store_that_is_not_mounted_at_start_is_not_taken_for_empty() {
    let mut installation = Installation::new(&["one"]);
    let key = put(&installation.start(), "content").await;
    installation.unmount("one");
    let text = installation.refusal();
    let path = installation.path("one");
    assert!(text.contains(path.to_str().unwrap()) && text.contains("mount"), "{text}");
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "nothing is put where the volume belongs");
    // Also when the directory itself is gone, under another path, and when nothing was recorded but the content.
    std::fs::remove_dir(&path).unwrap();
    assert!(installation.refusal().contains("does not exist"));
    assert!(!path.exists());
    std::fs::create_dir(&path).unwrap();
    std::fs::create_dir(installation.path("moved")).unwrap();
    installation.configure(&["moved"]);
    assert!(installation.refusal().contains("has no blobs in it"));
    installation.configure(&["one"]);
    let roots = std::mem::take(&mut installation.record.roots);
    installation.record.has_content = true;
    assert!(installation.refusal().contains("mount"));
    // What an earlier version left there when it made the same mistake.
    std::fs::create_dir(path.join("b")).unwrap();
    std::fs::create_dir(path.join("uploads")).unwrap();
    assert!(installation.refusal().contains("mount"));
    std::fs::remove_dir(path.join("b")).unwrap();
    std::fs::remove_dir(path.join("uploads")).unwrap();

    installation.record.roots = roots;
    installation.mount("one");
    get(&installation.start(), &key, "content").await.unwrap();
    // A path of its own means nothing: the volume may be mounted elsewhere.
    std::fs::rename(&path, installation.path("elsewhere")).unwrap();
    installation.configure(&["elsewhere"]);
    get(&installation.start(), &key, "content").await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_lost_for_good_begins_anew_when_the_operator_says_so() {
    let mut installation = Installation::new(&["one"]);
    let key = put(&installation.start(), "lost").await;
    std::fs::remove_dir_all(installation.path("one")).unwrap();
    std::fs::create_dir(installation.path("one")).unwrap();
    let text = installation.refusal();
    let line = &text[text.find('{').unwrap()..];
    std::fs::write(installation.path("one").join("hythe-root"), line).unwrap();
    let store = installation.start();
    assert!(matches!(get(&store, &key, "lost").await, Err(ReadError::Missing)), "to be pushed again");
    put(&store, "new").await;
}

#[tokio::test]
async fn one_of_several_that_is_missing_at_start_leaves_the_others_working() {
    let mut installation = Installation::new(&["one", "two", "three"]);
    let store = installation.start();
    let keys = spread(&installation, &store).await;
    installation.unmount("two");
    let two = installation.path("two");
    let store = installation.start();
    for (path, key) in &keys {
        match get(&store, key, "spread").await {
            Ok(()) => assert_ne!(*path, two),
            Err(ReadError::Io(err)) => {
                assert_eq!(*path, two);
                assert!(err.to_string().contains(two.to_str().unwrap()), "{err}");
                assert!(store.stat(key).await.is_err(), "a fault, and not missing");
                assert!(store.delete(std::slice::from_ref(key)).await.is_err());
            }
            Err(other) => panic!("{other}"),
        }
    }
    let Err(Error::Partial(text)) = store.probe().await else { panic!("the probe passes") };
    assert!(text.contains(two.to_str().unwrap()), "{text}");
    for _ in 0..30 {
        assert_ne!(place(&installation, &put(&store, "meanwhile").await), two);
    }
    assert_eq!(std::fs::read_dir(&two).unwrap().count(), 0, "nothing is put where the volume belongs");

    // Deleting goes on for those that are there.
    let doomed: Vec<Key> = keys.values().cloned().collect();
    assert!(store.delete(&doomed).await.is_err());
    for (path, key) in &keys {
        assert_eq!(store.stat(key).await.is_err(), *path == two);
    }

    installation.mount("two");
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    store.probe().await.unwrap();
    get(&store, &keys[&two], "spread").await.unwrap();
}

#[tokio::test]
async fn a_new_directory_has_to_wait_for_a_missing_one() {
    let mut installation = Installation::new(&["one", "two", "new"]);
    installation.configure(&["one", "two"]);
    let _ = installation.start();
    // Where the volume is mounted now, perhaps; its mount point would otherwise become a directory of its own.
    installation.configure(&["one", "new"]);
    let store = installation.start();
    assert_eq!(store.roots().len(), 1);
    assert_eq!(std::fs::read_dir(installation.path("new")).unwrap().count(), 0);
    installation.configure(&["one", "two", "new"]);
    assert_eq!(installation.start().roots().len(), 3);
}

#[tokio::test]
async fn one_that_goes_away_or_is_exchanged_while_running_is_a_fault_of_its_own() {
    let mut installation = Installation::new(&["one", "two"]);
    let store = installation.start();
    let keys = spread(&installation, &store).await;
    let (one, two) = (installation.path("one"), installation.path("two"));
    let begun: Uuid = loop {
        let id = store.upload_id().await.unwrap();
        drop(store.writer(id).await.unwrap());
        if id.get_version_num() == 8 {
            break id;
        }
    };
    let mut damaged = store.damaged();
    installation.unmount("two");
    for exchanged in [false, true] {
        if exchanged {
            // Another volume of the same shape: nothing but its name tells.
            for name in ["b", "uploads"] {
                std::fs::create_dir(two.join(name)).unwrap();
            }
            std::fs::copy(one.join("hythe-root"), two.join("hythe-root")).unwrap();
        }
        let Err(ReadError::Io(err)) = get(&store, &keys[&two], "spread").await else { panic!("{exchanged}") };
        assert!(err.to_string().contains(two.to_str().unwrap()), "{err}");
        assert!(store.stat(&keys[&two]).await.is_err());
        get(&store, &keys[&one], "spread").await.unwrap();
        let Err(Error::Partial(text)) = store.probe().await else { panic!("the probe passes") };
        assert!(text.contains(two.to_str().unwrap()) && !text.contains(one.to_str().unwrap()), "{text}");
        for _ in 0..20 {
            assert_eq!(place(&installation, &put(&store, "meanwhile").await), one);
        }
        if !exchanged {
            assert!(store.writer(begun).await.is_err(), "its upload waits too");
        }
    }
    assert!(damaged.try_recv().is_err(), "nothing is taken for damaged");
    std::fs::remove_dir_all(&two).unwrap();
    std::fs::create_dir(&two).unwrap();
    installation.mount("two");
    store.probe().await.unwrap();
    get(&store, &keys[&two], "spread").await.unwrap();
    put_as(&store, begun, "goes on").await.unwrap();
}

#[tokio::test]
async fn strangers_copies_and_riddles_are_refused() {
    let mut other = Installation::new(&["theirs"]);
    put(&other.start(), "theirs").await;
    let mut installation = Installation::new(&["one", "two"]);
    installation.configure(&["one"]);
    put(&installation.start(), "ours").await;

    installation.config.roots.push(other.path("theirs"));
    let text = installation.refusal();
    assert!(text.contains("another installation") && text.contains("theirs"), "{text}");

    installation.configure(&["one", "one"]);
    assert!(installation.refusal().contains("name it once"));
    std::fs::copy(installation.path("one").join("hythe-root"), installation.path("two").join("hythe-root"))
        .unwrap();
    installation.configure(&["one", "two"]);
    assert!(installation.refusal().contains("a copy of the other"));

    std::fs::remove_file(installation.path("two").join("hythe-root")).unwrap();
    std::fs::create_dir_all(installation.path("two/b/3f")).unwrap();
    assert!(installation.refusal().contains("does not say whose"));

    // Two nameless ones, as if two installations were joined.
    installation.record.roots.clear();
    std::fs::remove_file(installation.path("one").join("hythe-root")).unwrap();
    assert!(installation.refusal().contains("both hold blobs"));
    assert!(!installation.path("one").join("hythe-root").exists());

    installation.configure(&[]);
    assert!(installation.refusal().contains("no directory"));
}

#[tokio::test]
async fn processes_that_start_together_agree_on_the_names() {
    let mut installation = Installation::new(&["one", "two", "three"]);
    let starts = (0..8).map(|_| {
        let (config, record) = (installation.config.clone(), installation.record.clone());
        std::thread::spawn(move || BlobStore::filesystem(&config, &record).unwrap().roots().to_vec())
    });
    let all: Vec<Vec<RootRecord>> =
        starts.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect();
    assert!(all.iter().all(|roots| *roots == all[0]), "{all:#?}");
    assert_eq!(installation.start().roots(), all[0]);
}

#[tokio::test]
async fn below_the_reserve_a_directory_gets_no_new_uploads() {
    let mut installation = Installation::new(&["one", "two"]);
    let store = installation.start();
    let key = put(&store, "before").await;
    let free: Vec<u64> = store.free().iter().map(|free| free.bytes).collect();
    assert_eq!(free.len(), 2);
    installation.config.reserve_mib = u64::MAX;
    for names in [&["one", "two"][..], &["one"]] {
        installation.configure(names);
        let store = installation.start();
        assert!(matches!(store.upload_id().await, Err(Error::Full)), "{names:?}");
        store.probe().await.or_else(|err| if names.len() == 1 { Ok(()) } else { Err(err) }).unwrap();
    }
    installation.configure(&["one", "two"]);
    get(&installation.start(), &key, "before").await.unwrap();
}

/// A directory that refuses writes, as a file system does that was mounted read-only after an error. Root may write
/// anywhere, so the directory of uploads is exchanged for a file.
#[tokio::test]
async fn one_that_cannot_be_written_to_gets_nothing_new_and_is_still_read() {
    let mut installation = Installation::new(&["one", "two"]);
    let store = installation.start();
    let keys = spread(&installation, &store).await;
    let (one, two) = (installation.path("one"), installation.path("two"));
    let permissions = two.metadata().unwrap().permissions().mode();
    std::fs::remove_dir(two.join("uploads")).unwrap();
    std::fs::write(two.join("uploads"), b"").unwrap();
    assert!(matches!(store.probe().await, Err(Error::Partial(_))));
    for _ in 0..20 {
        assert_eq!(place(&installation, &put(&store, "meanwhile").await), one);
    }
    get(&store, &keys[&two], "spread").await.unwrap();
    assert_eq!(two.metadata().unwrap().permissions().mode(), permissions);
}
