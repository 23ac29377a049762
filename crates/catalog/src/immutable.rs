//! Rules that make tags immutable.
//!
//! What a rule means is decided in the database (`catalog.is_immutable`), inside the transaction that would move or
//! delete a tag, so that no path goes past it. Here rules are kept and their patterns made into what it matches with.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use database::list::{self, Columns, Page, Query, Select};
use database::{Database, Tx};
use identity::Caller;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::{
    CreateImmutableRule, DeleteImmutableRule, ListImmutableRules, Permit, ProjectId, UpdateImmutableRule,
};

use crate::{Error, glob, retrying};

/// Rules one project may have.
const RULES_MAX: i64 = 15;
/// Selectors one rule may have for tags, and for repositories.
const SELECTORS_MAX: usize = 20;
/// The only key of `scope_selectors`.
const REPOSITORY: &str = "repository";

/// One pattern of a rule, as clients write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// `doublestar`.
    #[serde(default)]
    pub kind: String,
    /// `matches`, `excludes`; of repositories `repoMatches`, `repoExcludes`.
    #[serde(default)]
    pub decoration: String,
    #[serde(default)]
    pub pattern: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extras: String,
}

/// What a rule is made of. It covers a tag that every selector lets through, in a repository that every selector
/// lets through.
#[derive(Clone, Debug, Default)]
pub struct RuleInput {
    pub disabled: bool,
    pub priority: i32,
    pub tag_selectors: Vec<Selector>,
    /// By `repository`, the only scope there is.
    pub scope_selectors: BTreeMap<String, Vec<Selector>>,
    pub params: Value,
}

/// A rule of a project.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ImmutableRule {
    pub id: i64,
    pub disabled: bool,
    pub priority: i32,
    #[sqlx(json)]
    pub tag_selectors: Vec<Selector>,
    #[sqlx(json)]
    pub scope_selectors: BTreeMap<String, Vec<Selector>>,
    pub params: Value,
}

/// A tag that a rule locks.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LockedTag {
    /// With the project: `project/name`.
    pub repository: String,
    pub name: String,
    pub pushed_at: DateTime<Utc>,
}

const LOCKED: Columns = Columns::new(&[], "r.path", "t.name");

const COLUMNS: Columns = Columns::new(
    &[list::integer("id", "i.id").sortable(), list::flag("disabled", "i.disabled").sortable()],
    "i.id",
    "i.id",
);

/// A rule that was checked, in the form of its row.
struct Checked {
    tags: Value,
    scope: Value,
    params: Value,
    tag_matches: Vec<String>,
    tag_excludes: Vec<String>,
    repo_matches: Vec<String>,
    repo_excludes: Vec<String>,
}

/// Immutable tag rules. Clone freely.
#[derive(Clone)]
pub struct ImmutableRules {
    database: Database,
}

impl ImmutableRules {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// A page of the project's rules.
    pub async fn list(
        &self,
        permit: &Permit<ListImmutableRules>,
        query: &Query,
    ) -> Result<Page<ImmutableRule>, Error> {
        let select = Select::new(
            "i.id, i.disabled, i.priority, i.tag_selectors, i.scope_selectors, i.params",
            "catalog.immutable_rules i",
        )
        .and("i.project_id = ", permit.project.0);
        Ok(list::page(self.database.pool(), select, &COLUMNS, query).await?)
    }

    /// The tags that a rule locks today, whether or not there is such a rule yet: by repository and name, the first
    /// `rows_max`, and how many there are.
    ///
    /// # Errors
    /// `Invalid` for what could be no rule.
    pub async fn locked(
        &self,
        permit: &Permit<ListImmutableRules>,
        input: &RuleInput,
        rows_max: i64,
    ) -> Result<Page<LockedTag>, Error> {
        let checked = check(input)?;
        let mut tx = self.database.begin().await?;
        matchable(&mut tx, &checked).await?;
        drop(tx);
        // As in `catalog.is_immutable`.
        let select = Select::new(
            "r.path as repository, t.name::text as name, t.pushed_at",
            "catalog.tags t join catalog.repositories r on r.id = t.repository_id and r.deleted_at is null",
        )
        .and("t.project_id = ", permit.project.0)
        .and_sql("t.name !~ '^sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})[.](sig|att|sbom)$'")
        .and_with("t.name ~ all(", checked.tag_matches, ")")
        .and_with("t.name !~ all(", checked.tag_excludes, ")")
        .and_with("substr(r.path, strpos(r.path, '/') + 1) ~ all(", checked.repo_matches, ")")
        .and_with("substr(r.path, strpos(r.path, '/') + 1) !~ all(", checked.repo_excludes, ")");
        let query = Query { page_size: rows_max, ..Query::default() };
        Ok(list::page(self.database.pool(), select, &LOCKED, &query).await?)
    }

