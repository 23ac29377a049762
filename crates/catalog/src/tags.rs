//! Tags: listing, removing, and the history of what each one named.
//!
//! A history row is written in the transaction of the change, under the repository's lock, so that "from" and
//! "to" are exact.

use chrono::{DateTime, Utc};
use database::list::{self, Columns, Page, Query, Select};
use database::{Database, Tx};
use identity::Caller;
use oci::{Digest, RepositoryName};
use tenancy::{CreateTag, DeleteTag, ListTags, Permit};

use crate::manifests::{lock_repository, stored_digest};
use crate::{Error, Naming, Place, Pull, retrying, sort_key};

/// A tag in a list.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Tag {
    pub id: i64,
    pub repository_id: i64,
    /// The artifact the tag names.
    pub artifact_id: i64,
    pub name: String,
    pub pushed_at: DateTime<Utc>,
    pub pulled_at: Option<DateTime<Utc>>,
    /// A rule keeps it from being moved or deleted; false when not asked for.
    pub immutable: bool,
}

/// What a list of tags may be filtered and sorted by.
const COLUMNS: Columns = Columns::new(
    &[
        list::integer("id", "t.id").sortable(),
        list::text("name", "t.name").sortable(),
        list::integer("repository_id", "t.repository_id").sortable(),
        list::integer("artifact_id", "t.manifest_id").sortable(),
        list::time("push_time", "t.pushed_at").sortable(),
        list::time("pull_time", "t.last_pulled_at").sortable(),
    ],
    "t.pushed_at desc",
    "t.id desc",
);

/// Tags that [`Tags::delete_many`] takes at once: a page of a list.
pub const DELETED_MAX: usize = 100;

/// Tags. Clone freely.
#[derive(Clone)]
pub struct Tags {
    database: Database,
    naming: Naming,
}

impl Tags {
    pub(crate) fn new(database: Database, naming: Naming) -> Self {
        Self { database, naming }
    }

    /// Names in byte order after `last`, at most `limit`. One more is looked up to know whether there are more.
    pub async fn names(
        &self,
        pull: &Pull,
        last: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<String>, bool), Error> {
        // One row with a list in it: a hundred rows cost more on their way than all the rest of the request.
        let mut names = sqlx::query_scalar!(
            r#"select array(
                 select name from catalog.tags
                 where repository_id = r.id and name > $3 collate "C"
                 order by name limit $4) as "names!"
             from catalog.repositories r
             where r.project_id = $1 and r.path = $2 and r.deleted_at is null"#,
            pull.place.project.0,
            pull.place.repository.as_str(),
            last.unwrap_or(""),
            limit + 1
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or_else(|| Error::RepositoryUnknown(pull.place.repository.to_string()))?;
        let more = names.len() as i64 > limit;
        names.truncate(usize::try_from(limit).unwrap_or(0));
        Ok((names, more))
    }

    /// The tags of one artifact, each with whether a rule makes it immutable when that is asked for.
    pub async fn list(
        &self,
        permit: &Permit<ListTags>,
        repository: &RepositoryName,
        digest: &Digest,
        query: &Query,
        with_immutable: bool,
    ) -> Result<Page<Tag>, Error> {
        let manifest = sqlx::query_scalar!(
            "select m.id from catalog.repositories r
             join catalog.manifests m on m.repository_id = r.id and m.digest = $3 and m.deleted_at is null
             where r.project_id = $1 and r.path = $2 and r.deleted_at is null",
            permit.project.0,
            repository.as_str(),
            digest.to_bytes()
        )
        .fetch_optional(self.database.pool())
        .await?
        .ok_or_else(|| Error::ManifestUnknown(digest.to_string()))?;
        let columns = if with_immutable {
            "t.id, t.repository_id, t.manifest_id as artifact_id, t.name::text as name, t.pushed_at,
             t.last_pulled_at as pulled_at, catalog.is_immutable(r.project_id, r.path, t.name) as immutable"
        } else {
            "t.id, t.repository_id, t.manifest_id as artifact_id, t.name::text as name, t.pushed_at,
             t.last_pulled_at as pulled_at, false as immutable"
        };
        let from = "catalog.tags t join catalog.repositories r on r.id = t.repository_id";
        let select = Select::new(columns, from).and("t.manifest_id = ", manifest);
        Ok(list::page(self.database.pool(), select, &COLUMNS, query).await?)
    }

