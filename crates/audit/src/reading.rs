//! The trail as people read it: lists with filters, sorting and pages, and everything from newest to oldest for
//! exports.
//!
//! Whoever may read which projects is decided before; see `tenancy`.

use chrono::{DateTime, Utc};
use database::list::{self, Columns, Error, Page, Query, Select};

use crate::Trail;

/// Which part of the trail a reader may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything, also what belongs to no project.
    All,
    /// Acts in these projects.
    Projects(Vec<i64>),
}

/// Which acts a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every act, however it ended.
    Everything,
    /// What was done to projects and their content: the older form of the list.
    Content,
}

/// One act of a list.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Act {
    pub id: i64,
    pub at: DateTime<Utc>,
    /// `user`, `robot`, `anonymous` or `system`.
    pub actor_kind: String,
    pub actor_name: String,
    /// Name of the operation: `project_member_add`.
    pub action: String,
    /// The verb of it: `create`, `delete`, `update`, `pull`, ...
    pub operation: String,
    pub object_kind: String,
    /// Id of the object; the digest for artifacts and tags.
    pub object_id: String,
    /// Its name at that time, with the tag for artifacts that have one.
    pub object_name: String,
    pub description: String,
    pub project_id: Option<i64>,
    /// `done`, `denied` or `failed`.
    pub outcome: String,
    pub request_id: String,
    pub address: String,
    pub client: String,
    pub auth_method: String,
    /// Names of the fields that were changed.
    pub changed: Vec<String>,
    /// How many equal acts the row stands for.
    pub repeated: i32,
}

const ROW: &str = "e.id, e.at, e.actor_kind, e.actor_name, e.action, e.operation, e.object_kind, e.object_id,
    e.object_name, e.description, e.project_id, e.outcome, e.request_id, e.address, e.client, e.auth_method, e.changed,
    e.repeated";

const DEFAULT_ORDER: &str = "e.at desc";
const TIE_BREAKER: &str = "e.id desc";

/// What the newer list may be filtered and sorted by.
const COLUMNS: Columns = Columns::new(
    &[
        list::integer("id", "e.id").sortable(),
        list::integer("project_id", "e.project_id").sortable(),
        list::text("operation", "e.operation").sortable(),
        list::text("resource_type", "e.object_kind").sortable(),
        list::text("resource", "e.object_name").sortable(),
        list::text("username", "e.actor_name").sortable(),
        list::time("op_time", "e.at").sortable(),
        list::text("operation_description", "e.description").sortable(),
        list::flag("operation_result", "(e.outcome = 'done')").sortable(),
        list::flag("is_successful", "(e.outcome = 'done')").sortable(),
    ],
    DEFAULT_ORDER,
    TIE_BREAKER,
);

/// The same for the older list.
const CONTENT_COLUMNS: Columns = Columns::new(
    &[
        list::integer("id", "e.id").sortable(),
        list::integer("project_id", "e.project_id").sortable(),
        list::text("operation", "e.operation").sortable(),
        list::text("resource_type", "e.object_kind").sortable(),
        list::text("resource", "e.object_name").sortable(),
        list::text("username", "e.actor_name").sortable(),
        list::time("op_time", "e.at").sortable(),
    ],
    DEFAULT_ORDER,
    TIE_BREAKER,
);

impl Trail {
    /// One page of what the extent covers. Two statements at most, however much there is.
    ///
    /// # Errors
    /// Those of the list grammar, and when the database does not answer.
    pub async fn page(
        &self,
        extent: &Extent,
        selection: Selection,
        query: &Query,
    ) -> Result<Page<Act>, Error> {
        let (select, columns) = acts(extent, selection);
        list::page(self.database.pool(), select, columns, query).await
    }

    /// The newest acts below `before` that match the filters of the query, at most 100; its order and page do not
    /// matter. The id of the last one is the `before` of the next call.
    ///
    /// # Errors
    /// As [`Trail::page`].
    pub async fn older(
        &self,
        extent: &Extent,
        query: &Query,
        before: Option<i64>,
    ) -> Result<Vec<Act>, Error> {
        let (mut select, columns) = acts(extent, Selection::Everything);
        if let Some(before) = before {
            select = select.and("e.id < ", before);
        }
        let query = Query {
            terms: query.terms.clone(),
            sort: vec![("id".to_owned(), true)],
            page: 1,
            page_size: 100,
        };
        list::rows(self.database.pool(), select, columns, &query).await
    }
}

fn acts(extent: &Extent, selection: Selection) -> (Select, &'static Columns) {
    let mut select = Select::new(ROW, "audit.entries e");
    if let Extent::Projects(projects) = extent {
        select = select.and_any("e.project_id", projects.clone());
    }
    match selection {
        Selection::Everything => (select, &COLUMNS),
        Selection::Content => (
            select.and_sql(
                "e.outcome = 'done' and e.object_kind in ('project', 'repository', 'artifact', 'tag', 'blob')",
            ),
            &CONTENT_COLUMNS,
        ),
    }
}
