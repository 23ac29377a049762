//! Labels: of the installation or of one project, and on artifacts.
//!
//! Invariant: an artifact wears labels of its own project and of the installation, no others.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use database::list::{self, Columns, Page, Query, Select};
use database::{Database, Tx};
use identity::Caller;
use oci::{Reference, RepositoryName};
use tenancy::{
    CreateArtifactLabel, CreateLabel, DeleteArtifactLabel, DeleteLabel, ListLabels, Owner, Permit, ProjectId,
    Reach, UpdateLabel,
};

use crate::immutable::lock_project;
use crate::{Error, retrying};

const NAME_CHARS_MAX: usize = 128;
const DESCRIPTION_BYTES_MAX: usize = 4096;
const COLOR_BYTES_MAX: usize = 16;

/// A label.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Label {
    pub id: i64,
    /// Nothing for a label of the installation.
    pub project_id: Option<i64>,
    pub name: String,
    pub description: String,
    pub color: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a label is made of.
#[derive(Clone, Debug, Default)]
pub struct LabelInput {
    pub name: String,
    pub description: String,
    pub color: String,
}

const COLUMNS: Columns = Columns::new(
    &[
        list::integer("id", "l.id").sortable(),
        list::integer("label_id", "l.id").sortable(),
        list::text("name", "l.name").sortable(),
        list::text("description", "l.description").sortable(),
        list::text("color", "l.color").sortable(),
        list::text("scope", "(case when l.project_id is null then 'g' else 'p' end)").sortable(),
        list::integer("project_id", "coalesce(l.project_id, 0)").sortable(),
        list::time("creation_time", "l.created_at").sortable(),
        list::time("update_time", "l.updated_at").sortable(),
    ],
    "l.id",
    "l.id",
);

/// Labels. Clone freely.
#[derive(Clone)]
pub struct Labels {
    database: Database,
}

impl Labels {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Labels of the installation, which everybody may see.
    pub async fn list_global(&self, name: Option<&str>, query: &Query) -> Result<Page<Label>, Error> {
        self.page(labels().and_sql("l.project_id is null"), name, query).await
    }

    /// Labels of one project.
    pub async fn list(
        &self,
        permit: &Permit<ListLabels>,
        name: Option<&str>,
        query: &Query,
    ) -> Result<Page<Label>, Error> {
        self.page(labels().and("l.project_id = ", permit.project.0), name, query).await
    }

    /// Names of labels that artifacts of the project may wear, a hundred at most: to choose from.
    pub async fn names(&self, permit: &Permit<tenancy::ListTags>) -> Result<Vec<String>, Error> {
        Ok(sqlx::query_scalar!(
            "select distinct name from catalog.labels where project_id = $1 or project_id is null
             order by name limit 100",
            permit.project.0
        )
        .fetch_all(self.database.pool())
        .await?)
    }

    async fn page(&self, select: Select, name: Option<&str>, query: &Query) -> Result<Page<Label>, Error> {
        let select = match name {
            Some(part) => select.and_contains("l.name", part),
            None => select,
        };
        let mut query = query.clone();
        // Older clients send it; it says nothing.
        query.terms.retain(|(key, _)| !["owner_id", "ownerid"].contains(&key.to_ascii_lowercase().as_str()));
        Ok(list::page(self.database.pool(), select, &COLUMNS, &query).await?)
    }

    /// The label and where it lies, before it is decided who may do what to it.
    pub async fn find(&self, id: i64) -> Result<(Owner, Option<Label>), Error> {
        let label = sqlx::query_as!(
            Label,
            "select id, project_id, name, description, color, created_at, updated_at
             from catalog.labels where id = $1",
            id
        )
        .fetch_optional(self.database.pool())
        .await?;
        let owner = match &label {
            None => Owner::Nobody,
            Some(label) => label.project_id.map_or(Owner::Installation, |id| Owner::Project(ProjectId(id))),
        };
        Ok((owner, label))
    }

