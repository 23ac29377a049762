//! Finding accounts: one, many, a page of them, or just their names.
//!
//! Reads only. Deleted accounts are found nowhere but in [`Identity::user_names`], which history needs.

use std::collections::HashMap;

use database::list;

use crate::Identity;
use crate::error::Error;
use crate::principal::{Caller, Principal, User, UserId};
use crate::users::{Account, FIRST};

static COLUMNS: list::Columns = list::Columns::new(
    &[
        list::integer("user_id", "u.id").sortable(),
        list::text("username", "u.username").sortable(),
        list::text("email", "u.email").sortable(),
        list::text("realname", "u.realname").sortable(),
        list::text("comment", "u.comment").sortable(),
        list::flag("sysadmin_flag", "u.sysadmin").sortable(),
        list::time("creation_time", "u.created_at").sortable(),
        list::time("update_time", "u.updated_at").sortable(),
    ],
    "u.username",
    "u.id",
);

const SELECTED: &str = "u.id, u.username as name, u.email, u.realname, u.comment, u.sysadmin, u.disabled, \
                        u.created_at, u.updated_at";

/// A key of `q` that is about two columns.
const NAME_OR_EMAIL: &str = "username_or_email";

/// Parts of names and addresses that a list of accounts is narrowed down to.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserFilter<'a> {
    /// Whether the first administrator is among them, whom clients of the API do not expect there.
    pub with_first: bool,
    pub name: Option<&'a str>,
    pub email: Option<&'a str>,
}

fn accounts() -> list::Select {
    list::Select::new(SELECTED, "identity.users u").and_sql("u.deleted_at is null")
}

fn bad_query(err: list::Error) -> Error {
    match err {
        list::Error::Database(err) => err.into(),
        other => Error::BadQuery(other),
    }
}

impl Identity {
    /// The account of that name, whatever its case. Deleted ones have no name any more.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<Account>, Error> {
        if name.contains('\0') {
            return Ok(None);
        }
        let account = sqlx::query_as!(
            Account,
            r#"select id as "id: _", username as name, email, realname, comment, sysadmin, disabled,
                      created_at, updated_at
               from identity.users where lower(username) = lower($1) and deleted_at is null"#,
            name
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        Ok(account)
    }

    /// The account with that id, unless deleted.
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<Account>, Error> {
        Ok(self.users_by_ids(&[id]).await?.pop())
    }

    /// The accounts with these ids, in order of their ids. Unknown and deleted ones are left out.
    pub async fn users_by_ids(&self, ids: &[UserId]) -> Result<Vec<Account>, Error> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let accounts = sqlx::query_as!(
            Account,
            r#"select id as "id: _", username as name, email, realname, comment, sysadmin, disabled,
                      created_at, updated_at
               from identity.users where id = any($1) and deleted_at is null order by id"#,
            &ids
        )
        .fetch_all(self.0.database.pool())
        .await?;
        Ok(accounts)
    }

    /// Names for showing who did something; deleted accounts keep theirs here.
    pub async fn user_names(&self, ids: &[UserId]) -> Result<HashMap<UserId, String>, Error> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query!("select id, username from identity.users where id = any($1)", &ids)
            .fetch_all(self.0.database.pool())
            .await?;
        Ok(rows.into_iter().map(|row| (UserId(row.id), row.username)).collect())
    }

    /// One page of accounts for a system administrator. The first administrator is left out, as in Harbor.
    ///
    /// # Errors
    /// `Forbidden`, `Unauthenticated`, `BadQuery`.
    pub async fn users_list(
        &self,
        caller: &Caller,
        query: &list::Query,
    ) -> Result<list::Page<Account>, Error> {
        caller.require_sysadmin()?;
        self.user_page(&UserFilter::default(), query).await
    }

    /// As [`Identity::users_list`], for a caller of whom `tenancy` has decided that it may.
    ///
    /// # Errors
    /// `BadQuery`.
    pub async fn user_page(
        &self,
        filter: &UserFilter<'_>,
        query: &list::Query,
    ) -> Result<list::Page<Account>, Error> {
        let mut select = accounts();
        if !filter.with_first {
            select = select.and("u.id <> ", FIRST.0);
        }
        if let Some(part) = filter.name {
            select = select.and_contains("u.username", part);
        }
        if let Some(part) = filter.email {
            select = select.and_contains("u.email", part);
        }
        let mut query = query.clone();
        for (key, value) in query.terms.extract_if(.., |(key, _)| key.eq_ignore_ascii_case(NAME_OR_EMAIL)) {
            select = match value {
                list::Value::Exact(text) => select.and_with("", text, " in (u.username, u.email)"),
                list::Value::Fuzzy(part) => select.and_contains("u.username || chr(10) || u.email", &part),
                _ => return Err(Error::BadQuery(list::Error::BadValue { key })),
            };
        }
        list::page(self.0.database.pool(), select, &COLUMNS, &query).await.map_err(bad_query)
    }

    /// One page of the accounts whose user name contains `part`: all of them, or only the one with this id.
    pub async fn user_search(
        &self,
        part: &str,
        only: Option<UserId>,
        page: i64,
        page_size: i64,
    ) -> Result<list::Page<Account>, Error> {
        let mut select = accounts().and_contains("u.username", part);
        if let Some(id) = only {
            select = select.and("u.id = ", id.0);
        }
        let query = list::Query { page, page_size, ..list::Query::default() };
        list::page(self.0.database.pool(), select, &COLUMNS, &query).await.map_err(bad_query)
    }

    /// The user with that id as a principal, when the account is active: for work that outlives its token.
    pub async fn active_user(&self, id: i64) -> Result<Option<User>, Error> {
        let row = sqlx::query!(
            r#"select u.username, u.sysadmin, coalesce(e.epoch, 0) as "epoch!"
               from identity.users u
               left join identity.epochs e on e.kind = 1 and e.subject_id = u.id
               where u.id = $1 and not u.disabled and u.deleted_at is null"#,
            id
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        Ok(row.map(|row| User {
            id: UserId(id),
            name: row.username,
            sysadmin: row.sysadmin,
            epoch: row.epoch,
            limits: None,
        }))
    }

    /// The system administrator with the lowest number: who owns what no person owns.
    pub async fn first_administrator(&self) -> Result<Option<User>, Error> {
        let row = sqlx::query!(
            r#"select u.id, u.username, coalesce(e.epoch, 0) as "epoch!"
               from identity.users u
               left join identity.epochs e on e.kind = 1 and e.subject_id = u.id
               where u.sysadmin and u.deleted_at is null order by u.id limit 1"#
        )
        .fetch_optional(self.0.database.pool())
        .await?;
        Ok(row.map(|row| User {
            id: UserId(row.id),
            name: row.username,
            sysadmin: true,
            epoch: row.epoch,
            limits: None,
        }))
    }

    /// The same account as it is now, whatever kind it is; nobody stays nobody. `None` when it may not act any more.
    pub async fn active(&self, principal: &Principal) -> Result<Option<Principal>, Error> {
        match principal {
            Principal::Anonymous => Ok(Some(Principal::Anonymous)),
            Principal::User(User { id, limits: Some(limits), .. }) => {
                let Some(limits) = self.active_limits(limits.token).await? else { return Ok(None) };
                let user = self.active_user(id.0).await?;
                Ok(user.map(|user| Principal::User(User { limits: Some(limits.into()), ..user })))
            }
            Principal::User(user) => Ok(self.active_user(user.id.0).await?.map(Principal::User)),
            Principal::Robot(robot) => Ok(self.active_robot(robot.id).await?.map(Principal::Robot)),
        }
    }
}
