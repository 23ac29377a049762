//! Lists: their parts, what narrows them, how they are kept, as files, and all of them at once.

use serde_json::{Value, json};

use crate::world::World;

const BASE: &str = "/projects/shop/repositories/back/api";

/// A private project of `ana` with tags `v1` to `v4` of one image, and `old` of another one for arm.
async fn shop() -> (World, i64, String) {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    let config = json!({"architecture": "amd64", "os": "linux"}).to_string();
    world.image_with(project, "shop/back/api", &["v1", "v2", "v3", "v4"], config.as_bytes(), b"layer").await;
    let config = json!({"architecture": "arm", "os": "linux", "variant": "v7"}).to_string();
    world.image_with(project, "shop/back/api", &["old"], config.as_bytes(), b"other").await;
    world.execute("update catalog.tags set pushed_at = now() - interval '100 days' where name = 'old'").await;
    let ana = world.sign_in("ana").await;
    (world, project, ana)
}

/// The tags that a page or a part shows, in its order.
fn tags(body: &str) -> Vec<String> {
    body.split("<th scope=\"row\"><a href=\"")
        .skip(1)
        .map(|row| row.split('>').nth(1).unwrap().split('<').next().unwrap().to_owned())
        .collect()
}

#[actix_web::test]
async fn a_part_is_for_the_script_that_asks_for_it() {
    let (world, _, ana) = shop().await;
    let part = world.part(&ana, &format!("{BASE}?q=v&sort=&size="), BASE).await;
    assert_eq!(part.status, 200);
    assert!(part.body.starts_with("<p class=\"vh\" data-say>4 found</p>"), "{}", part.body);
    assert!(!part.has("<html") && !part.has("<main"), "{}", part.body);
    assert_eq!(tags(&part.body).len(), 4);
    assert!(part.header("vary").unwrap().contains("HX-Request-Type"));
    // The first step is one to go back from, the others are not.
    assert_eq!(part.header("hx-push-url"), Some(format!("{BASE}?q=v").as_str()));
    let more = world.part(&ana, &format!("{BASE}?q=v1"), &format!("{BASE}?q=v")).await;
    assert_eq!(more.header("hx-replace-url"), Some(format!("{BASE}?q=v1").as_str()));
    assert_eq!(more.header("hx-push-url"), None);
    let same = world.part(&ana, &format!("{BASE}?q=v1"), &format!("{BASE}?q=v1")).await;
    assert!(same.header("hx-push-url").is_none() && same.header("hx-replace-url").is_none());
    let page = world.get(&ana, &format!("{BASE}?q=v1")).await;
    assert!(page.has("<html") && page.header("vary").unwrap().contains("HX-Request-Type"));
    assert!(page.header("hx-push-url").is_none());
    // A page has no place in a page: the whole is loaded anew.
    let ben = world.sign_in("ben").await;
    for who in [ben.as_str(), ""] {
        let hidden = world.part(who, BASE, BASE).await;
        assert_eq!((hidden.status, hidden.header("hx-refresh")), (404, Some("true")), "{}", hidden.body);
        assert_eq!(hidden.body, "");
    }
    assert_eq!(world.part("", "/me/tokens", "/me/tokens").await.status, 401);
}

#[actix_web::test]
async fn filters_keep_order_and_size_and_each_other() {
    let (world, _, ana) = shop().await;
    let path = format!("{BASE}?q=v&sort=natural&size=50&platform=linux%2Famd64");
    let page = world.get(&ana, &path).await;
    assert_eq!(tags(&page.body), ["v1", "v2", "v3", "v4"]);
    for kept in [
        "<input type=\"hidden\" name=\"sort\" value=\"natural\">",
        "<input type=\"hidden\" name=\"size\" value=\"50\">",
        "Platform: linux/amd64",
        "Contains “v”",
    ] {
        assert!(page.has(kept), "{kept}: {}", page.body);
    }
    // A chip takes away one thing and keeps the rest.
    assert!(page.has(&format!("href=\"{BASE}?q=v&#38;sort=natural&#38;size=50\"")), "{}", page.body);
    assert!(page.has(&format!("href=\"{BASE}?sort=natural&#38;size=50&#38;platform=linux%2Famd64\"")));
    let artifacts = world.get(&ana, &format!("{BASE}/-/artifacts?show=tagged&type=IMAGE&sort=size")).await;
    assert!(artifacts.has("name=\"show\" value=\"tagged\"") && artifacts.has("name=\"sort\" value=\"size\""));
}

