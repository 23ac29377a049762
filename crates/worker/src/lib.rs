//! hythe-worker
