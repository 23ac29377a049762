//! Stores one blob in the directory that is the first argument, on one event loop and one blocking thread, and
//! prints its key. The tests run it under strace, to see the order of its system calls and to make them fail.

use bytes::Bytes;
use hythe_blobstore::{BlobStore, Config, Record, UploadState};
use oci::Algorithm;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args_os().nth(1).ok_or("usage: publish DIRECTORY")?.into();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build()?;
    runtime.block_on(async {
        // On the same thread as everything else: strace counts calls per thread.
        let config = Config { roots: vec![root], ..Config::default() };
        let open = move || BlobStore::filesystem(&config, &Record::default());
        let store = tokio::task::spawn_blocking(open).await??;
        let mut writer = store.writer(store.upload_id().await?).await?;
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![7; 1_000_000]))]);
        let state = writer.append(UploadState::new(Algorithm::Sha256), body, None).await?.state;
        writer.digest(&state, Algorithm::Sha256).await?;
        println!("{}", writer.publish().await?.as_str());
        Ok(())
    })
}
