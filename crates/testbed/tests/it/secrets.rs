//! Where secrets are, and where they are not (SE-01, SE-03 to SE-06, SE-08, SE-09).

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use database::testing::TestDatabase;
use hythe_testbed::{Answer, Bed, Credentials, Options, Registry, Role, S3, User, random_bytes};
use reqwest::Method;
use sealed::{Keyring, RowId, Sealed, Secret, Site};
use serde_json::json;
use uuid::Uuid;

/// Something that must be found nowhere but in its place.
struct Canary {
    name: String,
    secret: Vec<u8>,
}

/// All canaries in all spellings.
struct Search {
    needles: Vec<(String, Vec<u8>)>,
    /// Needles by their first two bytes: one pass over the text finds them all.
    starts: Vec<Vec<usize>>,
}

impl Search {
    fn new(canaries: &[Canary]) -> Search {
        let mut search = Search { needles: Vec::new(), starts: vec![Vec::new(); 1 << 16] };
        for canary in canaries {
            for (form, needle) in spellings(&canary.secret) {
                assert!(needle.len() >= 12, "{} as {form} is too short to be looked for", canary.name);
                search.starts[start(&needle)].push(search.needles.len());
                search.needles.push((format!("{} ({form})", canary.name), needle));
            }
        }
        search
    }

    /// The canaries that are in `text`, each with the place named `place`.
    fn hits(&self, place: &str, text: &[u8]) -> Vec<String> {
        let mut hits = Vec::new();
        for position in 0..text.len().saturating_sub(1) {
            for &index in &self.starts[start(&text[position..])] {
                let (name, needle) = &self.needles[index];
                if text[position..].starts_with(needle) {
                    let from = position.saturating_sub(80);
                    let around = String::from_utf8_lossy(&text[from..position]).into_owned();
                    hits.push(format!("{name} in {place}, after {around:?}"));
                }
            }
        }
        hits.truncate(5);
        hits
    }
}

fn start(text: &[u8]) -> usize {
    usize::from(text[0]) << 8 | usize::from(text[1])
}

/// As it is, in hexadecimal, in a URL, and in base64 wherever in a longer text it may stand.
fn spellings(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let in_url = |space: &str| -> String {
        let encode = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(*byte).to_string()
            }
            b' ' => space.to_owned(),
            other => format!("%{other:02X}"),
        };
        secret.iter().map(encode).collect()
    };
    let mut found = vec![
        ("plain", secret.to_vec()),
        ("hex", hex.clone().into_bytes()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("URL", in_url("%20").into_bytes()),
        ("url", in_url("%20").to_lowercase().into_bytes()),
        ("form", in_url("+").into_bytes()),
    ];
    for shift in 0..3 {
        let shifted = [&vec![b' '; shift][..], secret].concat();
        // Only whole groups of three bytes are the same whatever stands before and after.
        let (first, last) = (shift.div_ceil(3) * 4, shifted.len() / 3 * 4);
        for (form, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
            found.push((form, engine.encode(&shifted).as_bytes()[first..last].to_vec()));
        }
    }
    found.sort_by(|one, two| one.1.cmp(&two.1));
    found.dedup_by(|one, two| one.1 == two.1);
    found
}

#[test]
fn a_canary_is_found_in_every_spelling() {
    let secret = b"Canary/one+two & three=4711".to_vec();
    let search = Search::new(&[Canary { name: "it".to_owned(), secret: secret.clone() }]);
    assert!(search.hits("nowhere", b"{\"msg\":\"Canary/one\"}").is_empty());
    let mut texts = vec![
        "canary=Canary%2Fone%2Btwo+%26+three%3D4711&x".to_owned(),
        "/a?b=canary%2fone%2btwo%20%26%20three%3d4711".to_owned(),
        secret.iter().map(|byte| format!("{byte:02X}")).collect(),
    ];
    for user in ["a", "ab", "abc", "abcd"] {
        texts.push(STANDARD.encode([user.as_bytes(), b":", &secret, b"\n"].concat()));
        texts.push(URL_SAFE.encode([user.as_bytes(), b":", &secret].concat()));
    }
    for text in texts {
        assert!(!search.hits("the text", text.as_bytes()).is_empty(), "{text}");
    }
}

/// Every answer that a client got, but those that hand out a secret.
#[derive(Default)]
struct Transcript(Vec<String>);

