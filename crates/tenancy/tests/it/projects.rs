//! Projects: creation, lists, changes, deletion.

use std::collections::BTreeMap;

use serde_json::json;
use tenancy::list::{Query, Value};
use tenancy::{
    Config, DeleteProject, Error, ListRepositories, NewProject, ProjectRef, ProjectUpdate, ReadProject, Role,
    UpdateProject,
};

use crate::world::{World, id};

fn named(name: &str) -> NewProject {
    NewProject { name: name.to_owned(), ..NewProject::default() }
}

#[tokio::test]
async fn creation_makes_owner_membership_and_quota() {
    let world = World::new().await;
    let new = NewProject {
        name: "alpha".to_owned(),
        public: true,
        metadata: BTreeMap::from([
            ("severity".to_owned(), "High".to_owned()),
            ("x".to_owned(), "y".to_owned()),
        ]),
        storage_limit: Some(5),
    };
    let project = world.tenancy.project_create(&world.ana, new).await.unwrap();
    let permit = world.permit::<ReadProject>(&world.ana, project).await.unwrap();
    let read = world.tenancy.project_get(&permit).await.unwrap();
    assert_eq!((read.name.as_str(), read.owner_name.as_str(), read.public), ("alpha", "ana", true));
    assert_eq!(read.metadata, BTreeMap::from([("severity".to_owned(), "high".to_owned())]));
    assert_eq!(read.roles, [Role::ProjectAdmin]);
    let quota = world.tenancy.quota_get(project).await.unwrap().unwrap();
    assert_eq!((quota.hard, quota.used), (-1, 0), "an ordinary account cannot choose its limit");
    assert_eq!(world.trail().await, ["ana project_create alpha done"]);
    let taken = world.tenancy.project_create(&world.ben, named("alpha")).await.unwrap_err();
    assert!(matches!(taken, Error::NameTaken(_)));
}

