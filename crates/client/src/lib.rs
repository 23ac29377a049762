//! The REST API seen by a program that uses it: requests as one account, lists page by page, and rows as tables or
//! JSON. What `hythe project` and its like are made of.
//!
//! No file, no environment and no terminal here: whoever calls hands over the address, the credentials and a writer.
//!
//! Invariants: credentials go to the one server they were given for, and are in no error and no output. What a server
//! sends never reaches a terminal as control characters.

mod error;
mod http;
mod names;
mod output;
mod path;
mod server;
mod table;

pub use error::Error;
pub use http::{Answer, Client, Credentials, Page, Pages};
pub use names::{ArtifactName, RepositoryName};
pub use output::{Form, Lister, printable, show};
pub use path::Path;
pub use server::Server;
pub use table::{Column, bytes, moment, text};
