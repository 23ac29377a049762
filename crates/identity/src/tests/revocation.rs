//! Rights that end, on every instance within five seconds; keys that change under traffic (1.3, JW-16).
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use oci::Action;

use super::{PASSWORD, administrator, connect, instance, login, quiet, secret, user, within_five_seconds};
use crate::epochs::{self, Subject};
use crate::tokens::{Access, Error};
use crate::{Config, Identity, Principal};

const PROJECT: i64 = 4711;

async fn token_for(identity: &Identity, id: i64) -> String {
    let principal = Principal::User(identity.active_user(id).await.unwrap().unwrap());
    let name = "library/app".parse().unwrap();
    let access = [Access::repository(&name, &[Action::Pull], Some((PROJECT, 0)))];
    identity.sign(&principal, &access).await.unwrap().token
}

async fn is_revoked(identity: &Identity, token: &str) -> bool {
    matches!(identity.verify(token).await, Err(Error::Revoked))
}

/// AZ-19.
#[tokio::test]
async fn rights_end_on_every_instance() {
    let database = database::testing::database().await;
    let one = instance(&connect(&database).await, Config::default()).await;
    let two = instance(&connect(&database).await, Config::default()).await;
    let admin = administrator(&one).await;
    let id = user(&one, "alice").await;
    for step in ["password", "sysadmin", "disable", "project", "group", "delete"] {
        if step == "project" {
            one.user_disable(&admin, id, false).await.unwrap();
        }
        if step == "group" {
            sqlx::query!(
                "with made as (insert into identity.groups (kind, name) values (3, 'dev') returning id)
                 insert into identity.group_members (group_id, user_id) select id, $1 from made",
                id.0
            )
            .execute(database.owner())
            .await
            .unwrap();
        }
        let token = token_for(&one, id.0).await;
        within_five_seconds("the fresh token", || async { two.verify(&token).await.is_ok() }).await;
        match step {
            "password" => one.password_set(&admin, id, None, secret("Another-1")).await.unwrap(),
            "sysadmin" => one.sysadmin_set(&admin, id, true).await.unwrap(),
            "disable" => one.user_disable(&admin, id, true).await.unwrap(),
            "delete" => one.user_delete(&admin, id).await.unwrap(),
            // As a source of groups does, in whatever way.
            "group" => {
                sqlx::query!("delete from identity.group_members where user_id = $1", id.0)
                    .execute(database.pool())
                    .await
                    .unwrap();
            }
            _ => {
                let mut tx = database.begin().await.unwrap();
                epochs::raise(&mut tx, Subject::Project(PROJECT)).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
        if !["project", "group"].contains(&step) {
            assert!(is_revoked(&one, &token).await, "{step}: at once where it was done");
        }
        within_five_seconds(step, || async {
            is_revoked(&one, &token).await && is_revoked(&two, &token).await
        })
        .await;
        if step == "project" {
            // The project's epoch is 1 now; the tokens above say 0.
            sqlx::query!("delete from identity.epochs where kind = 2")
                .execute(database.owner())
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_rolled_back_change_revokes_nothing_and_epochs_grow_one_by_one() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let id = user(&identity, "alice").await;
    let token = token_for(&identity, id.0).await;
    let mut tx = database.begin().await.unwrap();
    epochs::raise(&mut tx, Subject::User(id.0)).await.unwrap();
    drop(tx);
    identity.0.feed.reload_once().await.unwrap();
    assert!(identity.verify(&token).await.is_ok());
    for expected in 1..=3 {
        let mut tx = database.begin().await.unwrap();
        assert_eq!(epochs::raise_to(&mut tx, Subject::User(id.0)).await.unwrap(), expected);
        tx.commit().await.unwrap();
    }
    let now = epochs::current(database.pool(), &[Subject::User(id.0), Subject::Project(1)]).await.unwrap();
    assert_eq!(now.into_iter().collect::<Vec<_>>(), [(Subject::User(id.0), 3)]);
}

/// JW-05: no key id leads to a file or to the database.
#[tokio::test]
async fn verifying_asks_nobody_while_the_feed_is_fresh_and_the_database_when_it_is_not() {
    let database = database::testing::database().await;
    let own = connect(&database).await;
    let identity = quiet(&own, Config::default()).await;
    let id = user(&identity, "alice").await;
    let token = token_for(&identity, id.0).await;
    identity.0.feed.reload_once().await.unwrap();
    let before = database.statements().await;
    for _ in 0..20 {
        assert!(identity.verify(&token).await.is_ok());
    }
    assert_eq!(database.statements().await, before);

    identity.0.feed.age_by(Duration::from_secs(6));
    assert!(identity.verify(&token).await.is_ok());
    assert!(database.statements().await > before, "the database was asked");
    let mut tx = database.begin().await.unwrap();
    epochs::raise(&mut tx, Subject::User(id.0)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(is_revoked(&identity, &token).await);

    let nobody = identity.sign(&Principal::Anonymous, &[]).await.unwrap().token;
    assert!(identity.verify(&nobody).await.is_ok());
    own.close().await;
    assert!(matches!(identity.verify(&nobody).await, Err(Error::Stale)));
    assert!(matches!(identity.verify("nonsense").await, Err(Error::Invalid)));
}

#[tokio::test]
async fn an_expired_token_is_checked_against_revocations_that_the_feed_has_long_forgotten() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let id = user(&identity, "alice").await;
    let token = token_for(&identity, id.0).await;
    identity.0.clock.shift(TimeDelta::hours(2));
    let Err(Error::Expired(contents)) = identity.verify(&token).await else { panic!("not expired") };
    assert_eq!(contents.id, id.0);
    let mut tx = database.begin().await.unwrap();
    epochs::raise(&mut tx, Subject::Project(PROJECT)).await.unwrap();
    tx.commit().await.unwrap();
    sqlx::query!("update identity.epochs set raised_at = now() - interval '2 hours'")
        .execute(database.pool())
        .await
        .unwrap();
    identity.0.feed.reload_once().await.unwrap();
    assert!(is_revoked(&identity, &token).await);
}

#[tokio::test]
async fn a_feed_survives_the_loss_of_its_connection() {
    let database = database::testing::database().await;
    let identity = instance(&connect(&database).await, Config::default()).await;
    let id = user(&identity, "alice").await;
    let token = token_for(&identity, id.0).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    sqlx::query!(
        r#"select count(pg_terminate_backend(pid)) as "count!" from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid()"#
    )
    .fetch_one(database.owner())
    .await
    .unwrap();
    let mut tx = database.begin().await.unwrap();
    epochs::raise(&mut tx, Subject::User(id.0)).await.unwrap();
    tx.commit().await.unwrap();
    within_five_seconds("after the loss", || is_revoked(&identity, &token)).await;
    assert!(identity.age() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jw_16_keys_rotate_under_traffic_without_a_failure() {
    let database = database::testing::database().await;
    let config = Config { signing_key_delay_seconds: 2, ..Config::default() };
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(instance(&connect(&database).await, config.clone()).await);
    }
    let old = instances[0].sign(&Principal::Anonymous, &[]).await.unwrap().token;
    let old_kid = crate::tokens::kid_of(&old).unwrap();
    let new_kid = instances[1].keys_rotate().await.unwrap();
    let start = Instant::now();
    let (mut rounds, mut removed_at, mut seen_new) = (0, None, [false; 3]);
    while removed_at.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(1)) {
        assert!(start.elapsed() < Duration::from_secs(20), "the new key never took over");
        for (place, signer) in instances.iter().enumerate() {
            let token = signer.sign(&Principal::Anonymous, &[]).await.unwrap().token;
            seen_new[place] |= crate::tokens::kid_of(&token).as_ref() == Some(&new_kid);
            for verifier in &instances {
                assert!(verifier.verify(&token).await.is_ok(), "round {rounds}, signed by {place}");
            }
        }
        rounds += 1;
        if removed_at.is_none() {
            assert!(instances[2].verify(&old).await.is_ok(), "the old key verifies until it is removed");
        }
        if seen_new == [true; 3] && removed_at.is_none() {
            instances[2].key_remove(&old_kid).await.unwrap();
            removed_at = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(start.elapsed() > Duration::from_secs(2), "the new key waited");
    within_five_seconds("tokens of the removed key", || async {
        let mut gone = 0;
        for verifier in &instances {
            gone += usize::from(matches!(verifier.verify(&old).await, Err(Error::Invalid)));
        }
        gone == 3
    })
    .await;
    assert!(matches!(instances[0].key_remove(&old_kid).await, Err(crate::Error::KeyUnknown(_))));
}

#[tokio::test]
async fn keys_are_replaced_in_time_and_there_is_always_one_that_signs() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    assert!(!identity.rotate_when_due().await.unwrap(), "a fresh key");
    let first = identity.keys_list().await.unwrap().remove(0);
    assert_eq!((first.signs_until, first.verifies_until), (None, None));

    sqlx::query!("update identity.signing_keys set created_at = now() - interval '91 days'")
        .execute(database.pool())
        .await
        .unwrap();
    assert!(identity.rotate_when_due().await.unwrap());
    assert!(!identity.rotate_when_due().await.unwrap(), "once is enough");
    let keys = identity.keys_list().await.unwrap();
    assert_eq!(keys.len(), 2);
    let (new, old) = (&keys[0], &keys[1]);
    assert_eq!((new.signs_from - first.signs_from).num_days(), 0);
    assert_eq!(old.signs_until, Some(new.signs_from));
    // The last token of the old key lives 30 minutes and a minute of leeway.
    assert!((old.verifies_until.unwrap() - new.signs_from).num_seconds() >= 1860);

    // Removing the one that signs lets the next one sign at once.
    identity.key_remove(&old.kid).await.unwrap();
    let token = identity.sign(&Principal::Anonymous, &[]).await.unwrap().token;
    assert_eq!(crate::tokens::kid_of(&token), Some(new.kid.clone()));
    // Removing the only one makes another.
    identity.key_remove(&new.kid).await.unwrap();
    assert!(matches!(identity.verify(&token).await, Err(Error::Invalid)));
    let token = identity.sign(&Principal::Anonymous, &[]).await.unwrap().token;
    assert!(identity.verify(&token).await.is_ok());

    sqlx::query!(
        "update identity.signing_keys set verifies_until = now() - interval '1 second', signs_until = now()"
    )
    .execute(database.pool())
    .await
    .unwrap();
    assert_eq!(identity.purge().await.unwrap().signing_keys, 1);
}

/// SE-05.
#[tokio::test]
async fn a_damaged_key_disables_itself_and_nothing_else() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let token = identity.sign(&Principal::Anonymous, &[]).await.unwrap().token;
    sqlx::query!("update identity.signing_keys set private_sealed = '\\x01'::bytea")
        .execute(database.pool())
        .await
        .unwrap();
    let restarted = quiet(&database, Config::default()).await;
    assert!(restarted.verify(&token).await.is_ok(), "what it signed before still counts");
    let fresh = restarted.sign(&Principal::Anonymous, &[]).await.unwrap().token;
    assert!(restarted.verify(&fresh).await.is_ok());
    assert_ne!(crate::tokens::kid_of(&fresh), crate::tokens::kid_of(&token));
}

#[tokio::test]
async fn processes_that_start_together_make_one_key_and_one_administrator() {
    let database = database::testing::database().await;
    let (one, two, three) = tokio::join!(
        quiet(&database, Config::default()),
        quiet(&database, Config::default()),
        quiet(&database, Config::default())
    );
    assert_eq!(one.keys_list().await.unwrap().len(), 1);
    let given = || Ok::<_, crate::Error>(secret("given"));
    let (a, b, c) = tokio::join!(
        one.ensure_first_admin(given),
        two.ensure_first_admin(given),
        three.ensure_first_admin(given)
    );
    assert_eq!([a, b, c].into_iter().filter(|made| *made.as_ref().unwrap()).count(), 1);
    assert_eq!(login(&one, "admin", "given", "::1").await.unwrap().id.0, 1);
    assert!(login(&two, "admin", PASSWORD, "::1").await.is_err());
}
