//! Requests byte for byte, for what no decent HTTP client would send: paths that are not normalised,
//! headers without end, torn bodies.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Bed;

/// What came back until the connection closed.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// Status of the first answer; `None` when the connection closed without one.
    pub status: Option<u16>,
    pub text: String,
}

impl Bed {
    /// Sends `request` to the public listener as it is and reads until the server closes. Give it
    /// `Connection: close`, or it waits for the server's patience to end.
    pub async fn raw(&self, request: impl Into<Vec<u8>>) -> RawAnswer {
        let request = request.into();
        let stream = TcpStream::connect(self.addresses().public).await.expect("the server listens");
        let (mut reader, mut writer) = stream.into_split();
        // Writing and reading at once: a server may refuse before it has read everything.
        let writing = tokio::spawn(async move {
            let _ = writer.write_all(&request).await;
            writer
        });
        let mut bytes = Vec::new();
        let reading = tokio::time::timeout(Duration::from_secs(30), async {
            let mut buffer = [0; 8192];
            // An error here is a reset after the answer: what was read still counts.
            while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                bytes.extend_from_slice(&buffer[..count]);
            }
        });
        assert!(reading.await.is_ok(), "the server neither answered nor closed the connection in 30 s");
        writing.abort();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status =
            text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        RawAnswer { status, text }
    }

    /// Sends `bytes` and breaks the connection off, without waiting for anything.
    pub async fn raw_torn(&self, bytes: impl Into<Vec<u8>>) {
        let mut stream = TcpStream::connect(self.addresses().public).await.expect("the server listens");
        stream.write_all(&bytes.into()).await.expect("the server takes the beginning");
        stream.flush().await.expect("the server takes the beginning");
        // Long enough that the server has seen the head and is reading the body.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// A raw request line with optional header lines (each ending in CRLF), closed after one answer.
    pub async fn raw_get(&self, target: &str, headers: &str) -> RawAnswer {
        self.raw(format!("GET {target} HTTP/1.1\r\nHost: hythe.test\r\nConnection: close\r\n{headers}\r\n"))
            .await
    }
}
