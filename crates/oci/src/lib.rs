//! hythe-oci
