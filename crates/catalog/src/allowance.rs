//! How many bytes an upload may still receive, and a body that ends there.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

/// What the quota of a project leaves to one of its upload sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Bytes, or -1 for no limit.
    quota: i64,
    others: i64,
}

impl Allowance {
    /// `quota` in bytes, -1 for none; `others` is what the project's other sessions hold.
    pub(crate) fn new(quota: i64, others: i64) -> Self {
        Self { quota, others }
    }

    pub(crate) fn quota(self) -> i64 {
        self.quota
    }

    /// Bytes that a session may receive beyond its `offset`; `None` is no limit.
    pub(crate) fn left(self, offset: u64) -> Option<u64> {
        let quota = u64::try_from(self.quota).ok()?;
        let others = u64::try_from(self.others).unwrap_or_default();
        Some(quota.saturating_sub(others).saturating_sub(offset))
    }
}

/// A body that breaks off before it exceeds its allowance.
pub(crate) struct Metered<'a, S> {
    inner: &'a mut S,
    left: Option<u64>,
    used_up: bool,
}

/// Why a metered body broke off.
#[derive(Debug)]
pub(crate) enum Broken<E> {
    Inner(E),
    UsedUp,
}

impl<E: std::fmt::Display> std::fmt::Display for Broken<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inner(err) => err.fmt(f),
            Self::UsedUp => f.write_str("the quota is used up"),
        }
    }
}

impl<'a, S> Metered<'a, S> {
    /// Passes at most `left` bytes on; all of them for `None`.
    pub(crate) fn new(inner: &'a mut S, left: Option<u64>) -> Self {
        Self { inner, left, used_up: false }
    }

    /// Whether more came than was allowed.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used_up
    }
}

impl<S, E> Stream for Metered<'_, S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, Broken<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        Pin::new(&mut *this.inner).poll_next(cx).map(|next| {
            let bytes = match next? {
                Ok(bytes) => bytes,
                Err(err) => return Some(Err(Broken::Inner(err))),
            };
            if let Some(left) = &mut this.left {
                let Some(after) = left.checked_sub(bytes.len() as u64) else {
                    this.used_up = true;
                    return Some(Err(Broken::UsedUp));
                };
                *left = after;
            }
            Some(Ok(bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left() {
        assert_eq!(Allowance::new(-1, 5).left(1000), None);
        assert_eq!(Allowance::new(100, 0).left(0), Some(100));
        assert_eq!(Allowance::new(100, 30).left(50), Some(20));
        assert_eq!(Allowance::new(100, 30).left(70), Some(0));
        assert_eq!(Allowance::new(100, 300).left(0), Some(0), "the quota was lowered meanwhile");
    }
}
