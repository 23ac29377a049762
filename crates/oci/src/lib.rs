//! The words of the distribution protocol as types: names, digests, references, media types,
//! manifests, token scopes and error codes (OCI distribution and image specifications).
//!
//! Text from a client is parsed here once, by strict grammar; behind this crate only valid values
//! exist. It does no IO, is not async and knows neither HTTP nor SQL.
//!
//! Invariant: every value of a type of this crate prints exactly the text it was parsed from, so
//! there is one canonical form and comparing values is comparing texts.

mod action;
mod digest;
pub mod error;
mod json;
pub mod manifest;
mod media_type;
mod name;
mod reference;
pub mod scope;
mod text;
pub mod warning;

pub use action::{Action, UnknownAction};
pub use digest::{Algorithm, Digest, DigestError};
pub use media_type::{MediaType, MediaTypeError};
pub use name::{NameError, ProjectName, RepositoryName};
pub use reference::{Reference, ReferenceError, Tag, TagError};