#[tokio::test]
async fn who_may_create_and_with_which_limit() {
    let world = World::with(Config { projects_per_account_max: 1, ..Config::default() }).await;
    let refused = world.tenancy.project_create(&world.anonymous, named("a")).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthenticated));
    world.tenancy.project_create(&world.ana, named("a")).await.unwrap();
    let refused = world.tenancy.project_create(&world.ana, named("b")).await.unwrap_err();
    assert!(matches!(refused, Error::LimitReached(_)));
    world.tenancy.project_create(&world.root, named("b")).await.unwrap();

    let changes =
        json!({"project_creation_restriction": "adminonly", "storage_per_project": 77, "unknown": 1});
    let changes = changes.as_object().unwrap();
    let refused = world.tenancy.configuration_update(&world.ana, changes).await.unwrap_err();
    assert!(matches!(refused, Error::Hidden));
    world.tenancy.configuration_update(&world.root, changes).await.unwrap();
    let refused = world.tenancy.project_create(&world.ben, named("cc")).await.unwrap_err();
    assert!(matches!(refused, Error::CreationRestricted));
    assert_eq!(world.trail().await.last().unwrap(), "ben project_create cc denied");
    let by_default = world.tenancy.project_create(&world.root, named("cc")).await.unwrap();
    assert_eq!(world.tenancy.quota_get(by_default).await.unwrap().unwrap().hard, 77);
    let chosen = NewProject { storage_limit: Some(9), ..named("d") };
    let chosen = world.tenancy.project_create(&world.root, chosen).await.unwrap();
    assert_eq!(world.tenancy.quota_get(chosen).await.unwrap().unwrap().hard, 9);
    let nothing = NewProject { storage_limit: Some(0), ..named("e") };
    assert!(matches!(world.tenancy.project_create(&world.root, nothing).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn decisions_tell_nobody_what_exists() {
    let world = World::new().await;
    let private = world.project(&world.ana, "private", false).await;
    let public = world.project(&world.ana, "public", true).await;
    let tenancy = &world.tenancy;
    let permit = |caller, project: ProjectRef| async move {
        let decided = tenancy.permit::<ReadProject>(caller, &project).await;
        decided.map(|permit| permit.name.to_string()).map_err(|err| err.to_string())
    };
    let unknown = || ProjectRef::parse("nowhere", false);
    let impossible = || ProjectRef::parse("No/Where", false);
    for project in [private.into(), unknown(), impossible(), ProjectRef::Id(4711)] {
        assert_eq!(permit(&world.anonymous, project.clone()).await.unwrap_err(), "authentication required");
        assert_eq!(permit(&world.ben, project).await.unwrap_err(), "access denied");
    }
    assert_eq!(permit(&world.root, unknown()).await.unwrap_err(), "project nowhere not found");
    assert_eq!(permit(&world.root, private.into()).await.unwrap(), "private");
    assert_eq!(permit(&world.ana, ProjectRef::parse("private", true)).await.unwrap(), "private");
    assert_eq!(permit(&world.anonymous, public.into()).await.unwrap(), "public");
    let denied = world.trail().await.into_iter().filter(|line| line.ends_with("denied")).count();
    assert_eq!(denied, 4, "one entry for each refusal of somebody signed in, none for anonymous ones");
}

#[tokio::test]
async fn a_decision_is_one_statement_for_known_and_unknown_alike() {
    let world = World::new().await;
    let private = world.project(&world.ana, "private", false).await;
    let mut counts = Vec::new();
    for project in [private.into(), ProjectRef::Id(4711), ProjectRef::parse("x/y", false)] {
        for caller in [&world.anonymous, &world.ben] {
            let before = world.database.statements().await;
            assert!(world.tenancy.permit::<ReadProject>(caller, &project).await.is_err());
            counts.push(world.database.statements().await - before);
        }
    }
    // Somebody signed in leaves an entry in the trail as well.
    assert_eq!(counts, [1, 2, 1, 2, 1, 2]);
}

#[tokio::test]
async fn lists_show_what_the_caller_may_see() {
    let world = World::new().await;
    for (owner, name, public) in [
        (&world.ana, "a_private", false),
        (&world.ana, "a-public", true),
        (&world.ben, "axprivate", false),
        (&world.ben, "b-public", true),
    ] {
        world.project(owner, name, public).await;
    }
    let names = |caller, terms: Vec<(&'static str, Value)>| {
        let terms = terms.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let query = Query { terms, ..Query::default() };
        let tenancy = world.tenancy.clone();
        async move {
            let page = tenancy.project_list(caller, &query).await?;
            assert_eq!(page.total, page.rows.len() as i64);
            Ok::<_, Error>(page.rows.into_iter().map(|project| project.name).collect::<Vec<_>>().join(" "))
        }
    };
    let exact = |text: &str| Value::Exact(text.to_owned());
    let fuzzy = |text: &str| Value::Fuzzy(text.to_owned());
    assert_eq!(names(&world.anonymous, vec![]).await.unwrap(), "a-public b-public");
    assert_eq!(names(&world.ana, vec![]).await.unwrap(), "a-public a_private b-public");
    assert_eq!(names(&world.root, vec![]).await.unwrap(), "a-public a_private axprivate b-public");
    assert_eq!(names(&world.ana, vec![("public", exact("false"))]).await.unwrap(), "a_private");
    assert_eq!(names(&world.anonymous, vec![("public", exact("false"))]).await.unwrap(), "");
    assert_eq!(names(&world.root, vec![("owner", exact("ben"))]).await.unwrap(), "axprivate b-public");
    assert_eq!(
        names(&world.root, vec![("name", fuzzy("a_p"))]).await.unwrap(),
        "a_private",
        "_ is a character"
    );
    assert_eq!(names(&world.root, vec![("name", fuzzy("%"))]).await.unwrap(), "");
    assert_eq!(names(&world.root, vec![("name", fuzzy("PUBLIC"))]).await.unwrap(), "a-public b-public");
    for key in ["password_hash", "u.username", "metadata", "owner.password", "repo_count"] {
        assert!(
            matches!(names(&world.root, vec![(key, exact("x"))]).await, Err(Error::BadQuery(_))),
            "{key}"
        );
    }
    let before = world.database.statements().await;
    world.tenancy.project_list(&world.ana, &Query { page_size: 1, ..Query::default() }).await.unwrap();
    assert!(world.database.statements().await - before <= 3);
}

#[tokio::test]
async fn changes_merge_and_privacy_ends_grants() {
    let world = World::new().await;
    let project = world.project(&world.ana, "alpha", true).await;
    let permit = world.permit::<UpdateProject>(&world.ana, project).await.unwrap();
    let metadata = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let update =
        ProjectUpdate { public: None, metadata: metadata(&[("severity", "low"), ("auto_scan", "false")]) };
    world.tenancy.project_update(&permit, &update).await.unwrap();
    let update = ProjectUpdate { public: Some(true), metadata: metadata(&[("severity", "high")]) };
    world.tenancy.project_update(&permit, &update).await.unwrap();
    assert_eq!(world.epoch(2, project.0).await, 0, "nothing was taken away");
    let update = ProjectUpdate { public: Some(false), ..ProjectUpdate::default() };
    world.tenancy.project_update(&permit, &update).await.unwrap();
    assert_eq!(world.epoch(2, project.0).await, 1);
    let read = world.permit::<ReadProject>(&world.ana, project).await.unwrap();
    let project = world.tenancy.project_get(&read).await.unwrap();
    assert!(!project.public);
    assert_eq!(project.metadata, metadata(&[("severity", "high"), ("auto_scan", "false")]));
    let update = ProjectUpdate { public: None, metadata: metadata(&[("prevent_vul", "true")]) };
    let refused = world.tenancy.project_update(&permit, &update).await.unwrap_err();
    assert!(matches!(refused, Error::NotAvailable(_)));
}

#[tokio::test]
async fn deletion_needs_an_empty_project_and_frees_the_name() {
    let world = World::new().await;
    let project = world.project(&world.ana, "alpha", true).await;
    let permit = world.permit::<DeleteProject>(&world.ana, project).await.unwrap();
    let mut tx = world.database.begin().await.unwrap();
    world.tenancy.repository_count_change(&mut tx, project, 1).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!world.tenancy.project_deletable(&permit).await.unwrap());
    assert!(matches!(world.tenancy.project_delete(&permit).await, Err(Error::NotEmpty)));
    let mut tx = world.database.begin().await.unwrap();
    world.tenancy.repository_count_change(&mut tx, project, -1).await.unwrap();
    tx.commit().await.unwrap();
    assert!(world.tenancy.project_deletable(&permit).await.unwrap());
    world.tenancy.project_delete(&permit).await.unwrap();
    assert_eq!(world.epoch(2, project.0).await, 1);
    assert!(matches!(world.tenancy.project_delete(&permit).await, Err(Error::ProjectGone)));
    let mut tx = world.database.begin().await.unwrap();
    assert!(matches!(world.tenancy.project_lock(&mut tx, project).await, Err(Error::ProjectGone)));
    let gone = world.tenancy.repository_count_change(&mut tx, project, 1).await;
    assert!(matches!(gone, Err(Error::ProjectGone)));
    drop(tx);
    let again = world.project(&world.ben, "alpha", false).await;
    assert_ne!(again, project);
    assert!(
        matches!(world.permit::<ReadProject>(&world.ana, again).await, Err(Error::Hidden)),
        "another project"
    );
    assert!(matches!(world.permit::<ReadProject>(&world.root, project).await, Err(Error::ProjectUnknown(_))));
}

/// A push that holds the project's lock makes the deletion wait, and the deletion then sees its repository.
#[tokio::test]
async fn deletion_waits_for_a_first_push() {
    let world = World::new().await;
    let project = world.project(&world.ana, "alpha", false).await;
    let permit = world.permit::<DeleteProject>(&world.ana, project).await.unwrap();
    let mut pushes = Vec::new();
    for _ in 0..2 {
        let mut tx = world.database.begin().await.unwrap();
        world.tenancy.project_lock(&mut tx, project).await.unwrap();
        pushes.push(tx);
    }
    let tenancy = world.tenancy.clone();
    let deletion = tokio::spawn(async move { tenancy.project_delete(&permit).await });
    while !world.somebody_waits().await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert!(!deletion.is_finished(), "the deletion did not wait");
    }
    // Two first pushes at once do not wait for each other's lock.
    let mut first = pushes.pop().unwrap();
    world.tenancy.repository_count_change(&mut first, project, 1).await.unwrap();
    first.commit().await.unwrap();
    let mut second = pushes.pop().unwrap();
    world.tenancy.repository_count_change(&mut second, project, 1).await.unwrap();
    second.commit().await.unwrap();
    assert!(matches!(deletion.await.unwrap(), Err(Error::NotEmpty)));
}

