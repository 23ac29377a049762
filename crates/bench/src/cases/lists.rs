//! Lists of many tags and many repositories.
//!
//! Both servers get them by pushes through their API, as many as the time allows. A tag is a manifest of its own that names nothing. A repository is a mounted blob and a manifest
//! that names it, because the peer lists no repository that never had a blob.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;

use crate::bench::{Bench, Plan};
use crate::http::{Body, Head, Sink};
use crate::load::{Limit, Repeated, Sample, hammer};
use crate::registry::{Form, INDEX, Image, Login, PUBLIC, Registry, Side, put_manifest};
use crate::report::{Aim, Kind};

/// Connections in the cases that ask for one page.
const CONNECTIONS: usize = 2;
/// Connections that push what is listed.
const SEEDERS: usize = 8;
/// How many more than the other a server may have while both are filled.
const LEAD_MAX: usize = 50;
/// The repository with the tags.
const TAGS: &str = "bench/tags";
/// The repository that the repositories of the catalog get their image from.
const SOURCE: &str = "bench/source";
/// Entries of a page, as a person would look at.
const PAGE: usize = 100;
/// Entries of a page when all are walked: the most that the peer gives.
const WALK_PAGE: usize = 1000;

const AIMS: &[Aim] = &[Aim::TimesPeer(20.0), Aim::P99Ms(10.0)];

/// How many of something each server has.
struct Seeded {
    ours: usize,
    peer: usize,
}

impl Seeded {
    fn of(&self, side: Side) -> usize {
        match side {
            Side::Ours => self.ours,
            Side::Peer => self.peer,
        }
    }

    fn show(&self, what: &str) -> String {
        if self.ours == self.peer {
            format!("{} {what}", self.ours)
        } else {
            format!("{} {what} (peer {})", self.ours, self.peer)
        }
    }
}

impl Bench {
    pub async fn lists(&mut self) -> Result<()> {
        let (tags, repositories) = self.seed().await?;
        let run = Limit::For(self.size.run);
        let plan = |name: String| Plan { name, kind: Kind::Requests, aims: AIMS, peer: true };
        for page in ["first", "last"] {
            let name = format!("{page} {PAGE} of {}", tags.show("tags"));
            self.case(plan(name), async |registry, _| {
                let authorization = registry.puller(&mut registry.connect(), TAGS).await?;
                let last = match page {
                    "first" => String::new(),
                    _ => format!("&last={}", numbered(tags.of(registry.side).saturating_sub(PAGE + 1))),
                };
                let path = format!("/v2/{TAGS}/tags/list?n={PAGE}{last}");
                let head = Head::new("GET", &path, authorization.as_deref(), &[], None);
                pages(&registry, head, run).await
            })
            .await?;
        }

        let name = format!("{PAGE} of {}", repositories.show("repositories"));
        self.case(plan(name), async |registry, _| {
            let authorization = catalog(&registry).await?;
            let head = Head::new("GET", &catalog_path(PAGE), authorization.as_deref(), &[], None);
            pages(&registry, head, run).await
        })
        .await?;
        let name = format!("all of {}, {WALK_PAGE} a page", repositories.show("repositories"));
        let plan = Plan { aims: &[Aim::TimesPeer(20.0)], ..plan(name) };
        let time = self.size.run;
        self.case(plan, async |registry, _| walk(&registry, repositories.of(registry.side), time).await).await
    }

    /// Pushes tags and repositories to both servers at the same time, as many as the time allows.
    async fn seed(&mut self) -> Result<(Seeded, Seeded)> {
        let image = Arc::new(Image::new(self.next_seed()));
        for registry in self.both() {
            let mut connection = registry.connect();
            let authorization = registry.pusher(&mut connection, SOURCE).await?;
            let named = ("latest", &*image);
            registry
                .push_image(&mut connection, SOURCE, authorization.as_deref(), named, Form::TwoRequests)
                .await?;
        }
        let begin = Instant::now();
        let (tags, repositories) = (Race::new(self.size.tags), Race::new(self.size.repositories));
        let (tags, repositories) = (Arc::new(tags), Arc::new(repositories));
        let deadline = begin + self.size.seeding;
        let result = tokio::try_join!(
            push_tags(self.ours, &tags, deadline),
            push_tags(self.peer, &tags, deadline),
            push_repositories(self.ours, &repositories, &image, deadline),
            push_repositories(self.peer, &repositories, &image, deadline),
        );
        result.context("pushing what the lists show")?;
        let (tags, repositories) = (tags.seeded(), repositories.seeded());
        self.notes.push(format!(
            "{} and {} were pushed in {:.0} s, {SEEDERS} connections each",
            tags.show("tags"),
            repositories.show("repositories"),
            begin.elapsed().as_secs_f64()
        ));
        tokio::time::sleep(self.size.rest).await;
        Ok((tags, repositories))
    }
}

