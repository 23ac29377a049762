//! The contract of the blob store, run against every driver. What a caller may rely on is here; how one
//! driver keeps files is tested beside that driver.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io;
use std::ops::Deref;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use hythe_blobstore::{AppendError, Appended, BlobStore, Config, Error, Key, ReadError, Record, UploadState};
use oci::{Algorithm, Digest};
use support::content;
use uuid::Uuid;

const KIB: usize = 1024;

/// A store of one driver, empty at first.
struct Bed {
    store: BlobStore,
    /// The files of the filesystem driver.
    dir: Option<tempfile::TempDir>,
    /// The server of the S3 driver.
    server: Option<support::S3Server>,
}

impl Deref for Bed {
    type Target = BlobStore;

    fn deref(&self) -> &BlobStore {
        &self.store
    }
}

impl Bed {
    fn memory() -> Self {
        Self { store: BlobStore::memory(), dir: None, server: None }
    }

    fn filesystem() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        Self { store, dir: Some(dir), server: None }
    }

    /// Three directories, as other installations have one.
    fn roots() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ROOTS {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let store = open(dir.path());
        assert_eq!(store.roots().len(), 3);
        Self { store, dir: Some(dir), server: None }
    }

    fn s3() -> Self {
        let server = support::S3Server::start();
        Self { store: support::open(server.port()), dir: None, server: Some(server) }
    }

    /// A handle that shares nothing with the first but the bytes, as another process would have it.
    fn reopened(&self) -> BlobStore {
        match (&self.dir, &self.server) {
            (Some(dir), _) => open(dir.path()),
            (None, Some(server)) => support::open(server.port()),
            (None, None) => self.store.clone(),
        }
    }

    /// Waits for what is removed beside the answer.
    async fn settles_at(&self, files: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.files().len() > files && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(self.files().len() <= files, "{:?}", self.files());
    }

    /// All regular files, or objects and parts, where there are any.
    fn files(&self) -> Vec<std::path::PathBuf> {
        match (&self.dir, &self.server) {
            (Some(dir), _) => files_below(dir.path()),
            (None, Some(server)) => server.files(),
            (None, None) => Vec::new(),
        }
    }
}

const ROOTS: [&str; 3] = ["one", "two", "three"];

/// The store in the directory, or in the three below it.
fn open(dir: &std::path::Path) -> BlobStore {
    let several: Vec<_> = ROOTS.iter().map(|name| dir.join(name)).filter(|path| path.exists()).collect();
    let roots = if several.is_empty() { vec![dir.to_owned()] } else { several };
    BlobStore::filesystem(&Config { roots, ..Config::default() }, &Record::default()).unwrap()
}

/// But those that say which directory it is.
fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.retain(|path| !path.ends_with("hythe-root"));
    files
}

/// An id as for a new upload of this store.
async fn fresh(store: &BlobStore) -> Uuid {
    store.upload_id().await.unwrap()
}

/// A body in chunks of `chunk` bytes.
fn body(bytes: &Bytes, chunk: usize) -> impl Stream<Item = Result<Bytes, io::Error>> + Unpin + Send + use<> {
    let chunks: Vec<_> = bytes.chunks(chunk.max(1)).map(Bytes::copy_from_slice).map(Ok).collect();
    stream::iter(chunks)
}

async fn append(
    store: &BlobStore,
    id: Uuid,
    state: UploadState,
    bytes: &Bytes,
) -> Result<Appended, AppendError> {
    store.writer(id).await.unwrap().append(state, body(bytes, 10_000), None).await
}

/// Uploads in one go.
async fn put(store: &BlobStore, bytes: &Bytes) -> (Key, Digest) {
    let mut writer = store.writer(fresh(store).await).await.unwrap();
    let appended =
        writer.append(UploadState::new(Algorithm::Sha256), body(bytes, 70_000), None).await.unwrap();
    let digest = writer.digest(&appended.state, Algorithm::Sha256).await.unwrap();
    assert_eq!(digest, Digest::of(Algorithm::Sha256, bytes));
    (writer.publish().await.unwrap(), digest)
}

