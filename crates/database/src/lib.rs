//! PostgreSQL for every other crate: the pool, transactions, migrations, the embedded server, list SQL.
//!
//! Knows no table of any domain. Decides how long anything may wait: nothing here takes longer than five
//! seconds to say that the database is away, and a connection that died in the pool is replaced, not handed out.
//!
//! Invariant: every `sqlx::Error` becomes an outcome in [`Error`] exactly here.
//! Invariant: a transaction that is not committed is rolled back.

mod clock;
mod config;
mod connections;
pub mod embedded;
mod error;
pub mod list;
mod migrate;
mod pool;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use clock::Clock;
pub use config::{Config, EmbeddedConfig, Migrate};
pub use connections::Pool;
pub use error::{Error, MigrationError};
pub use migrate::{MIGRATOR, Planned, Report, check_schema, migrate, plan};
pub use pool::{Database, Tx};
