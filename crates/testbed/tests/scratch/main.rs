#[path = "../it/crash.rs"]
mod crash;
#[path = "../it/postgres.rs"]
mod postgres;
#[path = "../it/promises.rs"]
mod promises;
#[path = "../it/trace.rs"]
mod trace;