#[tokio::test]
async fn the_library_is_made_once() {
    let world = World::new().await;
    assert!(world.tenancy.ensure_library().await.unwrap());
    assert!(!world.tenancy.ensure_library().await.unwrap());
    let library = ProjectRef::parse("library", false);
    let permit = world.tenancy.permit::<ReadProject>(&world.anonymous, &library).await.unwrap();
    let project = world.tenancy.project_get(&permit).await.unwrap();
    assert_eq!((project.id, project.owner_id, project.public), (1, id(&world.root), true));
    let permit = world.tenancy.permit::<DeleteProject>(&world.root, &library).await.unwrap();
    world.tenancy.project_delete(&permit).await.unwrap();
    assert!(!world.tenancy.ensure_library().await.unwrap(), "who deleted it does not get it back");
}

#[tokio::test]
async fn visibility_by_name() {
    let world = World::new().await;
    world.project(&world.ana, "private", false).await;
    world.project(&world.ana, "public", true).await;
    for (caller, name, expected) in [
        (&world.ana, "private", true),
        (&world.ben, "private", false),
        (&world.ben, "public", true),
        (&world.ben, "unknown", false),
        (&world.root, "private", true),
    ] {
        assert_eq!(world.tenancy.project_visible(caller, name).await.unwrap(), expected, "{name}");
    }
    let anonymous = world.tenancy.project_visible(&world.anonymous, "public").await;
    assert!(matches!(anonymous, Err(Error::Unauthenticated)));
}

#[tokio::test]
async fn the_summary_leaves_out_what_the_caller_may_not_know() {
    let world = World::new().await;
    let project = world.project(&world.ana, "alpha", true).await;
    world.member(project, &world.ben, Role::LimitedGuest).await;
    let summary = |caller| {
        let world = &world;
        async move {
            let permit = world.permit::<ReadProject>(caller, project).await.unwrap();
            let summary = world.tenancy.project_summary(&permit).await.unwrap();
            (summary.members.is_some(), summary.quota.is_some())
        }
    };
    assert_eq!(summary(&world.ana).await, (true, true));
    assert_eq!(summary(&world.ben).await, (false, true));
    assert_eq!(summary(&world.anonymous).await, (false, false));
    assert!(world.permit::<ListRepositories>(&world.anonymous, project).await.is_ok());
}
