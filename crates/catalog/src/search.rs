//! Search for people: tags by a part of their name, repositories by a part of their description, artifacts by the first
//! digits of their digest. One statement each, over indexes.
//!
//! Invariant: nothing of a project outside `projects` is found; `None` stands for all of them.

use chrono::{DateTime, Utc};
use database::Database;
use tenancy::ProjectId;

use crate::Error;

/// Hits of each kind. Who has more of them types more.
pub const HITS_MAX: i64 = 20;

/// Tags that are put in order. Whoever types what more of them have gets twenty of these.
const ORDERED_MAX: i64 = 5_000;

/// Digits of a digest below which everything would be found.
const DIGITS_MIN: usize = 6;

/// A tag that was found.
#[derive(Clone, Debug)]
pub struct TagHit {
    /// With the project: `project/name`.
    pub repository: String,
    pub name: String,
    pub pushed_at: DateTime<Utc>,
}

/// An artifact that was found by its digest.
#[derive(Clone, Debug)]
pub struct DigestHit {
    /// With the project: `project/name`.
    pub repository: String,
    /// `sha256:…`
    pub digest: String,
    pub pushed_at: DateTime<Utc>,
}

/// A repository that was found by its description.
#[derive(Clone, Debug)]
pub struct DescriptionHit {
    /// With the project: `project/name`.
    pub repository: String,
    /// As much of the description as is searched.
    pub description: String,
}

/// Search. Clone freely.
#[derive(Clone)]
pub struct Search {
    database: Database,
}

impl Search {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Tags whose name contains `text`: the same name first, then names that begin with it, the newest first. A single
    /// character is looked for where names begin.
    pub async fn tags(&self, projects: Option<&[ProjectId]>, text: &str) -> Result<Vec<TagHit>, Error> {
        let within = ids(projects);
        Ok(sqlx::query_as!(
            TagHit,
            r#"select r.path::text as "repository!", t.name::text as "name!", t.pushed_at as "pushed_at!"
               from (select repository_id, name, pushed_at from catalog.tags
                     where not hidden and catalog.grams(name) @> catalog.grams_of_part($1)
                       and ($2::bigint[] is null or project_id = any($2))
                       and strpos(lower(name), lower($1)) > 0 limit $3) t
               join catalog.repositories r on r.id = t.repository_id and r.deleted_at is null
               order by t.name <> $1, not starts_with(lower(t.name), lower($1)), t.pushed_at desc limit $4"#,
            text,
            within.as_deref(),
            ORDERED_MAX,
            HITS_MAX
        )
        .fetch_all(self.database.pool())
        .await?)
    }

    /// Artifacts whose digest begins with `text`, at least six digits with or without the name of the algorithm. What is
    /// no beginning of a digest finds nothing, without a statement.
    pub async fn digests(&self, projects: Option<&[ProjectId]>, text: &str) -> Result<Vec<DigestHit>, Error> {
        let ranges = digests_from(text);
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let (from, to): (Vec<Vec<u8>>, Vec<Vec<u8>>) = ranges.into_iter().unzip();
        let within = ids(projects);
        Ok(sqlx::query_as!(
            DigestHit,
            r#"select r.path::text as "repository!", catalog.digest_text(m.digest) as "digest!",
                      m.pushed_at as "pushed_at!"
               from unnest($1::bytea[], $2::bytea[]) as wanted (first, last)
               join catalog.manifests m on m.deleted_at is null and m.digest between wanted.first and wanted.last
               join catalog.repositories r on r.id = m.repository_id and r.deleted_at is null
               where $3::bigint[] is null or m.project_id = any($3)
               order by m.pushed_at desc limit $4"#,
            &from,
            &to,
            within.as_deref(),
            HITS_MAX
        )
        .fetch_all(self.database.pool())
        .await?)
    }

    /// Repositories whose description contains `text` in its first 2000 characters.
    pub async fn descriptions(
        &self,
        projects: Option<&[ProjectId]>,
        text: &str,
    ) -> Result<Vec<DescriptionHit>, Error> {
        let within = ids(projects);
        Ok(sqlx::query_as!(
            DescriptionHit,
            r#"select r.path::text as "repository!", left(r.description, 2000) as "description!"
               from catalog.repositories r
               where r.deleted_at is null and r.last_published_at is not null and r.description <> ''
                 and catalog.grams(left(r.description, 2000)) @> catalog.grams_of_part($1)
                 and ($2::bigint[] is null or r.project_id = any($2))
                 and strpos(lower(left(r.description, 2000) collate "C"), lower($1 collate "C")) > 0
               order by r.path limit $3"#,
            text,
            within.as_deref(),
            HITS_MAX
        )
        .fetch_all(self.database.pool())
        .await?)
    }
}

fn ids(projects: Option<&[ProjectId]>) -> Option<Vec<i64>> {
    projects.map(|ids| ids.iter().map(|id| id.0).collect())
}

/// The first and the last stored digest that begin with these digits, for every algorithm that they may be of.
fn digests_from(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = text.to_ascii_lowercase();
    let (algorithm, digits) =
        text.split_once(':').map_or((None, text.as_str()), |(name, rest)| (Some(name), rest));
    if digits.len() < DIGITS_MIN || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Vec::new();
    }
    // The first byte says which algorithm it is: oci::Digest::to_bytes.
    [("sha256", 1_u8, 32_usize), ("sha512", 2, 64)]
        .into_iter()
        .filter(|(name, _, bytes)| {
            algorithm.is_none_or(|wanted| wanted == *name) && digits.len() <= bytes * 2
        })
        .map(|(_, kind, bytes)| {
            let filled = |with: char| {
                let mut all = digits.to_owned();
                all.extend(std::iter::repeat_n(with, bytes * 2 - digits.len()));
                let mut digest = vec![kind];
                digest.extend(
                    (0..bytes).filter_map(|at| u8::from_str_radix(all.get(at * 2..at * 2 + 2)?, 16).ok()),
                );
                digest
            };
            (filled('0'), filled('f'))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::{Algorithm, Digest};

    #[test]
    fn digits_are_a_range_of_digests() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"content");
            let (text, stored) = (digest.to_string(), digest.to_bytes());
            let digits = text.split_once(':').map_or("", |(_, digits)| digits);
            let within = |text: &str| {
                digests_from(text)
                    .iter()
                    .any(|(first, last)| first[..] <= stored[..] && stored[..] <= last[..])
            };
            for length in [6, 7, 12, digits.len()] {
                assert!(within(&digits[..length]), "{algorithm:?} {length}");
                assert!(within(&digits[..length].to_uppercase()), "{algorithm:?} {length}");
                assert!(within(&text[.."sha256:".len() + length]), "{algorithm:?} {length}");
            }
            let other = if digits.starts_with('0') { '1' } else { '0' };
            assert!(!within(&format!("{other}{}", &digits[1..12])));
        }
        for nothing in ["", "12345", "sha256:12345", "sha1:1234567", "latest", "sha256:", &"0".repeat(129)] {
            assert!(digests_from(nothing).is_empty(), "{nothing}");
        }
        assert_eq!(digests_from("sha256:123456").len(), 1);
        assert_eq!(digests_from(&"0".repeat(100)).len(), 1);
    }
}
