//! Artifacts as the REST API shows them: manifests with their tags, parts and accessories.
//!
//! A page costs a fixed number of statements however many rows it has: rows, count, and one each for tags,
//! parts and accessories when they are asked for.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use database::list::{self, Columns, Page, Query, Select, Value as Term};
use database::{Database, Tx};
use oci::{Digest, Reference, RepositoryName};
use serde_json::Value;
use tenancy::{DeleteArtifact, ListAccessories, ListArtifacts, Permit, ReadArtifact};

use crate::manifests::{self, lock_repository, stored_digest};
use crate::{Error, Label, Place, Tag, labels, retrying};

/// What to show of each artifact beside the artifact itself.
#[derive(Clone, Copy, Debug)]
pub struct ArtifactFlags {
    pub tags: bool,
    pub accessories: bool,
    pub inherited: bool,
    pub labels: bool,
    /// Whether each tag is immutable.
    pub immutable: bool,
}

/// An artifact: a manifest of the repository.
#[derive(Clone, Debug)]
pub struct Artifact {
    pub id: i64,
    pub project_id: i64,
    pub repository_id: i64,
    /// With the project: `project/name`.
    pub path: String,
    pub digest: Digest,
    /// `IMAGE`, `CHART`, …
    pub kind: String,
    /// Media type of the config, which tells one kind of artifact from another.
    pub media_type: String,
    pub manifest_media_type: String,
    pub artifact_type: String,
    /// Bytes of the manifest and all it names.
    pub size: i64,
    pub pushed_at: DateTime<Utc>,
    pub pulled_at: Option<DateTime<Utc>>,
    /// Platform, author, creation time and config of an image; the chart's metadata.
    pub facts: Value,
    pub annotations: Value,
    /// `None` when not asked for.
    pub tags: Option<Vec<Tag>>,
    /// Empty when not asked for.
    pub labels: Vec<Label>,
    pub references: Vec<ChildReference>,
    /// `None` when not asked for.
    pub accessories: Option<Vec<Accessory>>,
    /// What is attached to indexes that it is part of; empty when not asked for.
    pub inherited: Vec<Accessory>,
}

/// One part of an index that this repository holds or not.
#[derive(Clone, Debug)]
pub struct ChildReference {
    pub parent_id: i64,
    /// `None` for a part that is not in the repository (sparse index).
    pub child_id: Option<i64>,
    pub child_digest: Digest,
    pub platform: Option<Value>,
    pub annotations: Option<Value>,
    pub urls: Option<Value>,
}

/// An artifact attached to another one, by its subject or by a tag of older cosign.
#[derive(Clone, Debug)]
pub struct Accessory {
    pub id: i64,
    /// The accessory's own artifact.
    pub artifact_id: i64,
    pub subject_artifact_id: i64,
    pub subject_artifact_digest: Digest,
    pub size: i64,
    pub digest: Digest,
    /// `signature.cosign`, `signature.notation`, `sbom.harbor`, `subject.accessory`.
    pub kind: String,
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    project_id: i64,
    repository_id: i64,
    path: String,
    digest: Vec<u8>,
    kind: String,
    media_type: Option<String>,
    manifest_media_type: String,
    artifact_type: Option<String>,
    size: i64,
    pushed_at: DateTime<Utc>,
    pulled_at: Option<DateTime<Utc>>,
    facts: Value,
    annotations: Value,
}

/// What a list of artifacts may be filtered and sorted by. Digests compare as their text.
const COLUMNS: Columns = Columns::new(
    &[
        list::integer("id", "m.id").sortable(),
        list::text("type", "m.kind").sortable(),
        list::text("media_type", "m.config_media_type").sortable(),
        list::text("manifest_media_type", "m.media_type").sortable(),
        list::text("artifact_type", "coalesce(m.artifact_type, m.config_media_type)").sortable(),
        list::text(
            "digest",
            "(case get_byte(m.digest, 0) when 1 then 'sha256:' else 'sha512:' end || encode(substr(m.digest, 2), 'hex'))",
        )
        .sortable(),
        list::integer("size", "m.total_size").sortable(),
        list::time("push_time", "m.pushed_at").sortable(),
        list::time("pull_time", "p.last_pulled_at").sortable().joined(),
        list::integer("repository_id", "m.repository_id").sortable(),
        list::text("repository_name", "r.path").sortable().joined(),
        list::text("tags", "(select string_agg(t.name::text, ' ') from catalog.tags t where t.manifest_id = m.id)"),
    ],
    "m.pushed_at desc",
    "m.id desc",
);

