//! what was acknowledged survives `kill -9` of everything, at any moment, any number of times.

use std::time::{Duration, Instant};

use hythe_testbed::{Bed, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::promises::{Broken, Content, SharedLedger, Writer, check, locked, postmaster};

/// Enough for `make test`; the soak sets `HYTHE_CRASH_ROUNDS` to 200.
const ROUNDS: usize = 20;

const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_01_what_was_acknowledged_survives_every_kill() {
    let rounds = rounds();
    let bed = Bed::own(Options::default()).await;
    let project = bed.project("crash").create().await;
    let registry = bed.admin().registry();
    let (mut images, mut deletions) = (0, 0);
    let mut kept: Vec<SharedLedger> = Vec::new();
    for round in 0..rounds {
        let ledger = SharedLedger::default();
        let common: Vec<Content> = (0..3).map(|_| Content::random(10 << 10..=1 << 20)).collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let writer = Writer {
                    registry: registry.clone(),
                    // Rounds have repositories of their own: what they left stays as they left it.
                    repository: project.repository(&format!("round{round}/writer{number}")),
                    ledger: ledger.clone(),
                    common: common.clone(),
                    lengths: 10 << 10..=2 << 20,
                    server_stays: false,
                };
                tokio::spawn(async move { while writer.step().await != Err(Broken::Gone) {} })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(rand::random_range(50..2500))).await;
        let database = postmaster(&bed);
        bed.kill_9();
        if round % 2 == 0 {
            // Left alone, PostgreSQL ends in good order when its parent dies. It may have ended already.
            let _ = kill(database, Signal::SIGKILL);
            buried(database).await;
        }
        for writer in writers {
            writer.await.unwrap_or_else(|err| panic!("round {round}: {err}"));
        }
        bed.restart().await;
        check(&registry, &ledger, &project.repository(&format!("round{round}/again"))).await;
        images += locked(&ledger).images;
        deletions += locked(&ledger).deletions;
        kept.push(ledger);
    }
    // No later crash has taken anything from an earlier round.
    for (round, ledger) in kept.iter().enumerate() {
        check(&registry, ledger, &project.repository(&format!("round{round}/later"))).await;
    }
    println!("{rounds} kills, {images} images and {deletions} deletions acknowledged");
    assert!(
        images >= rounds,
        "only {images} images were acknowledged in {rounds} rounds: this tested nothing"
    );
}

#[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the product")]
fn rounds() -> usize {
    std::env::var("HYTHE_CRASH_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number of rounds"))
}

/// Waits until init has taken note of an orphan's death. Until then PostgreSQL takes the number in its lock file
/// for a server that runs.
async fn buried(process: Pid) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while kill(process, None).is_ok() {
        assert!(Instant::now() < deadline, "process {process} was killed and nobody collects it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
