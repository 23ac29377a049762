//! The trail against a real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use database::Database;
use database::testing::{TestDatabase, database};
use tokio_util::sync::CancellationToken;

use super::*;

fn origin() -> Origin {
    Origin {
        request_id: "r-1".to_owned(),
        address: "192.0.2.1".to_owned(),
        client: "docker/20.10".to_owned(),
        method: "password",
    }
}

fn entry<'a>(origin: &'a Origin, action: &'static str, project: Option<i64>) -> Entry<'a> {
    Entry {
        actor: Actor { kind: "user", id: Some(7), name: "ana" },
        action,
        object: Object { kind: "project", id: "3".to_owned(), name: "library" },
        project,
        outcome: Outcome::Done,
        origin,
        changed: &["public", "storage_limit"],
    }
}

async fn all(database: &TestDatabase) -> Vec<Record> {
    Trail::new((**database).clone()).list(&Filter::default(), None, 100).await.unwrap()
}

#[tokio::test]
async fn an_act_is_written_with_its_transaction_or_not_at_all() {
    let database = database().await;
    let origin = origin();

    let mut tx = database.begin().await.unwrap();
    append(&mut tx, &entry(&origin, "project_create", Some(3))).await.unwrap();
    drop(tx);
    assert_eq!(all(&database).await, []);

    let mut tx = database.begin().await.unwrap();
    append(&mut tx, &entry(&origin, "project_create", Some(3))).await.unwrap();
    tx.commit().await.unwrap();
    append_alone(&database, &Entry { outcome: Outcome::Denied, ..entry(&origin, "login", None) })
        .await
        .unwrap();

    let rows = all(&database).await;
    let shown: Vec<_> =
        rows.iter().map(|row| (row.action.as_str(), row.outcome.as_str(), row.project_id)).collect();
    assert_eq!(shown, [("login", "denied", None), ("project_create", "done", Some(3))]);
    assert_eq!(rows[1].changed, ["public", "storage_limit"]);
    assert_eq!(
        (rows[1].actor_id, rows[1].actor_name.as_str(), rows[1].auth_method.as_str()),
        (Some(7), "ana", "password")
    );
    assert!(rows.iter().all(Record::is_intact));
}

#[tokio::test]
async fn an_act_that_cannot_be_written_takes_the_transaction_with_it() {
    let database = database().await;
    let origin = origin();
    sqlx::query!("revoke insert on audit.entries from hythe_app").execute(database.owner()).await.unwrap();
    let mut tx = database.begin().await.unwrap();
    sqlx::query!("insert into queue.events (kind, payload) values ('change', '{}')")
        .execute(&mut *tx)
        .await
        .unwrap();
    assert!(append(&mut tx, &entry(&origin, "project_create", None)).await.is_err());
    // Even a caller that goes on and commits changes nothing.
    tx.commit().await.ok();
    let changes =
        sqlx::query_scalar!("select count(*) from queue.events").fetch_one(database.pool()).await.unwrap();
    assert_eq!(changes, Some(0));
}

#[tokio::test]
async fn nothing_that_is_written_can_be_changed_or_removed() {
    let database = database().await;
    append_alone(&database, &entry(&origin(), "login", None)).await.unwrap();

    // The runtime role lacks the right; the owner is stopped by the trigger.
    for owner in [false, true] {
        for statement in [
            "update audit.entries set outcome = 'failed'",
            "update audit.entries set outcome = 'failed' where false",
            "delete from audit.entries",
            "truncate audit.entries",
        ] {
            let statement = sqlx::query(statement);
            let done = if owner {
                statement.execute(database.owner()).await
            } else {
                statement.execute(database.pool()).await
            };
            assert!(done.is_err(), "owner: {owner}");
        }
    }
    let rows = all(&database).await;
    assert_eq!(rows.len(), 1);
    assert!(rows[0].is_intact());
}

#[tokio::test]
async fn a_row_changed_behind_our_back_is_not_intact() {
    let database = database().await;
    append_alone(&database, &entry(&origin(), "login", None)).await.unwrap();
    let row = all(&database).await.remove(0);
    assert!(row.is_intact());
    assert!(!Record { outcome: "failed".to_owned(), ..row.clone() }.is_intact());
    assert!(!Record { at: row.at + Duration::from_micros(1), ..row.clone() }.is_intact());
    assert!(!Record { changed: vec![], ..row }.is_intact());
}

