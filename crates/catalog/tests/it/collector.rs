//! The online garbage collector: what goes, what stays, and what happens while it works.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blobstore::BlobStore;
use bytes::Bytes;
use catalog::{Catalog, CollectGarbage, Collected, CollectorConfig, Error, PushTarget, Scope};
use futures_util::TryStreamExt;
use oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use oci::{Algorithm, Digest, Reference};
use serde_json::{Value, json};

use crate::world::{self, CONFIG, World};

/// As if everything had happened that many days earlier.
async fn age(world: &World, days: i32) {
    for statement in [
        "update catalog.blobs set last_touch = last_touch - make_interval(days => $1),
                                  gc_after = gc_after - make_interval(days => $1)",
        "update catalog.manifests set pushed_at = pushed_at - make_interval(days => $1),
                                      untagged_at = untagged_at - make_interval(days => $1),
                                      deleted_at = deleted_at - make_interval(days => $1),
                                      gc_after = gc_after - make_interval(days => $1)",
        "update catalog.manifest_pulls set last_pulled_at = last_pulled_at - make_interval(days => $1)",
        "update catalog.repository_blobs set linked_at = linked_at - make_interval(days => $1)",
        "update catalog.repositories set deleted_at = deleted_at - make_interval(days => $1)",
    ] {
        sqlx::query(statement).bind(days).execute(world.database.pool()).await.unwrap();
    }
}

async fn collect(world: &World) -> Collected {
    world.catalog.collector.collect(Scope::default(), || false).await.unwrap()
}

async fn blobs(world: &World) -> i64 {
    world.number("select count(*) from catalog.blobs where $1 = $1", 0).await
}

async fn manifests(world: &World) -> i64 {
    world.number("select count(*) from catalog.manifests where $1 = $1", 0).await
}

async fn delete(world: &World, name: &str, digest: &Digest) {
    world.catalog.manifests.delete(&world.delete(name), &Reference::Digest(digest.clone())).await.unwrap();
}

async fn readable(world: &World, name: &str, digest: &Digest) -> bool {
    let Ok(blob) = world.catalog.blobs.get(&world.pull(name), digest).await else { return false };
    let stream = world.catalog.blobs.read(&blob, 0..blob.size).await.unwrap();
    let bytes: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    Digest::of(Algorithm::Sha256, &bytes.concat()) == *digest
}

