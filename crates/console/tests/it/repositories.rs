//! Pages of repositories: who sees them, what forms do, what is undone.

use oci::manifest::OCI_INDEX;
use serde_json::json;

use crate::world::{HOST, World};

const BASE: &str = "/projects/shop/repositories/back/api";

/// A private project of `ana` with `back/api`, tags `v1` and `v2`; `ben` is nobody there.
async fn shop() -> (World, i64, String, String) {
    let world = World::new().await;
    let project = world.project("ana", "shop", false).await;
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin", "DB_PASSWORD=hunter2"], "Entrypoint": ["/api"]},
        "history": [{"created_by": "/bin/sh -c #(nop) ADD file:1 in /"}],
    });
    let digest = world
        .image_with(project, "shop/back/api", &["v1", "v2"], config.to_string().as_bytes(), b"layer")
        .await;
    let ana = world.sign_in("ana").await;
    (world, project, ana, digest.to_string())
}

#[actix_web::test]
async fn what_strangers_may_not_see_is_missing() {
    let (world, _, ana, digest) = shop().await;
    let ben = world.sign_in("ben").await;
    for (page, below) in [
        ("", "none"),
        ("/-/tags/v1", "none"),
        ("/-/artifacts", "none"),
        (&format!("/-/artifacts/{digest}"), "none"),
        (&format!("/-/artifacts/{digest}/manifest"), "none"),
        (&format!("/-/artifacts/{digest}/delete"), "none"),
        ("/-/history", "none"),
        ("/-/about", "none"),
        ("/-/about/edit", "none"),
        ("/-/settings", "none"),
        ("/-/delete", "none"),
        ("/-/delete-tags?tag=v1", "none"),
    ] {
        let path = format!("{BASE}{page}");
        assert_eq!(world.get(&ana, &path).await.status, 200, "{path}");
        let hidden = world.get(&ben, &path).await;
        let missing = world.get(&ben, &path.replace("shop", below)).await;
        assert_eq!((hidden.status, missing.status), (404, 404), "{path}");
        let body = |page: &str| page.replace("shop", below).split("<main").nth(1).unwrap().to_owned();
        let without_number = |body: String| body.split("<code>").next().unwrap().to_owned();
        assert_eq!(without_number(body(&hidden.body)), without_number(body(&missing.body)), "{path}");
        // Visitors are told the same, or to sign in, whether or not there is such a project.
        let (hidden, missing) =
            (world.get("", &path).await, world.get("", &path.replace("shop", below)).await);
        assert!([303, 404].contains(&hidden.status) && hidden.status == missing.status, "{path}");
    }
}

#[actix_web::test]
async fn nothing_changes_without_the_token() {
    let (world, _, ana, digest) = shop().await;
    let item = format!("v1@{digest}");
    for (path, fields) in [
        ("/-/delete-tags".to_owned(), vec![("item", item.as_str())]),
        ("/-/restore".to_owned(), vec![("item", item.as_str()), ("overwrite", "1")]),
        (format!("/-/artifacts/{digest}/tags"), vec![("tag", "v3")]),
        (format!("/-/artifacts/{digest}/delete"), vec![]),
        ("/-/about/edit".to_owned(), vec![("description", "changed")]),
        ("/-/delete".to_owned(), vec![]),
    ] {
        let path = format!("{BASE}{path}");
        let answer = world.send(&ana, "POST", &path, &fields).await;
        assert_eq!(answer.status, 403, "{path}");
        let wrong = [fields, vec![("csrf", "wrong")]].concat();
        assert_eq!(world.send(&ana, "POST", &path, &wrong).await.status, 403, "{path}");
    }
    let answer = world.send("", "POST", "/-/client", &[("client", "podman")]).await;
    assert_eq!((answer.status, answer.cookie("hythe-client")), (403, None));
    assert_eq!(world.number("select count(*) from catalog.tags").await, 2);
    assert_eq!(world.number("select count(*) from catalog.manifests where deleted_at is null").await, 1);
    assert_eq!(world.number("select count(*) from catalog.repositories where description = ''").await, 1);
}

