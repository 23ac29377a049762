//! Tags as tags: lists over repositories and projects, what each tag named before, and bringing that back.

use chrono::{DateTime, Utc};
use database::list::{self, Columns, Page, Query, Select, Value as Term};
use database::{Database, Tx};
use oci::{Digest, RepositoryName};
use serde_json::Value;
use tenancy::{CreateTag, ListTags, Permit, Tenancy};

use crate::manifests::stored_digest;
use crate::{Error, Naming, Place, retrying, tags};

/// A tag with what it names, for lists of tags.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct TagEntry {
    pub name: String,
    /// With the project: `project/name`.
    pub repository: String,
    /// `sha256:…`
    pub digest: String,
    /// `IMAGE`, `CHART`, …
    pub kind: String,
    /// Bytes of the manifest and all it names.
    pub size: i64,
    /// Bytes with those of the parts of an index, as far as they are here. What parts share counts with each.
    pub whole_size: i64,
    /// Objects like those of an index; of an image its own, if it has one.
    pub platforms: Value,
    pub pushed_at: DateTime<Utc>,
    pub pulled_at: Option<DateTime<Utc>>,
    pub pull_count: i64,
    pub pushed_by: String,
    pub immutable: bool,
    /// Other tags of the same artifact, twenty at most.
    pub aliases: Vec<String>,
}

/// What a query lets through, counted.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Matching {
    pub tags: i64,
    /// Those of them that a rule keeps.
    pub kept: i64,
    /// Artifacts that no tag names any more when the others are gone.
    pub untagged: i64,
    /// Bytes of these.
    pub bytes: i64,
}

/// One change of what a tag names.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct TagChange {
    pub id: i64,
    pub tag: String,
    /// `create`, `move`, `delete` or `restore`.
    pub action: String,
    pub from_digest: Option<String>,
    pub to_digest: Option<String>,
    pub actor: String,
    pub client: String,
    pub at: DateTime<Utc>,
    /// Until when what the tag named before can be brought back; nothing when it cannot.
    pub restorable_until: Option<DateTime<Utc>>,
}

const ENTRIES: Columns = Columns::new(
    &[
        list::integer("id", "t.id").sortable(),
        list::text("name", "t.name").sortable(),
        list::text("repository_name", "r.path").sortable().joined(),
        list::text("type", "m.kind").sortable().joined(),
        list::integer("size", "m.total_size").sortable().joined(),
        list::time("push_time", "t.pushed_at").sortable(),
        list::time("pull_time", "t.last_pulled_at").sortable(),
        list::integer("pull_count", "t.pull_count").sortable(),
        // When it was pulled last, or else pushed: what nobody wanted since.
        list::time("idle_since", "coalesce(t.last_pulled_at, t.pushed_at)").sortable(),
        list::text("pushed_by", "t.pushed_by").sortable(),
        list::text("natural", "t.natural_key").sort_only(),
        // What is no version sorts below every version, so that the newest come first when it descends.
        list::text("semver", "coalesce(t.semver_key, '')").sort_only(),
    ],
    "t.pushed_at desc",
    "t.id desc",
);

/// Around system, architecture and variant, which is empty for any: the image, or a part of the index, runs there.
const RUNS_ON: (&str, &str) = (
    "exists (select 1 from catalog.manifests m cross join (select ",
    "::text[] as asked) a where m.id = t.manifest_id and (
         (m.facts->>'os' = asked[1] and m.facts->>'architecture' = asked[2]
          and (asked[3] = '' or m.facts->>'variant' = asked[3]))
         or exists (select 1 from catalog.manifest_children c
                    where c.parent_id = m.id and c.platform->>'os' = asked[1]
                      and c.platform->>'architecture' = asked[2]
                      and (asked[3] = '' or c.platform->>'variant' = asked[3]))))",
);

/// Before whether it is so: a signature is attached to what the tag names.
const SIGNED: &str = "exists (
         select 1 from catalog.manifests m
         join catalog.manifests s on s.repository_id = m.repository_id and s.attached_digest = m.digest
         where m.id = t.manifest_id and s.deleted_at is null and s.accessory_kind like 'signature.%') = ";

