//! hythe-auth
