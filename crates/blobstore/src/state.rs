//! The state of an upload between two requests: how many bytes are stored, and the running hash over them.
//!
//! It is kept by the caller (in the session's row), so any process can go on with the upload.
//!
//! Invariant: `boot` is the boot during which the first byte was written. A running hash counts bytes that were
//! written but not made durable; after another boot they may be gone from the file, and the hash is not believed.

use std::fmt;
use std::sync::LazyLock;

use oci::{Algorithm, Digest};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

/// First byte of the stored form.
const FORM: u8 = 1;

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
    boot: [u8; 16],
}

/// Stored bytes that are no state of an upload, or one of a newer version of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an upload state")]
pub struct StateError;

impl UploadState {
    /// The state of an upload that has no bytes yet. `algorithm` is what is hashed while bytes arrive.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { offset: 0, hasher: Hasher::new(algorithm), boot: *BOOT }
    }

    /// The form to keep: 131 bytes for SHA-256, 235 for SHA-512 at most.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 256);
        bytes.push(FORM);
        bytes.push(match self.hasher {
            Hasher::Sha256(_) => 1,
            Hasher::Sha512(_) => 2,
        });
        bytes.extend_from_slice(&self.offset.to_be_bytes());
        bytes.extend_from_slice(&self.boot);
        match &self.hasher {
            Hasher::Sha256(hasher) => bytes.extend_from_slice(&hasher.serialize()),
            Hasher::Sha512(hasher) => bytes.extend_from_slice(&hasher.serialize()),
        }
        bytes
    }

    /// Reads what [`UploadState::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let (head, hash) = bytes.split_at_checked(HEAD_BYTES).ok_or(StateError)?;
        let (&[form, algorithm], rest) = head.split_first_chunk::<2>().ok_or(StateError)?;
        let (offset, boot) = rest.split_first_chunk::<8>().ok_or(StateError)?;
        if form != FORM {
            return Err(StateError);
        }
        let hasher = match algorithm {
            1 => Hasher::Sha256(restore(hash)?),
            2 => Hasher::Sha512(restore(hash)?),
            _ => return Err(StateError),
        };
        let boot = boot.try_into().map_err(|_| StateError)?;
        Ok(Self { offset: u64::from_be_bytes(*offset), hasher, boot })
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
        let believed = self.boot == *BOOT || self.offset == 0;
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
    fn the_other_algorithm_is_not_answered() {
        assert_eq!(UploadState::new(Algorithm::Sha256).digest(Algorithm::Sha512), None);
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = UploadState::new(Algorithm::Sha256).to_bytes();
        assert!(UploadState::from_bytes(&good).is_ok());
        let mut newer = good.clone();
        newer[0] = FORM + 1;
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
