//! hythe-sealed