#[actix_web::test]
async fn a_tag_is_deleted_and_brought_back() {
    let (world, _, ana, digest) = shop().await;
    let list = world.get(&ana, BASE).await;
    assert!(list.has("same image as v2") && list.has("amd64"), "{}", list.body);
    let confirm = format!("{BASE}/-/delete-tags?tag=v1");
    let page = world.get(&ana, &confirm).await;
    assert!(page.has("The artifact stays as v2") && page.has("No space becomes free"), "{}", page.body);

    let item = format!("v1@{digest}");
    let fields = [("item", item.as_str())];
    let path = format!("{BASE}/-/delete-tags");
    let answer = world.post(&ana, &confirm, &path, &fields).await;
    assert_eq!((answer.status, answer.location()), (303, BASE));
    assert_eq!(world.number("select count(*) from catalog.tags").await, 1);
    // The next page tells, and offers the way back.
    let told = world.get(&format!("{ana}; {}", answer.cookie("hythe-told").unwrap()), BASE).await;
    assert!(told.has("Tag v1 was deleted.") && told.has(&item) && told.has("Undo"), "{}", told.body);
    // The same form again does nothing.
    let again = world.post(&ana, BASE, &path, &fields).await;
    assert_eq!(again.status, 303);
    assert_eq!(world.number("select count(*) from catalog.tags").await, 1);

    let last = world.get(&ana, &format!("{BASE}/-/delete-tags?tag=v2")).await;
    assert!(last.has("loses its last tag"), "{}", last.body);

    let history = world.get(&ana, &format!("{BASE}/-/history")).await;
    assert!(
        history.has("deleted") && history.has("kept until") && history.has("created"),
        "{}",
        history.body
    );
    let answer = world.post(&ana, BASE, &format!("{BASE}/-/restore"), &fields).await;
    assert_eq!((answer.status, answer.location()), (303, BASE));
    assert_eq!(world.number("select count(*) from catalog.tags").await, 2);
    let only = world.get(&ana, &format!("{BASE}/-/history?tag=v2")).await;
    assert!(only.has("Changes of tag v2.") && !only.has("restored"), "{}", only.body);
}

#[actix_web::test]
async fn a_name_that_was_taken_is_not_taken_back_without_asking() {
    let (world, project, ana, digest) = shop().await;
    world.image(project, "shop/back/api", "v1", b"another").await;
    let item = format!("v1@{digest}");
    let path = format!("{BASE}/-/restore");
    let answer = world.post(&ana, BASE, &path, &[("item", &item)]).await;
    assert_eq!(answer.status, 422);
    assert!(answer.has("names another artifact now") && answer.has(&item), "{}", answer.body);
    let answer = world.post(&ana, BASE, &path, &[("item", &item), ("overwrite", "1")]).await;
    assert_eq!(answer.status, 303);
    let named = "select count(*) from catalog.tags t join catalog.manifests m on m.id = t.manifest_id
                 where t.name = 'v1' and exists (select 1 from catalog.tags o where o.manifest_id = m.id and o.name = 'v2')";
    assert_eq!(world.number(named).await, 1);
}

#[actix_web::test]
async fn a_guest_is_offered_nothing_to_change() {
    let (world, project, _, digest) = shop().await;
    world.member(project, "ben", 3).await;
    let ben = world.sign_in("ben").await;
    for path in ["", "/-/history", "/-/about", "/-/tags/v1", "/-/artifacts"] {
        let page = world.get(&ben, &format!("{BASE}{path}")).await;
        assert_eq!(page.status, 200, "{path}");
        let main = page.body.split("<main").nth(1).unwrap();
        for offer in ["delete", "/restore", "/edit", "/settings", "class=\"pick\"", "id=\"tag\""] {
            assert!(!main.contains(offer), "{path}: {offer}");
        }
    }
    let fields = [("item", format!("v1@{digest}"))].map(|(name, value)| (name, value));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = world.post(&ben, BASE, &format!("{BASE}/-/delete-tags"), &fields).await;
    assert_eq!(answer.status, 404);
    assert_eq!(world.number("select count(*) from catalog.tags").await, 2);
}

