//! Tests of the whole crate on a real database: what a process, two processes and three see.

mod login;
mod people;
mod revocation;
mod tokens;

use std::time::{Duration, Instant};

use database::testing::TestDatabase;
use database::{Clock, Database};
use sealed::Keyring;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Caller, Config, Error, Identity, NewUser, Origin, Presented, Principal, Secret, User, UserId};

pub(crate) const PASSWORD: &str = "Passw0rd-1";

/// One process: a handle whose background task runs until this is dropped.
pub(crate) struct Instance {
    pub(crate) identity: Identity,
    _stop: DropGuard,
}

impl std::ops::Deref for Instance {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

/// A handle without a background task: fresh for five seconds after it was made.
pub(crate) async fn quiet(database: &Database, config: Config) -> Identity {
    let keyring = Keyring::load(Secret::new(vec![7; 32]), database).await.expect("the test's master key");
    Identity::new(database.clone(), keyring, config, Clock::system()).await.expect("a handle")
}

pub(crate) async fn instance(database: &Database, config: Config) -> Instance {
    let identity = quiet(database, config).await;
    let shutdown = CancellationToken::new();
    let running = identity.clone();
    let stop = shutdown.clone().drop_guard();
    tokio::spawn(async move { running.run(shutdown).await });
    Instance { identity, _stop: stop }
}

/// A connection of its own, as another process would have.
pub(crate) async fn connect(database: &TestDatabase) -> Database {
    Database::connect(database.url(), &database::Config::default(), Clock::system()).await.expect("connected")
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

pub(crate) fn origin(address: &str) -> Origin {
    Origin { address: address.to_owned(), method: "password", ..Origin::default() }
}

/// The first administrator, made where there is none.
pub(crate) async fn administrator(identity: &Identity) -> Caller {
    identity.ensure_first_admin(|| Ok::<_, Error>(secret("given"))).await.expect("an administrator");
    let account = identity.user_by_name("admin").await.expect("found").expect("there");
    let user = identity.active_user(account.id.0).await.expect("found").expect("active");
    Caller::new(Principal::User(user), origin("10.9.9.9"))
}

pub(crate) fn new_user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        email: format!("{name}@example.com"),
        realname: name.to_owned(),
        comment: String::new(),
        password: secret(PASSWORD),
    }
}

pub(crate) async fn user(identity: &Identity, name: &str) -> UserId {
    let caller = administrator(identity).await;
    identity.user_create(&caller, new_user(name)).await.expect("made")
}

pub(crate) async fn login(
    identity: &Identity,
    name: &str,
    password: &str,
    address: &str,
) -> Result<User, Error> {
    let presented = Presented::password(name, password.to_owned());
    match identity.authenticate(&presented, &origin(address)).await? {
        Principal::User(user) => Ok(user),
        other => panic!("a password made {other:?} of a user"),
    }
}

/// Waits until `done` says so, five seconds at most: the promise of every revocation.
pub(crate) async fn within_five_seconds<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}: not within five seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