async fn get(
    store: &BlobStore,
    key: &Key,
    digest: &Digest,
    size: usize,
    range: std::ops::Range<usize>,
) -> Vec<u8> {
    let range = range.start as u64..range.end as u64;
    let stream = store.read(key, digest, size as u64, range).await.unwrap();
    stream.try_fold(Vec::new(), |all, chunk| async move { Ok([all, chunk.to_vec()].concat()) }).await.unwrap()
}

async fn content_comes_back_at_every_size(bed: Bed) {
    for length in [0, 1, 2, 255, 64 * KIB, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 512 * KIB, 1500 * KIB + 7]
    {
        let bytes = content(length, 1);
        let (key, digest) = put(&bed, &bytes).await;
        assert_eq!(bed.stat(&key).await.unwrap(), Some(length as u64));
        // The second reading is not checked any more and takes another path.
        for _ in 0..2 {
            assert!(get(&bed, &key, &digest, length, 0..length).await == bytes, "{length} bytes");
        }
        assert!(bed.read_all(&key, length).await.unwrap() == bytes);
    }
}

async fn an_upload_goes_on_in_pieces_through_other_handles(bed: Bed) {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let bytes = content(700 * KIB + 3, 2);
        let id = fresh(&bed).await;
        let mut kept = UploadState::new(algorithm).to_bytes();
        for piece in [0..1, 1..1, 1..300_001, 300_001..bytes.len()] {
            let state = UploadState::from_bytes(&kept).unwrap();
            assert_eq!(state.offset, piece.start as u64);
            let appended = append(&bed.reopened(), id, state, &bytes.slice(piece.clone())).await.unwrap();
            assert_eq!((appended.received, appended.state.offset), (piece.len() as u64, piece.end as u64));
            assert!(appended.interrupted.is_none() && !appended.over_limit);
            kept = appended.state.to_bytes();
        }
        let state = UploadState::from_bytes(&kept).unwrap();
        let store = bed.reopened();
        let mut writer = store.writer(id).await.unwrap();
        for asked in [Algorithm::Sha256, Algorithm::Sha512] {
            assert_eq!(
                writer.digest(&state, asked).await.unwrap(),
                Digest::of(asked, &bytes),
                "{algorithm} {asked}"
            );
        }
        let key = writer.publish().await.unwrap();
        drop(writer);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        assert!(get(&bed, &key, &digest, bytes.len(), 0..bytes.len()).await == bytes);
    }
}

async fn unrecorded_bytes_are_cut_off(bed: Bed) {
    let id = fresh(&bed).await;
    let first = append(&bed, id, UploadState::new(Algorithm::Sha256), &content(1000, 3)).await.unwrap().state;
    // A request whose new state was never recorded: its process died, say.
    append(&bed, id, first.clone(), &content(5000, 4)).await.unwrap();

    let second = append(&bed, id, first.clone(), &content(10, 5)).await.unwrap().state;
    assert_eq!(second.offset, 1010);
    let bytes: Bytes = [content(1000, 3), content(10, 5)].concat().into();
    let mut writer = bed.writer(id).await.unwrap();
    assert_eq!(
        writer.digest(&second, Algorithm::Sha256).await.unwrap(),
        Digest::of(Algorithm::Sha256, &bytes)
    );
    drop(writer);

    // The same before a finish without further bytes.
    append(&bed, id, second.clone(), &content(5000, 6)).await.unwrap();
    let mut writer = bed.writer(id).await.unwrap();
    let digest = writer.digest(&second, Algorithm::Sha256).await.unwrap();
    let key = writer.publish().await.unwrap();
    drop(writer);
    assert_eq!(bed.stat(&key).await.unwrap(), Some(1010));
    assert!(get(&bed, &key, &digest, 1010, 0..1010).await == bytes);
}

async fn an_offset_that_was_never_reached_is_lost(bed: Bed) {
    let id = fresh(&bed).await;
    let state = append(&bed, id, UploadState::new(Algorithm::Sha256), &content(1000, 7)).await.unwrap().state;
    bed.discard(id, Some(&state)).await.unwrap();
    let mut writer = bed.writer(id).await.unwrap();
    let more = content(10, 8);
    assert!(matches!(writer.append(state.clone(), body(&more, 10), None).await, Err(AppendError::Lost)));
    assert!(matches!(writer.digest(&state, Algorithm::Sha256).await, Err(AppendError::Lost)));
    assert!(matches!(writer.rewind(&state).await, Err(AppendError::Lost)));
    // Nor can the emptiness be published by accident.
    assert!(writer.publish().await.is_err());
    drop(writer);
    assert!(bed.files().is_empty());
}