/// Two servers on the way to the same number. Neither gets far ahead, and when the time is over the one behind
/// still gets what the other has, so that both end with as many.
struct Race {
    count: usize,
    /// By side: the next number to hand out, one more than the highest that was allowed, and how many were pushed.
    next: [AtomicUsize; 2],
    begun: [AtomicUsize; 2],
    done: [AtomicUsize; 2],
}

impl Race {
    fn new(count: usize) -> Race {
        Race { count, next: Default::default(), begun: Default::default(), done: Default::default() }
    }

    /// A number for this side to push; none when there is nothing left to do.
    async fn number(&self, side: Side, deadline: Instant) -> Option<usize> {
        let (own, other) = (side as usize, 1 - side as usize);
        let number = self.next[own].fetch_add(1, Ordering::Relaxed);
        loop {
            let begun = self.begun.each_ref().map(|begun| begun.load(Ordering::Relaxed));
            if number >= self.count || (Instant::now() >= deadline && number >= begun[0].max(begun[1])) {
                return None;
            }
            if number < self.done[other].load(Ordering::Relaxed) + LEAD_MAX || number < begun[other] {
                self.begun[own].fetch_max(number + 1, Ordering::Relaxed);
                return Some(number);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn pushed(&self, side: Side) {
        self.done[side as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn seeded(&self) -> Seeded {
        let done = |side: Side| self.done[side as usize].load(Ordering::Relaxed);
        Seeded { ours: done(Side::Ours), peer: done(Side::Peer) }
    }
}

/// Tags of one repository, each with a manifest of its own.
async fn push_tags(registry: Registry, race: &Arc<Race>, deadline: Instant) -> Result<()> {
    let repository: Arc<str> = TAGS.into();
    let authorization: Option<Arc<str>> =
        registry.pusher(&mut registry.connect(), TAGS).await?.map(Arc::from);
    let mut workers = JoinSet::new();
    for _ in 0..SEEDERS {
        let (race, repository, authorization) = (race.clone(), repository.clone(), authorization.clone());
        workers.spawn(async move {
            let mut connection = registry.connect();
            while let Some(number) = race.number(registry.side, deadline).await {
                let manifest = format!(
                    r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"annotations":{{"number":"{number}"}}}}"#
                );
                let named = (&*numbered(number), INDEX, manifest.as_bytes());
                put_manifest(&mut connection, &repository, authorization.as_deref(), named).await?;
                race.pushed(registry.side);
            }
            anyhow::Ok(())
        });
    }
    workers.join_all().await.into_iter().collect()
}

/// Repositories with one small image each.
async fn push_repositories(
    registry: Registry,
    race: &Arc<Race>,
    image: &Arc<Image>,
    deadline: Instant,
) -> Result<()> {
    let mut workers = JoinSet::new();
    for _ in 0..SEEDERS {
        let (race, image) = (race.clone(), image.clone());
        workers.spawn(async move {
            let mut connection = registry.connect();
            while let Some(number) = race.number(registry.side, deadline).await {
                let repository = format!("{PUBLIC}/catalog/{}", numbered(number));
                registry.copy_image(&mut connection, SOURCE, &repository, &image).await?;
                race.pushed(registry.side);
            }
            anyhow::Ok(())
        });
    }
    workers.join_all().await.into_iter().collect()
}

/// In the order of numbers also when ordered as text.
fn numbered(number: usize) -> String {
    format!("n{number:06}")
}

/// The right to list all repositories, which only an administrator has.
async fn catalog(registry: &Registry) -> Result<Option<String>> {
    registry.authorize(&mut registry.connect(), "registry:catalog:*", Login::Admin).await
}

fn catalog_path(entries: usize) -> String {
    format!("/v2/_catalog?n={entries}")
}

async fn pages(registry: &Registry, head: Head, limit: Limit) -> Result<Sample> {
    let requests = Arc::new(vec![Repeated { head, status: 200 }]);
    hammer(registry.address, &requests, CONNECTIONS, limit).await
}

/// Walks the whole catalog over one connection, again and again until the time is over. Once is one operation.
async fn walk(registry: &Registry, at_least: usize, time: Duration) -> Result<Sample> {
    let authorization = catalog(registry).await?;
    let mut connection = registry.connect();
    let mut sample = Sample::default();
    let begin = Instant::now();
    while sample.operations == 0 || begin.elapsed() < time {
        let walk = Instant::now();
        let mut entries = 0;
        let mut path = Some(catalog_path(WALK_PAGE));
        while let Some(page) = path {
            let mut text = Vec::new();
            let head = Head::new("GET", &page, authorization.as_deref(), &[], None);
            let answer = connection.exchange(&head, Body::None, &mut Sink::Collect(&mut text)).await?;
            ensure!(answer.status == 200, "{page}: {}", answer.status);
            let page: serde_json::Value = serde_json::from_slice(&text)?;
            entries += page["repositories"].as_array().context("a list of repositories")?.len();
            path = answer.next;
        }
        ensure!(entries >= at_least, "the catalog has {entries} entries, not {at_least}");
        sample.latencies.push(walk.elapsed());
        sample.operations += 1;
    }
    sample.elapsed = begin.elapsed();
    Ok(sample)
}