impl Transcript {
    fn note(&mut self, answer: Answer) -> Answer {
        self.0.push(format!("{}\n{}", answer.request, answer.shape(&[])));
        answer
    }
}

fn canary(what: &str) -> String {
    format!("Canary/{what}+{:016x} &=9Z", rand::random::<u64>())
}

fn private_file(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("our own directory");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("our own file");
}

/// SE-01, SE-03 and SE-09: everything is done that there is to do, at the log level `debug`, with faults, and no
/// secret is found anywhere but in its place: the private files that the operator made, the master key's file,
/// and the answers that hand a secret out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn se_01_secrets_are_nowhere_else() {
    let directory = tempfile::Builder::new().prefix("hythe-secrets-").tempdir_in("/tmp").expect("/tmp");
    let database = database::testing::database().await;
    let mut store = S3::start();
    let mut canaries = Vec::new();
    let mut known = |name: &str, secret: &[u8]| {
        canaries.push(Canary { name: name.to_owned(), secret: secret.to_vec() });
    };
    let database_password = format!("CanaryDatabase{:016x}", rand::random::<u64>());
    known("database password", database_password.as_bytes());
    known("S3 secret key", S3::SECRET_KEY.as_bytes());

    // Secrets come in files: what is in the environment can be read in /proc.
    let with_password = |url: &str| {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (user, rest) = rest.split_once('@').expect("a user");
        let user = user.split(':').next().unwrap_or_default();
        format!("{scheme}://{user}:{database_password}@{rest}")
    };
    let platform = Bed::own(
        Options::default()
            .s3(&store)
            .set("HYTHE_STORAGE__S3__REDIRECT", "true")
            .set("HYTHE_STORAGE__S3__REDIRECT_NEVER", "skopeo")
            .set("HYTHE_DATABASE__URL", &with_password(database.url()))
            .set("HYTHE_DATABASE__OWNER_URL", &with_password(database.owner_url()))
            .set("HYTHE_HTTP__TRUSTED_PROXIES", "127.0.0.1")
            .set("HYTHE_LOG__LEVEL", "debug")
            .secrets_in_files(directory.path()),
    )
    .await;
    let gateway = Options::default()
        .role("gateway", &directory.path().join("gateway"))
        .set("HYTHE_GATEWAY__UPSTREAMS__REGISTRY", &platform.url())
        .set("HYTHE_GATEWAY__UPSTREAMS__AUTH", &platform.url())
        .set("HYTHE_GATEWAY__UPSTREAMS__PROJECTS", &platform.url())
        .set("HYTHE_GATEWAY__HEALTH_PATH", "/v2/")
        .set("HYTHE_LOG__LEVEL", "debug")
        .secrets_in_files(directory.path());
    let gateway = Bed::own(gateway).await;
    known("administrator's password", platform.admin().password.as_bytes());
    let master_key = std::fs::read(platform.data_directory().join("master-key")).expect("the master key");
    known("master key", &master_key);
    for (name, private) in signing_keys(&database, &master_key).await {
        known(&name, &private);
    }

    let mut transcript = Transcript::default();
    for secret in drive(&platform, &gateway, &mut transcript).await {
        canaries.push(secret);
    }
    faults(&platform, &gateway, &database, &mut store, &mut transcript).await;

    let search = Search::new(&canaries);
    let in_its_place = search.hits("its file", &master_key);
    assert_eq!(in_its_place.len(), 1, "the search does not find what is there");
    let mut hits = Vec::new();
    let mut bytes = 0;
    let mut look = |place: &str, text: &[u8]| {
        bytes += text.len();
        hits.extend(search.hits(place, text));
    };
    look("the database", &dump(&database));
    for (name, bed) in [("the log of the platform", &platform), ("the log of the gateway", &gateway)] {
        let log = bed.log();
        for word in ["X-Amz-Signature=", "Credential=hythe", "Bearer ey", "Basic "] {
            assert!(!log.contains(word), "{word} is in {name}");
        }
        look(name, log.as_bytes());
    }
    for answer in &transcript.0 {
        look("an answer", answer.as_bytes());
    }
    for process in processes(&[platform.process_id(), gateway.process_id()]) {
        for part in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{process}/{part}")).unwrap_or_default();
            look(&format!("/proc/{process}/{part}"), &text);
        }
    }
    let allowed = [platform.data_directory().join("master-key")];
    for root in [platform.data_directory(), store.directory().to_owned()] {
        for file in files(&root).into_iter().filter(|file| !allowed.contains(file)) {
            look(&file.display().to_string(), &std::fs::read(&file).unwrap_or_default());
        }
    }
    assert!(platform.log().contains("\"level\":\"DEBUG\""), "the platform does not log at the level debug");
    println!(
        "SE-01: {} secrets in {} spellings, {bytes} bytes searched",
        canaries.len(),
        search.needles.len()
    );
    assert!(hits.is_empty(), "{} hits:\n{}", hits.len(), hits.join("\n"));
}