async fn what_arrived_before_a_break_is_kept(bed: Bed) {
    let bytes = content(600 * KIB, 9);
    let id = fresh(&bed).await;
    let mut writer = bed.writer(id).await.unwrap();
    let broken =
        body(&bytes.slice(..400_000), 30_000).chain(stream::iter([Err(io::Error::other("the line broke"))]));
    let appended = writer.append(UploadState::new(Algorithm::Sha256), broken, None).await.unwrap();
    assert_eq!((appended.received, appended.interrupted.as_deref()), (400_000, Some("the line broke")));
    let appended = writer.append(appended.state, body(&bytes.slice(400_000..), 30_000), None).await.unwrap();
    let digest = writer.digest(&appended.state, Algorithm::Sha256).await.unwrap();
    assert_eq!(digest, Digest::of(Algorithm::Sha256, &bytes));
}

async fn a_limit_ends_the_reading(bed: Bed) {
    let bytes = content(300 * KIB, 10);
    for (limit, over) in [(0, true), (1, true), (299 * KIB, true), (300 * KIB, false), (301 * KIB, false)] {
        let mut writer = bed.writer(fresh(&bed).await).await.unwrap();
        let mut taken = 0;
        let counted = body(&bytes, 1000).inspect(|_| taken += 1);
        let appended =
            writer.append(UploadState::new(Algorithm::Sha256), counted, Some(limit as u64)).await.unwrap();
        let kept = limit.min(bytes.len());
        assert_eq!((appended.received, appended.over_limit), (kept as u64, over), "limit {limit}");
        assert_eq!(taken, if over { limit / 1000 + 1 } else { bytes.len().div_ceil(1000) }, "limit {limit}");
        let digest = writer.digest(&appended.state, Algorithm::Sha256).await.unwrap();
        assert_eq!(digest, Digest::of(Algorithm::Sha256, &bytes[..kept]), "limit {limit}");
    }
}

async fn a_rewind_takes_back(bed: Bed) {
    let mut writer = bed.writer(fresh(&bed).await).await.unwrap();
    let first = writer
        .append(UploadState::new(Algorithm::Sha256), body(&content(100, 11), 10), None)
        .await
        .unwrap()
        .state;
    writer.append(first.clone(), body(&content(1000, 12), 10), None).await.unwrap();
    writer.rewind(&first).await.unwrap();
    let digest = writer.digest(&first, Algorithm::Sha256).await.unwrap();
    let key = writer.publish().await.unwrap();
    drop(writer);
    assert_eq!(digest, Digest::of(Algorithm::Sha256, &content(100, 11)));
    assert_eq!(bed.read_all(&key, 100).await.unwrap(), content(100, 11));
}

