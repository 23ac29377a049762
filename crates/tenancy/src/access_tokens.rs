//! Personal access tokens: who may make, see and end them, and what one leaves of its owner's rights.
//!
//! Everybody manages their own; a system administrator manages everybody's. None of this can be done with an
//! access token: a secret must not breed.
//!
//! Invariant: a right that an access token does not leave is refused exactly like a right its owner lacks.

use identity::{AccessToken, Caller, Limits, NewAccessToken, Secret, TokenScope, UserId};

use crate::list::Page;
use crate::people::{SystemAction, UpdateUser};
use crate::roles::{Action, Resource};
use crate::{Error, Tenancy};

/// What a credential leaves of the rights in one project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Everything,
    Nothing,
    /// What changes nothing.
    Reading,
    /// Content, through `/v2`.
    Content {
        pull: bool,
        push: bool,
        delete: bool,
    },
}

impl Leaves {
    /// For acts through the REST API.
    pub fn of_api(limits: Option<&Limits>, project: i64) -> Self {
        match limits {
            None => Self::Everything,
            Some(limits) if !limits.includes(project) => Self::Nothing,
            Some(limits) if limits.has(TokenScope::Api) => Self::Everything,
            Some(limits) if limits.has(TokenScope::ApiRead) => Self::Reading,
            Some(_) => Self::Nothing,
        }
    }

    /// For content through `/v2`. Who may push may pull, because every client that pushes reads as well.
    pub fn of_content(limits: Option<&Limits>, project: i64) -> Self {
        match limits {
            None => Self::Everything,
            Some(limits) if !limits.includes(project) => Self::Nothing,
            Some(limits) => {
                let push = limits.has(TokenScope::Push);
                let pull = push || limits.has(TokenScope::Pull);
                Self::Content { pull, push, delete: limits.has(TokenScope::Delete) }
            }
        }
    }

    pub fn includes(self, resource: Resource, action: Action) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => false,
            Self::Reading => is_reading(action),
            Self::Content { pull, push, delete } => {
                resource == Resource::Repository
                    && match action {
                        Action::Pull => pull,
                        Action::Push => push,
                        Action::Delete => delete,
                        _ => false,
                    }
            }
        }
    }
}

/// Whether the action changes nothing.
pub(crate) fn is_reading(action: Action) -> bool {
    matches!(action, Action::Read | Action::List | Action::Pull)
}

/// Whether acts about the installation as a whole, or about one's own account, are left.
pub(crate) fn leaves_system(limits: Option<&Limits>, action: Action) -> bool {
    limits.is_none_or(|limits| {
        limits.projects().is_none()
            && (limits.has(TokenScope::Api) || limits.has(TokenScope::ApiRead) && is_reading(action))
    })
}

/// The only projects that acts through the REST API may be about; nothing: all of them.
pub(crate) fn open_projects(limits: Option<&Limits>) -> Option<&[i64]> {
    match limits {
        Some(limits) if !limits.may_read() => Some(&[]),
        Some(limits) => limits.projects(),
        None => None,
    }
}

