//! One database, one project, one account that may do everything in it.

use blobstore::BlobStore;
use bytes::Bytes;
use catalog::{Body, Catalog, ChunkRange, Delete, Patience, Pull, Push, PushTarget, Pushed};
use database::Clock;
use database::testing::TestDatabase;
use futures_util::stream;
use identity::tokens::Access;
use identity::{Caller, Origin, Principal, User, UserId};
use oci::manifest::OCI_MANIFEST;
use oci::{Action, Algorithm, Digest, RepositoryName};
use serde_json::json;
use tenancy::{NewProject, Tenancy};

/// The config of every image.
pub const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux"}"#;

/// Configuration of every world.
pub fn config() -> catalog::Config {
    catalog::Config {
        upload_hours_max: 168,
        upload_empty_minutes_max: 15,
        uploads_per_account_max: 20,
        uploads_per_project_max: 30,
        pull_flush_seconds: 1,
        audit_pulls: true,
        gc: catalog::CollectorConfig::default(),
    }
}

pub struct World {
    pub database: TestDatabase,
    pub catalog: Catalog,
    pub tenancy: Tenancy,
    pub caller: Caller,
    pub project: i64,
}

impl World {
    pub async fn new() -> Self {
        Self::on(BlobStore::memory()).await
    }

    pub async fn on(store: BlobStore) -> Self {
        let database = database::testing::database().await;
        let keyring = sealed::Keyring::load(sealed::Secret::new(vec![7; 32]), &database).await.unwrap();
        let identity =
            identity::Identity::new(database.clone(), keyring, identity::Config::default(), Clock::system())
                .await
                .unwrap();
        let tenancy = Tenancy::new(database.clone(), identity, tenancy::Config::default());
        let catalog = Catalog::new(database.clone(), store, tenancy.clone(), config());
        let id: i64 = sqlx::query_scalar(
            "insert into identity.users (username, sysadmin) values ('ana', true) returning id",
        )
        .fetch_one(database.pool())
        .await
        .unwrap();
        let user = User { id: UserId(id), name: "ana".to_owned(), sysadmin: true, epoch: 0, limits: None };
        let caller = Caller::new(Principal::User(user), Origin::default());
        let project = tenancy
            .project_create(&caller, NewProject { name: "p".parse().unwrap(), ..NewProject::default() })
            .await
            .unwrap();
        Self { database, catalog, tenancy, caller, project: project.0 }
    }

    fn access(&self, name: &str) -> (RepositoryName, Vec<Access>) {
        let name: RepositoryName = name.parse().unwrap();
        let all = [Action::Pull, Action::Push, Action::Delete];
        let access = vec![Access::repository(&name, &all, Some((self.project, 0)))];
        (name, access)
    }

    pub fn pull(&self, name: &str) -> Pull {
        let (name, access) = self.access(name);
        Pull::from_access(&self.caller, &access, &name).unwrap()
    }

    pub fn push(&self, name: &str) -> Push {
        let (name, access) = self.access(name);
        Push::from_access(&self.caller, &access, &name).unwrap()
    }

    pub fn delete(&self, name: &str) -> Delete {
        let (name, access) = self.access(name);
        Delete::from_access(&self.caller, &access, &name).unwrap()
    }

    /// Uploads in one go.
    pub async fn blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let push = self.push(name);
        let session = self.catalog.uploads.start(&push, Algorithm::Sha256).await.unwrap();
        self.catalog.uploads.finish(&push, session.id, &digest, whole(bytes)).await.unwrap();
        digest
    }

    /// Pushes an image of the given layers, which must be there, under a tag.
    pub async fn image(&self, name: &str, tag: Option<&str>, layers: &[&[u8]]) -> Pushed {
        self.try_image(name, tag, layers).await.unwrap()
    }

    pub async fn try_image(
        &self,
        name: &str,
        tag: Option<&str>,
        layers: &[&[u8]],
    ) -> Result<Pushed, catalog::Error> {
        self.blob(name, CONFIG).await;
        self.put(name, tag, layers).await
    }

    /// As `try_image`, without the upload of the config.
    pub async fn try_put(&self, name: &str, tag: &str, layers: &[&[u8]]) -> Result<Pushed, catalog::Error> {
        self.put(name, Some(tag), layers).await
    }

    async fn put(&self, name: &str, tag: Option<&str>, layers: &[&[u8]]) -> Result<Pushed, catalog::Error> {
        let descriptor = |bytes: &[u8], media_type: &str| json!({"mediaType": media_type, "digest": Digest::of(Algorithm::Sha256, bytes).to_string(), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(CONFIG, "application/vnd.oci.image.config.v1+json"),
            "layers": layers.iter().map(|layer| descriptor(layer, "application/vnd.oci.image.layer.v1.tar")).collect::<Vec<_>>(),
        });
        let payload = Bytes::from(manifest.to_string());
        let target = match tag {
            Some(tag) => PushTarget { digest: None, tags: vec![tag.parse().unwrap()] },
            None => PushTarget { digest: Some(Digest::of(Algorithm::Sha256, &payload)), tags: vec![] },
        };
        self.catalog.manifests.put(&self.push(name), target, Some(OCI_MANIFEST), payload).await
    }

    pub async fn used(&self) -> i64 {
        self.number("select used_bytes from tenancy.quotas where project_id = $1", self.project).await
    }

    pub async fn number(&self, sql: &'static str, argument: i64) -> i64 {
        sqlx::query_scalar(sql).bind(argument).fetch_one(self.database.pool()).await.unwrap()
    }
}

type Chunks = stream::Iter<std::vec::IntoIter<Result<Bytes, String>>>;

pub fn whole(bytes: &[u8]) -> Body<Chunks> {
    Body {
        bytes: stream::iter(vec![Ok(Bytes::copy_from_slice(bytes))]),
        length: None,
        range: None,
        patience: Patience::default(),
    }
}

pub fn nothing() -> Body<Chunks> {
    Body { bytes: stream::iter(vec![]), length: Some(0), range: None, patience: Patience::default() }
}

pub fn chunk(first: u64, bytes: &[u8]) -> Body<Chunks> {
    let range = ChunkRange { first, last: first + bytes.len() as u64 - 1 };
    Body { range: Some(range), ..whole(bytes) }
}

/// A body that breaks off.
pub fn broken(bytes: &[u8]) -> Body<Chunks> {
    Body {
        bytes: stream::iter(vec![Ok(Bytes::copy_from_slice(bytes)), Err("gone".to_owned())]),
        length: None,
        range: None,
        patience: Patience::default(),
    }
}
