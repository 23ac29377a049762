//! What can go wrong with the database, as outcomes that a caller can act on.
//!
//! The mapping goes by SQLSTATE, never by message text: messages are translated and change.

/// Why a statement, a transaction or a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is away, overloaded or too slow. Nothing is wrong with the request: answer 503 and let the
    /// client come again. A transaction may or may not have been committed when this comes from `commit`.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A unique or exclusion constraint refused the row.
    #[error("the row conflicts with another one ({constraint})")]
    Conflict {
        /// Name of the constraint or unique index.
        constraint: String,
    },
    /// A foreign key refused the row, or its removal.
    #[error("a row that this one refers to is missing, or one that refers to it is there ({constraint})")]
    Reference {
        /// Name of the foreign key.
        constraint: String,
    },
    /// Deadlock or serialization failure: nothing happened, and the whole transaction may be run again.
    #[error("the transaction lost against another one")]
    Retry(#[source] sqlx::Error),
    /// The schema cannot be brought to this version.
    #[error("the database schema cannot be migrated")]
    Migration(#[source] MigrationError),
    /// Anything else: a defect in Hythe or in the installation.
    #[error("the database refused a statement")]
    Other(#[source] sqlx::Error),
}

/// Why the schema cannot be brought to the version of this binary.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A migration was recorded with other contents than this binary has.
    #[error(
        "migration {version} ({description}) was applied with other contents than this binary has. Migrations \
         never change after a release: use the binary that this database was migrated with, or a released \
         version after it, or restore the database from a backup"
    )]
    Changed {
        /// Number of the migration.
        version: i64,
        /// Its name.
        description: String,
    },
    /// A migration that cannot run in a transaction was interrupted.
    #[error(
        "migration {version} was interrupted half-way and has no transaction to undo it. Restore the database \
         from a backup taken before the upgrade"
    )]
    Dirty {
        /// Number of the migration.
        version: i64,
    },
    /// The schema is older than this binary needs, and this account may not change it.
    #[error("the database lacks {missing} of this program's migrations")]
    Behind {
        /// How many.
        missing: usize,
    },
    /// The schema is there, and the account may not use all of it.
    #[error("the account {role} lacks rights that `hythe migrate` gives to the account of running processes")]
    NoRights {
        /// Name of the account.
        role: String,
    },
    /// Rights cannot be given to an account that does not exist.
    #[error("PostgreSQL has no account {role}; create it first (create role {role} login password '...')")]
    NoSuchRole {
        /// Name of the account.
        role: String,
    },
    /// Another process has been migrating for longer than anybody should wait.
    #[error("another process has held the migration lock for {waited_seconds} seconds; see what it is doing")]
    Busy {
        /// How long this process waited, in seconds.
        waited_seconds: u64,
    },
    /// A migration failed; its transaction was undone.
    #[error("migration {version} failed and was undone")]
    Failed {
        /// Number of the migration.
        version: i64,
        /// What PostgreSQL said.
        #[source]
        source: sqlx::Error,
    },
    /// The migrator itself failed.
    #[error("the migrations could not be run")]
    Runner(#[source] sqlx::migrate::MigrateError),
}

impl Error {
    /// True when the same request may succeed later without any change: answer 503 with `Retry-After`. That
    /// includes a transaction that kept losing after its retries.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Retry(_))
    }

    /// True when somebody else has to bring the schema to this binary's version first: come again later.
    pub fn awaits_migration(&self) -> bool {
        matches!(self, Self::Migration(MigrationError::Behind { .. } | MigrationError::NoRights { .. }))
    }

    /// The constraint that refused the row, if one did.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Conflict { constraint } | Self::Reference { constraint } => Some(constraint),
            Self::Unavailable(_) | Self::Retry(_) | Self::Migration(_) | Self::Other(_) => None,
        }
    }

    /// The database did not answer in time.
    pub(crate) fn timed_out(what: &'static str) -> Self {
        Self::Unavailable(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, what)))
    }
}

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        let answer = match &err {
            sqlx::Error::Database(answer) => answer,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            // An answer that is none: how a line that breaks while a session is being opened shows.
            | sqlx::Error::Protocol(_) => return Self::Unavailable(err),
            _ => return Self::Other(err),
        };
        let constraint = || answer.constraint().unwrap_or_default().to_owned();
        match answer.code().as_deref() {
            // unique_violation, exclusion_violation
            Some("23505" | "23P01") => Self::Conflict { constraint: constraint() },
            Some("23503") => Self::Reference { constraint: constraint() },
            // serialization_failure, deadlock_detected
            Some("40001" | "40P01") => Self::Retry(err),
            Some(code) if is_away(code) => Self::Unavailable(err),
            _ => Self::Other(err),
        }
    }
}

/// Whether this SQLSTATE speaks about the state of the server and not about the statement.
fn is_away(code: &str) -> bool {
    match code {
        // query_canceled (statement_timeout), admin_shutdown, crash_shutdown, cannot_connect_now,
        // idle_session_timeout
        "57014" | "57P01" | "57P02" | "57P03" | "57P05" => true,
        // lock_not_available (lock_timeout), idle_in_transaction_session_timeout
        "55P03" | "25P03" => true,
        // object_not_in_prerequisite_state: the database lets nobody in, during a restore for instance
        "55000" => true,
        // read_only_sql_transaction: we still talk to the old primary after a fail-over
        "25006" => true,
        // connection exceptions; insufficient resources: disk full, out of memory, too many connections
        code => code.starts_with("08") || code.starts_with("53"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_the_server_are_told_from_faults_of_a_statement() {
        for code in [
            "08006", "08001", "53300", "53100", "57014", "57P01", "57P02", "57P03", "55P03", "25P03",
            "55000", "25006",
        ] {
            assert!(is_away(code), "{code}");
        }
        for code in ["42P01", "42601", "22001", "23502", "23514", "0A000", "57P04", "42501"] {
            assert!(!is_away(code), "{code}");
        }
    }

    #[test]
    fn a_broken_connection_is_unavailable() {
        let reset = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert!(Error::from(reset).is_unavailable());
        assert!(Error::from(sqlx::Error::PoolTimedOut).is_unavailable());
        assert!(Error::from(sqlx::Error::Protocol("unexpected response: 0x00".to_owned())).is_unavailable());
        assert!(!Error::from(sqlx::Error::RowNotFound).is_unavailable());
    }
}
