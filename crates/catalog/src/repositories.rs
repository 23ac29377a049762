//! Repositories: the catalogue, lists for the REST API, description, deletion.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use database::Database;
use database::list::{self, Columns, Page, Query, Select};
use oci::RepositoryName;
use tenancy::{
    DeleteRepository, ListRepositories, Permit, ProjectId, ReadRepository, Tenancy, UpdateRepository,
};

use crate::manifests::lock_repository;
use crate::{Error, Place, retrying};

/// A repository in a list. It appears with its first manifest and stays until it is deleted.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Repository {
    pub id: i64,
    pub project_id: i64,
    /// With the project: `project/name`.
    pub path: String,
    pub description: String,
    /// Artifacts in the list of artifacts: no accessories, no untagged parts of an index.
    pub artifact_count: i64,
    pub tag_count: i64,
    /// Bytes of the blobs it holds, each once.
    pub size: i64,
    pub pull_count: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// When something was pushed last.
    pub published_at: DateTime<Utc>,
}

/// What a list of repositories may be filtered and sorted by.
const COLUMNS: Columns = Columns::new(
    &[
        list::integer("repository_id", "r.id").sortable(),
        list::integer("id", "r.id").sortable(),
        list::text("name", "r.path").sortable(),
        list::integer("project_id", "r.project_id").sortable(),
        list::text("description", "r.description").sortable(),
        list::integer("pull_count", "r.pull_count").sortable(),
        list::time("creation_time", "r.created_at").sortable(),
        list::time("update_time", "r.updated_at").sortable(),
        list::integer("artifact_count", "r.artifact_count").sort_only(),
        list::integer("tag_count", "r.tag_count").sort_only(),
        list::integer("size", "r.size_bytes").sort_only(),
        list::time("push_time", "r.last_published_at").sort_only(),
    ],
    "r.created_at desc",
    "r.id desc",
);

const ROW: &str =
    "r.id, r.project_id, r.path::text as path, r.description, r.pull_count, r.created_at, r.updated_at,
    r.artifact_count, r.tag_count, r.size_bytes as size, r.last_published_at as published_at";

/// Repositories. Clone freely.
#[derive(Clone)]
pub struct Repositories {
    database: Database,
    tenancy: Tenancy,
}

impl Repositories {
    pub(crate) fn new(database: Database, tenancy: Tenancy) -> Self {
        Self { database, tenancy }
    }

