//! HTTP/1.1 over one kept-alive connection, with as little work per request as possible.
//!
//! It shares the processors with the server that it measures, so heads are written once and sent many times, bodies
//! are made while they are sent, and what is read is thrown away. It speaks to the two servers of the
//! benchmark and to nothing else: no TLS, no redirects, no proxies.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::noise::{BLOCK_BYTES, Blob, Noise};

/// More headers than either server sends.
const HEADERS_MAX: usize = 48;

/// What goes out after the head.
pub enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    Blob(&'a Blob),
}

/// Where an answer's body goes.
pub enum Sink<'a> {
    Discard,
    Collect(&'a mut Vec<u8>),
    Hash(&'a mut Sha256),
}

/// An answer, its body read to the end.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// Path of the `Location`, without scheme and host.
    pub location: Option<String>,
    /// Path in the `Link` to the next page.
    pub next: Option<String>,
    /// `name=value` of each cookie that was set.
    pub cookies: Vec<String>,
}

/// The head of a request, ready to be sent.
#[derive(Clone)]
pub struct Head {
    text: Vec<u8>,
    /// An answer to `HEAD` has a length and no body.
    bodiless: bool,
    path: String,
}

impl Head {
    /// `authorization` is the whole value of that header; `length` is the length of the body that will follow.
    pub fn new(
        method: &str,
        path: &str,
        authorization: Option<&str>,
        headers: &[(&str, &str)],
        length: Option<u64>,
    ) -> Head {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: hythe-bench\r\n");
        let authorization = authorization.map(|value| ("Authorization", value));
        for (name, value) in headers.iter().copied().chain(authorization) {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        if let Some(length) = length {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        text.push_str("\r\n");
        Head { text: text.into_bytes(), bodiless: method == "HEAD", path: format!("{method} {path}") }
    }
}

/// One connection; opened at the first request, and again after the server has closed it in good order.
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    input: Box<[u8]>,
    /// Bytes of `input` that were read from the socket and not looked at yet.
    unread: std::ops::Range<usize>,
    output: Box<[u8]>,
}

/// What the head of an answer says about the body.
enum Framing {
    Length(u64),
    Chunked,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Connection {
        Connection {
            address,
            stream: None,
            input: vec![0; BLOCK_BYTES].into(),
            unread: 0..0,
            // Grows to a block when a blob is sent; most connections never send one.
            output: Box::default(),
        }
    }

    /// Sends a request and reads the whole answer. Fails unless the status is `expected`.
    pub async fn expect(&mut self, expected: u16, head: &Head, body: Body<'_>) -> Result<Answer> {
        let mut text = Vec::new();
        let answer = self.exchange(head, body, &mut Sink::Collect(&mut text)).await?;
        ensure!(
            answer.status == expected,
            "{}: {} instead of {expected}: {}",
            head.path,
            answer.status,
            String::from_utf8_lossy(&text[..text.len().min(300)])
        );
        Ok(answer)
    }

    /// Sends a request and reads the whole answer into the sink, whatever its status.
    pub async fn exchange(&mut self, head: &Head, body: Body<'_>, sink: &mut Sink<'_>) -> Result<Answer> {
        self.try_exchange(head, body, sink).await.with_context(|| head.path.clone())
    }

