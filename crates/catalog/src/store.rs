//! What this installation remembers of its blob store: the store's id and the directories that were part of it.

use blobstore::{Record, RootId, RootRecord};
use database::Database;

use crate::Error;

/// What is remembered, to open the store with.
pub async fn store_record(database: &Database) -> Result<Record, Error> {
    let store = sqlx::query!(
        r#"select id, exists (select 1 from catalog.blobs where state = 'live') as "has_content!"
         from catalog.store"#
    )
    .fetch_one(database.pool())
    .await?;
    let rows = sqlx::query!("select id, path from catalog.store_roots").fetch_all(database.pool()).await?;
    let mut roots = Vec::with_capacity(rows.len());
    for row in rows {
        let id = RootId::parse(&row.id).ok_or_else(|| {
            let text = format!("catalog.store_roots has a row that is not of this program: {:?}", row.id);
            Error::Store(std::io::Error::new(std::io::ErrorKind::InvalidData, text))
        })?;
        roots.push(RootRecord { id, path: row.path.into() });
    }
    Ok(Record { store: store.id, roots, has_content: store.has_content })
}

/// Remembers directories and where they are now.
pub async fn record_store_roots(database: &Database, roots: &[RootRecord]) -> Result<(), Error> {
    let ids: Vec<String> = roots.iter().map(|root| root.id.to_string()).collect();
    let paths: Vec<String> = roots.iter().map(|root| root.path.display().to_string()).collect();
    sqlx::query!(
        "insert into catalog.store_roots (id, path)
         select * from unnest($1::text[], $2::text[]) order by 1
         on conflict (id) do update set path = excluded.path, seen_at = now()",
        &ids,
        &paths
    )
    .execute(database.pool())
    .await?;
    Ok(())
}
