//! What somebody should look at soon in the projects where they may do something about it.

use chrono::{DateTime, Utc};
use identity::{Caller, Principal};

use crate::access_tokens::open_projects;
use crate::roles::{self, Action, Resource, Role};
use crate::{Error, Tenancy};

/// Rows that are told at most, the most urgent first.
const TOLD_MAX: i64 = 8;

/// A project that is nearly full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearlyFull {
    pub project: String,
    pub used: i64,
    pub hard: i64,
}

/// A robot whose time ends soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndingRobot {
    /// As it logs in.
    pub name: String,
    /// Inside its project, or on the installation.
    pub short_name: String,
    /// None for one of the installation.
    pub project: Option<String>,
    pub expires_at: DateTime<Utc>,
}

/// Roles that may do this.
fn roles_with(resource: Resource, action: Action) -> Vec<i16> {
    Role::ALL.into_iter().filter(|role| roles::permits(*role, resource, action)).map(Role::id).collect()
}

impl Tenancy {
    /// Projects whose use is at `percent` of their limit or above, of those whose quota the caller may read by a role;
    /// of all for system administrators. At most eight, the fullest first.
    ///
    /// # Errors
    /// `Unauthenticated` for who is no person.
    pub async fn projects_nearly_full(
        &self,
        caller: &Caller,
        percent: i64,
    ) -> Result<Vec<NearlyFull>, Error> {
        let Principal::User(user) = &caller.principal else { return Err(Error::Unauthenticated) };
        Ok(sqlx::query_as!(
            NearlyFull,
            "select p.name as project, q.used_bytes as used, q.hard_bytes as hard
             from tenancy.quotas q join tenancy.projects p on p.id = q.project_id
             where p.deleted_at is null and q.hard_bytes > 0 and ($5::bigint[] is null or p.id = any($5))
               and q.used_bytes::numeric * 100 >= q.hard_bytes::numeric * $4::bigint
               and ($1 or exists (select 1 from tenancy.member_roles m
                                  where m.project_id = p.id and m.user_id = $2 and m.role = any($3)))
             order by q.used_bytes::float8 / q.hard_bytes desc, p.name limit $6",
            user.sysadmin,
            user.id.0,
            &roles_with(Resource::Quota, Action::Read),
            percent,
            open_projects(caller.principal.limits()) as Option<&[i64]>,
            TOLD_MAX
        )
        .fetch_all(self.database.pool())
        .await?)
    }

    /// Robots that end within `days` and have not ended, of projects where the caller may change robots by a role; of the
    /// installation and all projects for system administrators. At most eight, the next to end first.
    ///
    /// # Errors
    /// `Unauthenticated` for who is no person.
    pub async fn robots_ending(&self, caller: &Caller, days: i32) -> Result<Vec<EndingRobot>, Error> {
        let Principal::User(user) = &caller.principal else { return Err(Error::Unauthenticated) };
        Ok(sqlx::query_as!(
            EndingRobot,
            r#"select identity.robot_login(r.name) as "name!", p.name as "project?", r.expires_at as "expires_at!",
                 case when p.id is null then r.name else substr(r.name, strpos(r.name, '+') + 1) end as "short_name!"
               from identity.robots r left join tenancy.projects p on p.id = r.project_id
               where r.deleted_at is null and not r.disabled and p.deleted_at is null
                 and r.expires_at > now() and r.expires_at < now() + make_interval(days => $4)
                 and ($5::bigint[] is null or p.id = any($5))
                 and ($1 or exists (select 1 from tenancy.member_roles m
                                    where m.project_id = p.id and m.user_id = $2 and m.role = any($3)))
               order by r.expires_at, r.id limit $6"#,
            user.sysadmin,
            user.id.0,
            &roles_with(Resource::Robot, Action::Update),
            days,
            open_projects(caller.principal.limits()) as Option<&[i64]>,
            TOLD_MAX
        )
        .fetch_all(self.database.pool())
        .await?)
    }
}