#[actix_web::test]
async fn the_size_of_pages_is_kept() {
    let (world, _, ana) = shop().await;
    let fields = [("size", "50"), ("return", BASE)];
    assert_eq!(world.send(&ana, "POST", "/-/list", &fields).await.status, 403);
    let visitor = world.get("", "/login").await;
    let form = visitor.cookie("hythe-form").unwrap();
    let fields = [("csrf", visitor.token()), ("size", "50"), ("return", BASE)];
    assert_eq!(world.send(&form, "POST", "/-/list", &fields).await.status, 303);
    assert_eq!(world.number("select count(*) from identity.preferences").await, 0);
    let done = world.post(&ana, BASE, "/-/list", &[("size", "50"), ("return", BASE)]).await;
    assert_eq!((done.status, done.location()), (303, BASE));
    let current = "value=\"50\" aria-describedby=\"sizes\" aria-current=\"true\"";
    assert!(world.get(&ana, BASE).await.has(current));
    // What is no size is none, and what is no path of ours is not gone to.
    let fields = [("size", "7"), ("return", "https://evil.example/")];
    assert_eq!(world.post(&ana, BASE, "/-/list", &fields).await.location(), "/");
    assert!(world.get(&ana, BASE).await.has(current));
    assert!(world.get(&ana, &format!("{BASE}?size=25")).await.has("value=\"25\" aria-describedby"));
}

#[actix_web::test]
async fn columns_are_left_out() {
    let (world, _, ana) = shop().await;
    let page = world.get(&ana, BASE).await;
    assert!(page.has("class=\"plats\"") && page.has("Pulls"));
    let fields = [("columns", "tags"), ("column", "size"), ("column", "pushed"), ("return", BASE)];
    assert_eq!(world.send(&ana, "POST", "/-/list", &fields).await.status, 403);
    let done = world.post(&ana, BASE, "/-/list", &fields).await;
    assert_eq!(done.location(), BASE);
    let cookies = format!("{ana}; {}", done.cookie("hythe-columns").unwrap());
    let page = world.get(&cookies, BASE).await;
    assert!(!page.has("class=\"plats\"") && page.has("sort=size"), "{}", page.body);
    assert_eq!(page.body.matches("<th scope=\"col\"").count(), 5);
}

