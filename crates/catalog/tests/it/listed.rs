//! What lists hide, and how much they count, is exact after any sequence of operations.

use bytes::Bytes;
use catalog::PushTarget;
use oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use oci::{Algorithm, Digest, Reference};
use serde_json::{Value, json};
use tenancy::{CreateTag, DeleteArtifact, DeleteRepository, ProjectRef};

use crate::accounting::Dice;
use crate::world::{CONFIG, World};

const NAME: &str = "p/a";

/// Images, indexes of them, and what is attached to these, to an attachment, and by a tag.
fn manifests() -> Vec<(Bytes, &'static str, Digest)> {
    let mut made: Vec<(Bytes, &'static str, Digest)> = Vec::new();
    let mut make = |mut value: Value, kind: &'static str| {
        value["schemaVersion"] = json!(2);
        value["mediaType"] = json!(kind);
        let payload = Bytes::from(value.to_string());
        let digest = Digest::of(Algorithm::Sha256, &payload);
        let descriptor = json!({"mediaType": kind, "digest": digest.to_string(), "size": payload.len()});
        made.push((payload, kind, digest));
        descriptor
    };
    let image = |n: &str, subject: Option<&Value>| {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(Algorithm::Sha256, CONFIG).to_string(), "size": CONFIG.len()});
        let mut value = json!({"config": config, "layers": [], "annotations": {"n": n}});
        if let Some(subject) = subject {
            value["subject"] = subject.clone();
        }
        value
    };
    let a = make(image("a", None), OCI_MANIFEST);
    let b = make(image("b", None), OCI_MANIFEST);
    let both = make(json!({"manifests": [a, b]}), OCI_INDEX);
    make(json!({"manifests": [a]}), OCI_INDEX);
    let signature = make(image("of a", Some(&a)), OCI_MANIFEST);
    make(image("of the signature", Some(&signature)), OCI_MANIFEST);
    make(image("of both", Some(&both)), OCI_MANIFEST);
    // Attached or not, as its tags say.
    make(image("by tag", None), OCI_MANIFEST);
    made
}

