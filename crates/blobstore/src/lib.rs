//! hythe-blobstore
