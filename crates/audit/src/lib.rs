//! The trail of acts: one row per act, written in the transaction of the change it tells of.
//!
//! Nothing here changes or removes what is written, and nothing decides what an act is: the domain method that
//! makes the change says so. Values of fields are never recorded, only their names.
//!
//! Entries are linked into a chain just after they are committed ([`Linker`]), so that changing them behind our back
//! shows ([`Trail::verify`]).
//!
//! Invariants: no row, no change ([`append`] fails the caller's transaction); a row's `body_hash` covers every
//! column that says something, its time included. Acts without a change have [`append_alone`]; acts that come
//! by the thousand (pulls, token issues) go through the bounded [`Buffer`], which counts what it had to drop; of equal
//! refusals [`Refusals`] makes one row and a number.

mod append;
mod buffer;
mod chain;
pub mod csv;
mod entry;
mod reading;
mod refusals;
#[cfg(test)]
mod tests;
mod trail;

pub use append::{append, append_alone, append_many};
pub use buffer::Buffer;
pub use chain::{Bad, Linker, Mark, Verified, hex};
pub use entry::{Actor, Entry, Object, Origin, Outcome, OwnedEntry};
pub use reading::{Act, Extent, Selection};
pub use refusals::Refusals;
pub use trail::{Filter, Record, Trail};