#[actix_web::test]
async fn an_image_shows_what_is_in_it() {
    let (world, _, ana, digest) = shop().await;
    let page = world.get(&ana, &format!("{BASE}/-/tags/v1")).await;
    for text in [
        &format!("docker pull {HOST}/shop/back/api:v1"),
        &format!("FROM {HOST}/shop/back/api@{digest}"),
        "ADD file:1 in /",
        "runs as root",
        "[&#34;/api&#34;]",
        "<details class=\"secret\">",
        digest.as_str(),
    ] {
        assert!(page.has(text), "{text}: {}", page.body);
    }
    let file = world.get(&ana, &format!("{BASE}/-/artifacts/{digest}/manifest")).await;
    let bytes = file.body.as_bytes();
    assert_eq!(oci::Digest::of(oci::Algorithm::Sha256, bytes).to_string(), digest);
    assert!(file.header("content-disposition").unwrap().starts_with("attachment"));
    // A tag, a digest and a name that are not there.
    let none = format!("sha256:{}", "0".repeat(64));
    for path in ["/-/tags/v9", "/-/tags/%3Cb%3E", &format!("/-/artifacts/{none}"), "/-/artifacts/x"] {
        assert_eq!(world.get(&ana, &format!("{BASE}{path}")).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn an_index_shows_its_parts_and_what_is_attached() {
    let (world, project, ana, child) = shop().await;
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": oci::manifest::OCI_MANIFEST, "digest": child, "size": 5,
         "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
    ], "annotations": {"org.opencontainers.image.source": "javascript:alert(1)", "x": "<img src=x>"}});
    let digest = world.manifest(project, "shop/back/api", &["multi"], OCI_INDEX, &index).await;
    let empty = world.blob(project, "shop/back/api", "application/vnd.oci.empty.v1+json", b"{}").await;
    let sbom = json!({"schemaVersion": 2, "mediaType": oci::manifest::OCI_MANIFEST,
        "artifactType": "application/spdx+json", "config": empty, "layers": [empty],
        "subject": {"mediaType": OCI_INDEX, "digest": digest.to_string(), "size": 5}});
    let sbom = world.manifest(project, "shop/back/api", &[], oci::manifest::OCI_MANIFEST, &sbom).await;
    let page = world.get(&ana, &format!("{BASE}/-/tags/multi")).await;
    let part = format!("href=\"{BASE}/-/artifacts/{child}\"");
    let attached = format!("href=\"{BASE}/-/artifacts/{sbom}\"");
    for text in ["arm/v7", &part, &attached, "application/spdx+json", "x=&#60;img src=x&#62;"] {
        assert!(page.has(text), "{text}: {}", page.body);
    }
    assert!(!page.has("href=\"javascript:"));
    // What an index holds cannot be deleted alone.
    let page = world.get(&ana, &format!("{BASE}/-/artifacts/{child}/delete")).await;
    assert!(page.has("It is part of the index") && !page.has("<button class=\"danger\">"), "{}", page.body);
}

#[actix_web::test]
async fn tags_are_added_and_refused() {
    let (world, _, ana, digest) = shop().await;
    let (from, path) = (format!("{BASE}/-/artifacts/{digest}"), format!("{BASE}/-/artifacts/{digest}/tags"));
    for (typed, problem) in [("no such tag!", "A tag has at most 128"), ("v2", "Tag v2 exists already.")] {
        let answer = world.post(&ana, &from, &path, &[("tag", typed)]).await;
        assert_eq!(answer.status, 422, "{typed}");
        let kept = format!("value=\"{typed}\"");
        assert!(answer.has(problem) && answer.has(&kept) && answer.has("aria-invalid"), "{}", answer.body);
    }
    let answer = world.post(&ana, &from, &path, &[("tag", "v3")]).await;
    assert_eq!((answer.status, answer.location()), (303, format!("{BASE}/-/tags/v3").as_str()));
    assert_eq!(world.number("select count(*) from catalog.tags").await, 3);
}

