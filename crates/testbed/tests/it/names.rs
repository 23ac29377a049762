//! What names, lists and papers do not give (AZ-09, AZ-17, CT-09): a privilege comes from a row, never from what
//! it is called, and a list of ten thousand is handed out in pages.

use hythe_testbed::{Bed, Registry, Role, random_bytes};
use reqwest::Method;
use serde_json::json;

use crate::abuse::memory_mib;
use crate::support::random_uuid;

/// AZ-09: a robot of the same project that may push does not find the upload of a person, nor of another robot.
#[tokio::test]
async fn az_09_a_robot_does_not_find_the_upload_of_somebody_else() {
    let bed = Bed::shared().await;
    let bob = bed.user("bob").await;
    let project = bed.project("ours").member(&bob, Role::Developer).create().await;
    let repository = project.repository("app");
    let access =
        json!([{"resource": "repository", "action": "pull"}, {"resource": "repository", "action": "push"}]);
    let permissions = json!([{"kind": "project", "namespace": project.name, "access": access}]);
    let pusher = bed.robot("project", permissions.clone()).await;
    let other = bed.robot("project", permissions).await;
    let scope = format!("repository:{repository}:pull,push");
    let bytes = random_bytes(1000);
    let digest = oci::Digest::of(oci::Algorithm::Sha256, &bytes);
    for owner in [bob.registry(), pusher.registry_with_token(&[&scope]).await] {
        let upload = owner.start_upload(&repository).await;
        owner.patch(&upload, None, &bytes[..400]).await.expect(202);
        for stranger in [other.registry(), other.registry_with_token(&[&scope]).await] {
            for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
                let ask = async |id: &str| {
                    let path = format!("/v2/{repository}/blobs/uploads/{id}");
                    let mut request = stranger.request(method.clone(), path);
                    if method == Method::PUT {
                        request = request.query("digest", &digest);
                    }
                    let body: &[u8] = if method == Method::GET { b"" } else { b"evil" };
                    request.body(body).send().await.expect(404).shape(&[id])
                };
                assert_eq!(ask(upload.id()).await, ask(&random_uuid()).await, "{method}");
            }
        }
        assert_eq!(owner.get(&upload.location).await.expect(204).header("range"), "0-399");
        owner.finish(&upload, &digest, &bytes[400..]).await.expect(201);
    }
}

/// AZ-17: names that sound like the platform's own give nothing that the robot was not given.
#[tokio::test]
async fn az_17_a_robot_is_not_what_it_is_called() {
    let bed = Bed::shared().await;
    let dave = bed.user("dave").await;
    let project = bed.project("named").member(&dave, Role::ProjectAdmin).create().await;
    let (ours, theirs) = (project.repository("app"), bed.project("theirs").create().await.repository("app"));
    let image = dave.registry().push_image(&ours, "1").await;
    let access = json!([{"resource": "repository", "action": "pull"}]);
    let permissions = json!([{"kind": "project", "namespace": project.name, "access": access}]);
    let mut made = 0;
    for name in [
        "scanner-x",
        "replication-x",
        "system",
        "admin",
        "worker",
        "gc",
        "robot",
        "root",
        "harbor-core",
        "proxy-cache",
    ] {
        let body = json!({"name": name, "level": "project", "duration": -1, "permissions": permissions});
        let answer = dave.client().post("/api/v2.0/robots", body).await.expect_any(&[201, 400]);
        if answer.status != 201 {
            continue;
        }
        made += 1;
        let answer = answer.json();
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("name"), format!("robot${}+{name}", project.name));
        let credentials = hythe_testbed::Credentials::Basic { name: text("name"), password: text("secret") };
        let robot = Registry::new(bed.client(credentials));
        robot.get_manifest(&ours, "1").await.expect(200);
        robot.request(Method::POST, format!("/v2/{ours}/blobs/uploads/")).send().await.expect(401);
        robot.put_manifest(&ours, "2", oci::manifest::OCI_MANIFEST, &image.manifest).await.expect(401);
        robot.delete(format!("/v2/{ours}/manifests/1")).await.expect(401);
        robot.get_manifest(&theirs, "1").await.expect(401);
        robot.get("/v2/_catalog").await.expect(401);
        for (path, status) in [("/api/v2.0/users/current", 412), ("/api/v2.0/robots", 403)] {
            robot.get(path).await.expect(status);
        }
        robot.client().post("/api/v2.0/projects", json!({"project_name": bed.unique("p")})).await.expect(403);
    }
    assert!(made >= 5, "only {made} of the names could be tried");
    for name in ["robot$x", "robot$admin+x", "admin$", "a+b", "$"] {
        let body = json!({"name": name, "level": "project", "duration": -1, "permissions": permissions});
        dave.client().post("/api/v2.0/robots", body).await.expect(400);
    }
    // A project administrator makes no robot of the installation, whatever it is called.
    let system =
        json!([{"kind": "system", "namespace": "/", "access": [{"resource": "catalog", "action": "read"}]}]);
    let body = json!({"name": "scanner-y", "level": "system", "duration": -1, "permissions": system});
    dave.client().post("/api/v2.0/robots", body).await.expect(403);
}

