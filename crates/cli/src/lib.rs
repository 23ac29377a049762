//! hythe-cli