    /// Makes a label; returns its id.
    ///
    /// # Errors
    /// `Invalid`, `Conflict` for a name that is taken there.
    pub async fn create(&self, reach: &Reach<CreateLabel>, input: &LabelInput) -> Result<i64, Error> {
        check(input)?;
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            if let Some(project) = reach.project {
                lock_project(&mut tx, project).await?;
            }
            let id = sqlx::query_scalar!(
                "insert into catalog.labels (project_id, name, description, color) values ($1, $2, $3, $4)
                 on conflict do nothing returning id",
                reach.project.map(|id| id.0),
                input.name,
                input.description,
                input.color
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| taken(&input.name))?;
            trail(&mut tx, &reach.caller, reach.project, "label_create", id, &input.name, &[]).await?;
            tx.commit().await?;
            Ok(id)
        })
        .await
    }

    /// Changes a label; where it lies stays.
    ///
    /// # Errors
    /// `Invalid`, `Conflict`, `Unknown`.
    pub async fn update(&self, reach: &Reach<UpdateLabel>, id: i64, input: &LabelInput) -> Result<(), Error> {
        check(input)?;
        let mut tx = self.database.begin().await?;
        let changed = sqlx::query!(
            "update catalog.labels set name = $3, description = $4, color = $5, updated_at = now()
             where id = $1 and project_id is not distinct from $2",
            id,
            reach.project.map(|id| id.0),
            input.name,
            input.description,
            input.color
        )
        .execute(&mut *tx)
        .await;
        match changed {
            Ok(done) if done.rows_affected() == 0 => return Err(unknown(id)),
            Ok(_) => {}
            Err(sqlx::Error::Database(err)) if err.is_unique_violation() => return Err(taken(&input.name)),
            Err(err) => return Err(err.into()),
        }
        let fields = &["name", "description", "color"];
        trail(&mut tx, &reach.caller, reach.project, "label_update", id, &input.name, fields).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes a label and takes it off every artifact.
    ///
    /// # Errors
    /// `Unknown`.
    pub async fn delete(&self, reach: &Reach<DeleteLabel>, id: i64) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let name = sqlx::query_scalar!(
            "delete from catalog.labels where id = $1 and project_id is not distinct from $2 returning name",
            id,
            reach.project.map(|id| id.0)
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| unknown(id))?;
        trail(&mut tx, &reach.caller, reach.project, "label_delete", id, &name, &[]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// How many artifacts wear a label, for whoever is about to delete it.
    pub async fn wearers(&self, reach: &Reach<DeleteLabel>, id: i64) -> Result<i64, Error> {
        Ok(sqlx::query_scalar!(
            r#"select count(*) as "count!" from catalog.manifest_labels w
               join catalog.labels l on l.id = w.label_id
               join catalog.manifests m on m.id = w.manifest_id and m.deleted_at is null
               where l.id = $1 and l.project_id is not distinct from $2"#,
            id,
            reach.project.map(|id| id.0)
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    /// Puts a label of the project or of the installation on an artifact.
    ///
    /// # Errors
    /// `ManifestUnknown`, `Unknown`, `Conflict` when it wears it already.
    pub async fn attach(
        &self,
        permit: &Permit<CreateArtifactLabel>,
        repository: &RepositoryName,
        reference: &Reference,
        label: i64,
    ) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let manifest = manifest(&mut tx, permit.project, repository, reference).await?;
        let name = sqlx::query_scalar!(
            "select name from catalog.labels
             where id = $1 and (project_id is null or project_id = $2) for key share",
            label,
            permit.project.0
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| unknown(label))?;
        let added = sqlx::query!(
            "insert into catalog.manifest_labels (manifest_id, label_id) values ($1, $2) on conflict do nothing",
            manifest,
            label
        )
        .execute(&mut *tx)
        .await?;
        if added.rows_affected() == 0 {
            return Err(Error::Conflict(format!(
                "label {label} is already added to the artifact {reference}"
            )));
        }
        let object = format!("{repository}:{reference} {name}");
        let project = Some(permit.project);
        trail(&mut tx, &permit.caller, project, "artifact_label_add", label, &object, &[]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes a label off an artifact.
    ///
    /// # Errors
    /// `ManifestUnknown`, `Unknown` when it does not wear it.
    pub async fn detach(
        &self,
        permit: &Permit<DeleteArtifactLabel>,
        repository: &RepositoryName,
        reference: &Reference,
        label: i64,
    ) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let manifest = manifest(&mut tx, permit.project, repository, reference).await?;
        let removed = sqlx::query!(
            "delete from catalog.manifest_labels where manifest_id = $1 and label_id = $2",
            manifest,
            label
        )
        .execute(&mut *tx)
        .await?;
        if removed.rows_affected() == 0 {
            return Err(unknown(label));
        }
        let object = format!("{repository}:{reference}");
        let project = Some(permit.project);
        trail(&mut tx, &permit.caller, project, "artifact_label_remove", label, &object, &[]).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The labels of each of these artifacts, in one statement.
pub(crate) async fn of_manifests(
    database: &Database,
    manifests: &[i64],
) -> Result<HashMap<i64, Vec<Label>>, Error> {
    let rows = sqlx::query!(
        "select w.manifest_id, l.id, l.project_id, l.name, l.description, l.color, l.created_at, l.updated_at
         from catalog.manifest_labels w join catalog.labels l on l.id = w.label_id
         where w.manifest_id = any($1) order by l.id",
        manifests
    )
    .fetch_all(database.pool())
    .await?;
    let mut labels: HashMap<i64, Vec<Label>> = HashMap::new();
    for row in rows {
        labels.entry(row.manifest_id).or_default().push(Label {
            id: row.id,
            project_id: row.project_id,
            name: row.name,
            description: row.description,
            color: row.color,
            created_at: row.created_at,
            updated_at: row.updated_at,
        });
    }
    Ok(labels)
}

fn labels() -> Select {
    Select::new(
        "l.id, l.project_id, l.name, l.description, l.color, l.created_at, l.updated_at",
        "catalog.labels l",
    )
}

fn unknown(id: i64) -> Error {
    Error::Unknown(format!("label {id} not found"))
}

fn taken(name: &str) -> Error {
    Error::Conflict(format!("label {name} already exists"))
}

fn check(input: &LabelInput) -> Result<(), Error> {
    let invalid = |text: String| Err(Error::Invalid(text));
    if input.name.is_empty() || input.name.chars().count() > NAME_CHARS_MAX {
        return invalid(format!("the name of a label has 1 to {NAME_CHARS_MAX} characters"));
    }
    if input.description.len() > DESCRIPTION_BYTES_MAX {
        return invalid(format!("the description of a label has at most {DESCRIPTION_BYTES_MAX} bytes"));
    }
    // It ends up in style sheets: a colour by name or by number, and nothing else.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'#';
    if input.color.len() > COLOR_BYTES_MAX || !input.color.bytes().all(plain) {
        return invalid("the color of a label is written like #0065AB".to_owned());
    }
    if [&input.name, &input.description].iter().any(|text| text.contains('\0')) {
        return invalid("a label holds no NUL character".to_owned());
    }
    Ok(())
}

/// The artifact's row, kept until the transaction ends.
async fn manifest(
    tx: &mut Tx,
    project: ProjectId,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<i64, Error> {
    let (tag, digest) = match reference {
        Reference::Tag(tag) => (Some(tag.to_string()), None),
        Reference::Digest(digest) => (None, Some(digest.to_bytes())),
    };
    sqlx::query_scalar!(
        "select m.id from catalog.repositories r
         join catalog.manifests m on m.repository_id = r.id and m.deleted_at is null
         where r.project_id = $1 and r.path = $2 and r.deleted_at is null
           and (m.digest = $3
                or m.id = (select manifest_id from catalog.tags where repository_id = r.id and name = $4))
         for key share of m",
        project.0,
        repository.as_str(),
        digest,
        tag
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| Error::ManifestUnknown(reference.to_string()))
}

async fn trail(
    tx: &mut Tx,
    caller: &Caller,
    project: Option<ProjectId>,
    action: &'static str,
    id: i64,
    name: &str,
    changed: &'static [&'static str],
) -> Result<(), Error> {
    audit::append(
        tx,
        &audit::Entry {
            actor: caller.actor(),
            action,
            object: audit::Object { kind: "label", id: id.to_string(), name },
            project: project.map(|id| id.0),
            outcome: audit::Outcome::Done,
            origin: &caller.origin,
            changed,
        },
    )
    .await?;
    Ok(())
}
