//! Keys that sign registry tokens: made, rotated, removed and shown.
//!
//! A key is a row whose private half is sealed to it. Every process reads all rows once a second; a new key
//! waits before it signs so that every process can verify it by then, and an old one verifies until the last
//! token it signed is over. Key management is for the command line and the worker, never for the public API.
//!
//! Invariant: of the keys whose time has come the newest one signs; the key alone decides its algorithm.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use data_encoding::BASE32;
use database::Tx;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};
use sealed::{Keyring, RowId, Sealed, Secret, Site};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::config::{Config, SigningAlgorithm};
use crate::error::Error;
use crate::tokens::LEEWAY_SECONDS;

/// Seconds beyond lifetime and leeway that a replaced key still verifies: a process may learn up to five
/// seconds late that it must not sign with it any more, and clocks differ.
const RETIRE_SLACK_SECONDS: i64 = 60;

/// Serialises everything that makes or removes keys, across processes.
const LOCK: i64 = 0x6879_7468_655f_6b65;

/// Daily job: replaces the signing key when it is old, and drops keys that verify nothing any more.
/// The handler is [`crate::Identity::rotate_when_due`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {}

impl queue::Job for Rotate {
    const KIND: &'static str = "identity.rotate_keys";
    const UNIQUE: bool = true;
}

/// A signing key as shown to operators. Holds nothing secret.
#[derive(Clone, Debug, Serialize)]
pub struct KeyInfo {
    /// libtrust fingerprint of the public key, the `kid` of its tokens.
    pub kid: String,
    pub algorithm: String,
    pub created_at: DateTime<Utc>,
    pub signs_from: DateTime<Utc>,
    /// When a newer key takes over; none while this is the newest.
    pub signs_until: Option<DateTime<Utc>>,
    /// When tokens of this key stop being accepted.
    pub verifies_until: Option<DateTime<Utc>>,
}

/// One key in memory.
pub(crate) struct Key {
    pub(crate) id: Uuid,
    pub(crate) kid: String,
    pub(crate) algorithm: SigningAlgorithm,
    verifying: DecodingKey,
    /// Missing where the sealed half does not open; such a key still verifies.
    signing: Option<EncodingKey>,
    certificate: String,
    jwk: Value,
}

impl Key {
    /// Signature over `message` as URL-safe base64, or `None` when this process cannot sign with the key.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<String> {
        jsonwebtoken::crypto::sign(message, self.signing.as_ref()?, library(self.algorithm)).ok()
    }

    /// Whether `signature` is this key's signature over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.verifying, library(self.algorithm))
            .unwrap_or(false)
    }
}

/// All keys a process knows at one moment.
#[derive(Default)]
pub(crate) struct Ring {
    keys: HashMap<String, Arc<Key>>,
    signer: Option<Arc<Key>>,
}

impl Ring {
    pub(crate) fn find(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid).map(Arc::as_ref)
    }

    pub(crate) fn signer(&self) -> Option<&Key> {
        self.signer.as_deref()
    }

    /// Public keys as a JWK set (RFC 7517), in order of `kid`.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": self.sorted().iter().map(|key| &key.jwk).collect::<Vec<_>>() })
    }

    /// Certificates as PEM, for registries that take a `rootcertbundle`.
    pub(crate) fn certificates(&self) -> String {
        self.sorted().iter().map(|key| key.certificate.as_str()).collect()
    }

    fn sorted(&self) -> Vec<&Arc<Key>> {
        let mut keys: Vec<_> = self.keys.values().collect();
        keys.sort_by(|a, b| a.kid.cmp(&b.kid));
        keys
    }
}