    /// Gives an artifact another tag. Returns what the naming rules warn of. One that exists is never moved by this, so
    /// that what is immutable needs no look of its own.
    ///
    /// # Errors
    /// `ManifestUnknown`; `Conflict` for a tag that exists, `NameRefused`.
    pub async fn create(
        &self,
        permit: &Permit<CreateTag>,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &oci::Tag,
    ) -> Result<Vec<String>, Error> {
        let place = Place { project: permit.project, repository: repository.clone() };
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            let unknown = || Error::ManifestUnknown(digest.to_string());
            let repository = lock_repository(&mut tx, &place).await?.ok_or_else(unknown)?;
            let names = [tag.to_string()];
            let naming = sqlx::query!(
                "select catalog.naming($1, $2, false, $3) as naming",
                place.project.0,
                repository,
                &names as &[String]
            )
            .fetch_one(&mut *tx)
            .await?
            .naming;
            let found = sqlx::query!(
                r#"select id, exists (select 1 from catalog.tags t where t.repository_id = $1 and t.name = $3) as "taken!"
                   from catalog.manifests where repository_id = $1 and digest = $2 and deleted_at is null"#,
                repository,
                digest.to_bytes(),
                tag.as_str()
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(unknown)?;
            if found.taken {
                return Err(Error::Conflict(format!("tag {tag} already exists in {}", place.repository)));
            }
            let warnings = self.naming.judge(&place.repository, naming)?;
            point(&mut tx, &permit.caller, repository, found.id, &names, digest, "move").await?;
            sqlx::query!("update catalog.repositories set updated_at = now() where id = $1", repository)
                .execute(&mut *tx)
                .await?;
            let name = format!("{}:{tag}", place.repository);
            let object = audit::Object { kind: "tag", id: digest.to_string(), name: &name };
            trail(&mut tx, &permit.caller, &place, "tag_create", object).await?;
            tx.commit().await?;
            Ok(warnings)
        })
        .await
    }

    /// Removes those of these tags that still name what is said of them and that no rule keeps, in one transaction;
    /// returns them. However many there are, it is the same number of statements.
    ///
    /// # Errors
    /// `RepositoryUnknown`; `BadQuery` above [`DELETED_MAX`].
    pub async fn delete_many(
        &self,
        permit: &Permit<DeleteTag>,
        repository: &RepositoryName,
        items: &[(oci::Tag, Digest)],
    ) -> Result<Vec<(oci::Tag, Digest)>, Error> {
        if items.len() > DELETED_MAX {
            return Err(Error::BadQuery(format!("at most {DELETED_MAX} tags are deleted at once")));
        }
        let place = Place { project: permit.project, repository: repository.clone() };
        let names: Vec<String> = items.iter().map(|(tag, _)| tag.to_string()).collect();
        let digests: Vec<Vec<u8>> = items.iter().map(|(_, digest)| digest.to_bytes()).collect();
        let actor = permit.caller.actor();
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            let unknown = || Error::RepositoryUnknown(place.repository.to_string());
            let id = lock_repository(&mut tx, &place).await?.ok_or_else(unknown)?;
            let gone = sqlx::query!(
                r#"with asked as (
                     select name, digest from unnest($3::text[], $4::bytea[]) as a(name, digest)
                 ), gone as (
                     delete from catalog.tags t using asked a, catalog.manifests m, catalog.repositories r
                     where t.repository_id = $2 and t.name = a.name and m.id = t.manifest_id and m.digest = a.digest
                       and r.id = $2 and not catalog.is_immutable($1, r.path, t.name)
                     returning t.name, m.digest
                 ), told as (
                     insert into catalog.tag_history
                         (repository_id, tag, action, from_digest, actor_kind, actor_id, actor_name, client)
                     select $2, g.name, 'delete', g.digest, $5, $6, $7, $8 from gone g
                 )
                 select name::text as "name!", digest as "digest!" from gone order by name"#,
                place.project.0,
                id,
                &names,
                &digests,
                actor.kind,
                actor.id,
                actor.name,
                permit.caller.origin.client
            )
            .fetch_all(&mut *tx)
            .await?;
            let mut removed = Vec::with_capacity(gone.len());
            let mut acts = Vec::with_capacity(gone.len());
            for row in gone {
                let digest = stored_digest(&row.digest)?;
                let name = format!("{}:{}", place.repository, row.name);
                acts.push(audit::OwnedEntry::from(audit::Entry {
                    actor,
                    action: "tag_delete",
                    object: audit::Object { kind: "tag", id: digest.to_string(), name: &name },
                    project: Some(place.project.0),
                    outcome: audit::Outcome::Done,
                    origin: &permit.caller.origin,
                    changed: &[],
                }));
                let tag = row.name.parse().map_err(|_| Error::BadQuery(format!("{:?} is no tag", row.name)))?;
                removed.push((tag, digest));
            }
            if !acts.is_empty() {
                let acts: Vec<(f64, &audit::OwnedEntry)> = acts.iter().map(|act| (0.0, act)).collect();
                audit::append_many(&mut tx, &acts).await?;
                sqlx::query!("update catalog.repositories set updated_at = now() where id = $1", id)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(removed)
        })
        .await
    }

    /// Removes one tag of one artifact.
    pub async fn delete(
        &self,
        permit: &Permit<DeleteTag>,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &oci::Tag,
    ) -> Result<(), Error> {
        let place = Place { project: permit.project, repository: repository.clone() };
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            let unknown = || Error::TagUnknown(tag.clone());
            let repository = lock_repository(&mut tx, &place).await?.ok_or_else(unknown)?;
            let removed =
                remove(&mut tx, &permit.caller, &place, repository, tag).await?.ok_or_else(unknown)?;
            if removed != *digest {
                // The tag exists, but on another artifact: nothing is committed.
                return Err(unknown());
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }
}

