//! Passwords: the rule they follow, and hashing that cannot starve anything else.
//!
//! argon2id with 19 MiB, two passes, one lane. Checks run on blocking threads, as many at once as there are
//! cores; a bounded number may wait and the rest is told to come back. A name nobody has pays for a hash too.
//!
//! Invariant: a password is hashed exactly as typed: no trimming, no normalisation, no cutting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use rand::RngExt;
use sealed::Secret;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// Longer passwords are refused before anything is done with them.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Marks the stored hash of a secret that was made here.
const GENERATED: &str = "sha256:";

const TOO_LONG: &str = "the password is longer than 1024 bytes";

/// The rule for passwords that people choose: 8 to 128 characters with an upper-case letter, a lower-case letter
/// and a digit.
pub fn check_policy(password: &Secret) -> Result<(), Error> {
    if password.expose().len() > PASSWORD_BYTES_MAX {
        return Err(Error::Invalid(TOO_LONG));
    }
    let text = password.expose_str().ok_or(Error::Invalid("the password is not text"))?;
    let length = text.chars().count();
    let strong = (8..=128).contains(&length)
        && text.chars().any(char::is_uppercase)
        && text.chars().any(char::is_lowercase)
        && text.chars().any(|c| c.is_ascii_digit());
    if strong {
        Ok(())
    } else {
        Err(Error::Invalid(
            "the password must have 8 to 128 characters with at least one upper-case letter, one lower-case letter and one digit",
        ))
    }
}

/// The rule for the first administrator's password, which the operator gives: anything but empty or overlong.
pub(crate) fn check_given(password: &Secret) -> Result<(), Error> {
    match password.expose() {
        [] => Err(Error::Invalid("the password of the first administrator is empty")),
        bytes if bytes.len() > PASSWORD_BYTES_MAX => Err(Error::Invalid(TOO_LONG)),
        _ => Ok(()),
    }
}

/// A random password that satisfies the rule, with more than 120 bits of randomness.
pub fn generate() -> Secret {
    // Letters and digits that nobody confuses when reading them off a terminal.
    const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
    let mut random = rand::rng();
    loop {
        let letters = (0..24).map(|_| ALPHABET[random.random_range(0..ALPHABET.len())]).collect();
        let password = Secret::new(letters);
        if check_policy(&password).is_ok() {
            return password;
        }
    }
}

/// A random secret of a robot: letters and digits that satisfy the rule, with more than 256 bits of randomness.
pub(crate) fn generate_robot() -> Secret {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    loop {
        let letters = (0..44).map(|_| ALPHABET[random.random_range(0..ALPHABET.len())]).collect();
        let secret = Secret::new(letters);
        if check_policy(&secret).is_ok() {
            return secret;
        }
    }
}

/// What is stored of a secret made by [`generate_robot`]: it cannot be guessed, so it needs no slow hash.
pub(crate) fn hash_generated(secret: &Secret) -> String {
    format!("{GENERATED}{}", data_encoding::HEXLOWER.encode(&Sha256::digest(secret.expose())))
}

/// Whether the secret belongs to the stored hash of a generated one. Compares hashes, which tell nothing by the
/// place of their first difference.
fn matches_generated(stored: &str, secret: &Secret) -> bool {
    stored == hash_generated(secret)
}

