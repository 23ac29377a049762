//! The list grammar of the REST API, as SQL: the only SQL in Hythe that is put together at run time.
//!
//! A domain declares what may be filtered and sorted; what a client asks for picks among these declarations.
//! Client text is always a bound value, never SQL. Parsing `q` and `sort` is the services' business, and a key
//! with a meaning of its own (labels, tags) is taken out of the query by its domain before it gets here.
//!
//! Invariant: a page is one statement, plus at most one that counts.
//! Invariant: every order ends with the tie-breaker, so pages neither overlap nor skip.

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::Pool;

/// Rows on one page at most; the REST API refuses more before it comes here.
const PAGE_SIZE_MAX: i64 = 100;

/// What one term of `q` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Equal to this text.
    Exact(String),
    /// Contains this text, whatever its case.
    Fuzzy(String),
    /// Between these bounds, both included.
    Range {
        /// Lower bound.
        min: Option<String>,
        /// Upper bound.
        max: Option<String>,
    },
    /// Equal to one of these; none at all matches nothing.
    Any(Vec<String>),
    /// Has all of these. No column can answer that; see [`Error::Unsupported`].
    All(Vec<String>),
}

/// What a client asked of a list, parsed but not yet checked against what the list offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Filters, all of which must hold. Keys as the client wrote them, comparison suffixes included.
    pub terms: Vec<(String, Value)>,
    /// Keys to sort by, each with whether it descends. Unknown ones are passed over.
    pub sort: Vec<(String, bool)>,
    /// From 1. Below 1 counts as 1.
    pub page: i64,
    /// Rows on a page. Below 1 or above 100 counts as 100.
    pub page_size: i64,
}

impl Default for Query {
    fn default() -> Self {
        Self { terms: Vec::new(), sort: Vec::new(), page: 1, page_size: 10 }
    }
}

/// One page, and how many rows there are on all pages together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Rows of this page.
    pub rows: Vec<T>,
    /// Rows that match, over all pages.
    pub total: i64,
}

/// Why a list could not be read. All but the last are the client's doing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list cannot be filtered by this key.
    #[error("unknown query key {0:?}")]
    UnknownKey(String),
    /// The value has the wrong type for the key, or the key cannot be compared that way.
    #[error("the value of query key {key:?} does not fit it")]
    BadValue {
        /// The key as the client wrote it.
        key: String,
    },
    /// "All of" was asked of a plain column.
    #[error("query key {0:?} cannot be asked for all of several values")]
    Unsupported(String),
    /// The database failed.
    #[error("the list could not be read")]
    Database(#[source] crate::Error),
}

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        Self::Database(err.into())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Time,
    Flag,
}

/// One key that a list offers.
#[derive(Clone, Copy)]
pub struct Column {
    key: &'static str,
    sql: &'static str,
    kind: Kind,
    filters: bool,
    sorts: bool,
    joined: bool,
}

/// A text column: equal, any of, contains.
pub const fn text(key: &'static str, sql: &'static str) -> Column {
    column(key, sql, Kind::Text)
}

/// An integer column: equal, any of, ranges.
pub const fn integer(key: &'static str, sql: &'static str) -> Column {
    column(key, sql, Kind::Integer)
}

/// A column with a moment: equal, any of, ranges. Values are `2006-01-02T15:04:05` in UTC, or RFC 3339.
pub const fn time(key: &'static str, sql: &'static str) -> Column {
    column(key, sql, Kind::Time)
}

/// A boolean column: `true` or `false`.
pub const fn flag(key: &'static str, sql: &'static str) -> Column {
    column(key, sql, Kind::Flag)
}

const fn column(key: &'static str, sql: &'static str, kind: Kind) -> Column {
    Column { key, sql, kind, filters: true, sorts: false, joined: false }
}

impl Column {
    /// May also be sorted by.
    pub const fn sortable(self) -> Self {
        Self { sorts: true, ..self }
    }

