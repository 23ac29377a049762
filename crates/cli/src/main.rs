//! The entry point of `hythe`. Everything else is in the library.

use std::process::ExitCode;

/// The system's allocator keeps what a password hash needed for the rest of the process's life, a third of what an idle
/// server holds.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    hythe_cli::command::main()
}