/// Reads all keys that still verify. Keys already known are taken from `known`: opening one costs key derivation.
pub(crate) async fn load(
    connection: &mut PgConnection,
    keyring: &Keyring,
    known: &Ring,
) -> Result<Ring, Error> {
    let rows = sqlx::query!(
        r#"select id, kid, algorithm, public_der, certificate, private_sealed, signs_from <= now() as "signs!"
           from identity.signing_keys
           where verifies_until is null or verifies_until > now()
           order by signs_from desc, created_at desc, id desc"#
    )
    .fetch_all(connection)
    .await?;
    let mut ring = Ring::default();
    for row in rows {
        let key = match known.keys.get(&row.kid) {
            Some(key) if key.id == row.id => key.clone(),
            _ => {
                let sealed = Sealed(row.private_sealed);
                match open(
                    row.id,
                    row.kid,
                    &row.algorithm,
                    &row.public_der,
                    row.certificate,
                    &sealed,
                    keyring,
                ) {
                    Some(key) => Arc::new(key),
                    None => continue,
                }
            }
        };
        if row.signs && ring.signer.is_none() && key.signing.is_some() {
            ring.signer = Some(key.clone());
        }
        ring.keys.insert(key.kid.clone(), key);
    }
    Ok(ring)
}

fn open(
    id: Uuid,
    kid: String,
    algorithm: &str,
    public_der: &[u8],
    certificate: String,
    sealed: &Sealed,
    keyring: &Keyring,
) -> Option<Key> {
    let algorithm = match algorithm {
        "ES256" => SigningAlgorithm::ES256,
        "RS256" => SigningAlgorithm::RS256,
        _ => return None,
    };
    let Some((verifying, jwk)) = public_key(algorithm, public_der, &kid) else {
        tracing::error!(kid, "the public half of a signing key cannot be read; its tokens are refused");
        return None;
    };
    let signing = match keyring.open(&site(id), sealed) {
        Ok(secret) => match algorithm {
            SigningAlgorithm::ES256 => Some(EncodingKey::from_ec_der(secret.expose())),
            SigningAlgorithm::RS256 => {
                der::private_key_of_pkcs8(secret.expose()).map(EncodingKey::from_rsa_der)
            }
        },
        Err(error) => {
            tracing::error!(kid, error = %error, "the private half of a signing key does not open; it only verifies");
            None
        }
    };
    Some(Key { id, kid, algorithm, verifying, signing, certificate, jwk })
}

/// Makes a key at start-up when no key signs now or will soon. Several processes may start at once.
pub(crate) async fn ensure(tx: &mut Tx, keyring: &Keyring, config: &Config) -> Result<(), Error> {
    lock(tx).await?;
    let exists = sqlx::query_scalar!(
        r#"select exists (select from identity.signing_keys where signs_until is null and verifies_until is null)
           as "exists!""#
    )
    .fetch_one(&mut **tx)
    .await?;
    if !exists {
        insert(tx, keyring, config, 0).await?;
    }
    Ok(())
}

/// Makes a new key and lets it take over: after the configured delay, or at once when there is no other.
pub(crate) async fn rotate(tx: &mut Tx, keyring: &Keyring, config: &Config) -> Result<String, Error> {
    lock(tx).await?;
    let others = sqlx::query_scalar!(
        r#"select count(*) as "count!" from identity.signing_keys
           where signs_from <= now() and (verifies_until is null or verifies_until > now())"#
    )
    .fetch_one(&mut **tx)
    .await?;
    let delay = if others == 0 { 0 } else { i64::from(config.signing_key_delay_seconds) };
    let kid = insert(tx, keyring, config, delay).await?;
    take_over(tx, config, &kid, delay).await?;
    Ok(kid)
}

/// Makes a new key that signs at once, beside keys that can only verify any more.
pub(crate) async fn replace(tx: &mut Tx, keyring: &Keyring, config: &Config) -> Result<(), Error> {
    lock(tx).await?;
    let kid = insert(tx, keyring, config, 0).await?;
    take_over(tx, config, &kid, 0).await
}

/// Whether the database still has the key among those that verify.
pub(crate) async fn still_verifies(database: &database::Database, kid: &str) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from identity.signing_keys
                          where kid = $1 and (verifies_until is null or verifies_until > now())) as "found!""#,
        kid
    )
    .fetch_one(database.pool())
    .await?;
    Ok(found)
}

