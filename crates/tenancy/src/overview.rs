//! What a caller sees of all projects at once: counts, and what a search finds. Filtered by who asks; each is one
//! statement, however many projects there are.

use std::collections::BTreeMap;

use audit::Object;
use database::list::{self, Page, Query};
use identity::{Caller, Principal};

use crate::access_tokens::open_projects;
use crate::projects::{COLUMNS, Project, projects};
use crate::roles::Action;
use crate::{Error, Role, Tenancy};

/// Counts of projects and repositories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The caller's own; all of them for system administrators.
    pub private_projects: i64,
    pub private_repositories: i64,
    pub public_projects: i64,
    pub public_repositories: i64,
    /// For system administrators; 0 for others.
    pub total_projects: i64,
    pub total_repositories: i64,
    /// Bytes charged to all projects, for system administrators; 0 for others.
    pub total_storage: i64,
}

/// Things of one kind that a search returns at most.
const FOUND_MAX: i64 = 100;

impl Tenancy {
    /// Counts what the caller may see.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn statistics(&self, caller: &Caller) -> Result<Statistics, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        let all = caller.is_sysadmin();
        let row = sqlx::query!(
            r#"select
                 count(*) filter (where not p.public) as "private_projects!",
                 coalesce(sum(p.repository_count) filter (where not p.public), 0)::bigint
                   as "private_repositories!",
                 count(*) filter (where p.public) as "public_projects!",
                 coalesce(sum(p.repository_count) filter (where p.public), 0)::bigint as "public_repositories!",
                 case when $1 then (select coalesce(sum(q.used_bytes), 0) from tenancy.quotas q)::bigint
                      else 0 end as "total_storage!"
               from tenancy.projects p
               where p.deleted_at is null and ($4::bigint[] is null or p.id = any($4))
                 and ($1 or p.public
                      or exists (select 1 from tenancy.member_roles m
                                 where m.project_id = p.id and m.user_id = $2)
                      or exists (select 1 from tenancy.robot_grants g
                                 where g.robot_id = $3 and g.kind = 'project'
                                   and (g.project_id is null or g.project_id = p.id)))"#,
            all,
            caller.user().map(|user| user.id.0),
            caller.principal.robot().map(|robot| robot.0),
            open_projects(caller.principal.limits()) as Option<&[i64]>
        )
        .fetch_one(self.database.pool())
        .await?;
        let total = |one: i64, other: i64| if all { one + other } else { 0 };
        Ok(Statistics {
            private_projects: row.private_projects,
            private_repositories: row.private_repositories,
            public_projects: row.public_projects,
            public_repositories: row.public_repositories,
            total_projects: total(row.private_projects, row.public_projects),
            total_repositories: total(row.private_repositories, row.public_repositories),
            total_storage: row.total_storage,
        })
    }

    /// Projects whose name contains `text` in whatever case, as far as the caller may see them: the same name first,
    /// then names that begin with it; at most a hundred.
    pub async fn project_search(&self, caller: &Caller, text: &str) -> Result<Vec<Project>, Error> {
        let found = sqlx::query!(
            r#"select p.id, m.roles from tenancy.projects p
               left join lateral (
                 select array_agg(h.role) as roles from tenancy.member_roles h
                 where h.project_id = p.id and h.user_id = $2
               ) m on true
               where p.deleted_at is null and strpos(p.name, lower($1)) > 0
                 and ($6::bigint[] is null or p.id = any($6))
                 and ($3 or p.public or m.roles is not null
                      or exists (select 1 from tenancy.robot_grants g
                                 where g.robot_id = $4 and g.kind = 'project'
                                   and (g.project_id is null or g.project_id = p.id)))
               order by p.name <> lower($1), not starts_with(p.name, lower($1)), p.name limit $5"#,
            text,
            caller.user().map(|user| user.id.0),
            caller.user().is_some_and(|user| user.sysadmin),
            caller.principal.robot().map(|robot| robot.0),
            FOUND_MAX,
            open_projects(caller.principal.limits()) as Option<&[i64]>
        )
        .fetch_all(self.database.pool())
        .await?;
        let select = projects().and_any("p.id", found.iter().map(|row| row.id).collect());
        let query = Query { page_size: FOUND_MAX, ..Query::default() };
        let page: Page<Project> = list::page(self.database.pool(), select, &COLUMNS, &query).await?;
        let mut rows: BTreeMap<i64, Project> =
            page.rows.into_iter().map(|project| (project.id, project)).collect();
        Ok(found
            .into_iter()
            .filter_map(|row| {
                let mut project = rows.remove(&row.id)?;
                let held = row.roles.unwrap_or_default();
                project.roles = Role::ALL.into_iter().filter(|role| held.contains(&role.id())).collect();
                Some(project)
            })
            .collect())
    }

    /// Which of these projects are public, for answers that name them.
    pub async fn public_among(&self, projects: &[i64]) -> Result<Vec<i64>, Error> {
        Ok(sqlx::query_scalar!(
            "select id from tenancy.projects where id = any($1) and public and deleted_at is null",
            projects
        )
        .fetch_all(self.database.pool())
        .await?)
    }

    /// Lets through who may know how much room there is for content.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden` as refusals.
    pub async fn require_volumes(&self, caller: &Caller) -> Result<(), Error> {
        let object = Object { kind: "volumes", id: String::new(), name: "" };
        self.require_on_system(caller, "system-volumes", Action::Read, "volumes_read", object).await
    }

    /// Whether the caller administers the system, and whether it administers any project: what decides which
    /// catalogue of permissions it is shown.
    ///
    /// # Errors
    /// `Unauthenticated`, and `Hidden` for who administers nothing.
    pub async fn administers(&self, caller: &Caller) -> Result<bool, Error> {
        match &caller.principal {
            Principal::Anonymous => return Err(Error::Unauthenticated),
            Principal::User(_) if caller.is_sysadmin() => return Ok(true),
            Principal::Robot(_) => return Err(Error::Hidden),
            Principal::User(_) => {}
        }
        let any = sqlx::query_scalar!(
            r#"select exists (select 1 from tenancy.member_roles m join tenancy.projects p on p.id = m.project_id
                              where m.user_id = $1 and m.role = $2 and p.deleted_at is null
                                and ($3::bigint[] is null or p.id = any($3))) as "any!""#,
            caller.user().map(|user| user.id.0),
            Role::ProjectAdmin.id(),
            open_projects(caller.principal.limits()) as Option<&[i64]>
        )
        .fetch_one(self.database.pool())
        .await?;
        if any { Ok(false) } else { Err(Error::Hidden) }
    }
}