    async fn try_exchange(&mut self, head: &Head, body: Body<'_>, sink: &mut Sink<'_>) -> Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await.context("cannot connect")?;
                stream.set_nodelay(true)?;
                self.unread = 0..0;
                self.stream.insert(stream)
            }
        };
        stream.write_all(&head.text).await.context("the head cannot be sent")?;
        let sent = match body {
            Body::None => Ok(()),
            Body::Bytes(bytes) => stream.write_all(bytes).await,
            Body::Blob(blob) => {
                if self.output.is_empty() {
                    self.output = vec![0; BLOCK_BYTES].into();
                }
                send_blob(stream, blob, &mut self.output).await
            }
        };
        // A server that refuses may close before it has read everything; its answer says more than our error.
        let (mut answer, framing, close) = match (self.head(head.bodiless).await, sent) {
            (Ok(parsed), _) => parsed,
            (Err(_), Err(err)) => return Err(err).context("the body cannot be sent"),
            (Err(err), Ok(())) => return Err(err),
        };
        answer.bytes = match framing {
            Framing::Length(length) => {
                self.take(length, sink).await?;
                length
            }
            Framing::Chunked => self.chunks(sink).await?,
        };
        if close {
            self.stream = None;
        }
        Ok(answer)
    }

    async fn head(&mut self, bodiless: bool) -> Result<(Answer, Framing, bool)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut parsed = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(length) = parsed.parse(&self.input[self.unread.clone()])? {
                let mut answer =
                    Answer { status: parsed.code.context("an answer has a status")?, ..Answer::default() };
                let mut framing = Framing::Length(0);
                let mut close = false;
                for header in parsed.headers.iter() {
                    let value = || std::str::from_utf8(header.value).context("a header is no text");
                    match header.name {
                        name if name.eq_ignore_ascii_case("content-length") => {
                            framing = Framing::Length(value()?.trim().parse()?);
                        }
                        name if name.eq_ignore_ascii_case("transfer-encoding") => framing = Framing::Chunked,
                        name if name.eq_ignore_ascii_case("connection") => {
                            close = value()?.eq_ignore_ascii_case("close");
                        }
                        name if name.eq_ignore_ascii_case("location") => {
                            answer.location = Some(path_of(value()?).to_owned());
                        }
                        name if name.eq_ignore_ascii_case("set-cookie") => {
                            answer.cookies.push(value()?.split(';').next().unwrap_or_default().to_owned());
                        }
                        name if name.eq_ignore_ascii_case("link") => answer.next = next_page(value()?),
                        _ => {}
                    }
                }
                self.unread.start += length;
                if bodiless {
                    framing = Framing::Length(0);
                }
                return Ok((answer, framing, close));
            }
            self.more().await?;
        }
    }

    /// Reads from the socket behind what is unread. Never called with a full buffer of body bytes.
    async fn more(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.input.len() {
            ensure!(self.unread.start > 0, "a head or a line is longer than {BLOCK_BYTES} bytes");
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let stream = self.stream.as_mut().context("the connection is open")?;
        let count = stream.read(&mut self.input[self.unread.end..]).await?;
        ensure!(count > 0, "the server closed the connection in the middle of an answer");
        self.unread.end += count;
        Ok(())
    }

    async fn take(&mut self, length: u64, sink: &mut Sink<'_>) -> Result<()> {
        let mut left = length;
        while left > 0 {
            if self.unread.is_empty() {
                self.more().await?;
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.unread.len());
            let bytes = &self.input[self.unread.start..self.unread.start + count];
            match sink {
                Sink::Discard => {}
                Sink::Collect(text) => text.extend_from_slice(bytes),
                Sink::Hash(hash) => hash.update(bytes),
            }
            self.unread.start += count;
            left -= count as u64;
        }
        Ok(())
    }

    async fn chunks(&mut self, sink: &mut Sink<'_>) -> Result<u64> {
        let mut total = 0;
        loop {
            let size = loop {
                match httparse::parse_chunk_size(&self.input[self.unread.clone()]) {
                    Ok(httparse::Status::Complete((length, size))) => {
                        self.unread.start += length;
                        break size;
                    }
                    Ok(httparse::Status::Partial) => self.more().await?,
                    Err(_) => bail!("a chunk has no size"),
                }
            };
            self.take(size, sink).await?;
            // The line end behind the chunk; trailers are sent by neither server.
            self.take(2, &mut Sink::Discard).await?;
            total += size;
            if size == 0 {
                return Ok(total);
            }
        }
    }
}

async fn send_blob(stream: &mut TcpStream, blob: &Blob, block: &mut [u8]) -> std::io::Result<()> {
    let mut noise = Noise::new(blob.seed);
    let mut left = blob.bytes;
    while left > 0 {
        noise.fill(block);
        let part = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        stream.write_all(&block[..part]).await?;
        left -= part as u64;
    }
    Ok(())
}

/// The path and query of an address that may or may not name scheme and host.
fn path_of(address: &str) -> &str {
    let Some((_, rest)) = address.split_once("://") else { return address };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

/// `</v2/_catalog?n=1&last=a>; rel="next"`
fn next_page(link: &str) -> Option<String> {
    let (address, _) = link.strip_prefix('<')?.split_once('>')?;
    Some(path_of(address).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends these bytes, in pieces, whatever it is asked.
    async fn canned(pieces: &'static [&'static str]) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("our own client");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            for piece in pieces {
                stream.write_all(piece.as_bytes()).await.expect("our own client");
                stream.flush().await.expect("our own client");
                tokio::task::yield_now().await;
            }
        });
        address
    }

    async fn body_of(pieces: &'static [&'static str]) -> Result<(Answer, String)> {
        let mut connection = Connection::new(canned(pieces).await);
        let mut text = Vec::new();
        let head = Head::new("GET", "/", None, &[], None);
        let answer = connection.exchange(&head, Body::None, &mut Sink::Collect(&mut text)).await?;
        Ok((answer, String::from_utf8_lossy(&text).into_owned()))
    }

    #[tokio::test]
    async fn bodies_are_read_to_their_end() {
        let (answer, text) =
            body_of(&["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 5\r\n\r\nhe", "llo"]).await.expect("whole");
        assert_eq!((answer.status, answer.bytes, text.as_str()), (200, 5, "hello"));
        let chunked = &[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r",
            "\nhel\r\n2\r\nl",
            "o\r\n0\r\n\r\n",
        ];
        let (answer, text) = body_of(chunked).await.expect("whole");
        assert_eq!((answer.bytes, text.as_str()), (5, "hello"));
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_is_an_error() {
        assert!(body_of(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"]).await.is_err());
        assert!(body_of(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell"]).await.is_err());
    }

    #[test]
    fn locations_and_links_become_paths() {
        assert_eq!(path_of("http://127.0.0.1:5000/v2/a?b=c"), "/v2/a?b=c");
        assert_eq!(path_of("/v2/a"), "/v2/a");
        assert_eq!(
            next_page("</v2/_catalog?last=a&n=1>; rel=\"next\"").as_deref(),
            Some("/v2/_catalog?last=a&n=1")
        );
    }
}
