//! Reads a request's head as strictly as possible, before any library does: what two programs could read
//! differently is refused, so that nobody behind this listener can be made to see a second request.
//!
//! It understands only what frames a message. Everything else (paths, names of headers, their meaning) stays
//! with those who answer.

/// How the body that follows a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// This many bytes, possibly none.
    Sized(u64),
    Chunked,
}

/// Why a head goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed(&'static str),
    HeadTooLarge,
    UrlTooLong,
    Slow,
}

/// Header lines; as many as the libraries behind take.
const LINES_MAX: usize = 96;
const METHOD_LENGTH_MAX: usize = 32;

/// Looks for the end of the head in `bytes`, of which the first `seen` held none. `Ok(None)`: not there yet.
pub(super) fn end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Fault> {
    for (offset, byte) in bytes[seen..].iter().enumerate() {
        if *byte != b'\n' {
            continue;
        }
        let position = seen + offset;
        if position == 0 || bytes[position - 1] != b'\r' {
            return Err(Fault::Malformed("a line ends without a carriage return"));
        }
        if bytes[..=position].ends_with(b"\r\n\r\n") {
            return Ok(Some(position + 1));
        }
    }
    Ok(None)
}

/// The framing of the body after a whole head, which ends with an empty line.
pub(super) fn framing(head: &[u8]) -> Result<Body, Fault> {
    let mut lines = head
        .strip_suffix(b"\r\n\r\n")
        .unwrap_or(head)
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request = Request::parse(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for (count, line) in lines.enumerate() {
        if count == LINES_MAX {
            return Err(Fault::HeadTooLarge);
        }
        fields.add(line)?;
    }
    fields.body(&request)
}

struct Request<'a> {
    method: &'a [u8],
    is_1_1: bool,
}

impl<'a> Request<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Fault> {
        let malformed = Fault::Malformed("the request line is malformed");
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        if method.is_empty() || method.len() > METHOD_LENGTH_MAX || !method.iter().all(|byte| is_token(*byte))
        {
            return Err(malformed);
        }
        // Absolute, authority and asterisk forms are for proxies and for servers as a whole; this is neither.
        if target.first() != Some(&b'/') {
            return Err(Fault::Malformed("the request target does not begin with a slash"));
        }
        if target.iter().any(|byte| byte.is_ascii_control() || *byte == b'#') {
            return Err(Fault::Malformed("the request target has a character that must be encoded"));
        }
        let is_1_1 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ => return Err(Fault::Malformed("only HTTP/1.1 and HTTP/1.0 are spoken here")),
        };
        Ok(Self { method, is_1_1 })
    }
}

/// The headers that frame a body, or route it.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    hosts: usize,
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), Fault> {
        let colon = line.iter().position(|byte| *byte == b':');
        let Some((name, value)) = colon.map(|colon| (&line[..colon], line[colon + 1..].trim_ascii())) else {
            return Err(Fault::Malformed("a header line has no colon"));
        };
        // This also refuses lines that continue the one before, and blanks before the colon.
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(Fault::Malformed("the name of a header is malformed"));
        }
        if line[name.len()..].iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(Fault::Malformed("a header has a control character"));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            if !digits || self.length.is_some() {
                return Err(Fault::Malformed("Content-Length is not one number"));
            }
            self.length = Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Malformed("Transfer-Encoding is not chunked, once"));
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        }
        Ok(())
    }

    fn body(&self, request: &Request<'_>) -> Result<Body, Fault> {
        if self.hosts > 1 || (self.hosts == 0 && request.is_1_1) {
            return Err(Fault::Malformed("a request has exactly one Host"));
        }
        let body = match (self.length, self.chunked) {
            (Some(_), true) => {
                return Err(Fault::Malformed("both Content-Length and Transfer-Encoding are given"));
            }
            (None, true) if !request.is_1_1 => {
                return Err(Fault::Malformed("HTTP/1.0 has no Transfer-Encoding"));
            }
            (None, true) => Body::Chunked,
            (length, false) => Body::Sized(length.unwrap_or(0)),
        };
        if matches!(request.method, b"GET" | b"HEAD") && body != Body::Sized(0) {
            return Err(Fault::Malformed("GET and HEAD have no body"));
        }
        Ok(body)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Body, Fault> {
        match end(head.as_bytes(), 0)? {
            Some(length) if length == head.len() => framing(head.as_bytes()),
            other => panic!("{head:?} ends at {other:?}"),
        }
    }

    #[test]
    fn framing_is_read_from_honest_heads() {
        let cases = [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Body::Sized(0)),
            ("GET /a%2Fb?x=/../y HTTP/1.0\r\n\r\n", Body::Sized(0)),
            ("GET / HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n", Body::Sized(0)),
            ("PUT / HTTP/1.1\r\nHost: x\r\ncontent-length:\t12 \r\n\r\n", Body::Sized(12)),
            ("PATCH / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n", Body::Chunked),
            ("PUT / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", Body::Sized(5)),
            ("DELETE / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX: caf\u{e9}\r\n\r\n", Body::Sized(2)),
        ];
        for (head, body) in cases {
            assert_eq!(read(head), Ok(body), "{head:?}");
        }
    }

    #[test]
    fn whatever_could_be_read_twice_is_refused() {
        let heads = [
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\n Transfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /#x HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\n",
            "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ];
        for head in heads {
            assert!(matches!(read(head), Err(Fault::Malformed(_))), "{head:?} {:?}", read(head));
        }
        let many = "X: 1\r\n".repeat(LINES_MAX);
        assert_eq!(read(&format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")), Err(Fault::HeadTooLarge));
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
        for cut in 0..head.len() {
            let before = end(&head[..cut], 0).expect("no fault");
            if cut < 27 {
                assert_eq!(before, None, "{cut}");
                assert_eq!(end(head, cut), Ok(Some(27)), "{cut}");
            } else {
                assert_eq!(before, Some(27), "{cut}");
            }
        }
    }
}
