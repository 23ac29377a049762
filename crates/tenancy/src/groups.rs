//! Groups of people: who manages them, and what ends with them.
//!
//! Invariant: a group that is deleted leaves every project in the same transaction, and what its people were
//! granted there ends within 5 s.

use identity::epochs::{self, Subject};
use identity::{Caller, Group, GroupFilter, NewGroup};

use crate::list::Page;
use crate::people::{CreateGroup, DeleteGroup, ListGroups, ReadGroup, SystemPermit, UpdateGroup};
use crate::{Error, Tenancy};

impl Tenancy {
    /// A page of the groups, by name.
    pub async fn group_list(
        &self,
        _permit: &SystemPermit<ListGroups>,
        filter: &GroupFilter<'_>,
        page: i64,
        page_size: i64,
    ) -> Result<Page<Group>, Error> {
        Ok(self.identity.group_page(filter, page, page_size).await?)
    }

    /// A page of the groups whose name contains `part`, for choosing members. For everybody who signed in.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn group_search(
        &self,
        caller: &Caller,
        part: &str,
        page: i64,
        page_size: i64,
    ) -> Result<Page<Group>, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        let filter = GroupFilter { name: Some(part), dn: None };
        Ok(self.identity.group_page(&filter, page, page_size).await?)
    }

    /// One group.
    ///
    /// # Errors
    /// Those of [`identity::Identity::group_get`].
    pub async fn group_get(&self, _permit: &SystemPermit<ReadGroup>, id: i64) -> Result<Group, Error> {
        Ok(self.identity.group_get(id).await?)
    }

    /// Makes a group.
    ///
    /// # Errors
    /// Those of [`identity::Identity::group_insert`].
    pub async fn group_create(
        &self,
        permit: &SystemPermit<CreateGroup>,
        new: &NewGroup,
    ) -> Result<i64, Error> {
        Ok(self.identity.group_insert(&permit.caller, new).await?)
    }

    /// Renames a group.
    ///
    /// # Errors
    /// Those of [`identity::Identity::group_rename`].
    pub async fn group_rename(
        &self,
        permit: &SystemPermit<UpdateGroup>,
        id: i64,
        name: &str,
    ) -> Result<(), Error> {
        Ok(self.identity.group_rename(&permit.caller, id, name).await?)
    }

    /// Deletes a group, and its membership in every project.
    ///
    /// # Errors
    /// Those of [`identity::Identity::group_remove`].
    pub async fn group_delete(&self, permit: &SystemPermit<DeleteGroup>, id: i64) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        self.identity.group_remove(&mut tx, &permit.caller, id).await?;
        let mut projects = sqlx::query_scalar!(
            "delete from tenancy.members where entity_type = 'g' and entity_id = $1 returning project_id",
            id
        )
        .fetch_all(&mut *tx)
        .await?;
        // In order, as everybody who raises several.
        projects.sort_unstable();
        for project in projects {
            epochs::raise(&mut tx, Subject::Project(project)).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
