//! A whole platform for a test, and clients that speak to it from outside: `Bed` runs the real
//! binary, `User` and `Registry` are people at its door.
//!
//! It looks at the platform only through sockets, the command line and the data directory, as any
//! operator could. What a test asks for and does not get is a panic with the request in the message.
//!
//! Invariant: whatever happens to the test process, the servers it started end and their directories go.

mod answer;
mod bed;
mod browser;
pub mod forge;
mod http;
mod inside;
mod oci;
mod process;
mod raw;
mod relay;
mod rest;
mod s3;

pub use self::oci::{Image, Registry, Upload, image_manifest, random_bytes, streaming};
pub use answer::Answer;
pub use bed::{Bed, Options, User};
pub use browser::Browser;
pub use http::{Client, Credentials, Request};
pub use inside::Inside;
pub use process::Addresses;
pub use raw::RawAnswer;
pub use relay::{Line, Relay};
pub use rest::{Project, ProjectBuilder, Role};
pub use s3::S3;
