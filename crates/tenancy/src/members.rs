//! Members: which account holds which role in a project.
//!
//! Every statement carries the project's id, so the id of another project's member is as unknown as a random
//! one. Names of accounts come from `identity` and are read, never stored.
//!
//! Invariant: removing a member, or giving a weaker role, raises that user's epoch in the same transaction.
//! The project's own epoch stays: nobody else's tokens have to end for it.

use audit::{Entry, Object, Outcome};
use chrono::{DateTime, Utc};
use database::Tx;
use database::list::{self, Columns, Page, Query, Select, Value};
use identity::epochs::{self, Subject};
use identity::{Account, UserId};

use crate::{
    CreateMember, DeleteMember, Error, ListMembers, Permit, ProjectId, ReadMember, Role, Tenancy,
    UpdateMember,
};

/// A member of one project.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Member {
    pub id: i64,
    pub project_id: i64,
    pub user_id: i64,
    pub username: String,
    /// The number of the role.
    pub role: i16,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// How a request names the account of a new member.
#[derive(Clone, Debug)]
pub enum UserRef {
    Id(i64),
    /// Ignoring case, as at login.
    Name(String),
}

/// What is needed to add a member.
#[derive(Clone, Debug)]
pub struct NewMember {
    pub user: UserRef,
    /// The number of the role, as sent.
    pub role: i64,
}

/// Members per role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberCounts {
    pub project_admin: i64,
    pub maintainer: i64,
    pub developer: i64,
    pub guest: i64,
    pub limited_guest: i64,
}

/// Members take no `q`; the service passes its own parameter as a term of `entity_name`.
const COLUMNS: Columns =
    Columns::new(&[list::text("entity_name", "u.username").sortable()], "lower(u.username)", "m.id");

fn members(project: ProjectId) -> Select {
    Select::new(
        "m.id, m.project_id, m.entity_id as user_id, u.username, m.role, m.created_at, m.updated_at",
        "tenancy.members m join identity.users u on u.id = m.entity_id and u.deleted_at is null",
    )
    .and_sql("m.entity_type = 'u'")
    .and("m.project_id = ", project.0)
}

impl Tenancy {
    /// A page of the members, by name. `name` narrows it to names that contain it.
    pub async fn member_list(
        &self,
        permit: &Permit<ListMembers>,
        name: Option<&str>,
        page: i64,
        page_size: i64,
    ) -> Result<Page<Member>, Error> {
        let query = Query {
            terms: name
                .map(|name| ("entity_name".to_owned(), Value::Fuzzy(name.to_owned())))
                .into_iter()
                .collect(),
            page,
            page_size,
            ..Query::default()
        };
        Ok(list::page(self.database.pool(), members(permit.project), &COLUMNS, &query).await?)
    }

    /// One member.
    pub async fn member_get(&self, permit: &Permit<ReadMember>, member: i64) -> Result<Member, Error> {
        let select = members(permit.project).and("m.id = ", member);
        let page: Page<Member> =
            list::page(self.database.pool(), select, &COLUMNS, &Query::default()).await?;
        page.rows.into_iter().next().ok_or(Error::MemberUnknown(member))
    }

