//! Accounts, who may change them, and refresh tokens.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{PASSWORD, administrator, login, new_user, origin, quiet, secret, user};
use crate::{Caller, Config, Error, Identity, NewUser, Preferences, Principal, Profile, UserId};

const HERE: &str = "192.0.2.1";

async fn caller(identity: &Identity, id: UserId) -> Caller {
    Caller::new(Principal::User(identity.active_user(id.0).await.unwrap().unwrap()), origin(HERE))
}

fn nobody() -> Caller {
    Caller::new(Principal::Anonymous, origin(HERE))
}

#[tokio::test]
async fn only_administrators_change_others() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let admin = administrator(&identity).await;
    let alice = user(&identity, "alice").await;
    let bob = user(&identity, "bob").await;
    let profile =
        |email: &str| Profile { email: email.to_owned(), realname: "B".to_owned(), comment: String::new() };
    let as_alice = caller(&identity, alice).await;
    for (who, expected) in
        [(&nobody(), "sign in first"), (&as_alice, "only a system administrator may do this")]
    {
        let answers = [
            identity.user_create(who, new_user("carol")).await.map(|_| ()),
            identity.user_update(who, bob, profile("b@example.com")).await,
            identity.user_disable(who, bob, true).await,
            identity.user_delete(who, bob).await,
            identity.sysadmin_set(who, bob, true).await,
            identity.password_set(who, bob, Some(secret(PASSWORD)), secret("Another-1")).await,
            identity.users_list(who, &database::list::Query::default()).await.map(|_| ()),
            // An id that nobody has is answered alike.
            identity.user_delete(who, UserId(999)).await,
        ];
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap_err().to_string(), expected, "operation {number}");
        }
    }
    identity.user_update(&as_alice, alice, profile("new@example.com")).await.unwrap();
    identity.user_update(&admin, bob, profile("b2@example.com")).await.unwrap();
    assert!(
        matches!(identity.user_delete(&admin, UserId(999)).await, Err(Error::UserUnknown(id)) if id == "999")
    );
    let listed = identity.users_list(&admin, &database::list::Query::default()).await.unwrap();
    let names: Vec<_> = listed.rows.iter().map(|account| account.name.as_str()).collect();
    assert_eq!((names, listed.total), (vec!["alice", "bob"], 2));
}

#[tokio::test]
async fn names_and_addresses_are_unique_whatever_their_case_and_free_again_after_deletion() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let admin = administrator(&identity).await;
    let alice = user(&identity, "alice").await;
    let with =
        |name: &str, email: &str| NewUser { name: name.to_owned(), email: email.to_owned(), ..new_user("x") };
    let cases = [
        (with("ALICE", "other@example.com"), "the user name is already taken"),
        (with("other", "Alice@Example.COM"), "the e-mail address is already taken"),
        (with("alice@example.com", "other@example.com"), "the user name is already taken"),
    ];
    for (new, expected) in cases {
        assert_eq!(identity.user_create(&admin, new).await.unwrap_err().to_string(), expected);
    }
    let weak = NewUser { password: secret("password"), ..new_user("carol") };
    assert!(matches!(identity.user_create(&admin, weak).await, Err(Error::Invalid(_))));
    assert_eq!(identity.user_by_name("aLiCe").await.unwrap().unwrap().id, alice);
    assert!(identity.user_by_name("nul\0").await.unwrap().is_none());

    identity.user_delete(&admin, alice).await.unwrap();
    assert!(identity.user_by_id(alice).await.unwrap().is_none());
    assert!(identity.active_user(alice.0).await.unwrap().is_none());
    assert!(login(&identity, "alice", PASSWORD, HERE).await.is_err());
    assert_eq!(identity.user_names(&[alice]).await.unwrap()[&alice], "alice", "for the history");
    let again = user(&identity, "Alice").await;
    assert_ne!(again, alice);
    let ids = [again, alice, UserId(999)];
    let found: Vec<_> =
        identity.users_by_ids(&ids).await.unwrap().into_iter().map(|account| account.id).collect();
    assert_eq!(found, [again]);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let admin = administrator(&identity).await;
    let first = UserId(1);
    let alice = user(&identity, "alice").await;
    identity.sysadmin_set(&admin, alice, true).await.unwrap();
    let as_alice = caller(&identity, alice).await;
    assert!(as_alice.is_sysadmin());
    assert!(matches!(identity.user_delete(&as_alice, alice).await, Err(Error::OwnAccount)));
    assert!(matches!(identity.user_delete(&as_alice, first).await, Err(Error::FirstAdministrator)));
    identity.user_disable(&as_alice, first, true).await.unwrap();
    for answer in [
        identity.sysadmin_set(&as_alice, alice, false).await,
        identity.user_disable(&as_alice, alice, true).await,
        identity.user_delete(&admin, alice).await,
    ] {
        assert!(matches!(answer, Err(Error::LastAdministrator)));
    }
    // Two at once that would each leave one leave one.
    identity.user_disable(&as_alice, first, false).await.unwrap();
    let (one, two) = tokio::join!(
        identity.sysadmin_set(&admin, alice, false),
        identity.sysadmin_set(&as_alice, first, false)
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
}