/// The private halves of all signing keys.
async fn signing_keys(database: &TestDatabase, master_key: &[u8]) -> Vec<(String, Vec<u8>)> {
    let keyring =
        Keyring::load(Secret::new(master_key.to_vec()), database).await.expect("the master key fits");
    let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as("select id, private_sealed from identity.signing_keys")
        .fetch_all(database.owner())
        .await
        .expect("keys have rows");
    assert!(!rows.is_empty());
    let open = |(id, sealed)| {
        let site = Site { table: "identity.signing_keys", column: "private_sealed", row: RowId::Uuid(id) };
        let Ok(private) = keyring.open(&site, &Sealed(sealed)) else { panic!("the key {id} does not open") };
        (format!("signing key {id}"), private.expose().to_vec())
    };
    rows.into_iter().map(open).collect()
}

/// Everything that clients do, well and badly. Returns the secrets that came into being.
async fn drive(platform: &Bed, gateway: &Bed, transcript: &mut Transcript) -> Vec<Canary> {
    let mut secrets = Vec::new();
    let mut known = |name: &str, secret: &str| {
        secrets.push(Canary { name: name.to_owned(), secret: secret.as_bytes().to_vec() });
        secret.to_owned()
    };
    let basic = |name: &str, password: &str| {
        gateway.client(Credentials::Basic { name: name.to_owned(), password: password.to_owned() })
    };
    let user = platform.user("ana").await;
    known("user's first password", &user.password);
    let password = known("user's new password", &canary("user"));
    let arguments = ["admin", "reset-password", &user.name, "--password-stdin"];
    let output = platform.run(&arguments, &format!("{password}\n")).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    transcript.0.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    let user_client = basic(&user.name, &password);
    let project = platform.project("canary").member(&user, Role::Maintainer).create().await;
    let repository = project.repository("app");

    // Logins of all kinds, right and wrong, by header, by form, and with passwords where none belong.
    let scope = format!("repository:{repository}:pull,push,delete");
    let token = known("registry token", &user_client.token(&[&scope]).await);
    let wrong = known("mistyped password", &canary("wrong"));
    for client in [basic(&user.name, &wrong), basic("nobody-here", &wrong), basic("robot$nobody", &wrong)] {
        transcript.note(client.get("/v2/").await.expect(401));
        transcript.note(client.get("/api/v2.0/users/current").await.expect(401));
        transcript.note(client.token_answer(&[&scope]).await.expect(401));
    }
    let form = [
        ("grant_type", "password"),
        ("service", "harbor-registry"),
        ("username", &user.name),
        ("password", &wrong),
        ("scope", &scope),
    ];
    let nobody = gateway.nobody();
    transcript.note(nobody.request(Method::POST, "/service/token").form(&form).send().await.expect(401));
    let misplaced =
        nobody.request(Method::GET, "/service/token").query("password", &wrong).query("token", &token);
    transcript.note(misplaced.query("service", "harbor-registry").query("scope", &scope).send().await);
    for header in ["cookie", "x-api-key", "proxy-authorization", "x-request-id", "user-agent-token"] {
        let request = nobody.request(Method::GET, "/v2/").header(header, format!("sid={wrong}"));
        transcript.note(request.send().await);
    }
    for authorization in [format!("Bearer {wrong}"), format!("Digest {wrong}"), format!("Basic {wrong}")] {
        let request = nobody.request(Method::GET, "/v2/").header("authorization", authorization);
        transcript.note(request.send().await.expect(401));
    }
    transcript
        .note(user_client.post("/api/v2.0/projects", json!({"project_name": {"password": wrong}})).await);

    // Refresh tokens.
    let request = user_client.request(Method::GET, "/service/token").query("service", "harbor-registry");
    let issued =
        request.query("offline_token", "true").query("client_id", "docker").send().await.expect(200).json();
    let refresh = known("refresh token", issued["refresh_token"].as_str().expect("it was asked for"));
    let changed = known("changed refresh token", &format!("{refresh}x"));
    for (token, status) in [(&refresh, 200), (&changed, 401)] {
        let form =
            [("grant_type", "refresh_token"), ("service", "harbor-registry"), ("refresh_token", token)];
        let answer = nobody.request(Method::POST, "/service/token").form(&form).send().await.expect(status);
        if status == 401 {
            transcript.note(answer);
        }
    }

    // Robots.
    let access =
        json!([{"resource": "repository", "action": "pull"}, {"resource": "repository", "action": "push"}]);
    let permissions = json!([{"kind": "project", "namespace": project.name, "access": access}]);
    let robot = platform.robot("project", permissions).await;
    known("robot's secret", &robot.password);
    let listed = format!("/api/v2.0/robots?q=Level=project,ProjectID={}", project.id);
    let rows = transcript.note(platform.admin().client().get(&listed).await.expect(200)).json();
    let path = format!("/api/v2.0/robots/{}", rows[0]["id"]);
    let chosen = known("robot's chosen secret", &format!("Canary-Robot-{:032x}", rand::random::<u128>()));
    let admin = platform.admin().client();
    let change = admin.request(Method::PATCH, &path).json(json!({"secret": chosen})).send().await;
    change.expect(200);
    transcript.note(basic(&robot.name, &robot.password).get("/v2/").await);
    transcript.note(basic(&robot.name, &chosen).get("/v2/").await);
    transcript.note(admin.get(&path).await.expect(200));

    // Content: pushed, pulled as a redirect and through the platform, and deleted.
    let registry = Registry::new(gateway.client(Credentials::Bearer(token)));
    let image = registry.push_image(&repository, "1").await;
    transcript.note(registry.get_manifest(&repository, "1").await.expect(200));
    let redirect = registry.get_blob(&repository, &image.layer).await.expect(307);
    assert!(redirect.header("location").contains("X-Amz-Signature="), "{redirect}");
    let read = registry.request(Method::GET, format!("/v2/{repository}/blobs/{}", image.layer));
    assert_eq!(read.header("user-agent", "skopeo/1").send().await.expect(200).body, image.layer_bytes);
    let upload = registry.start_upload(&repository).await;
    transcript.note(registry.patch(&upload, None, &random_bytes(6_000_000)).await.expect(202));
    transcript.note(registry.get(&upload.location).await.expect(204));
    transcript.note(registry.finish(&upload, &image.layer, b"").await.expect(400));
    transcript
        .note(registry.delete(format!("/v2/{repository}/manifests/{}", image.digest)).await.expect(202));
    for path in [
        "/api/v2.0/health",
        "/api/v2.0/systeminfo",
        "/api/v2.0/users/current",
        "/api/v2.0/projects",
        "/nowhere",
    ] {
        for client in [&nobody, &user_client, &admin] {
            transcript.note(client.get(path).await);
        }
    }
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for bed in [platform, gateway] {
        for path in ["/readyz", "/healthz", "/metrics", "/version"] {
            let answer = http.get(format!("{}{path}", bed.operations_url())).send().await.expect("an answer");
            transcript.0.push(answer.text().await.expect("a text"));
        }
    }
    for arguments in [&["config", "show"][..], &["config", "show", "--sources"], &["keys", "list"]] {
        let output = platform.run(arguments, "").await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        transcript.0.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }
    secrets
}

