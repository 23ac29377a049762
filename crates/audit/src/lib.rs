//! hythe-audit