#[tokio::test]
async fn passwords_change_by_proof_or_by_an_administrator() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let admin = administrator(&identity).await;
    let alice = user(&identity, "alice").await;
    let as_alice = caller(&identity, alice).await;
    let set =
        |old: Option<&str>, new: &str| identity.password_set(&as_alice, alice, old.map(secret), secret(new));
    assert!(matches!(set(None, "Another-1").await, Err(Error::Invalid(_))));
    assert!(matches!(set(Some("Wrong-1"), "Another-1").await, Err(Error::OldPasswordWrong)));
    assert!(matches!(set(Some(PASSWORD), "weak").await, Err(Error::Invalid(_))));
    assert!(matches!(set(Some(PASSWORD), PASSWORD).await, Err(Error::Invalid(_))));
    set(Some(PASSWORD), "Another-1").await.unwrap();
    assert!(login(&identity, "alice", "Another-1", HERE).await.is_ok());
    assert!(login(&identity, "alice", PASSWORD, HERE).await.is_err());
    let same = identity.password_set(&admin, alice, None, secret("Another-1")).await;
    assert!(matches!(same, Err(Error::Invalid(_))));
    identity.password_set(&admin, alice, None, secret("Another-2")).await.unwrap();
    // An administrator proves their own password like everybody.
    let own = identity.password_set(&admin, UserId(1), None, secret("Another-3")).await;
    assert!(matches!(own, Err(Error::Invalid(_))));
    // Guessing the current password is guessing a password: one wrong login above, four here.
    for _ in 0..4 {
        let answer = set(Some("Wrong-1"), "Another-9").await;
        assert!(matches!(answer, Err(Error::OldPasswordWrong)));
    }
    assert!(matches!(set(Some("Another-2"), "Another-9").await, Err(Error::Throttled { .. })));
}

#[tokio::test]
async fn the_first_administrator_gets_the_password_that_was_given() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let empty = identity.ensure_first_admin(|| Ok::<_, Error>(secret(""))).await;
    assert!(matches!(empty, Err(Error::Invalid(_))));
    let failing = identity.ensure_first_admin(|| Err("the file cannot be written")).await;
    assert!(matches!(failing, Err(Error::Infrastructure(_))));
    assert!(identity.ensure_first_admin(|| Ok::<_, Error>(secret("x"))).await.unwrap());
    let never = || -> Result<_, Error> { panic!("asked for a password that nobody needs") };
    assert!(!identity.ensure_first_admin(never).await.unwrap());
    let user = login(&identity, "admin", "x", HERE).await.unwrap();
    assert!(user.sysadmin);
    assert_eq!(user.id, UserId(1));
}

#[tokio::test]
async fn every_change_is_in_the_trail() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let admin = administrator(&identity).await;
    let alice = user(&identity, "alice").await;
    let profile =
        Profile { email: "n@example.com".to_owned(), realname: "N".to_owned(), comment: String::new() };
    identity.user_update(&admin, alice, profile).await.unwrap();
    identity.sysadmin_set(&admin, alice, true).await.unwrap();
    identity.password_set(&admin, alice, None, secret("Another-1")).await.unwrap();
    identity.user_disable(&admin, alice, true).await.unwrap();
    identity.user_disable(&admin, alice, false).await.unwrap();
    identity.user_delete(&admin, alice).await.unwrap();
    let kid = identity.keys_rotate().await.unwrap();
    identity.key_remove(&kid).await.unwrap();
    identity.record_issue(&admin, &[crate::tokens::Access::nothing("repository", "a/b")]);
    identity.0.issues.flush().await;
    let actions =
        sqlx::query_scalar!("select action from audit.entries order by id").fetch_all(database.pool()).await;
    assert_eq!(
        actions.unwrap(),
        [
            "user_create",
            "user_create",
            "user_update",
            "user_sysadmin_set",
            "user_password_set",
            "user_disable",
            "user_enable",
            "user_delete",
            "signing_key_create",
            "signing_key_delete",
            "token_issue",
        ]
    );
}

