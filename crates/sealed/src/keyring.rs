//! Sealing and opening: AES-256-GCM under a key of the column, derived from the master key with HKDF-SHA-256.
//!
//! Keeps no plaintext and never writes the master key anywhere. `sealed.keys` holds, per master key, a canary:
//! a known text sealed with it, so that a wrong key is told at start-up and not at first use.
//!
//! Invariant: the authenticated data names version, key id, table, column and row, each with its length, so no
//! two places share an encoding.

use std::sync::Arc;

use aes_gcm::aead::{Aead, Generate, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use database::Database;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::{RowId, Sealed, Secret, Site};

/// First byte of everything stored. Another layout gets another number.
const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;
const MASTER_KEY_BYTES: usize = 32;

/// What the canary says. Its content does not matter, only that it opens to this.
const CANARY: &[u8] = b"hythe master key canary";

/// Number of the first master key of an installation.
const FIRST_KEY_ID: u32 = 1;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The master key has the wrong length.
    #[error("the master key has {0} bytes instead of {MASTER_KEY_BYTES}")]
    MasterKeyLength(usize),
    /// The database was sealed with another master key than the one given.
    #[error("the master key is not the one this database was sealed with (key id {key_id})")]
    WrongMasterKey {
        /// Number of the key the database expects.
        key_id: u32,
    },
    /// Sealed with a master key that is not loaded.
    #[error("sealed with master key {key_id}, which is not loaded")]
    KeyUnknown {
        /// Number of the missing key.
        key_id: u32,
    },
    /// Damaged, cut short, of an unknown version, or not written for this place.
    #[error("the sealed value of {table}.{column} does not open")]
    Unreadable {
        /// Table of the site that was asked for.
        table: &'static str,
        /// Column of the site that was asked for.
        column: &'static str,
    },
    /// The database could not be asked.
    #[error("the master keys could not be read from the database")]
    Storage(#[source] database::Error),
}

/// The master key in use. Cheap to clone; the key is wiped with the last clone.
#[derive(Clone)]
pub struct Keyring {
    current: Arc<MasterKey>,
}

struct MasterKey {
    id: u32,
    bytes: Zeroizing<[u8; MASTER_KEY_BYTES]>,
}

impl Keyring {
    /// Checks the master key against the canary of the database. A database that never saw a master key takes
    /// this one as its first.
    ///
    /// # Errors
    /// `MasterKeyLength` unless it has 32 bytes, `WrongMasterKey` when the canary does not open, `Storage`.
    pub async fn load(master: Secret, database: &Database) -> Result<Self, Error> {
        let bytes: [u8; MASTER_KEY_BYTES] =
            master.expose().try_into().map_err(|_| Error::MasterKeyLength(master.expose().len()))?;
        let bytes = Zeroizing::new(bytes);
        let first = Self::with_key(FIRST_KEY_ID, bytes.clone());
        let canary = first.seal(&canary_site(FIRST_KEY_ID), &Secret::new(CANARY.to_vec()));
        let found = async {
            // Two processes may start at once: whoever comes second is judged by the row of the first.
            sqlx::query!(
                "insert into sealed.keys (key_id, canary)
                 select $1, $2 where not exists (select 1 from sealed.keys)
                 on conflict do nothing",
                FIRST_KEY_ID as i32,
                canary.as_bytes()
            )
            .execute(database.pool())
            .await?;
            sqlx::query!(
                "select key_id, canary from sealed.keys where retired_at is null order by key_id desc limit 1"
            )
            .fetch_one(database.pool())
            .await
        };
        let row = found.await.map_err(|err| Error::Storage(err.into()))?;
        let id = row.key_id as u32;
        let ring = Self::with_key(id, bytes);
        match ring.open(&canary_site(id), &Sealed(row.canary)) {
            Ok(text) if text.expose() == CANARY => Ok(ring),
            _ => Err(Error::WrongMasterKey { key_id: id }),
        }
    }

    /// Whether no master key was ever used with this database, so that any will do.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn is_first(database: &Database) -> Result<bool, Error> {
        sqlx::query_scalar!(r#"select not exists (select 1 from sealed.keys) as "first!""#)
            .fetch_one(database.pool())
            .await
            .map_err(|err| Error::Storage(err.into()))
    }

    /// Encrypts a secret for one place. Two calls never give the same bytes.
    pub fn seal(&self, site: &Site, secret: &Secret) -> Sealed {
        let nonce = Nonce::generate();
        let ciphertext = self
            .current
            .cipher(site)
            .encrypt(&nonce, Payload { msg: secret.expose(), aad: &authenticated(self.current.id, site) })
            .expect("AES-GCM refuses only messages of 64 GiB and more");
        let mut stored = Vec::with_capacity(HEADER_BYTES + ciphertext.len());
        stored.push(VERSION);
        stored.extend_from_slice(&self.current.id.to_be_bytes());
        stored.extend_from_slice(&nonce);
        stored.extend_from_slice(&ciphertext);
        Sealed(stored)
    }

    /// Decrypts what was sealed for exactly this place.
    ///
    /// # Errors
    /// `KeyUnknown` when it was sealed with a master key that is not loaded, `Unreadable` for everything else.
    pub fn open(&self, site: &Site, sealed: &Sealed) -> Result<Secret, Error> {
        let unreadable = || Error::Unreadable { table: site.table, column: site.column };
        if sealed.0.len() < HEADER_BYTES + TAG_BYTES || sealed.0[0] != VERSION {
            return Err(unreadable());
        }
        let (header, ciphertext) = sealed.0.split_at(HEADER_BYTES);
        let (id, nonce) = header[1..].split_at(KEY_ID_BYTES);
        let key_id = u32::from_be_bytes(id.try_into().map_err(|_| unreadable())?);
        if key_id != self.current.id {
            return Err(Error::KeyUnknown { key_id });
        }
        let nonce = Nonce::try_from(nonce).map_err(|_| unreadable())?;
        self.current
            .cipher(site)
            .decrypt(&nonce, Payload { msg: ciphertext, aad: &authenticated(key_id, site) })
            .map(Secret::new)
            .map_err(|_| unreadable())
    }

    /// Encrypts again under the current master key, with a new nonce.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn reseal(&self, site: &Site, sealed: &Sealed) -> Result<Sealed, Error> {
        Ok(self.seal(site, &self.open(site, sealed)?))
    }

    fn with_key(id: u32, bytes: Zeroizing<[u8; MASTER_KEY_BYTES]>) -> Self {
        Self { current: Arc::new(MasterKey { id, bytes }) }
    }
}

