//! Passwords, throttling and remembered credentials as an attacker and as a busy build see them
//! (AU-02 to AU-07).
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    PASSWORD, administrator, connect, instance, login, origin, quiet, secret, user, within_five_seconds,
};
use crate::{Config, Error, Identity, Presented};

const HERE: &str = "192.0.2.1";
const ELSEWHERE: &str = "192.0.2.2";

async fn guess(identity: &Identity, name: &str, times: usize) {
    for number in 0..times {
        let answer = login(identity, name, &format!("Wrong-{number}"), HERE).await;
        assert!(matches!(answer, Err(Error::BadCredentials)), "guess {number}");
    }
}

async fn is_throttled(identity: &Identity, name: &str, password: &str, address: &str) -> bool {
    matches!(
        login(identity, name, password, address).await,
        Err(Error::Throttled { retry_after_seconds: 1.. })
    )
}

#[tokio::test]
async fn au_03_five_failures_block_every_spelling_on_every_instance_and_after_a_restart() {
    let database = database::testing::database().await;
    let one = instance(&database, Config::default()).await;
    let two = instance(&connect(&database).await, Config::default()).await;
    user(&one, "alice").await;
    // Remembered on both instances: a block must reach those too.
    assert!(login(&one, "alice", PASSWORD, HERE).await.is_ok());
    assert!(login(&two, "ALICE", PASSWORD, HERE).await.is_ok());

    guess(&one, "alice", 2).await;
    guess(&two, "ALICE", 2).await;
    guess(&one, "Alice@Example.com", 1).await;
    assert!(is_throttled(&one, "alice", "Wrong-again", HERE).await);
    assert!(is_throttled(&one, "alice", PASSWORD, HERE).await, "the right password, remembered");
    assert!(is_throttled(&one, "ALICE", PASSWORD, HERE).await);
    assert!(is_throttled(&one, "alice@example.com", PASSWORD, HERE).await);
    within_five_seconds("the block of a credential remembered under another spelling", || {
        is_throttled(&two, "alice", PASSWORD, HERE)
    })
    .await;
    within_five_seconds("the block of a remembered credential", || {
        is_throttled(&two, "ALICE", PASSWORD, HERE)
    })
    .await;

    let restarted = instance(&database, Config::default()).await;
    assert!(is_throttled(&restarted, "alice", PASSWORD, HERE).await);
    // AU-04: nobody is locked out from elsewhere.
    assert!(login(&one, "alice", PASSWORD, ELSEWHERE).await.is_ok());
    assert!(login(&two, "alice", PASSWORD, ELSEWHERE).await.is_ok());
}

