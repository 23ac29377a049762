//! Epochs: one number per user, robot, access token and project, raised by whatever takes rights away.
//!
//! Tokens and remembered credentials carry the number they were made under and are refused once a newer one is
//! known. `raise` belongs into the transaction of the change itself, so a right can never be gone without it. Who
//! leaves a group is seen by a trigger, which does the same.
//! Following the numbers is the job of `feed`.
//!
//! Invariant: an epoch only grows; a subject without a row has epoch 0.

use database::Tx;

/// Whose rights are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A user, by id.
    User(i64),
    /// A project, by id.
    Project(i64),
    /// A robot, by id.
    Robot(i64),
    /// A personal access token, by id.
    AccessToken(i64),
}

impl Subject {
    /// The pair stored in `identity.epochs`.
    pub(crate) fn row(self) -> (i16, i64) {
        match self {
            Self::User(id) => (1, id),
            Self::Project(id) => (2, id),
            Self::Robot(id) => (3, id),
            Self::AccessToken(id) => (4, id),
        }
    }

    pub(crate) fn from_row(kind: i16, id: i64) -> Option<Self> {
        match kind {
            1 => Some(Self::User(id)),
            2 => Some(Self::Project(id)),
            3 => Some(Self::Robot(id)),
            4 => Some(Self::AccessToken(id)),
            _ => None,
        }
    }
}

/// Ends every token and remembered credential of the subject, within five seconds of the commit of `tx`, in
/// every process (docs/ARCHITECTURE.md).
pub async fn raise(tx: &mut Tx, subject: Subject) -> Result<(), database::Error> {
    raise_to(tx, subject).await.map(|_| ())
}

/// Like [`raise`], and tells the new number.
pub(crate) async fn raise_to(tx: &mut Tx, subject: Subject) -> Result<i64, database::Error> {
    let (kind, id) = subject.row();
    let epoch = sqlx::query_scalar!(
        "insert into identity.epochs as e (kind, subject_id, epoch) values ($1, $2, 1)
         on conflict (kind, subject_id)
             do update set epoch = e.epoch + 1, raised_at = clock_timestamp()
         returning epoch",
        kind,
        id
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(epoch)
}

/// The epochs of `subjects` as the database has them now, in any order; absent means 0. For `tenancy`, which
/// needs the numbers of projects it signs into tokens.
pub async fn current(
    executor: impl sqlx::Executor<'_, Database = sqlx::Postgres>,
    subjects: &[Subject],
) -> Result<std::collections::HashMap<Subject, i64>, database::Error> {
    let (kinds, ids): (Vec<i16>, Vec<i64>) = subjects.iter().map(|subject| subject.row()).unzip();
    let rows = sqlx::query!(
        "select e.kind, e.subject_id, e.epoch
         from identity.epochs e
         join unnest($1::smallint[], $2::bigint[]) as s(kind, id) on s.kind = e.kind and s.id = e.subject_id",
        &kinds,
        &ids
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((Subject::from_row(row.kind, row.subject_id)?, row.epoch)))
        .collect())
}