    /// How many members hold each role.
    pub async fn member_counts(&self, project: ProjectId) -> Result<MemberCounts, Error> {
        Ok(sqlx::query_as!(
            MemberCounts,
            r#"select count(*) filter (where m.role = 1) as "project_admin!",
                      count(*) filter (where m.role = 4) as "maintainer!",
                      count(*) filter (where m.role = 2) as "developer!",
                      count(*) filter (where m.role = 3) as "guest!",
                      count(*) filter (where m.role = 5) as "limited_guest!"
               from tenancy.members m
               join identity.users u on u.id = m.entity_id and u.deleted_at is null
               where m.project_id = $1 and m.entity_type = 'u'"#,
            project.0
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    /// Adds a member and returns its id.
    ///
    /// # Errors
    /// `Invalid` for an unknown role or user id, `UserUnknown` for an unknown name, `MemberExists`,
    /// `LimitReached`, `ProjectGone`.
    pub async fn member_add(&self, permit: &Permit<CreateMember>, new: &NewMember) -> Result<i64, Error> {
        let role = Role::from_id(new.role).ok_or_else(|| Error::role(new.role))?;
        let account = self.account(&new.user).await?;
        let mut tx = self.database.begin().await?;
        self.project_lock(&mut tx, permit.project).await?;
        self.check_room(&mut tx, permit.project).await?;
        let member = sqlx::query_scalar!(
            "insert into tenancy.members (project_id, entity_type, entity_id, role) values ($1, 'u', $2, $3)
             on conflict (project_id, entity_type, entity_id) do nothing returning id",
            permit.project.0,
            account.id.0,
            role.id()
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Error::MemberExists(account.name.clone()))?;
        trail(&mut tx, permit, "project_member_add", member, &account.name, &["role"]).await?;
        tx.commit().await?;
        Ok(member)
    }

    /// Gives a member another role.
    pub async fn member_update(
        &self,
        permit: &Permit<UpdateMember>,
        member: i64,
        role: i64,
    ) -> Result<(), Error> {
        let role = Role::from_id(role).ok_or_else(|| Error::role(role))?;
        let mut tx = self.database.begin().await?;
        let held = sqlx::query!(
            r#"select m.entity_id, m.role, u.username
               from tenancy.members m join identity.users u on u.id = m.entity_id and u.deleted_at is null
               where m.id = $1 and m.project_id = $2 and m.entity_type = 'u' for update of m"#,
            member,
            permit.project.0
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::MemberUnknown(member))?;
        sqlx::query!(
            "update tenancy.members set role = $2, updated_at = now() where id = $1",
            member,
            role.id()
        )
        .execute(&mut *tx)
        .await?;
        let before = Role::from_id(held.role.into());
        if before.is_none_or(|before| before.strength() > role.strength()) {
            end_grants(&mut tx, permit.project).await?;
        }
        trail(&mut tx, permit, "project_member_update", member, &held.username, &["role"]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes a member.
    pub async fn member_remove(&self, permit: &Permit<DeleteMember>, member: i64) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let user = sqlx::query_scalar!(
            "delete from tenancy.members where id = $1 and project_id = $2 and entity_type = 'u'
             returning entity_id",
            member,
            permit.project.0
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::MemberUnknown(member))?;
        let username = sqlx::query_scalar!("select username from identity.users where id = $1", user)
            .fetch_optional(&mut *tx)
            .await?
            .unwrap_or_default();
        end_grants(&mut tx, permit.project).await?;
        trail(&mut tx, permit, "project_member_remove", member, &username, &[]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The account that is named.
    async fn account(&self, user: &UserRef) -> Result<Account, Error> {
        match user {
            UserRef::Id(id) => self
                .identity
                .user_by_id(UserId(*id))
                .await?
                .ok_or_else(|| Error::Invalid(format!("user {id} does not exist"))),
            UserRef::Name(name) => {
                self.identity.user_by_name(name).await?.ok_or_else(|| Error::UserUnknown(name.clone()))
            }
        }
    }

    async fn check_room(&self, tx: &mut Tx, project: ProjectId) -> Result<(), Error> {
        let members = sqlx::query_scalar!(
            r#"select count(*) as "count!" from tenancy.members where project_id = $1"#,
            project.0
        )
        .fetch_one(&mut **tx)
        .await?;
        if members < self.config.members_per_project_max {
            return Ok(());
        }
        Err(Error::LimitReached(format!(
            "a project can have at most {} members",
            self.config.members_per_project_max
        )))
    }
}

async fn trail<A>(
    tx: &mut Tx,
    permit: &Permit<A>,
    action: &'static str,
    member: i64,
    username: &str,
    changed: &[&'static str],
) -> Result<(), Error> {
    let entry = Entry {
        actor: permit.caller.actor(),
        action,
        object: Object { kind: "member", id: member.to_string(), name: username },
        project: Some(permit.project.0),
        outcome: Outcome::Done,
        origin: &permit.caller.origin,
        changed,
    };
    Ok(audit::append(tx, &entry).await?)
}

/// Ends the tokens that carry a grant in this project; clients ask for new ones. The project's epoch and not the
/// member's: whoever runs a project may add and remove anybody, and must not be able to end what others hold
/// elsewhere.
async fn end_grants(tx: &mut Tx, project: ProjectId) -> Result<(), Error> {
    Ok(epochs::raise(tx, Subject::Project(project.0)).await?)
}
