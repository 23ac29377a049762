//! hythe-serve
