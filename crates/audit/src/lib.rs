//! The trail of acts: one row per act, written in the transaction of the change it tells of.
//!
//! Nothing here changes or removes what is written, and nothing decides what an act is: the domain method that
//! makes the change says so. Values of fields are never recorded, only their names.
//!
//! Invariants: no row, no change ([`append`] fails the caller's transaction); a row's `body_hash` covers every
//! column that says something, its time included. Acts without a change have [`append_alone`]; acts that come
//! by the thousand (pulls, token issues) go through the bounded [`Buffer`], which counts what it had to drop.

mod append;
mod buffer;
mod entry;
#[cfg(test)]
mod tests;
mod trail;

pub use append::{append, append_alone, append_many};
pub use buffer::Buffer;
pub use entry::{Actor, Entry, Object, Origin, Outcome, OwnedEntry};
pub use trail::{Filter, Record, Trail};
