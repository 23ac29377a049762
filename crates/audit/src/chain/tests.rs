//! The chain against a real PostgreSQL, with hands that are allowed to change everything.
#![expect(clippy::unwrap_used, reason = "tests")]

use database::testing::{TestDatabase, database};

use super::*;
use crate::{Actor, Entry, Object, Origin, Outcome, append, append_alone};

fn entry<'a>(origin: &'a Origin, name: &'a str) -> Entry<'a> {
    Entry {
        actor: Actor { kind: "user", id: Some(7), name: "ana" },
        action: "tag_delete",
        object: Object { kind: "tag", id: String::new(), name },
        project: Some(1),
        outcome: Outcome::Done,
        origin,
        changed: &[],
    }
}

/// A chain of five entries.
async fn chain() -> (TestDatabase, Linker, Trail) {
    let database = database().await;
    for name in ["one", "two", "three", "four", "five"] {
        append_alone(&database, &entry(&Origin::default(), name)).await.unwrap();
    }
    let linker = Linker::new((*database).clone());
    assert_eq!(linker.link().await.unwrap(), 5);
    let trail = Trail::new((*database).clone());
    (database, linker, trail)
}

/// Does what only somebody with the database in their hands can do.
async fn tamper(database: &TestDatabase, statements: &[&str]) {
    for table in ["entries", "links", "checkpoints"] {
        let statement = format!("alter table audit.{table} disable trigger user");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(database.owner()).await.unwrap();
    }
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe((*statement).to_owned())).execute(database.owner()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_committed_is_linked_once_whatever_the_order_of_commits() {
    let database = database().await;
    let linker = Linker::new((*database).clone());
    let trail = Trail::new((*database).clone());
    let origin = Origin::default();
    let empty = trail.verify(0, None).await.unwrap();
    assert_eq!((empty.until, empty.bad, empty.complete), (0, None, true));

    // The first id commits last, and one never does.
    let (mut slow, mut given_up) = (database.begin().await.unwrap(), database.begin().await.unwrap());
    append(&mut slow, &entry(&origin, "slow")).await.unwrap();
    append(&mut given_up, &entry(&origin, "given up")).await.unwrap();
    append_alone(&database, &entry(&origin, "quick")).await.unwrap();
    assert_eq!(trail.verify(0, None).await.unwrap().pending, 1);
    assert_eq!(linker.link().await.unwrap(), 1);
    slow.commit().await.unwrap();
    drop(given_up);
    let (one, other) = tokio::join!(linker.link(), linker.link());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    assert_eq!(linker.link().await.unwrap(), 0);
    let whole = trail.verify(0, None).await.unwrap();
    assert_eq!((whole.until, whole.bad, whole.pending, whole.complete), (2, None, 0, true));
    assert_eq!(trail.stray().await.unwrap(), None);
    // Going on from the middle comes to the same end.
    assert_eq!(trail.verify(1, None).await.unwrap().hash, whole.hash);
    assert_eq!(trail.verify(99, None).await.unwrap().until, 2);
}

/// AD-03.
#[tokio::test]
async fn every_change_behind_our_back_is_named() {
    for (statements, position, why) in [
        (&["update audit.entries set outcome = 'failed' where object_name = 'three'"][..], 3, "changed"),
        (
            // The body hash made to fit again: then the link does not.
            &["update audit.entries set body_hash = (select body_hash from audit.entries where object_name = 'one'),
                 object_name = 'one', at = (select at from audit.entries where object_name = 'one')
               where object_name = 'three'"],
            3,
            "does not fit",
        ),
        (&["delete from audit.entries where object_name = 'two'"], 2, "entry is missing"),
        (&["delete from audit.links where position = 4"], 4, "link is missing"),
        (
            &["update audit.links set entry_id = -entry_id where position in (2, 3)",
              "update audit.links l set entry_id = o.id from audit.entries o
               where l.position = 2 and o.object_name = 'three'",
              "update audit.links l set entry_id = o.id from audit.entries o
               where l.position = 3 and o.object_name = 'two'"],
            2,
            "does not fit",
        ),
        (
            &["delete from audit.links where position >= 4",
              "delete from audit.entries where object_name in ('four', 'five')"],
            4,
            "before its newest checkpoint",
        ),
    ] {
        let (database, _, trail) = chain().await;
        tamper(&database, statements).await;
        let found = trail.verify(0, None).await.unwrap();
        let bad = found.bad.unwrap_or_else(|| panic!("{statements:?} went unnoticed"));
        assert_eq!((bad.position, found.until), (position, position - 1), "{statements:?}");
        assert!(bad.why.contains(why), "{statements:?}: {}", bad.why);
    }
}

#[tokio::test]
async fn an_end_cut_off_with_its_checkpoints_is_found_by_a_mark_from_outside() {
    let (database, _, trail) = chain().await;
    let whole = trail.verify(0, None).await.unwrap();
    let mark = Mark { position: whole.until, hash: whole.hash };
    assert!(trail.has(&mark).await.unwrap());
    tamper(
        &database,
        &[
            "delete from audit.checkpoints",
            "delete from audit.links where position = 5",
            "delete from audit.entries where object_name = 'five'",
        ],
    )
    .await;
    assert_eq!(trail.verify(0, None).await.unwrap().bad, None);
    assert!(!trail.has(&mark).await.unwrap());
}

#[tokio::test]
async fn an_entry_that_nobody_appended_is_found() {
    let (database, _, trail) = chain().await;
    let forged = "insert into audit.entries (actor_kind, actor_name, action, object_kind, outcome, body_hash)
                  values ('system', 'x', 'x', 'x', 'done', '')";
    sqlx::query(forged).execute(database.pool()).await.unwrap();
    assert_eq!(trail.verify(0, None).await.unwrap().bad, None);
    assert!(trail.stray().await.unwrap().is_some());
}

#[tokio::test]
async fn after_a_purge_the_chain_begins_at_its_checkpoint() {
    let (database, linker, trail) = chain().await;
    tamper(
        &database,
        &[
            "insert into audit.checkpoints (position, hash, reason)
           select position, hash, 'purge' from audit.links where position = 3",
            "delete from audit.entries where id in (select entry_id from audit.links where position <= 3)",
            "delete from audit.links where position <= 3",
        ],
    )
    .await;
    append_alone(&database, &entry(&Origin::default(), "six")).await.unwrap();
    linker.link().await.unwrap();
    let found = trail.verify(0, None).await.unwrap();
    assert_eq!((found.until, found.bad), (6, None));
    tamper(&database, &["update audit.entries set client = 'x' where object_name = 'four'"]).await;
    assert_eq!(trail.verify(0, None).await.unwrap().bad.unwrap().position, 4);
}

#[tokio::test]
async fn a_verification_without_time_says_so() {
    let (_database, _, trail) = chain().await;
    let found = trail.verify(0, Some(Duration::ZERO)).await.unwrap();
    assert_eq!((found.until, found.complete), (0, false));
}

#[tokio::test]
async fn links_appear_by_themselves_and_at_the_end() {
    let database = database().await;
    let trail = Trail::new((*database).clone());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(Linker::new((*database).clone()).run(shutdown.clone()));
    append_alone(&database, &entry(&Origin::default(), "one")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        while trail.verify(0, None).await.unwrap().until < 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    append_alone(&database, &entry(&Origin::default(), "two")).await.unwrap();
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(trail.verify(0, None).await.unwrap().until, 2);
}