/// The store away, then the database, then a start with a database that is not there: what is logged and answered
/// then.
async fn faults(
    platform: &Bed,
    gateway: &Bed,
    database: &TestDatabase,
    store: &mut S3,
    transcript: &mut Transcript,
) {
    let admin = gateway.client(platform.admin().credentials());
    let project = platform.project("faults").create().await;
    let registry = Registry::new(admin.clone());
    let repository = project.repository("app");
    let image = registry.push_image(&repository, "1").await;
    store.pause();
    let read = registry.request(Method::GET, format!("/v2/{repository}/blobs/{}", image.layer));
    let bytes = random_bytes(1000);
    let upload = registry.start_upload(&repository).await;
    let digest = oci::Digest::of(oci::Algorithm::Sha256, &bytes);
    let (read, finished) = tokio::join!(
        read.header("user-agent", "skopeo/1").try_send(),
        registry.finish(&upload, digest, &bytes)
    );
    transcript.note(finished.expect(503));
    if let Ok(answer) = read {
        transcript.note(answer);
    }
    store.resume();

    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(database.owner()).await.expect("a name");
    let closed = async |closed: bool| {
        // As the server's own database: this one lets nobody in.
        let mut options = (*database.owner().connect_options()).clone();
        options = options.database("postgres");
        let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("the server answers");
        let allow = format!("alter database {name} connection limit {}", if closed { 0 } else { -1 });
        sqlx::query(sqlx::AssertSqlSafe(allow)).execute(&mut connection).await.expect("the owner may");
        if closed {
            let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
            sqlx::query(end).bind(&name).execute(&mut connection).await.expect("the owner may");
        }
    };
    closed(true).await;
    for path in ["/api/v2.0/projects", "/api/v2.0/health", "/service/token?service=harbor-registry"] {
        transcript.note(admin.get(path).await.expect_any(&[200, 503]));
    }
    transcript.note(registry.get_manifest(&repository, "1").await.expect(503));
    let output = platform.run(&["keys", "list"], "").await;
    assert!(!output.status.success());
    transcript.0.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    closed(false).await;
    platform.wait_ready().await.unwrap_or_else(|err| panic!("{err}"));
    registry.get_manifest(&repository, "1").await.expect(200);
}

