//! CT-15 and R-07 for the filesystem driver: what happens when bytes on the disk are not what was stored, and
//! when there is no room for more.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hythe_blobstore::{BlobStore, Config, Key, ReadError, Record, UploadState};
use oci::{Algorithm, Digest};
use uuid::Uuid;

const LENGTH: usize = 700_000;

struct Stored {
    store: BlobStore,
    dir: tempfile::TempDir,
    key: Key,
    digest: Digest,
}

impl Stored {
    fn path(&self) -> PathBuf {
        self.dir.path().join(self.key.as_str())
    }

    /// Reads everything: the bytes that were handed out, and the error at the end.
    async fn read(&self) -> Result<(usize, Option<io::Error>), ReadError> {
        let mut stream = self.store.read(&self.key, &self.digest, LENGTH as u64, 0..LENGTH as u64).await?;
        let mut handed_out = 0;
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => handed_out += chunk.len(),
                Err(err) => return Ok((handed_out, Some(err))),
            }
        }
        Ok((handed_out, None))
    }

    fn flip_bit(&self, offset: u64) {
        let file = OpenOptions::new().read(true).write(true).open(self.path()).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
    }
}

async fn stored(verify_reads: bool) -> Stored {
    let dir = tempfile::tempdir().unwrap();
    let config =
        Config { roots: vec![dir.path().to_owned()], fsync: false, verify_reads, ..Config::default() };
    let store = BlobStore::filesystem(&config, &Record::default()).unwrap();
    let bytes: Bytes = (0..LENGTH).map(|number| (number / 7) as u8).collect();
    let mut writer = store.writer(Uuid::new_v4()).await.unwrap();
    let body = stream::iter([Ok::<_, io::Error>(bytes)]);
    let state = writer.append(UploadState::new(Algorithm::Sha256), body, None).await.unwrap().state;
    let digest = writer.digest(&state, Algorithm::Sha256).await.unwrap();
    let key = writer.publish().await.unwrap();
    Stored { store, dir, key, digest }
}

#[tokio::test]
async fn an_emptied_or_cut_file_is_refused_before_the_first_byte() {
    for length in [0, 1, LENGTH as u64 - 1, LENGTH as u64 + 1] {
        let stored = stored(true).await;
        assert!(matches!(stored.read().await, Ok((LENGTH, None))));
        let mut damaged = stored.store.damaged();
        OpenOptions::new().write(true).open(stored.path()).unwrap().set_len(length).unwrap();
        assert_eq!(stored.store.stat(&stored.key).await.unwrap(), Some(length));
        assert!(matches!(stored.read().await, Err(ReadError::SizeMismatch { found }) if found == length));
        assert_eq!(damaged.try_recv().unwrap(), stored.key);
    }
}

#[tokio::test]
async fn a_flipped_bit_ends_the_stream_before_its_last_bytes() {
    for offset in [0, 300_000, LENGTH as u64 - 1] {
        let stored = stored(true).await;
        let mut damaged = stored.store.damaged();
        stored.flip_bit(offset);
        let (handed_out, err) = stored.read().await.unwrap();
        assert_eq!(err.unwrap().kind(), io::ErrorKind::InvalidData);
        assert!(handed_out < LENGTH);
        assert_eq!(damaged.try_recv().unwrap(), stored.key);
        // It does not become right by being asked again.
        assert!(stored.read().await.unwrap().1.is_some());
    }
}

#[tokio::test]
async fn damage_after_a_check_is_noticed_because_the_file_changed() {
    let stored = stored(true).await;
    assert!(matches!(stored.read().await, Ok((LENGTH, None))));
    // The clock behind ctime moves in steps of a few milliseconds.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    stored.flip_bit(5);
    assert!(stored.read().await.unwrap().1.is_some());
}

#[tokio::test]
async fn an_exchanged_file_is_checked_again() {
    let stored = stored(true).await;
    assert!(matches!(stored.read().await, Ok((LENGTH, None))));
    let other = stored.dir.path().join("other");
    std::fs::write(&other, vec![7; LENGTH]).unwrap();
    std::fs::rename(&other, stored.path()).unwrap();
    assert!(stored.read().await.unwrap().1.is_some());
}

#[tokio::test]
async fn the_check_can_be_switched_off_but_not_that_of_the_size() {
    let stored = stored(false).await;
    stored.flip_bit(5);
    assert!(matches!(stored.read().await, Ok((LENGTH, None))));
    OpenOptions::new().write(true).open(stored.path()).unwrap().set_len(5).unwrap();
    assert!(matches!(stored.read().await, Err(ReadError::SizeMismatch { found: 5 })));
}

#[tokio::test]
async fn a_file_cut_while_it_is_read_fails_the_stream() {
    for checked_before in [false, true] {
        let stored = stored(true).await;
        if checked_before {
            stored.read().await.unwrap();
        }
        let mut damaged = stored.store.damaged();
        let mut stream =
            stored.store.read(&stored.key, &stored.digest, LENGTH as u64, 0..LENGTH as u64).await.unwrap();
        OpenOptions::new().write(true).open(stored.path()).unwrap().set_len(0).unwrap();
        let mut failed = false;
        while let Some(chunk) = stream.next().await {
            failed |= chunk.is_err();
        }
        assert!(failed, "checked before: {checked_before}");
        assert_eq!(damaged.try_recv().unwrap(), stored.key);
    }
}

/// After a power cut the file may hold zeros where the running hash counted bytes.
#[tokio::test]
async fn after_another_boot_the_bytes_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { roots: vec![dir.path().to_owned()], ..Config::default() };
    let store = BlobStore::filesystem(&config, &Record::default()).unwrap();
    let id = Uuid::new_v4();
    let body =
        stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"what was written before the power cut"))]);
    let mut writer = store.writer(id).await.unwrap();
    let state = writer.append(UploadState::new(Algorithm::Sha256), body, None).await.unwrap().state;
    drop(writer);

    let path = dir.path().join("uploads").join(id.to_string());
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0; 8], 9).unwrap();
    let on_disk = Digest::of(Algorithm::Sha256, &std::fs::read(&path).unwrap());
    // Form, algorithm and offset come before the 16 bytes of the boot.
    let mut kept = state.to_bytes();
    kept[10] ^= 1;
    let other_boot = UploadState::from_bytes(&kept).unwrap();

    let mut writer = store.writer(id).await.unwrap();
    assert_ne!(
        writer.digest(&state, Algorithm::Sha256).await.unwrap(),
        on_disk,
        "the running hash, in this boot"
    );
    assert_eq!(writer.digest(&other_boot, Algorithm::Sha256).await.unwrap(), on_disk);
    let more = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b" and after"))]);
    let state = writer.append(other_boot, more, None).await.unwrap().state;
    let on_disk = Digest::of(Algorithm::Sha256, &std::fs::read(&path).unwrap());
    assert_eq!(writer.digest(&state, Algorithm::Sha256).await.unwrap(), on_disk);
}