#[tokio::test]
async fn refresh_tokens_live_and_die_with_their_password() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let admin = administrator(&identity).await;
    let alice = user(&identity, "alice").await;
    let exchange = |token: String| {
        let identity = identity.clone();
        async move { identity.exchange_refresh(&token, &origin(HERE)).await }
    };
    let principal = login(&identity, "alice", PASSWORD, HERE).await.unwrap();
    let token = identity.issue_refresh(&principal, "docker").await.unwrap();
    assert!(token.starts_with("hyr_") && token.len() == 47);
    assert_eq!(exchange(token.clone()).await.unwrap().id, alice);
    let stored = sqlx::query!("select token_hash, last_used_at from identity.refresh_tokens")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(stored.token_hash.len(), 32);
    assert!(stored.last_used_at.is_some());

    let bearer = identity.sign(&Principal::User(principal.clone()), &[]).await.unwrap().token;
    let mut altered = token.clone();
    altered.pop();
    for wrong in [
        bearer,
        altered,
        format!("{token}A"),
        String::new(),
        "hyr_".to_owned(),
        format!("hyr_{}", "A".repeat(43)),
    ] {
        assert!(matches!(exchange(wrong).await, Err(Error::BadCredentials)));
    }
    for _ in 0..4 {
        assert!(matches!(exchange("hyr_".to_owned()).await, Err(Error::BadCredentials)));
    }
    assert!(
        matches!(exchange("hyr_".to_owned()).await, Err(Error::Throttled { .. })),
        "failures are counted"
    );
    assert_eq!(exchange(token.clone()).await.unwrap().id, alice, "a right token is not refused for it");
    sqlx::query!("delete from identity.throttle").execute(database.pool()).await.unwrap();
    assert!(matches!(identity.verify(&token).await, Err(crate::tokens::Error::Invalid)), "no bearer token");

    identity.password_set(&admin, alice, None, secret("Another-1")).await.unwrap();
    assert!(matches!(exchange(token).await, Err(Error::BadCredentials)));
    assert!(identity.issue_refresh(&principal, "docker").await.is_err(), "proved with the old password");

    let principal = login(&identity, "alice", "Another-1", HERE).await.unwrap();
    let token = identity.issue_refresh(&principal, "docker").await.unwrap();
    identity.user_disable(&admin, alice, true).await.unwrap();
    assert!(exchange(token.clone()).await.is_err());
    identity.user_disable(&admin, alice, false).await.unwrap();
    assert!(exchange(token).await.is_err(), "a disabled account lost its tokens for good");

    let principal = identity.active_user(alice.0).await.unwrap().unwrap();
    let token = identity.issue_refresh(&principal, "docker").await.unwrap();
    sqlx::query!("update identity.refresh_tokens set expires_at = now() - interval '1 second'")
        .execute(database.pool())
        .await
        .unwrap();
    assert!(exchange(token.clone()).await.is_err());
    assert_eq!(identity.purge().await.unwrap().refresh_tokens, 1);
    let off = quiet(&database, Config { refresh_token_days: 0, ..Config::default() }).await;
    assert!(!off.refresh_tokens_enabled() && off.issue_refresh(&principal, "").await.is_err());
}

#[tokio::test]
async fn preferences_come_with_every_session() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    administrator(&identity).await;
    let alice = user(&identity, "alice").await;
    let session = identity.sign_in("alice", &secret(PASSWORD), 60, &origin(HERE)).await.unwrap();
    let cookie = session.secret.expose_str().unwrap();
    let held = identity.session(cookie).await.unwrap().unwrap();
    assert_eq!(held.preferences, Preferences::default());
    for theme in ["dark", "light"] {
        let chosen = Preferences {
            theme: theme.to_owned(),
            page_size: 50,
            shortcuts: false,
            ..held.preferences.clone()
        };
        identity.preferences_set(&held.user, &chosen).await.unwrap();
        assert_eq!(identity.session(cookie).await.unwrap().unwrap().preferences, chosen);
    }
    for bad in [
        Preferences { language: "l".repeat(17), ..Preferences::default() },
        Preferences { client: "a\0".to_owned(), ..Preferences::default() },
        Preferences { page_size: 101, ..Preferences::default() },
    ] {
        assert!(matches!(identity.preferences_set(&held.user, &bad).await, Err(Error::Invalid(_))));
    }
    assert_eq!(identity.sessions_of(alice).await.unwrap().len(), 1);
}

#[tokio::test]
async fn administrators_end_the_sessions_of_others() {
    let database = database::testing::database().await;
    let identity = quiet(&database, Config::default()).await;
    let admin = administrator(&identity).await;
    let (alice, bob) = (user(&identity, "alice").await, user(&identity, "bob").await);
    for name in ["alice", "alice", "bob"] {
        identity.sign_in(name, &secret(PASSWORD), 60, &origin(HERE)).await.unwrap();
    }
    let as_bob = caller(&identity, bob).await;
    assert!(matches!(identity.user_sessions_end(&as_bob, alice).await, Err(Error::Forbidden)));
    assert!(matches!(identity.user_sessions_end(&nobody(), alice).await, Err(Error::Unauthenticated)));
    assert!(matches!(identity.user_sessions_end(&admin, UserId(999)).await, Err(Error::UserUnknown(_))));
    assert_eq!(identity.user_sessions_end(&admin, alice).await.unwrap(), 2);
    assert_eq!(identity.user_sessions_end(&admin, alice).await.unwrap(), 0);
    assert_eq!(identity.sessions_of(bob).await.unwrap().len(), 1);
}