async fn assert_exact(world: &World) {
    let counted = world.catalog.recounts.recount_quotas(|| false).await.unwrap();
    assert_eq!(counted.drifted, 0, "quota and content");
    let wrong = "select count(*) from catalog.repositories r where $1 = $1 and (
        manifest_count <> (select count(*) from catalog.manifests m where m.repository_id = r.id and m.deleted_at is null)
        or size_bytes <> (select coalesce(sum(size), 0) from catalog.repository_blobs l where l.repository_id = r.id))";
    assert_eq!(world.number(wrong, 0).await, 0, "counts of repositories");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_names_goes_and_the_rest_stays() {
    let world = World::new().await;
    for layer in [&b"x"[..], b"y", b"z", b"never used"] {
        world.blob("p/a", layer).await;
    }
    let first = world.image("p/a", Some("1"), &[b"x", b"y"]).await;
    world.image("p/a", Some("2"), &[b"y", b"z"]).await;
    assert_eq!(blobs(&world).await, 5);
    assert_eq!(collect(&world).await, Collected::default(), "all of it is new");

    delete(&world, "p/a", &first.digest).await;
    age(&world, 13).await;
    let found = collect(&world).await;
    assert_eq!((found.manifests, found.blobs, found.bytes), (0, 1, 10), "the manifest can be restored");
    age(&world, 2).await;
    let found = collect(&world).await;
    assert_eq!(found.manifests, 1);
    age(&world, 1).await;
    let found = collect(&world).await;
    assert_eq!((found.manifests, found.blobs, found.bytes), (0, 1, 1), "the layer that only it had");
    assert_eq!(blobs(&world).await, 3);
    for (bytes, there) in
        [(&b"x"[..], false), (b"y", true), (b"z", true), (CONFIG, true), (b"never used", false)]
    {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        assert_eq!(readable(&world, "p/a", &digest).await, there, "{}", String::from_utf8_lossy(bytes));
    }
    assert_exact(&world).await;
    age(&world, 100).await;
    assert_eq!(collect(&world).await, Collected::default(), "nothing comes twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_about_artifacts_without_a_tag() {
    let world = World::new().await;
    for layer in [&b"1"[..], b"2", b"3"] {
        world.blob("p/a", layer).await;
    }
    let moved = world.image("p/a", Some("t"), &[b"1"]).await;
    world.image("p/a", Some("t"), &[b"2"]).await;
    let pulled = world.image("p/a", None, &[b"3"]).await;
    let count = async || manifests(&world).await;

    age(&world, 10).await;
    let reference = Reference::Digest(pulled.digest.clone());
    let pull = world.pull("p/a");
    let found = world.catalog.manifests.get(&pull, &reference).await.unwrap();
    world.catalog.manifests.pulled(&pull, &found, &reference);
    world.catalog.pulls.flush().await.unwrap();
    age(&world, 3).await;
    collect(&world).await;
    assert_eq!(count().await, 3, "13 days");

    // What a project says goes before what the installation says.
    let policy = async |days: &str| {
        sqlx::query("update tenancy.projects set metadata = jsonb_build_object('untagged_days', $1::text)")
            .bind(days)
            .execute(world.database.pool())
            .await
            .unwrap();
        // The collector looks again when the old policy would have ended it.
        sqlx::query("update catalog.manifests set gc_after = now() - interval '1 second'")
            .execute(world.database.pool())
            .await
            .unwrap();
    };
    age(&world, 2).await;
    policy("keep").await;
    collect(&world).await;
    assert_eq!(count().await, 3, "kept");
    policy("20").await;
    collect(&world).await;
    assert_eq!(count().await, 3, "20 days");
    policy("14").await;
    collect(&world).await;
    assert_eq!(count().await, 2, "without a tag for 15 days; the other one was pulled five days ago");
    let reference = Reference::Digest(moved.digest.clone());
    assert!(matches!(
        world.catalog.manifests.get(&world.pull("p/a"), &reference).await,
        Err(Error::ManifestUnknown(_))
    ));
    let acts = "select count(*) from audit.entries where action = 'artifact_delete' and actor_kind = 'system' and $1 = $1";
    assert_eq!(world.number(acts, 0).await, 1, "what a policy does is an act");

    policy("keep").await;
    let scope = Scope { delete_untagged: true, ahead: true };
    let found = world.catalog.collector.collect(scope, || false).await.unwrap();
    assert_eq!((found.manifests, found.blobs), (1, 2), "a run that is told to, with what it sets free");
    assert_eq!((count().await, blobs(&world).await), (1, 2));
    assert_exact(&world).await;
}

async fn put(world: &World, name: &str, manifest: &Value) -> Digest {
    let payload = Bytes::from(manifest.to_string());
    let digest = Digest::of(Algorithm::Sha256, &payload);
    let target = PushTarget { digest: Some(digest.clone()), tags: vec![] };
    let media_type = manifest["mediaType"].as_str();
    world.catalog.manifests.put(&world.push(name), target, media_type, payload).await.unwrap();
    digest
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_and_signatures_go_after_what_they_belong_to() {
    let world = World::new().await;
    world.blob("p/a", b"1").await;
    let part = world.image("p/a", None, &[b"1"]).await.digest;
    let size =
        world.number("select octet_length(payload)::bigint from catalog.manifests where $1 = $1", 0).await;
    let index = put(
        &world,
        "p/a",
        &json!({"schemaVersion": 2, "mediaType": OCI_INDEX,
                "manifests": [{"mediaType": OCI_MANIFEST, "digest": part.to_string(), "size": size}]}),
    )
    .await;
    let signature = |subject: &Digest| {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x-signature",
               "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": CONFIG.len(),
                          "digest": Digest::of(Algorithm::Sha256, CONFIG).to_string()},
               "layers": [], "subject": {"mediaType": OCI_INDEX, "digest": subject.to_string(), "size": 1}})
    };
    put(&world, "p/a", &signature(&index)).await;
    put(&world, "p/a", &signature(&Digest::of(Algorithm::Sha256, b"never pushed"))).await;
    let tagged = world.image("p/a", Some("t"), &[]).await.digest;
    assert_eq!(manifests(&world).await, 5);

    age(&world, 13).await;
    sqlx::query(
        "insert into catalog.tags (repository_id, project_id, name, manifest_id, natural_key)
                 select repository_id, project_id, 'i', id, 'i' from catalog.manifests where digest = $1",
    )
    .bind(index.to_bytes())
    .execute(world.database.pool())
    .await
    .unwrap();
    age(&world, 30).await;
    assert_eq!(collect(&world).await.manifests, 1, "the signature of something that never came");
    delete(&world, "p/a", &index).await;
    age(&world, 13).await;
    assert_eq!(collect(&world).await.manifests, 0, "all of it can be restored");
    age(&world, 2).await;
    let run = CollectGarbage { dry_run: true, ..CollectGarbage::default() };
    let (found, lines) = run_job(&world, run).await;
    assert_eq!(found.manifests, 3, "all of them, in one run: {lines:?}");
    let mut gone = 0;
    for _ in 0..4 {
        gone += collect(&world).await.manifests;
        age(&world, 20).await;
    }
    assert_eq!(gone, 3, "the index, then its part and its signature");
    let left: Vec<Vec<u8>> = sqlx::query_scalar("select digest from catalog.manifests")
        .fetch_all(world.database.pool())
        .await
        .unwrap();
    assert_eq!(left, [tagged.to_bytes()]);
    assert_exact(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_nobody_used_go_while_the_blob_stays() {
    let world = World::new().await;
    for name in ["p/a", "p/b"] {
        world.blob(name, b"shared").await;
    }
    world.image("p/a", Some("1"), &[b"shared"]).await;
    let digest = Digest::of(Algorithm::Sha256, b"shared");
    let used = world.used().await;
    age(&world, 2).await;
    // A client was told that it is there.
    world.catalog.blobs.head(&world.pull("p/b"), &digest).await.unwrap();
    collect(&world).await;
    assert!(readable(&world, "p/b", &digest).await, "promised a moment ago");
    age(&world, 2).await;
    collect(&world).await;
    assert!(!readable(&world, "p/b", &digest).await);
    assert!(readable(&world, "p/a", &digest).await);
    assert_eq!(world.used().await, used, "charged once, and still");
    assert_exact(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_comes_again_while_it_goes_is_another_one() {
    let world = World::new().await;
    let digest = world.blob("p/a", b"layer").await;
    age(&world, 2).await;
    // What a collector leaves that died after it took the blob.
    sqlx::query("update catalog.blobs set state = 'deleting', gc_after = now()")
        .execute(world.database.pool())
        .await
        .unwrap();
    assert!(!readable(&world, "p/a", &digest).await, "what is taken is absent");
    world.blob("p/a", b"layer").await;
    assert_eq!(collect(&world).await, Collected::default());
    assert!(readable(&world, "p/a", &digest).await);
    // And one that nobody wants is finished by the next collector.
    age(&world, 2).await;
    sqlx::query("update catalog.blobs set state = 'deleting', gc_after = now()")
        .execute(world.database.pool())
        .await
        .unwrap();
    assert_eq!(collect(&world).await.blobs, 1);
    assert_eq!((blobs(&world).await, world.used().await), (0, 0));
    assert_exact(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_repository_leaves_nothing() {
    let world = World::new().await;
    world.blob("p/a", b"1").await;
    world.image("p/a", Some("1"), &[b"1"]).await;
    let repository = "p/a".parse().unwrap();
    let project = tenancy::ProjectRef::Id(world.project);
    let permit = world.tenancy.permit(&world.caller, &project).await.unwrap();
    world.catalog.repositories.delete(&permit, &repository).await.unwrap();
    collect(&world).await;
    assert_eq!(manifests(&world).await, 1, "within the grace");
    for _ in 0..3 {
        age(&world, 2).await;
        collect(&world).await;
    }
    let rows = "select (select count(*) from catalog.repositories) + (select count(*) from catalog.manifests)
                + (select count(*) from catalog.tag_history) + (select count(*) from catalog.project_blobs) where $1 = $1";
    assert_eq!((world.number(rows, 0).await, blobs(&world).await, world.used().await), (0, 0, 0));
}

/// Pushes, moves and deletions from all sides while collectors work whose grace is a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_push_wins_every_race() {
    let store = BlobStore::memory();
    let world = World::on(store.clone()).await;
    let settings = json!({"restore_days": 0});
    world.tenancy.configuration_update(&world.caller, settings.as_object().unwrap()).await.unwrap();
    let gc = CollectorConfig { grace_seconds: 1, untagged_days: 0, ..CollectorConfig::default() };
    let config = catalog::Config { gc, ..world::config() };
    let catalog = Catalog::new(world.database.clone(), store, world.tenancy.clone(), config);
    sqlx::query("update catalog.review_delays set delay = '1 second'")
        .execute(world.database.pool())
        .await
        .unwrap();
    let (stop, pushed, collected) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(8);

    let pusher = async |number: u64| {
        let mut round = number;
        while Instant::now() < end {
            round += 1;
            let name = ["p/a", "p/b"][(round % 2) as usize];
            let layers: [&[u8]; 2] = [&[b'l', (round % 40) as u8], &[b'm', (round % 7) as u8]];
            let began = Instant::now();
            for bytes in layers.into_iter().chain([CONFIG]) {
                let digest = Digest::of(Algorithm::Sha256, bytes);
                // As clients do: what is there is not sent.
                if catalog.blobs.head(&world.pull(name), &digest).await.is_err() {
                    world.blob(name, bytes).await;
                }
            }
            let tag = format!("t{}", round % 3);
            let image = match world.try_put(name, &tag, &layers).await {
                Ok(image) => image,
                // What was promised a second ago is promised no more: the machine was busy with something else.
                Err(Error::ManifestBlobUnknown(_)) if began.elapsed() >= Duration::from_secs(1) => continue,
                Err(err) => panic!("{err:?} after {:?}", began.elapsed()),
            };
            pushed.fetch_add(1, Ordering::Relaxed);
            match round % 4 {
                0 => delete_tag_if_there(&world, name, &tag).await,
                1 => delete_if_there(&world, name, &image.digest).await,
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(round * 37 % 400)).await;
        }
    };
    let collector = async || {
        while !stop.load(Ordering::Relaxed) {
            let scope = Scope { delete_untagged: false, ahead: true };
            let found = catalog.collector.collect(scope, || false).await.unwrap();
            collected.fetch_add(found.blobs, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let work = async {
        tokio::join!(pusher(0), pusher(100), pusher(200), pusher(301));
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(work, collector(), collector());

    assert!(
        pushed.load(Ordering::Relaxed) > 20 && collected.load(Ordering::Relaxed) > 5,
        "{pushed:?} {collected:?}"
    );
    let named: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "select r.path, u.digest from catalog.manifest_blobs u join catalog.manifests m on m.id = u.manifest_id
         join catalog.repositories r on r.id = m.repository_id where m.deleted_at is null",
    )
    .fetch_all(world.database.pool())
    .await
    .unwrap();
    for (name, digest) in named {
        let digest = Digest::from_bytes(&digest).unwrap();
        assert!(readable(&world, &name, &digest).await, "{name} names {digest}, which is gone");
    }
    assert_exact(&world).await;
    // All that nobody names goes, and takes its bytes along.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let scope = Scope { delete_untagged: true, ahead: true };
    while catalog.collector.collect(scope, || false).await.unwrap() != Collected::default() {}
    let loose = "select count(*) from catalog.blobs b where $1 = $1
                 and not exists (select 1 from catalog.manifest_blobs u where u.digest = b.digest)";
    assert_eq!(world.number(loose, 0).await, 0);
    assert_exact(&world).await;
}

async fn delete_tag_if_there(world: &World, name: &str, tag: &str) {
    let reference = Reference::Tag(tag.parse().unwrap());
    match world.catalog.manifests.delete(&world.delete(name), &reference).await {
        Ok(()) | Err(Error::ManifestUnknown(_)) => {}
        Err(err) => panic!("{err:?}"),
    }
}

async fn delete_if_there(world: &World, name: &str, digest: &Digest) {
    let reference = Reference::Digest(digest.clone());
    match world.catalog.manifests.delete(&world.delete(name), &reference).await {
        Ok(()) | Err(Error::ManifestUnknown(_)) => {}
        Err(err) => panic!("{err:?}"),
    }
}

/// Runs a job as a worker does, and returns what it came to and said.
async fn run_job(world: &World, job: CollectGarbage) -> (Collected, Vec<String>) {
    let mut runner = queue::Runner::new((*world.database).clone(), queue::Config::default());
    let collector = world.catalog.collector.clone();
    runner.handle(move |job: CollectGarbage, context| {
        let collector = collector.clone();
        async move { collector.run_job(job, context).await }
    });
    let shutdown = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(runner.run(shutdown.clone()));
    let mut tx = world.database.begin().await.unwrap();
    let id = queue::submit(&mut tx, &job, "ana").await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let history = queue::History::new((*world.database).clone());
    let record = loop {
        let record = history.get(id).await.unwrap().unwrap();
        if record.finished_at.is_some() {
            break record;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(record.state, "done", "{}", record.message);
    let lines = history.lines(id, 0).await.unwrap().into_iter().map(|line| line.line).collect();
    (serde_json::from_value(record.result.unwrap()).unwrap(), lines)
}

/// Everything in the tables that the collector may write to.
async fn everything(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    for table in [
        "select to_jsonb(t)::text from catalog.blobs t order by 1",
        "select to_jsonb(t)::text from catalog.manifests t order by 1",
        "select to_jsonb(t)::text from catalog.repository_blobs t order by 1",
        "select to_jsonb(t)::text from catalog.project_blobs t order by 1",
        "select to_jsonb(t)::text from catalog.repositories t order by 1",
        "select to_jsonb(t)::text from catalog.upload_sessions t order by 1",
        "select to_jsonb(t)::text from catalog.dead_objects t order by 1",
        "select to_jsonb(t)::text from tenancy.quotas t order by 1",
        "select to_jsonb(t)::text from audit.entries t order by 1",
    ] {
        rows.extend(sqlx::query_scalar::<_, String>(table).fetch_all(world.database.pool()).await.unwrap());
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_the_run_does_and_changes_nothing() {
    let world = World::new().await;
    for layer in [&b"one"[..], b"two", b"three", b"loose"] {
        world.blob("p/a", layer).await;
    }
    let deleted = world.image("p/a", Some("1"), &[b"one", b"two"]).await;
    world.image("p/a", Some("2"), &[b"two"]).await;
    let untagged = world.image("p/a", None, &[b"three"]).await;
    delete(&world, "p/a", &deleted.digest).await;
    age(&world, 20).await;
    world.blob("p/a", b"new").await;

    for delete_untagged in [false, true] {
        let before = everything(&world).await;
        let (planned, lines) =
            run_job(&world, CollectGarbage { dry_run: true, delete_untagged, workers: 1 }).await;
        assert_eq!(everything(&world).await, before, "nothing changed");
        let (removed, _) =
            run_job(&world, CollectGarbage { dry_run: false, delete_untagged, workers: 1 }).await;
        assert_eq!(planned, removed, "{lines:?}");
        if !delete_untagged {
            assert_eq!((removed.manifests, removed.blobs, removed.bytes), (2, 3, 13));
            for line in [
                format!("manifest p/a@{}", deleted.digest),
                format!("manifest p/a@{}", untagged.digest),
                format!("blob {}, 3 bytes", Digest::of(Algorithm::Sha256, b"one")),
                "would remove 2 manifests and 3 blobs of 13 bytes".to_owned(),
            ] {
                assert!(lines.iter().any(|said| said.starts_with(&line)), "{line}: {lines:?}");
            }
        } else {
            assert_eq!(removed, Collected::default());
        }
        assert_exact(&world).await;
    }
    assert!(readable(&world, "p/a", &Digest::of(Algorithm::Sha256, b"two")).await);
    assert!(readable(&world, "p/a", &Digest::of(Algorithm::Sha256, b"new")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_waited_for_the_collector_is_made_anew_or_not_at_all() {
    let world = World::new().await;
    for name in ["p/a", "p/b"] {
        world.blob(name, b"shared").await;
    }
    world.image("p/a", Some("1"), &[b"shared"]).await;
    let digest = Digest::of(Algorithm::Sha256, b"shared");
    age(&world, 2).await;
    // The collector at work on the link of p/b, which nothing in p/b needs.
    let mut tx = world.database.begin().await.unwrap();
    sqlx::query("select * from catalog.prune_links($1, interval '1 day')")
        .bind(vec![digest.to_bytes()])
        .execute(&mut *tx)
        .await
        .unwrap();
    let (catalog, pull, wanted) = (world.catalog.clone(), world.pull("p/b"), digest.clone());
    let asked = tokio::spawn(async move { catalog.blobs.head(&pull, &wanted).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asked.is_finished(), "the answer waits for the collector");
    tx.commit().await.unwrap();
    assert!(
        matches!(asked.await.unwrap(), Err(Error::BlobUnknown(_))),
        "the link is gone, so nothing is promised"
    );
    assert!(readable(&world, "p/a", &digest).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_its_tag_can_be_brought_back_and_read_only_keeps_everything() {
    let world = World::new().await;
    world.blob("p/a", b"1").await;
    world.image("p/a", Some("t"), &[b"1"]).await;
    sqlx::query("update tenancy.projects set metadata = jsonb_build_object('untagged_days', '0')")
        .execute(world.database.pool())
        .await
        .unwrap();
    age(&world, 60).await;
    delete_tag_if_there(&world, "p/a", "t").await;
    age(&world, 13).await;
    collect(&world).await;
    assert_eq!(
        manifests(&world).await,
        1,
        "its tag can be restored for fourteen days, whatever the policy says"
    );
    age(&world, 2).await;
    let read_only = async |on: bool| {
        let change = json!({"read_only": on});
        world.tenancy.configuration_update(&world.caller, change.as_object().unwrap()).await.unwrap();
    };
    read_only(true).await;
    assert!(world.catalog.collector.collect(Scope::default(), || false).await.is_err());
    assert_eq!((manifests(&world).await, blobs(&world).await), (1, 2));
    read_only(false).await;
    assert_eq!(collect(&world).await.manifests, 1);
}
