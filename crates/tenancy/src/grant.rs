//! What a registry token may say, and which projects a caller sees. Decisions about many projects at once.
//!
//! Like `permit.rs` this asks the matrix; unlike it, a refusal is no error: what is not allowed is left out,
//! alike for unknown and forbidden, so that the answer tells nobody what exists.
//!
//! Invariant: rights and epochs come from the same statement. A right that is taken away afterwards raises an
//! epoch above the one returned here.

use std::collections::HashMap;

use identity::tokens::Access;
use identity::{Limits, Principal, TokenScope};
use oci::Action;
use oci::scope::Scope;

use crate::access_tokens::{Leaves, leaves_system};
use crate::permit::Rights;
use crate::roles::{self, Action as Right, Resource};
use crate::{Error, ProjectId, Tenancy};

/// The projects whose content a caller may list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visible {
    /// Every project: a system administrator.
    All,
    /// These, public ones included.
    Only(Vec<ProjectId>),
}

impl Visible {
    /// The ids to narrow a query down to; `None` narrows nothing.
    pub fn ids(&self) -> Option<&[ProjectId]> {
        match self {
            Self::All => None,
            Self::Only(ids) => Some(ids),
        }
    }
}

/// A project as grants need it.
struct Candidate {
    id: i64,
    epoch: i64,
    rights: Rights,
}

impl Candidate {
    fn allows(&self, action: Action) -> bool {
        let right = match action {
            Action::Pull => Right::Pull,
            Action::Push => Right::Push,
            Action::Delete => Right::Delete,
        };
        self.rights.allow(Resource::Repository, right)
    }
}

impl Tenancy {
    /// What the principal gets of what it asks for: one entry per scope, in the order of the scopes. Unknown
    /// and forbidden projects, kinds and actions are granted nothing, all in the same shape. One statement,
    /// however many projects are named.
    pub async fn grant(&self, principal: &Principal, scopes: &[Scope]) -> Result<Vec<Access>, Error> {
        let mut names: Vec<String> = scopes
            .iter()
            .filter_map(Scope::repository)
            .map(|repository| repository.project().to_string())
            .collect();
        names.sort_unstable();
        names.dedup();
        // Asked even for no name at all: an answer must not be quicker because nothing was worth a question.
        let candidates = self.candidates(principal, &names).await?;
        let catalog = scopes.iter().any(Scope::is_catalog) && self.may_list_catalog(principal).await?;
        Ok(scopes.iter().map(|scope| granted(scope, catalog, &candidates)).collect())
    }

    /// Whether the principal may list every repository there is through `/v2/_catalog`.
    pub async fn may_list_catalog(&self, principal: &Principal) -> Result<bool, Error> {
        if let Some(limits) = principal.limits() {
            // Through /v2 it is content that is asked for, which the REST API's scopes do not open.
            let sysadmin = principal.user().is_some_and(|user| user.sysadmin);
            return Ok(sysadmin && limits.has(TokenScope::Pull) && limits.projects().is_none());
        }
        self.system_allows(principal, "catalog", Right::Read).await
    }

    /// Whether the principal holds a right on the installation as a whole: a system administrator, or a robot
    /// that it was granted to.
    pub(crate) async fn system_allows(
        &self,
        principal: &Principal,
        resource: &str,
        action: Right,
    ) -> Result<bool, Error> {
        let Some(robot) = principal.robot() else {
            return Ok(principal.is_sysadmin() && leaves_system(principal.limits(), action));
        };
        if !roles::robot_may_hold_system(resource, action.as_str()) {
            return Ok(false);
        }
        Ok(sqlx::query_scalar!(
            r#"select exists (select 1 from tenancy.robot_grants
               where robot_id = $1 and kind = 'system' and resource = $2 and action = $3) as "held!""#,
            robot.0,
            resource,
            action.as_str()
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    async fn candidates(
        &self,
        principal: &Principal,
        names: &[String],
    ) -> Result<HashMap<String, Candidate>, Error> {
        let rows = sqlx::query!(
            r#"select p.id, p.name, p.public, m.roles, r.grants, coalesce(e.epoch, 0) as "epoch!"
               from tenancy.projects p
               left join lateral (
                 select array_agg(h.role) as roles from tenancy.member_roles h
                 where h.project_id = p.id and h.user_id = $2
               ) m on true
               left join lateral (
                 select array_agg(g.resource || ':' || g.action) as grants from tenancy.robot_grants g
                 where g.robot_id = $3 and g.kind = 'project' and (g.project_id is null or g.project_id = p.id)
               ) r on true
               left join identity.epochs e on e.kind = 2 and e.subject_id = p.id
               where p.deleted_at is null and p.name = any($1)"#,
            names,
            principal.user().map(|user| user.id.0),
            principal.robot().map(|robot| robot.0)
        )
        .fetch_all(self.database.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let leaves = Leaves::of_content(principal.limits(), row.id);
                let sysadmin = principal.user().is_some_and(|user| user.sysadmin);
                let rights = Rights::new(leaves, sysadmin, row.public, row.roles, row.grants);
                (row.name, Candidate { id: row.id, epoch: row.epoch, rights })
            })
            .collect())
    }

