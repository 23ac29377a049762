//! Lists of many tags and many repositories.
//!
//! Both servers get them by pushes through their API. When the time for that is over, the case says how many each
//! has. A tag is a manifest of its own that names nothing. A repository is a mounted blob and a manifest
//! that names it, because the peer lists no repository that never had a blob.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bench::{Bench, Plan};
use crate::http::{Body, Head, Sink};
use crate::load::{Limit, Repeated, Sample, each, hammer};
use crate::registry::{Form, INDEX, Image, Login, PUBLIC, Registry, Side, put_manifest};
use crate::report::{Aim, Kind};

/// Connections in the cases that ask for one page.
const CONNECTIONS: usize = 2;
/// Connections that push what is listed.
const SEEDERS: usize = 8;
/// Entries of a page, as a person would look at.
const PAGE: usize = 100;
/// Entries of a page when all are walked: the most that the peer gives.
const WALK_PAGE: usize = 1000;

/// What a pushed seed counts, in the field that counts bytes elsewhere.
const PUSHED: u64 = 1;

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
        let repository = format!("{PUBLIC}/tags");
        let tags = self.seed_tags().await?;
        let run = Limit::For(self.size.run);
        let plan = |name: String| Plan { name, kind: Kind::Requests, aims: AIMS, peer: true };
        for page in ["first", "last"] {
            let name = format!("{page} {PAGE} of {}", tags.show("tags"));
            self.case(plan(name), async |registry, _| {
                let authorization = registry.puller(&mut registry.connect(), &repository).await?;
                let last = match page {
                    "first" => String::new(),
                    _ => format!("&last={}", tag(tags.of(registry.side).saturating_sub(PAGE + 1))),
                };
                let path = format!("/v2/{repository}/tags/list?n={PAGE}{last}");
                let head = Head::new("GET", &path, authorization.as_deref(), &[], None);
                pages(&registry, head, run).await
            })
            .await?;
        }

        let repositories = self.seed_repositories().await?;
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

    /// Pushes as many tags into one repository on both servers.
    async fn seed_tags(&mut self) -> Result<Seeded> {
        let mut reached = Vec::new();
        for registry in self.both() {
            let repository: Arc<str> = format!("{PUBLIC}/tags").into();
            let authorization = registry.pusher(&mut registry.connect(), &repository).await?.map(Arc::from);
            let jobs = self.seeds(self.size.tags);
            let sample = each(registry.address, &jobs, SEEDERS, move |mut connection, seeds, index| {
                let (repository, authorization): (_, Option<Arc<str>>) =
                    (repository.clone(), authorization.clone());
                async move {
                    if Instant::now() >= seeds[index].deadline {
                        return Ok((connection, 0));
                    }
                    let manifest = format!(
                        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"annotations":{{"number":"{index}"}}}}"#
                    );
                    let named = (&*tag(index), INDEX, manifest.as_bytes());
                    put_manifest(&mut connection, &repository, authorization.as_deref(), named).await?;
                    Ok((connection, PUSHED))
                }
            })
            .await;
            reached.push(self.note_seeds(&registry, "tags", sample)?);
        }
        Ok(Seeded { ours: reached[0], peer: reached[1] })
    }

    /// Pushes as many repositories to both servers.
    async fn seed_repositories(&mut self) -> Result<Seeded> {
        let source = format!("{PUBLIC}/source");
        let image = Arc::new(Image::new(self.next_seed()));
        let mut reached = Vec::new();
        for registry in self.both() {
            let mut connection = registry.connect();
            let authorization = registry.pusher(&mut connection, &source).await?;
            let named = ("latest", &*image);
            registry
                .push_image(&mut connection, &source, authorization.as_deref(), named, Form::TwoRequests)
                .await?;
            let jobs = self.seeds(self.size.repositories);
            let (source, image) = (Arc::<str>::from(source.as_str()), image.clone());
            let sample = each(registry.address, &jobs, SEEDERS, move |mut connection, seeds, index| {
                let (source, image) = (source.clone(), image.clone());
                async move {
                    if Instant::now() >= seeds[index].deadline {
                        return Ok((connection, 0));
                    }
                    registry
                        .copy_image(
                            &mut connection,
                            &source,
                            &format!("{PUBLIC}/catalog/{}", tag(index)),
                            &image,
                        )
                        .await?;
                    Ok((connection, PUSHED))
                }
            })
            .await;
            reached.push(self.note_seeds(&registry, "repositories", sample)?);
        }
        Ok(Seeded { ours: reached[0], peer: reached[1] })
    }

    fn seeds(&self, count: usize) -> Arc<Vec<Seed>> {
        let deadline = Instant::now() + self.size.seeding;
        Arc::new((0..count).map(|_| Seed { deadline }).collect())
    }

    /// How many there are, which is also said in the report.
    fn note_seeds(&mut self, registry: &Registry, what: &str, sample: Result<Sample>) -> Result<usize> {
        let sample = sample.with_context(|| format!("pushing {what}, {}", registry.side))?;
        let pushed = usize::try_from(sample.bytes)?;
        self.notes.push(format!(
            "{}: {pushed} {what} pushed with {SEEDERS} connections in {:.1} s",
            registry.side,
            sample.elapsed.as_secs_f64()
        ));
        Ok(pushed)
    }
}

/// Something to be pushed, unless it is too late for it.
struct Seed {
    deadline: Instant,
}

/// In the order of numbers also when ordered as text.
fn tag(number: usize) -> String {
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