    /// May be sorted by and not filtered.
    pub const fn sort_only(self) -> Self {
        Self { sorts: true, filters: false, ..self }
    }

    /// Looks at more than the one table of [`Select::keyed`].
    pub const fn joined(self) -> Self {
        Self { joined: true, ..self }
    }
}

/// Everything a list may be filtered and sorted by. What is not here cannot be asked for.
pub struct Columns {
    columns: &'static [Column],
    default_order: &'static str,
    tie_breaker: &'static str,
}

impl Columns {
    /// `default_order` is SQL for when nothing usable was asked for; `tie_breaker` is SQL that orders any two
    /// rows, appended always.
    pub const fn new(
        columns: &'static [Column],
        default_order: &'static str,
        tie_breaker: &'static str,
    ) -> Self {
        Self { columns, default_order, tie_breaker }
    }

    fn find(&self, key: &str) -> Option<&Column> {
        self.columns.iter().find(|column| same_key(column.key, key))
    }
}

/// Keys compare without case and underscores: `ProjectID` and `project_id` are one.
fn same_key(one: &str, other: &str) -> bool {
    let plain = |key: &str| {
        key.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>()
    };
    plain(one) == plain(other)
}

/// A value that a domain binds into its own condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Bind {
    /// `bigint`
    Integer(i64),
    /// `text`
    Text(String),
    /// `boolean`
    Flag(bool),
    /// `bytea`
    Bytes(Vec<u8>),
    /// `timestamptz`
    Time(DateTime<Utc>),
    /// `uuid`
    Uuid(Uuid),
    /// `bigint[]`
    Integers(Vec<i64>),
    /// `text[]`
    Texts(Vec<String>),
    /// `timestamptz[]`
    Times(Vec<DateTime<Utc>>),
}

macro_rules! bind_from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for Bind {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}
bind_from!(
    i64 => Integer, i32 => Integer, i16 => Integer, String => Text, &str => Text, bool => Flag, Vec<u8> => Bytes,
    &[u8] => Bytes, DateTime<Utc> => Time, Uuid => Uuid, Vec<i64> => Integers, Vec<String> => Texts,
);

impl Bind {
    fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        match self.clone() {
            Self::Integer(value) => sql.push_bind(value),
            Self::Text(value) => sql.push_bind(value),
            Self::Flag(value) => sql.push_bind(value),
            Self::Bytes(value) => sql.push_bind(value),
            Self::Time(value) => sql.push_bind(value),
            Self::Uuid(value) => sql.push_bind(value),
            Self::Integers(value) => sql.push_bind(value),
            Self::Texts(value) => sql.push_bind(value),
            Self::Times(value) => sql.push_bind(value),
        };
    }
}

/// SQL around at most one bound value.
struct Condition {
    before: &'static str,
    operator: &'static str,
    value: Option<Bind>,
    after: &'static str,
}

impl Condition {
    const fn plain(sql: &'static str) -> Self {
        Self { before: sql, operator: "", value: None, after: "" }
    }

    fn compare(sql: &'static str, operator: &'static str, value: Bind) -> Self {
        Self { before: sql, operator, value: Some(value), after: "" }
    }

    fn one_of(sql: &'static str, values: Bind) -> Self {
        Self { before: sql, operator: " = any(", value: Some(values), after: ")" }
    }

    fn contains(sql: &'static str, part: &str) -> Self {
        let value = Some(Bind::Text(format!("%{}%", escape_like(part))));
        Self { before: sql, operator: " ilike ", value, after: r" escape '\'" }
    }

    fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(self.before).push(self.operator);
        if let Some(value) = &self.value {
            value.push(sql);
        }
        sql.push(self.after);
    }
}

/// The fixed part of a list: what is read, from where, and what always holds.
pub struct Select {
    columns: &'static str,
    from: &'static str,
    /// The key of the rows, and the one table that has it.
    keyed: Option<(&'static str, &'static str)>,
    counted: Option<i64>,
    conditions: Vec<Condition>,
}