/// Around the name of a label: what the tag names wears it.
const LABELLED: (&str, &str) = (
    "exists (select 1 from catalog.manifest_labels w join catalog.labels l on l.id = w.label_id
             where w.manifest_id = t.manifest_id and l.name = ",
    ")",
);

const CHANGES: Columns = Columns::new(
    &[
        list::integer("id", "h.id").sortable(),
        list::text("tag", "h.tag").sortable(),
        list::text("action", "h.action").sortable(),
        list::text("actor", "h.actor_name").sortable(),
        list::time("time", "h.at").sortable(),
    ],
    "h.id desc",
    "h.id desc",
);

/// Lists of tags, and their history. Clone freely.
#[derive(Clone)]
pub struct TagHistory {
    database: Database,
    tenancy: Tenancy,
    naming: Naming,
}

impl TagHistory {
    pub(crate) fn new(database: Database, tenancy: Tenancy, naming: Naming) -> Self {
        Self { database, tenancy, naming }
    }

    /// The tags of all repositories of the project. `q` takes besides the columns `platform=linux/arm/v7`, `signed=true`
    /// and `label=NAME`.
    pub async fn project_tags(
        &self,
        permit: &Permit<ListTags>,
        query: &Query,
    ) -> Result<Page<TagEntry>, Error> {
        let shown = sqlx::query_scalar!(
            r#"select coalesce(sum(tag_count), 0)::bigint as "shown!" from catalog.repositories
               where project_id = $1 and deleted_at is null"#,
            permit.project.0
        )
        .fetch_one(self.database.pool())
        .await?;
        let (select, query) = narrowed(entries().and("t.project_id = ", permit.project.0), shown, query)?;
        Ok(list::page(self.database.pool(), select, &ENTRIES, &query).await?)
    }

    /// The tags of one repository, with the same filters.
    pub async fn repository_tags(
        &self,
        permit: &Permit<ListTags>,
        repository: &RepositoryName,
        query: &Query,
    ) -> Result<Page<TagEntry>, Error> {
        let known = self.repository(permit.project.0, repository).await?;
        let select = entries().and("t.repository_id = ", known.id);
        let (select, query) = narrowed(select, known.tag_count, query)?;
        Ok(list::page(self.database.pool(), select, &ENTRIES, &query).await?)
    }

    /// What the query lets through in the repository, counted: one statement.
    pub async fn matching(
        &self,
        permit: &Permit<ListTags>,
        repository: &RepositoryName,
        query: &Query,
    ) -> Result<Matching, Error> {
        let known = self.repository(permit.project.0, repository).await?;
        let (select, query) = narrowed(counted().and("t.repository_id = ", known.id), 0, query)?;
        Ok(list::summed(self.database.pool(), select, &ENTRIES, &query, COUNTED_BY).await?)
    }

    /// The next tags that the query lets through, a hundred at most, with their ids, behind the id `after`; its order and
    /// page do not matter.
    pub async fn next_matching(
        &self,
        permit: &Permit<ListTags>,
        repository: &RepositoryName,
        query: &Query,
        after: i64,
    ) -> Result<Vec<(i64, oci::Tag, Digest)>, Error> {
        let known = self.repository(permit.project.0, repository).await?;
        let select = Select::new("t.id, t.name::text as name, m.digest", FROM)
            .keyed("t.id", "catalog.tags t")
            .and_sql("not t.hidden")
            .and("t.repository_id = ", known.id)
            .and("t.id > ", after);
        let (select, mut query) = narrowed(select, 0, query)?;
        query.sort = vec![("id".to_owned(), false)];
        (query.page, query.page_size) = (1, crate::DELETED_MAX as i64);
        let rows: Vec<(i64, String, Vec<u8>)> =
            list::rows(self.database.pool(), select, &ENTRIES, &query).await?;
        rows.into_iter()
            .map(|(id, name, digest)| {
                let tag = name.parse().map_err(|_| Error::BadQuery(format!("{name:?} is no tag's name")))?;
                Ok((id, tag, stored_digest(&digest)?))
            })
            .collect()
    }

