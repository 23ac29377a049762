//! Tokens whose signature was checked a moment ago: a client sends the same one with every request of a pull.
//!
//! What is remembered is what the bytes of a token say under a key, which never changes. It grants nothing: the
//! key must still be one of ours, the time is judged anew, and whoever asks goes on to ask about revocations.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::keys::Ring;
use crate::tokens::{self, Error, Verified};

/// Bytes of tokens that are remembered; each counts with its own length, and takes about twice that.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

struct Entry {
    kid: String,
    verified: Verified,
    length: u32,
}

/// Contents of tokens by the hash of their text.
pub(crate) struct ReadTokens(moka::sync::Cache<[u8; 32], Arc<Entry>>);

impl Default for ReadTokens {
    fn default() -> Self {
        let weigher = |_: &[u8; 32], entry: &Arc<Entry>| entry.length;
        Self(moka::sync::Cache::builder().max_capacity(BYTES_MAX).weigher(weigher).build())
    }
}

impl ReadTokens {
    /// As [`tokens::decode`].
    pub(crate) fn read(
        &self,
        token: &str,
        ring: &Ring,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Result<(Verified, bool), Error> {
        if token.len() > tokens::TOKEN_BYTES_MAX {
            return Err(Error::Invalid);
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(entry) = self.0.get(&hash)
            && ring.find(&entry.kid).is_some()
            && entry.verified.has_begun(now)
        {
            return Ok((entry.verified.clone(), entry.verified.is_over(now)));
        }
        let (verified, expired) = tokens::decode(token, ring, config, now)?;
        if !expired && let Some(kid) = tokens::kid_of(token) {
            let entry = Entry { kid, verified: verified.clone(), length: token.len() as u32 };
            self.0.insert(hash, Arc::new(entry));
        }
        Ok((verified, expired))
    }
}
