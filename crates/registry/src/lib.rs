//! hythe-registry