impl Select {
    /// `columns_sql` comes after `select`, `from_sql` after `from`; the latter has no `where` of its own.
    pub fn new(columns_sql: &'static str, from_sql: &'static str) -> Self {
        Self { columns: columns_sql, from: from_sql, keyed: None, counted: None, conditions: Vec::new() }
    }

    /// Rows are found in `table_sql` alone, by its unique `key_sql`, and only those of the page are joined with the rest;
    /// otherwise every row before the page would be. Every condition given here may only look at that table; columns of
    /// the list that look further are [`Column::joined`], and a client who asks for one gets the joined form.
    pub fn keyed(self, key_sql: &'static str, table_sql: &'static str) -> Self {
        Self { keyed: Some((key_sql, table_sql)), ..self }
    }

    /// How many rows there are when the client filters nothing, for those who keep count.
    pub fn counted(self, total: i64) -> Self {
        Self { counted: Some(total), ..self }
    }

    /// Adds a condition with one bound value at its end: `and("p.project_id = ", id)`.
    pub fn and(self, sql: &'static str, value: impl Into<Bind>) -> Self {
        self.and_with(sql, value, "")
    }

    /// Adds a condition with one bound value inside: `and_with("(p.public or p.id = any(", ids, "))")`.
    pub fn and_with(mut self, before: &'static str, value: impl Into<Bind>, after: &'static str) -> Self {
        self.conditions.push(Condition { before, operator: "", value: Some(value.into()), after });
        self
    }

    /// Adds the condition that `sql` is one of `values`; no values match nothing.
    pub fn and_any(mut self, sql: &'static str, values: Vec<i64>) -> Self {
        self.conditions.push(Condition::one_of(sql, Bind::Integers(values)));
        self
    }

    /// Adds the condition that the text `sql` contains `part`, whatever its case.
    pub fn and_contains(mut self, sql: &'static str, part: &str) -> Self {
        self.conditions.push(Condition::contains(sql, part));
        self
    }

    /// Adds a condition without values: `and_sql("p.deleted_at is null")`.
    pub fn and_sql(mut self, sql: &'static str) -> Self {
        self.conditions.push(Condition::plain(sql));
        self
    }

    fn push_where(&self, sql: &mut QueryBuilder<Postgres>) {
        for (position, condition) in self.conditions.iter().enumerate() {
            // Parentheses, so that an `or` in a condition stays inside it.
            sql.push(if position == 0 { " where (" } else { " and (" });
            condition.push(sql);
            sql.push(")");
        }
    }
}

/// Reads one page and the number of rows on all pages.
///
/// Nothing is sent to the database when the query is refused. The second statement is left out when the page
/// itself tells where the list ends.
pub async fn page<T>(pool: &Pool, select: Select, columns: &Columns, query: &Query) -> Result<Page<T>, Error>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let select = narrowed(select, columns, query)?;
    let (limit, offset) = window(query);
    let rows = read(pool, &select, columns, query).await?;
    let read = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let total = if read < limit && (read > 0 || offset == 0) {
        offset + read
    } else if let Some(total) = select.counted {
        // Counted at another moment than the page was read, and never less than the page shows.
        if read > 0 { total.max(offset + read) } else { total }
    } else {
        count_statement(&select).build_query_scalar().persistent(false).fetch_one(pool).await?
    };
    Ok(Page { rows, total })
}

/// Reads one page and counts nothing: one statement. For readers that go through a whole list by its key.
pub async fn rows<T>(pool: &Pool, select: Select, columns: &Columns, query: &Query) -> Result<Vec<T>, Error>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    read(pool, &narrowed(select, columns, query)?, columns, query).await
}

