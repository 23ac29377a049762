//! The words of this crate: a secret, the place it lives in, and what is stored.
//!
//! Nothing here encrypts. `Secret` has no `Debug`, `Display` or `Serialize` on purpose: the only way to its
//! bytes is to write `expose`, which a reviewer can search for.

use uuid::Uuid;
use zeroize::Zeroizing;

/// Bytes that must not be seen. Wiped when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes. The caller must not keep a copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the moment of use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, when they are UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

/// Primary key of the row that holds the secret. Take it before the INSERT (`nextval`, or a UUID), so that the
/// row is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowId {
    /// A `bigint` or `integer` key.
    Integer(i64),
    /// A `uuid` key.
    Uuid(Uuid),
}

/// Where a secret lives. Authenticated together with it, so that a ciphertext moved to another row, column or
/// table does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Table with its schema: `identity.signing_keys`.
    pub table: &'static str,
    /// Column of that table.
    pub column: &'static str,
    /// The row.
    pub row: RowId,
}

/// A ciphertext in its stored form: version (1 byte), key id (4), nonce (12), ciphertext, tag (16).
///
/// Whatever is in the column may be put in here; whether it is sound shows when it is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl Sealed {
    /// The bytes for the column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}