    /// What happened to one tag, newest first. A tag nobody ever made has no history.
    pub async fn changes(
        &self,
        permit: &Permit<ListTags>,
        repository: &RepositoryName,
        tag: &oci::Tag,
        query: &Query,
    ) -> Result<Page<TagChange>, Error> {
        let id = self.repository(permit.project.0, repository).await?.id;
        let select = changes().and("h.repository_id = ", id).and("h.tag = ", tag.as_str());
        Ok(list::page(self.database.pool(), select, &CHANGES, query).await?)
    }

    /// What happened to all tags of the repository, newest first.
    pub async fn repository_changes(
        &self,
        permit: &Permit<ListTags>,
        repository: &RepositoryName,
        query: &Query,
    ) -> Result<Page<TagChange>, Error> {
        let id = self.repository(permit.project.0, repository).await?.id;
        let select = changes().and("h.repository_id = ", id);
        Ok(list::page(self.database.pool(), select, &CHANGES, query).await?)
    }

    /// Until when what is deleted now can be brought back.
    pub async fn restorable_until(&self) -> Result<DateTime<Utc>, Error> {
        Ok(sqlx::query_scalar!(r#"select now() + catalog.restore_window() as "until!""#)
            .fetch_one(self.database.pool())
            .await?)
    }

    /// Points the tag at an artifact of the repository again, and brings the artifact back when it was deleted. Its
    /// bytes are charged again. Returns what the naming rules warn of: a tag that was deleted is a new one.
    ///
    /// # Errors
    /// `Conflict` when the tag names another artifact and `overwrite` is false, `Gone` when the artifact cannot be
    /// brought back any more, `ManifestUnknown` when it never was here, `TagImmutable`, `NameRefused`, a full
    /// quota.
    pub async fn restore(
        &self,
        permit: &Permit<CreateTag>,
        repository: &RepositoryName,
        tag: &oci::Tag,
        digest: &Digest,
        overwrite: bool,
    ) -> Result<Vec<String>, Error> {
        retrying(|| self.try_restore(permit, repository, tag, digest, overwrite)).await
    }

    async fn try_restore(
        &self,
        permit: &Permit<CreateTag>,
        repository: &RepositoryName,
        tag: &oci::Tag,
        digest: &Digest,
        overwrite: bool,
    ) -> Result<Vec<String>, Error> {
        let place = Place { project: permit.project, repository: repository.clone() };
        let gone = || Error::Gone(format!("the artifact {digest} cannot be restored any more"));
        let mut tx = self.database.begin().await?;
        let known = sqlx::query!(
            r#"select r.id,
                 (select m.id from catalog.manifests m where m.repository_id = r.id and m.digest = $3) as manifest,
                 array(select distinct b.digest from catalog.manifests m
                       cross join lateral catalog.deleted_with(m.id) as family(id)
                       join catalog.manifest_blobs b on b.manifest_id = family.id
                       where m.repository_id = r.id and m.digest = $3) as "blobs!",
                 exists (select 1 from catalog.tag_history h
                         where h.repository_id = r.id and (h.from_digest = $3 or h.to_digest = $3)) as "named!"
               from catalog.repositories r where r.project_id = $1 and r.path = $2 and r.deleted_at is null"#,
            place.project.0,
            place.repository.as_str(),
            digest.to_bytes()
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Error::RepositoryUnknown(repository.to_string()))?;
        let Some(manifest) = known.manifest else {
            return Err(if known.named { gone() } else { Error::ManifestUnknown(digest.to_string()) });
        };
        // Takes the locks of a push, and refuses a tag that is immutable.
        let present = sqlx::query!(
            r#"select coalesce(bool_and(live and linked) filter (where digest is not null), true) as "all!",
                      count(digest) as "count!",
                      (array_agg(naming) filter (where naming is not null))[1] as naming
               from catalog.begin_push($1, $2, $3, $4)"#,
            place.project.0,
            place.repository.as_str(),
            &known.blobs,
            &[tag.to_string()] as &[String]
        )
        .fetch_one(&mut *tx)
        .await?;
        let row = sqlx::query!(
            r#"select m.deleted_at is null as "alive!", m.deleted_at < now() - catalog.restore_window() as late,
                 (select o.digest from catalog.tags t join catalog.manifests o on o.id = t.manifest_id
                  where t.repository_id = $2 and t.name = $3) as named
               from catalog.manifests m where m.id = $1 for update of m"#,
            manifest,
            known.id,
            tag.as_str()
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(gone)?;
        let whole = present.all && present.count == known.blobs.len() as i64;
        if !row.alive && (row.late == Some(true) || !whole) {
            return Err(gone());
        }
        if let Some(named) = row.named
            && named != digest.to_bytes()
            && !overwrite
        {
            return Err(Error::Conflict(format!(
                "tag {tag} names {}; set overwrite to restore it all the same",
                stored_digest(&named)?
            )));
        }
        let warnings = self.naming.judge(&place.repository, present.naming)?;
        let attached = if row.alive { Vec::new() } else { revive(&mut tx, manifest).await? };
        tags::point(&mut tx, &permit.caller, known.id, manifest, &[tag.to_string()], digest, "restore")
            .await?;
        let name = format!("{}:{tag}", place.repository);
        let object = audit::Object { kind: "tag", id: digest.to_string(), name: &name };
        tags::trail(&mut tx, &permit.caller, &place, "tag_restore", object).await?;
        for accessory in &attached {
            let digest = stored_digest(&accessory.digest)?;
            tags::point(&mut tx, &permit.caller, known.id, accessory.id, &accessory.tags, &digest, "restore")
                .await?;
        }
        let attached: Vec<i64> = attached.into_iter().map(|accessory| accessory.id).collect();
        let charge = sqlx::query_scalar!(
            r#"select (catalog.publish($1, $2, $3, $4, '{}') + coalesce(
                   (select sum(catalog.publish($1, $2, id, false, '{}')) from unnest($5::bigint[]) as id), 0)
               )::bigint as "charge!""#,
            place.project.0,
            known.id,
            manifest,
            row.alive,
            &attached
        )
        .fetch_one(&mut *tx)
        .await?;
        self.tenancy.quota_charge(&mut tx, place.project, charge).await?;
        tx.commit().await?;
        Ok(warnings)
    }