/// Reads the one row that `select` makes of everything that the query lets through; `after_sql` follows its conditions,
/// and order and page of the query do not matter. One statement.
pub async fn summed<T>(
    pool: &Pool,
    select: Select,
    columns: &Columns,
    query: &Query,
    after_sql: &'static str,
) -> Result<T, Error>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let select = narrowed(select, columns, query)?;
    let mut sql = QueryBuilder::new("select ");
    sql.push(select.columns).push(" from ").push(select.from);
    select.push_where(&mut sql);
    sql.push(after_sql);
    Ok(sql.build_query_as::<T>().persistent(false).fetch_one(pool).await?)
}

/// The select with what the client asked for.
fn narrowed(mut select: Select, columns: &Columns, query: &Query) -> Result<Select, Error> {
    for (key, value) in &query.terms {
        let (column, conditions) = conditions(columns, key, value)?;
        select.conditions.extend(conditions);
        select.counted = None;
        if column.joined {
            select.keyed = None;
        }
    }
    Ok(select)
}

/// Limit and offset.
fn window(query: &Query) -> (i64, i64) {
    let limit = if (1..=PAGE_SIZE_MAX).contains(&query.page_size) { query.page_size } else { PAGE_SIZE_MAX };
    (limit, (query.page.max(1) - 1).saturating_mul(limit))
}

async fn read<T>(pool: &Pool, select: &Select, columns: &Columns, query: &Query) -> Result<Vec<T>, Error>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let (limit, offset) = window(query);
    // Not kept as prepared statements: there are many combinations, and they would push out the hot ones.
    Ok(rows_statement(select, columns, &query.sort, limit, offset)
        .build_query_as::<T>()
        .persistent(false)
        .fetch_all(pool)
        .await?)
}

fn rows_statement(
    select: &Select,
    columns: &Columns,
    sort: &[(String, bool)],
    limit: i64,
    offset: i64,
) -> QueryBuilder<Postgres> {
    let asked: Vec<(&Column, bool)> = sort
        .iter()
        .filter_map(|(key, descending)| Some((columns.find(key).filter(|column| column.sorts)?, *descending)))
        .collect();
    let order = |sql: &mut QueryBuilder<Postgres>| {
        sql.push(" order by ");
        for (column, descending) in &asked {
            sql.push(column.sql).push(if *descending { " desc, " } else { ", " });
        }
        if asked.is_empty() {
            sql.push(columns.default_order).push(", ");
        }
        sql.push(columns.tie_breaker);
    };
    let page = |sql: &mut QueryBuilder<Postgres>| {
        select.push_where(sql);
        order(sql);
        sql.push(" limit ").push_bind(limit).push(" offset ").push_bind(offset);
    };
    let mut sql = QueryBuilder::new("select ");
    sql.push(select.columns).push(" from ").push(select.from);
    match select.keyed.filter(|_| asked.iter().all(|(column, _)| !column.joined)) {
        Some((key, table)) => {
            sql.push(" where ").push(key).push(" = any(array(select ").push(key).push(" from ").push(table);
            page(&mut sql);
            sql.push("))");
            order(&mut sql);
        }
        None => page(&mut sql),
    }
    sql
}

fn count_statement(select: &Select) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("select count(*) from ");
    sql.push(select.keyed.map_or(select.from, |(_, table)| table));
    select.push_where(&mut sql);
    sql
}

/// The comparison that a suffix of the key asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Contains,
    OneOf,
    Operator(&'static str),
}

/// Splits `creation_time__gte` into key and comparison.
fn split_key(key: &str) -> Option<(&str, Option<Comparison>)> {
    let Some((name, suffix)) = key.rsplit_once("__") else {
        return Some((key, None));
    };
    let comparison = match suffix.to_ascii_lowercase().as_str() {
        "icontains" => Comparison::Contains,
        "in" => Comparison::OneOf,
        "exact" => Comparison::Operator(" = "),
        "gte" => Comparison::Operator(" >= "),
        "lte" => Comparison::Operator(" <= "),
        "gt" => Comparison::Operator(" > "),
        "lt" => Comparison::Operator(" < "),
        _ => return None,
    };
    Some((name, Some(comparison)))
}