#[actix_web::test]
async fn tags_are_found_by_what_they_are() {
    let (world, project, ana) = shop().await;
    let label = format!(
        "update catalog.tags set last_pulled_at = now() where name = 'v3';
         update catalog.tags set last_pulled_at = '2020-01-02 12:00+00' where name = 'v4';
         insert into catalog.labels (project_id, name) values ({project}, 'good'), ({project}, 'other');
         insert into catalog.manifest_labels (manifest_id, label_id)
             select t.manifest_id, l.id from catalog.tags t, catalog.labels l
             where t.name = 'old' and l.name = 'good'"
    );
    world.execute(&label).await;
    for (filter, expected) in [
        ("platform=linux%2Famd64", vec!["v1", "v2", "v3", "v4"]),
        ("platform=linux%2Farm%2Fv7", vec!["old"]),
        ("platform=linux%2Farm%2Fv6", vec![]),
        ("platform=linux%2Farm&q=o", vec!["old"]),
        ("label=good", vec!["old"]),
        ("label=other", vec![]),
        ("idle=90", vec!["old", "v4"]),
        ("idle=101", vec!["v4"]),
        ("pushed-from=2020-01-01&pushed-to=2020-01-02", vec![]),
        ("pulled-from=2020-01-03", vec!["v3"]),
        ("pulled-to=2020-01-02", vec!["v4"]),
        ("trust=signed", vec![]),
        ("trust=unsigned&label=good", vec!["old"]),
        // What says nothing is passed over.
        ("idle=x&platform=x&pushed-from=x&trust=x&q=old", vec!["old"]),
    ] {
        let page = world.get(&ana, &format!("{BASE}?sort=natural&{filter}")).await;
        assert_eq!(
            (page.status, tags(&page.body)),
            (200, expected.iter().map(ToString::to_string).collect()),
            "{filter}"
        );
    }
    let page = world.get(&ana, BASE).await;
    assert!(page.has("<option>good</option>") && page.has("<option>linux/riscv64</option>"));
    // However much is asked, it is the same number of statements.
    let mut counts = Vec::new();
    for filter in ["q=v", "q=v&platform=linux%2Famd64&label=x&trust=unsigned&idle=1&pushed-from=2020-01-01"] {
        let before = world.statements().await;
        world.get(&ana, &format!("{BASE}?{filter}")).await;
        counts.push(world.statements().await - before);
    }
    assert_eq!(counts[0], counts[1]);
    // A signature makes it signed.
    let tag = "select 'sha256-' || encode(substr(m.digest, 2), 'hex') || '.sig' from catalog.manifests m
               join catalog.tags t on t.manifest_id = m.id where t.name = 'old'";
    let tag: String = sqlx::query_scalar(tag).fetch_one(world.database.owner()).await.unwrap();
    let empty = world.blob(project, "shop/back/api", "application/vnd.oci.empty.v1+json", b"{}").await;
    let layer = "application/vnd.dev.cosign.simplesigning.v1+json";
    let layer = world.blob(project, "shop/back/api", layer, b"signed").await;
    let kind = oci::manifest::OCI_MANIFEST;
    let signature = json!({"schemaVersion": 2, "mediaType": kind, "config": empty, "layers": [layer]});
    world.manifest(project, "shop/back/api", &[&tag], kind, &signature).await;
    assert_eq!(tags(&world.get(&ana, &format!("{BASE}?trust=signed")).await.body), ["old"]);
    assert_eq!(tags(&world.get(&ana, &format!("{BASE}?trust=unsigned")).await.body).len(), 4);
}

