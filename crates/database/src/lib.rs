//! hythe-database