/// What one term of the query means for this list.
fn conditions<'c>(
    columns: &'c Columns,
    key: &str,
    value: &Value,
) -> Result<(&'c Column, Vec<Condition>), Error> {
    let unknown = || Error::UnknownKey(key.to_owned());
    let (name, comparison) = split_key(key).ok_or_else(unknown)?;
    let column = columns.find(name).filter(|column| column.filters).ok_or_else(unknown)?;
    let unfit = || Error::BadValue { key: key.to_owned() };
    let bind = |text: &str| one(column.kind, text).ok_or_else(unfit);
    let ordered = matches!(column.kind, Kind::Integer | Kind::Time);

    let condition = match (value, comparison) {
        (Value::All(_), _) => return Err(Error::Unsupported(key.to_owned())),
        (Value::Exact(part), Some(Comparison::Contains))
        | (Value::Fuzzy(part), None | Some(Comparison::Contains)) => {
            if column.kind != Kind::Text || part.contains('\0') {
                return Err(unfit());
            }
            Condition::contains(column.sql, part)
        }
        (Value::Exact(text), Some(Comparison::OneOf)) => {
            Condition::one_of(column.sql, many(column.kind, std::slice::from_ref(text)).ok_or_else(unfit)?)
        }
        (Value::Any(texts), None | Some(Comparison::OneOf)) => {
            Condition::one_of(column.sql, many(column.kind, texts).ok_or_else(unfit)?)
        }
        (Value::Exact(text), None) => Condition::compare(column.sql, " = ", bind(text)?),
        (Value::Exact(text), Some(Comparison::Operator(operator))) => {
            if !ordered && operator != " = " {
                return Err(unfit());
            }
            Condition::compare(column.sql, operator, bind(text)?)
        }
        (Value::Range { min, max }, None) => {
            if !ordered || (min.is_none() && max.is_none()) {
                return Err(unfit());
            }
            let mut bounds = Vec::with_capacity(2);
            for (operator, bound) in [(" >= ", min), (" <= ", max)] {
                if let Some(bound) = bound {
                    bounds.push(Condition::compare(column.sql, operator, bind(bound)?));
                }
            }
            return Ok((column, bounds));
        }
        // A list or a range together with a comparison that takes one value.
        (Value::Fuzzy(_) | Value::Any(_) | Value::Range { .. }, Some(_)) => return Err(unfit()),
    };
    Ok((column, vec![condition]))
}

/// A value of the column's type, or nothing when the text is none.
fn one(kind: Kind, text: &str) -> Option<Bind> {
    match kind {
        // PostgreSQL cannot store U+0000 and would answer with an error instead of "no such row".
        Kind::Text => (!text.contains('\0')).then(|| Bind::Text(text.to_owned())),
        Kind::Integer => text.parse().ok().map(Bind::Integer),
        Kind::Time => moment(text).map(Bind::Time),
        Kind::Flag => match text {
            "true" | "True" | "1" => Some(Bind::Flag(true)),
            "false" | "False" | "0" => Some(Bind::Flag(false)),
            _ => None,
        },
    }
}

fn many(kind: Kind, texts: &[String]) -> Option<Bind> {
    match kind {
        Kind::Text => texts.iter().all(|text| !text.contains('\0')).then(|| Bind::Texts(texts.to_vec())),
        Kind::Integer => {
            texts.iter().map(|text| text.parse().ok()).collect::<Option<_>>().map(Bind::Integers)
        }
        Kind::Time => texts.iter().map(|text| moment(text)).collect::<Option<_>>().map(Bind::Times),
        Kind::Flag => None,
    }
}

/// `2006-01-02T15:04:05` (or with a space) in UTC, or RFC 3339.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|moment| moment.and_utc())
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.with_timezone(&Utc)))
}

/// Takes their meaning from the characters that `ilike` treats as wild.
fn escape_like(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests;
