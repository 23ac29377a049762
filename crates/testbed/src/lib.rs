//! hythe-testbed