/// A token as the API shows it.
#[derive(Clone, Debug)]
pub struct ShownToken {
    pub token: AccessToken,
    /// Names of the projects it is limited to. Deleted ones have none.
    pub projects: Vec<String>,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct TokenInput {
    pub name: String,
    /// Names of scopes.
    pub scopes: Vec<String>,
    /// Names of projects; none means all of the owner's.
    pub projects: Vec<String>,
    pub expires_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Projects one token may be limited to.
const PROJECTS_MAX: usize = 100;

/// Proof that the caller may manage the access tokens of this account, which may not exist.
pub struct TokensPermit {
    caller: Caller,
    owner: UserId,
}

impl Tenancy {
    /// Decides whether the caller may manage the access tokens of an account.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`.
    pub async fn tokens_permit(&self, caller: &Caller, owner: UserId) -> Result<TokensPermit, Error> {
        self.refuse_access_token::<UpdateUser>(caller, owner).await?;
        if caller.user().is_none_or(|user| user.id != owner) {
            self.require_sysadmin::<UpdateUser>(caller, owner).await?;
        }
        Ok(TokensPermit { caller: caller.clone(), owner })
    }

    /// Makes an access token and returns its id and, for the only time, its secret.
    ///
    /// # Errors
    /// `Invalid`; those of [`identity::Identity::access_token_insert`].
    pub async fn access_token_create(
        &self,
        permit: &TokensPermit,
        input: TokenInput,
    ) -> Result<(i64, Secret), Error> {
        let scope = |text: &String| {
            TokenScope::parse(text).ok_or_else(|| {
                Error::Invalid(format!(
                    "scope {text:?} is unknown: it is pull, push, delete, api or api:read"
                ))
            })
        };
        let mut scopes = Vec::new();
        for wanted in input.scopes.iter().map(scope) {
            let wanted = wanted?;
            if !scopes.contains(&wanted) {
                scopes.push(wanted);
            }
        }
        let projects = self.token_projects(permit, &input.projects).await?;
        let new = NewAccessToken { name: input.name, scopes, projects, expires_at: input.expires_at };
        Ok(self.identity.access_token_insert(&permit.caller, permit.owner, &new).await?)
    }

    /// A page of the access tokens of the account, by name, without their secrets.
    ///
    /// # Errors
    /// `UserUnknown`.
    pub async fn access_token_list(
        &self,
        permit: &TokensPermit,
        page: i64,
        page_size: i64,
    ) -> Result<Page<ShownToken>, Error> {
        let Page { rows: tokens, total } =
            self.identity.access_token_page(permit.owner, page, page_size).await?;
        if total == 0 && self.identity.user_by_id(permit.owner).await?.is_none() {
            return Err(Error::UserUnknown(permit.owner.to_string()));
        }
        let ids: Vec<i64> = tokens.iter().flat_map(|token| token.projects.iter().copied()).collect();
        let rows = sqlx::query!(
            "select id, name from tenancy.projects where id = any($1) and deleted_at is null order by name",
            &ids
        )
        .fetch_all(self.database.pool())
        .await?;
        let shown = |token: AccessToken| {
            let named = rows.iter().filter(|row| token.projects.contains(&row.id));
            ShownToken { projects: named.map(|row| row.name.clone()).collect(), token }
        };
        Ok(Page { rows: tokens.into_iter().map(shown).collect(), total })
    }

    /// Ends an access token of the account, within 5 s everywhere.
    ///
    /// # Errors
    /// Those of [`identity::Identity::access_token_remove`].
    pub async fn access_token_delete(&self, permit: &TokensPermit, id: i64) -> Result<(), Error> {
        Ok(self.identity.access_token_remove(&permit.caller, permit.owner, id).await?)
    }

    /// Refuses what takes a password, and no secret that was made with one.
    ///
    /// # Errors
    /// `Hidden`.
    pub async fn refuse_access_token<A: SystemAction>(
        &self,
        caller: &Caller,
        id: UserId,
    ) -> Result<(), Error> {
        if caller.principal.limits().is_none() {
            return Ok(());
        }
        let object = audit::Object { kind: A::OBJECT, id: id.to_string(), name: "" };
        self.record_denied(caller, A::NAME, object, None).await?;
        Err(Error::Hidden)
    }

    /// Ids of the named projects. One that the owner of the token cannot see is refused like one that does not exist.
    async fn token_projects(&self, permit: &TokensPermit, names: &[String]) -> Result<Vec<i64>, Error> {
        if names.len() > PROJECTS_MAX {
            return Err(Error::Invalid(format!("projects has more than {PROJECTS_MAX} entries")));
        }
        let rows = sqlx::query!(
            "select p.id, p.name from tenancy.projects p
             where p.deleted_at is null and p.name = any($1)
               and (p.public
                    or exists (select 1 from tenancy.member_roles m where m.project_id = p.id and m.user_id = $2)
                    or exists (select 1 from identity.users u where u.id = $2 and u.sysadmin))",
            names,
            permit.owner.0
        )
        .fetch_all(self.database.pool())
        .await?;
        for name in names {
            if !rows.iter().any(|row| row.name == *name) {
                return Err(Error::Invalid(format!(
                    "project {name} does not exist or is not the account's to see"
                )));
            }
        }
        Ok(rows.into_iter().map(|row| row.id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left() {
        use Action::{Delete, List, Pull, Push, Read, Update};
        let reading = Leaves::Reading;
        assert!(reading.includes(Resource::Project, Read) && reading.includes(Resource::Tag, List));
        assert!(
            !reading.includes(Resource::Project, Update) && !reading.includes(Resource::Repository, Push)
        );
        let content = Leaves::Content { pull: true, push: false, delete: false };
        assert!(content.includes(Resource::Repository, Pull));
        for (resource, action) in [
            (Resource::Repository, Push),
            (Resource::Repository, Delete),
            (Resource::Repository, Read),
            (Resource::Artifact, Delete),
            (Resource::Project, Read),
        ] {
            assert!(!content.includes(resource, action), "{resource}:{action}");
        }
        assert!(!Leaves::Nothing.includes(Resource::Repository, Pull));
    }
}
