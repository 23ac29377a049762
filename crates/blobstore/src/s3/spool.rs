//! The bytes of an upload that do not fill a part yet, in a nameless file.
//!
//! In a file and not in memory, because a client may take hours to fill a part: the memory for parts is only
//! held while one is being sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::blocking;
use crate::state::Hasher;

#[derive(Default)]
pub(super) struct Spool {
    file: Option<Arc<File>>,
    length: u64,
}

impl Spool {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds bytes, and counts them in the hash.
    pub(super) async fn add(&mut self, bytes: Bytes, mut hasher: Hasher) -> io::Result<Hasher> {
        let (file, at, length) = (self.file.clone(), self.length, bytes.len() as u64);
        let (file, hasher) = blocking(move || {
            let file = opened(file)?;
            file.write_all_at(&bytes, at)?;
            hasher.update(&bytes);
            Ok::<_, io::Error>((file, hasher))
        })
        .await??;
        self.file = Some(file);
        self.length += length;
        Ok(hasher)
    }

    /// Adds bytes that the hash has counted before.
    pub(super) async fn restore(&mut self, bytes: Bytes) -> io::Result<()> {
        let (file, at, length) = (self.file.clone(), self.length, bytes.len() as u64);
        let file = blocking(move || {
            let file = opened(file)?;
            file.write_all_at(&bytes, at)?;
            Ok::<_, io::Error>(file)
        });
        self.file = Some(file.await??);
        self.length += length;
        Ok(())
    }

    /// All of it.
    pub(super) async fn read(&self) -> io::Result<Bytes> {
        let (file, length) = (self.file.clone(), self.length);
        blocking(move || {
            let mut buffer = vec![0; length as usize];
            if length > 0 {
                opened(file)?.read_exact_at(&mut buffer, 0)?;
            }
            Ok(buffer.into())
        })
        .await?
    }
}

fn opened(file: Option<Arc<File>>) -> io::Result<Arc<File>> {
    match file {
        Some(file) => Ok(file),
        None => Ok(Arc::new(tempfile::tempfile()?)),
    }
}
