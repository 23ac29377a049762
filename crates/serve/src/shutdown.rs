//! The order in which a process ends: not ready, a short wait for balancers, listeners closed, work
//! finished, operations listener last.
//!
//! No server installs its own signal handler; all wait for this token. It decides when, never how long:
//! the limits belong to those who finish their work.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal: interrupted before the work was done.
pub const EXIT_INTERRUPTED: i32 = 130;

/// The stages of shutdown, shared by everything that has to end. Clones are the same shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    stopping: CancellationToken,
    finished: CancellationToken,
}

impl Shutdown {
    /// A shutdown that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins: readiness turns to 503 at once, and after `drain_delay` the listeners close.
    /// Must be called inside a runtime; a second call changes nothing.
    pub fn begin(&self, drain_delay: Duration) {
        if self.draining.is_cancelled() {
            return;
        }
        self.draining.cancel();
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            tokio::time::sleep(drain_delay).await;
            stopping.cancel();
        });
    }

    /// Says that all work is done, which lets the operations listener end.
    pub fn finish(&self) {
        self.finished.cancel();
    }

    /// Whether the process is on its way out and must not be sent new work.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled when shutdown begins.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Cancelled when listeners stop accepting and background work should reach its next boundary.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Cancelled when everything but the operations listener has ended.
    pub fn finished(&self) -> CancellationToken {
        self.finished.clone()
    }

    /// Follows SIGTERM and SIGINT from now on: the first begins the shutdown, the second ends the process
    /// at once with code 130. Fails when the handlers cannot be installed.
    pub fn follow_signals(&self, drain_delay: Duration) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if shutdown.is_draining() {
                    tracing::warn!("{name} again: leaving at once");
                    std::process::exit(EXIT_INTERRUPTED);
                }
                tracing::info!("{name}: finishing the work in hand; once more to leave at once");
                shutdown.begin(drain_delay);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_close_only_after_the_delay() {
        let shutdown = Shutdown::new();
        shutdown.begin(Duration::from_millis(200));
        shutdown.begin(Duration::ZERO);
        assert!(shutdown.is_draining());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!shutdown.stopping().is_cancelled());
        shutdown.stopping().cancelled().await;
        assert!(!shutdown.finished().is_cancelled());
    }
}
