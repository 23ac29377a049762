//! hythe-tenancy
