//! What only a stricter S3 server shows: whether encryption that is asked for is done, of objects and of parts. For
//! MinIO, which `make soak` brings: not run otherwise.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{self, Read, Write};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use hythe_blobstore::{BlobStore, Encryption, S3Config, UploadState};
use oci::{Algorithm, Digest};
use support::{Kind, S3Server};

const MIB: usize = 1024 * 1024;

/// Uploads and reads back one object and one that goes in parts; returns the head of the answer that a client gets
/// for each from the service itself.
async fn round_trips(config: &S3Config) -> Vec<String> {
    let store = BlobStore::s3(&S3Config { redirect: true, ..config.clone() }).unwrap();
    store.probe().await.unwrap();
    let mut heads = Vec::new();
    for length in [10, 11 * MIB + 1] {
        let bytes: Bytes = (0..length).map(|number| (number / 3) as u8).collect();
        let mut writer = store.writer(store.upload_id().await.unwrap()).await.unwrap();
        let body = stream::iter([Ok::<_, io::Error>(bytes.clone())]);
        let state = writer.append(UploadState::new(Algorithm::Sha256), body, None).await.unwrap().state;
        let digest = writer.digest(&state, Algorithm::Sha256).await.unwrap();
        let key = writer.publish().await.unwrap();
        assert_eq!(digest, Digest::of(Algorithm::Sha256, &bytes));
        let chunks = store.read(&key, &digest, length as u64, 0..length as u64).await.unwrap();
        assert!(chunks.try_collect::<Vec<Bytes>>().await.unwrap().concat() == bytes);
        heads.push(head(&store.redirect(&key, "docker").await.unwrap().unwrap()));
        store.delete(&[key]).await.unwrap();
    }
    heads
}

/// The head of the answer at an address.
fn head(address: &str) -> String {
    let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase()
}

#[tokio::test]
#[ignore = "needs MinIO; make soak runs it"]
async fn encryption_is_asked_for_and_done() {
    let server = S3Server::of_kind(Kind::Minio);
    let kms =
        S3Config { encryption: Encryption::Kms, kms_key_id: Some("hythe".to_owned()), ..server.config() };
    let aes = S3Config { encryption: Encryption::Aes256, ..server.config() };
    for (config, algorithm) in
        [(server.config(), None), (aes, Some("aes256")), (kms.clone(), Some("aws:kms"))]
    {
        for head in round_trips(&config).await {
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let said = head.lines().find_map(|line| line.strip_prefix("x-amz-server-side-encryption: "));
            assert_eq!(said, algorithm, "{head}");
        }
    }
    let unknown = S3Config { kms_key_id: Some("another".to_owned()), ..kms };
    assert!(BlobStore::s3(&unknown).unwrap().probe().await.is_err(), "a key that is not there is a fault");
    assert_eq!(server.files().len(), 0, "{:?}", server.files());
}