#[tokio::test]
async fn a_success_resets_the_pair_and_blocks_grow() {
    let database = database::testing::database().await;
    let config = || Config { remember_seconds: 0, ..Config::default() };
    let mut identity = quiet(&database, config()).await;
    user(&identity, "alice").await;
    for _ in 0..3 {
        guess(&identity, "alice", 4).await;
        assert!(login(&identity, "alice", PASSWORD, HERE).await.is_ok());
    }
    let mut lengths = Vec::new();
    for _ in 0..6 {
        guess(&identity, "alice", 5).await;
        let Err(Error::Throttled { retry_after_seconds }) = login(&identity, "alice", PASSWORD, HERE).await
        else {
            panic!("not blocked");
        };
        lengths.push((retry_after_seconds + 5) / 60);
        sqlx::query!("update identity.throttle set blocked_until = now() where account <> ''")
            .execute(database.pool())
            .await
            .unwrap();
        // An instance remembers the blocks it made itself; another one reads them.
        identity = quiet(&database, config()).await;
    }
    assert_eq!(lengths, [5, 10, 20, 40, 60, 60]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn au_05_parallel_guesses_cannot_outrun_the_counter() {
    let database = database::testing::database().await;
    let one = quiet(&database, Config::default()).await;
    let two = quiet(&connect(&database).await, Config::default()).await;
    user(&one, "alice").await;
    for (name, equal) in [("alice", false), ("nobody", false), ("alice@example.com", true)] {
        sqlx::query!("delete from identity.throttle").execute(database.pool()).await.unwrap();
        let guesses = (0..200).map(|number| {
            let identity = if number % 2 == 0 { &one } else { &two };
            let password = if equal { "Wrong-1".to_owned() } else { format!("Wrong-{number}") };
            async move { login(identity, name, &password, HERE).await }
        });
        let answers = join_all(guesses).await;
        let accepted = answers.iter().filter(|answer| matches!(answer, Err(Error::BadCredentials))).count();
        let refused = answers
            .iter()
            .filter(|answer| matches!(answer, Err(Error::Throttled { .. } | Error::Busy)))
            .count();
        assert_eq!((accepted, accepted + refused), (5, 200), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_of_right_logins_is_no_attack() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    user(&identity, "alice").await;
    guess(&identity, "alice", 4).await;
    let answers = join_all((0..40).map(|_| login(&identity, "alice", PASSWORD, HERE))).await;
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test]
async fn an_address_that_tries_many_names_is_blocked_as_a_whole() {
    let database = database::testing::database().await;
    let config = Config { login_failures_per_address: 8, ..Config::default() };
    let identity = quiet(&database, config).await;
    user(&identity, "alice").await;
    assert!(login(&identity, "alice", PASSWORD, HERE).await.is_ok(), "remembered from here on");
    for number in 0..8 {
        let answer = login(&identity, &format!("name-{number}"), "Wrong-1", HERE).await;
        assert!(matches!(answer, Err(Error::BadCredentials)), "{number}");
    }
    assert!(is_throttled(&identity, "somebody-else", "Wrong-1", HERE).await);
    assert!(is_throttled(&identity, "alice", PASSWORD, HERE).await);
    assert!(login(&identity, "alice", PASSWORD, ELSEWHERE).await.is_ok());
}

#[tokio::test]
async fn the_server_itself_never_locks_its_administrator_out() {
    let database = database::testing::database().await;
    let identity = instance(&database, Config { login_failures_per_address: 6, ..Config::default() }).await;
    administrator(&identity).await;
    guess(&identity, "admin", 5).await;
    guess(&identity, "other", 1).await;
    assert!(is_throttled(&identity, "admin", "given", HERE).await);
    // The command line is another process.
    let command_line = quiet(&connect(&database).await, Config::default()).await;
    assert!(matches!(
        command_line.admin_reset_password("admin", secret("weak")).await,
        Err(Error::Invalid(_))
    ));
    assert!(matches!(
        command_line.admin_reset_password("nobody", secret(PASSWORD)).await,
        Err(Error::UserUnknown(_))
    ));
    command_line.admin_reset_password("ADMIN", secret(PASSWORD)).await.unwrap();
    within_five_seconds("the reset", || async { login(&identity, "admin", PASSWORD, HERE).await.is_ok() })
        .await;
    assert!(matches!(login(&identity, "admin", "given", ELSEWHERE).await, Err(Error::BadCredentials)));
}

#[tokio::test]
async fn a_remembered_credential_costs_no_sql_and_ends_with_the_password() {
    let database = database::testing::database().await;
    let other = instance(&connect(&database).await, Config::default()).await;
    let id = user(&other, "alice").await;
    let identity = quiet(&database, Config::default()).await;
    assert!(login(&identity, "alice", PASSWORD, HERE).await.is_ok());
    drop(other);
    tokio::time::sleep(Duration::from_millis(200)).await;

    identity.0.feed.reload_once().await.unwrap();
    let before = database.statements().await;
    for _ in 0..20 {
        let found = login(&identity, "alice", PASSWORD, HERE).await.unwrap();
        assert_eq!((found.id, found.name.as_str()), (id, "alice"));
    }
    assert_eq!(database.statements().await, before, "{:?}", database.statement_counts().await);
    // Only a right password is remembered.
    assert!(login(&identity, "alice", "Wrong-1", HERE).await.is_err());
    assert!(database.statements().await > before);

    let running = instance(&database, Config::default()).await;
    assert!(login(&running, "alice", PASSWORD, HERE).await.is_ok());
    let changer = quiet(&connect(&database).await, Config::default()).await;
    let admin = administrator(&changer).await;
    changer.password_set(&admin, id, None, secret("Another-1")).await.unwrap();
    assert!(matches!(login(&changer, "alice", PASSWORD, ELSEWHERE).await, Err(Error::BadCredentials)));
    within_five_seconds("the old password", || async {
        matches!(
            login(&running, "alice", PASSWORD, ELSEWHERE).await,
            Err(Error::BadCredentials | Error::Throttled { .. })
        )
    })
    .await;
    assert!(login(&running, "alice", "Another-1", HERE).await.is_ok());

    changer.user_disable(&admin, id, true).await.unwrap();
    within_five_seconds("the disabled account", || async {
        matches!(login(&running, "alice", "Another-1", HERE).await, Err(Error::Disabled))
    })
    .await;
    assert!(matches!(login(&running, "alice", "Wrong-1", HERE).await, Err(Error::BadCredentials)));
}

#[tokio::test]
async fn what_is_remembered_does_not_count_once_the_feed_is_old() {
    let database = database::testing::database().await;
    let own = connect(&database).await;
    let identity = quiet(&own, Config::default()).await;
    user(&identity, "alice").await;
    assert!(login(&identity, "alice", PASSWORD, HERE).await.is_ok());
    identity.0.feed.age_by(Duration::from_secs(6));
    let before = database.statements().await;
    assert!(login(&identity, "alice", PASSWORD, HERE).await.is_ok());
    assert!(database.statements().await > before, "the database was asked");
    own.close().await;
    let answer = login(&identity, "alice", PASSWORD, HERE).await;
    assert!(answer.is_err_and(|error| error.is_unavailable()));
}

#[tokio::test]
async fn au_02_nothing_tells_a_known_name_from_an_unknown_one() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config { login_failures: 100, ..Config::default() }).await;
    let admin = administrator(&identity).await;
    user(&identity, "alice").await;
    let bob = user(&identity, "bob").await;
    identity.user_disable(&admin, bob, true).await.unwrap();
    let carol = user(&identity, "carol").await;
    identity.user_delete(&admin, carol).await.unwrap();
    let overlong = "n".repeat(5000);
    // The first failure of a pair and an address makes rows; what is compared comes after.
    let mut costs = Vec::new();
    for name in ["alice", "bob", "carol", "robot$x", "", "nul\0", "unknown", overlong.as_str()] {
        for password in ["Wrong-1", ""] {
            let _ = login(&identity, name, password, HERE).await;
            let before = database.statements().await;
            let answer = login(&identity, name, password, HERE).await;
            assert!(matches!(answer, Err(Error::BadCredentials)), "{name:.20}");
            costs.push(database.statements().await - before);
        }
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");

    for presented in [Presented::Malformed, Presented::Bearer("hyr_x".to_owned())] {
        let answer = identity.authenticate(&presented, &origin(HERE)).await;
        assert!(matches!(answer, Err(Error::BadCredentials)));
    }
    assert!(identity.authenticate(&Presented::Nothing, &origin(HERE)).await.unwrap().is_anonymous());
}

#[tokio::test]
async fn au_06_au_07_passwords_are_taken_as_typed_and_stored_as_argon2id() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config { remember_seconds: 0, ..Config::default() }).await;
    let admin = administrator(&identity).await;
    let id = user(&identity, "alice").await;
    let long = format!("Aa1{}", "x".repeat(69));
    for password in [format!("{long}-one"), "Grün Grün 3 ".to_owned(), format!("Aa1{}", "y".repeat(125))] {
        identity.password_set(&admin, id, None, secret(&password)).await.unwrap();
        assert!(login(&identity, "alice", &password, HERE).await.is_ok(), "{password}");
        for wrong in [format!("{password} "), password.trim().to_owned() + "x", format!("{long}-two")] {
            assert!(login(&identity, "alice", &wrong, HERE).await.is_err(), "{wrong}");
        }
    }
    let overlong = format!("Aa1{}", "x".repeat(1100));
    assert!(matches!(
        identity.password_set(&admin, id, None, secret(&overlong)).await,
        Err(Error::Invalid(_))
    ));
    let hashes =
        sqlx::query_scalar!("select password_hash from identity.users").fetch_all(database.pool()).await;
    for hash in hashes.unwrap() {
        assert!(hash.unwrap().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }
}

#[tokio::test]
async fn failures_leave_a_trace_without_what_was_typed() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let id = user(&identity, "alice").await;
    guess(&identity, "alice", 1).await;
    guess(&identity, "My-Passw0rd-in-the-wrong-field", 1).await;
    let rows = sqlx::query!(
        "select object_id, object_name, outcome, address, auth_method from audit.entries where action = 'login' order by id"
    )
    .fetch_all(database.pool())
    .await
    .unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            (row.object_id.as_str(), row.object_name.as_str(), row.outcome.as_str(), row.address.as_str())
        })
        .collect();
    let id = id.to_string();
    assert_eq!(found, [(id.as_str(), "alice", "failed", HERE), ("", "", "failed", HERE)]);
}
