//! hythe-projects
