//! The time of the process, as an argument.
//!
//! For decisions that never reach the database, such as the lifetime of a token. Rows are stamped by
//! PostgreSQL's own `now()`; the two are never compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// Where the process gets the time from. Clones share one shift, so a test moves time for everybody at once.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    shift_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// The present moment.
    #[expect(clippy::disallowed_methods, reason = "the one door that time comes in through")]
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.shift_ms.load(Ordering::Relaxed))
    }

    /// Moves this clock and all its clones by `by`, which may be negative. For tests.
    pub fn shift(&self, by: TimeDelta) {
        self.shift_ms.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_moves_every_clone() {
        let clock = Clock::system();
        let other = clock.clone();
        let before = other.now();
        clock.shift(TimeDelta::hours(2));
        assert!(other.now() - before >= TimeDelta::hours(2));
        clock.shift(TimeDelta::hours(-2));
        assert!(other.now() - before < TimeDelta::hours(1));
    }
}
