//! Projects that people have marked for themselves.
//!
//! Invariant: a mark gives no right and tells nothing. Lists of favourites are lists of projects narrowed down, so what
//! somebody may not see any more is in none.

use database::list::{Page, Query};
use identity::Caller;

use crate::{Error, Permit, Project, ReadProject, Tenancy};

impl Tenancy {
    /// Marks the project for the caller, or takes the mark away. Doing it again changes nothing.
    ///
    /// # Errors
    /// `Unauthenticated` for who is no person, `ProjectGone`.
    pub async fn favourite_set(&self, permit: &Permit<ReadProject>, marked: bool) -> Result<(), Error> {
        let user = permit.caller.user().ok_or(Error::Unauthenticated)?.id.0;
        if !marked {
            sqlx::query!(
                "delete from tenancy.favourites where user_id = $1 and project_id = $2",
                user,
                permit.project.0
            )
            .execute(self.database.pool())
            .await?;
            return Ok(());
        }
        let found = sqlx::query_scalar!(
            r#"with living as (select id from tenancy.projects where id = $2 and deleted_at is null),
               made as (
                 insert into tenancy.favourites (user_id, project_id) select $1, id from living on conflict do nothing
               )
               select exists (select 1 from living) as "found!""#,
            user,
            permit.project.0
        )
        .fetch_one(self.database.pool())
        .await?;
        if found { Ok(()) } else { Err(Error::ProjectGone) }
    }

    /// Whether the caller has marked the project.
    pub async fn is_favourite(&self, permit: &Permit<ReadProject>) -> Result<bool, Error> {
        Ok(sqlx::query_scalar!(
            r#"select exists (select 1 from tenancy.favourites where user_id = $1 and project_id = $2)
               as "marked!""#,
            permit.caller.user().map(|user| user.id.0),
            permit.project.0
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    /// A page of the projects that the caller has marked and may see, as [`Tenancy::project_list`].
    ///
    /// # Errors
    /// `Unauthenticated` for who is no person, `BadQuery`.
    pub async fn favourite_list(&self, caller: &Caller, query: &Query) -> Result<Page<Project>, Error> {
        let user = caller.user().ok_or(Error::Unauthenticated)?.id.0;
        self.projects_seen(caller, Some(user), query).await
    }
}