async fn one_writer_at_a_time(bed: Bed) {
    let id = fresh(&bed).await;
    let mut first = bed.writer(id).await.unwrap();
    let waiting = tokio::spawn({
        let store = bed.reopened();
        async move { store.writer(id).await.map(|_| Instant::now()) }
    });
    let other = bed.writer(fresh(&bed).await).await;
    assert!(other.is_ok(), "another upload is free");
    first.append(UploadState::new(Algorithm::Sha256), body(&content(10, 13), 10), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    let given_back = Instant::now();
    drop(first);
    let got = waiting.await.unwrap().unwrap();
    assert!(got >= given_back && got < given_back + Duration::from_secs(5));
}

async fn a_writer_that_is_not_given_back_makes_others_fail(bed: Bed) {
    let id = fresh(&bed).await;
    let _first = bed.writer(id).await.unwrap();
    let started = Instant::now();
    assert!(matches!(bed.writer(id).await, Err(Error::Busy)));
    assert!(started.elapsed() > Duration::from_secs(8) && started.elapsed() < Duration::from_secs(15));
}

/// CT-12: whatever two requests on one session do, the bytes never mix.
async fn concurrent_appends_never_mix(bed: Bed) {
    let id = fresh(&bed).await;
    let row = std::sync::Arc::new(std::sync::Mutex::new(UploadState::new(Algorithm::Sha256).to_bytes()));
    let requests = (0..8_u64).map(|number| {
        let (store, row) = (bed.reopened(), row.clone());
        tokio::spawn(async move {
            let mut writer = store.writer(id).await.unwrap();
            let state = UploadState::from_bytes(&row.lock().unwrap()).unwrap();
            let piece = content(100_000, 100 + number);
            let slow = body(&piece, 5_000).then(|chunk| async {
                tokio::task::yield_now().await;
                chunk
            });
            let appended = writer.append(state, Box::pin(slow), None).await.unwrap();
            *row.lock().unwrap() = appended.state.to_bytes();
            piece
        })
    });
    let pieces: Vec<Bytes> = futures_util::future::try_join_all(requests.collect::<Vec<_>>()).await.unwrap();
    let state = UploadState::from_bytes(&row.lock().unwrap()).unwrap();
    assert_eq!(state.offset, 800_000);
    let mut writer = bed.writer(id).await.unwrap();
    let running = writer.digest(&state, Algorithm::Sha256).await.unwrap();
    let key = writer.publish().await.unwrap();
    drop(writer);
    let stored = get(&bed, &key, &running, 800_000, 0..800_000).await;
    for part in stored.chunks(100_000) {
        assert_eq!(
            pieces.iter().filter(|piece| piece.as_ref() == part).count(),
            1,
            "a piece is stored whole"
        );
    }
}

async fn an_append_dropped_half_way_changes_nothing_that_counts(bed: Bed) {
    let id = fresh(&bed).await;
    let first =
        append(&bed, id, UploadState::new(Algorithm::Sha256), &content(1000, 14)).await.unwrap().state;
    let mut writer = bed.writer(id).await.unwrap();
    {
        let endless = Box::pin(body(&content(600 * KIB, 15), 10_000).chain(stream::pending()));
        let append = writer.append(first.clone(), endless, None);
        assert!(tokio::time::timeout(Duration::from_millis(200), append).await.is_err());
    }
    assert!(writer.digest(&first, Algorithm::Sha256).await.is_err(), "this writer is of no use any more");
    assert!(writer.publish().await.is_err());
    drop(writer);
    let mut writer = bed.writer(id).await.unwrap();
    let digest = writer.digest(&first, Algorithm::Sha256).await.unwrap();
    assert_eq!(digest, Digest::of(Algorithm::Sha256, &content(1000, 14)));
    let key = writer.publish().await.unwrap();
    drop(writer);
    assert_eq!(bed.read_all(&key, 1000).await.unwrap(), content(1000, 14));
}

async fn a_finished_upload_is_gone_and_keys_are_never_used_twice(bed: Bed) {
    let id = fresh(&bed).await;
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut writer = bed.writer(id).await.unwrap();
        let state = UploadState::new(Algorithm::Sha256);
        let appended = writer.append(state, body(&content(10, 16), 10), None).await.unwrap();
        assert_eq!(appended.state.offset, 10);
        keys.insert(writer.publish().await.unwrap());
    }
    assert_eq!(keys.len(), 20);
    for key in &keys {
        assert_eq!(Key::from_stored(key.as_str().to_owned()), *key);
        assert_eq!(bed.read_all(key, 10).await.unwrap(), content(10, 16));
    }
}

async fn publishing_needs_a_settled_size(bed: Bed) {
    let id = fresh(&bed).await;
    append(&bed, id, UploadState::new(Algorithm::Sha256), &content(10, 17)).await.unwrap();
    assert!(bed.writer(id).await.unwrap().publish().await.is_err());
}

async fn a_discarded_upload_cannot_be_published(bed: Bed) {
    let id = fresh(&bed).await;
    let mut writer = bed.writer(id).await.unwrap();
    let begun = UploadState::new(Algorithm::Sha256);
    let state = writer.append(begun, body(&content(10, 18), 10), None).await.unwrap().state;
    bed.discard(id, Some(&state)).await.unwrap();
    assert!(writer.publish().await.is_err());
    drop(writer);
    assert!(bed.files().is_empty());
}