#[tokio::test]
async fn hostile_text_is_stored_and_not_refused() {
    let database = database().await;
    let origin = Origin { client: "x".repeat(5000), ..origin() };
    let name = format!("a\0b{}", "ü".repeat(5000));
    append_alone(
        &database,
        &Entry { actor: Actor { kind: "anonymous", id: None, name: &name }, ..entry(&origin, "login", None) },
    )
    .await
    .unwrap();
    let row = all(&database).await.remove(0);
    assert!(row.actor_name.starts_with("a\u{fffd}bü"));
    assert_eq!((row.actor_name.chars().count(), row.client.len()), (1024, 255));
    assert!(row.is_intact());
}

#[tokio::test]
async fn the_trail_is_paged_and_filtered() {
    let database = database().await;
    let origin = origin();
    for number in 0..5 {
        append_alone(&database, &entry(&origin, "tag_delete", Some(number % 2))).await.unwrap();
        append_alone(&database, &entry(&origin, "tag_create", Some(number % 2))).await.unwrap();
    }
    let trail = Trail::new((*database).clone());
    let cases = [
        (Filter::default(), 10),
        (Filter { project: Some(1), action: None }, 4),
        (Filter { project: None, action: Some("tag_create".to_owned()) }, 5),
        (Filter { project: Some(0), action: Some("tag_delete".to_owned()) }, 3),
        (Filter { project: Some(9), action: None }, 0),
    ];
    for (filter, expected) in cases {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = trail.list(&filter, before, 2).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            seen.extend(page.into_iter().map(|row| row.id));
        }
        assert_eq!(seen.len(), expected, "{filter:?}");
        assert!(seen.is_sorted_by(|newer, older| newer > older), "{filter:?}");
    }
}

