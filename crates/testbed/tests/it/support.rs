//! Small help shared by the modules: waiting for something, worlds of two tenants, numbers of now.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hythe_testbed::{Bed, Image, Project, Role, User};

/// What has to hold within five seconds on every instance (revocation).
pub const REVOCATION: Duration = Duration::from_secs(5);

/// Tries until `attempt` returns true; fails with `what` when it does not in `limit`.
pub async fn eventually(limit: Duration, what: &str, mut attempt: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !attempt().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One at a time: tests that need the machine for themselves, lest they starve each other.
pub async fn heavy() -> tokio::sync::MutexGuard<'static, ()> {
    static HEAVY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    HEAVY.lock().await
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed()
}

/// Two tenants on one server: Bob develops in `ours`, Eve administers `theirs`, both private.
pub struct Tenants {
    pub bed: Bed,
    pub bob: User,
    pub eve: User,
    pub ours: Project,
    pub theirs: Project,
    /// In `ours`, pushed by Bob.
    pub app: Image,
    /// In `theirs`, pushed by Eve; its blobs are linked nowhere else.
    pub secret: Image,
}

impl Tenants {
    pub async fn new() -> Tenants {
        let bed = Bed::shared().await;
        let bob = bed.user("bob").await;
        let eve = bed.user("eve").await;
        let ours = bed.project("ours").member(&bob, Role::Developer).create().await;
        let theirs = bed.project("theirs").member(&eve, Role::ProjectAdmin).create().await;
        let app = bob.registry().push_image(&ours.repository("app"), "1").await;
        let secret = eve.registry().push_image(&theirs.repository("secret"), "1").await;
        Tenants { bed, bob, eve, ours, theirs, app, secret }
    }
}

/// A digest of nothing anybody ever pushed.
pub fn random_digest() -> oci::Digest {
    oci::Digest::of(oci::Algorithm::Sha256, &hythe_testbed::random_bytes(32))
}

/// An upload id nobody was ever given.
pub fn random_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