const ROW: &str = "m.id, r.project_id, m.repository_id, r.path::text as path, m.digest, m.kind,
    m.config_media_type as media_type, m.media_type as manifest_media_type, m.artifact_type,
    m.total_size as size, m.pushed_at, p.last_pulled_at as pulled_at, m.facts, m.annotations";

const FROM: &str = "catalog.manifests m join catalog.repositories r on r.id = m.repository_id
    left join catalog.manifest_pulls p on p.manifest_id = m.id";

/// What a list of accessories may be filtered and sorted by; `s` is the subject.
const ACCESSORIES: Columns = Columns::new(
    &[
        list::integer("id", "m.id").sortable(),
        list::text("type", "coalesce(m.accessory_kind, 'subject.accessory')").sortable(),
        list::text("digest", "catalog.digest_text(m.digest)").sortable(),
        list::integer("size", "m.total_size").sortable(),
        list::time("creation_time", "m.pushed_at").sortable(),
        list::integer("artifact_id", "m.id").sortable(),
        list::integer("subject_artifact_id", "s.id").sortable(),
        list::text("subject_artifact_digest", "catalog.digest_text(s.digest)").sortable(),
        list::text("subject_artifact_repo", "r.path").sortable(),
    ],
    "m.id",
    "m.id",
);

#[derive(sqlx::FromRow)]
struct AccessoryRow {
    subject_id: i64,
    subject_digest: Vec<u8>,
    id: i64,
    digest: Vec<u8>,
    total_size: i64,
    kind: String,
    pushed_at: DateTime<Utc>,
}

impl TryFrom<AccessoryRow> for Accessory {
    type Error = Error;

    fn try_from(row: AccessoryRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            artifact_id: row.id,
            subject_artifact_id: row.subject_id,
            subject_artifact_digest: stored_digest(&row.subject_digest)?,
            size: row.total_size,
            digest: stored_digest(&row.digest)?,
            kind: row.kind,
            created_at: row.pushed_at,
        })
    }
}

/// Around the ids of labels: the artifact wears all of them.
const WEARS: (&str, &str) = (
    "not exists (select 1 from unnest(",
    "::bigint[]) as wanted(id) where not exists (select 1 from catalog.manifest_labels w
         where w.manifest_id = m.id and w.label_id = wanted.id))",
);

/// Around the name of a label: the artifact wears it.
const LABELLED: (&str, &str) = (
    "exists (select 1 from catalog.manifest_labels w join catalog.labels l on l.id = w.label_id
             where w.manifest_id = m.id and l.name = ",
    ")",
);

/// Around the project's id, an artifact type and a media type, empty for any: the newest of each repository.
const LATEST: (&str, &str) = (
    "m.id = any(array(
         select l.id from (select ",
    "::text[] as wanted) w
         join catalog.repositories o on o.project_id = wanted[1]::bigint and o.deleted_at is null
         cross join lateral (
             select l.id from catalog.manifests l
             where l.repository_id = o.id and l.deleted_at is null and not l.hidden
               and (wanted[2] = '' or coalesce(l.artifact_type, l.config_media_type) = wanted[2])
               and (wanted[3] = '' or l.config_media_type = wanted[3])
             order by l.pushed_at desc, l.id desc limit 1) l))",
);

/// Artifacts. Clone freely.
#[derive(Clone)]
pub struct Artifacts {
    database: Database,
    tenancy: tenancy::Tenancy,
}

impl Artifacts {
    pub(crate) fn new(database: Database, tenancy: tenancy::Tenancy) -> Self {
        Self { database, tenancy }
    }