    /// Whether the principal may pull from any of these projects. Reads the administrator flag from the
    /// database, because a principal that comes from a token does not carry it.
    pub async fn may_pull_any(&self, principal: &Principal, projects: &[ProjectId]) -> Result<bool, Error> {
        let ids: Vec<i64> = projects.iter().map(|project| project.0).collect();
        let rows = sqlx::query!(
            r#"select p.id, p.public, m.roles, r.grants,
                      exists (select 1 from identity.users u
                              where u.id = $2 and u.sysadmin and not u.disabled and u.deleted_at is null)
                      as "sysadmin!"
               from tenancy.projects p
               left join lateral (
                 select array_agg(h.role) as roles from tenancy.member_roles h
                 where h.project_id = p.id and h.user_id = $2
               ) m on true
               left join lateral (
                 select array_agg(g.resource || ':' || g.action) as grants from tenancy.robot_grants g
                 where g.robot_id = $3 and g.kind = 'project' and (g.project_id is null or g.project_id = p.id)
               ) r on true
               where p.deleted_at is null and p.id = any($1)"#,
            &ids,
            principal.user().map(|user| user.id.0),
            principal.robot().map(|robot| robot.0)
        )
        .fetch_all(self.database.pool())
        .await?;
        Ok(rows.into_iter().any(|row| {
            let leaves = Leaves::of_content(principal.limits(), row.id);
            Rights::new(leaves, row.sysadmin, row.public, row.roles, row.grants)
                .allow(Resource::Repository, Right::Pull)
        }))
    }

    /// The projects whose repositories the principal may list: its own and the public ones.
    pub async fn visible(&self, principal: &Principal) -> Result<Visible, Error> {
        if principal.is_sysadmin() {
            return Ok(Visible::All);
        }
        let limits = principal.limits();
        if limits.is_some_and(|limits| !limits.may_read()) {
            return Ok(Visible::Only(Vec::new()));
        }
        let sysadmin = principal.user().is_some_and(|user| user.sysadmin);
        if let Some(projects) = limits.and_then(Limits::projects).filter(|_| sysadmin) {
            return Ok(Visible::Only(projects.iter().copied().map(ProjectId).collect()));
        }
        let ids = sqlx::query_scalar!(
            "select p.id from tenancy.projects p
             where p.deleted_at is null
               and (p.public or exists (select 1 from tenancy.member_roles m
                                        where m.project_id = p.id and m.user_id = $1)
                    or exists (select 1 from tenancy.robot_grants g
                               where g.robot_id = $2 and g.kind = 'project' and g.resource = 'repository'
                                 and g.action = 'list' and (g.project_id is null or g.project_id = p.id)))",
            principal.user().map(|user| user.id.0),
            principal.robot().map(|robot| robot.0)
        )
        .fetch_all(self.database.pool())
        .await?;
        let open = |id: &i64| limits.is_none_or(|limits| limits.includes(*id));
        Ok(Visible::Only(ids.into_iter().filter(open).map(ProjectId).collect()))
    }
}

fn granted(scope: &Scope, catalog: bool, candidates: &HashMap<String, Candidate>) -> Access {
    let nothing = || Access::nothing(scope.kind.as_str(), scope.name.as_str());
    if scope.is_catalog() {
        return if catalog { Access::catalog() } else { nothing() };
    }
    let Some(repository) = scope.repository() else { return nothing() };
    let Some(candidate) = candidates.get(repository.project().as_str()) else { return nothing() };
    let actions: Vec<Action> =
        scope.requested().into_iter().filter(|action| candidate.allows(*action)).collect();
    if actions.is_empty() {
        return nothing();
    }
    Access::repository(&repository, &actions, Some((candidate.id, candidate.epoch)))
}
