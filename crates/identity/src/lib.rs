//! hythe-identity