impl MasterKey {
    /// The cipher of one column. Its own key per column keeps the number of messages per key far below what
    /// random 96-bit nonces allow (2^32).
    fn cipher(&self, site: &Site) -> Aes256Gcm {
        let mut key = Zeroizing::new([0_u8; 32]);
        Hkdf::<Sha256>::new(None, self.bytes.as_slice())
            .expand_multi_info(&[site.table.as_bytes(), b".", site.column.as_bytes()], key.as_mut_slice())
            .expect("32 bytes are within what HKDF-SHA-256 can expand to");
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
    }
}

fn canary_site(key_id: u32) -> Site {
    Site { table: "sealed.keys", column: "canary", row: RowId::Integer(i64::from(key_id)) }
}

/// Everything that is not secret and must not change: each part preceded by its length in four bytes.
fn authenticated(key_id: u32, site: &Site) -> Vec<u8> {
    let mut data = Vec::with_capacity(96);
    let mut part = |bytes: &[u8]| {
        data.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        data.extend_from_slice(bytes);
    };
    part(&[VERSION]);
    part(&key_id.to_be_bytes());
    part(site.table.as_bytes());
    part(site.column.as_bytes());
    match site.row {
        RowId::Integer(id) => part(&id.to_be_bytes()),
        RowId::Uuid(id) => part(id.as_bytes()),
    }
    data
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SITE: Site = Site { table: "a.b", column: "c", row: RowId::Integer(7) };

    fn ring(id: u32, fill: u8) -> Keyring {
        Keyring::with_key(id, Zeroizing::new([fill; MASTER_KEY_BYTES]))
    }

    #[test]
    fn opens_to_what_was_sealed_and_never_repeats_itself() {
        let ring = ring(1, 1);
        for text in [&b""[..], b"s3cret", &[0_u8; 5000]] {
            let one = ring.seal(&SITE, &Secret::new(text.to_vec()));
            let two = ring.seal(&SITE, &Secret::new(text.to_vec()));
            assert_ne!(one, two);
            assert_eq!(one.0.len(), HEADER_BYTES + text.len() + TAG_BYTES);
            assert_eq!(ring.open(&SITE, &one).unwrap().expose(), text);
            let again = ring.reseal(&SITE, &one).unwrap();
            assert_ne!(again, one);
            assert_eq!(ring.open(&SITE, &again).unwrap().expose(), text);
        }
    }

    /// SE-04.
    #[test]
    fn stays_closed_anywhere_else() {
        let ring = ring(1, 1);
        let sealed = ring.seal(&SITE, &Secret::new(b"s3cret".to_vec()));
        let elsewhere = [
            Site { table: "a.x", ..SITE },
            Site { column: "d", ..SITE },
            Site { row: RowId::Integer(8), ..SITE },
            Site { row: RowId::Uuid(Uuid::from_u128(7)), ..SITE },
            // The same derived key, since only the dot moved: the authenticated data must tell them apart.
            Site { table: "a", column: "b.c", ..SITE },
        ];
        for site in elsewhere {
            assert!(matches!(ring.open(&site, &sealed), Err(Error::Unreadable { .. })), "{site:?}");
        }
    }

    /// SE-05.
    #[test]
    fn stays_closed_when_any_bit_flips_or_any_byte_is_missing() {
        let ring = ring(1, 1);
        let sealed = ring.seal(&SITE, &Secret::new(b"s3cret".to_vec()));
        for bit in 0..sealed.0.len() * 8 {
            let mut flipped = sealed.clone();
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            let opened = ring.open(&SITE, &flipped);
            match bit / 8 {
                1..=4 => assert!(matches!(opened, Err(Error::KeyUnknown { .. })), "bit {bit}"),
                _ => assert!(matches!(opened, Err(Error::Unreadable { .. })), "bit {bit}"),
            }
        }
        for length in 0..sealed.0.len() {
            assert!(ring.open(&SITE, &Sealed(sealed.0[..length].to_vec())).is_err(), "{length} bytes");
        }
        let mut longer = sealed.clone();
        longer.0.push(0);
        assert!(ring.open(&SITE, &longer).is_err());
    }

    #[test]
    fn stays_closed_under_another_key() {
        let sealed = ring(1, 1).seal(&SITE, &Secret::new(b"s3cret".to_vec()));
        assert!(matches!(ring(1, 2).open(&SITE, &sealed), Err(Error::Unreadable { .. })));
        assert!(matches!(ring(2, 1).open(&SITE, &sealed), Err(Error::KeyUnknown { key_id: 1 })));
    }

    /// SE-06.
    #[tokio::test]
    async fn a_wrong_master_key_is_told_at_once() {
        let database = database::testing::database().await;
        let key = |fill: u8, length: usize| Secret::new(vec![fill; length]);

        for length in [0, 31, 33] {
            assert!(
                matches!(Keyring::load(key(1, length), &database).await, Err(Error::MasterKeyLength(found)) if found == length)
            );
        }
        let first = Keyring::load(key(1, 32), &database).await.unwrap();
        let sealed = first.seal(&SITE, &Secret::new(b"s3cret".to_vec()));

        assert!(matches!(
            Keyring::load(key(2, 32), &database).await,
            Err(Error::WrongMasterKey { key_id: FIRST_KEY_ID })
        ));
        let second = Keyring::load(key(1, 32), &database).await.unwrap();
        assert_eq!(second.open(&SITE, &sealed).unwrap().expose(), b"s3cret");

        sqlx::query!("update sealed.keys set canary = set_byte(canary, 20, get_byte(canary, 20) # 1)")
            .execute(database.pool())
            .await
            .unwrap();
        assert!(matches!(Keyring::load(key(1, 32), &database).await, Err(Error::WrongMasterKey { .. })));
    }

    #[tokio::test]
    async fn processes_that_start_together_agree_on_one_key() {
        let database = database::testing::database().await;
        let load = |fill: u8| Keyring::load(Secret::new(vec![fill; 32]), &database);
        let (one, two, three) = tokio::join!(load(1), load(2), load(3));
        let accepted = [one, two, three].into_iter().filter(Result::is_ok).count();
        assert_eq!(accepted, 1);
    }
}
