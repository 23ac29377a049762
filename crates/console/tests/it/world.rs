//! One installation with the accounts `admin` (administers the system), `ana` and `ben`, and a browser for each.

use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use actix_web::{App, test};
use blobstore::BlobStore;
use bytes::Bytes;
use catalog::{Body, Catalog, Push, PushTarget};
use console::{Api, Config, Console, Platform, Room};
use database::Clock;
use database::testing::TestDatabase;
use futures_util::stream;
use identity::tokens::Access;
use identity::{Caller, Identity, NewUser, Origin, Principal, Secret, User, UserId};
use oci::manifest::OCI_MANIFEST;
use oci::{Action, Algorithm, Digest, RepositoryName};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tenancy::{NewProject, Tenancy};

pub const PASSWORD: &str = "Correct-horse-1";

/// The host of every request.
pub const HOST: &str = "hythe.example:8080";

/// A description of an API.
const API: &str = r#"{"paths": {"/api/v2.0/things": {"get": {"operationId": "listThings", "summary": "List things",
    "tags": ["thing"], "responses": {"200": {"description": "A page of things"}}}}}}"#;

pub struct World {
    pub database: TestDatabase,
    pub identity: Identity,
    pub tenancy: Tenancy,
    pub catalog: Catalog,
    pub admin: Caller,
    service: Console,
}

