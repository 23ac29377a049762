//! Blobs up and down, and the memory that many transfers at once take.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::bench::{Bench, Plan};
use crate::http::{Body, Head, Sink};
use crate::load::{Sample, each};
use crate::noise::Blob;
use crate::registry::{PUBLIC, Registry, blob_path};
use crate::report::{Aim, Kind};

/// Transfers at the same time in the case with several blobs.
const PARALLEL: usize = 4;

const PUSH_AIMS: &[Aim] = &[Aim::TimesPeer(1.5)];
const PULL_AIMS: &[Aim] = &[Aim::TimesPeer(1.0), Aim::CpuTimesPeer(0.7)];

impl Bench {
    pub async fn transfers(&mut self) -> Result<()> {
        let size = self.size.clone();
        self.transfer_cases("large", size.large_bytes, 1, 1).await?;
        self.transfer_cases("medium", size.medium_bytes, size.medium_count, PARALLEL).await
    }

    async fn transfer_cases(&mut self, name: &str, bytes: u64, count: usize, parallel: usize) -> Result<()> {
        let repository = format!("{PUBLIC}/{name}");
        let what = format!("{} × {count}, {parallel} at a time", show_bytes(bytes));
        // Both servers get the same blobs, each round new ones. Made here, because the digests take time.
        let rounds: Vec<Arc<Vec<Blob>>> =
            (0..self.size.rounds).map(|_| Arc::new(self.new_blobs(count, bytes))).collect();
        let plan = |name: String, aims| Plan { name, kind: Kind::Transfer, aims, peer: true };

        self.case(plan(format!("push {what}"), PUSH_AIMS), async |registry, round| {
            push(registry, &repository, &rounds[round], parallel).await
        })
        .await?;
        // The bytes are in the page cache of both, because they were just written. Hythe compares a blob with its
        // digest when it is read for the first time, so that is a case of its own.
        let pushed = self.cases.last().map_or(0, |case| case.ours.len());
        self.case(plan(format!("first pull {what}"), &[]), async |registry, round| {
            pull(registry, &repository, &rounds[round.min(pushed.saturating_sub(1))], count, parallel).await
        })
        .await?;
        self.case(plan(format!("pull {what}"), PULL_AIMS), async |registry, round| {
            // Not always the last one pushed, but always one that was read before.
            let read = if round == 0 { 0 } else { round.min(pushed.saturating_sub(1)) };
            pull(registry, &repository, &rounds[read], count, parallel).await
        })
        .await
    }

    pub async fn memory(&mut self) -> Result<()> {
        let transfers = self.size.memory_transfers;
        let repository = format!("{PUBLIC}/memory");
        let aims = &[Aim::MemoryMib(128.0)];
        let rounds = std::mem::replace(&mut self.size.rounds, 1);
        let (push_bytes, pull_bytes) = (self.size.memory_push_bytes, self.size.memory_pull_bytes);
        let plan = |name: String| Plan { name, kind: Kind::Memory, aims, peer: true };

        let blobs = Arc::new(self.new_blobs(transfers, push_bytes));
        let name = format!("peak while {transfers} clients push {} each", show_bytes(push_bytes));
        self.case(plan(name), async |registry, _| push(registry, &repository, &blobs, transfers).await)
            .await?;

        let pulled = if push_bytes == pull_bytes {
            blobs
        } else {
            let blobs = Arc::new(self.new_blobs(1, pull_bytes));
            for registry in self.both() {
                push(registry, &repository, &blobs, 1).await?;
            }
            blobs
        };
        let name = format!("peak while {transfers} clients pull {} each", show_bytes(pull_bytes));
        self.case(plan(name), async |registry, _| {
            pull(registry, &repository, &pulled, transfers, transfers).await
        })
        .await?;
        self.size.rounds = rounds;
        Ok(())
    }
}

/// Pushes each of the blobs. The token is there before the clock starts.
async fn push(
    registry: Registry,
    repository: &str,
    blobs: &Arc<Vec<Blob>>,
    parallel: usize,
) -> Result<Sample> {
    let authorization = Arc::new(registry.pusher(&mut registry.connect(), repository).await?);
    let repository: Arc<str> = repository.into();
    each(registry.address, blobs, parallel, move |mut connection, blobs, index| {
        let (authorization, repository) = (authorization.clone(), repository.clone());
        async move {
            let blob = &blobs[index];
            registry.push_blob(&mut connection, &repository, authorization.as_deref(), blob).await?;
            Ok((connection, blob.bytes))
        }
    })
    .await
}

/// Pulls `count` times, the blobs in turn, without an account.
async fn pull(
    registry: Registry,
    repository: &str,
    blobs: &[Blob],
    count: usize,
    parallel: usize,
) -> Result<Sample> {
    let authorization = registry.puller(&mut registry.connect(), repository).await?;
    let jobs: Vec<(Head, u64)> = blobs
        .iter()
        .cycle()
        .take(count)
        .map(|blob| {
            let path = blob_path(repository, &blob.digest);
            (Head::new("GET", &path, authorization.as_deref(), &[], None), blob.bytes)
        })
        .collect();
    each(registry.address, &Arc::new(jobs), parallel, |mut connection, jobs, index| async move {
        let (head, bytes) = &jobs[index];
        let answer = connection.exchange(head, Body::None, &mut Sink::Discard).await?;
        ensure!(
            answer.status == 200 && answer.bytes == *bytes,
            "a pull of {bytes} bytes gave {} and {} bytes",
            answer.status,
            answer.bytes
        );
        Ok((connection, *bytes))
    })
    .await
}

fn show_bytes(bytes: u64) -> String {
    let mib = bytes / (1024 * 1024);
    match mib {
        0 => format!("{} KiB", bytes / 1024),
        mib if mib % 1024 == 0 => format!("{} GiB", mib / 1024),
        mib => format!("{mib} MiB"),
    }
}