/// Whether the newest key is older than allowed or of another algorithm than configured.
pub(crate) async fn due(tx: &mut Tx, config: &Config) -> Result<bool, Error> {
    lock(tx).await?;
    let due = sqlx::query_scalar!(
        r#"select not exists (
               select from identity.signing_keys
               where signs_until is null and verifies_until is null and algorithm = $1
                 and created_at > now() - make_interval(days => $2)) as "due!""#,
        config.signing_algorithm.as_str(),
        i32::try_from(config.signing_key_days).unwrap_or(i32::MAX)
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(due)
}

/// Drops keys that verify nothing any more.
pub(crate) async fn drop_retired(tx: &mut Tx) -> Result<u64, Error> {
    let result = sqlx::query!("delete from identity.signing_keys where verifies_until < now()")
        .execute(&mut **tx)
        .await?;
    Ok(result.rows_affected())
}

/// Removes a key at once: its tokens are refused within five seconds. When it was the one that signs, the next
/// one signs at once, and where there is none a new one is made.
pub(crate) async fn remove(tx: &mut Tx, keyring: &Keyring, config: &Config, kid: &str) -> Result<(), Error> {
    lock(tx).await?;
    let removed =
        sqlx::query!("delete from identity.signing_keys where kid = $1", kid).execute(&mut **tx).await?;
    if removed.rows_affected() == 0 {
        return Err(Error::KeyUnknown(kid.to_owned()));
    }
    let left = sqlx::query!(
        r#"select count(*) filter (where signs_until is null) as "next!",
                  count(*) filter (where signs_from <= now() and (signs_until is null or signs_until > now()))
                      as "signing!"
           from identity.signing_keys"#
    )
    .fetch_one(&mut **tx)
    .await?;
    if left.next == 0 {
        let delay = if left.signing == 0 { 0 } else { i64::from(config.signing_key_delay_seconds) };
        let kid = insert(tx, keyring, config, delay).await?;
        take_over(tx, config, &kid, delay).await?;
    } else if left.signing == 0 {
        sqlx::query!("update identity.signing_keys set signs_from = now() where signs_until is null")
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Every key, the newest first.
pub(crate) async fn list(database: &database::Database) -> Result<Vec<KeyInfo>, Error> {
    let keys = sqlx::query_as!(
        KeyInfo,
        "select kid, algorithm, created_at, signs_from, signs_until, verifies_until
         from identity.signing_keys order by signs_from desc, created_at desc"
    )
    .fetch_all(database.pool())
    .await?;
    Ok(keys)
}

/// Every other key that still signs does so until `kid` starts, and verifies until its last token is over.
async fn take_over(tx: &mut Tx, config: &Config, kid: &str, delay: i64) -> Result<(), Error> {
    let verifies = delay + config.token_seconds() + LEEWAY_SECONDS + RETIRE_SLACK_SECONDS;
    sqlx::query!(
        "update identity.signing_keys
         set signs_until = now() + make_interval(secs => $2), verifies_until = now() + make_interval(secs => $3)
         where kid <> $1 and (signs_until is null or signs_until > now())",
        kid,
        delay as f64,
        verifies as f64
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn lock(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).fetch_one(&mut **tx).await?;
    Ok(())
}

async fn insert(tx: &mut Tx, keyring: &Keyring, config: &Config, delay: i64) -> Result<String, Error> {
    let algorithm = config.signing_algorithm;
    let issuer = config.token_issuer.clone();
    let fresh = tokio::task::spawn_blocking(move || generate(algorithm, &issuer))
        .await
        .map_err(Error::other)?
        .map_err(Error::other)?;
    let id = Uuid::now_v7();
    let sealed = keyring.seal(&site(id), &fresh.private);
    sqlx::query!(
        "insert into identity.signing_keys
             (id, kid, algorithm, public_der, certificate, private_sealed, signs_from)
         values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))",
        id,
        fresh.kid,
        algorithm.as_str(),
        fresh.public_der,
        fresh.certificate,
        sealed.0,
        delay as f64
    )
    .execute(&mut **tx)
    .await?;
    Ok(fresh.kid)
}

struct Fresh {
    kid: String,
    public_der: Vec<u8>,
    certificate: String,
    private: Secret,
}

fn generate(algorithm: SigningAlgorithm, issuer: &str) -> Result<Fresh, rcgen::Error> {
    let pair = KeyPair::generate_for(match algorithm {
        SigningAlgorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        SigningAlgorithm::RS256 => &rcgen::PKCS_RSA_SHA256,
    })?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, issuer);
    let certificate = params.self_signed(&pair)?.pem();
    let public_der = pair.subject_public_key_info();
    Ok(Fresh {
        kid: fingerprint(&public_der),
        public_der,
        certificate,
        private: Secret::new(pair.serialize_der()),
    })
}

