//! The minimum rate of one direction, as credit: it is used up while we wait for the client and earned back
//! by bytes that move. Time in which the server makes the client wait costs nothing.

use std::time::Duration;

use tokio::time::Instant;

/// A rate and how long a client may stay below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub bytes_per_second_min: u64,
    pub patience: Duration,
}

/// The credit of one direction of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    credit: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// Full credit, nobody waits.
    pub(super) fn new(rate: Rate) -> Self {
        Self { credit: rate.patience, waiting_since: None }
    }

    /// The client is waited for; the moment at which its credit is used up if nothing moves.
    pub(super) fn waits(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.credit
    }

    /// `bytes` moved.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant, rate: Rate) {
        if let Some(since) = self.waiting_since.take() {
            self.credit = self.credit.saturating_sub(now - since);
        }
        if self.credit < rate.patience {
            let nanos = (bytes as u64).saturating_mul(1_000_000_000) / rate.bytes_per_second_min.max(1);
            self.credit = rate.patience.min(self.credit + Duration::from_nanos(nanos));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bytes_per_second_min: 1024, patience: Duration::from_secs(60) };

    /// Sends `bytes` every `every` until the credit is used up; `None` when it never is within ten minutes.
    fn lasts(bytes: usize, every: Duration) -> Option<Duration> {
        let begun = Instant::now();
        let mut now = begun;
        let mut pace = Pace::new(RATE);
        while now - begun < Duration::from_secs(600) {
            let end = pace.waits(now);
            if end <= now + every {
                return Some(end - begun);
            }
            now += every;
            pace.moved(bytes, now, RATE);
        }
        None
    }

    #[test]
    fn only_clients_below_the_rate_run_out() {
        let second = Duration::from_secs(1);
        let drip = lasts(1, second).expect("one byte per second is too slow");
        assert!(drip >= RATE.patience && drip < RATE.patience + 2 * second, "{drip:?}");
        assert_eq!(lasts(0, Duration::from_secs(600)), Some(RATE.patience));
        assert_eq!(lasts(50 * 1024, second), None);
        assert_eq!(lasts(1100, second), None);
        // In lumps, as TCP windows open.
        assert_eq!(lasts(64 * 1024, Duration::from_secs(50)), None);
    }

    #[test]
    fn a_slow_server_costs_the_client_nothing() {
        let hour = Duration::from_secs(3600);
        let mut now = Instant::now();
        let mut pace = Pace::new(RATE);
        pace.waits(now);
        now += Duration::from_secs(1);
        pace.moved(100_000, now, RATE);
        // Nobody asks for bytes for an hour; then somebody does, and looks at what came only an hour later.
        now += hour;
        assert_eq!(pace.waits(now), now + RATE.patience);
        now += hour;
        pace.moved(100_000, now, RATE);
        assert_eq!(pace.waits(now), now + RATE.patience);
    }
}
