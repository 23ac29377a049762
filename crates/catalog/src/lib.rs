//! hythe-catalog
