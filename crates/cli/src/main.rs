//! The entry point of `hythe`. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hythe_cli::command::main()
}
