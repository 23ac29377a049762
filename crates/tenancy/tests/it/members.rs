//! Members: what they are added as, and whose tokens end when they go.

use tenancy::{
    Config, CreateMember, DeleteMember, Error, ListMembers, MemberRef, NewMember, PushRepository, ReadMember,
    Role, UpdateMember,
};

use crate::world::{World, account, id};

#[tokio::test]
async fn adding_by_id_and_by_name() {
    let world = World::new().await;
    let project = world.project(&world.ana, "alpha", false).await;
    let permit = world.permit::<CreateMember>(&world.ana, project).await.unwrap();
    let add = |user: MemberRef, role: i64| {
        let (tenancy, permit) = (&world.tenancy, &permit);
        async move { tenancy.member_add(permit, &NewMember { member: user, role }).await }
    };
    assert!(matches!(add(MemberRef::UserId(4711), 1).await, Err(Error::Invalid(_))));
    assert!(matches!(add(MemberRef::UserName("nobody".to_owned()), 1).await, Err(Error::UserUnknown(_))));
    assert!(matches!(add(MemberRef::UserName("a\0b".to_owned()), 1).await, Err(Error::UserUnknown(_))));
    for role in [0, 6, -1] {
        assert!(
            matches!(add(MemberRef::UserName("ben".to_owned()), role).await, Err(Error::Invalid(_))),
            "{role}"
        );
    }
    add(MemberRef::UserName("BEN".to_owned()), 3).await.unwrap();
    assert!(matches!(add(MemberRef::UserId(id(&world.ben)), 2).await, Err(Error::MemberExists(_))));
    assert_eq!(world.member_names(project).await, ["ana", "ben"]);
    assert_eq!(world.trail().await.last().unwrap(), "ana project_member_add ben done");
}

#[tokio::test]
async fn a_project_has_room_for_so_many() {
    let world = World::with(Config { members_per_project_max: 2, ..Config::default() }).await;
    let project = world.project(&world.ana, "alpha", false).await;
    world.member(project, &world.ben, Role::Guest).await;
    let permit = world.permit::<CreateMember>(&world.ana, project).await.unwrap();
    let new = NewMember { member: MemberRef::UserId(id(&world.root)), role: 1 };
    assert!(matches!(world.tenancy.member_add(&permit, &new).await, Err(Error::LimitReached(_))));
}

#[tokio::test]
async fn weaker_roles_and_removal_end_the_tokens_of_that_project_alone() {
    let world = World::new().await;
    let project = world.project(&world.ana, "alpha", false).await;
    let member = world.member(project, &world.ben, Role::Guest).await;
    let ben = id(&world.ben);
    let update = world.permit::<UpdateMember>(&world.ana, project).await.unwrap();
    for (role, epoch) in [
        (Role::Developer, 0),
        (Role::ProjectAdmin, 0),
        (Role::Maintainer, 1),
        (Role::Maintainer, 1),
        (Role::Guest, 2),
    ] {
        world.tenancy.member_update(&update, member, role.id().into()).await.unwrap();
        assert_eq!(world.epoch(2, project.0).await, epoch, "{role:?}");
    }
    assert!(matches!(world.permit::<PushRepository>(&world.ben, project).await, Err(Error::Hidden)));
    let remove = world.permit::<DeleteMember>(&world.ana, project).await.unwrap();
    world.tenancy.member_remove(&remove, member).await.unwrap();
    assert_eq!(world.epoch(2, project.0).await, 3);
    // Nobody who runs a project can end what its members hold elsewhere.
    assert_eq!((world.epoch(1, id(&world.ana)).await, world.epoch(1, ben).await), (0, 0));
    assert!(matches!(world.tenancy.member_remove(&remove, member).await, Err(Error::MemberUnknown(_))));
    assert!(matches!(world.permit::<ReadMember>(&world.ben, project).await, Err(Error::Hidden)));
}

/// AU-20: the id of another project's member is as unknown as a random one.
#[tokio::test]
async fn ids_of_other_projects_are_unknown() {
    let world = World::new().await;
    let ours = world.project(&world.ana, "ours", false).await;
    let theirs = world.project(&world.root, "theirs", false).await;
    let foreign = world.member(theirs, &world.ben, Role::Guest).await;
    let read = world.permit::<ReadMember>(&world.ana, ours).await.unwrap();
    let update = world.permit::<UpdateMember>(&world.ana, ours).await.unwrap();
    let remove = world.permit::<DeleteMember>(&world.ana, ours).await.unwrap();
    for member in [foreign, 4711] {
        let unknown = format!("project member {member} not found");
        assert_eq!(world.tenancy.member_get(&read, member).await.unwrap_err().to_string(), unknown);
        assert_eq!(world.tenancy.member_update(&update, member, 1).await.unwrap_err().to_string(), unknown);
        assert_eq!(world.tenancy.member_remove(&remove, member).await.unwrap_err().to_string(), unknown);
    }
    assert_eq!(world.member_names(theirs).await, ["ben", "root"]);
}

#[tokio::test]
async fn lists_filter_by_name_literally() {
    let world = World::new().await;
    let project = world.project(&world.ana, "alpha", false).await;
    for name in ["Zoe", "a_b", "axb"] {
        let caller = account(&world.database, name, false).await;
        world.member(project, &caller, Role::Guest).await;
    }
    let permit = world.permit::<ListMembers>(&world.ana, project).await.unwrap();
    let names = |part: Option<&'static str>| {
        let (tenancy, permit) = (&world.tenancy, &permit);
        async move {
            let page = tenancy.member_list(permit, part, 1, 10).await.unwrap();
            assert_eq!(page.total, page.rows.len() as i64);
            page.rows.into_iter().map(|member| member.name).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(names(None).await, "a_b ana axb Zoe");
    assert_eq!(names(Some("_")).await, "a_b");
    assert_eq!(names(Some("%")).await, "");
    assert_eq!(names(Some("z")).await, "Zoe");
    let counts = world.tenancy.member_counts(project).await.unwrap();
    assert_eq!((counts.project_admin, counts.guest, counts.developer), (1, 3, 0));
}
