//! Quotas: the limit holds under contention, releases always work.

use tenancy::{DeleteProject, Error, NewProject, ProjectId};

use crate::world::World;

async fn limited(world: &World, bytes: i64) -> ProjectId {
    let new = NewProject { name: "alpha".to_owned(), storage_limit: Some(bytes), ..NewProject::default() };
    world.tenancy.project_create(&world.root, new).await.unwrap()
}

async fn charge(world: &World, project: ProjectId, bytes: i64) -> Result<(), Error> {
    let mut tx = world.database.begin().await.unwrap();
    world.tenancy.quota_charge(&mut tx, project, bytes).await?;
    tx.commit().await.unwrap();
    Ok(())
}

#[tokio::test]
async fn up_to_the_last_byte() {
    let world = World::new().await;
    let project = limited(&world, 10).await;
    charge(&world, project, 10).await.unwrap();
    let Err(Error::QuotaExceeded { used, hard, added, .. }) = charge(&world, project, 1).await else {
        panic!("the eleventh byte was taken");
    };
    assert_eq!((used, hard, added), (10, 10, 1));
    let text = charge(&world, project, 1).await.unwrap_err().to_string();
    assert!(text.starts_with("storage quota of project \"alpha\" is used up (10 of 10 B); "), "{text}");
    charge(&world, project, -3).await.unwrap();
    charge(&world, project, 3).await.unwrap();
    assert!(matches!(charge(&world, project, i64::MAX).await, Err(Error::QuotaExceeded { .. })));
    charge(&world, project, -1000).await.unwrap();
    assert_eq!(world.tenancy.quota_get(project).await.unwrap().unwrap().used, 0, "never below zero");
}

#[tokio::test]
async fn no_limit_and_no_project() {
    let world = World::new().await;
    let project = limited(&world, -1).await;
    charge(&world, project, 1 << 60).await.unwrap();
    let permit = world.permit::<DeleteProject>(&world.root, project).await.unwrap();
    world.tenancy.project_delete(&permit).await.unwrap();
    assert!(matches!(charge(&world, project, 1).await, Err(Error::ProjectGone)));
    charge(&world, project, -1).await.unwrap();
}

/// Ten at once for a limit of five: exactly five succeed.
/// DS-13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_the_same_byte_twice() {
    let world = std::sync::Arc::new(World::new().await);
    let project = limited(&world, 5).await;
    let charges: Vec<_> = (0..10)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { charge(&world, project, 1).await.is_ok() })
        })
        .collect();
    let mut taken = 0;
    for charge in charges {
        taken += usize::from(charge.await.unwrap());
    }
    assert_eq!(taken, 5);
    assert_eq!(world.tenancy.quota_get(project).await.unwrap().unwrap().used, 5);
}

/// A project near its limit is told of once, and again only when it gets there again.
#[tokio::test]
async fn warnings_are_told_once() {
    let world = World::new().await;
    let project = limited(&world, 100).await;
    let tell = async || world.tenancy.quota_warnings_tell(|| false).await.unwrap();
    charge(&world, project, 84).await.unwrap();
    assert_eq!(tell().await, 0);
    charge(&world, project, 1).await.unwrap();
    assert_eq!((tell().await, tell().await), (1, 0));
    charge(&world, project, 5).await.unwrap();
    assert_eq!(tell().await, 0);
    charge(&world, project, -20).await.unwrap();
    charge(&world, project, 20).await.unwrap();
    assert_eq!(tell().await, 1, "down and up again");
    world.tenancy.quota_set(&world.root, project.0, 1000).await.unwrap();
    assert_eq!(tell().await, 0);
    world.tenancy.quota_set(&world.root, project.0, 50).await.unwrap();
    assert_eq!(tell().await, 1, "the limit came down instead");
    let trail = world.trail().await;
    let told = trail.iter().filter(|act| *act == "hythe quota_warning alpha done").count();
    assert_eq!(told, 3, "{trail:?}");
}
