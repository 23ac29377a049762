//! Secrets we must be able to read back, encrypted at rest and bound to the place they are stored in.
//!
//! What we only compare is hashed by its owner and never comes here. This crate hands out ciphertext and owns
//! `sealed.keys`; the ciphertext itself is a `bytea` column of whoever needs the secret.
//!
//! Invariants: a ciphertext opens only at the table, column and row it was sealed for; a ciphertext that does
//! not open is an error, never garbage; [`Secret`] cannot be printed and is wiped when dropped.

mod keyring;
mod secret;

pub use keyring::{Error, Keyring};
pub use secret::{RowId, Sealed, Secret, Site};