    /// Paths in byte order after `last`, at most `limit`, and whether there are more; without emptied
    /// repositories. For callers who may see everything.
    pub async fn paths(&self, last: Option<&str>, limit: i64) -> Result<(Vec<String>, bool), Error> {
        let mut paths = sqlx::query_scalar!(
            r#"select array(
                 select path from catalog.repositories
                 where deleted_at is null and manifest_count > 0 and path > $1 collate "C"
                 order by path limit $2) as "paths!""#,
            last.unwrap_or(""),
            limit + 1
        )
        .fetch_one(self.database.pool())
        .await?;
        let more = paths.len() as i64 > limit;
        paths.truncate(usize::try_from(limit).unwrap_or(0));
        Ok((paths, more))
    }

    /// The repositories of one project.
    pub async fn list(
        &self,
        permit: &Permit<ListRepositories>,
        query: &Query,
    ) -> Result<Page<Repository>, Error> {
        let select = published().and("r.project_id = ", permit.project.0);
        Ok(list::page(self.database.pool(), select, &COLUMNS, query).await?)
    }

    /// The repositories of all given projects; `None` means every project, for those who may see all of them.
    pub async fn list_in(
        &self,
        projects: Option<&[ProjectId]>,
        query: &Query,
    ) -> Result<Page<Repository>, Error> {
        let select = match projects {
            Some(projects) => published().and_any("r.project_id", projects.iter().map(|id| id.0).collect()),
            None => published(),
        };
        Ok(list::page(self.database.pool(), select, &COLUMNS, query).await?)
    }

    /// Repositories of the given projects (`None`: of all) whose name, with or without its project, contains `text` in
    /// whatever case: the same name first, then names that begin with it; at most a hundred. Two statements.
    pub async fn search(&self, projects: Option<&[ProjectId]>, text: &str) -> Result<Vec<Repository>, Error> {
        let within: Option<Vec<i64>> = projects.map(|ids| ids.iter().map(|id| id.0).collect());
        let ids = sqlx::query_scalar!(
            r#"select r.id from catalog.repositories r
               cross join lateral (select substr(r.path, strpos(r.path, '/') + 1) as name) inside
               where r.deleted_at is null and r.last_published_at is not null
                 and ($2::bigint[] is null or r.project_id = any($2)) and strpos(r.path, lower($1)) > 0
               order by lower($1) not in (r.path, inside.name),
                        not (starts_with(r.path, lower($1)) or starts_with(inside.name, lower($1))), r.path
               limit 100"#,
            text,
            within.as_deref()
        )
        .fetch_all(self.database.pool())
        .await?;
        let query = Query { page_size: 100, ..Query::default() };
        let select = published().and_any("r.id", ids.clone());
        let page: Page<Repository> = list::page(self.database.pool(), select, &COLUMNS, &query).await?;
        let mut rows: HashMap<i64, Repository> = page.rows.into_iter().map(|row| (row.id, row)).collect();
        Ok(ids.into_iter().filter_map(|id| rows.remove(&id)).collect())
    }

    /// One repository by name.
    pub async fn get(
        &self,
        permit: &Permit<ReadRepository>,
        name: &RepositoryName,
    ) -> Result<Repository, Error> {
        let select = published().and("r.project_id = ", permit.project.0).and("r.path = ", name.to_string());
        let page = list::page(self.database.pool(), select, &COLUMNS, &Query::default()).await?;
        page.rows.into_iter().next().ok_or_else(|| Error::RepositoryUnknown(name.to_string()))
    }

    /// Sets the description, as typed.
    pub async fn describe(
        &self,
        permit: &Permit<UpdateRepository>,
        name: &RepositoryName,
        description: &str,
    ) -> Result<(), Error> {
        let place = Place { project: permit.project, repository: name.clone() };
        let mut tx = self.database.begin().await?;
        let described = sqlx::query!(
            "update catalog.repositories set description = $3, updated_at = now()
             where project_id = $1 and path = $2 and deleted_at is null and last_published_at is not null",
            permit.project.0,
            name.as_str(),
            description
        )
        .execute(&mut *tx)
        .await?;
        if described.rows_affected() == 0 {
            return Err(Error::RepositoryUnknown(name.to_string()));
        }
        let object = audit::Object { kind: "repository", id: String::new(), name: name.as_str() };
        crate::tags::trail(&mut tx, &permit.caller, &place, "repository_update", object).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes the repository with everything in it. The rows go softly and at once; the bytes when the
    /// collector comes. The project's usage falls in the same transaction.
    pub async fn delete(
        &self,
        permit: &Permit<DeleteRepository>,
        name: &RepositoryName,
    ) -> Result<(), Error> {
        let place = Place { project: permit.project, repository: name.clone() };
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            let unknown = || Error::RepositoryUnknown(name.to_string());
            let repository = lock_repository(&mut tx, &place).await?.ok_or_else(unknown)?;
            let gone = sqlx::query!(
                r#"update catalog.repositories set deleted_at = now(), updated_at = now() where id = $1
                 returning last_published_at is not null as "published!""#,
                repository
            )
            .fetch_one(&mut *tx)
            .await?;
            if !gone.published {
                // Uploads without a manifest: for everybody else this repository does not exist yet.
                return Err(unknown());
            }
            sqlx::query!("select catalog.refuse_immutable_repository($1, $2)", place.project.0, repository)
                .execute(&mut *tx)
                .await?;
            let delta = sqlx::query_scalar!(
                r#"select catalog.release_repository($1, $2) as "delta!""#,
                place.project.0,
                repository
            )
            .fetch_one(&mut *tx)
            .await?;
            let object =
                audit::Object { kind: "repository", id: repository.to_string(), name: name.as_str() };
            crate::tags::trail(&mut tx, &permit.caller, &place, "repository_delete", object).await?;
            self.tenancy.repository_count_change(&mut tx, place.project, -1).await?;
            if delta != 0 {
                self.tenancy.quota_charge(&mut tx, place.project, delta).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }
}

fn published() -> Select {
    Select::new(ROW, "catalog.repositories r")
        .and_sql("r.deleted_at is null")
        .and_sql("r.last_published_at is not null")
}
