//! One installation with the accounts `admin` (administers the system), `ana` and `ben`, and a door to its API.

use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use actix_web::{App, test};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blobstore::BlobStore;
use bytes::Bytes;
use catalog::{Body, Catalog, Push, PushTarget};
use database::Clock;
use database::testing::TestDatabase;
use futures_util::stream;
use identity::tokens::Access;
use identity::{Caller, Identity, NewUser, Origin, Principal, Secret, User, UserId};
use oci::manifest::OCI_MANIFEST;
use oci::{Action, Algorithm, Digest, RepositoryName};
use projects::{Config, Projects, Room};
use serde_json::{Value, json};
use tenancy::{NewProject, Tenancy};

pub const PASSWORD: &str = "Correct-horse-1";

pub struct World {
    pub database: TestDatabase,
    pub tenancy: Tenancy,
    pub admin: Caller,
    pub catalog: Catalog,
    service: Projects,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|err| panic!("{err}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The code of an error answer, whose envelope is checked on the way.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"), "{}", self.body);
        assert!(self.body.ends_with('\n'), "{}", self.body);
        let body = self.json();
        let errors = body["errors"].as_array().unwrap();
        assert_eq!((errors.len(), body.as_object().unwrap().len()), (1, 1), "{}", self.body);
        assert!(!errors[0]["message"].as_str().unwrap().is_empty());
        errors[0]["code"].as_str().unwrap().to_owned()
    }
}

impl World {
    pub async fn new() -> Self {
        let database = database::testing::database().await;
        let keyring = sealed::Keyring::load(Secret::new(vec![7; 32]), &database).await.unwrap();
        let identity = Identity::new(database.clone(), keyring, identity::Config::default(), Clock::system())
            .await
            .unwrap();
        let secret = || Secret::new(PASSWORD.as_bytes().to_vec());
        identity.ensure_first_admin(|| Ok::<_, std::io::Error>(secret())).await.unwrap();
        let user = User { id: UserId(1), name: "admin".to_owned(), sysadmin: true, epoch: 0, limits: None };
        let admin = Caller::new(Principal::User(user), Origin::default());
        for name in ["ana", "ben"] {
            let new = NewUser {
                name: name.to_owned(),
                email: format!("{name}@example.com"),
                realname: name.to_owned(),
                comment: String::new(),
                password: secret(),
            };
            identity.user_create(&admin, new).await.unwrap();
        }
        let tenancy = Tenancy::new(database.clone(), identity.clone(), tenancy::Config::default());
        let catalog = Catalog::new(
            database.clone(),
            BlobStore::memory(),
            tenancy.clone(),
            catalog::Config {
                upload_hours_max: 168,
                upload_empty_minutes_max: 15,
                uploads_per_account_max: 20,
                uploads_per_project_max: 30,
                pull_flush_seconds: 1,
                audit_pulls: true,
                gc: catalog::CollectorConfig::default(),
            },
        );
        let config = Config {
            external_url: None,
            storage_name: "memory".to_owned(),
            storage_room: Arc::new(|| vec![Room { total: 10, free: 3 }]),
            storage_probe: Arc::new(|| Box::pin(async { true })),
        };
        let service = Projects::new(identity, tenancy.clone(), catalog.clone(), config);
        Self { database, tenancy, admin, catalog, service }
    }

    /// Sends a request as `user` (empty: anonymous), with a JSON body unless it is null.
    pub async fn send(&self, user: &str, method: &str, path: &str, body: Value) -> Answer {
        self.send_with(user, method, path, body, &[]).await
    }

    pub async fn send_with(
        &self,
        user: &str,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = test::TestRequest::with_uri(path).method(method.parse().unwrap());
        if !user.is_empty() {
            let credentials = STANDARD.encode(format!("{user}:{PASSWORD}"));
            request = request.insert_header(("authorization", format!("Basic {credentials}")));
        }
        if !body.is_null() {
            request = request.set_json(body);
        }
        self.send_raw(headers.iter().fold(request, |request, header| request.insert_header(*header))).await
    }

    pub async fn send_raw(&self, request: test::TestRequest) -> Answer {
        let app = test::init_service(App::new().configure(|config| self.service.configure(config))).await;
        let response = test::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
        Answer { status, headers, body }
    }

    pub async fn get(&self, user: &str, path: &str) -> Answer {
        self.send(user, "GET", path, Value::Null).await
    }

    /// Creates a project over the API and returns its id.
    pub async fn project(&self, user: &str, name: &str, public: bool) -> i64 {
        let answer = self
            .send(user, "POST", "/api/v2.0/projects", json!({"project_name": name, "public": public}))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.header("location").unwrap().rsplit('/').next().unwrap().parse().unwrap()
    }

    /// Many projects without the detour over passwords.
    pub async fn projects(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            self.tenancy
                .project_create(&self.admin, NewProject { name, ..NewProject::default() })
                .await
                .unwrap();
        }
    }

    /// Pushes an image with one layer and returns its digest.
    pub async fn image(&self, project: i64, name: &str, tag: &str, layer: &[u8]) -> Digest {
        let config = br#"{"architecture":"amd64","os":"linux"}"#;
        for bytes in [&config[..], layer] {
            let push = self.push(project, name);
            let session = self.catalog.uploads.start(&push, Algorithm::Sha256).await.unwrap();
            let bytes = Bytes::copy_from_slice(bytes);
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            let body = Body {
                length: Some(bytes.len() as u64),
                range: None,
                patience: catalog::Patience::default(),
                bytes: stream::iter([Ok::<_, std::io::Error>(bytes)]),
            };
            self.catalog.uploads.finish(&push, session.id, &digest, body).await.unwrap();
        }
        let descriptor = |bytes: &[u8], media_type: &str| json!({"mediaType": media_type, "digest": Digest::of(Algorithm::Sha256, bytes).to_string(), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
        });
        let payload = Bytes::from(manifest.to_string());
        let digest = Digest::of(Algorithm::Sha256, &payload);
        let target = PushTarget { digest: None, tags: vec![tag.parse().unwrap()] };
        self.catalog
            .manifests
            .put(&self.push(project, name), target, Some(OCI_MANIFEST), payload)
            .await
            .unwrap();
        digest
    }

    pub fn push(&self, project: i64, name: &str) -> Push {
        let name: RepositoryName = name.parse().unwrap();
        let access = vec![Access::repository(&name, &[Action::Pull, Action::Push], Some((project, 0)))];
        Push::from_access(&self.admin, &access, &name).unwrap()
    }

    /// Makes `name` a member with a role.
    pub async fn member(&self, by: &str, project: i64, name: &str, role: i64) {
        let body = json!({"role_id": role, "member_user": {"username": name}});
        let path = format!("/api/v2.0/projects/{project}/members");
        let answer = self.send(by, "POST", &path, body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// The one number that a statement reads.
    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.database.owner()).await.unwrap()
    }

    /// Runs SQL, for what no request can do yet.
    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(self.database.owner()).await.unwrap();
    }

    /// Statements about projects and their content that were sent so far. The settings are read once a second, and no
    /// request has a share in that.
    pub async fn statements(&self) -> i64 {
        let counts = self.database.statement_counts().await;
        let ours = |text: &String| {
            (text.contains("tenancy.") || text.contains("catalog."))
                && !text.contains("from tenancy.settings")
        };
        counts.into_iter().filter(|(text, _)| ours(text)).map(|(_, calls)| calls).sum()
    }
}
