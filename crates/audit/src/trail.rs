//! Reading the trail, newest first, page by page.

use chrono::{DateTime, Utc};
use database::Database;

use crate::entry::{Columns, body_hash};

/// Rows of one page at most.
const LIMIT_MAX: i64 = 100;

/// The trail, for reading.
#[derive(Clone)]
pub struct Trail {
    pub(crate) database: Database,
}

/// Which rows a page is about. Everything that is `None` is not asked about.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Acts of this project.
    pub project: Option<i64>,
    /// Acts of this name.
    pub action: Option<String>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub actor_kind: String,
    pub actor_id: Option<i64>,
    pub actor_name: String,
    pub action: String,
    pub object_kind: String,
    pub object_id: String,
    pub object_name: String,
    pub project_id: Option<i64>,
    pub outcome: String,
    pub request_id: String,
    pub address: String,
    pub client: String,
    pub auth_method: String,
    pub changed: Vec<String>,
    /// How many equal acts the row stands for; the columns are those of the last one.
    pub repeated: i32,
    pub body_hash: Vec<u8>,
}

impl Record {
    /// Whether the row is what was written: its hash fits its columns.
    pub fn is_intact(&self) -> bool {
        let columns = Columns {
            actor_kind: (&self.actor_kind).into(),
            actor_id: self.actor_id,
            actor_name: (&self.actor_name).into(),
            action: (&self.action).into(),
            object_kind: (&self.object_kind).into(),
            object_id: (&self.object_id).into(),
            object_name: (&self.object_name).into(),
            project_id: self.project_id,
            outcome: &self.outcome,
            request_id: (&self.request_id).into(),
            address: (&self.address).into(),
            client: (&self.client).into(),
            auth_method: (&self.auth_method).into(),
            changed: self.changed.clone(),
            repeated: self.repeated,
        };
        self.body_hash == body_hash(&columns, self.at)
    }
}

impl Trail {
    /// A reader of this database's trail.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The newest rows below `before` (all of them when it is `None`), at most `limit` and never more than 100.
    /// The id of the last row is the `before` of the next page.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        &self,
        filter: &Filter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Record>, database::Error> {
        let rows = sqlx::query_as!(
            Record,
            "select id, at, actor_kind, actor_id, actor_name, action, object_kind, object_id, object_name,
                    project_id, outcome, request_id, address, client, auth_method, changed, repeated, body_hash
             from audit.entries
             where ($1::bigint is null or id < $1)
               and ($2::bigint is null or project_id = $2)
               and ($3::text is null or action = $3)
             order by id desc limit $4",
            before,
            filter.project,
            filter.action,
            limit.clamp(1, LIMIT_MAX)
        )
        .fetch_all(self.database.pool())
        .await?;
        Ok(rows)
    }
}
