//! Digests: the only names of content. Two algorithms are allowed, written in lower case and in
//! full length; everything else is refused, so a digest has exactly one spelling.
//!
//! Invariant: `hash` beyond the algorithm's length is zero, so comparing the whole array is right.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// The digest algorithms we accept. `Sha256` is what every client uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The word in front of the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Length of the raw hash in bytes.
    pub fn hash_bytes(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// The byte that stands for the algorithm in the database form. Never renumber: rows hold it.
    fn code(self) -> u8 {
        match self {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            _ => Err(DigestError::Algorithm),
        }
    }
}

/// Why a text or a byte string is no digest. Answered as DIGEST_INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("invalid digest: not of the form algorithm:hex")]
    Form,
    #[error("invalid digest: only sha256 and sha512 are supported")]
    Algorithm,
    #[error("invalid digest: wrong length for its algorithm")]
    Length,
    #[error("invalid digest: not lower-case hexadecimal")]
    Encoding,
}

/// A content digest such as `sha256:<64 hex digits>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hash: [u8; 64],
}

impl Digest {
    /// Hashes `content`. For small content in memory; uploads carry a running hash instead.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Digest {
        let mut hash = [0; 64];
        match algorithm {
            Algorithm::Sha256 => hash[..32].copy_from_slice(&sha2::Sha256::digest(content)),
            Algorithm::Sha512 => hash.copy_from_slice(&sha2::Sha512::digest(content)),
        }
        Digest { algorithm, hash }
    }

    /// Wraps a finished hash. Fails when its length is not the algorithm's.
    pub fn from_hash(algorithm: Algorithm, raw: impl AsRef<[u8]>) -> Result<Digest, DigestError> {
        let raw = raw.as_ref();
        if raw.len() != algorithm.hash_bytes() {
            return Err(DigestError::Length);
        }
        let mut hash = [0; 64];
        hash[..raw.len()].copy_from_slice(raw);
        Ok(Digest { algorithm, hash })
    }

    /// Reads the database form written by [`Digest::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Digest, DigestError> {
        let (code, raw) = bytes.split_first().ok_or(DigestError::Form)?;
        let algorithm = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.code() == *code)
            .ok_or(DigestError::Algorithm)?;
        Digest::from_hash(algorithm, raw)
    }

    /// The database form: one algorithm byte (1 sha256, 2 sha512), then the raw hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.algorithm.hash_bytes());
        bytes.push(self.algorithm.code());
        bytes.extend_from_slice(self.hash_bytes());
        bytes
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash, 32 or 64 bytes.
    pub fn hash_bytes(&self) -> &[u8] {
        &self.hash[..self.algorithm.hash_bytes()]
    }

    /// The part behind the colon.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = String::with_capacity(2 * self.algorithm.hash_bytes());
        for byte in self.hash_bytes() {
            hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        hex
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::Form)?;
        let algorithm: Algorithm = algorithm.parse()?;
        if hex.len() != 2 * algorithm.hash_bytes() {
            return Err(DigestError::Length);
        }
        let mut hash = [0; 64];
        for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
        }
        Ok(Digest { algorithm, hash })
    }
}

/// Lower case only: an upper-case twin would be a second name for the same content.
fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::Encoding),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const EMPTY_256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const EMPTY_512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    #[test]
    fn round_trips_through_text_bytes_and_json() {
        for (algorithm, text) in [(Algorithm::Sha256, EMPTY_256), (Algorithm::Sha512, EMPTY_512)] {
            let digest = Digest::of(algorithm, b"");
            assert_eq!(digest.to_string(), text);
            assert_eq!(format!("{digest:?}"), text);
            assert_eq!(text.parse(), Ok(digest.clone()));
            assert_eq!(Digest::from_bytes(&digest.to_bytes()), Ok(digest.clone()));
            assert_eq!(Digest::from_hash(algorithm, digest.hash_bytes()), Ok(digest.clone()));
            assert_eq!(digest.to_bytes().len(), 1 + algorithm.hash_bytes());
            let json = serde_json::to_string(&digest).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_bytes()[0], 1);
        assert_eq!(Digest::of(Algorithm::Sha512, b"").to_bytes()[0], 2);
    }

    #[test]
    fn ct_02_refuses_every_other_spelling() {
        let hex = "a".repeat(64);
        let cases = [
            (String::new(), DigestError::Form),
            ("sha256".into(), DigestError::Form),
            (hex.clone(), DigestError::Form),
            ("sha256:".into(), DigestError::Length),
            ("sha256:baddigeststring".into(), DigestError::Length),
            ("sha256:../../etc".into(), DigestError::Length),
            (format!("sha256:{}", &hex[1..]), DigestError::Length),
            (format!("sha256:{hex}a"), DigestError::Length),
            (format!("sha512:{hex}"), DigestError::Length),
            (format!("sha256:{}", hex.to_uppercase()), DigestError::Encoding),
            (format!("sha256:{}g", &hex[1..]), DigestError::Encoding),
            (format!("sha256: {}", &hex[1..]), DigestError::Encoding),
            (format!("sha256:{}é", &hex[2..]), DigestError::Encoding),
            (format!("sha256:{}\n", &hex[1..]), DigestError::Encoding),
            (format!("SHA256:{hex}"), DigestError::Algorithm),
            (format!("md5:{}", &hex[32..]), DigestError::Algorithm),
            (format!("sha256+b64:{hex}"), DigestError::Algorithm),
            (format!("sha256/{hex}"), DigestError::Form),
            (format!(":{hex}"), DigestError::Algorithm),
            (format!("sha256:sha256:{}", &hex[7..]), DigestError::Encoding),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn refuses_foreign_bytes() {
        for bytes in [&[][..], &[1], &[1; 32], &[1; 34], &[0; 33], &[3; 33], &[2; 33], &[2; 64]] {
            assert!(Digest::from_bytes(bytes).is_err(), "{bytes:?}");
        }
        assert!(Digest::from_bytes(&[1; 33]).is_ok());
        assert_eq!(Digest::from_hash(Algorithm::Sha512, vec![0; 32]), Err(DigestError::Length));
    }
}
