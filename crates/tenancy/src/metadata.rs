//! The metadata of a project, one key at a time: the same values under the same rules as a change of the project.
//!
//! `public` looks like the other keys and is a column of its own: it is always there, and to remove it makes the
//! project private.
//!
//! Invariant: who may change a key may change the project; a right on metadata alone is not enough.

use std::collections::BTreeMap;

use audit::{Entry, Object, Outcome};
use identity::epochs::{self, Subject};

use crate::permit::ProjectAction;
use crate::roles::{Action, Resource};
use crate::rules::{boolean, checked_metadata};
use crate::{
    CreateMetadata, DeleteMetadata, Error, ListMetadata, Permit, ReadMetadata, Tenancy, UpdateMetadata,
};

const PUBLIC: &str = "public";

/// What happens to one key.
enum Change<'a> {
    Add(&'a str),
    Replace(&'a str),
    Remove,
}

/// A value as it is stored.
enum Stored {
    Public(bool),
    Key(serde_json::Value),
}

impl Tenancy {
    /// All metadata of a project.
    pub async fn metadata_list(
        &self,
        permit: &Permit<ListMetadata>,
    ) -> Result<BTreeMap<String, String>, Error> {
        self.metadata_of(permit).await
    }

    /// One key.
    ///
    /// # Errors
    /// `MetadataUnknown` when the project does not have it.
    pub async fn metadata_get(&self, permit: &Permit<ReadMetadata>, key: &str) -> Result<String, Error> {
        let mut metadata = self.metadata_of(permit).await?;
        metadata.remove(key).ok_or_else(|| Error::MetadataUnknown(key.to_owned()))
    }

    /// Adds a key.
    ///
    /// # Errors
    /// `Hidden` for who may not change the project, `Invalid`, `NotAvailable`, `MetadataExists`.
    pub async fn metadata_add(
        &self,
        permit: &Permit<CreateMetadata>,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        self.metadata_change(permit, key, Change::Add(value)).await
    }

    /// Gives a key that is there another value.
    ///
    /// # Errors
    /// `Hidden` for who may not change the project, `Invalid`, `NotAvailable`, `MetadataUnknown`.
    pub async fn metadata_update(
        &self,
        permit: &Permit<UpdateMetadata>,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        self.metadata_change(permit, key, Change::Replace(value)).await
    }

    /// Takes a key away.
    ///
    /// # Errors
    /// `Hidden` for who may not change the project, `Invalid`, `MetadataUnknown`.
    pub async fn metadata_remove(&self, permit: &Permit<DeleteMetadata>, key: &str) -> Result<(), Error> {
        self.metadata_change(permit, key, Change::Remove).await
    }

    async fn metadata_of<A>(&self, permit: &Permit<A>) -> Result<BTreeMap<String, String>, Error> {
        let row = sqlx::query!(
            r#"select public, metadata as "metadata: sqlx::types::Json<BTreeMap<String, String>>"
               from tenancy.projects where id = $1 and deleted_at is null"#,
            permit.project.0
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or(Error::ProjectGone)?;
        let mut metadata = row.metadata.0;
        metadata.insert(PUBLIC.to_owned(), row.public.to_string());
        Ok(metadata)
    }

    async fn metadata_change<A: ProjectAction>(
        &self,
        permit: &Permit<A>,
        key: &str,
        change: Change<'_>,
    ) -> Result<(), Error> {
        let id = permit.project.0;
        let object = Object { kind: "project", id: id.to_string(), name: permit.name.as_str() };
        if !permit.rights().allow(Resource::Project, Action::Update) {
            self.record_denied(&permit.caller, A::NAME, object, Some(permit.project)).await?;
            return Err(Error::Hidden);
        }
        let stored = match change {
            Change::Add(value) | Change::Replace(value) => Some(checked(key, value)?),
            Change::Remove if key == "retention_id" => return Err(not_for_callers()),
            Change::Remove => None,
        };
        let mut tx = self.database.begin().await?;
        let row = sqlx::query!(
            r#"select public, metadata ? $2 as "present!" from tenancy.projects
               where id = $1 and deleted_at is null for no key update"#,
            id,
            key
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::ProjectGone)?;
        match (change, row.present || key == PUBLIC) {
            (Change::Add(_), true) => return Err(Error::MetadataExists(key.to_owned())),
            (Change::Replace(_) | Change::Remove, false) => {
                return Err(Error::MetadataUnknown(key.to_owned()));
            }
            _ => {}
        }
        let (public, added) = match stored {
            Some(Stored::Public(public)) => (Some(public), None),
            None if key == PUBLIC => (Some(false), None),
            Some(Stored::Key(object)) => (None, Some(object)),
            None => (None, None),
        };
        sqlx::query!(
            "update tenancy.projects
             set public = coalesce($2, public), metadata = (metadata - $3::text) || coalesce($4, '{}'::jsonb),
                 updated_at = now()
             where id = $1",
            id,
            public,
            key,
            added
        )
        .execute(&mut *tx)
        .await?;
        if row.public && public == Some(false) {
            epochs::raise(&mut tx, Subject::Project(id)).await?;
        }
        let entry = Entry {
            actor: permit.caller.actor(),
            action: A::NAME,
            object,
            project: Some(id),
            outcome: Outcome::Done,
            origin: &permit.caller.origin,
            changed: &[if key == PUBLIC { PUBLIC } else { "metadata" }],
        };
        audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A key and its value as it is stored. What a change of the whole project passes over is refused here, where it
/// is all that was asked for.
fn checked(key: &str, value: &str) -> Result<Stored, Error> {
    match key {
        PUBLIC => return Ok(Stored::Public(boolean(key, value)?)),
        "retention_id" => return Err(not_for_callers()),
        _ => {}
    }
    let checked = checked_metadata(&BTreeMap::from([(key.to_owned(), value.to_owned())]))?;
    if checked.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(Error::Invalid(format!("the metadata key {key:?} is unknown for this project")));
    }
    Ok(Stored::Key(checked))
}

fn not_for_callers() -> Error {
    Error::Invalid("retention_id is set by the retention policy and by nobody else".to_owned())
}