#[actix_web::test]
async fn everything_that_matches_is_deleted_but_what_came_later() {
    let (world, project, ana) = shop().await;
    let rule = format!(
        "insert into catalog.immutable_rules
             (project_id, tag_selectors, scope_selectors, tag_matches, tag_excludes, repo_matches, repo_excludes)
         values ({project}, '[]', '[]', '{{^v4$}}', '{{}}', '{{^.*$}}', '{{}}')"
    );
    world.execute(&rule).await;
    let confirm = format!("{BASE}/-/delete-tags?all=1&q=v");
    let page = world.get(&ana, &confirm).await;
    assert!(page.has("Delete 3 tags?") && page.has("1 immutable tag stays."), "{}", page.body);
    assert!(!page.has("name=\"item\"") && page.has("name=\"q\" value=\"v\""), "{}", page.body);
    let until =
        page.body.split("name=\"until\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let send = format!("{BASE}/-/delete-tags");
    let fields = [("all", "1"), ("q", "v"), ("until", until.as_str())];
    assert_eq!(world.send(&ana, "POST", &send, &fields).await.status, 403);
    assert_eq!(world.number("select count(*) from catalog.tags").await, 5);
    // Pushed after the page was made.
    world.execute("update catalog.tags set pushed_at = now() + interval '1 minute' where name = 'v2'").await;
    let done = world.post(&ana, &confirm, &send, &fields).await;
    assert_eq!((done.status, done.location()), (303, BASE), "{}", done.body);
    let page = world.get(&format!("{ana}; {}", done.cookie("hythe-told").unwrap()), BASE).await;
    assert!(
        page.has("2 tags were deleted.") && page.has("id=\"rows\" tabindex=\"-1\" autofocus"),
        "{}",
        page.body
    );
    let mut left = tags(&page.body);
    left.sort();
    assert_eq!(left, ["old", "v2", "v4"]);
    assert_eq!(world.number("select tag_count from catalog.repositories").await, 3);
    assert_eq!(
        world
            .number("select count(*) from catalog.tag_history where action = 'delete' and actor_name = 'ana'")
            .await,
        2
    );
    assert_eq!(world.number("select count(*) from audit.entries where action = 'tag_delete'").await, 2);
    let ben = world.sign_in("ben").await;
    assert_eq!(world.get(&ben, &confirm).await.status, 404);
    assert_eq!(world.post(&ana, BASE, &send, &[("all", "1"), ("q", "v")]).await.status, 400);
}

#[actix_web::test]
async fn more_than_one_batch_is_deleted() {
    let (world, _, ana) = shop().await;
    world
        .execute(
            "insert into catalog.tags (repository_id, name, manifest_id, natural_key, pushed_by, project_id)
             select repository_id, 'build-' || n, manifest_id, 'build-' || n, 'ana', project_id
             from catalog.tags, generate_series(1, 250) n where name = 'v1'",
        )
        .await;
    let confirm = format!("{BASE}/-/delete-tags?all=1&q=build");
    let page = world.get(&ana, &confirm).await;
    assert!(page.has("Delete 250 tags?") && page.has("and 240 more"), "{}", page.body);
    let until =
        page.body.split("name=\"until\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = [("all", "1"), ("q", "build"), ("until", until.as_str())];
    let done = world.post(&ana, &confirm, &format!("{BASE}/-/delete-tags"), &fields).await;
    assert_eq!(done.status, 303, "{}", done.body);
    assert_eq!(world.number("select count(*) from catalog.tags").await, 5);
    assert_eq!(world.number("select count(*) from audit.entries where action = 'tag_delete'").await, 250);
}

#[actix_web::test]
async fn lists_are_files_as_well() {
    let (world, _, ana) = shop().await;
    world
        .execute(
            "insert into catalog.tags (repository_id, name, manifest_id, natural_key, pushed_by, project_id)
             select repository_id, 'build-' || n, manifest_id, 'build-' || n, 'ana', project_id
             from catalog.tags, generate_series(1, 230) n where name = 'v1'",
        )
        .await;
    let csv = world.get(&ana, &format!("{BASE}?q=build&format=csv")).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"tags.csv\""));
    assert_eq!(csv.body.lines().count(), 231);
    let json = world.get(&ana, &format!("{BASE}?q=build&sort=natural&format=json")).await;
    let read: Vec<Value> = serde_json::from_str(&json.body).unwrap();
    assert_eq!((read.len(), &read[0]["name"]), (230, &json!("build-1")));
    assert!(world.get(&ana, BASE).await.has("format=csv"));

    let admin = world.sign_in("admin").await;
    let names = |page: &str| -> Vec<Value> { serde_json::from_str(page).unwrap() };
    for (path, key, expected) in [
        ("/projects/shop/repositories", "name", "shop/back/api"),
        (&format!("{BASE}/-/artifacts"), "type", "IMAGE"),
        ("/projects/shop/activity", "action", "tag_create"),
        ("/admin/users?q=ben", "name", "ben"),
        ("/admin/storage/quotas?q=shop", "project", "shop"),
        ("/admin/audit?actor=ana", "username", "ana"),
    ] {
        let joint = if path.contains('?') { '&' } else { '?' };
        let json = world.get(&admin, &format!("{path}{joint}format=json")).await;
        assert_eq!(json.header("content-type"), Some("application/json"), "{path} {}", json.body);
        let read = names(&json.body);
        if key != "action" {
            assert_eq!(read[0][key], json!(expected), "{path}");
        }
        let csv = world.get(&admin, &format!("{path}{joint}format=csv")).await;
        assert_eq!(csv.body.lines().count(), read.len() + 1, "{path}");
    }
    assert_eq!(names(&world.get(&admin, "/admin/robots?format=json").await.body).len(), 0);
    let ben = world.sign_in("ben").await;
    for path in
        [BASE, "/projects/shop/repositories", "/projects/shop/activity", "/admin/users", "/admin/audit"]
    {
        assert_eq!(world.get(&ben, &format!("{path}?format=csv")).await.status, 404, "{path}");
    }
}
