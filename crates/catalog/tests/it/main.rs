//! The catalog against a real PostgreSQL and the memory store, or a real bucket, through its public door.
#![expect(clippy::unwrap_used, reason = "tests")]

extern crate blobstore as hythe_blobstore;
extern crate hythe_catalog as catalog;

mod accounting;
mod bucket;
mod collector;
mod days;
mod listed;
mod manifests;
mod pages;
mod pull_trail;
#[path = "../../../blobstore/tests/support/mod.rs"]
mod s3;
mod statements;
mod uploads;
mod world;