/// CT-09 with ten thousand tags behind it: pages are bounded, every tag is on one of them, and memory does not
/// follow the number that the client asks for.
#[tokio::test]
async fn ct_09_ten_thousand_tags_come_in_pages() {
    const TAGS: usize = 10_000;
    const GROWTH_MIB_MAX: u64 = 32;
    let bed = Bed::own(hythe_testbed::Options::default()).await;
    let project = bed.project("many").create().await;
    let repository = project.repository("app");
    let registry = bed.admin().registry();
    registry.push_image(&repository, "first").await;
    let inside = bed.inside().await;
    let made = sqlx::query(
        "insert into catalog.tags (repository_id, name, manifest_id, natural_key)
         select t.repository_id, 't' || lpad(n::text, 6, '0'), t.manifest_id, 't' || lpad(n::text, 6, '0')
         from catalog.tags t, generate_series(1, $1) n where t.name = 'first'",
    );
    made.bind(i32::try_from(TAGS).expect("small"))
        .execute(inside.database.pool())
        .await
        .expect("tags have rows");
    let path = format!("/v2/{repository}/tags/list");
    registry.get(&path).await.expect(200);
    let before = memory_mib(bed.process_id(), "VmHWM");
    for query in [
        "?n=10000",
        "?n=1000000000",
        "?n=18446744073709551616",
        "?n=0",
        "?n=-1",
        "?n=abc",
        "?last=%25",
        "?last=%27",
    ] {
        for _ in 0..3 {
            let answer = registry.get(format!("{path}{query}")).await.expect_any(&[200, 400]);
            if answer.status == 200 {
                let count = answer.json()["tags"].as_array().map_or(0, Vec::len);
                assert!(count <= 10_000, "{query}: {count} tags on one page");
            }
        }
    }
    let mut next = format!("{path}?n=700");
    let (mut seen, mut pages, mut last_page) = (Vec::new(), 0, 0);
    while !next.is_empty() {
        let answer = registry.get(&next).await.expect(200);
        let tags = answer.json()["tags"].as_array().cloned().unwrap_or_default();
        last_page = tags.len();
        assert!(last_page <= 700);
        seen.extend(tags.iter().filter_map(|tag| tag.as_str()).map(str::to_owned));
        let link = answer.header("link");
        next = link
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .map_or_else(String::new, |(to, _)| to.to_owned());
        pages += 1;
    }
    assert_eq!((seen.len(), pages, last_page), (TAGS + 1, (TAGS + 1).div_ceil(700), (TAGS + 1) % 700));
    assert!(seen.is_sorted_by(|one, two| one < two), "a tag twice, or out of order");
    let beyond = registry.get(format!("{path}?last=zzz&n=10")).await.expect(200);
    assert_eq!((beyond.json()["tags"].clone(), beyond.header("link")), (json!([]), ""));
    let growth = memory_mib(bed.process_id(), "VmHWM") - before;
    println!("CT-09: {TAGS} tags, {pages} pages, {growth} MiB more");
    assert!(growth < GROWTH_MIB_MAX, "{growth} MiB for lists of tags");
}