fn site(id: Uuid) -> Site {
    Site { table: "identity.signing_keys", column: "private_sealed", row: RowId::Uuid(id) }
}

fn library(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::ES256 => Algorithm::ES256,
        SigningAlgorithm::RS256 => Algorithm::RS256,
    }
}

/// libtrust key id: the first 30 bytes of SHA-256 over the DER public key, base32, in groups of four. This is
/// the form in which distribution 2.8 looks keys up.
pub(crate) fn fingerprint(public_der: &[u8]) -> String {
    let encoded = BASE32.encode(&Sha256::digest(public_der)[..30]);
    let groups: Vec<&str> = (0..encoded.len()).step_by(4).filter_map(|at| encoded.get(at..at + 4)).collect();
    groups.join(":")
}

/// The verifying key and its JWK from a DER `SubjectPublicKeyInfo`.
fn public_key(algorithm: SigningAlgorithm, der: &[u8], kid: &str) -> Option<(DecodingKey, Value)> {
    let bits = der::bit_string_of_public_key(der)?;
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match algorithm {
        SigningAlgorithm::ES256 => {
            let point = bits.strip_prefix(&[4])?;
            if point.len() != 64 {
                return None;
            }
            let (x, y) = point.split_at(32);
            let jwk = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
                             "x": base64(x), "y": base64(y)});
            Some((DecodingKey::from_ec_der(bits), jwk))
        }
        SigningAlgorithm::RS256 => {
            let (modulus, exponent) = der::rsa_public_key(bits)?;
            let jwk = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
                             "n": base64(modulus), "e": base64(exponent)});
            Some((DecodingKey::from_rsa_raw_components(modulus, exponent), jwk))
        }
    }
}

/// The little DER that public keys need.
mod der {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    const OCTET_STRING: u8 = 0x04;
    const INTEGER: u8 = 0x02;

    /// Splits one element of the given tag off: its contents and what follows.
    fn take(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
        let (&first, rest) = input.split_first()?;
        if first != tag {
            return None;
        }
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = if length < 0x80 {
            (usize::from(length), rest)
        } else {
            let count = usize::from(length & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let (bytes, rest) = rest.split_at_checked(count)?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        };
        rest.split_at_checked(length)
    }

    pub(super) fn bit_string_of_public_key(der: &[u8]) -> Option<&[u8]> {
        let (info, _) = take(SEQUENCE, der)?;
        let (_, rest) = take(SEQUENCE, info)?;
        take(BIT_STRING, rest)?.0.strip_prefix(&[0])
    }

    /// RSA keys are stored as PKCS#8 and used as the PKCS#1 inside.
    pub(super) fn private_key_of_pkcs8(der: &[u8]) -> Option<&[u8]> {
        let (info, _) = take(SEQUENCE, der)?;
        let (_, rest) = take(INTEGER, info)?;
        let (_, rest) = take(SEQUENCE, rest)?;
        Some(take(OCTET_STRING, rest)?.0)
    }

    pub(super) fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
        let (numbers, _) = take(SEQUENCE, der)?;
        let (modulus, rest) = take(INTEGER, numbers)?;
        let (exponent, _) = take(INTEGER, rest)?;
        Some((modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent))
    }
}
