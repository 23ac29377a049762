//! hythe-queue
