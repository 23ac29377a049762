//! Bytes that do not compress and do not repeat, faster than any server takes them.
//!
//! A client's disk or a slow generator would be measured along with the server, so bytes are made while they are
//! sent. The same seed gives the same bytes, which is how a digest can be known before a transfer begins.

use sha2::{Digest as _, Sha256};

/// Bytes made, sent and read at once.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// Independent generators side by side, so that the compiler can use vector instructions.
const LANES: usize = 8;

/// Bytes of one step of all lanes.
const STEP_BYTES: usize = LANES * 8;

/// An endless stream of bytes (xorshift128+). Not for secrets.
#[derive(Clone)]
pub struct Noise {
    older: [u64; LANES],
    newer: [u64; LANES],
}

impl Noise {
    pub fn new(seed: u64) -> Noise {
        let mut state = seed;
        let mut next = || {
            // splitmix64: seeds that differ in one bit give streams that have nothing in common.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        Noise { older: std::array::from_fn(|_| next()), newer: std::array::from_fn(|_| next()) }
    }

    /// Fills the buffer. Its length must be a multiple of 64, or the rest of the last step is lost.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for step in buffer.chunks_mut(STEP_BYTES) {
            let mut words = [0; LANES];
            for (lane, word) in words.iter_mut().enumerate() {
                let newer = self.newer[lane];
                let mut older = self.older[lane];
                *word = newer.wrapping_add(older);
                self.older[lane] = newer;
                older ^= older << 23;
                self.newer[lane] = older ^ newer ^ (older >> 18) ^ (newer >> 5);
            }
            for (bytes, word) in step.chunks_mut(8).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
            }
        }
    }

    /// The first `length` bytes.
    pub fn bytes(mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

/// A blob that is made when it is sent.
#[derive(Clone)]
pub struct Blob {
    pub seed: u64,
    pub bytes: u64,
    pub digest: String,
}

impl Blob {
    /// Computes the digest, which costs as much as the hashing of a server: never while a clock runs.
    pub fn new(seed: u64, bytes: u64) -> Blob {
        let mut noise = Noise::new(seed);
        let mut hash = Sha256::new();
        let mut block = vec![0; BLOCK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let part = usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
            noise.fill(&mut block);
            hash.update(&block[..part]);
            left -= part as u64;
        }
        Blob { seed, bytes, digest: digest(hash) }
    }
}

/// The digest of these bytes, as registries write it.
pub fn digest_of(bytes: &[u8]) -> String {
    digest(Sha256::new_with_prefix(bytes))
}

/// The end of a running hash, as registries write it.
pub fn digest(hash: Sha256) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_bytes_sent() {
        let length = BLOCK_BYTES + 100;
        let mut whole = Noise::new(7);
        let mut bytes = vec![0; 2 * BLOCK_BYTES];
        whole.fill(&mut bytes[..BLOCK_BYTES]);
        whole.fill(&mut bytes[BLOCK_BYTES..]);
        assert_eq!(Blob::new(7, length as u64).digest, digest_of(&bytes[..length]));
    }

    #[test]
    fn seeds_next_to_each_other_share_no_block() {
        let blocks = |seed| -> Vec<[u8; 16]> { Noise::new(seed).bytes(1 << 16).as_chunks().0.to_vec() };
        let mut all: Vec<_> = [blocks(1), blocks(2), blocks(3)].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
