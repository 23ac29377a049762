//! Buffers for bytes on their way out, used again and again: fresh ones of this size are mapped, faulted in and
//! zeroed by the system each time, which costs more than filling them.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of one buffer. Sent at once they keep the receiver busy; half of it makes a download a third dearer in
/// processor time, because the receiver falls asleep in between and has to be woken.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;

/// Buffers kept while nobody needs them, 4 MiB of them. More are given back to the system.
const SPARE_MAX: usize = 16;

static SPARE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer of [`BUFFER_BYTES`] at most. It holds what its last user left until it is filled.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    length: usize,
}

impl Buffer {
    /// A buffer for `length` bytes, or as many as there are in one.
    pub(crate) fn take(length: u64) -> Self {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        Self {
            bytes,
            length: usize::try_from(length).map_or(BUFFER_BYTES, |length| length.min(BUFFER_BYTES)),
        }
    }

    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    /// The first `length` bytes of the space, which were filled. Gives the buffer back when they are no longer used.
    pub(crate) fn filled(mut self, length: usize) -> Bytes {
        self.length = self.length.min(length);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_shows_what_was_filled_and_nothing_of_its_last_user() {
        let mut first = Buffer::take(u64::MAX);
        assert_eq!(first.space().len(), BUFFER_BYTES);
        first.space().fill(b'x');
        drop(first.filled(BUFFER_BYTES));
        let mut second = Buffer::take(10);
        assert_eq!(second.space().len(), 10);
        second.space()[..4].copy_from_slice(b"ours");
        assert_eq!(second.filled(4), Bytes::from_static(b"ours"));
    }
}