async fn ranges(bed: Bed) {
    let length = 900 * KIB;
    let bytes = content(length, 19);
    let (key, digest) = put(&bed, &bytes).await;
    for range in [
        0..0,
        0..1,
        length..length,
        length - 1..length,
        5..300_000,
        256 * KIB..512 * KIB,
        1..length,
        0..length,
    ] {
        assert!(get(&bed, &key, &digest, length, range.clone()).await == bytes[range.clone()], "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "one of the cases")]
    for range in [0..length as u64 + 1, 5..4, length as u64 + 1..length as u64 + 1] {
        let refused = bed.read(&key, &digest, length as u64, range.clone()).await;
        assert!(
            matches!(refused, Err(ReadError::Io(err)) if err.kind() == io::ErrorKind::InvalidInput),
            "{range:?}"
        );
    }
}

async fn chunks_are_small(bed: Bed) {
    let bytes = content(900 * KIB, 20);
    let (key, digest) = put(&bed, &bytes).await;
    for _ in 0..2 {
        let stream = bed.read(&key, &digest, bytes.len() as u64, 0..bytes.len() as u64).await.unwrap();
        let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= 256 * KIB));
    }
}

async fn missing_content(bed: Bed) {
    let (key, digest) = put(&bed, &content(10, 21)).await;
    bed.delete(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(bed.stat(&key).await.unwrap(), None);
    assert!(matches!(bed.read(&key, &digest, 10, 0..10).await, Err(ReadError::Missing)));
    assert!(matches!(bed.read_all(&key, 10).await, Err(ReadError::Missing)));
}

async fn another_size_than_recorded(bed: Bed) {
    let (key, digest) = put(&bed, &content(10, 22)).await;
    let mut damaged = bed.damaged();
    for size in [0, 9, 11] {
        let refused = bed.read(&key, &digest, size, 0..size).await;
        assert!(matches!(refused, Err(ReadError::SizeMismatch { found: 10 })), "{size}");
        assert_eq!(damaged.try_recv().unwrap(), key);
    }
    assert!(matches!(bed.read_all(&key, 9).await, Err(ReadError::SizeMismatch { found: 10 })));
}

async fn another_digest_than_recorded(bed: Bed) {
    for length in [0, 10, 900 * KIB] {
        let bytes = content(length, 23);
        let (key, right) = put(&bed, &bytes).await;
        let wrong = Digest::of(Algorithm::Sha256, b"something else");
        let mut damaged = bed.damaged();
        let stream = bed.read(&key, &wrong, length as u64, 0..length as u64).await.unwrap();
        let chunks: Vec<Result<Bytes, io::Error>> = stream.collect().await;
        let (last, before) = chunks.split_last().unwrap();
        assert_eq!(last.as_ref().unwrap_err().kind(), io::ErrorKind::InvalidData);
        let handed_out: usize = before.iter().map(|chunk| chunk.as_ref().unwrap().len()).sum();
        assert!(handed_out == 0 || handed_out < length, "{handed_out} of {length}");
        assert_eq!(damaged.try_recv().unwrap(), key);
        // Asking rightly still works, and the reading by SHA-512 as well.
        for digest in [right, Digest::of(Algorithm::Sha512, &bytes)] {
            assert!(get(&bed, &key, &digest, length, 0..length).await == bytes);
        }
    }
}

async fn deleting_and_discarding_twice_is_fine(bed: Bed) {
    let (first, _) = put(&bed, &content(10, 24)).await;
    let (second, digest) = put(&bed, &content(10, 25)).await;
    for _ in 0..2 {
        bed.delete(std::slice::from_ref(&first)).await.unwrap();
        bed.discard(fresh(&bed).await, None).await.unwrap();
    }
    assert_eq!(get(&bed, &second, &digest, 10, 0..10).await, content(10, 25), "the other one stays");
    bed.delete(&[first, second.clone()]).await.unwrap();
    assert_eq!(bed.stat(&second).await.unwrap(), None);
}

async fn nothing_is_left_behind(bed: Bed) {
    let id = fresh(&bed).await;
    drop(bed.writer(id).await.unwrap());
    assert!(bed.files().is_empty(), "an upload that was only looked at");
    append(&bed, id, UploadState::new(Algorithm::Sha256), &Bytes::new()).await.unwrap();
    assert!(bed.files().is_empty(), "an upload without bytes");
    let state = append(&bed, id, UploadState::new(Algorithm::Sha256), &content(10, 26)).await.unwrap().state;
    bed.discard(id, Some(&state)).await.unwrap();
    assert!(bed.files().is_empty(), "a discarded upload");
    let (key, _) = put(&bed, &content(10, 27)).await;
    bed.delete(&[key]).await.unwrap();
    bed.probe().await.unwrap();
    assert!(bed.files().is_empty(), "deleted content, and a probe: {:?}", bed.files());
}

async fn a_publish_that_nobody_waits_for_leaves_nothing(bed: Bed) {
    let mut keys = 0;
    for pause_us in 0..30 {
        let mut writer = bed.writer(fresh(&bed).await).await.unwrap();
        writer.append(UploadState::new(Algorithm::Sha256), body(&content(10, 28), 10), None).await.unwrap();
        let publish = tokio::time::timeout(Duration::from_micros(pause_us * 50), writer.publish());
        keys += usize::from(publish.await.is_ok());
    }
    bed.settles_at(keys).await;
    assert!(bed.dir.is_none() || bed.files().len() == keys);
}

async fn foreign_keys_are_refused(bed: Bed) {
    for text in ["", "b/3f/../../etc/passwd", "/etc/passwd", "b/3f/3f", "b.00000000/3f/3f", "b.../3f/3f"] {
        let key = Key::from_stored(text.to_owned());
        let digest = Digest::of(Algorithm::Sha256, b"");
        assert!(!matches!(bed.stat(&key).await, Ok(Some(_))), "{text}");
        assert!(bed.read(&key, &digest, 0, 0..0).await.is_err(), "{text}");
        assert!(bed.read_all(&key, 10_000).await.is_err(), "{text}");
    }
}

async fn an_append_is_a_future_that_can_move_between_threads(bed: Bed) {
    fn can_move<T: Send>(future: T) -> T {
        future
    }
    let mut writer = bed.writer(fresh(&bed).await).await.unwrap();
    can_move(writer.append(UploadState::new(Algorithm::Sha256), body(&content(10, 29), 10), None))
        .await
        .unwrap();
    // And one over a body that cannot (an actix payload) is accepted too.
    let stays = body(&content(10, 30), 10).map(|chunk| {
        let _here = std::rc::Rc::new(());
        chunk
    });
    let stays = Box::pin(stays) as std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>>>>;
    writer.append(UploadState::new(Algorithm::Sha256), stays, None).await.unwrap();
}

macro_rules! suite {
    ($driver:ident: $($case:ident),* $(,)?) => {
        mod $driver {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(super::Bed::$driver()).await;
                }
            )*
        }
    };
    ($($case:ident),* $(,)?) => {
        suite!(memory: $($case),*);
        suite!(filesystem: $($case),*);
        suite!(roots: $($case),*);
        suite!(s3: $($case),*);
    };
}

suite!(
    content_comes_back_at_every_size,
    an_upload_goes_on_in_pieces_through_other_handles,
    unrecorded_bytes_are_cut_off,
    an_offset_that_was_never_reached_is_lost,
    what_arrived_before_a_break_is_kept,
    a_limit_ends_the_reading,
    a_rewind_takes_back,
    one_writer_at_a_time,
    a_writer_that_is_not_given_back_makes_others_fail,
    concurrent_appends_never_mix,
    an_append_dropped_half_way_changes_nothing_that_counts,
    a_finished_upload_is_gone_and_keys_are_never_used_twice,
    publishing_needs_a_settled_size,
    a_discarded_upload_cannot_be_published,
    ranges,
    chunks_are_small,
    missing_content,
    another_size_than_recorded,
    another_digest_than_recorded,
    deleting_and_discarding_twice_is_fine,
    nothing_is_left_behind,
    a_publish_that_nobody_waits_for_leaves_nothing,
    foreign_keys_are_refused,
    an_append_is_a_future_that_can_move_between_threads,
);
