//! Background tasks that must not end before they are told to.
//!
//! A task that panics or returns early is an error in the log and ends the process in good order: a registry
//! that has silently stopped following revocations is worse than one that restarts.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use serve::Shutdown;
use tokio::task::{Id, JoinError, JoinSet};

/// The background tasks of a process.
pub struct Background {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    shutdown: Shutdown,
    drain_delay: Duration,
}

/// Whether every task ended because it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Orderly,
    /// A task died or had to be given up.
    Broken,
}

impl Background {
    /// No tasks yet. A task that dies begins `shutdown`.
    pub fn new(shutdown: Shutdown, drain_delay: Duration) -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), shutdown, drain_delay }
    }

    /// Starts a task that runs until shutdown.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Watches the tasks until `until` resolves, which is when the last of them are told to end; then waits for
    /// them, at most `patience`.
    pub async fn watch(mut self, until: impl Future<Output = ()>, patience: Duration) -> Ending {
        let mut ending = Ending::Orderly;
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                Some(ended) = self.tasks.join_next_with_id() => {
                    if self.report(ended) {
                        ending = Ending::Broken;
                        self.shutdown.begin(self.drain_delay);
                    }
                }
            }
        }
        let rest = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                if self.report(ended) {
                    ending = Ending::Broken;
                }
            }
        };
        if tokio::time::timeout(patience, rest).await.is_err() {
            let mut names: Vec<_> = self.names.values().copied().collect();
            names.sort_unstable();
            let names = names.join(", ");
            tracing::error!("gave up waiting for background tasks after {patience:?}: {names}");
            self.tasks.shutdown().await;
            ending = Ending::Broken;
        }
        ending
    }

    /// Logs how a task ended; tells whether that was wrong.
    fn report(&mut self, ended: Result<(Id, ()), JoinError>) -> bool {
        let early = !self.shutdown.stopping().is_cancelled();
        let (id, panicked) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), true),
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        if panicked {
            tracing::error!(task = name, "background task {name} panicked: shutting down");
        } else if early {
            tracing::error!(task = name, "background task {name} ended by itself: shutting down");
        }
        panicked || early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_dies_begins_the_shutdown() {
        for panics in [false, true] {
            let shutdown = Shutdown::new();
            let mut background = Background::new(shutdown.clone(), Duration::ZERO);
            let stopping = shutdown.stopping();
            background.spawn("good", stopping.cancelled_owned());
            background.spawn("bad", async move {
                assert!(!panics, "as the test wants");
            });
            let until = shutdown.stopping().cancelled_owned();
            let ending = background.watch(until, Duration::from_secs(5)).await;
            assert_eq!(ending, Ending::Broken);
            assert!(shutdown.is_draining());
        }
    }

    #[tokio::test]
    async fn tasks_end_in_order_or_are_given_up() {
        let shutdown = Shutdown::new();
        let mut background = Background::new(shutdown.clone(), Duration::ZERO);
        background.spawn("good", shutdown.stopping().cancelled_owned());
        shutdown.begin(Duration::ZERO);
        let until = shutdown.stopping().cancelled_owned();
        assert_eq!(background.watch(until, Duration::from_secs(5)).await, Ending::Orderly);

        let mut background = Background::new(shutdown.clone(), Duration::ZERO);
        background.spawn("deaf", std::future::pending());
        let until = shutdown.stopping().cancelled_owned();
        assert_eq!(background.watch(until, Duration::from_millis(20)).await, Ending::Broken);
    }
}
