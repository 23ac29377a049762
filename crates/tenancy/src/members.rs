//! Members: which account, or which group of them, holds which role in a project.
//!
//! Every statement carries the project's id, so the id of another project's member is as unknown as a random
//! one. Names of accounts and groups come from `identity` and are read, never stored. What a person holds in all is
//! told by the view `tenancy.member_roles`.
//!
//! Invariant: removing a member, or giving a weaker role, raises the project's epoch in the same transaction.

use audit::{Entry, Object, Outcome};
use chrono::{DateTime, Utc};
use database::Tx;
use database::list::{self, Columns, Page, Query, Select, Value};
use identity::epochs::{self, Subject};
use identity::{Account, GroupName, LDAP_GROUP, NewGroup, UserId};

use crate::{
    CreateMember, DeleteMember, Error, ListMembers, Permit, ProjectId, ReadMember, Role, Tenancy,
    UpdateMember,
};

/// A member of one project.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Member {
    pub id: i64,
    pub project_id: i64,
    /// `u` for an account, `g` for a group.
    pub entity_type: String,
    /// The number of the account or group.
    pub entity_id: i64,
    /// Of the account or group.
    pub name: String,
    /// The kind of a group: 1 LDAP, 2 HTTP, 3 OIDC.
    pub group_kind: Option<i16>,
    /// The distinguished name of an LDAP group.
    pub group_dn: Option<String>,
    /// The number of the role.
    pub role: i16,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// How a request names a new member.
#[derive(Clone, Debug)]
pub enum MemberRef {
    UserId(i64),
    /// Ignoring case, as at login.
    UserName(String),
    GroupId(i64),
    /// By what a group is known by. Where there is none it is made: its source will tell who is in it.
    Group(NewGroup),
}

/// How a request names a member that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberName {
    User(String),
    Group(GroupName),
}

/// What is needed to add a member.
#[derive(Clone, Debug)]
pub struct NewMember {
    pub member: MemberRef,
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
const COLUMNS: Columns = Columns::new(
    &[list::text("entity_name", NAME).sortable()],
    "lower(coalesce(u.username, g.name))",
    "m.id",
);

const NAME: &str = "coalesce(u.username, g.name)";

fn members(project: ProjectId) -> Select {
    Select::new(
        "m.id, m.project_id, m.entity_type, m.entity_id, coalesce(u.username, g.name) as name,
         g.kind as group_kind, g.dn as group_dn, m.role, m.created_at, m.updated_at",
        "tenancy.members m
         left join identity.users u on m.entity_type = 'u' and u.id = m.entity_id and u.deleted_at is null
         left join identity.groups g on m.entity_type = 'g' and g.id = m.entity_id",
    )
    // Of accounts that were deleted the row stays.
    .and_sql("coalesce(u.id, g.id) is not null")
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

    /// One member, by name; nothing when there is none.
    pub async fn member_find(
        &self,
        permit: &Permit<ReadMember>,
        name: &MemberName,
    ) -> Result<Option<Member>, Error> {
        let all = members(permit.project);
        let select = match name {
            MemberName::User(name) => all.and("u.username = ", name.as_str()),
            MemberName::Group(name) => {
                let (kind, known) = name.parts();
                let column = if kind == LDAP_GROUP { "g.dn = " } else { "g.name = " };
                all.and("g.kind = ", i64::from(kind)).and(column, known)
            }
        };
        let page: Page<Member> =
            list::page(self.database.pool(), select, &COLUMNS, &Query::default()).await?;
        Ok(page.rows.into_iter().next())
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
               left join identity.users u
                 on m.entity_type = 'u' and u.id = m.entity_id and u.deleted_at is null
               left join identity.groups g on m.entity_type = 'g' and g.id = m.entity_id
               where m.project_id = $1 and coalesce(u.id, g.id) is not null"#,
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
        let account = self.account(&new.member).await?;
        let mut tx = self.database.begin().await?;
        self.project_lock(&mut tx, permit.project).await?;
        self.check_room(&mut tx, permit.project).await?;
        let (kind, id, name) = match account {
            Some(account) => ("u", account.id.0, account.name),
            None => self.group(&mut tx, permit, &new.member).await?,
        };
        let member = sqlx::query_scalar!(
            "insert into tenancy.members (project_id, entity_type, entity_id, role) values ($1, $2, $3, $4)
             on conflict (project_id, entity_type, entity_id) do nothing returning id",
            permit.project.0,
            kind,
            id,
            role.id()
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Error::MemberExists(name.clone()))?;
        trail(&mut tx, permit, "project_member_add", member, &name, &["role"]).await?;
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
            r#"select m.role, coalesce(u.username, g.name) as "name!"
               from tenancy.members m
               left join identity.users u
                 on m.entity_type = 'u' and u.id = m.entity_id and u.deleted_at is null
               left join identity.groups g on m.entity_type = 'g' and g.id = m.entity_id
               where m.id = $1 and m.project_id = $2 and coalesce(u.id, g.id) is not null for update of m"#,
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
        trail(&mut tx, permit, "project_member_update", member, &held.name, &["role"]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes a member.
    pub async fn member_remove(&self, permit: &Permit<DeleteMember>, member: i64) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let gone = sqlx::query!(
            "delete from tenancy.members where id = $1 and project_id = $2 returning entity_type, entity_id",
            member,
            permit.project.0
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::MemberUnknown(member))?;
        let name = sqlx::query_scalar!(
            r#"select username as "name!" from identity.users where $1 = 'u' and id = $2
               union all select name from identity.groups where $1 = 'g' and id = $2"#,
            gone.entity_type,
            gone.entity_id
        )
        .fetch_optional(&mut *tx)
        .await?
        .unwrap_or_default();
        end_grants(&mut tx, permit.project).await?;
        trail(&mut tx, permit, "project_member_remove", member, &name, &[]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The account that is named; nothing when it is a group.
    async fn account(&self, member: &MemberRef) -> Result<Option<Account>, Error> {
        let account = match member {
            MemberRef::UserId(id) => self
                .identity
                .user_by_id(UserId(*id))
                .await?
                .ok_or_else(|| Error::Invalid(format!("user {id} does not exist")))?,
            MemberRef::UserName(name) => {
                self.identity.user_by_name(name).await?.ok_or_else(|| Error::UserUnknown(name.clone()))?
            }
            MemberRef::GroupId(_) | MemberRef::Group(_) => return Ok(None),
        };
        Ok(Some(account))
    }

    /// The group that is named, which is not deleted until `tx` ends.
    async fn group(
        &self,
        tx: &mut Tx,
        permit: &Permit<CreateMember>,
        member: &MemberRef,
    ) -> Result<(&'static str, i64, String), Error> {
        let (id, name) = match member {
            MemberRef::Group(group) => self.identity.group_ensure(tx, &permit.caller, group).await?,
            MemberRef::GroupId(id) | MemberRef::UserId(id) => {
                let name = self.identity.group_keep(tx, *id).await?;
                (*id, name.ok_or_else(|| Error::Invalid(format!("user group {id} does not exist")))?)
            }
            MemberRef::UserName(name) => return Err(Error::UserUnknown(name.clone())),
        };
        Ok(("g", id, name))
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
    name: &str,
    changed: &[&'static str],
) -> Result<(), Error> {
    let entry = Entry {
        actor: permit.caller.actor(),
        action,
        object: Object { kind: "member", id: member.to_string(), name },
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
