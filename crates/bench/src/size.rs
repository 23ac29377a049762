//! How much is done: the same cases, from seconds to as long as it takes.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// Everything as described in docs/PERFORMANCE.md, within fifteen minutes.
    Default,
    /// The same with 1 GiB in each of the fifty transfers of the memory cases.
    Full,
    /// A first impression, within two minutes.
    Quick,
    /// Whether the cases work at all; the figures mean nothing.
    Smoke,
}

/// Amounts and limits of a run.
#[derive(Clone, Debug)]
pub struct Size {
    /// Runs of each case, if time allows.
    pub rounds: usize,
    /// When it nears its end, cases get one round only.
    pub budget: Duration,
    /// From the start of the servers to the look at their idle memory.
    pub idle: Duration,
    /// One run of a case that repeats requests.
    pub run: Duration,
    pub large_bytes: u64,
    pub medium_bytes: u64,
    pub medium_count: usize,
    pub memory_transfers: usize,
    pub memory_pull_bytes: u64,
    pub memory_push_bytes: u64,
    /// Images that the metadata cases read in turn.
    pub read_images: usize,
    /// Images pushed in one run.
    pub pushed_images: usize,
    /// First logins in one run, each of an account of its own.
    pub first_logins: usize,
    pub tags: usize,
    pub repositories: usize,
    /// The longest that tags and repositories are pushed for the lists.
    pub seeding: Duration,
    /// Projects and artifacts whose rows the pages of the REST API show, with ten tags for each artifact.
    pub seeded_projects: usize,
    pub seeded_artifacts: usize,
    /// From then to the first list: long enough for PostgreSQL to begin its upkeep of what was pushed (it looks once a
    /// minute) and to end it, so that the lists are not charged for it.
    pub rest: Duration,
}

impl Size {
    pub fn of(scale: Scale) -> Size {
        let default = Size {
            rounds: 3,
            budget: Duration::from_secs(840),
            idle: Duration::from_secs(10),
            run: Duration::from_millis(1000),
            large_bytes: 1024 * MIB,
            medium_bytes: 64 * MIB,
            medium_count: 16,
            memory_transfers: 50,
            memory_pull_bytes: 64 * MIB,
            memory_push_bytes: 64 * MIB,
            read_images: 64,
            pushed_images: 60,
            first_logins: 6,
            tags: 10_000,
            repositories: 10_000,
            seeding: Duration::from_secs(170),
            rest: Duration::from_secs(75),
            seeded_projects: 10_000,
            seeded_artifacts: 100_000,
        };
        match scale {
            Scale::Default => default,
            Scale::Full => Size {
                budget: Duration::from_secs(60 * 60),
                memory_pull_bytes: 1024 * MIB,
                memory_push_bytes: 1024 * MIB,
                seeding: Duration::from_secs(300),
                ..default
            },
            Scale::Quick => Size {
                rounds: 2,
                budget: Duration::from_secs(70),
                run: Duration::from_millis(400),
                large_bytes: 128 * MIB,
                medium_bytes: 8 * MIB,
                memory_pull_bytes: 8 * MIB,
                memory_push_bytes: 8 * MIB,
                pushed_images: 15,
                first_logins: 3,
                tags: 1000,
                repositories: 1000,
                seeding: Duration::from_secs(12),
                rest: Duration::ZERO,
                seeded_projects: 1000,
                seeded_artifacts: 10_000,
                ..default
            },
            Scale::Smoke => Size {
                rounds: 1,
                budget: Duration::from_secs(120),
                idle: Duration::from_millis(100),
                run: Duration::from_millis(50),
                large_bytes: MIB + 1,
                medium_bytes: MIB / 2,
                medium_count: 4,
                memory_transfers: 8,
                memory_pull_bytes: MIB / 2,
                memory_push_bytes: MIB / 2,
                read_images: 3,
                pushed_images: 2,
                first_logins: 1,
                tags: 25,
                repositories: 25,
                seeding: Duration::from_secs(30),
                rest: Duration::ZERO,
                seeded_projects: 20,
                seeded_artifacts: 400,
            },
        }
    }

    /// Bytes that one server writes to the disk at most.
    pub fn disk_bytes(&self) -> u64 {
        let round = self.large_bytes + self.medium_bytes * self.medium_count as u64;
        let once = self.memory_transfers as u64 * self.memory_push_bytes + self.memory_pull_bytes;
        round * self.rounds as u64 + once + 512 * MIB
    }
}