/// The whole database as SQL; binary columns are in hexadecimal there.
fn dump(database: &TestDatabase) -> Vec<u8> {
    let mut programs: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/pg_dump"))
        .filter(|program| program.exists())
        .collect();
    programs.sort();
    let program = programs.pop().unwrap_or_else(|| PathBuf::from("pg_dump"));
    let output = Command::new(program).arg(database.owner_url()).output().expect("pg_dump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.windows(13).any(|part| part == b"signing_keys_"), "the dump is not whole");
    output.stdout
}

/// These processes and all that they started.
fn processes(roots: &[u32]) -> Vec<u32> {
    let mut found = roots.to_vec();
    let mut position = 0;
    while let Some(process) = found.get(position) {
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        found.extend(children.unwrap_or_default().split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        position += 1;
    }
    found
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { directories.push(path) } else { found.push(path) }
        }
    }
    found
}

/// SE-04 and SE-05 on a running installation: a sealed value that was moved or changed does not open, which is
/// told by name, and everything else goes on with a new key.
#[tokio::test]
async fn se_04_05_sealed_values_that_were_moved_or_changed_do_not_open() {
    let bed = Bed::own(Options::default()).await;
    let user: User = bed.admin();
    let project = bed.project("sealed").create().await;
    let repository = project.repository("app");
    let scope = format!("repository:{repository}:pull,push");
    user.registry().push_image(&repository, "1").await;
    for (what, damage) in [
        (
            "another row's value",
            "update identity.signing_keys k set private_sealed = o.private_sealed
             from identity.signing_keys o where o.id <> k.id",
        ),
        (
            "one bit",
            "update identity.signing_keys
             set private_sealed = set_bit(private_sealed, octet_length(private_sealed) * 8 - 5,
                 1 - get_bit(private_sealed, octet_length(private_sealed) * 8 - 5))",
        ),
    ] {
        let output = bed.run(&["keys", "rotate"], "").await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let before = bed.nobody().get("/service/jwks").await.expect(200).json();
        let inside = bed.inside().await;
        let changed = sqlx::query(damage).execute(inside.database.pool()).await.expect("keys have rows");
        assert!(changed.rows_affected() >= 2, "{what}: {} keys", changed.rows_affected());
        drop(inside);
        bed.restart().await;
        let log = bed.log();
        assert!(log.contains("private_sealed does not open"), "{what} is not told:\n{log}");
        // The service starts, signs with a key that opens, and says which keys those are.
        let registry = user.registry_with_token(&[&scope]).await;
        registry.get_manifest(&repository, "1").await.expect(200);
        let after = bed.nobody().get("/service/jwks").await.expect(200).json();
        assert_ne!(before, after, "{what}: no other key signs");
    }
}

