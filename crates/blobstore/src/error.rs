//! What can go wrong, as far as a caller can act on it.

use std::io;

use nix::errno::Errno;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another request writes to this upload.
    #[error("the upload is being written by another request")]
    Busy,
    /// No space, or no quota of the operating system, is left.
    #[error("no space is left in the blob store")]
    Full,
    /// Some directories of blobs cannot be used; the others work. Only from a probe.
    #[error("a part of the blob store cannot be used: {0}")]
    Partial(String),
    #[error("blob store")]
    Io(#[source] io::Error),
}

/// Why bytes could not be added to an upload.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The store holds fewer bytes than were acknowledged: the upload cannot go on.
    #[error("the bytes of this upload are lost")]
    Lost,
    /// No space, or no quota of the operating system, is left. Nothing was added.
    #[error("no space is left in the blob store")]
    Full,
    /// Nothing was added.
    #[error("blob store")]
    Io(#[source] io::Error),
}

/// Why content cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("there are no bytes under this key")]
    Missing,
    /// There are bytes, but not as many as there must be.
    #[error("the content has {found} bytes, which is not the expected number")]
    SizeMismatch { found: u64 },
    #[error("blob store")]
    Io(#[source] io::Error),
}

/// What a driver says when a part of it works.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Partial(String);

/// The error of a driver of which only a part works.
pub(crate) fn partial(text: String) -> io::Error {
    io::Error::other(Partial(text))
}

impl From<io::Error> for Error {
    fn from(err: io::Error) -> Self {
        match err.get_ref().and_then(|inner| inner.downcast_ref::<Partial>()) {
            Some(Partial(text)) => Self::Partial(text.clone()),
            None if is_full(&err) => Self::Full,
            None => Self::Io(err),
        }
    }
}

impl From<io::Error> for AppendError {
    fn from(err: io::Error) -> Self {
        if is_full(&err) { Self::Full } else { Self::Io(err) }
    }
}

impl From<io::Error> for ReadError {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

/// Whether space is what is missing.
pub(crate) fn is_full(err: &io::Error) -> bool {
    matches!(err.raw_os_error().map(Errno::from_raw), Some(Errno::ENOSPC | Errno::EDQUOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_and_quota_are_told_apart_from_other_failures() {
        for (errno, full) in
            [(Errno::ENOSPC, true), (Errno::EDQUOT, true), (Errno::EIO, false), (Errno::EROFS, false)]
        {
            let err = || io::Error::from(errno);
            assert_eq!(matches!(Error::from(err()), Error::Full), full, "{errno}");
            assert_eq!(matches!(AppendError::from(err()), AppendError::Full), full, "{errno}");
        }
        assert!(!is_full(&io::Error::other("no errno")));
    }
}
