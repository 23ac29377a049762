//! Grants: what a token may say about many projects at once.

use identity::Principal;
use oci::scope::{Scope, parse_all};
use tenancy::{DeleteMember, Role, Visible};

use crate::world::{World, id};

fn scopes(text: &str) -> Vec<Scope> {
    parse_all([text]).unwrap()
}

/// `name[actions]@project.epoch` for each entry.
async fn granted(world: &World, principal: &Principal, text: &str) -> String {
    let access = world.tenancy.grant(principal, &scopes(text)).await.unwrap();
    access
        .iter()
        .map(|entry| {
            let project = entry.project.map_or_else(String::new, |(id, epoch)| format!("@{id}.{epoch}"));
            format!("{}[{}]{project}", entry.name, entry.actions.join(","))
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// AZ-03: a token carries what was asked for and is allowed.
#[tokio::test]
async fn requested_and_allowed() {
    let world = World::new().await;
    let a = world.project(&world.ana, "a", false).await;
    let b = world.project(&world.root, "b", true).await;
    world.member(a, &world.ben, Role::Developer).await;
    let everything =
        "repository:a/x:pull,push,delete repository:b/y:pull,push repository:nope/z:pull registry:catalog:*";
    for (caller, expected) in [
        (&world.anonymous, format!("a/x[] b/y[pull]@{}.0 nope/z[] catalog[]", b.0)),
        (&world.ben, format!("a/x[pull,push]@{}.0 b/y[pull]@{}.0 nope/z[] catalog[]", a.0, b.0)),
        (&world.ana, format!("a/x[pull,push,delete]@{}.0 b/y[pull]@{}.0 nope/z[] catalog[]", a.0, b.0)),
        (
            &world.root,
            format!("a/x[pull,push,delete]@{}.0 b/y[pull,push]@{}.0 nope/z[] catalog[*]", a.0, b.0),
        ),
    ] {
        assert_eq!(granted(&world, &caller.principal, everything).await, expected);
    }
    for odd in [
        "repository:a:pull",
        "repository:A/x:pull",
        "repository:a/../b:pull",
        "other:a/x:pull",
        "repository:a/x:eat",
    ] {
        let name = odd.split(':').nth(1).unwrap();
        assert_eq!(granted(&world, &world.root.principal, odd).await, format!("{name}[]"), "{odd}");
    }
    assert_eq!(granted(&world, &world.ana.principal, "").await, "");
}

#[tokio::test]
async fn the_epoch_of_the_project_comes_along() {
    let world = World::new().await;
    let project = world.project(&world.ana, "a", false).await;
    let mut tx = world.database.begin().await.unwrap();
    identity::epochs::raise(&mut tx, identity::epochs::Subject::Project(project.0)).await.unwrap();
    tx.commit().await.unwrap();
    let grant = granted(&world, &world.ana.principal, "repository:a/x:*").await;
    assert_eq!(grant, format!("a/x[pull,push,delete]@{}.1", project.0));
}

#[tokio::test]
async fn one_statement_for_any_number_of_scopes() {
    let world = World::new().await;
    world.project(&world.ana, "a", false).await;
    for text in
        ["repository:nope/x:pull", "repository:a/x:pull repository:a/y:pull repository:c/z:pull", "odd:x:y"]
    {
        let before = world.database.statements().await;
        granted(&world, &world.ana.principal, text).await;
        assert_eq!(world.database.statements().await - before, 1, "{text}");
    }
}

#[tokio::test]
async fn pulling_from_any_of_some_projects() {
    let world = World::new().await;
    let private = world.project(&world.ana, "a", false).await;
    let public = world.project(&world.ana, "b", true).await;
    let may = |caller: &identity::Caller, projects: Vec<tenancy::ProjectId>| {
        // As from a token, which never says that somebody is a system administrator.
        let principal = match &caller.principal {
            Principal::User(user) => Principal::User(identity::User { sysadmin: false, ..user.clone() }),
            other => other.clone(),
        };
        let tenancy = world.tenancy.clone();
        async move { tenancy.may_pull_any(&principal, &projects).await.unwrap() }
    };
    assert!(!may(&world.ben, vec![private]).await);
    assert!(may(&world.ben, vec![private, public]).await);
    assert!(may(&world.ana, vec![private]).await);
    assert!(may(&world.root, vec![private]).await);
    assert!(!may(&world.anonymous, vec![private]).await);
    assert!(!may(&world.root, vec![]).await);
}

#[tokio::test]
async fn visible_projects() {
    let world = World::new().await;
    let private = world.project(&world.ana, "a", false).await;
    let public = world.project(&world.ana, "b", true).await;
    let member = world.member(private, &world.ben, Role::LimitedGuest).await;
    let visible = |caller: &identity::Caller| {
        let (tenancy, principal) = (world.tenancy.clone(), caller.principal.clone());
        async move {
            match tenancy.visible(&principal).await.unwrap() {
                Visible::All => None,
                Visible::Only(mut ids) => {
                    ids.sort();
                    Some(ids)
                }
            }
        }
    };
    assert_eq!(visible(&world.root).await, None);
    assert_eq!(visible(&world.anonymous).await, Some(vec![public]));
    assert_eq!(visible(&world.ben).await, Some(vec![private, public]));
    let permit = world.permit::<DeleteMember>(&world.ana, private).await.unwrap();
    world.tenancy.member_remove(&permit, member).await.unwrap();
    assert_eq!(visible(&world.ben).await, Some(vec![public]));
    assert_ne!(id(&world.ben), id(&world.ana));
}
