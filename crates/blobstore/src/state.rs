//! The state of an upload between two requests: how many bytes are stored, and the running hash over them.
//!
//! It is kept by the caller (in the session's row), so any process can go on with the upload.
//!
//! Invariant: `boot` is the boot during which the first byte was written. A running hash counts bytes that were
//! written but not made durable; after another boot they may be gone from the file, and the hash is not believed.

use std::fmt;
use std::sync::LazyLock;

use oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

use crate::Key;

/// First byte of the stored form, where the bytes are in a place that the upload's id leads to.
const FORM: u8 = 1;

/// First byte of the stored form that says where the bytes are; the hash is preceded by its length (two bytes)
/// and followed by the place.
const FORM_KEPT: u8 = 2;

/// Bytes before the hash state: form, algorithm, offset, boot.
const HEAD_BYTES: usize = 1 + 1 + 8 + 16;

/// This boot of the machine. Where the kernel does not tell, a value that no other process has: then a process
/// believes only the hashes it has computed itself.
static BOOT: LazyLock<[u8; 16]> = LazyLock::new(|| {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| uuid::Uuid::parse_str(text.trim()).ok())
        .map_or_else(rand::random, uuid::Uuid::into_bytes)
});

/// Where an upload stands. Opaque but for its offset; keep [`UploadState::to_bytes`] between requests.
#[derive(Clone)]
pub struct UploadState {
    /// Bytes stored so far.
    pub offset: u64,
    pub(crate) hasher: Hasher,
    /// Where the bytes are, for a store that cannot find them by the upload's id.
    pub(crate) kept: Option<Kept>,
    boot: [u8; 16],
}

/// Where a bucket keeps the bytes of an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The upload in parts and the key its content will have, once the first part is full.
    begun: Option<(String, String)>,
    /// Tags of the parts that were sent, in order.
    pub(crate) tags: Vec<String>,
    /// The bytes after the last part.
    pub(crate) tail: Option<Tail>,
    /// Objects that earlier states needed.
    pub(crate) stale: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

impl Kept {
    pub(crate) fn in_parts(key: &Key, upload: &str, stale: Vec<String>) -> Self {
        let begun = Some((key.as_str().to_owned(), upload.to_owned()));
        Self { begun, tags: Vec::new(), tail: None, stale }
    }

    /// The key and the id of the upload in parts.
    pub(crate) fn upload(&self) -> Option<(Key, String)> {
        let (key, upload) = self.begun.clone()?;
        Some((Key::from_stored(key), upload))
    }

    /// All objects it names that are there before it is published.
    pub(crate) fn names(self) -> Vec<String> {
        let mut names = self.stale;
        names.extend(self.tail.map(|tail| tail.name));
        names
    }
}

/// Stored bytes that are no state of an upload, or one of a newer version of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an upload state")]
pub struct StateError;

impl UploadState {
    /// The state of an upload that has no bytes yet. `algorithm` is what is hashed while bytes arrive.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { offset: 0, hasher: Hasher::new(algorithm), kept: None, boot: *BOOT }
    }

    /// The form to keep: 131 bytes for SHA-256, 235 for SHA-512 at most; on a store that is not local about 40
    /// more per part.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 256);
        bytes.push(if self.kept.is_some() { FORM_KEPT } else { FORM });
        bytes.push(match self.hasher {
            Hasher::Sha256(_) => 1,
            Hasher::Sha512(_) => 2,
        });
        bytes.extend_from_slice(&self.offset.to_be_bytes());
        bytes.extend_from_slice(&self.boot);
        let hash = match &self.hasher {
            Hasher::Sha256(hasher) => hasher.serialize().to_vec(),
            Hasher::Sha512(hasher) => hasher.serialize().to_vec(),
        };
        if self.kept.is_some() {
            bytes.extend_from_slice(&(hash.len() as u16).to_be_bytes());
        }
        bytes.extend_from_slice(&hash);
        if let Some(kept) = &self.kept {
            bytes.extend_from_slice(&serde_json::to_vec(kept).expect("texts and numbers always become JSON"));
        }
        bytes
    }

    /// Reads what [`UploadState::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES).ok_or(StateError)?;
        let (&[form, algorithm], numbers) = head.split_first_chunk::<2>().ok_or(StateError)?;
        let (offset, boot) = numbers.split_first_chunk::<8>().ok_or(StateError)?;
        let (hash, kept) = match form {
            FORM => (rest, None),
            FORM_KEPT => {
                let (length, rest) = rest.split_first_chunk::<2>().ok_or(StateError)?;
                let length = usize::from(u16::from_be_bytes(*length));
                let (hash, kept) = rest.split_at_checked(length).ok_or(StateError)?;
                (hash, Some(serde_json::from_slice(kept).map_err(|_| StateError)?))
            }
            _ => return Err(StateError),
        };
        let hasher = match algorithm {
            1 => Hasher::Sha256(restore(hash)?),
            2 => Hasher::Sha512(restore(hash)?),
            _ => return Err(StateError),
        };
        let boot = boot.try_into().map_err(|_| StateError)?;
        Ok(Self { offset: u64::from_be_bytes(*offset), hasher, kept, boot })
    }

    /// Whether both say the same about the bytes, wherever their hashes stand.
    pub(crate) fn same_bytes(&self, other: &Self) -> bool {
        self.offset == other.offset && self.kept == other.kept
    }

    /// Counts bytes that were written at the offset.
    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        if self.offset == 0 {
            self.boot = *BOOT;
        }
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
    }

    /// The digest of what was absorbed, if the running hash computes this algorithm and can be believed.
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        // Another service's acknowledgement outlives a boot of ours.
        let believed = self.boot == *BOOT || self.offset == 0 || self.kept.is_some();
        (believed && self.hasher.algorithm() == algorithm).then(|| self.hasher.clone().finish())
    }
}

