//! Lists: the SQL that comes out, and what it finds in a real table.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::testing;

const COLUMNS: Columns = Columns::new(
    &[
        integer("id", "t.id").sortable(),
        text("name", "t.name").sortable(),
        time("creation_time", "t.made_at").sortable(),
        flag("public", "t.public"),
        integer("repo_count", "t.repos").sort_only(),
    ],
    "t.name desc",
    "t.id",
);

fn exact(text: &str) -> Value {
    Value::Exact(text.to_owned())
}

fn range(min: &str, max: &str) -> Value {
    let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Value::Range { min: bound(min), max: bound(max) }
}

fn any(texts: &[&str]) -> Value {
    Value::Any(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn sql(terms: Vec<(&str, Value)>, sort: &[(&str, bool)]) -> Result<String, Error> {
    let mut select = Select::new("t.id", "things t").and_sql("a or b");
    for (key, value) in &terms {
        select.conditions.extend(conditions(&COLUMNS, key, value)?.1);
    }
    let sort: Vec<_> = sort.iter().map(|(key, descending)| ((*key).to_owned(), *descending)).collect();
    Ok(rows_statement(&select, &COLUMNS, &sort, 10, 0).into_string())
}

#[test]
fn terms_become_conditions_with_bound_values() {
    let frame = |conditions: &str| {
        format!("select t.id from things t where (a or b){conditions} order by t.name desc, t.id limit ")
    };
    let cases = [
        (("name", exact("'; drop table users; --")), " and (t.name = $1)"),
        (("NAME", Value::Fuzzy("x".to_owned())), r" and (t.name ilike $1 escape '\')"),
        (("name__icontains", exact("x")), r" and (t.name ilike $1 escape '\')"),
        (("name", any(&["a", "b"])), " and (t.name = any($1))"),
        (("name__in", exact("a")), " and (t.name = any($1))"),
        (("name__exact", exact("a")), " and (t.name = $1)"),
        (("CreationTime", range("2026-01-02T03:04:05", "")), " and (t.made_at >= $1)"),
        (("id", range("1", "2")), " and (t.id >= $1) and (t.id <= $2)"),
        (("id__gt", exact("1")), " and (t.id > $1)"),
        (("id__lte", exact("1")), " and (t.id <= $1)"),
        (("creation_time__LT", exact("2026-01-02 03:04:05")), " and (t.made_at < $1)"),
        (("public", exact("true")), " and (t.public = $1)"),
    ];
    for ((key, value), expected) in cases {
        let sql = sql(vec![(key, value)], &[]).unwrap();
        assert!(sql.starts_with(&frame(expected)), "{key}: {sql}");
    }
}

#[test]
fn what_the_list_does_not_offer_is_refused() {
    for key in ["password", "repo_count", "id__regex", "id__", "", "t.id"] {
        assert!(matches!(sql(vec![(key, exact("1"))], &[]), Err(Error::UnknownKey(_))), "{key}");
    }
    let unfit = [
        ("id", exact("x")),
        ("id", exact("9223372036854775808")),
        ("id", Value::Fuzzy("1".to_owned())),
        ("id__icontains", exact("1")),
        ("id", any(&["1", "x"])),
        ("id", range("", "")),
        ("id__gte", any(&["1"])),
        ("name", range("a", "b")),
        ("name__gte", exact("a")),
        ("name", exact("a\0b")),
        ("name", Value::Fuzzy("\0".to_owned())),
        ("creation_time", exact("yesterday")),
        ("creation_time", range("2026-13-01T00:00:00", "")),
        ("public", exact("maybe")),
        ("public__gt", exact("true")),
    ];
    for (key, value) in unfit {
        let result = sql(vec![(key, value.clone())], &[]);
        assert!(matches!(result, Err(Error::BadValue { .. })), "{key} {value:?}");
    }
    let all = Value::All(vec!["1".to_owned()]);
    assert!(matches!(sql(vec![("id", all)], &[]), Err(Error::Unsupported(_))));
}

#[test]
fn orders_end_with_the_tie_breaker() {
    let cases: [(&[(&str, bool)], &str); 5] = [
        (&[], "t.name desc, t.id"),
        (&[("Name", false)], "t.name, t.id"),
        (&[("repo_count", true), ("creationtime", false)], "t.repos desc, t.made_at, t.id"),
        (&[("public", true), ("", false), ("nothing", true)], "t.name desc, t.id"),
        (&[("nothing", true), ("id", true)], "t.id desc, t.id"),
    ];
    for (sort, expected) in cases {
        let sql = sql(vec![], sort).unwrap();
        assert!(sql.contains(&format!(" order by {expected} limit ")), "{sql}");
    }
}

#[test]
fn moments_with_and_without_an_offset() {
    let expected = Some("2026-01-02T03:04:05Z".parse().unwrap());
    for text in
        ["2026-01-02T03:04:05", "2026-01-02 03:04:05", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00"]
    {
        assert_eq!(moment(text), expected, "{text}");
    }
}

async fn things() -> testing::TestDatabase {
    let database = testing::database().await;
    let table = "create table things (id bigint primary key, name text, made_at timestamptz, public boolean, repos bigint);
                 grant select on things to hythe_app;
                 insert into things select n, case when n <= 20 then 'same' when n = 21 then '50%_\\' else '50xyz' end,
                     '2026-01-01'::timestamptz + n * interval '1 day', n % 2 = 0, n from generate_series(1, 22) n";
    sqlx::raw_sql(table).execute(database.owner()).await.unwrap();
    database
}

async fn ids(database: &testing::TestDatabase, select: Select, query: &Query) -> (Vec<i64>, i64) {
    let page = page::<(i64,)>(database.pool(), select, &COLUMNS, query).await.unwrap();
    (page.rows.into_iter().map(|(id,)| id).collect(), page.total)
}

fn all() -> Select {
    Select::new("t.id", "things t")
}

/// The rows of a page are found in `things`, and only they are joined.
fn keyed() -> Select {
    Select::new("t.id", "things t join things o on o.id = t.id").keyed("t.id", "things t")
}

#[test]
fn only_the_rows_of_the_page_are_joined() {
    const JOINED: Columns = Columns::new(
        &[text("name", "t.name").sortable(), text("other", "o.name").sortable().joined()],
        "t.id",
        "t.id",
    );
    let statement = |term: &str, sort: &str| {
        let terms = vec![(term.to_owned(), exact("x"))];
        let sort = vec![(sort.to_owned(), true)];
        let query = Query { terms, sort, ..Query::default() };
        let select = narrowed(keyed(), &JOINED, &query).unwrap();
        (
            rows_statement(&select, &JOINED, &query.sort, 10, 0).into_string(),
            count_statement(&select).into_string(),
        )
    };
    let (rows, count) = statement("name", "name");
    assert_eq!(
        rows,
        "select t.id from things t join things o on o.id = t.id where t.id = any(array(select t.id from things t \
         where (t.name = $1) order by t.name desc, t.id limit $2 offset $3)) order by t.name desc, t.id"
    );
    assert_eq!(count, "select count(*) from things t where (t.name = $1)");
    // What is asked of the other table needs it for every row.
    for (term, sort) in [("other", "name"), ("name", "other")] {
        let (rows, _) = statement(term, sort);
        assert!(rows.starts_with("select t.id from things t join things o on o.id = t.id where ("), "{rows}");
    }
}

#[tokio::test]
async fn kept_counts_spare_the_counting() {
    let database = things().await;
    let asked = async |query: &Query| {
        let before = database.statements().await;
        let (rows, total) = ids(&database, keyed().counted(22), query).await;
        (rows.len(), total, database.statements().await - before)
    };
    assert_eq!(asked(&Query::default()).await, (10, 22, 1));
    assert_eq!(asked(&Query { page: 9, ..Query::default() }).await, (0, 22, 1));
    let terms = vec![("name".to_owned(), exact("same"))];
    assert_eq!(asked(&Query { terms, ..Query::default() }).await, (10, 20, 2), "a filter is counted");
}

#[tokio::test]
async fn pages_neither_overlap_nor_skip() {
    let database = things().await;
    let mut seen = Vec::new();
    for number in 1..=4 {
        let query = Query { page: number, page_size: 7, ..Query::default() };
        let (rows, total) = ids(&database, all(), &query).await;
        assert_eq!(total, 22);
        seen.extend(rows);
    }
    let expected: Vec<i64> = (1..=20).chain([22, 21]).collect();
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=22).collect::<Vec<_>>());
    assert_eq!(seen, expected);
    // Past the end, before the start, and sizes out of range.
    assert_eq!(ids(&database, all(), &Query { page: i64::MAX, ..Query::default() }).await, (vec![], 22));
    assert_eq!(
        ids(&database, all(), &Query { page: -3, page_size: 1, ..Query::default() }).await,
        (vec![1], 22)
    );
    for page_size in [0, -1, 101, i64::MAX] {
        assert_eq!(ids(&database, all(), &Query { page_size, ..Query::default() }).await.0.len(), 22);
    }
}

#[tokio::test]
async fn values_of_every_type_find_their_rows() {
    let database = things().await;
    let cases: Vec<(&str, Value, Vec<i64>)> = vec![
        ("name", Value::Fuzzy("0%_\\".to_owned()), vec![21]),
        ("name", Value::Fuzzy("0X".to_owned()), vec![22]),
        ("name", exact("50xyz"), vec![22]),
        ("name", any(&["50xyz", "nobody"]), vec![22]),
        ("name", any(&[]), vec![]),
        ("id", range("3", "5"), vec![3, 4, 5]),
        ("id", any(&["7", "9"]), vec![7, 9]),
        ("creation_time", range("2026-01-02T00:00:00", "2026-01-03T00:00:00"), vec![1, 2]),
        ("creation_time", any(&["2026-01-02T00:00:00"]), vec![1]),
        ("id__lt", exact("3"), vec![1, 2]),
    ];
    for (key, value, expected) in cases {
        let query = Query { terms: vec![(key.to_owned(), value.clone())], ..Query::default() };
        let total = expected.len() as i64;
        assert_eq!(ids(&database, all(), &query).await, (expected, total), "{key} {value:?}");
    }
    let query =
        Query { terms: vec![("public".to_owned(), exact("false"))], page_size: 2, ..Query::default() };
    assert_eq!(ids(&database, all(), &query).await, (vec![1, 3], 11));
}

#[tokio::test]
async fn conditions_of_the_domain_hold_together_with_the_query() {
    let database = things().await;
    let query = Query { terms: vec![("id__lt".to_owned(), exact("6"))], ..Query::default() };
    let cases = [
        (all().and_any("t.id", vec![2, 8]), vec![2]),
        (all().and_any("t.id", vec![]), vec![]),
        (all().and("t.name = ", "same").and("t.public = ", true), vec![2, 4]),
        (all().and_with("t.public or t.id = any(", vec![1_i64, 9], ")"), vec![1, 2, 4]),
        (all().and_sql("t.id = 3 or t.id = 21"), vec![3]),
        (all().and_contains("t.name", "AM").and("t.id >= ", 4_i64), vec![4, 5]),
    ];
    for (number, (select, expected)) in cases.into_iter().enumerate() {
        assert_eq!(ids(&database, select, &query).await.0, expected, "case {number}");
    }
}

#[tokio::test]
async fn a_page_is_one_statement_and_at_most_one_count() {
    let database = things().await;
    for (page_size, statements) in [(100, 1), (22, 2), (5, 2)] {
        let before = database.statements().await;
        ids(&database, all(), &Query { page_size, ..Query::default() }).await;
        assert_eq!(database.statements().await - before, statements, "{page_size}");
    }
    let before = database.statements().await;
    let query = Query { terms: vec![("password".to_owned(), exact("x"))], ..Query::default() };
    assert!(page::<(i64,)>(database.pool(), all(), &COLUMNS, &query).await.is_err());
    assert_eq!(database.statements().await, before);
}