/// A place among those who may hash now. Taken before an attempt is counted, so that "busy" costs nobody a try.
pub(crate) struct Slot(#[expect(dead_code, reason = "held until dropped")] OwnedSemaphorePermit);

/// Hashes and checks passwords on a bounded number of threads.
pub(crate) struct Hasher {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// Compared against where there is no account, so that both cases take the same time.
    dummy: String,
}

impl Hasher {
    /// `waiting_max` is how many may wait for a core before `Busy`.
    pub(crate) async fn new(waiting_max: u32) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut hasher = Self {
            running: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            waiting_max: waiting_max as usize,
            dummy: String::new(),
        };
        hasher.dummy = hasher.hash(&generate()).await?;
        Ok(hasher)
    }

    /// Waits for a place, or says `Busy` when too many wait already.
    pub(crate) async fn slot(&self) -> Result<Slot, Error> {
        if let Ok(permit) = self.running.clone().try_acquire_owned() {
            return Ok(Slot(permit));
        }
        let waiting = Waiting(&self.waiting);
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= self.waiting_max {
            return Err(Error::Busy);
        }
        let permit = self.running.clone().acquire_owned().await.map_err(Error::other)?;
        Ok(Slot(permit))
    }

    /// The hash to store.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String, Error> {
        let slot = self.slot().await?;
        let password = copy(password);
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            argon2()?.hash_password(password.expose()).map(|hash| hash.to_string()).map_err(Error::other)
        })
        .await
        .map_err(Error::other)?
    }

    /// Whether the password belongs to the stored hash. No hash, or an overlong password: the same work for
    /// nothing, and no.
    pub(crate) async fn matches(
        &self,
        slot: Slot,
        stored: Option<String>,
        password: &Secret,
    ) -> Result<bool, Error> {
        let overlong = password.expose().len() > PASSWORD_BYTES_MAX;
        let stored = match stored {
            Some(stored) if stored.starts_with(GENERATED) => {
                if !overlong && matches_generated(&stored, password) {
                    return Ok(true);
                }
                // A wrong secret costs what a wrong name costs.
                None
            }
            other => other,
        };
        let real = stored.is_some() && !overlong;
        let stored = stored.unwrap_or_else(|| self.dummy.clone());
        let password = if overlong { Secret::new(Vec::new()) } else { copy(password) };
        let matches = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let stored = PasswordHash::new(&stored).map_err(Error::other)?;
            Ok::<_, Error>(argon2()?.verify_password(password.expose(), &stored).is_ok())
        })
        .await
        .map_err(Error::other)??;
        Ok(matches && real)
    }
}

/// Counts one waiter for as long as it lives, also when its request is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn copy(password: &Secret) -> Secret {
    Secret::new(password.expose().to_vec())
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(Error::other)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn policy() {
        let long = format!("Aa1{}", "x".repeat(125));
        let umlauts = format!("Aa1{}", "ü".repeat(125));
        let cases = [
            ("Passw0rd", true),
            ("Passw0r", false),
            ("password1", false),
            ("PASSWORD1", false),
            ("Password", false),
            (" Pass w0rd ", true),
            ("Grün3Grün", true),
            (long.as_str(), true),
            (umlauts.as_str(), true),
            (&format!("{long}x"), false),
            (&format!("Aa1{}", "x".repeat(1100)), false),
        ];
        for (password, accepted) in cases {
            assert_eq!(check_policy(&secret(password)).is_ok(), accepted, "{password:.20}");
        }
        assert!(check_given(&secret("")).is_err());
        assert!(check_given(&secret("x")).is_ok());
        assert!(check_policy(&generate()).is_ok());
    }

    #[tokio::test]
    async fn hashes_take_every_byte_and_say_how_they_were_made() {
        let hasher = Hasher::new(8).await.unwrap();
        let long = "x".repeat(72);
        let stored = hasher.hash(&secret(&format!("{long}a"))).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let cases = [
            (format!("{long}a"), true),
            (format!("{long}b"), false),
            (format!("{long}a "), false),
            (format!("{long}{}", "a".repeat(2000)), false),
            (String::new(), false),
        ];
        for (password, expected) in cases {
            let slot = hasher.slot().await.unwrap();
            let found = hasher.matches(slot, Some(stored.clone()), &secret(&password)).await.unwrap();
            assert_eq!(found, expected, "{password:.80}");
        }
        let slot = hasher.slot().await.unwrap();
        assert!(!hasher.matches(slot, None, &secret("Passw0rd")).await.unwrap());
    }

    /// DS-09.
    #[tokio::test]
    async fn a_full_queue_says_busy_and_a_waiter_that_leaves_makes_room() {
        let hasher = Hasher::new(1).await.unwrap();
        let cores = std::thread::available_parallelism().unwrap().get();
        let mut slots = Vec::new();
        for _ in 0..cores {
            slots.push(hasher.slot().await.unwrap());
        }
        {
            let mut waiter = Box::pin(hasher.slot());
            assert!(futures_util::poll!(&mut waiter).is_pending());
            assert!(matches!(hasher.slot().await, Err(Error::Busy)));
        }
        drop(slots.pop());
        assert!(hasher.slot().await.is_ok());
    }
}