/// SE-06: a start without the right master key is refused with the reason, and changes nothing.
#[tokio::test]
async fn se_06_a_master_key_that_does_not_fit_is_told_at_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::own(Options::default()).await;
    let file = bed.data_directory().join("master-key");
    let key = std::fs::read(&file).expect("the master key");
    bed.stop();
    let mut other = key.clone();
    other[7] ^= 1;
    let attempt = async |content: Option<&[u8]>, mode: u32, says: &str| {
        match content {
            Some(content) => {
                std::fs::write(&file, content).expect("our own file");
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("our own file");
            }
            None => std::fs::remove_file(&file).expect("our own file"),
        }
        let output = bed.run(&["serve", "--listen", "127.0.0.1:0", "--ops-listen", "off"], "").await;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && text.contains(says), "{says:?} is not in {text}");
        assert_eq!(file.exists(), content.is_some(), "a start made or removed the master key");
    };
    attempt(Some(&key[..31]), 0o600, "exactly 32 bytes").await;
    attempt(Some(&[&key[..], b"\n"].concat()), 0o600, "exactly 32 bytes").await;
    attempt(Some(&key), 0o644, "can be read by others").await;
    attempt(Some(&other), 0o600, "not the one this database was sealed with").await;
    attempt(None, 0, "does not exist").await;
    private_file(&file, "");
    std::fs::write(&file, &key).expect("our own file");
    bed.restart().await;
    bed.admin().client().get("/api/v2.0/users/current").await.expect(200);
}

/// SE-08: an answer to what is not the client's fault has a code and an id, and nothing of what went wrong.
#[tokio::test]
async fn se_08_faults_are_told_by_an_id_only() {
    let bed = Bed::own(Options::default()).await;
    let project = bed.project("faulty").create().await;
    let repository = project.repository("app");
    let admin = bed.admin();
    admin.registry().push_image(&repository, "1").await;
    let token = admin.registry_with_token(&[&format!("repository:{repository}:pull,push")]).await;
    let inside = bed.inside().await;
    let owner = database::embedded::Embedded::connect_existing(&bed.data_directory()).await.expect("it runs");
    let owner = sqlx::PgPool::connect(&owner.owner_url).await.expect("the owner");
    for table in ["catalog.tags", "tenancy.projects", "catalog.upload_sessions"] {
        let (_, name) = table.split_once('.').expect("a schema");
        let rename = |from: &str, to: &str| format!("alter table {from} rename to {to}");
        let schema = table.trim_end_matches(name);
        let away = rename(table, "moved_away");
        sqlx::query(sqlx::AssertSqlSafe(away)).execute(&owner).await.expect("the owner may");
        let mut failed = 0;
        for (method, path) in [
            (Method::GET, format!("/v2/{repository}/tags/list")),
            (Method::GET, format!("/v2/{repository}/manifests/1")),
            (Method::POST, format!("/v2/{repository}/blobs/uploads/")),
            (Method::GET, "/api/v2.0/projects".to_owned()),
            (Method::GET, project.path("/repositories/app/artifacts")),
            (
                Method::GET,
                format!("/service/token?service=harbor-registry&scope=repository:{repository}:pull"),
            ),
            (Method::GET, "/nowhere".to_owned()),
        ] {
            for client in [token.client().clone(), admin.client(), bed.nobody()] {
                let answer = client.request(method.clone(), &path).send().await;
                failed += usize::from(answer.status == 500);
                assert!(answer.status < 500 || !answer.header("x-request-id").is_empty(), "{answer}");
                let text = answer.text().to_lowercase();
                for word in [
                    "relation",
                    name,
                    "moved_away",
                    "sqlx",
                    "postgres",
                    "select ",
                    "panicked",
                    ".rs",
                    "/tmp",
                    "backtrace",
                ] {
                    let asked = path.contains(word);
                    assert!(asked || answer.status < 500 || !text.contains(word), "{word:?} in {answer}");
                }
                if answer.status == 500 {
                    let error = &answer.json()["errors"][0];
                    assert!(
                        error["code"].is_string() && error["message"] == "internal server error",
                        "{answer}"
                    );
                }
            }
        }
        assert!(failed > 0, "without {table} nothing fails");
        let back = rename(&format!("{schema}moved_away"), name);
        sqlx::query(sqlx::AssertSqlSafe(back)).execute(&owner).await.expect("the owner may");
    }
    drop(inside);
    token.get_manifest(&repository, "1").await.expect(200);
}
