//! Remembered credentials: a password that was right a moment ago needs neither SQL nor argon2 now.
//!
//! What is kept is a keyed digest over account, credential version and password; the key is random and never
//! leaves the process. Failures are not remembered.
//!
//! Invariant: an entry is only an opinion. Whoever uses it first asks the feed whether the account's epoch is
//! still the one it was made under, and whether the login is blocked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use sealed::Secret;
use sha2::Sha256;

use crate::principal::Principal;

/// Accounts and passwords kept; the least used go first.
const ENTRIES_MAX: u64 = 10_000;

/// An account's row as read when its secret was checked.
#[derive(Clone)]
pub(crate) struct Known {
    /// A user or a robot.
    pub(crate) principal: Principal,
    pub(crate) credential_version: i64,
}

impl Known {
    fn epoch(&self) -> i64 {
        self.principal.subject().map_or(0, |(_, epoch)| epoch)
    }
}

/// Keyed digest of one credential.
pub(crate) type Credential = [u8; 32];

pub(crate) struct Remembered {
    key: [u8; 32],
    names: moka::sync::Cache<String, Arc<Known>>,
    /// With the epoch of the account when the password was right.
    credentials: moka::sync::Cache<Credential, i64>,
    running: Mutex<HashMap<Credential, Weak<tokio::sync::Mutex<()>>>>,
    enabled: bool,
}

impl Remembered {
    pub(crate) fn new(seconds: u32) -> Self {
        let life = Duration::from_secs(u64::from(seconds.clamp(1, 60)));
        let mut key = [0; 32];
        rand::rng().fill(&mut key);
        Self {
            key,
            names: moka::sync::Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(life).build(),
            credentials: moka::sync::Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(life).build(),
            running: Mutex::default(),
            enabled: seconds > 0,
        }
    }

    /// The digest of a credential. `None` as account: nobody has that name, which must not be quicker to find out.
    pub(crate) fn credential(&self, account: Option<&Known>, name: &str, password: &Secret) -> Credential {
        let mut mac = match Hmac::<Sha256>::new_from_slice(&self.key) {
            Ok(mac) => mac,
            // HMAC takes keys of every length.
            Err(_) => return [0; 32],
        };
        match account {
            Some(known) => {
                let (kind, id) = known.principal.account().unwrap_or_default();
                mac.update(&[1, kind.len() as u8]);
                mac.update(kind.as_bytes());
                mac.update(&id.to_be_bytes());
                mac.update(&known.credential_version.to_be_bytes());
            }
            None => {
                mac.update(&[0]);
                mac.update(&(name.len() as u64).to_be_bytes());
                mac.update(name.as_bytes());
            }
        }
        mac.update(password.expose());
        mac.finalize().into_bytes().into()
    }

    /// The account behind a name as typed, when a password of it was right lately.
    pub(crate) fn account(&self, name: &str) -> Option<Arc<Known>> {
        self.names.get(name)
    }

    /// Whether the credential was right for the account as it is known. Right under an older epoch is not enough:
    /// the account may be disabled since.
    pub(crate) fn holds(&self, known: &Known, credential: &Credential) -> bool {
        self.credentials.get(credential) == Some(known.epoch())
    }

    /// Remembers a credential that was right for the account as given.
    pub(crate) fn insert(&self, name: &str, known: Known, credential: Credential) {
        if self.enabled {
            self.credentials.insert(credential, known.epoch());
            self.names.insert(name.to_owned(), Arc::new(known));
        }
    }

    /// Forgets a name whose row turned out to be older than its account.
    pub(crate) fn forget(&self, name: &str) {
        self.names.invalidate(name);
    }

    /// Whoever checks this credential holds the lock meanwhile. A burst of equal logins then costs one check, and
    /// does not look like guessing.
    pub(crate) fn lock_of(&self, credential: Credential) -> Arc<tokio::sync::Mutex<()>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = running.get(&credential).and_then(Weak::upgrade) {
            return lock;
        }
        running.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        running.insert(credential, Arc::downgrade(&lock));
        lock
    }
}