/// Points the tags at the manifest, with their history, in one statement however many there are. `known` is what the
/// history calls it when a tag exists already, or existed: `move` or `restore`. A tag that names the manifest already is
/// pushed anew and has no new history.
pub(crate) async fn point(
    tx: &mut Tx,
    caller: &Caller,
    repository: i64,
    manifest: i64,
    names: &[String],
    digest: &Digest,
    known: &str,
) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    let actor = caller.actor();
    sqlx::query!(
        "with before as (
             select t.name, m.digest from catalog.tags t join catalog.manifests m on m.id = t.manifest_id
             where t.repository_id = $1 and t.name = any($3)
         ), pushed as (
             insert into catalog.tags as t (repository_id, name, manifest_id, natural_key, semver_key, pushed_by)
             select $1, n.name, $2, n.natural_key, n.semver_key, $6
             from unnest($3::text[], $4::text[], $5::text[]) as n(name, natural_key, semver_key) order by n.name
             on conflict (repository_id, name) do update set
                 manifest_id = excluded.manifest_id, pushed_at = now(), pushed_by = excluded.pushed_by
         )
         insert into catalog.tag_history
             (repository_id, tag, action, from_digest, to_digest, actor_kind, actor_id, actor_name, client)
         select $1, n.name, case when b.digest is null and $11 = 'move' then 'create' else $11 end, b.digest, $7, $8, $9,
                $6, $10
         from unnest($3::text[]) as n(name) left join before b on b.name = n.name
         where b.digest is distinct from $7",
        repository,
        manifest,
        &names,
        &names.iter().map(|name| sort_key::natural(name)).collect::<Vec<_>>(),
        &names.iter().map(|name| sort_key::semver(name)).collect::<Vec<_>>() as &[Option<String>],
        actor.name,
        digest.to_bytes(),
        actor.kind,
        actor.id,
        caller.origin.client,
        known
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes a tag of a locked repository; returns what it named, or `None` when there is no such tag.
pub(crate) async fn remove(
    tx: &mut Tx,
    caller: &Caller,
    place: &Place,
    repository: i64,
    tag: &oci::Tag,
) -> Result<Option<Digest>, Error> {
    sqlx::query!(
        "select catalog.refuse_immutable($1, $2, array[$3::text])",
        place.project.0,
        repository,
        tag.as_str()
    )
    .execute(&mut **tx)
    .await?;
    let digest = sqlx::query_scalar!(
        "delete from catalog.tags t using catalog.manifests m
         where t.repository_id = $1 and t.name = $2 and m.id = t.manifest_id returning m.digest",
        repository,
        tag.as_str()
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(digest) = digest else {
        return Ok(None);
    };
    let digest = stored_digest(&digest)?;
    removed(tx, caller, repository, &[tag.to_string()], &digest).await?;
    sqlx::query!("update catalog.repositories set updated_at = now() where id = $1", repository)
        .execute(&mut **tx)
        .await?;
    let name = format!("{}:{tag}", place.repository);
    trail(
        tx,
        caller,
        place,
        "tag_delete",
        audit::Object { kind: "tag", id: digest.to_string(), name: &name },
    )
    .await?;
    Ok(Some(digest))
}

/// One history row per removed tag, in one statement; `from` is what they named.
pub(crate) async fn removed(
    tx: &mut Tx,
    caller: &Caller,
    repository: i64,
    names: &[String],
    from: &Digest,
) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let actor = caller.actor();
    sqlx::query!(
        "insert into catalog.tag_history
             (repository_id, tag, action, from_digest, actor_kind, actor_id, actor_name, client)
         select $1, name, 'delete', $3, $4, $5, $6, $7 from unnest($2::text[]) as n(name)",
        repository,
        names,
        from.to_bytes(),
        actor.kind,
        actor.id,
        actor.name,
        caller.origin.client
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Appends one act of this crate to the trail, in the caller's transaction.
pub(crate) async fn trail(
    tx: &mut Tx,
    caller: &Caller,
    place: &Place,
    action: &'static str,
    object: audit::Object<'_>,
) -> Result<(), Error> {
    audit::append(
        tx,
        &audit::Entry {
            actor: caller.actor(),
            action,
            object,
            project: Some(place.project.0),
            outcome: audit::Outcome::Done,
            origin: &caller.origin,
            changed: &[],
        },
    )
    .await?;
    Ok(())
}