/// A page, read to its end.
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Page {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Where it sends the browser.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("{} {}", self.status, self.body))
    }

    pub fn has(&self, text: &str) -> bool {
        self.body.contains(text)
    }

    /// The token that the forms of the page carry.
    pub fn token(&self) -> &str {
        let found = self.body.split_once("name=\"csrf\" value=\"").and_then(|(_, rest)| rest.split_once('"'));
        found.unwrap_or_else(|| panic!("{} {}", self.status, self.body)).0
    }

    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// The cookie of this name, as the browser sends it back.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let set = self.headers.get_all("set-cookie").map(|value| value.to_str().unwrap());
        set.filter_map(|cookie| cookie.split(';').next())
            .find(|cookie| cookie.split('=').next() == Some(name))
            .map(ToOwned::to_owned)
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
        let config = Config { external_url: None, first_password: Arc::new(|| false) };
        let platform = Platform {
            jobs: queue::History::new(database.clone()),
            storage_name: "memory".to_owned(),
            storage_room: Arc::new(|| vec![Room { total: 10_737_418_240, free: 3_221_225_472 }]),
            storage_probe: Arc::new(|| Box::pin(async { true })),
            api: Api::new(|| API.to_owned()),
        };
        let service = Console::new(identity.clone(), tenancy.clone(), catalog.clone(), config).on(platform);
        Self { database, identity, tenancy, catalog, admin, service }
    }

    /// Signs a person in with name and password, through the form; the cookie.
    pub async fn sign_in(&self, user: &str) -> String {
        let page = self.get("", "/login").await;
        let fields = [("csrf", page.token()), ("name", user), ("password", PASSWORD), ("return", "/")];
        let answer = self.send(&page.cookie("hythe-form").unwrap(), "POST", "/login", &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.cookie("hythe").unwrap()
    }

    /// Asks for a page with these cookies (empty: nobody).
    pub async fn get(&self, cookie: &str, path: &str) -> Page {
        self.send(cookie, "GET", path, &[]).await
    }

    /// Sends the form of the page `from` to `path`, with its token.
    pub async fn post(&self, cookie: &str, from: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.get(cookie, from).await;
        assert_eq!(page.status, 200, "{from}: {}", page.body);
        let mut all = vec![("csrf", page.token())];
        all.extend_from_slice(fields);
        self.send(cookie, "POST", path, &all).await
    }

    /// Asks for the part of a page as its script does, which stands at `current`.
    pub async fn part(&self, cookie: &str, path: &str, current: &str) -> Page {
        let current = format!("http://{HOST}{current}");
        let headers = [("hx-request", "true"), ("hx-request-type", "partial"), ("hx-current-url", &current)];
        self.request(cookie, "GET", path, &[], &headers).await
    }

    /// A request with nothing added to it.
    pub async fn send(&self, cookie: &str, method: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        self.request(cookie, method, path, fields, &[]).await
    }

    async fn request(
        &self,
        cookie: &str,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Page {
        let mut request = test::TestRequest::with_uri(path)
            .method(method.parse().unwrap())
            .insert_header(("host", HOST))
            .insert_header(("accept-language", "en"));
        for header in headers {
            request = request.insert_header(*header);
        }
        if !cookie.is_empty() {
            request = request.insert_header(("cookie", cookie));
        }
        if method == "POST" {
            let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let pairs: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
            request = request
                .insert_header(("content-type", "application/x-www-form-urlencoded"))
                .set_payload(pairs.join("&"));
        }
        let app = test::init_service(App::new().configure(|config| self.service.configure(config))).await;
        let response = test::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
        Page { status, headers, body }
    }

    /// A person as the domains know them.
    pub async fn caller(&self, user: &str) -> Caller {
        let secret = Secret::new(PASSWORD.as_bytes().to_vec());
        let session = self.identity.sign_in(user, &secret, 60, &Origin::default()).await.unwrap();
        Caller::new(Principal::User(session.user), Origin::default())
    }

    /// Creates a project of `user`, who then administers it; its id.
    pub async fn project(&self, user: &str, name: &str, public: bool) -> i64 {
        let new = NewProject { name: name.to_owned(), public, ..NewProject::default() };
        self.tenancy.project_create(&self.caller(user).await, new).await.unwrap().0
    }

    /// Makes `user` a member with a role: 1 administers, 2 develops, 3 is a guest, 4 maintains, 5 may only pull.
    pub async fn member(&self, project: i64, user: &str, role: i16) {
        sqlx::query(
            "insert into tenancy.members (project_id, entity_type, entity_id, role)
             select $1, 'u', id, $3 from identity.users where username = $2",
        )
        .bind(project)
        .bind(user)
        .bind(role)
        .execute(self.database.owner())
        .await
        .unwrap();
    }

    /// Pushes an image with one layer and returns its digest.
    pub async fn image(&self, project: i64, name: &str, tag: &str, layer: &[u8]) -> Digest {
        let config = br#"{"architecture":"amd64","os":"linux"}"#;
        self.image_with(project, name, &[tag], config, layer).await
    }

    /// Pushes an image with this config.
    pub async fn image_with(
        &self,
        project: i64,
        name: &str,
        tags: &[&str],
        config: &[u8],
        layer: &[u8],
    ) -> Digest {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.blob(project, name, "application/vnd.oci.image.config.v1+json", config).await,
            "layers": [self.blob(project, name, "application/vnd.oci.image.layer.v1.tar", layer).await],
        });
        self.manifest(project, name, tags, OCI_MANIFEST, &manifest).await
    }

    /// Pushes a blob; its descriptor.
    pub async fn blob(&self, project: i64, name: &str, media_type: &str, bytes: &[u8]) -> Value {
        let push = self.push(project, name);
        let session = self.catalog.uploads.start(&push, Algorithm::Sha256).await.unwrap();
        let bytes = Bytes::copy_from_slice(bytes);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let size = bytes.len();
        let body = Body {
            length: Some(size as u64),
            range: None,
            patience: catalog::Patience::default(),
            bytes: stream::iter([Ok::<_, std::io::Error>(bytes)]),
        };
        self.catalog.uploads.finish(&push, session.id, &digest, body).await.unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
    }

    /// Pushes a manifest.
    pub async fn manifest(
        &self,
        project: i64,
        name: &str,
        tags: &[&str],
        media_type: &str,
        manifest: &Value,
    ) -> Digest {
        let payload = Bytes::from(manifest.to_string());
        let digest = Digest::of(Algorithm::Sha256, &payload);
        let tags: Vec<oci::Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let target = PushTarget { digest: tags.is_empty().then(|| digest.clone()), tags };
        self.catalog
            .manifests
            .put(&self.push(project, name), target, Some(media_type), payload)
            .await
            .unwrap();
        digest
    }

    fn push(&self, project: i64, name: &str) -> Push {
        let name: RepositoryName = name.parse().unwrap();
        let access = vec![Access::repository(&name, &[Action::Pull, Action::Push], Some((project, 0)))];
        Push::from_access(&self.admin, &access, &name).unwrap()
    }

    /// The one number that a statement reads.
    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.database.owner()).await.unwrap()
    }

    /// Runs SQL, for what no page can do.
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