    /// A page of the repository's artifacts. `q=base=*` shows parts and accessories as well; `tags` filters by
    /// `*` (any tag), `nil` (none), a name, or a part of a name.
    pub async fn list(
        &self,
        permit: &Permit<ListArtifacts>,
        repository: &RepositoryName,
        query: &Query,
        flags: ArtifactFlags,
    ) -> Result<Page<Artifact>, Error> {
        let known = sqlx::query!(
            "select id, artifact_count from catalog.repositories
             where project_id = $1 and path = $2 and deleted_at is null and last_published_at is not null",
            permit.project.0,
            repository.as_str()
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or_else(|| Error::RepositoryUnknown(repository.to_string()))?;
        let select = found_by_id().and("m.repository_id = ", known.id);
        self.page(select, Some(known.artifact_count), query, flags).await
    }

    /// A page of the artifacts of all repositories of the project; with `latest` only the one of each repository that
    /// was pushed last, among those of the artifact and media type that the query asks for. Filters as in
    /// [`Artifacts::list`].
    pub async fn list_in_project(
        &self,
        permit: &Permit<ListArtifacts>,
        query: &Query,
        latest: bool,
        flags: ArtifactFlags,
    ) -> Result<Page<Artifact>, Error> {
        let project = permit.project.0;
        let (select, shown) = if latest {
            let asked = |key: &str| {
                query.terms.iter().find_map(|(name, term)| match term {
                    Term::Exact(value) if name.eq_ignore_ascii_case(key) => Some(value.clone()),
                    _ => None,
                })
            };
            let wanted = vec![
                project.to_string(),
                asked("artifact_type").unwrap_or_default(),
                asked("media_type").unwrap_or_default(),
            ];
            (found_by_id().and_with(LATEST.0, wanted, LATEST.1), None)
        } else {
            let shown = sqlx::query_scalar!(
                r#"select coalesce(sum(artifact_count), 0)::bigint as "shown!" from catalog.repositories
                   where project_id = $1 and deleted_at is null"#,
                project
            )
            .fetch_one(self.database.pool())
            .await?;
            (found_by_id().and("m.project_id = ", project), Some(shown))
        };
        self.page(select, shown, query, flags).await
    }

    /// A page of `select`, narrowed by the filters that have a meaning of their own. `shown` is how many rows there are
    /// without a filter, when that is known.
    async fn page(
        &self,
        mut select: Select,
        shown: Option<i64>,
        query: &Query,
        flags: ArtifactFlags,
    ) -> Result<Page<Artifact>, Error> {
        let mut query = query.clone();
        let mut everything = false;
        let mut narrowed = false;
        let mut terms = Vec::new();
        for (key, term) in query.terms {
            let plain = key.to_ascii_lowercase();
            narrowed |= matches!(plain.as_str(), "base" | "tags" | "labels" | "label");
            match (plain.as_str(), &term) {
                ("base", Term::Exact(value)) if value == "*" => everything = true,
                ("base", _) => return Err(Error::BadQuery("base takes only *".to_owned())),
                ("tags", Term::Exact(value)) if value == "*" => {
                    select =
                        select.and_sql("exists (select 1 from catalog.tags t where t.manifest_id = m.id)");
                }
                ("tags", Term::Exact(value)) if value == "nil" => {
                    select = select
                        .and_sql("not exists (select 1 from catalog.tags t where t.manifest_id = m.id)");
                }
                ("tags", Term::Exact(name)) => {
                    let name: oci::Tag =
                        name.parse().map_err(|_| Error::BadQuery(format!("{name:?} is no tag's name")))?;
                    select = select.and_with(
                        "exists (select 1 from catalog.tags t where t.repository_id = m.repository_id
                             and t.manifest_id = m.id and t.name = ",
                        name.to_string(),
                        ")",
                    );
                }
                ("labels", Term::All(values)) if !values.is_empty() => {
                    let ids: Result<Vec<i64>, _> = values.iter().map(|value| value.parse()).collect();
                    let ids =
                        ids.map_err(|_| Error::BadQuery("labels takes numbers: labels=(1 2)".to_owned()))?;
                    select = select.and_with(WEARS.0, ids, WEARS.1);
                }
                ("label", Term::Exact(name)) if !name.contains('\0') => {
                    select = select.and_with(LABELLED.0, name.as_str(), LABELLED.1);
                }
                ("label", _) => return Err(Error::BadQuery("label takes the name of one".to_owned())),
                ("labels", _) => {
                    return Err(Error::BadQuery("labels takes all of several: labels=(1 2)".to_owned()));
                }
                _ => terms.push((key, term)),
            }
        }
        query.terms = terms;
        if !everything {
            select = select.and_sql("not m.hidden");
        }
        if let Some(shown) = shown.filter(|_| !narrowed) {
            select = select.counted(shown);
        }
        let page = list::page::<Row>(self.database.pool(), select, &COLUMNS, &query).await?;
        Ok(Page { rows: self.complete(page.rows, flags).await?, total: page.total })
    }

    /// One artifact by tag or digest.
    pub async fn get(
        &self,
        permit: &Permit<ReadArtifact>,
        repository: &RepositoryName,
        reference: &Reference,
        flags: ArtifactFlags,
    ) -> Result<Artifact, Error> {
        let unknown = || Error::ManifestUnknown(reference.to_string());
        let digest = self.digest_of(permit.project.0, repository, reference).await?;
        let select = artifacts()
            .and("r.project_id = ", permit.project.0)
            .and("r.path = ", repository.to_string())
            .and("m.digest = ", digest.to_bytes());
        let page = list::page::<Row>(self.database.pool(), select, &COLUMNS, &Query::default()).await?;
        self.complete(page.rows, flags).await?.into_iter().next().ok_or_else(unknown)
    }

    /// A page of what is attached to the artifact.
    pub async fn accessories_of(
        &self,
        permit: &Permit<ListAccessories>,
        repository: &RepositoryName,
        digest: &Digest,
        query: &Query,
    ) -> Result<Page<Accessory>, Error> {
        let select = Select::new(
            "s.id as subject_id, s.digest as subject_digest, m.id, m.digest, m.total_size,
             coalesce(m.accessory_kind, 'subject.accessory') as kind, m.pushed_at",
            "catalog.repositories r
             join catalog.manifests s on s.repository_id = r.id and s.deleted_at is null
             join catalog.manifests m
               on m.repository_id = s.repository_id and m.attached_digest = s.digest and m.deleted_at is null",
        )
        .and_sql("r.deleted_at is null")
        .and("r.project_id = ", permit.project.0)
        .and("r.path = ", repository.to_string())
        .and("s.digest = ", digest.to_bytes());
        let page = list::page::<AccessoryRow>(self.database.pool(), select, &ACCESSORIES, query).await?;
        let rows = page.rows.into_iter().map(Accessory::try_from).collect::<Result<Vec<_>, Error>>()?;
        Ok(Page { rows, total: page.total })
    }

    /// The indexes of the repository that hold the artifact, twenty at most. As long as there is one, the artifact cannot
    /// be deleted.
    pub async fn indexes_of(
        &self,
        permit: &Permit<ReadArtifact>,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Vec<Digest>, Error> {
        let digests = sqlx::query_scalar!(
            "select distinct p.digest from catalog.repositories r
             join catalog.manifest_children c on c.repository_id = r.id and c.child_digest = $3
             join catalog.manifests p on p.id = c.parent_id and p.deleted_at is null
             where r.project_id = $1 and r.path = $2 and r.deleted_at is null
             order by p.digest limit 20",
            permit.project.0,
            repository.as_str(),
            digest.to_bytes()
        )
        .fetch_all(self.database.pool())
        .await?;
        digests.iter().map(|digest| stored_digest(digest)).collect()
    }

    /// Deletes the artifact with all its tags, and what is attached to it. Refused while an index of the repository holds
    /// it.
    pub async fn delete(
        &self,
        permit: &Permit<DeleteArtifact>,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<(), Error> {
        let place = Place { project: permit.project, repository: repository.clone() };
        let digest = self.digest_of(permit.project.0, repository, reference).await?;
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            let repository = lock_repository(&mut tx, &place)
                .await?
                .ok_or_else(|| Error::RepositoryUnknown(place.repository.to_string()))?;
            let mut delta = 0;
            let mut doomed = vec![digest.clone()];
            while let Some(digest) = doomed.pop() {
                delta += manifests::remove(&mut tx, &permit.caller, &place, repository, &digest).await?;
                doomed.extend(attached_to(&mut tx, repository, &digest).await?);
            }
            if delta != 0 {
                self.tenancy.quota_charge(&mut tx, place.project, delta).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// What a tag or digest names, for those who may list the repository's tags or artifacts.
    pub async fn digest_of(
        &self,
        project: i64,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Digest, Error> {
        let (tag, digest) = match reference {
            Reference::Tag(tag) => (Some(tag.to_string()), None),
            Reference::Digest(digest) => (None, Some(digest.to_bytes())),
        };
        let found = sqlx::query_scalar!(
            "select m.digest from catalog.repositories r
             join catalog.manifests m on m.repository_id = r.id and m.deleted_at is null
             where r.project_id = $1 and r.path = $2 and r.deleted_at is null
               and (m.digest = $3
                    or m.id = (select manifest_id from catalog.tags where repository_id = r.id and name = $4))",
            project,
            repository.as_str(),
            digest,
            tag
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or_else(|| Error::ManifestUnknown(reference.to_string()))?;
        stored_digest(&found)
    }

    async fn complete(&self, rows: Vec<Row>, flags: ArtifactFlags) -> Result<Vec<Artifact>, Error> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut references = self.references(&ids).await?;
        let mut labels =
            if flags.labels { labels::of_manifests(&self.database, &ids).await? } else { HashMap::new() };
        let mut inherited = if flags.inherited { self.inherited(&ids).await? } else { HashMap::new() };
        let mut tags = if flags.tags { Some(self.tags(&ids, flags.immutable).await?) } else { None };
        let mut accessories = if flags.accessories { Some(self.accessories(&ids).await?) } else { None };
        rows.into_iter()
            .map(|row| {
                let media_type = row.media_type.unwrap_or_else(|| row.manifest_media_type.clone());
                Ok(Artifact {
                    id: row.id,
                    project_id: row.project_id,
                    repository_id: row.repository_id,
                    path: row.path,
                    digest: stored_digest(&row.digest)?,
                    kind: row.kind,
                    artifact_type: row.artifact_type.unwrap_or_else(|| media_type.clone()),
                    media_type,
                    manifest_media_type: row.manifest_media_type,
                    size: row.size,
                    pushed_at: row.pushed_at,
                    pulled_at: row.pulled_at,
                    facts: row.facts,
                    annotations: row.annotations,
                    tags: tags.as_mut().map(|tags| tags.remove(&row.id).unwrap_or_default()),
                    inherited: inherited.remove(&row.id).unwrap_or_default(),
                    labels: labels.remove(&row.id).unwrap_or_default(),
                    references: references.remove(&row.id).unwrap_or_default(),
                    accessories: accessories.as_mut().map(|all| all.remove(&row.id).unwrap_or_default()),
                })
            })
            .collect()
    }

    async fn tags(&self, ids: &[i64], with_immutable: bool) -> Result<HashMap<i64, Vec<Tag>>, Error> {
        let rows = sqlx::query_as!(
            Tag,
            r#"select t.id, t.repository_id, t.manifest_id as artifact_id, t.name::text as "name!", t.pushed_at,
                      t.last_pulled_at as pulled_at,
                      $2 and exists (select 1 from catalog.immutable_rules i
                                     where i.project_id = r.project_id and not i.disabled)
                         and catalog.is_immutable(r.project_id, r.path, t.name) as "immutable!"
             from catalog.tags t join catalog.repositories r on r.id = t.repository_id
             where t.manifest_id = any($1) order by t.pushed_at desc, t.id desc"#,
            ids,
            with_immutable
        )
        .fetch_all(self.database.pool())
        .await?;
        Ok(grouped(rows, |tag| tag.artifact_id))
    }

    async fn references(&self, ids: &[i64]) -> Result<HashMap<i64, Vec<ChildReference>>, Error> {
        let rows = sqlx::query!(
            r#"select c.parent_id, m.id as "child_id?", c.child_digest, c.platform, c.annotations, c.urls
             from catalog.manifest_children c
             left join catalog.manifests m
               on m.repository_id = c.repository_id and m.digest = c.child_digest and m.deleted_at is null
             where c.parent_id = any($1) order by c.parent_id, c.position"#,
            ids
        )
        .fetch_all(self.database.pool())
        .await?;
        let references = rows
            .into_iter()
            .map(|row| {
                Ok(ChildReference {
                    parent_id: row.parent_id,
                    child_id: row.child_id,
                    child_digest: stored_digest(&row.child_digest)?,
                    platform: row.platform,
                    annotations: row.annotations,
                    urls: row.urls,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(grouped(references, |reference| reference.parent_id))
    }

    async fn accessories(&self, ids: &[i64]) -> Result<HashMap<i64, Vec<Accessory>>, Error> {
        let rows = sqlx::query_as!(
            AccessoryRow,
            r#"select s.id as subject_id, s.digest as subject_digest, m.id, m.digest, m.total_size,
                    coalesce(m.accessory_kind, 'subject.accessory') as "kind!", m.pushed_at
             from catalog.manifests s
             join catalog.manifests m
               on m.repository_id = s.repository_id and m.attached_digest = s.digest and m.deleted_at is null
             where s.id = any($1) order by m.id"#,
            ids
        )
        .fetch_all(self.database.pool())
        .await?;
        let accessories = rows.into_iter().map(Accessory::try_from).collect::<Result<Vec<_>, Error>>()?;
        Ok(grouped(accessories, |accessory| accessory.subject_artifact_id))
    }

    /// The accessories of the indexes that each of these artifacts is part of.
    async fn inherited(&self, ids: &[i64]) -> Result<HashMap<i64, Vec<Accessory>>, Error> {
        let rows = sqlx::query!(
            r#"select distinct p.id as part_id, s.id as subject_id, s.digest as subject_digest, m.id, m.digest,
                    m.total_size, coalesce(m.accessory_kind, 'subject.accessory') as "kind!", m.pushed_at
             from catalog.manifests p
             join catalog.manifest_children c on c.repository_id = p.repository_id and c.child_digest = p.digest
             join catalog.manifests s on s.id = c.parent_id and s.deleted_at is null
             join catalog.manifests m
               on m.repository_id = s.repository_id and m.attached_digest = s.digest and m.deleted_at is null
             where p.id = any($1) order by m.id"#,
            ids
        )
        .fetch_all(self.database.pool())
        .await?;
        let mut all: HashMap<i64, Vec<Accessory>> = HashMap::new();
        for row in rows {
            let accessory = AccessoryRow {
                subject_id: row.subject_id,
                subject_digest: row.subject_digest,
                id: row.id,
                digest: row.digest,
                total_size: row.total_size,
                kind: row.kind,
                pushed_at: row.pushed_at,
            };
            all.entry(row.part_id).or_default().push(accessory.try_into()?);
        }
        Ok(all)
    }
}

/// What is attached to an artifact, without what is part of an index that stays.
async fn attached_to(tx: &mut Tx, repository: i64, subject: &Digest) -> Result<Vec<Digest>, Error> {
    let digests = sqlx::query_scalar!(
        "select m.digest from catalog.manifests m
         where m.repository_id = $1 and m.attached_digest = $2 and m.deleted_at is null
           and not exists (select 1 from catalog.manifest_children c
                           join catalog.manifests i on i.id = c.parent_id and i.deleted_at is null
                           where c.repository_id = m.repository_id and c.child_digest = m.digest)",
        repository,
        subject.to_bytes()
    )
    .fetch_all(&mut **tx)
    .await?;
    digests.iter().map(|digest| stored_digest(digest)).collect()
}

fn artifacts() -> Select {
    Select::new(ROW, FROM).and_sql("r.deleted_at is null").and_sql("m.deleted_at is null")
}

/// For lists: what a repository holds is deleted with it, so the manifests alone tell which rows there are.
fn found_by_id() -> Select {
    Select::new(ROW, FROM).keyed("m.id", "catalog.manifests m").and_sql("m.deleted_at is null")
}

fn grouped<T>(rows: Vec<T>, key: impl Fn(&T) -> i64) -> HashMap<i64, Vec<T>> {
    let mut groups: HashMap<i64, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}
