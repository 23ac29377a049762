//! Writing acts. One statement per call, which also puts them on the list of what is to be linked; no reading, no
//! changing.
//!
//! The hash is finished by the database, because the time of a row is the database's: the encoding of all other
//! columns comes with the statement, and eight bytes of time are put behind it.

use database::{Database, Tx};

use crate::entry::{Columns, Entry, OwnedEntry};

/// Adds one act to the trail inside the caller's transaction: no row, no change.
///
/// # Errors
/// The caller must give up its transaction; a metric counts it.
pub async fn append(tx: &mut Tx, entry: &Entry<'_>) -> Result<(), database::Error> {
    insert(tx, &Columns::of(entry)).await
}

/// Adds one row for many equal acts, in a short transaction of its own; the entry is the last of them.
///
/// # Errors
/// As [`append_alone`].
pub(crate) async fn append_repeated(
    database: &Database,
    entry: &OwnedEntry,
    repeated: i32,
) -> Result<(), database::Error> {
    let mut tx = database.begin().await.inspect_err(|_| count_failure())?;
    insert(&mut tx, &Columns { repeated, ..Columns::of_owned(entry) }).await?;
    tx.commit().await.inspect_err(|_| count_failure())
}

async fn insert(tx: &mut Tx, columns: &Columns<'_>) -> Result<(), database::Error> {
    let inserted = sqlx::query!(
        "with written as (
           insert into audit.entries
             (actor_kind, actor_id, actor_name, action, object_kind, object_id, object_name, project_id,
              outcome, request_id, address, client, auth_method, changed, repeated, at, body_hash)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16, now(),
                   sha256($15::bytea || int8send((extract(epoch from now()) * 1000000)::bigint)))
           returning id)
         insert into audit.pending (entry_id) select id from written",
        &*columns.actor_kind,
        columns.actor_id,
        &*columns.actor_name,
        &*columns.action,
        &*columns.object_kind,
        &*columns.object_id,
        &*columns.object_name,
        columns.project_id,
        columns.outcome,
        &*columns.request_id,
        &*columns.address,
        &*columns.client,
        &*columns.auth_method,
        &columns.changed,
        columns.encode(),
        columns.repeated
    )
    .execute(&mut **tx)
    .await;
    match inserted {
        Ok(_) => Ok(()),
        Err(err) => Err(failed(err)),
    }
}

/// Adds one act in a short transaction of its own: for acts that change nothing, such as a failed login or a
/// refusal.
///
/// # Errors
/// As [`append`], and whatever keeps the transaction from committing.
pub async fn append_alone(database: &Database, entry: &Entry<'_>) -> Result<(), database::Error> {
    let mut tx = database.begin().await.inspect_err(|_| count_failure())?;
    append(&mut tx, entry).await?;
    tx.commit().await.inspect_err(|_| count_failure())
}

/// Adds many acts with one statement. Each comes with its age in seconds: the row tells when it happened, not
/// when it was written.
///
/// # Errors
/// None of them is written then.
pub async fn append_many(tx: &mut Tx, entries: &[(f64, &OwnedEntry)]) -> Result<(), database::Error> {
    let rows: Vec<_> = entries.iter().map(|(_, entry)| Columns::of_owned(entry)).collect();
    let ages: Vec<f64> = entries.iter().map(|(age, _)| *age).collect();
    let text = |pick: for<'r> fn(&'r Columns<'_>) -> &'r str| -> Vec<String> {
        rows.iter().map(|row| pick(row).to_owned()).collect()
    };
    let number =
        |pick: fn(&Columns<'_>) -> Option<i64>| -> Vec<Option<i64>> { rows.iter().map(pick).collect() };
    // An array of arrays must be rectangular, so each row's names travel as one JSON value.
    let changed: Vec<serde_json::Value> = rows.iter().map(|row| row.changed.clone().into()).collect();
    let encoded: Vec<Vec<u8>> = rows.iter().map(Columns::encode).collect();
    let inserted = sqlx::query!(
        r#"with written as (
         insert into audit.entries
             (actor_kind, actor_id, actor_name, action, object_kind, object_id, object_name, project_id,
              outcome, request_id, address, client, auth_method, changed, at, body_hash)
         select e.actor_kind, e.actor_id, e.actor_name, e.action, e.object_kind, e.object_id, e.object_name,
                e.project_id, e.outcome, e.request_id, e.address, e.client, e.auth_method,
                array(select name from jsonb_array_elements_text(e.changed) with ordinality as c (name, position)
                      order by position),
                t.at, sha256(e.encoded || int8send((extract(epoch from t.at) * 1000000)::bigint))
         from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::jsonb[],
                     $15::bytea[], $16::float8[]) with ordinality
              as e (actor_kind, actor_id, actor_name, action, object_kind, object_id, object_name, project_id,
                    outcome, request_id, address, client, auth_method, changed, encoded, age, position)
         cross join lateral (select clock_timestamp() - make_interval(secs => e.age) as at) t
         order by e.position
         returning id)
         insert into audit.pending (entry_id) select id from written"#,
        &text(|row| &row.actor_kind),
        &number(|row| row.actor_id) as &[Option<i64>],
        &text(|row| &row.actor_name),
        &text(|row| &row.action),
        &text(|row| &row.object_kind),
        &text(|row| &row.object_id),
        &text(|row| &row.object_name),
        &number(|row| row.project_id) as &[Option<i64>],
        &text(|row| row.outcome),
        &text(|row| &row.request_id),
        &text(|row| &row.address),
        &text(|row| &row.client),
        &text(|row| &row.auth_method),
        &changed,
        &encoded,
        &ages
    )
    .execute(&mut **tx)
    .await;
    match inserted {
        Ok(_) => Ok(()),
        Err(err) => Err(failed(err)),
    }
}

fn failed(err: sqlx::Error) -> database::Error {
    count_failure();
    err.into()
}

fn count_failure() {
    metrics::counter!("hythe_audit_write_failures_total").increment(1);
}