impl fmt::Debug for UploadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadState")
            .field("offset", &self.offset)
            .field("algorithm", &self.hasher.algorithm())
            .finish_non_exhaustive()
    }
}

fn restore<H: SerializableState>(bytes: &[u8]) -> Result<H, StateError> {
    let state = SerializedState::<H>::try_from(bytes).map_err(|_| StateError)?;
    H::deserialize(&state).map_err(|_| StateError)
}

/// A running hash of either algorithm.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        let digest = match self {
            Self::Sha256(hasher) => Digest::from_hash(Algorithm::Sha256, hasher.finalize()),
            Self::Sha512(hasher) => Digest::from_hash(Algorithm::Sha512, hasher.finalize()),
        };
        digest.expect("a finished hash has the length of its algorithm")
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    #[test]
    fn a_state_survives_being_stored_at_any_offset() {
        let content: Vec<u8> = (0..1000_u32).map(|number| number as u8).collect();
        for algorithm in ALGORITHMS {
            for cut in [0, 1, 63, 64, 65, 127, 128, 999, 1000] {
                let mut state = UploadState::new(algorithm);
                state.absorb(&content[..cut]);
                let mut state = UploadState::from_bytes(&state.to_bytes()).unwrap();
                assert_eq!(state.offset, cut as u64);
                state.absorb(&content[cut..]);
                assert_eq!(
                    state.digest(algorithm),
                    Some(Digest::of(algorithm, &content)),
                    "{algorithm} {cut}"
                );
            }
        }
    }

    #[test]
    fn a_hash_from_another_boot_is_not_believed() {
        let mut state = UploadState::new(Algorithm::Sha256);
        state.absorb(b"before the power cut");
        let mut bytes = state.to_bytes();
        bytes[HEAD_BYTES - 1] ^= 1;
        let mut state = UploadState::from_bytes(&bytes).unwrap();
        assert_eq!(state.digest(Algorithm::Sha256), None);
        state.absorb(b" and after");
        assert_eq!(state.digest(Algorithm::Sha256), None, "more bytes do not make it credible again");
        assert_eq!(UploadState::from_bytes(&state.to_bytes()).unwrap().digest(Algorithm::Sha256), None);
    }

    #[test]
    fn an_empty_upload_needs_no_belief() {
        let mut bytes = UploadState::new(Algorithm::Sha256).to_bytes();
        bytes[HEAD_BYTES - 1] ^= 1;
        let mut state = UploadState::from_bytes(&bytes).unwrap();
        assert_eq!(state.digest(Algorithm::Sha256), Some(Digest::of(Algorithm::Sha256, b"")));
        state.absorb(b"all of it was written in this boot");
        assert!(state.digest(Algorithm::Sha256).is_some());
    }

    #[test]
    fn where_the_bytes_are_survives_being_stored() {
        for algorithm in ALGORITHMS {
            let mut state = UploadState::new(algorithm);
            state.absorb(b"in a bucket");
            let mut kept = Kept::in_parts(&Key::random(), "upload", vec!["stale".to_owned()]);
            kept.tags = vec!["tag".to_owned()];
            kept.tail = Some(Tail { name: "tail".to_owned(), bytes: 11 });
            state.kept = Some(kept);
            let mut bytes = state.to_bytes();
            // Another boot, or another machine: what the bucket acknowledged is believed.
            bytes[HEAD_BYTES - 1] ^= 1;
            let again = UploadState::from_bytes(&bytes).unwrap();
            assert!(again.same_bytes(&state));
            assert_eq!(again.digest(algorithm), Some(Digest::of(algorithm, b"in a bucket")));
            for cut in [HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + 2, bytes.len() - 1] {
                assert_eq!(UploadState::from_bytes(&bytes[..cut]).err(), Some(StateError), "{cut}");
            }
        }
    }

    #[test]
    fn the_other_algorithm_is_not_answered() {
        assert_eq!(UploadState::new(Algorithm::Sha256).digest(Algorithm::Sha512), None);
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = UploadState::new(Algorithm::Sha256).to_bytes();
        assert!(UploadState::from_bytes(&good).is_ok());
        let mut newer = good.clone();
        newer[0] = FORM_KEPT + 1;
        let mut unknown = good.clone();
        unknown[1] = 3;
        let mut other = good.clone();
        other[1] = 2;
        let longer = [good.as_slice(), b"x"].concat();
        for bytes in
            [&b""[..], &good[..HEAD_BYTES], &good[..good.len() - 1], &longer, &newer, &unknown, &other]
        {
            assert_eq!(UploadState::from_bytes(bytes).err(), Some(StateError), "{bytes:?}");
        }
    }
}