#[actix_web::test]
async fn an_artifact_is_deleted_and_comes_back_with_its_tags() {
    let (world, _, ana, digest) = shop().await;
    let path = format!("{BASE}/-/artifacts/{digest}/delete");
    let page = world.get(&ana, &path).await;
    assert!(page.has("These tags go with it") && page.has("can be restored"), "{}", page.body);
    let answer = world.post(&ana, &path, &path, &[]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(world.number("select count(*) from catalog.manifests where deleted_at is null").await, 0);
    let items = [format!("v1@{digest}"), format!("v2@{digest}")];
    let fields: Vec<(&str, &str)> = items.iter().map(|item| ("item", item.as_str())).collect();
    let from = format!("{BASE}/-/about/edit");
    let answer = world.post(&ana, &from, &format!("{BASE}/-/restore"), &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(world.number("select count(*) from catalog.tags").await, 2);
}

#[actix_web::test]
async fn a_description_is_shown_and_cannot_run() {
    let (world, _, ana, _) = shop().await;
    let (edit, about) = (format!("{BASE}/-/about/edit"), format!("{BASE}/-/about"));
    let text = "# Shop API\r\n\r\n\"><img src=x onerror=alert(1)> **bold** </textarea>";
    let answer = world.post(&ana, &edit, &edit, &[("description", text)]).await;
    assert_eq!((answer.status, answer.location()), (303, about.as_str()));
    let page = world.get(&ana, &about).await;
    assert!(page.has("<strong>bold</strong>") && !page.has("<img src=x"), "{}", page.body);
    let form = world.get(&ana, &edit).await;
    assert!(form.has("&#60;/textarea&#62;"), "{}", form.body);
    assert!(world.get(&ana, BASE).await.has("Shop API"));
    let long = "x".repeat(64 * 1024 + 1);
    let answer = world.post(&ana, &edit, &edit, &[("description", &long)]).await;
    assert!(answer.status == 422 && answer.has("longer than 64 KiB") && answer.has(&long));
}

#[actix_web::test]
async fn a_repository_with_many_tags_is_deleted_by_name() {
    let (world, project, ana, _) = shop().await;
    let delete = format!("{BASE}/-/delete");
    let page = world.get(&ana, &delete).await;
    assert!(
        page.has("2 tags") && page.has("This cannot be undone.") && !page.has("id=\"name\""),
        "{}",
        page.body
    );
    for number in 0..9 {
        world.image(project, "shop/back/api", &format!("w{number}"), b"layer").await;
    }
    for typed in ["", "back/api"] {
        let answer = world.post(&ana, &delete, &delete, &[("name", typed)]).await;
        assert!(answer.status == 422 && answer.has("aria-invalid"), "{}", answer.body);
    }
    let answer = world.post(&ana, &delete, &delete, &[("name", "shop/back/api")]).await;
    assert_eq!((answer.status, answer.location()), (303, "/projects/shop/repositories"));
    assert_eq!(world.get(&ana, BASE).await.status, 404);
}

#[actix_web::test]
async fn the_program_that_pulls_is_remembered() {
    let (world, _, ana, digest) = shop().await;
    let fields = [("client", "podman"), ("return", BASE)];
    let answer = world.post(&ana, BASE, "/-/client", &fields).await;
    assert_eq!((answer.status, answer.location()), (303, BASE));
    let cookie = answer.cookie("hythe-client").unwrap();
    let both = format!("{ana}; {cookie}");
    assert!(world.get(&both, BASE).await.has(&format!("podman pull {HOST}/shop/back/api:v1")));
    let answer =
        world.post(&both, BASE, "/-/client", &[("by", "digest"), ("return", "//evil.example")]).await;
    assert_eq!(answer.location(), "/");
    let both = format!("{ana}; {}", answer.cookie("hythe-client").unwrap());
    assert!(world.get(&both, BASE).await.has(&format!("podman pull {HOST}/shop/back/api@{digest}")));
}

#[actix_web::test]
async fn what_is_pulled_can_be_pasted() {
    let (world, _, ana, digest) = shop().await;
    let ben = world.sign_in("ben").await;
    for (path, place) in [
        ("/shop/back/api:v1".to_owned(), format!("{BASE}/-/tags/v1")),
        (format!("/shop/back/api@{digest}"), format!("{BASE}/-/artifacts/{digest}")),
        (format!("/shop/back/api:v1@{digest}"), format!("{BASE}/-/artifacts/{digest}")),
        ("/shop/back/api".to_owned(), BASE.to_owned()),
    ] {
        let page = world.get(&ana, &path).await;
        assert_eq!((page.status, page.location()), (303, place.as_str()), "{path}");
        // Nobody else learns whether it is there.
        for cookie in [ben.as_str(), ""] {
            let page = world.get(cookie, &path).await;
            assert!(page.status == 404 && !page.has("Did you mean"), "{path}");
        }
    }
    let search = format!("/search?q={HOST}/shop/back/api:v1");
    assert!(world.get(&ana, &search).await.has(&format!("href=\"{BASE}/-/tags/v1\"")));
    assert!(!world.get(&ben, &search).await.has("/-/tags/"));
    for (path, near) in [
        ("/shop/back/api:v3", "shop/back/api:v1"),
        ("/shop/back/apii:v1", "shop/back/api"),
        ("/shop/back/apii", "shop/back/api"),
    ] {
        let page = world.get(&ana, path).await;
        assert!(page.status == 404 && page.has("Did you mean") && page.has(near), "{}", page.body);
    }
}

#[actix_web::test]
async fn everybody_sees_what_is_public() {
    let world = World::new().await;
    let project = world.project("ana", "open", true).await;
    let digest = world.image(project, "open/api", "1.10.0", b"layer").await;
    world.image(project, "open/api", "1.9.2", b"other").await;
    world.image(project, "open/api", "nightly", b"third").await;
    let base = "/projects/open/repositories/api";
    let page = world.get("", base).await;
    // The newest version, not what was pushed last.
    assert!(
        page.status == 200 && page.has(&format!("docker pull {HOST}/open/api:1.10.0</code>")),
        "{}",
        page.body
    );
    assert!(!page.has("delete-tags"));
    for path in [
        "/-/tags/1.10.0",
        &format!("/-/artifacts/{digest}"),
        "/-/history",
        "/-/about",
        "/-/artifacts?show=untagged",
    ] {
        assert_eq!(world.get("", &format!("{base}{path}")).await.status, 200, "{path}");
    }
    let order = |body: &str| {
        ["1.9.2", "1.10.0", "nightly"].map(|tag| body.find(&format!("/-/tags/{tag}\"")).unwrap())
    };
    let natural = order(&world.get("", &format!("{base}?sort=natural")).await.body);
    assert!(natural.is_sorted(), "{natural:?}");
    let list = world.get("", "/projects/open/repositories").await;
    assert!(list.status == 200 && list.has("/projects/open/repositories/api"), "{}", list.body);
}

#[actix_web::test]
async fn pages_cost_the_same_however_much_there_is() {
    let (world, project, ana, digest) = shop().await;
    let paths = ["", "/-/artifacts", "/-/history", &format!("/-/artifacts/{digest}")]
        .map(|path| format!("{BASE}{path}"));
    let cost = async |path: &str| {
        let before = world.statements().await;
        assert_eq!(world.get(&ana, path).await.status, 200);
        world.statements().await - before
    };
    let mut few = Vec::new();
    for path in &paths {
        few.push(cost(path).await);
    }
    for number in 0..20 {
        world.image(project, "shop/back/api", &format!("w{number}"), format!("{number}").as_bytes()).await;
    }
    for (path, few) in paths.iter().zip(few) {
        assert_eq!(cost(path).await, few, "{path}");
    }
}