    /// Adds a rule; returns its id.
    ///
    /// # Errors
    /// `Invalid`; `Conflict` for a rule that says what another one says; `Limit`.
    pub async fn create(
        &self,
        permit: &Permit<CreateImmutableRule>,
        input: &RuleInput,
    ) -> Result<i64, Error> {
        let checked = check(input)?;
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            lock_project(&mut tx, permit.project).await?;
            matchable(&mut tx, &checked).await?;
            refuse_twin(&mut tx, permit.project, None, &checked).await?;
            let count = sqlx::query_scalar!(
                r#"select count(*) as "count!" from catalog.immutable_rules where project_id = $1"#,
                permit.project.0
            )
            .fetch_one(&mut *tx)
            .await?;
            if count >= RULES_MAX {
                return Err(Error::Limit(format!("a project has at most {RULES_MAX} immutable tag rules")));
            }
            let id = sqlx::query_scalar!(
                "insert into catalog.immutable_rules
                     (project_id, disabled, priority, tag_selectors, scope_selectors, params,
                      tag_matches, tag_excludes, repo_matches, repo_excludes)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning id",
                permit.project.0,
                input.disabled,
                input.priority,
                checked.tags,
                checked.scope,
                checked.params,
                &checked.tag_matches,
                &checked.tag_excludes,
                &checked.repo_matches,
                &checked.repo_excludes
            )
            .fetch_one(&mut *tx)
            .await?;
            trail(&mut tx, &permit.caller, permit.project, "immutable_rule_create", id, &[]).await?;
            tx.commit().await?;
            Ok(id)
        })
        .await
    }

    /// Replaces a rule of the project.
    ///
    /// # Errors
    /// As [`ImmutableRules::create`], and `Unknown`.
    pub async fn update(
        &self,
        permit: &Permit<UpdateImmutableRule>,
        id: i64,
        input: &RuleInput,
    ) -> Result<(), Error> {
        let checked = check(input)?;
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            lock_project(&mut tx, permit.project).await?;
            matchable(&mut tx, &checked).await?;
            let changed = sqlx::query!(
                "update catalog.immutable_rules
                 set disabled = $3, priority = $4, tag_selectors = $5, scope_selectors = $6, params = $7,
                     tag_matches = $8, tag_excludes = $9, repo_matches = $10, repo_excludes = $11
                 where project_id = $1 and id = $2",
                permit.project.0,
                id,
                input.disabled,
                input.priority,
                checked.tags,
                checked.scope,
                checked.params,
                &checked.tag_matches,
                &checked.tag_excludes,
                &checked.repo_matches,
                &checked.repo_excludes
            )
            .execute(&mut *tx)
            .await?;
            if changed.rows_affected() == 0 {
                return Err(unknown(id));
            }
            refuse_twin(&mut tx, permit.project, Some(id), &checked).await?;
            let fields = &["disabled", "priority", "tag_selectors", "scope_selectors", "params"];
            trail(&mut tx, &permit.caller, permit.project, "immutable_rule_update", id, fields).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Removes a rule of the project.
    ///
    /// # Errors
    /// `Unknown`.
    pub async fn delete(&self, permit: &Permit<DeleteImmutableRule>, id: i64) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        let gone = sqlx::query!(
            "delete from catalog.immutable_rules where project_id = $1 and id = $2",
            permit.project.0,
            id
        )
        .execute(&mut *tx)
        .await?;
        if gone.rows_affected() == 0 {
            return Err(unknown(id));
        }
        trail(&mut tx, &permit.caller, permit.project, "immutable_rule_delete", id, &[]).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn unknown(id: i64) -> Error {
    Error::Unknown(format!("immutable tag rule {id} not found"))
}

fn check(input: &RuleInput) -> Result<Checked, Error> {
    let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
    if input.tag_selectors.is_empty() {
        return invalid("tag_selectors is empty: name at least one pattern");
    }
    if let Some(scope) = input.scope_selectors.keys().find(|scope| *scope != REPOSITORY) {
        return Err(Error::Invalid(format!("scope_selectors knows only {REPOSITORY:?}, not {scope:?}")));
    }
    let scope = input.scope_selectors.get(REPOSITORY).map(Vec::as_slice).unwrap_or_default();
    if scope.is_empty() {
        return invalid("scope_selectors names no repository: give at least one pattern");
    }
    let (tag_matches, tag_excludes) = expressions(&input.tag_selectors, "matches", "excludes")?;
    let (repo_matches, repo_excludes) = expressions(scope, "repoMatches", "repoExcludes")?;
    let mut params =
        if input.params.is_object() { input.params.clone() } else { Value::Object(Default::default()) };
    crate::facts::strip_nul(&mut params);
    if params.to_string().len() > 4096 {
        return invalid("params has more than 4096 bytes");
    }
    let json = |value: serde_json::Result<Value>| value.map_err(|err| Error::Invalid(err.to_string()));
    Ok(Checked {
        tags: json(serde_json::to_value(&input.tag_selectors))?,
        scope: json(serde_json::to_value(&input.scope_selectors))?,
        params,
        tag_matches,
        tag_excludes,
        repo_matches,
        repo_excludes,
    })
}

fn expressions(
    selectors: &[Selector],
    matches: &str,
    excludes: &str,
) -> Result<(Vec<String>, Vec<String>), Error> {
    if selectors.len() > SELECTORS_MAX {
        return Err(Error::Invalid(format!("a rule has at most {SELECTORS_MAX} selectors of one kind")));
    }
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for selector in selectors {
        if selector.kind != "doublestar" {
            return Err(Error::Invalid(format!(
                "selectors are of kind \"doublestar\", not {:?}",
                selector.kind
            )));
        }
        if selector.extras.contains('\0') || selector.extras.len() > 1024 {
            return Err(Error::Invalid("extras has at most 1024 bytes and no NUL character".to_owned()));
        }
        let expression = glob::to_regex(&selector.pattern).map_err(Error::Invalid)?;
        match selector.decoration.as_str() {
            given if given == matches => positive.push(expression),
            given if given == excludes => negative.push(expression),
            other => {
                return Err(Error::Invalid(format!(
                    "the decoration is {matches:?} or {excludes:?} here, not {other:?}"
                )));
            }
        }
    }
    Ok((positive, negative))
}

/// PostgreSQL has limits of its own for an expression; a push must not be the first to meet them.
async fn matchable(tx: &mut Tx, checked: &Checked) -> Result<(), Error> {
    let all: Vec<String> =
        [&checked.tag_matches, &checked.tag_excludes, &checked.repo_matches, &checked.repo_excludes]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
    let tried =
        sqlx::query_scalar!(r#"select '' ~ any($1::text[]) as "matched""#, &all).fetch_one(&mut **tx).await;
    match tried {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(err)) if err.code().as_deref() == Some("2201B") => {
            Err(Error::Invalid("a pattern of the rule is too complicated".to_owned()))
        }
        Err(err) => Err(err.into()),
    }
}

/// Two rules that say the same are a mistake of somebody who sent one twice.
async fn refuse_twin(
    tx: &mut Tx,
    project: ProjectId,
    own: Option<i64>,
    checked: &Checked,
) -> Result<(), Error> {
    let twin = sqlx::query_scalar!(
        "select id from catalog.immutable_rules
         where project_id = $1 and tag_selectors = $2 and scope_selectors = $3 and id is distinct from $4 limit 1",
        project.0,
        checked.tags,
        checked.scope,
        own
    )
    .fetch_optional(&mut **tx)
    .await?;
    match twin {
        Some(id) => Err(Error::Conflict(format!("the immutable tag rule {id} says the same"))),
        None => Ok(()),
    }
}

/// Orders changes of what a project has beside its repositories, and keeps it from being deleted.
pub(crate) async fn lock_project(tx: &mut Tx, project: ProjectId) -> Result<(), Error> {
    sqlx::query_scalar!(
        "select id from tenancy.projects where id = $1 and deleted_at is null for no key update",
        project.0
    )
    .fetch_optional(&mut **tx)
    .await?
    .map(|_| ())
    .ok_or(Error::Tenancy(tenancy::Error::ProjectGone))
}

async fn trail(
    tx: &mut Tx,
    caller: &Caller,
    project: ProjectId,
    action: &'static str,
    id: i64,
    changed: &'static [&'static str],
) -> Result<(), Error> {
    audit::append(
        tx,
        &audit::Entry {
            actor: caller.actor(),
            action,
            object: audit::Object { kind: "immutable_rule", id: id.to_string(), name: "" },
            project: Some(project.0),
            outcome: audit::Outcome::Done,
            origin: &caller.origin,
            changed,
        },
    )
    .await?;
    Ok(())
}