#[tokio::test]
async fn the_buffer_writes_in_order_with_the_time_of_the_act() {
    let database = database().await;
    let origin = origin();
    let buffer = Buffer::new((*database).clone());
    buffer.push(entry(&origin, "first", Some(1)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    buffer.push(Entry { changed: &[], ..entry(&origin, "second", None) });
    buffer.flush().await;
    let rows = all(&database).await;
    let shown: Vec<_> =
        rows.iter().map(|row| (row.action.as_str(), row.changed.len(), row.project_id)).collect();
    assert_eq!(shown, [("second", 0, None), ("first", 2, Some(1))]);
    assert_eq!(rows[1].changed, ["public", "storage_limit"]);
    assert!(rows[0].at - rows[1].at >= chrono::TimeDelta::milliseconds(250), "{:?}", rows[0].at - rows[1].at);
    assert!(rows.iter().all(Record::is_intact));
    // What is written is not written again.
    buffer.flush().await;
    assert_eq!(all(&database).await.len(), 2);
}

#[tokio::test]
async fn the_buffer_is_bounded_and_flushed_at_the_end() {
    let database = database().await;
    let origin = origin();
    let buffer = Buffer::new((*database).clone());
    for _ in 0..10_007 {
        buffer.push(entry(&origin, "pull", Some(1)));
    }
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    buffer.clone().run(shutdown).await;
    let count =
        sqlx::query_scalar!("select count(*) from audit.entries").fetch_one(database.pool()).await.unwrap();
    // The trail tells what it does not have.
    assert_eq!(count, Some(10_001));
    assert_eq!(lost(&database).await, ["7 acts"]);
}

/// What the trail says about what it does not have.
async fn lost(database: &Database) -> Vec<String> {
    sqlx::query_scalar(
        "select object_name from audit.entries where action = 'audit_acts_lost' and outcome = 'failed' order by id",
    )
    .fetch_all(database.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn what_was_lost_is_told_when_the_database_is_back() {
    let database = database().await;
    let origin = origin();
    let buffer = Buffer::new((*database).clone());
    for _ in 0..10_002 {
        buffer.push(entry(&origin, "pull", Some(1)));
    }
    let mut lock = database.owner().begin().await.unwrap();
    sqlx::query!("lock table audit.entries in exclusive mode").execute(&mut *lock).await.unwrap();
    buffer.flush().await;
    lock.rollback().await.unwrap();
    buffer.push(entry(&origin, "pull", Some(1)));
    buffer.flush().await;
    assert_eq!(lost(&database).await, ["3 acts"]);
}

#[tokio::test]
async fn what_nobody_wants_is_not_written() {
    let database = database().await;
    let origin = origin();
    let buffer = Buffer::new((*database).clone());
    let wanted = std::sync::Mutex::new(vec![Some(true), Some(false), None]);
    for (action, written) in [("unknown", 0), ("unwanted", 0), ("wanted", 1)] {
        buffer.push(entry(&origin, action, None));
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        // The end of a process drops what it could not write, so each turn begins with one act.
        let next = wanted.lock().unwrap().pop().unwrap();
        buffer.clone().run_while(shutdown, async || next).await;
        let rows = all(&database).await.into_iter().filter(|row| row.action == action).count();
        assert_eq!(rows, written, "{action}");
    }
}

#[tokio::test]
async fn the_buffer_is_flushed_every_second() {
    let database = database().await;
    let buffer = Buffer::new((*database).clone());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(buffer.clone().run(shutdown.clone()));
    buffer.push(entry(&origin(), "pull", None));
    tokio::time::timeout(Duration::from_secs(20), async {
        while all(&database).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_the_database_cannot_take_now_waits() {
    let database = database().await;
    let buffer = Buffer::new((*database).clone());
    // A lock that the statement waits for in vain: as good as an outage for the buffer.
    let mut lock = database.owner().begin().await.unwrap();
    sqlx::query!("lock table audit.entries in exclusive mode").execute(&mut *lock).await.unwrap();
    buffer.push(entry(&origin(), "pull", None));
    buffer.flush().await;
    lock.rollback().await.unwrap();
    assert_eq!(all(&database).await.len(), 0);
    buffer.flush().await;
    assert_eq!(all(&database).await.len(), 1);
}

#[tokio::test]
async fn one_act_that_is_refused_does_not_hold_up_the_others() {
    let database = database().await;
    let origin = origin();
    sqlx::query!("alter table audit.entries add constraint no_poison check (action <> 'poison')")
        .execute(database.owner())
        .await
        .unwrap();
    let buffer = Buffer::new((*database).clone());
    for action in ["one", "poison", "two"] {
        buffer.push(entry(&origin, action, None));
    }
    buffer.flush().await;
    let actions: Vec<_> = all(&database).await.into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["two", "one"]);
    // What was refused is told of.
    buffer.flush().await;
    assert_eq!(lost(&database).await, ["1 acts"]);
    buffer.flush().await;
    assert_eq!(all(&database).await.len(), 3);
}

#[tokio::test]
async fn acts_are_listed_within_the_extent_in_the_words_of_the_api() {
    let database = database().await;
    let origin = origin();
    for (action, project) in [
        ("artifact_push", Some(1)),
        ("project_member_remove", Some(2)),
        ("user_password_set", None),
        ("login", None),
    ] {
        let mut act = entry(&origin, action, project);
        if project.is_none() {
            act.object.kind = "user";
        }
        append_alone(&database, &act).await.unwrap();
    }
    append_alone(&database, &Entry { outcome: Outcome::Denied, ..entry(&origin, "tag_delete", Some(1)) })
        .await
        .unwrap();
    let trail = Trail::new((*database).clone());
    let operations = async |extent: Extent, selection, terms: &[(&str, &str)]| {
        let exact = |(key, value): &(&str, &str)| {
            ((*key).to_owned(), database::list::Value::Exact((*value).to_owned()))
        };
        let query = database::list::Query { terms: terms.iter().map(exact).collect(), ..Default::default() };
        let page = trail.page(&extent, selection, &query).await.unwrap();
        assert_eq!(page.total, page.rows.len() as i64);
        let older = trail.older(&extent, &query, None).await.unwrap();
        if selection == Selection::Everything {
            assert_eq!(older, page.rows);
        }
        page.rows.into_iter().map(|act| act.operation).collect::<Vec<_>>()
    };
    let all = ["delete", "login", "update", "delete", "create"];
    assert_eq!(operations(Extent::All, Selection::Everything, &[]).await, all);
    assert_eq!(operations(Extent::All, Selection::Content, &[]).await, ["delete", "create"]);
    let one = || Extent::Projects(vec![1]);
    assert_eq!(operations(one(), Selection::Everything, &[]).await, ["delete", "create"]);
    assert_eq!(operations(one(), Selection::Content, &[]).await, ["create"]);
    assert_eq!(operations(Extent::Projects(vec![]), Selection::Everything, &[]).await, [""; 0]);
    // A filter narrows the extent and never widens it.
    assert_eq!(operations(one(), Selection::Everything, &[("project_id", "2")]).await, [""; 0]);
    for (key, value, expected) in [
        ("operation", "login", &["login"][..]),
        ("operation_result", "false", &["delete"]),
        ("is_successful", "true", &["login", "update", "delete", "create"]),
        ("operation_description", "create project library", &["create"]),
        ("resource", "library", &all),
        ("username", "ben", &[]),
    ] {
        assert_eq!(operations(Extent::All, Selection::Everything, &[(key, value)]).await, expected, "{key}");
    }
}

#[tokio::test]
async fn equal_refusals_are_one_row_and_a_number() {
    let database = database().await;
    let refusals = Refusals::new((*database).clone());
    let here = origin();
    let there = Origin { address: "192.0.2.2".to_owned(), ..origin() };
    let refused =
        |origin, action, project| Entry { outcome: Outcome::Denied, ..entry(origin, action, project) };
    let shown = async || -> Vec<_> {
        let rows = all(&database).await;
        assert!(rows.iter().all(Record::is_intact));
        rows.into_iter().rev().map(|row| (row.action, row.project_id, row.address, row.repeated)).collect()
    };
    let row = |action: &str, project, origin: &Origin, repeated| {
        (action.to_owned(), project, origin.address.clone(), repeated)
    };
    for _ in 0..5 {
        refusals.record(&refused(&here, "repository_pull", Some(1))).await.unwrap();
    }
    refusals.record(&refused(&here, "repository_push", Some(1))).await.unwrap();
    refusals.record(&refused(&here, "repository_pull", None)).await.unwrap();
    refusals.record(&refused(&there, "repository_pull", Some(1))).await.unwrap();
    let mut expected = vec![
        row("repository_pull", Some(1), &here, 1),
        row("repository_push", Some(1), &here, 1),
        row("repository_pull", None, &here, 1),
        row("repository_pull", Some(1), &there, 1),
    ];
    assert_eq!(shown().await, expected);
    // A minute is not over yet.
    refusals.flush(Duration::from_secs(60)).await;
    assert_eq!(shown().await, expected);
    refusals.flush(Duration::ZERO).await;
    expected.push(row("repository_pull", Some(1), &here, 4));
    assert_eq!(shown().await, expected);
    // Now it begins anew. However many come at once, one of them is a row.
    let mut many = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let refusals = refusals.clone();
        many.spawn(async move {
            let origin = origin();
            let act = entry(&origin, "repository_pull", Some(1));
            refusals.record(&Entry { outcome: Outcome::Denied, ..act }).await.unwrap();
        });
    }
    many.join_all().await;
    expected.push(row("repository_pull", Some(1), &here, 1));
    assert_eq!(shown().await, expected);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    refusals.run(shutdown).await;
    expected.push(row("repository_pull", Some(1), &here, 49));
    assert_eq!(shown().await, expected);
    let linker = Linker::new((*database).clone());
    linker.link().await.unwrap();
    let verified = Trail::new((*database).clone()).verify(0, None).await.unwrap();
    assert_eq!((verified.until, verified.bad), (expected.len() as i64, None));
    // The number is part of what is linked.
    sqlx::query!("alter table audit.entries disable trigger user").execute(database.owner()).await.unwrap();
    sqlx::query!("update audit.entries set repeated = 1 where repeated = 49")
        .execute(database.owner())
        .await
        .unwrap();
    let verified = Trail::new((*database).clone()).verify(0, None).await.unwrap();
    assert_eq!(verified.bad.map(|bad| bad.position), Some(expected.len() as i64));
}

#[tokio::test]
async fn refusals_that_cannot_be_written_are_counted_and_stay() {
    let database = database().await;
    let refusals = Refusals::new((*database).clone());
    let origin = origin();
    let refused = Entry { outcome: Outcome::Denied, ..entry(&origin, "repository_pull", Some(1)) };
    sqlx::query!("revoke insert on audit.entries from hythe_app").execute(database.owner()).await.unwrap();
    assert!(refusals.record(&refused).await.is_err());
    refusals.record(&refused).await.unwrap();
    refusals.flush(Duration::ZERO).await;
    refusals.record(&refused).await.unwrap();
    assert_eq!(all(&database).await, []);
    sqlx::query!("grant insert on audit.entries to hythe_app").execute(database.owner()).await.unwrap();
    refusals.flush(Duration::ZERO).await;
    let rows = all(&database).await;
    assert_eq!(rows.iter().map(|row| row.repeated).collect::<Vec<_>>(), [3]);
}
