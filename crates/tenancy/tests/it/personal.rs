//! What people marked for themselves, and what they should look at.

use tenancy::list::{Query, Value};
use tenancy::{DeleteMember, DeleteProject, Error, ReadProject, RobotInput, RobotLevel, Role};

use crate::world::World;

impl World {
    async fn favourites(&self, caller: &identity::Caller) -> Vec<String> {
        let page = self.tenancy.favourite_list(caller, &Query::default()).await.unwrap();
        page.rows.into_iter().map(|project| project.name).collect()
    }
}

#[tokio::test]
async fn favourites_are_of_one_person_and_end_with_access() {
    let world = World::new().await;
    let open = world.project(&world.ana, "open", true).await;
    let closed = world.project(&world.ana, "closed", false).await;
    let member = world.member(closed, &world.ben, Role::Guest).await;
    for project in [open, closed, closed] {
        let permit = world.permit::<ReadProject>(&world.ben, project).await.unwrap();
        world.tenancy.favourite_set(&permit, true).await.unwrap();
        assert!(world.tenancy.is_favourite(&permit).await.unwrap());
    }
    assert_eq!(world.favourites(&world.ben).await, ["closed", "open"]);
    assert!(world.favourites(&world.ana).await.is_empty() && world.favourites(&world.root).await.is_empty());
    let named = Query { terms: vec![("name".to_owned(), Value::Fuzzy("op".to_owned()))], ..Query::default() };
    assert_eq!(world.tenancy.favourite_list(&world.ben, &named).await.unwrap().total, 1);

    // Who loses access sees it no more, and again when it comes back.
    let permit = world.permit::<DeleteMember>(&world.ana, closed).await.unwrap();
    world.tenancy.member_remove(&permit, member).await.unwrap();
    assert_eq!(world.favourites(&world.ben).await, ["open"]);
    world.member(closed, &world.ben, Role::Guest).await;
    assert_eq!(world.favourites(&world.ben).await, ["closed", "open"]);

    let permit = world.permit::<ReadProject>(&world.ben, open).await.unwrap();
    for _ in 0..2 {
        world.tenancy.favourite_set(&permit, false).await.unwrap();
    }
    assert!(!world.tenancy.is_favourite(&permit).await.unwrap());
    let gone = world.permit::<ReadProject>(&world.ben, closed).await.unwrap();
    let delete = world.permit::<DeleteProject>(&world.ana, closed).await.unwrap();
    world.tenancy.project_delete(&delete).await.unwrap();
    assert!(world.favourites(&world.ben).await.is_empty());
    assert!(matches!(world.tenancy.favourite_set(&gone, true).await, Err(Error::ProjectGone)));

    // Visitors have none.
    let visitor = world.permit::<ReadProject>(&world.anonymous, open).await.unwrap();
    assert!(!world.tenancy.is_favourite(&visitor).await.unwrap());
    assert!(matches!(world.tenancy.favourite_set(&visitor, true).await, Err(Error::Unauthenticated)));
    let list = world.tenancy.favourite_list(&world.anonymous, &Query::default()).await;
    assert!(matches!(list, Err(Error::Unauthenticated)));
}

#[tokio::test]
async fn what_wants_attention_is_told_to_who_can_act() {
    let world = World::new().await;
    let alpha = world.project(&world.ana, "alpha", true).await;
    let beta = world.project(&world.root, "beta", false).await;
    world.member(beta, &world.ben, Role::LimitedGuest).await;
    let fill = "update tenancy.quotas set hard_bytes = 100, used_bytes = $2 where project_id = $1";
    for (project, used) in [(alpha, 91), (beta, 100)] {
        sqlx::query(fill).bind(project.0).bind(used).execute(world.database.owner()).await.unwrap();
    }
    let full = async |caller| -> Vec<String> {
        let rows = world.tenancy.projects_nearly_full(caller, 90).await.unwrap();
        rows.into_iter().map(|row| row.project).collect()
    };
    assert_eq!(full(&world.ana).await, ["alpha"]);
    assert_eq!(full(&world.root).await, ["beta", "alpha"], "the fullest first");
    assert!(world.tenancy.projects_nearly_full(&world.ana, 92).await.unwrap().is_empty());
    assert!(world.tenancy.projects_nearly_full(&world.anonymous, 1).await.is_err());

    let robot = |level, name: &str, place: &str, days| RobotInput {
        name: name.to_owned(),
        level,
        description: String::new(),
        duration_days: Some(days),
        disabled: None,
        permissions: vec![tenancy::RobotPermission {
            kind: "project".to_owned(),
            namespace: place.to_owned(),
            access: vec![("repository".to_owned(), "pull".to_owned())],
        }],
    };
    for (level, name, place, days) in [
        (RobotLevel::Project, "soon", "alpha", 10),
        (RobotLevel::Project, "later", "alpha", 30),
        (RobotLevel::Project, "next", "beta", 5),
        (RobotLevel::System, "everywhere", "*", 12),
    ] {
        world.tenancy.robot_create(&world.root, &robot(level, name, place, days)).await.unwrap();
    }
    let ending = async |caller| -> Vec<(Option<String>, String)> {
        let rows = world.tenancy.robots_ending(caller, 14).await.unwrap();
        assert!(rows.iter().all(|row| row.name.ends_with(&row.short_name)));
        rows.into_iter().map(|row| (row.project, row.short_name)).collect()
    };
    let told = |project: &str, name: &str| (Some(project.to_owned()), name.to_owned());
    assert_eq!(ending(&world.ana).await, [told("alpha", "soon")]);
    assert!(ending(&world.ben).await.is_empty(), "a limited guest sees no robots");
    let all = [told("beta", "next"), told("alpha", "soon"), (None, "everywhere".to_owned())];
    assert_eq!(ending(&world.root).await, all);
    let disabled = "update identity.robots set disabled = true where name = 'alpha+soon'";
    sqlx::query(disabled).execute(world.database.owner()).await.unwrap();
    assert!(ending(&world.ana).await.is_empty());
}