    async fn repository(&self, project: i64, repository: &RepositoryName) -> Result<Known, Error> {
        sqlx::query_as!(
            Known,
            "select id, tag_count from catalog.repositories
             where project_id = $1 and path = $2 and deleted_at is null and last_published_at is not null",
            project,
            repository.as_str()
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or_else(|| Error::RepositoryUnknown(repository.to_string()))
    }
}

/// A repository that is there.
struct Known {
    id: i64,
    tag_count: i64,
}

/// What was attached to a manifest and deleted with it.
struct Attached {
    id: i64,
    digest: Vec<u8>,
    /// Those it had, without those that name something else by now.
    tags: Vec<String>,
}

/// Brings a deleted manifest back, and what was attached to it and deleted with it, which is returned.
async fn revive(tx: &mut Tx, manifest: i64) -> Result<Vec<Attached>, Error> {
    let attached = sqlx::query_as!(
        Attached,
        r#"select m.id, m.digest, array(
               select distinct h.tag from catalog.tag_history h
               where h.repository_id = m.repository_id and h.from_digest = m.digest and h.action = 'delete'
                 and h.at = m.deleted_at and not exists (
                     select 1 from catalog.tags t where t.repository_id = m.repository_id and t.name = h.tag)
           ) as "tags!"
           from catalog.manifests m
           where m.id in (select catalog.deleted_with($1)) and m.id <> $1 order by m.id"#,
        manifest
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut ids: Vec<i64> = attached.iter().map(|accessory| accessory.id).collect();
    ids.push(manifest);
    sqlx::query!(
        "update catalog.manifests set deleted_at = null, gc_after = catalog.review_at('manifest_created')
         where id = any($1)",
        &ids
    )
    .execute(&mut **tx)
    .await?;
    Ok(attached)
}

/// The select with the filters that no column answers, and the query without them. `shown` is how many rows there are
/// without a filter.
fn narrowed(mut select: Select, shown: i64, query: &Query) -> Result<(Select, Query), Error> {
    let mut query = query.clone();
    let all = query.terms.len();
    let mut plain = Vec::with_capacity(all);
    for (key, term) in query.terms {
        match (key.to_ascii_lowercase().as_str(), &term) {
            ("platform", Term::Exact(platform)) => {
                let mut parts: Vec<String> = platform.splitn(3, '/').map(ToOwned::to_owned).collect();
                parts.resize(3, String::new());
                if parts[1].is_empty() || platform.contains('\0') {
                    return Err(Error::BadQuery("platform takes one like linux/amd64".to_owned()));
                }
                select = select.and_with(RUNS_ON.0, list::Bind::Texts(parts), RUNS_ON.1);
            }
            ("signed", Term::Exact(value)) if value == "true" || value == "false" => {
                select = select.and(SIGNED, value == "true");
            }
            ("label", Term::Exact(name)) if !name.contains('\0') => {
                select = select.and_with(LABELLED.0, name.as_str(), LABELLED.1);
            }
            ("platform" | "signed" | "label", _) => {
                return Err(Error::BadQuery(format!("{key} takes one value, true or false for signed")));
            }
            _ => plain.push((key, term)),
        }
    }
    query.terms = plain;
    if query.terms.len() == all {
        select = select.counted(shown);
    }
    Ok((select, query))
}

fn changes() -> Select {
    Select::new(
        "h.id, h.tag::text as tag, h.action, catalog.digest_text(h.from_digest) as from_digest,
         catalog.digest_text(h.to_digest) as to_digest, h.actor_name as actor, h.client, h.at,
         case when h.action in ('move', 'delete', 'restore') then (
             select h.at + catalog.restore_window() from catalog.manifests m
             where m.repository_id = h.repository_id and m.digest = h.from_digest
               and h.at > now() - catalog.restore_window()
               and (m.deleted_at is null or m.deleted_at > now() - catalog.restore_window())) end as restorable_until",
        "catalog.tag_history h",
    )
}

const FROM: &str = "catalog.tags t join catalog.repositories r on r.id = t.repository_id
         join catalog.manifests m on m.id = t.manifest_id";

/// What [`counted`] counts by.
const COUNTED_BY: &str = " group by t.manifest_id) g join catalog.manifests m on m.id = g.manifest_id
     cross join lateral (select count(*) as n from catalog.tags o where o.manifest_id = g.manifest_id) o";

fn counted() -> Select {
    Select::new(
        "coalesce(sum(g.n), 0)::bigint as tags, coalesce(sum(g.kept), 0)::bigint as kept,
         count(*) filter (where g.n - g.kept = o.n) as untagged,
         coalesce(sum(m.total_size) filter (where g.n - g.kept = o.n), 0)::bigint as bytes
         from (select t.manifest_id, count(*) as n,
                      count(*) filter (where catalog.is_immutable(r.project_id, r.path, t.name)) as kept",
        FROM,
    )
    .and_sql("not t.hidden")
}

fn entries() -> Select {
    Select::new(
        "t.name::text as name, r.path::text as repository, catalog.digest_text(m.digest) as digest, m.kind,
         m.total_size as size,
         m.total_size + coalesce(
             (select sum(part.total_size)::bigint from catalog.manifest_children c
              join catalog.manifests part
                on part.repository_id = c.repository_id and part.digest = c.child_digest and part.deleted_at is null
              where c.parent_id = m.id), 0) as whole_size, t.pushed_at, t.last_pulled_at as pulled_at, t.pull_count, t.pushed_by,
         catalog.is_immutable(r.project_id, r.path, t.name) as immutable,
         array(select o.name::text from catalog.tags o where o.manifest_id = m.id and o.id <> t.id
               order by o.natural_key limit 20) as aliases,
         coalesce(
             (select jsonb_agg(c.platform order by c.position) from catalog.manifest_children c
              where c.parent_id = m.id and c.platform is not null and c.platform->>'os' is distinct from 'unknown'),
             case when m.facts ? 'os' then jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
                 'os', m.facts->'os', 'architecture', m.facts->'architecture', 'variant', m.facts->'variant'))) end,
             '[]') as platforms",
        FROM,
    )
    // Tags are removed with what they name.
    .keyed("t.id", "catalog.tags t")
    .and_sql("not t.hidden")
}