async fn check(world: &World, what: &str) {
    for (claim, sql) in [
        (
            "hidden manifests",
            "select count(*) from catalog.manifests m where m.project_id = $1 and m.deleted_at is null and m.hidden <> (
               exists (select 1 from catalog.manifests s where s.repository_id = m.repository_id
                       and s.digest = m.attached_digest and s.deleted_at is null)
               or not exists (select 1 from catalog.tags t where t.manifest_id = m.id)
                  and exists (select 1 from catalog.manifest_children c
                              join catalog.manifests i on i.id = c.parent_id and i.deleted_at is null
                              where c.repository_id = m.repository_id and c.child_digest = m.digest))",
        ),
        (
            "hidden tags",
            "select count(*) from catalog.tags t join catalog.manifests m on m.id = t.manifest_id
             where m.project_id = $1 and (t.hidden <> m.hidden or t.project_id <> m.project_id)",
        ),
        (
            "what a tag attached is attached as long as it has such a tag",
            "select count(*) from catalog.manifests m
             where m.project_id = $1 and m.subject_digest is null and m.deleted_at is null
               and (m.attached_digest is not null) <> exists (
                   select 1 from catalog.tags t where t.manifest_id = m.id
                     and catalog.cosign_subject(t.name) is not null and catalog.cosign_subject(t.name) <> m.digest)",
        ),
        (
            "counters",
            "select count(*) from catalog.repositories r where r.project_id = $1 and (
               r.artifact_count <> (select count(*) from catalog.manifests m
                                    where m.repository_id = r.id and m.deleted_at is null and not m.hidden)
               or r.tag_count <> (select count(*) from catalog.tags t where t.repository_id = r.id and not t.hidden))",
        ),
    ] {
        assert_eq!(world.number(sql, world.project).await, 0, "{claim} after {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_and_counters_are_exact_after_every_step() {
    let all = manifests();
    let mut tags: Vec<String> = ["x", "y", "z"].map(str::to_owned).into();
    for subject in [0, 1, 7] {
        tags.push(format!("sha256-{}.sig", all[subject].2.hex()));
    }
    let project = ProjectRef::Name("p".parse().unwrap());
    for seed in 1..=6 {
        let world = World::new().await;
        let mut dice = Dice(seed);
        let name = NAME.parse().unwrap();
        for number in 0..60 {
            let (payload, kind, digest) = &all[dice.roll(all.len())];
            let tag = tags[dice.roll(tags.len())].clone();
            let by_digest = Reference::Digest(digest.clone());
            let done = match dice.roll(12) {
                0..=5 => {
                    world.blob(NAME, CONFIG).await;
                    let tagged = dice.roll(3) > 0;
                    let target = PushTarget {
                        digest: (!tagged).then(|| digest.clone()),
                        tags: if tagged { vec![tag.parse().unwrap()] } else { Vec::new() },
                    };
                    let push = world.push(NAME);
                    world.catalog.manifests.put(&push, target, Some(kind), payload.clone()).await.is_ok()
                }
                6 | 7 => {
                    let tag: Reference = tag.parse().unwrap();
                    world.catalog.manifests.delete(&world.delete(NAME), &tag).await.is_ok()
                }
                8 => world.catalog.manifests.delete(&world.delete(NAME), &by_digest).await.is_ok(),
                9 => {
                    let permit =
                        world.tenancy.permit::<DeleteArtifact>(&world.caller, &project).await.unwrap();
                    world.catalog.artifacts.delete(&permit, &name, &by_digest).await.is_ok()
                }
                10 => {
                    let permit = world.tenancy.permit::<CreateTag>(&world.caller, &project).await.unwrap();
                    let tag = tag.parse().unwrap();
                    world.catalog.history.restore(&permit, &name, &tag, digest, true).await.is_ok()
                }
                _ if dice.roll(4) == 0 => {
                    let permit =
                        world.tenancy.permit::<DeleteRepository>(&world.caller, &project).await.unwrap();
                    world.catalog.repositories.delete(&permit, &name).await.is_ok()
                }
                _ => continue,
            };
            check(&world, &format!("step {number} of seed {seed}, {tag} {digest}, {done}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_attached_goes_and_comes_back_with_its_subject() {
    let all = manifests();
    let world = World::new().await;
    world.blob(NAME, CONFIG).await;
    let legacy = format!("sha256-{}.sig", all[0].2.hex());
    for (number, tags) in [(0, vec!["x"]), (4, vec![]), (5, vec![]), (7, vec![legacy.as_str()])] {
        let (payload, kind, digest) = &all[number];
        let target = PushTarget {
            digest: tags.is_empty().then(|| digest.clone()),
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        };
        world.catalog.manifests.put(&world.push(NAME), target, Some(kind), payload.clone()).await.unwrap();
    }
    let used = world.used().await;
    let project = ProjectRef::Name("p".parse().unwrap());
    let name = NAME.parse().unwrap();
    let living = "select count(*) from catalog.manifests where project_id = $1 and deleted_at is null";

    let permit = world.tenancy.permit::<DeleteArtifact>(&world.caller, &project).await.unwrap();
    world.catalog.artifacts.delete(&permit, &name, &Reference::Digest(all[0].2.clone())).await.unwrap();
    assert_eq!(world.number(living, world.project).await, 0);

    let permit = world.tenancy.permit::<CreateTag>(&world.caller, &project).await.unwrap();
    world.catalog.history.restore(&permit, &name, &"x".parse().unwrap(), &all[0].2, false).await.unwrap();
    assert_eq!(world.number(living, world.project).await, 4);
    assert_eq!(world.used().await, used);
    let found = world.catalog.manifests.get(&world.pull(NAME), &legacy.parse().unwrap()).await.unwrap();
    assert_eq!(found.digest, all[7].2, "the signature is found by its tag again");
    let shown = "select artifact_count + tag_count from catalog.repositories where project_id = $1";
    assert_eq!(world.number(shown, world.project).await, 2, "the image and its tag");
    check(&world, "restoring").await;
}
