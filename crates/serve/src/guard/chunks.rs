//! Follows a chunked body to its end, strictly: sizes in plain hexadecimal, every line ended by CR and LF,
//! extensions and trailers of bounded length. It changes nothing; it only knows where the body is over.

/// Bytes of one line of a chunk's size with its extensions.
const SIZE_LINE_MAX: usize = 256;
/// Bytes of all trailers together.
const TRAILERS_MAX: usize = 8 * 1024;
/// Sizes have at most this many digits; more would overflow.
const DIGITS_MAX: usize = 15;

/// The framing is broken. Nothing after this point can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the digits of a size; how many there were.
    Size(usize),
    /// In what follows the digits on their line.
    Extension,
    /// After the CR of a size line.
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the begin of a trailer line.
    TrailerBegin,
    Trailer,
    TrailerEnd,
    /// After the CR of the empty line.
    Last,
    Over,
}

/// Where in a chunked body the bytes seen so far end.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    left: u64,
    /// Bytes of the current size line, or of all trailers.
    line: usize,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { at: At::Size(0), left: 0, line: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Follows `bytes` and tells how many of them belong to the body: fewer than all only when it is over.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut position = 0;
        while position < bytes.len() && self.at != At::Over {
            if self.at == At::Data {
                let rest = (bytes.len() - position) as u64;
                let step = rest.min(self.left);
                self.left -= step;
                position += usize::try_from(step).map_err(|_| Broken)?;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.at = self.step(bytes[position])?;
            position += 1;
        }
        Ok(position)
    }

    fn step(&mut self, byte: u8) -> Result<At, Broken> {
        let text = byte == b'\t' || !byte.is_ascii_control();
        Ok(match (self.at, byte) {
            (At::Size(digits), _) if byte.is_ascii_hexdigit() && digits < DIGITS_MAX => {
                let value = char::from(byte).to_digit(16).ok_or(Broken)?;
                self.left = self.left * 16 + u64::from(value);
                At::Size(digits + 1)
            }
            (At::Size(1..), b'\r') | (At::Extension, b'\r') => At::SizeEnd,
            (At::Size(1..), b';' | b' ' | b'\t') => self.counted(SIZE_LINE_MAX, At::Extension)?,
            (At::Extension, _) if text => self.counted(SIZE_LINE_MAX, At::Extension)?,
            (At::SizeEnd, b'\n') => {
                self.line = 0;
                if self.left == 0 { At::TrailerBegin } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0),
            (At::TrailerBegin, b'\r') => At::Last,
            (At::TrailerBegin, _) if text && byte != b' ' && byte != b'\t' => {
                self.counted(TRAILERS_MAX, At::Trailer)?
            }
            (At::Trailer, b'\r') => At::TrailerEnd,
            (At::Trailer, _) if text => self.counted(TRAILERS_MAX, At::Trailer)?,
            (At::TrailerEnd, b'\n') => At::TrailerBegin,
            (At::Last, b'\n') => At::Over,
            _ => return Err(Broken),
        })
    }

    fn counted(&mut self, max: usize, next: At) -> Result<At, Broken> {
        self.line += 1;
        if self.line > max { Err(Broken) } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        let cases = [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "005;name=\"x\"\r\nhello\r\nA \r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        ];
        for body in cases {
            let text = format!("{body}GET / HTTP/1.1\r\n");
            for cut in 0..text.len() {
                let mut chunks = Chunks::new();
                let mut taken = chunks.follow(&text.as_bytes()[..cut]).expect("fine");
                if taken == cut {
                    taken += chunks.follow(&text.as_bytes()[cut..]).expect("fine");
                }
                assert!(chunks.is_over(), "{body:?} {cut}");
                assert_eq!(taken, body.len(), "{body:?} {cut}");
            }
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        let long = format!("5;{}\r\nhello\r\n", "x".repeat(SIZE_LINE_MAX));
        let trailers = format!("0\r\n{}\r\n", "X: 1234567890\r\n".repeat(1000));
        for body in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "5\nhello",
            "5\r\nhello0\r\n",
            "5\r\nhello\n0\r\n",
            "0\r\n\n",
            "0\r\nX: 1\n\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "1000000000000000\r\n",
            "5;a\u{0}\r\nhello\r\n",
            "0\r\n folded\r\n\r\n",
            &long,
            &trailers,
        ] {
            assert_eq!(Chunks::new().follow(body.as_bytes()), Err(Broken), "{body:.40}");
        }
    }
}
