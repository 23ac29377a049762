//! Outcomes a caller of the catalog can act on.

use oci::{Digest, Tag};
use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("blob {0} is not in this repository")]
    BlobUnknown(Digest),
    #[error("blob {0} is used by a manifest of this repository; delete the manifest first")]
    BlobInUse(Digest),
    #[error("no upload {0} in this repository")]
    UploadUnknown(Uuid),
    #[error("the upload continues at byte {offset}")]
    RangeInvalid { id: Uuid, offset: u64 },
    #[error("the body has {received} bytes, {announced} were announced")]
    SizeInvalid { announced: u64, received: u64 },
    #[error("content is {actual}, not {claimed}")]
    DigestMismatch { claimed: Digest, actual: Digest },
    #[error("another request is writing to upload {0}")]
    UploadBusy(Uuid),
    #[error("too many open uploads; finish or cancel some, or wait until idle ones expire")]
    TooManyUploads,
    #[error("the unfinished uploads of this project would hold more than its quota")]
    UploadsOverQuota { quota: i64 },
    #[error("manifest {0} is not in this repository")]
    ManifestUnknown(String),
    #[error("{0}")]
    ManifestInvalid(String),
    #[error("the manifest names blobs that are not in this repository")]
    ManifestBlobUnknown(Vec<Digest>),
    #[error("manifest {child} is part of index {index}; delete the index first")]
    ManifestInIndex { child: Digest, index: Digest },
    #[error("{0}")]
    Refused(String),
    #[error("tag {0} is not in this repository")]
    TagUnknown(Tag),
    #[error("repository {0} is not known")]
    RepositoryUnknown(String),
    #[error("{0}")]
    BadQuery(String),
    /// A rule keeps this tag of the repository (named with its project) from being moved or deleted.
    #[error("Failed to process request due to '{}:{tag}' configured as immutable.", below_project(.repository))]
    TagImmutable { repository: String, tag: String },
    /// A naming rule does not let the name come into being; the text says which, and why.
    #[error("{0}")]
    NameRefused(String),
    /// A value that is refused; the text says which and why.
    #[error("{0}")]
    Invalid(String),
    /// Something of the kind is not here.
    #[error("{0}")]
    Unknown(String),
    /// It was here and cannot be brought back.
    #[error("{0}")]
    Gone(String),
    /// It exists already.
    #[error("{0}")]
    Conflict(String),
    /// There are as many as there may be.
    #[error("{0}")]
    Limit(String),
    #[error("tenancy refused")]
    Tenancy(#[source] tenancy::Error),
    #[error("the store is full")]
    StoreFull,
    #[error("the store failed")]
    Store(#[source] std::io::Error),
    #[error("the database did not answer in time")]
    Timeout,
    #[error("catalog storage failed")]
    Storage(#[source] database::Error),
}

impl From<database::Error> for Error {
    fn from(err: database::Error) -> Self {
        Self::Storage(err)
    }
}

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        refusal(&err).unwrap_or_else(|| Self::Storage(err.into()))
    }
}

/// The refusals of this schema's functions, whichever statement called them.
fn refusal(err: &sqlx::Error) -> Option<Error> {
    let answer = err.as_database_error()?;
    match answer.code()?.as_ref() {
        "HT004" => {
            let (repository, tag) =
                answer.try_downcast_ref::<PgDatabaseError>()?.detail()?.split_once(' ')?;
            Some(Error::TagImmutable { repository: repository.to_owned(), tag: tag.to_owned() })
        }
        "HT005" => Some(Error::Limit("an artifact of more than 1000 parts cannot be copied".to_owned())),
        "HT006" => Some(Error::Conflict("the artifact was deleted meanwhile".to_owned())),
        _ => None,
    }
}

fn below_project(repository: &str) -> &str {
    repository.split_once('/').map_or(repository, |(_, name)| name)
}

impl From<tenancy::Error> for Error {
    fn from(err: tenancy::Error) -> Self {
        Self::Tenancy(err)
    }
}

impl From<blobstore::Error> for Error {
    fn from(err: blobstore::Error) -> Self {
        match err {
            blobstore::Error::Full => Self::StoreFull,
            blobstore::Error::Io(source) => Self::Store(source),
            partial @ blobstore::Error::Partial(_) => Self::Store(std::io::Error::other(partial)),
            blobstore::Error::Busy => Self::Store(std::io::Error::from(std::io::ErrorKind::WouldBlock)),
        }
    }
}

impl From<database::list::Error> for Error {
    fn from(err: database::list::Error) -> Self {
        match err {
            database::list::Error::Database(err) => Self::Storage(err),
            other => Self::BadQuery(other.to_string()),
        }
    }
}
