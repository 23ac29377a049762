//! One database with some accounts: `root` administers the system, the others are ordinary.

use database::Clock;
use database::testing::TestDatabase;
use identity::{Caller, Identity, Origin, Principal, User, UserId};
use tenancy::{
    Config, Error, ListMembers, NewProject, Permit, ProjectAction, ProjectId, ProjectRef, Role, Tenancy,
};

pub struct World {
    pub database: TestDatabase,
    pub tenancy: Tenancy,
    pub root: Caller,
    pub ana: Caller,
    pub ben: Caller,
    pub anonymous: Caller,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let database = database::testing::database().await;
        let keyring = sealed::Keyring::load(sealed::Secret::new(vec![7; 32]), &database).await.unwrap();
        let identity = Identity::new(database.clone(), keyring, identity::Config::default(), Clock::system())
            .await
            .unwrap();
        let tenancy = Tenancy::new(database.clone(), identity, config);
        let root = account(&database, "root", true).await;
        let ana = account(&database, "ana", false).await;
        let ben = account(&database, "ben", false).await;
        let anonymous = Caller::new(Principal::Anonymous, Origin::default());
        Self { database, tenancy, root, ana, ben, anonymous }
    }

    pub async fn project(&self, owner: &Caller, name: &str, public: bool) -> ProjectId {
        let new = NewProject { name: name.to_owned(), public, ..NewProject::default() };
        self.tenancy.project_create(owner, new).await.unwrap()
    }

    pub async fn permit<A: ProjectAction>(
        &self,
        caller: &Caller,
        project: ProjectId,
    ) -> Result<Permit<A>, Error> {
        self.tenancy.permit::<A>(caller, &ProjectRef::from(project)).await
    }

    /// Makes the caller a member and returns the member's id.
    pub async fn member(&self, project: ProjectId, caller: &Caller, role: Role) -> i64 {
        let permit = self.permit(&self.root, project).await.unwrap();
        let user = tenancy::MemberRef::UserId(id(caller));
        let new = tenancy::NewMember { member: user, role: role.id().into() };
        self.tenancy.member_add(&permit, &new).await.unwrap()
    }

    pub async fn member_names(&self, project: ProjectId) -> Vec<String> {
        let permit: Permit<ListMembers> = self.permit(&self.root, project).await.unwrap();
        let page = self.tenancy.member_list(&permit, None, 1, 100).await.unwrap();
        page.rows.into_iter().map(|member| member.name).collect()
    }

    /// The epoch of a user (kind 1) or a project (kind 2).
    pub async fn epoch(&self, kind: i16, id: i64) -> i64 {
        sqlx::query_scalar(
            "select coalesce(max(epoch), 0) from identity.epochs where kind = $1 and subject_id = $2",
        )
        .bind(kind)
        .bind(id)
        .fetch_one(self.database.owner())
        .await
        .unwrap()
    }

    /// Whether any session of this database waits for a lock.
    pub async fn somebody_waits(&self) -> bool {
        sqlx::query_scalar(
            "select exists (select 1 from pg_stat_activity
                            where datname = current_database() and wait_event_type = 'Lock')",
        )
        .fetch_one(self.database.owner())
        .await
        .unwrap()
    }

    /// The trail so far: `actor action object outcome`.
    pub async fn trail(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select concat_ws(' ', actor_name, action, object_name, outcome) from audit.entries order by id",
        )
        .fetch_all(self.database.owner())
        .await
        .unwrap()
    }
}

pub async fn account(database: &TestDatabase, name: &str, sysadmin: bool) -> Caller {
    let id: i64 =
        sqlx::query_scalar("insert into identity.users (username, sysadmin) values ($1, $2) returning id")
            .bind(name)
            .bind(sysadmin)
            .fetch_one(database.owner())
            .await
            .unwrap();
    let user = User { id: UserId(id), name: name.to_owned(), sysadmin, epoch: 0, limits: None };
    Caller::new(Principal::User(user), Origin::default())
}

pub fn id(caller: &Caller) -> i64 {
    caller.user().unwrap().id.0
}
